//! Whether a plan keeps to the pins that it names: which Sails hold what, how many stages there are, and how weights are cut.

use super::holdings::{Holding, Holdings};
use super::{Logical, problem};
use crate::{Plan, Resident, SailPlan, Slice, in_layer, tensor_name};
use sailplan_ir::{Demand, Diagnostics, Part, matches_pattern};

/// Pins that are not kept.
pub(crate) fn problems(plan: &Plan, logical: &Logical, held: &[Holdings<'_>]) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let check = Check { plan, logical, held };
    for pin in &plan.pins {
        if let Err(reason) = check.demand(&pin.demand) {
            problems.push(problem(format!("pins.{}", pin.name), format!("the pin is not kept: {reason}")));
        }
    }
    problems
}

struct Check<'a> {
    plan: &'a Plan,
    logical: &'a Logical,
    held: &'a [Holdings<'a>],
}

impl Check<'_> {
    fn demand(&self, demand: &Demand) -> Result<(), String> {
        match demand {
            Demand::Layers { layers, on } => self.part(layers, |sail| on.contains(&sail.sail)),
            Demand::Group { layers, sails } => self.part(layers, |sail| {
                sails.iter().all(|named| sail.group.contains(named)) && sail.group.iter().all(|one| sails.contains(one))
            }),
            Demand::Degree { layers, ranks } => self.part(layers, |sail| sail.group.len() == *ranks as usize),
            Demand::Never(sail) => {
                let busy = self.plan.sails.iter().any(|one| one.sail == *sail);
                if busy { Err(format!("{sail} has work")) } else { Ok(()) }
            }
            Demand::AtMostStages(count) => at_most(self.stages(), *count, "stages"),
            Demand::AtMostSails(count) => at_most(self.plan.sails.len(), *count, "Sails"),
            Demand::AtLeastStages(count) if self.stages() < *count as usize => {
                Err(format!("there are {} stages", self.stages()))
            }
            Demand::AtLeastStages(_) => Ok(()),
            Demand::Replicated(pattern) => self.slices(pattern, |_| Slice::Whole),
            Demand::Cut { tensor, axis, at } => self.slices(tensor, |sail| {
                let rank = sail.group.iter().position(|one| *one == sail.sail).unwrap_or(0);
                let start = rank.checked_sub(1).map_or(Some(0), |before| at.get(before).copied());
                let (start, end) = (start.unwrap_or(u64::MAX), at.get(rank).copied());
                // The last rank's share ends where the tensor does, which its own check knows.
                let end = end.or((rank == at.len()).then_some(u64::MAX)).unwrap_or(0);
                Slice::Cut { axis: *axis, start, end }
            }),
        }
    }

    fn stages(&self) -> usize {
        self.plan.sails.iter().map(|sail| sail.stage as usize + 1).max().unwrap_or(0)
    }

    /// Every card that holds what only a segment of this part has must be as demanded.
    fn part(&self, part: &Part, allowed: impl Fn(&SailPlan) -> bool) -> Result<(), String> {
        let meant = part.of(self.logical.segments.iter().map(|segment| segment.layer));
        if !meant.contains(&true) {
            return Err(format!("the model has no part \"{part}\""));
        }
        let owners = self.owners();
        for (sail, held) in self.plan.sails.iter().zip(self.held) {
            let tensors = held.residents.iter().flat_map(|holding: &Holding| &holding.tensors);
            let mut segments = tensors.filter_map(|&tensor| owners[tensor as usize]);
            if !allowed(sail) && segments.any(|segment| meant[segment]) {
                return Err(format!("{} has a part of it", sail.sail));
            }
        }
        Ok(())
    }

    /// For each tensor, its segment, when it has one only.
    fn owners(&self) -> Vec<Option<usize>> {
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); self.logical.tensors.len()];
        for (number, segment) in self.logical.segments.iter().enumerate() {
            segment.globals().for_each(|tensor| users[tensor as usize].push(number));
        }
        users.iter().map(|users| if let [only] = users[..] { Some(only) } else { None }).collect()
    }

    /// Every resident that a pattern names is the slice that is demanded of its card.
    fn slices(&self, pattern: &str, wanted: impl Fn(&SailPlan) -> Slice) -> Result<(), String> {
        let mut found = false;
        for sail in &self.plan.sails {
            for resident in sail.weights.iter().filter(|resident| names(pattern, resident)) {
                found = true;
                if !same(resident.slice, wanted(sail)) {
                    return Err(format!("{} holds another slice of {}", sail.sail, resident.name));
                }
            }
        }
        if found { Ok(()) } else { Err(format!("no weight is called `{pattern}`")) }
    }
}

fn at_most(count: usize, most: u32, what: &str) -> Result<(), String> {
    if count <= most as usize { Ok(()) } else { Err(format!("there are {count} {what}")) }
}

/// Whether a pattern names any layer's weight.
fn names(pattern: &str, resident: &Resident) -> bool {
    let name = tensor_name(&resident.name);
    match &resident.layers {
        Some(layers) => layers.0.clone().any(|layer| matches_pattern(pattern, &in_layer(name, layer))),
        None => matches_pattern(pattern, name),
    }
}

/// An end of `u64::MAX` is the tensor's own.
fn same(held: Slice, wanted: Slice) -> bool {
    match (held, wanted) {
        (Slice::Cut { axis: a, start: s, .. }, Slice::Cut { axis, start, end: u64::MAX }) => (a, s) == (axis, start),
        (held, wanted) => held == wanted,
    }
}
