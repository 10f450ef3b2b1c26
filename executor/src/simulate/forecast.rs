//! The plan's own prediction laid out in time: stage after stage, instruction after instruction, a chunk as soon as the
//! one before has left the stage. It adds up what the plan says and simulates nothing.

use super::network::Network;
use super::script::{Act, Phase, Script, scripts};
use super::timeline::{CardTime, Span, Timeline};
use super::{Simulation, SimulationError, Steady};
use sailplan_codegen::Plan;
use sailplan_ir::{Picoseconds, Rate};
use std::rc::Rc;

/// What the plan predicts each card to do when. Nothing is said about links.
///
/// # Errors
/// The plan contradicts itself, which a verified plan does not.
pub fn predicted(plan: &Plan) -> Result<Simulation, SimulationError> {
    let network = Network::new(&plan.fleet.inline);
    let timeline = |phase, passes| {
        let mut all = Timeline::default();
        for replica in chains(plan) {
            let one = timeline(&scripts(&replica, &network, phase)?, passes);
            all.time = all.time.max(one.time);
            all.cards.extend(one.cards);
            all.spans.extend(one.spans);
        }
        all.cards.sort_by_key(|card| card.sail);
        Ok(all)
    };
    Ok(Simulation { prefill: timeline(Phase::Prefill, plan.request.chunks())?, decode: timeline(Phase::Decode, 1)? })
}

/// The replicas as plans of their own.
pub(super) fn chains(plan: &Plan) -> impl Iterator<Item = Plan> {
    (0..plan.replicas()).filter_map(|number| plan.replica(number))
}

/// What the slowest stage takes for one pass of each program, the message that it sends included; of replicas, as far apart
/// as passes are when each takes them at its rate.
///
/// # Errors
/// As [`predicted`].
pub fn predicted_steady(plan: &Plan) -> Result<Steady, SimulationError> {
    let network = Network::new(&plan.fleet.inline);
    let slowest = |phase| {
        let each = chains(plan).map(|replica| Ok(slowest(&scripts(&replica, &network, phase)?)));
        Ok(Rate::together(each.collect::<Result<Vec<_>, _>>()?))
    };
    Ok(Steady { prefill: slowest(Phase::Prefill)?, decode: slowest(Phase::Decode)? })
}

fn slowest(scripts: &[Script]) -> Picoseconds {
    let of_stage = |stage: u32| scripts.iter().filter(move |script| script.stage == stage);
    let load = |stage: u32| {
        let own = of_stage(stage).map(|script| length(script) - arrival(script)).max().unwrap_or_default();
        own + of_stage(stage + 1).map(arrival).max().unwrap_or_default()
    };
    let stages = scripts.iter().map(|script| script.stage + 1).max().unwrap_or(0);
    (0..stages).map(load).max().unwrap_or_default()
}

fn timeline(scripts: &[Script], passes: u64) -> Timeline {
    let stages = scripts.iter().map(|script| script.stage + 1).max().unwrap_or(0);
    let of_stage = |stage: u32| scripts.iter().filter(move |script| script.stage == stage);
    let cards = scripts.iter().map(|script| CardTime::new(script.sail)).collect();
    let mut line = Timeline { cards, ..Timeline::default() };
    let mut free = vec![Picoseconds(0); stages as usize];
    for _ in 0..passes {
        line.time = Picoseconds(0);
        for stage in 0..stages {
            let received = of_stage(stage).map(arrival).max().unwrap_or_default();
            let arrived = line.time + received;
            if let Some(sender) = stage.checked_sub(1) {
                free[sender as usize] = arrived;
            }
            let begin = arrived.max(free[stage as usize]);
            let start = |script: &Script| begin - arrival(script);
            let end = of_stage(stage).map(|script| start(script) + length(script)).max();
            of_stage(stage).for_each(|script| spans(script, start(script), &mut line.spans));
            line.time = end.unwrap_or(begin);
            free[stage as usize] = line.time;
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
