//! Whether a plan may be run: an abstract interpreter that knows the operator table and the plan, and nothing of how
//! the plan was made.
//!
//! 1. The fleet, the request and the logical model are sound.
//! 2. Cards, stages and groups agree; residents lie in their arenas and hold parts of the model's tensors; buffers
//!    have the bytes that their shapes say; everything fits the card.
//! 3. Every weight is loaded once, and cards that hand shards on never wait in a circle.
//!    The pins that the plan names are kept.
//! 4. Every instruction stands for itself: its names exist, its sizes are right, its collective can be done.
//! 5. Both programs of all cards are run together over abstract values. Each buffer holds a logical tensor, whole, cut along
//!    columns or rows, as a partial sum, or as a softmax over some positions; an instruction is legal when the model has an operator that makes its result from
//!    its operands; a streamed weight is one of them while the layer's own shard is in its place. Layers in which a group would
//!    do once more what it just did are not run. In the end the host has all logits, once from each replica, and no value went
//!    from one replica to another.

mod arena;
mod card;
mod fused;
mod holdings;
mod instruction;
mod kernel;
mod loads;
mod machine;
mod meeting;
mod model;
mod pins;
mod positions;
mod roster;
mod routed;
mod rows;
mod script;
mod steady;
mod trace;
mod value;

use crate::{Plan, digest};
use sailplan_ir::{At, Diagnostic, Diagnostics, Verify};

/// Stands for the file's name until the reader puts it in.
pub(crate) const FILE: &str = "plan";

/// Everything a file can multiply out is bounded by this, so that a small file cannot cost much: residents times
/// layers, instructions times layers; an eighth of it, segments times tensors.
pub(crate) const MAX_EXPANDED: u64 = 1 << 23;

/// Operators of a class with the same first operand: what matching one kernel may cost.
pub(crate) const MAX_ALIKE: usize = 1 << 9;

pub(crate) use machine::Phase;
pub(crate) use model::Logical;
#[cfg(test)]
pub(crate) use trace::Event;
pub(crate) use trace::{Known, Source, Target, Trace};

/// A problem at a named part of the plan.
pub(crate) fn problem(place: impl Into<String>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(message).at(FILE, At::Name(place.into()))
}

impl Verify for Plan {
    fn problems(&self) -> Diagnostics {
        match stages(self) {
            Ok(()) => Diagnostics::default(),
            Err(problems) => problems,
        }
    }
}

/// What each card makes of what in one phase of a plan that was verified.
pub(crate) fn traces(plan: &Plan, logical: &Logical, phase: Phase) -> Result<Vec<Trace>, Diagnostics> {
    let kinds = roster::kinds(plan);
    let held = holdings::all(plan, logical, &kinds)?;
    let scripts = script::all(plan, &held, &kinds)?;
    machine::traced(&machine::Setting { plan, logical, held: &held, scripts: &scripts }, phase)
}

/// Each check may rely on what the ones before it established.
fn stages(plan: &Plan) -> Result<(), Diagnostics> {
    head(plan).into_result(())?;
    let logical = Logical::new(&plan.model, plan.request.cache)?;
    roster::problems(plan).into_result(())?;
    let kinds = roster::kinds(plan);
    let held = holdings::all(plan, &logical, &kinds)?;
    loads::problems(plan, &held).into_result(())?;
    pins::problems(plan, &logical, &held).into_result(())?;
    let scripts = script::all(plan, &held, &kinds)?;
    let mut problems = Diagnostics::default();
    for phase in [Phase::Prefill, Phase::Decode] {
        let found = machine::run(&machine::Setting { plan, logical: &logical, held: &held, scripts: &scripts }, phase);
        problems.0.extend(found.0);
    }
    problems.into_result(())
}

fn head(plan: &Plan) -> Diagnostics {
    let mut problems = Diagnostics::default();
    if plan.version != crate::VERSION {
        problems.push(problem("version", format!("version {} is not {}", plan.version, crate::VERSION)));
    }
    for (place, found) in [("fleet.inline", plan.fleet.inline.problems()), ("request", plan.request.problems())] {
        let placed = found.0.into_iter().map(|diagnostic| diagnostic.at(FILE, At::Name(place.to_owned())));
        problems.0.extend(placed);
    }
    if plan.fleet.digest != digest::of_fleet(&plan.fleet.inline) {
        problems.push(problem("fleet.digest", "the digest is not that of the inline fleet"));
    }
    if plan.fleet.name != plan.fleet.inline.name {
        problems.push(problem("fleet.name", "the name is not that of the inline fleet"));
    }
    if plan.objective != plan.request.objective {
        problems.push(problem("objective", "the objective is not the request's"));
    }
    problems
}
