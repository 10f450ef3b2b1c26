//! Whether a placement fits the model, the fleet and itself, so that the rest of `emit` can index freely.

use super::Source;
use crate::names::tensor_name;
use sailplan_ir::{
    Action, Algorithm, Choice, CollectiveKind, Diagnostic, Diagnostics, DomainId, Domains, LayerClass, Layout,
    Partition, Price, Program, Role, Stage, TensorId, check_layouts,
};
use std::collections::BTreeSet;

pub(crate) fn problems(source: Source<'_>) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let (mut next, length) = (0, source.model.segments.len());
    let mut busy = BTreeSet::new();
    for (number, stage) in source.placement.stages.iter().enumerate() {
        let before = number.checked_sub(1).and_then(|before| source.placement.stages.get(before));
        // A replica begins where the one before has the whole chain.
        let (begins, replica) = match before {
            None => (true, 0),
            Some(before) if next as usize == length => (true, before.replica.saturating_add(1)),
            Some(before) => (false, before.replica),
        };
        let before = before.filter(|_| !begins);
        next = if begins { 0 } else { next };
        let mut found = stage_problems(source, stage, before);
        if stage.segments.start != next || stage.segments.end <= next {
            found.push(format!("its segments {:?} do not follow segment {next}", stage.segments));
        }
        if stage.replica != replica {
            found.push(format!("it belongs to replica {}, not to replica {replica}", stage.replica));
        }
        next = stage.segments.end;
        found
            .extend(stage.sails.iter().filter(|&&sail| !busy.insert(sail)).map(|sail| format!("{sail} is busy twice")));
        found.into_iter().for_each(|found| problems.push(Diagnostic::new(format!("stage {number}: {found}"))));
    }
    if next as usize != length {
        problems.push(Diagnostic::new("the stages do not cover the chain"));
    }
    problems
}

fn stage_problems(source: Source<'_>, stage: &Stage, before: Option<&Stage>) -> Vec<String> {
    let mut found = Vec::new();
    if stage.sails.is_empty() || stage.sails.iter().any(|sail| sail.index() >= source.fleet.size()) {
        found.push("its Sails are not the fleet's".to_owned());
    }
    match (before, &stage.hop) {
        (None, None) => {}
        (Some(before), Some(hop)) if before.sails.contains(&hop.from) => {}
        _ => found.push("its first value does not come from the stage before".to_owned()),
    }
    if stage.hop.as_ref().is_some_and(|hop| hop.spread.is_none() && stage.sails.len() > 1) {
        found.push("nothing says how its first value is spread".to_owned());
    }
    if stage.assignment.len() != stage.segments.len() {
        found.push("it has not one choice for each segment".to_owned());
    }
    for (segment, &choice) in stage.segments.clone().zip(&stage.assignment) {
        let class = source.model.segments.get(segment as usize).map(|segment| segment.class);
        match stage.choices.get(choice as usize) {
            Some(chosen) if Some(chosen.form.class) == class => {}
            _ => found.push(format!("segment {segment} has no form of its class")),
        }
    }
    for (index, choice) in stage.choices.iter().enumerate() {
        let class = source.model.classes.get(choice.form.class.index());
        let domains = source.domains.get(choice.form.class.index());
        let problem = match (class, domains) {
            (Some(class), Some(domains)) => choice_problem(class, domains, choice, stage.sails.len()),
            _ => Some("no such class".to_owned()),
        };
        found.extend(problem.map(|problem| format!("choice {index}: {problem}")));
    }
    found
}

fn choice_problem(class: &LayerClass, domains: &Domains, choice: &Choice, ranks: usize) -> Option<String> {
    let covers = |(index, partition): (usize, &Partition)| {
        let (domain, end) = (DomainId(index as u32), |partition: &Partition| partition.units(ranks - 1).end);
        let starts = partition.ranks() == ranks && partition.units(0).start == 0;
        let lead = domains.lead(domain).map(|lead| (lead, choice.partitions.get(lead.index())));
        starts
            && match lead {
                Some((lead, Some(dealt))) => *partition == dealt.covering(domains.units(lead), domains.units(domain)),
                Some((_, None)) => false,
                None if domains.is_positions(domain) => {
                    *partition == Partition::balanced(domains.units(domain), 1, ranks)
                }
                None => end(partition) == domains.units(domain) && partition.disjoint(),
            }
    };
    if ranks == 0 || choice.partitions.len() != domains.count() || !choice.partitions.iter().enumerate().all(covers) {
        return Some("its partitions do not deal every domain to every rank".to_owned());
    }
    if let Some(tensor) = class.template.tensors.iter().find(|tensor| tensor_name(&tensor.name) != tensor.name) {
        return Some(format!("`{}` ends like a numbered slice", tensor.name));
    }
    let layered = |tensor: TensorId| class.patterned && class.template[tensor].name.contains("{layer}");
    let residents = choice.form.residents();
    if let Some(streamed) = choice.streams.iter().find(|streamed| {
        !residents.contains(&(streamed.tensor, streamed.layout))
            || class.template[streamed.tensor].role != Role::Weight
            || !layered(streamed.tensor)
    }) {
        return Some(format!("{} is streamed, but no weight of a layer", streamed.tensor));
    }
    let phases = [(&choice.form.prefill, &choice.prefill), (&choice.form.decode, &choice.decode)];
    phases.into_iter().find_map(|(program, prices)| program_problem((class, domains), program, prices, ranks))
}

fn program_problem(
    (class, domains): (&LayerClass, &Domains),
    program: &Program,
    prices: &[Price],
    ranks: usize,
) -> Option<String> {
    let layouts = check_layouts(&class.template, program);
    if let Some(problem) = layouts.0.first() {
        return Some(problem.to_string());
    }
    if prices.len() != program.instructions.len() {
        return Some("it has not one price for each instruction".to_owned());
    }
    if program.output().is_none_or(|made| !matches!(made.layout, Layout::Whole | Layout::Host)) {
        return Some("its result is neither whole nor on the host".to_owned());
    }
    program.instructions.iter().zip(prices).find_map(|(made, price)| {
        let tensor = &class.template[made.tensor];
        let sharded_input = made.action == Action::Leaf
            && made.layout != Layout::Whole
            && matches!(tensor.role, Role::Input | Role::Tokens);
        let by_rows = domains.is_rows(domains.domain(made.tensor, 0)) && made.action != Action::Leaf;
        let by_rows = by_rows || domains.is_positions(domains.domain(made.tensor, 0));
        let cut_rows = made.layout == Layout::Sharded(0) && tensor.role != Role::Weight && !by_rows;
        let deep = tensor.axes.len() > 2 && tensor.role != Role::Weight;
        if sharded_input || cut_rows || deep {
            return Some(format!("`{}` cannot be held {}", tensor.name, made.layout));
        }
        let kind = collective(made.action)?;
        let known = price.algorithm.is_some_and(|algorithm: Algorithm| kind.algorithms().contains(&algorithm));
        (ranks > 1 && !known).then(|| format!("nothing says how to do the {kind} of `{}`", tensor.name))
    })
}

/// The collective that an action stands for.
pub(crate) fn collective(action: Action) -> Option<CollectiveKind> {
    match action {
        Action::AllGather => Some(CollectiveKind::AllGather),
        Action::AllReduce => Some(CollectiveKind::AllReduce),
        Action::ReduceScatter | Action::MergeScatter => Some(CollectiveKind::ReduceScatter),
        Action::Dispatch => Some(CollectiveKind::Dispatch),
        Action::Combine => Some(CollectiveKind::Combine),
        _ => None,
    }
}
