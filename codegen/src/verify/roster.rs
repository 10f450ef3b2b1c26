//! Cards, stages, replicas and groups agree with each other and with the fleet.

use super::problem;
use crate::{Plan, SailPlan};
use sailplan_ir::{Diagnostics, Objective, SailId, SailKind};
use std::collections::BTreeMap;

pub(crate) fn problems(plan: &Plan) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let mut groups: BTreeMap<u32, &[SailId]> = BTreeMap::new();
    if plan.sails.is_empty() {
        problems.push(problem("sails", "no Sail has work"));
    }
    if plan.sails.windows(2).any(|pair| pair[0].sail >= pair[1].sail) {
        problems.push(problem("sails", "the Sails do not stand in order of id, each once"));
    }
    let size = plan.fleet.inline.size();
    if !problems.0.is_empty() {
        return problems;
    }
    for sail in &plan.sails {
        if sail.sail.index() >= size {
            problems.push(problem(sail.sail.to_string(), format!("the fleet has only {size} Sails")));
        } else if !plan.fleet.inline.serves(sail.sail.index()) {
            problems.push(problem(sail.sail.to_string(), "it has work, and the fleet says that it is lost"));
        }
        if *groups.entry(sail.stage).or_insert(&sail.group) != sail.group.as_slice() {
            problems.push(problem(sail.sail.to_string(), format!("stage {} has two groups", sail.stage)));
        }
    }
    if !problems.0.is_empty() {
        return problems;
    }
    let parts = plan.fleet.inline.parts();
    let apart = plan.sails.iter().find(|sail| parts[sail.sail.index()] != parts[plan.sails[0].sail.index()]);
    if let Some(sail) = apart {
        let message = format!("no links that are up lead to it from {}", plan.sails[0].sail);
        problems.push(problem(sail.sail.to_string(), message));
    }
    if groups.keys().copied().ne(0..groups.len() as u32) {
        problems.push(problem("sails", "the stages are not numbered 0, 1, …"));
    }
    problems.0.extend(replicas(plan).map(|message| problem("sails", message)));
    for (stage, group) in groups {
        let named = plan.sails.iter().filter(|sail| sail.stage == stage);
        if !same_set(named, group) {
            problems.push(problem(format!("stage {stage}"), "its group is not the Sails that name this stage"));
        }
    }
    problems
}

/// What is wrong with how stages make replicas.
fn replicas(plan: &Plan) -> Option<String> {
    let mut of_stage: Vec<(u32, u32)> = plan.sails.iter().map(|sail| (sail.stage, sail.replica)).collect();
    of_stage.sort_unstable();
    of_stage.dedup();
    if let Some(pair) = of_stage.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Some(format!("stage {} is in two replicas", pair[0].0));
    }
    let follows = |pair: &[(u32, u32)]| pair[1].1 == pair[0].1 || pair[0].1.checked_add(1) == Some(pair[1].1);
    if of_stage.first().is_some_and(|first| first.1 != 0) || !of_stage.windows(2).all(follows) {
        return Some("the replicas are not numbered 0, 1, … in the order of their stages".to_owned());
    }
    let last = of_stage.last().map_or(0, |last| last.1);
    let several = last > 0 && plan.objective != Objective::Throughput;
    several.then(|| format!("there are {} replicas, and the objective is {}", last + 1, plan.objective))
}

/// The kind of each card with work, which must be the fleet's.
pub(crate) fn kinds(plan: &Plan) -> Vec<&SailKind> {
    let fleet = &plan.fleet.inline;
    let runs = fleet.sails.iter().filter_map(|run| Some((fleet.kinds.get(&run.kind)?, usize::from(run.count))));
    let all: Vec<&SailKind> = runs.flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect();
    plan.sails.iter().filter_map(|sail| all.get(sail.sail.index()).copied()).collect()
}

/// Each card of the group once, and no other; `named` is in order of id.
fn same_set<'a>(named: impl Iterator<Item = &'a SailPlan>, group: &[SailId]) -> bool {
    let mut sorted = group.to_vec();
    sorted.sort_unstable();
    named.map(|sail| sail.sail).eq(sorted)
}
