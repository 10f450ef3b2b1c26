//! The `model` device: a plan replayed as events, in integer picoseconds, without numbers and without the planner's
//! formulas. Kernels and slices take the time that the plan predicts for them; everything on links is simulated message
//! by message, from the schedules that a replay runs and the links of the plan's fleet.
//!
//! - A message over h links takes h·α plus bytes / slowest rate when it is alone (cut-through, not store and forward).
//!   Messages that meet on a medium share its rate ([`fabric`]).
//! - A card does one instruction after the other. It goes on when what it sends has left and what it gets has arrived; it
//!   waits for nobody else. A collective starts on a card when the card comes to it; its start-up is that of a kernel and
//!   adding contributions is free, as the prices have it.
//! - The host has tokens when a card asks for them; cards share its link, or have one each.
//! - Prefill runs the chunks one after the other on each card, all of them as long as the average one, for which the
//!   plan's times are; a card that is done with a chunk begins the next. So stages overlap.
//!
//! In lockstep, ranks wait for each other before every step of a collective and before every chunk. That is what the
//! closed form supposes: what the two simulations differ by is overlap, what is left is contention and rounding.

mod engine;
mod exchange;
mod fabric;
mod forecast;
mod network;
mod script;
mod timeline;

#[cfg(test)]
mod tests;

pub use forecast::{predicted, predicted_steady};
pub use network::{Medium, Vertex};
pub use timeline::{CardTime, MediumTime, Occupation, Span, Timeline};

use engine::Run;
use network::Network;
use sailplan_codegen::Plan;
use sailplan_ir::{Picoseconds, Rate, SailId, Verified};
use script::{Phase, Script, scripts};

/// Whether cards wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Progression {
    /// Each goes on as soon as it can.
    #[default]
    Free,
    /// Ranks take each step of a collective together, and each chunk.
    Lockstep,
}

/// Both programs, simulated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Simulation {
    /// The whole prompt.
    pub prefill: Timeline,
    /// One token of each sequence, at the average context of the request.
    pub decode: Timeline,
}

/// How long one prefill pass and one decode step come after another when many are on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steady {
    /// A pass of the prefill program: a chunk.
    pub prefill: Picoseconds,
    /// A decode step.
    pub decode: Picoseconds,
}

/// Why there is no simulation. A verified plan gives no cause for either.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// The plan says something that its own parts contradict.
    #[error("{sail}: {problem}")]
    Malformed {
        /// The card.
        sail: SailId,
        /// What does not fit.
        problem: String,
    },
    /// A card waits for ever.
    #[error("{sail} waits in `{waiting}` for what no card sends")]
    Stuck {
        /// The card.
        sail: SailId,
        /// The instruction.
        waiting: String,
    },
}

/// Simulates the whole prompt and one decode step. What repeats exactly is simulated once.
///
/// # Errors
/// The plan contradicts itself, which a verified plan does not.
pub fn simulate(plan: &Verified<Plan>, progression: Progression) -> Result<Simulation, SimulationError> {
    both(plan, progression, false)
}

/// As [`simulate`], with every span.
///
/// # Errors
/// As [`simulate`].
pub fn traced(plan: &Verified<Plan>, progression: Progression) -> Result<Simulation, SimulationError> {
    both(plan, progression, true)
}

/// Simulates many passes of each program one behind the other, as when requests follow each other through the stages: what
/// further passes take when all stages are at work. Replicas are simulated each by itself and take passes at their rates:
/// where they meet, on the host's link, is left out.
///
/// # Errors
/// As [`simulate`].
pub fn steady(plan: &Verified<Plan>) -> Result<Steady, SimulationError> {
    let network = Network::new(&plan.fleet.inline);
    let apart = |phase| {
        let each = forecast::chains(plan).map(|replica| further(&scripts(&replica, &network, phase)?, &network));
        Ok(Rate::together(each.collect::<Result<Vec<_>, _>>()?))
    };
    Ok(Steady { prefill: apart(Phase::Prefill)?, decode: apart(Phase::Decode)? })
}

/// What a further pass takes.
fn further(scripts: &[Script], network: &Network) -> Result<Picoseconds, SimulationError> {
    let stages = scripts.iter().map(|script| u64::from(script.stage) + 1).max().unwrap_or(1);
    let run = |passes| {
        let run = Run { passes, progression: Progression::Free, recording: false };
        Ok(engine::run(scripts, network, run)?.time)
    };
    // Every stage has work once the first request is at the last one.
    let (few, many) = (stages + FURTHER, stages + 2 * FURTHER);
    Ok(Picoseconds((run(many)? - run(few)?).0 / FURTHER))
}

/// Passes that are averaged over.
const FURTHER: u64 = 8;

fn both(plan: &Plan, progression: Progression, recording: bool) -> Result<Simulation, SimulationError> {
    let network = Network::new(&plan.fleet.inline);
    let run =
        |phase, passes| engine::run(&scripts(plan, &network, phase)?, &network, Run { passes, progression, recording });
    Ok(Simulation { prefill: run(Phase::Prefill, plan.request.chunks())?, decode: run(Phase::Decode, 1)? })
}
