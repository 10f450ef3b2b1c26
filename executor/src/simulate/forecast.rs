//! The plan's own prediction laid out in time: stage after stage, instruction after instruction, chunk after chunk. It
//! adds up what the plan says and simulates nothing.

use super::network::Network;
use super::script::{Phase, Script, scripts};
use super::timeline::{CardTime, Span, Timeline};
use super::{Simulation, SimulationError};
use sailplan_codegen::Plan;
use sailplan_ir::Picoseconds;
use std::rc::Rc;

/// What the plan predicts each card to do when. Nothing is said about links.
///
/// # Errors
/// The plan contradicts itself, which a verified plan does not.
pub fn predicted(plan: &Plan) -> Result<Simulation, SimulationError> {
    let network = Network::new(&plan.fleet.inline);
    let timeline = |phase, passes| Ok(timeline(&scripts(plan, &network, phase)?, passes));
    Ok(Simulation { prefill: timeline(Phase::Prefill, plan.request.chunks())?, decode: timeline(Phase::Decode, 1)? })
}

fn timeline(scripts: &[Script], passes: u64) -> Timeline {
    let stages = scripts.iter().map(|script| script.stage + 1).max().unwrap_or(0);
    let of_stage = |stage: u32| scripts.iter().filter(move |script| script.stage == stage);
    let longest = |stage: u32| of_stage(stage).map(length).max().unwrap_or_default();
    let mut line =
        Timeline { cards: scripts.iter().map(|script| CardTime::new(script.sail)).collect(), ..Timeline::default() };
    for _ in 0..passes {
        for stage in 0..stages {
            let end = line.time + longest(stage);
            // Ranks end together: what rank 0 receives before the others begin is on no other card.
            of_stage(stage).for_each(|script| spans(script, end - length(script), &mut line.spans));
            line.time = end;
        }
    }
    line
}

fn length(script: &Script) -> Picoseconds {
    let block = |acts: &[super::script::Act]| acts.iter().map(|act| act.predicted).sum::<Picoseconds>();
    script.blocks.iter().map(|block_| block(&block_.acts) * u64::from(block_.rounds)).sum()
}

fn spans(script: &Script, start: Picoseconds, spans: &mut Vec<Span>) {
    let mut at = start;
    for block in &script.blocks {
        for round in 0..block.rounds {
            let layer = block.first_layer.and_then(|first| first.checked_add(round));
            for act in &block.acts {
                let (name, end) = (Rc::clone(&act.name), at + act.predicted);
                spans.push(Span { sail: script.sail, what: act.what, name, layer, start: at, end });
                at = end;
            }
        }
    }
}
