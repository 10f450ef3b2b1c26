//! Plans whose cards have parts of the context: replays against llama.cpp's logits and the one-Sail replay, proofs, and a context
//! that fits only so.

use crate::pipeline::{compiled, fleet, instructions, on_disk, replayed};
use crate::tiny::{Tiny, golden};
use crate::truth::{bits, check, logits};
use sailplan_codegen::{Instruction, Plan, ReduceOp, Slice};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Bytes, Fleet, Objective, Request, Verified, Verify, Wire};
use sailplan_planner::{Config, place};

/// Cards whose memory is so slow that exchanges cost nothing beside reading caches.
fn slow(sails: u16, shape: &str) -> Verified<Fleet> {
    let text = shipped_fleet(&format!("innerjib7ea-x4-{shape}")).unwrap();
    let text =
        text.replace("count: 4", &format!("count: {sails}")).replace("bandwidth: \"2 GB/s\"", "bandwidth: \"1 MB/s\"");
    parse_fleet("fleet.ron", &text).unwrap()
}

fn merges(plan: &Plan) -> bool {
    let merge = |one: &&Instruction| matches!(one, Instruction::Collective { op: Some(ReduceOp::Merge { .. }), .. });
    let dealt = plan.sails.iter().all(|sail| sail.caches.iter().all(|held| matches!(held.slice, Slice::Positions(_))));
    dealt && instructions(plan).iter().any(merge)
}

/// A request for so long a context that caches weigh more than weights, which the replay does not fill.
fn long(chunk: u64, wire: Wire) -> Verified<Request> {
    let lengths = Request { prompt: 4000, generate: 96, context: 4096, ..Request::default() };
    Request { chunk, wire, objective: Objective::Decode, ..lengths }.verify().unwrap()
}

/// Four KV heads on five to eight cards; the prompt at once, in chunks that end inside a turn, and token by token.
#[test]
fn parts_of_the_context_equal_llama_cpp() {
    let (on_disk, golden) = (on_disk("tiny-gqa-f32", &golden("tiny-gqa-f32").unwrap()), logits("tiny-gqa-f32"));
    let sequence = [golden.prompt_tokens.clone(), golden.greedy_tokens.clone()].concat();
    for (sails, shape, chunk) in [(5, "ring", 512), (6, "mesh", 5), (8, "star", 7)] {
        let plan = compiled(&on_disk.model, &slow(sails, shape), &long(chunk, Wire::F32));
        assert!(merges(&plan), "{sails} cards have no parts of the context");
        for prefill in [golden.prompt_tokens.len(), 1] {
            let report = replayed(&plan, &on_disk.weights, &sequence, prefill, 0);
            let what = format!("{sails} ({shape}), chunks of {chunk}, prefill {prefill}");
            check("f32", &what, &report.logits, &golden.logits[prefill - 1..]);
        }
    }
}

/// One KV head on two to four cards, and three on four, against one Sail, with the same bits every time.
#[test]
fn parts_of_the_context_equal_one_sail() {
    let shapes = [
        (2, Tiny { heads: 4, kv_heads: 1, vocab: 301, layers: 2, hidden: 64, ffn: 96, ..Tiny::default() }),
        (4, Tiny { heads: 6, kv_heads: 3, vocab: 259, layers: 2, hidden: 96, ffn: 160, tied: true, ..Tiny::default() }),
    ];
    let tokens: Vec<u32> = (0..11).map(|i| i * 7 % 77).collect();
    let request = long(4, Wire::F32);
    for (index, (least, tiny)) in shapes.iter().enumerate() {
        let on_disk = on_disk(&format!("context-{index}"), tiny);
        let one = replayed(&compiled(&on_disk.model, &fleet(1, "ring"), &request), &on_disk.weights, &tokens, 11, 3);
        for sails in *least..=4 {
            let plan = compiled(&on_disk.model, &slow(sails, "mesh"), &request);
            assert!(merges(&plan), "shape {index} on {sails}");
            let many = replayed(&plan, &on_disk.weights, &tokens, 11, 3);
            check("f32", &format!("shape {index} on {sails}"), &many.logits, &one.logits);
            let again = replayed(&plan, &on_disk.weights, &tokens, 11, 3);
            assert_eq!(bits(&many.logits), bits(&again.logits));
        }
    }
}

/// Rounding every message, softmaxes too, changes the logits a little.
#[test]
fn a_narrow_wire_carries_softmaxes() {
    let (on_disk, golden) = (on_disk("tiny-gqa-f32", &golden("tiny-gqa-f32").unwrap()), logits("tiny-gqa-f32"));
    let plan = compiled(&on_disk.model, &slow(6, "ring"), &long(512, Wire::Bf16));
    assert!(merges(&plan));
    let report = replayed(&plan, &on_disk.weights, &golden.prompt_tokens, 12, 0);
    check("bf16", "bf16 wire", &report.logits, &golden.logits[11..12]);
}

/// One KV head and 12,288 positions on four cards, each with room for a quarter of the caches and little else. Heads cannot be cut, and
/// a card that holds a layer by itself holds half of them.
#[test]
fn a_longer_context_fits() {
    let tiny = Tiny { heads: 4, kv_heads: 1, vocab: 64, layers: 2, hidden: 64, ffn: 64, ..Tiny::default() };
    let model = on_disk("context-long", &tiny).model;
    let request =
        Request { prompt: 16, generate: 16, context: 12_288, chunk: 8, ..Request::default() }.verify().unwrap();
    let caches: Bytes = {
        let caches = model.graph.with_role(sailplan_ir::Role::Cache);
        caches.map(|cache| model.graph[cache].bytes(request.decode_limit())).sum()
    };
    let mut fleet = fleet(4, "mesh").into_inner();
    for kind in fleet.kinds.values_mut() {
        (kind.memory, kind.reserve) = (Bytes(caches.0 / 4 + (128 << 10)), Bytes(0));
    }
    let fleet = fleet.verify().unwrap();
    let placement = place(&model, &CostModel::new(&fleet, &request), Config::default()).unwrap().placement;
    let used = placement.stages.iter().flat_map(|stage| &stage.memory).map(|memory| memory.kv).max().unwrap();
    assert_eq!((placement.stages.len(), used), (1, Bytes(caches.0 / 4)));
}
