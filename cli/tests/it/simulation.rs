//! Two estimates of one plan: the planner's closed form and the simulation of events. Without overlap they agree to 1 %;
//! where they differ, the reason stands at the test. What overlap saves is what lockstep takes away.

use crate::commands::{at, code, json, said, sailplan, scratch};
use crate::pipeline::{compiled, fleet as rev_a, staged};
use sailplan_codegen::{Instruction, Plan};
use sailplan_cost_model::{parse_fleet, shipped_fleet};
use sailplan_executor::{Occupation, Progression, Simulation, predicted, predicted_steady, simulate, steady, traced};
use sailplan_ir::{Fleet, Model, Objective, Picoseconds, Request, Verified, Verify};
use std::ops::Range;

fn model(name: &str) -> Verified<Model> {
    sailplan_models::load_zoo(name).unwrap().model
}

fn fleet(name: &str) -> Verified<Fleet> {
    parse_fleet(name, shipped_fleet(name).unwrap()).unwrap()
}

fn request() -> Verified<Request> {
    Request::default().verify().unwrap()
}

/// Prefill and decode as shares of the prediction: 0.01 is one per cent too much.
fn differences(plan: &Verified<Plan>, progression: Progression) -> [f64; 2] {
    let Simulation { prefill, decode } = simulate(plan, progression).unwrap();
    let share = |time: Picoseconds, predicted: Picoseconds| time.seconds() / predicted.seconds() - 1.0;
    [share(prefill.time, plan.estimate.prefill), share(decode.time, plan.estimate.decode)]
}

/// To 1 %; in lockstep, which overlaps nothing, to a hundredth of that.
fn agrees(plan: &Verified<Plan>, progression: Progression) {
    let limit = if progression == Progression::Free { 0.01 } else { 0.0001 };
    for (program, difference) in ["prefill", "decode"].into_iter().zip(differences(plan, progression)) {
        let (on, percent) = (&plan.fleet.name, 100.0 * difference);
        assert!(difference.abs() < limit, "{} on {on}, {program}, {progression:?}: {percent:+.4} %", plan.model.name);
    }
}

/// Compiled plans: one card, and tensor parallel on rings, meshes and stars, on later cards, on boards whose
/// links are slow to answer.
#[test]
fn compiled_plans_agree_to_one_percent() {
    for (name, on) in [
        ("tinyllama-1.1b", "innerjib7ea-x1"),
        ("tinyllama-1.1b", "innerjib7ea-x2-star"),
        ("tinyllama-1.1b", "innerjib7ea-x4-ring"),
        ("tinyllama-1.1b", "innerjib7ea-x4-mesh"),
        ("tinyllama-1.1b", "innerjib7ea-x4-star"),
        ("tinyllama-1.1b", "innerjib7ea-x8-ring"),
        ("tinyllama-1.1b-q4_k_m", "innerjib7ea-x4-ring"),
        ("llama-2-7b", "innerjib7ea-x8-ring"),
        ("llama-2-7b", "popc-16a-x4"),
        ("llama-3-8b", "innerjib7ea-x16-ring"),
        ("llama-3-8b", "home-cluster-x5"),
        ("llama-3-70b", "foretopsail7ea-x4"),
    ] {
        let plan = compiled(&model(name), &fleet(on), &request());
        agrees(&plan, Progression::Free);
        agrees(&plan, Progression::Lockstep);
    }
}

/// Cards and segments of each stage: TinyLlama's chain is the embedding, 22 layers and the head.
type Stages = &'static [(Range<usize>, Range<usize>)];

/// One chunk, so that no stage works while another does: whole layers on a card, groups of two and of unlike sizes.
const STAGED: &[(&str, Stages)] = &[
    ("ring", &[(0..1, 0..6), (1..2, 6..12), (2..3, 12..18), (3..4, 18..24)]),
    ("ring", &[(0..2, 0..12), (2..4, 12..24)]),
    ("mesh", &[(0..3, 0..18), (3..4, 18..24)]),
    ("star", &[(0..1, 0..6), (1..4, 6..24)]),
];

#[test]
fn stages_agree_to_one_percent_when_there_is_one_chunk() {
    let model = model("tinyllama-1.1b");
    for (shape, stages) in STAGED {
        let plan = staged(&model, &rev_a(4, shape), &request(), stages);
        agrees(&plan, Progression::Free);
        agrees(&plan, Progression::Lockstep);
    }
}

/// A stage begins the next chunk when one has left it: all stages once, and the slowest once more for each further chunk.
#[test]
fn chunks_overlap_across_stages() {
    let model = model("tinyllama-1.1b");
    for chunk in [128, 60] {
        let request = Request { chunk, ..Request::default() }.verify().unwrap();
        for (shape, stages) in STAGED {
            agrees(&staged(&model, &rev_a(4, shape), &request, stages), Progression::Free);
        }
        let plan = staged(&model, &rev_a(4, "ring"), &request, STAGED[0].1);
        let (whole, chunks) = (predicted(&plan).unwrap().prefill, request.chunks());
        let slowest = predicted_steady(&plan).unwrap().prefill;
        assert_eq!(whole.time, plan.estimate.prefill);
        assert!(whole.time < slowest * (chunks + 3), "four stages, none slower than the slowest");
    }
}

/// With as many requests on their way as stages, chunks and tokens follow each other as fast as the slowest stage is done
/// with one and has sent it on.
#[test]
fn requests_follow_each_other_as_predicted() {
    let model = model("tinyllama-1.1b");
    for (on, chunk) in [("innerjib7ea-x4-ring", 512), ("innerjib7ea-x8-mesh", 100), ("innerjib7ea-mixed-x4-ring", 512)]
    {
        let request = Request { chunk, objective: Objective::Throughput, ..Request::default() }.verify().unwrap();
        let plan = compiled(&model, &fleet(on), &request);
        let (ours, theirs) = (predicted_steady(&plan).unwrap(), steady(&plan).unwrap());
        for (ours, theirs) in [(ours.prefill, theirs.prefill), (ours.decode, theirs.decode)] {
            let difference = theirs.seconds() / ours.seconds() - 1.0;
            assert!(difference.abs() < 0.01, "{on}: predicted {ours}, simulated {theirs}");
        }
        // One stage of a chain is the slowest in both programs, so its times make the period. Replicas that are unlike share
        // chunks and tokens otherwise than requests.
        let (chunks, tokens) = (request.chunks(), request.generate);
        let period = ours.prefill * chunks + ours.decode * tokens;
        let difference = plan.estimate.objective.seconds() / period.seconds() - 1.0;
        assert!(difference.abs() < 0.1, "{on}: predicted {}, of its parts {period}", plan.estimate.objective);
    }
}

/// One stage gains nothing from chunks but the latency of the last logits.
#[test]
fn chunks_of_one_stage_do_not_overlap() {
    let request = Request { prompt: 1000, chunk: 128, ..Request::default() }.verify().unwrap();
    agrees(&compiled(&model("tinyllama-1.1b"), &rev_a(4, "ring"), &request), Progression::Free);
}

/// Where messages to the next rank cross unlike ways, ranks end a collective at different times and begin the next ahead of
/// each other: a line of cards is never slower than its closed form, which waits for the last rank at every step.
#[test]
fn ranks_on_a_line_run_ahead_of_each_other() {
    let text = shipped_fleet("innerjib7ea-x4-ring").unwrap();
    let line = parse_fleet("line.ron", &text.replace("links: Ring(", "links: Line(")).unwrap();
    let plan = compiled(&model("tinyllama-1.1b"), &line, &request());
    agrees(&plan, Progression::Lockstep);
    for difference in differences(&plan, Progression::Free) {
        assert!((-0.01..-0.001).contains(&difference), "{difference}");
    }
}

/// Unlike cards have unequal shares, so the parts of their collectives may be unequal. The closed form takes each part for the
/// largest and every step for its slowest message; the simulation sends what there is, in lockstep too, and free ranks with
/// small parts run ahead. So it is shorter, most of all in prefill, where links count for half of the time. Where all parts are
/// even, the two agree.
#[test]
fn unequal_parts_are_priced_as_the_largest() {
    let plan = compiled(&model("llama-3-8b"), &fleet("innerjib7ea-mixed-x4-ring"), &request());
    let (free, lockstep) = (differences(&plan, Progression::Free), differences(&plan, Progression::Lockstep));
    for (free, lockstep) in free.into_iter().zip(lockstep) {
        assert!((-0.05..0.0).contains(&free) && (free..0.0001).contains(&lockstep), "{free} {lockstep}");
    }
    assert!(free[1].abs() < 0.01, "decode {free:?}");
    let even = compiled(&model("llama-3-8b"), &fleet("innerjib7ea-mixed-x8-ring"), &request());
    agrees(&even, Progression::Lockstep);
    agrees(&even, Progression::Free);
}

/// Adds to the first `Linear` of `card`'s layers, or to a kernel so many after it.
fn slowed(plan: &Plan, card: usize, kernel: usize) -> Verified<Plan> {
    let mut plan = plan.clone();
    let body = plan.sails[card].decode.instructions.iter_mut().find_map(|instruction| match instruction {
        Instruction::Repeat { body, .. } => Some(body),
        _ => None,
    });
    let product = |one: &&mut Instruction| !matches!(one, Instruction::Kernel { op: sailplan_ir::Op::Linear, .. });
    let kernels = body.unwrap().iter_mut().skip_while(product).filter_map(|instruction| match instruction {
        Instruction::Kernel { time, .. } => Some(time),
        _ => None,
    });
    *kernels.into_iter().nth(kernel).unwrap() += Picoseconds::from_micros(100);
    plan.verify().unwrap()
}

/// A kernel that is 100 µs slower on one card holds up the group once a layer: 22 · 100 µs. A second one, on another card
/// and before the same collective, costs nothing more; the closed form would add both. Plans give every rank the time of
/// the slowest, so this never shows in a plan as it is written.
#[test]
fn unequal_ranks_wait_at_the_next_collective() {
    let plan = compiled(&model("tinyllama-1.1b"), &rev_a(4, "mesh"), &request());
    let decode = |plan: &Verified<Plan>| simulate(plan, Progression::Free).unwrap().decode.time;
    let (even, one) = (decode(&plan), slowed(&plan, 1, 0));
    assert_eq!(decode(&one), even + Picoseconds::from_micros(2200));
    assert_eq!(decode(&slowed(&one, 2, 1)), even + Picoseconds::from_micros(2200));
}

#[test]
fn a_simulation_is_the_same_every_time() {
    let plan = compiled(&model("tinyllama-1.1b"), &rev_a(3, "star"), &request());
    for progression in [Progression::Free, Progression::Lockstep] {
        assert_eq!(simulate(&plan, progression).unwrap(), simulate(&plan, progression).unwrap());
    }
}

/// Skipping what repeats changes no figure: every layer and chunk run one by one gives the same times and bytes.
#[test]
fn skipping_what_repeats_changes_nothing() {
    let model = model("tinyllama-1.1b");
    let chunked = Request { prompt: 1000, chunk: 50, ..Request::default() }.verify().unwrap();
    let mut plans: Vec<Verified<Plan>> =
        STAGED.iter().map(|(shape, stages)| staged(&model, &rev_a(4, shape), &chunked, stages)).collect();
    plans.push(compiled(&model, &fleet("innerjib7ea-x8-ring"), &request()));
    plans.push(compiled(&model, &fleet("innerjib7ea-mixed-x4-ring"), &chunked));
    for (plan, progression) in
        plans.iter().flat_map(|plan| [Progression::Free, Progression::Lockstep].map(|progression| (plan, progression)))
    {
        let short = simulate(plan, progression).unwrap();
        let mut long = traced(plan, progression).unwrap();
        for timeline in [&mut long.prefill, &mut long.decode] {
            assert!(!std::mem::take(&mut timeline.spans).is_empty());
            timeline.media.iter_mut().for_each(|used| used.periods.clear());
        }
        assert_eq!(short, long, "{} {:?}", plan.fleet.name, progression);
    }
}

/// The predicted times of the instructions, laid end to end, are the estimate.
#[test]
fn the_predicted_lanes_add_up_to_the_estimate() {
    let model = model("tinyllama-1.1b");
    for (shape, stages) in STAGED {
        let plan = staged(&model, &rev_a(4, shape), &request(), stages);
        let lanes = predicted(&plan).unwrap();
        assert_eq!((lanes.prefill.time, lanes.decode.time), (plan.estimate.prefill, plan.estimate.decode), "{shape}");
    }
}

/// A card does one thing at a time, kernels take what the plan says, and busy times are those of the spans.
#[test]
fn the_times_of_a_card_are_those_of_its_spans() {
    let plan = compiled(&model("tinyllama-1.1b"), &rev_a(4, "ring"), &request());
    let Simulation { decode, .. } = traced(&plan, Progression::Free).unwrap();
    for card in &decode.cards {
        let spans: Vec<_> = decode.spans.iter().filter(|span| span.sail == card.sail).collect();
        assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let sum = |what: Occupation| -> Picoseconds {
            spans.iter().filter(|span| span.what == what).map(|span| span.end - span.start).sum()
        };
        assert_eq!((sum(Occupation::Kernels), sum(Occupation::Links)), (card.kernels, card.links));
        assert!(card.kernels + card.links + card.host <= decode.time);
    }
}

#[test]
fn simulate_prints_both_estimates_and_writes_a_trace() {
    let here = scratch("simulate");
    let (plan, trace) = (at(&here, "plan.ron"), at(&here, "trace.json"));
    let made = sailplan(&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x2-ring", "-o", &plan]);
    assert_eq!(code(&made), 0, "{}", said(&made));
    let result = json(&sailplan(&["simulate", &plan, "--trace", &trace, "--json"]));
    for estimate in ["simulated", "lockstep", "predicted"] {
        for time in ["prefill_s", "decode_s_per_token"] {
            assert!(result[estimate][time].as_f64().unwrap() > 0.0, "{estimate}.{time}");
        }
    }
    assert!(result["difference"]["decode"].as_f64().unwrap().abs() < 0.01);
    assert_eq!(result["decode"]["sails"].as_array().unwrap().len(), 2);
    let table = String::from_utf8(sailplan(&["simulate", &plan]).stdout).unwrap();
    for word in ["simulated", "in lockstep", "predicted", "difference", "in kernels"] {
        assert!(table.contains(word), "{table}");
    }
    let written: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&trace).unwrap()).unwrap();
    let events = written["traceEvents"].as_array().unwrap();
    let named = |name: &str| events.iter().any(|event| event["ph"] == "M" && event["args"]["name"] == name);
    for name in ["sail0", "sail1", "memory and compute", "links", "predicted", "sail0 → sail1", "host → all Sails"]
    {
        assert!(named(name), "no lane is called {name}");
    }
    let complete = |event: &&serde_json::Value| event["ph"] == "X";
    assert!(events.iter().filter(complete).all(|event| event["ts"].is_f64() && event["dur"].as_f64() >= Some(0.0)));
}

#[test]
fn a_broken_plan_is_no_plan_to_simulate() {
    let here = scratch("simulate-broken");
    let (plan, half, trace) = (at(&here, "plan.ron"), at(&here, "half.ron"), at(&here, "trace.json"));
    assert_eq!(code(&sailplan(&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x2-ring", "-o", &plan])), 0);
    let text = std::fs::read_to_string(&plan).unwrap();
    for broken in [&text[..text.len() / 2], &text.replacen("columns: 2048", "columns: 2047", 1), ""] {
        std::fs::write(&half, broken).unwrap();
        let output = sailplan(&["simulate", &half, "--trace", &trace]);
        assert_eq!(code(&output), 2, "{}", said(&output));
        assert!(said(&output).contains("half.ron") && output.stdout.is_empty());
        assert!(!std::path::Path::new(&trace).exists());
    }
    assert_eq!(code(&sailplan(&["simulate", &plan, "--trace", "/nowhere/trace.json"])), 2);
}
