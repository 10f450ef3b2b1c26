//! The next best plans: the best with another number of stages, with fewer Sails, or with one Sail more.

use super::solver::{Solver, shape};
use super::{Spent, named};
use crate::figure::Figure;
use crate::outcome::Failure;
use sailplan_ir::{Demand, Picoseconds, Placement};
use serde::Serialize;

/// The best plan under one more demand, or on one more Sail.
#[derive(Serialize)]
pub(crate) struct Alternative {
    pub(crate) demand: String,
    /// `no plan` where there is none.
    pub(crate) structure: String,
    /// Whether it can be had on this fleet.
    pub(crate) here: bool,
    pub(crate) objective_s: Option<f64>,
    /// What the objective is longer than the plan's; less than 0 where it is shorter.
    pub(crate) more_s: Option<f64>,
    pub(crate) by_resource: Option<Spent>,
    #[serde(skip)]
    pub(crate) takes: Option<Picoseconds>,
    /// What each resource takes longer (+) or shorter (−), in picoseconds.
    #[serde(skip)]
    pub(crate) more: Vec<(&'static str, i128)>,
}

impl Alternative {
    pub(super) fn new(demand: String, here: bool, found: Option<&Placement>, now: &Placement) -> Self {
        let objective = |placement: &Placement| placement.estimate.objective;
        let resources = |placement: &Placement| named(placement.estimate.by_resource);
        let more = found.map(|found| {
            let pairs = resources(found).into_iter().zip(resources(now));
            pairs.map(|((name, then), (_, now))| (name, i128::from(then.0) - i128::from(now.0))).collect()
        });
        Self {
            demand,
            structure: shape(found),
            here,
            objective_s: found.map(|found| objective(found).seconds()),
            more_s: found.map(|found| objective(found).seconds() - objective(now).seconds()),
            by_resource: found.map(|found| Spent::of(found.estimate.by_resource)),
            takes: found.map(objective),
            more: more.unwrap_or_default(),
        }
    }
}

/// Alternatives on this fleet, the best first, then one Sail more where the fleet can grow.
pub(super) fn others(solver: &Solver<'_>, now: &Placement) -> Result<Vec<Alternative>, Failure> {
    let stages = u32::try_from(now.stages.len()).unwrap_or(u32::MAX);
    let sails = now.stages.iter().map(|stage| stage.sails.len() as u32).sum::<u32>();
    let mut demands = Vec::new();
    if stages > 1 {
        demands.push(Demand::AtMostStages(stages - 1));
    }
    if sails > 1 {
        demands.push(Demand::AtMostSails(sails - 1));
    }
    if solver.fleet.size() > now.stages.len() {
        demands.push(Demand::AtLeastStages(stages.saturating_add(1)));
    }
    let mut all = Vec::new();
    for demand in demands {
        let found = solver.demanding(demand.clone())?;
        all.push(Alternative::new(demand.to_string(), true, found.as_ref(), now));
    }
    all.sort_by_key(|one| one.takes.unwrap_or(Picoseconds::NEVER));
    let more = solver.fleet.size() as u64 + 1;
    // A fleet of several kinds, or with links one by one, does not grow by itself.
    if let Ok((fleet, request)) = Figure::Sails.apply(&solver.fleet, &solver.request, more) {
        let found = solver.solve(&fleet, &request, None)?;
        all.push(Alternative::new(format!("a fleet of {more} Sails"), false, found.as_ref(), now));
    }
    Ok(all)
}
