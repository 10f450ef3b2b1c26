//! The plan's own prediction laid out in time: stage after stage, instruction after instruction, chunk after chunk. It
//! adds up what the plan says and simulates nothing.

use super::network::Network;
use super::script::{Act, Phase, Script, scripts};
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
    let cards = scripts.iter().map(|script| CardTime::new(script.sail)).collect();
    let mut line = Timeline { cards, ..Timeline::default() };
    for _ in 0..passes {
        for stage in 0..stages {
            let received = of_stage(stage).map(arrival).max().unwrap_or_default();
            let start = |script: &Script| line.time + received - arrival(script);
            let end = of_stage(stage).map(|script| start(script) + length(script)).max();
            of_stage(stage).for_each(|script| spans(script, start(script), &mut line.spans));
            line.time = end.unwrap_or(line.time);
        }
    }
    line
}

/// What rank 0 receives from the stage before; the others have no part in it and begin after it.
fn arrival(script: &Script) -> Picoseconds {
    let first = script.blocks.first().and_then(|block| block.acts.first());
    first.filter(|act| act.receives()).map_or(Picoseconds(0), |act| act.predicted)
}

fn length(script: &Script) -> Picoseconds {
    let once = |acts: &[Act]| acts.iter().map(|act| act.predicted).sum::<Picoseconds>();
    script.blocks.iter().map(|block| once(&block.acts) * u64::from(block.rounds)).sum()
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
