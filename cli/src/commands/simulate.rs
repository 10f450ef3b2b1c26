//! `simulate`: two estimates of a plan side by side, the planner's closed form and a simulation of events.

use super::{print, print_json, trace, write_whole};
use crate::args::Simulate;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use sailplan_codegen::Plan;
use sailplan_executor::{
    CardTime, MediumTime, Progression, Simulation, Steady, Timeline, predicted_steady, simulate, steady, traced,
};
use sailplan_ir::{Objective, Picoseconds, SailId};
use serde::Serialize;
use std::fmt::Write;

/// `simulate --json`.
#[derive(Serialize)]
struct Compared {
    simulated: Times,
    /// Simulated, with ranks waiting for each other before each step and each chunk.
    lockstep: Times,
    predicted: Times,
    /// (simulated − predicted) / predicted.
    difference: Differences,
    prefill: Use,
    decode: Use,
    /// Only of plans for throughput: what one pass takes when many are on their way.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<InFlight>,
}

#[derive(Serialize, Clone, Copy)]
struct InFlight {
    simulated: Apart,
    predicted: Apart,
}

#[derive(Serialize, Clone, Copy)]
struct Apart {
    prefill_s_per_chunk: f64,
    decode_s_per_token: f64,
}

#[derive(Serialize, Clone, Copy)]
struct Times {
    prefill_s: f64,
    decode_s_per_token: f64,
}

#[derive(Serialize)]
struct Differences {
    prefill: f64,
    decode: f64,
}

/// Where the simulated time went.
#[derive(Serialize)]
struct Use {
    sails: Vec<SailUse>,
    /// Those that carried something.
    links: Vec<LinkUse>,
}

#[derive(Serialize)]
struct SailUse {
    sail: SailId,
    kernel_s: f64,
    /// Waiting for peers included.
    link_s: f64,
    host_s: f64,
    idle_s: f64,
}

#[derive(Serialize)]
struct LinkUse {
    from: String,
    to: String,
    /// Whether the figures are those of both directions, which share the rate.
    both_ways: bool,
    busy_s: f64,
    bytes: u64,
    messages: u64,
    /// Bytes over what the link could have carried.
    utilisation: f64,
}

pub(crate) fn run(args: &Simulate) -> Result<Ended, Failure> {
    let plan = inputs::plan(&args.plan)?;
    let simulated = simulate(&plan, Progression::Free)?;
    let lockstep = simulate(&plan, Progression::Lockstep)?;
    if let Some(path) = &args.trace {
        write_whole(path, &trace::text(&plan, &traced(&plan, Progression::Free)?)?)?;
    }
    let many =
        (plan.objective == Objective::Throughput).then(|| Ok::<_, Failure>([steady(&plan)?, predicted_steady(&plan)?]));
    let many = many.transpose()?;
    let predicted =
        Times { prefill_s: plan.estimate.prefill.seconds(), decode_s_per_token: plan.estimate.decode.seconds() };
    if args.json {
        let (simulated_s, lockstep) = (times(&simulated), times(&lockstep));
        let difference = Differences {
            prefill: share(simulated_s.prefill_s, predicted.prefill_s),
            decode: share(simulated_s.decode_s_per_token, predicted.decode_s_per_token),
        };
        let (prefill, decode) = (usage(&simulated.prefill), usage(&simulated.decode));
        let in_flight =
            many.map(|[simulated, predicted]| InFlight { simulated: apart(simulated), predicted: apart(predicted) });
        print_json(&Compared { simulated: simulated_s, lockstep, predicted, difference, prefill, decode, in_flight })?;
    } else {
        print(&text(&plan, (&simulated, &lockstep), many));
    }
    Ok(Ended::Clean)
}

fn apart(steady: Steady) -> Apart {
    Apart { prefill_s_per_chunk: steady.prefill.seconds(), decode_s_per_token: steady.decode.seconds() }
}

fn times(simulation: &Simulation) -> Times {
    Times { prefill_s: simulation.prefill.time.seconds(), decode_s_per_token: simulation.decode.time.seconds() }
}

/// By how much of the prediction a time differs from it.
fn share(time: f64, predicted: f64) -> f64 {
    if predicted > 0.0 { time / predicted - 1.0 } else { 0.0 }
}

fn usage(timeline: &Timeline) -> Use {
    Use {
        sails: timeline.cards.iter().map(|card| sail_use(card, timeline.time)).collect(),
        links: timeline.media.iter().map(|medium| link_use(medium, timeline.time)).collect(),
    }
}

fn sail_use(card: &CardTime, time: Picoseconds) -> SailUse {
    let CardTime { sail, kernels, links, host } = *card;
    SailUse {
        sail,
        kernel_s: kernels.seconds(),
        link_s: links.seconds(),
        host_s: host.seconds(),
        idle_s: (time - kernels - links - host).seconds(),
    }
}

fn link_use(used: &MediumTime, time: Picoseconds) -> LinkUse {
    let MediumTime { medium, busy, bytes, messages, .. } = used;
    LinkUse {
        from: medium.from.to_string(),
        to: medium.to.to_string(),
        both_ways: medium.both_ways,
        busy_s: busy.seconds(),
        bytes: bytes.0,
        messages: *messages,
        utilisation: used.utilisation(time),
    }
}

fn text(plan: &Plan, (simulated, lockstep): (&Simulation, &Simulation), many: Option<[Steady; 2]>) -> String {
    let mut text = format!("{} on {}\n", plan.model.name, plan.fleet.name);
    let _ =
        writeln!(text, "  {:<10}{:>12}{:>12}{:>12}{:>12}", "", "simulated", "in lockstep", "predicted", "difference");
    let rows = [
        ("prefill", simulated.prefill.time, lockstep.prefill.time, plan.estimate.prefill),
        ("decode", simulated.decode.time, lockstep.decode.time, plan.estimate.decode),
    ];
    for (name, simulated, lockstep, predicted) in rows {
        let difference = format!("{:+.2} %", 100.0 * share(simulated.seconds(), predicted.seconds()));
        let _ = writeln!(text, "  {name:<10}{simulated:>12}{lockstep:>12}{predicted:>12}{difference:>12}");
    }
    if let Some([simulated, predicted]) = many {
        let _ = writeln!(text, "with many requests on their way, from one to the next");
        let rows = [("chunk", simulated.prefill, predicted.prefill), ("token", simulated.decode, predicted.decode)];
        for (name, simulated, predicted) in rows {
            let difference = format!("{:+.2} %", 100.0 * share(simulated.seconds(), predicted.seconds()));
            let _ = writeln!(text, "  {name:<10}{simulated:>12}{:>12}{predicted:>12}{difference:>12}", "");
        }
    }
    for (name, timeline) in [("prefill", &simulated.prefill), ("decode", &simulated.decode)] {
        let _ = writeln!(text, "  {name:<10}{}", busiest(timeline));
    }
    text
}

/// The busiest card and the fullest link; the first of equal ones.
fn busiest(timeline: &Timeline) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let card = timeline.cards.iter().rev().max_by_key(|card| card.kernels);
    let card = card.map(|card| {
        let share = card.kernels.seconds() / timeline.time.seconds().max(f64::MIN_POSITIVE);
        format!("{} in kernels {} of the time", card.sail, percent(share))
    });
    let full = |used: &MediumTime| used.utilisation(timeline.time);
    let link = timeline.media.iter().rev().max_by(|a, b| full(a).total_cmp(&full(b)));
    let link = link.map(|used| format!("{} {} full", used.medium, percent(full(used))));
    card.into_iter().chain(link).collect::<Vec<_>>().join(", ")
}
