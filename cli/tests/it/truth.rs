//! Replays against llama.cpp's logits (F32 KV cache, no flash attention, one thread), and against the one-Sail replay.

use crate::pipeline::{
    OnDisk, compiled, emitted, fleet, instructions, on_disk, replayed, small_request, splits_a_sum, staged,
};
use crate::tiny::{Kind, Tiny, golden};
use sailplan_codegen::{Instruction, Plan};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, Load, Picoseconds, Placement, Request, Verified, Verify, Wire, shards};
use sailplan_planner::{Config, evaluate, place};
use serde::Deserialize;

/// llama.cpp's logits for a prompt and greedy steps; one row a position.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) prompt_tokens: Vec<u32>,
    pub(crate) greedy_tokens: Vec<u32>,
    pub(crate) logits: Vec<Vec<f32>>,
}

const NAMES: [&str; 6] =
    ["tiny-gqa-f32", "tiny-gqa-q4_0", "tiny-gqa-q4_k", "tiny-gqa-q8_0", "tiny-mha-q4_0", "tiny-spm-q8_0"];

pub(crate) fn logits(name: &str) -> Golden {
    let path = format!("{}/tests/data/{name}.logits.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn model(name: &str) -> OnDisk {
    on_disk(name, &golden(name).unwrap())
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

/// F32: every logit within 2e-5. Quantised: rms difference / standard deviation ≤ 0.05, argmax equal at 95 %.
pub(crate) fn check(name: &str, what: &str, ours: &[Vec<f32>], theirs: &[Vec<f32>]) {
    assert_eq!(ours.len(), theirs.len(), "{what}: positions");
    let pairs: Vec<(f64, f64)> =
        ours.iter().flatten().zip(theirs.iter().flatten()).map(|(&a, &b)| (f64::from(a), f64::from(b))).collect();
    if name.ends_with("f32") {
        let largest = pairs.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest <= 2e-5, "{what}: off by {largest:e}");
        return;
    }
    let n = pairs.len() as f64;
    let mean = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
    let deviation = (pairs.iter().map(|pair| (pair.1 - mean).powi(2)).sum::<f64>() / n).sqrt();
    let rms = (pairs.iter().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / n).sqrt();
    assert!(rms / deviation <= 0.05, "{what}: rms/std {}", rms / deviation);
    let agree = ours.iter().zip(theirs).filter(|(a, b)| argmax(a) == argmax(b)).count();
    assert!(agree as f64 >= 0.95 * ours.len() as f64, "{what}: argmax agrees at {agree} of {}", ours.len());
}

/// One to four Sails on a ring and a mesh; the prompt at once, and token by token.
fn check_model(name: &str) {
    let (on_disk, golden) = (model(name), logits(name));
    let sequence = [golden.prompt_tokens.clone(), golden.greedy_tokens.clone()].concat();
    let request = small_request();
    for shape in ["ring", "mesh"] {
        for sails in 1..=4 {
            let plan = compiled(&on_disk.model, &fleet(sails, shape), &request);
            let what = format!("{name} on {sails} ({shape})");
            let prompt = golden.prompt_tokens.len();
            for prefill in [prompt, 1] {
                let report = replayed(&plan, &on_disk.weights, &sequence, prefill, 0);
                assert_eq!(report.first, prefill - 1);
                check(name, &format!("{what}, prefill {prefill}"), &report.logits, &golden.logits[prefill - 1..]);
            }
            if name.ends_with("f32") {
                let report = replayed(&plan, &on_disk.weights, &golden.prompt_tokens, prompt, 8);
                assert_eq!(report.generated, golden.greedy_tokens, "{what}: greedy tokens");
            }
        }
    }
}

#[test]
fn f32_equals_llama_cpp() {
    check_model("tiny-gqa-f32");
}

#[test]
fn q4_0_equals_llama_cpp() {
    check_model("tiny-gqa-q4_0");
}

#[test]
fn q4_k_equals_llama_cpp() {
    check_model("tiny-gqa-q4_k");
}

#[test]
fn q8_0_equals_llama_cpp() {
    check_model("tiny-gqa-q8_0");
}

#[test]
fn a_tied_head_equals_llama_cpp() {
    check_model("tiny-mha-q4_0");
}

#[test]
fn a_tokenizer_and_an_odd_width_equal_llama_cpp() {
    check_model("tiny-spm-q8_0");
}

pub(crate) fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
}

/// Pipelines over one-Sail stages split no sum; nor do the compiled plans that only gather.
#[test]
fn plans_without_a_split_sum_equal_one_sail_bit_for_bit() {
    let request = small_request();
    let mut gathered = 0;
    for name in NAMES.iter().filter(|name| !name.ends_with("f32")) {
        let (on_disk, golden) = (model(name), logits(name));
        let run = |plan| bits(&replayed(&plan, &on_disk.weights, &golden.prompt_tokens, 12, 4).logits);
        let segments = on_disk.model.segments.len();
        let one = run(compiled(&on_disk.model, &fleet(1, "ring"), &request));
        let stages: Vec<_> = (0..3).map(|s| (s..s + 1, s * segments / 3..(s + 1) * segments / 3)).collect();
        assert!(run(staged(&on_disk.model, &fleet(3, "ring"), &request, &stages)) == one, "{name}: pipeline of 3");
        for sails in 2..=6 {
            let plan = compiled(&on_disk.model, &fleet(sails, "mesh"), &request);
            if !splits_a_sum(&plan) {
                gathered += usize::from(plan.sails.len() > 1);
                assert!(run(plan) == one, "{name}: {sails} Sails");
            }
        }
    }
    assert!(gathered > 0, "no compiled plan gathers only: nothing was compared");
}

/// Pipelines of groups: the hop, the broadcast and both kinds of program.
#[test]
fn a_pipeline_of_groups_equals_llama_cpp() {
    let (on_disk, golden) = (model("tiny-gqa-f32"), logits("tiny-gqa-f32"));
    let sequence = [golden.prompt_tokens.clone(), golden.greedy_tokens.clone()].concat();
    for stages in [[(0..1, 0..2), (1..4, 2..5)], [(0..3, 0..3), (3..5, 3..5)], [(0..2, 0..4), (2..6, 4..5)]] {
        let plan = staged(&on_disk.model, &fleet(6, "ring"), &small_request(), &stages);
        let report = replayed(&plan, &on_disk.weights, &sequence, 12, 0);
        check("f32", &format!("{stages:?}"), &report.logits, &golden.logits[11..]);
    }
}

/// Other shapes than the golden ones, one to six Sails, against the one-Sail replay: one KV head, a tied head, an odd
/// vocabulary, another rotary base, five layers; prompts in several chunks.
#[test]
fn other_shapes_on_up_to_six_sails_equal_one_sail() {
    let shapes = [
        Tiny { heads: 4, kv_heads: 1, vocab: 301, layers: 2, hidden: 64, ffn: 96, ..Tiny::default() },
        Tiny { heads: 6, kv_heads: 3, vocab: 259, layers: 5, hidden: 96, ffn: 160, tied: true, ..Tiny::default() },
        Tiny { heads: 2, kv_heads: 2, vocab: 77, layers: 1, hidden: 64, ffn: 32, rope_base: 1e6, ..Tiny::default() },
        Tiny {
            kind: Kind::Q8_0,
            heads: 8,
            kv_heads: 2,
            vocab: 131,
            layers: 2,
            hidden: 128,
            ffn: 352,
            ..Tiny::default()
        },
    ];
    let tokens: Vec<u32> = (0..11).map(|i| i * 7 % 77).collect();
    let request = Request { prompt: 11, generate: 3, context: 16, chunk: 4, ..Request::default() }.verify().unwrap();
    for (index, tiny) in shapes.iter().enumerate() {
        let on_disk = on_disk(&format!("shape-{index}"), tiny);
        let run = |sails, shape: &str| {
            let plan = compiled(&on_disk.model, &fleet(sails, shape), &request);
            replayed(&plan, &on_disk.weights, &tokens, 11, 3)
        };
        let one = run(1, "ring");
        for sails in 2..=6 {
            for shape in ["ring", "mesh", "star"] {
                let many = run(sails, shape);
                let name = if tiny.kind == Kind::F32 { "f32" } else { "quantised" };
                check(name, &format!("shape {index} on {sails} ({shape})"), &many.logits, &one.logits);
            }
        }
    }
}

/// What several Sails hold is read once and handed on; loading each copy from the file gives the same bits.
#[test]
fn handed_on_weights_are_read_once_and_give_the_same_bits() {
    let tiny = Tiny { kind: Kind::Q8_0, heads: 8, kv_heads: 8, vocab: 131, tied: true, ..Tiny::default() };
    let on_disk = on_disk("handed-on", &tiny);
    let (fleet, request) = (fleet(4, "ring"), small_request());
    let stages = [(0..3, 0..2), (3..4, 2..on_disk.model.segments.len())];
    let mut placement = evaluate(&on_disk.model, &CostModel::new(&fleet, &request), &stages).unwrap();
    let run = |placement: &Placement| {
        let plan = emitted(&on_disk.model, &fleet, &request, placement);
        replayed(&plan, &on_disk.weights, &[1, 17, 42], 3, 2)
    };
    let chain = run(&placement);
    placement.loads.iter_mut().for_each(|load| load.hops.clear());
    let star = run(&placement);
    assert_eq!(bits(&chain.logits), bits(&star.logits));
    assert_eq!(chain.measured.loaded, on_disk.model.weight_bytes());
    assert!(star.measured.loaded > chain.measured.loaded);
}

/// Cards too small for the layers, some of which come from the file at every step: the bits of the same plan on cards
/// that hold all of them, and on one card those of the plan compiled for a roomy one.
#[test]
fn streamed_layers_give_the_bits_of_layers_on_the_card() {
    let tiny = Tiny { kind: Kind::Q8_0, layers: 5, vocab: 131, ..Tiny::default() };
    let (on_disk, request) = (on_disk("streamed", &tiny), small_request());
    let run = |plan: &Verified<Plan>| replayed(plan, &on_disk.weights, &[1, 17, 42, 99, 3], 3, 3);
    for (sails, kilobytes) in [(1, 2600), (2, 1700)] {
        let roomy = fleet(sails, "ring");
        let mut fleet = roomy.clone().into_inner();
        for kind in fleet.kinds.values_mut() {
            (kind.memory, kind.reserve) = (Bytes(kilobytes << 10), Bytes(0));
        }
        let fleet = fleet.verify().unwrap();
        let costs = CostModel::new(&fleet, &request);
        assert!(place(&on_disk.model, &costs, Config::default()).is_err(), "it fits on {sails} without streaming");
        let config = Config { stream: true, ..Config::default() };
        let mut placement = place(&on_disk.model, &costs, config).unwrap().placement;
        let plan = emitted(&on_disk.model, &fleet, &request, &placement);
        assert!(instructions(&plan).iter().any(|one| matches!(one, Instruction::Stream { .. })));
        let streamed = run(&plan);
        let choices = placement.stages.iter_mut().flat_map(|stage| &mut stage.choices);
        choices.for_each(|choice| choice.streams.clear());
        let shards = shards(&on_disk.model, &placement.stages).into_iter();
        placement.loads = shards.map(|shard| Load { shard, host: Picoseconds(0), hops: Vec::new() }).collect();
        let resident = run(&emitted(&on_disk.model, &roomy, &request, &placement));
        assert_eq!(bits(&streamed.logits), bits(&resident.logits), "{sails} Sails");
        assert!(streamed.measured.loaded < resident.measured.loaded);
        let compiled = run(&compiled(&on_disk.model, &roomy, &request));
        assert!(sails > 1 || bits(&streamed.logits) == bits(&compiled.logits));
    }
}

/// Rounding every message to bf16 changes the logits a little, equally on every run.
#[test]
fn a_bf16_wire_is_close_and_repeatable() {
    let (on_disk, golden) = (model("tiny-gqa-f32"), logits("tiny-gqa-f32"));
    let request = Request { wire: Wire::Bf16, ..*small_request() }.verify().unwrap();
    let plan = compiled(&on_disk.model, &fleet(4, "ring"), &request);
    let run = || replayed(&plan, &on_disk.weights, &golden.prompt_tokens, 12, 0).logits;
    let (first, second) = (run(), run());
    assert_eq!(bits(&first), bits(&second));
    check("bf16", "bf16 wire", &first, &golden.logits[11..12]);
}
