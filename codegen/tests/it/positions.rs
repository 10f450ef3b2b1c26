//! Caches of which each card has some positions: what of them is refused, with the words that are said.

use crate::placements::{plan_of, sound};
use sailplan_codegen::{Instruction, Plan, ReduceOp, SailPlan, Slice};
use sailplan_ir::{Bytes, PositionShare, Verify};

/// Changes a sound plan; the first problem must say this.
#[track_caller]
fn refused(change: impl Fn(&mut Plan), words: &str) {
    let mut plan = plan_of("context");
    sound(&plan);
    change(&mut plan);
    let problems = plan.problems();
    assert!(problems.0.first().is_some_and(|first| first.message.contains(words)), "{problems}");
}

fn share(first: u64, of: u64) -> Slice {
    Slice::Positions(PositionShare::new(first, of).unwrap())
}

fn caches(plan: &mut Plan, sail: usize, slice: Slice) {
    plan.sails[sail].caches.iter_mut().for_each(|cache| cache.slice = slice);
}

/// The bodies of a card's layers in both phases.
fn bodies(sail: &mut SailPlan) -> impl Iterator<Item = &mut Vec<Instruction>> {
    let programs = [&mut sail.prefill, &mut sail.decode];
    programs.into_iter().flat_map(|program| &mut program.instructions).filter_map(|instruction| match instruction {
        Instruction::Repeat { body, .. } => Some(body),
        _ => None,
    })
}

/// Every merge of all cards.
fn merges(plan: &mut Plan, change: impl Fn(&mut Instruction)) {
    for instruction in plan.sails.iter_mut().flat_map(bodies).flatten() {
        if matches!(instruction, Instruction::Collective { op: Some(ReduceOp::Merge { .. }), .. }) {
            change(instruction);
        }
    }
}

#[test]
fn cards_hold_their_positions() {
    let plan = plan_of("context of three");
    let request = &plan.request;
    for (rank, sail) in [2, 0, 1].into_iter().enumerate() {
        let held = plan.sails.iter().find(|one| one.sail.0 == sail).unwrap();
        for cache in &held.caches {
            assert_eq!(cache.slice, share(rank as u64, 3));
            let rows = request.decode_limit().context.div_ceil(3);
            assert_eq!(cache.bytes, Bytes(rows * 2 * 16 * cache.dtype.block_bytes()));
        }
    }
    let columns = |name: &str| plan.sails[0].prefill.buffers.iter().find(|one| one.name == name).unwrap().columns;
    assert_eq!(columns("layer.attn.softmax"), 4 * (16 + 2));
}

#[test]
fn two_cards_with_the_same_positions_are_refused() {
    refused(|plan| caches(plan, 1, share(0, 2)), "has not all positions of");
    refused(|plan| plan.sails[1].caches[0].slice = share(0, 2), "operands have different positions: 0 of 2 and 1 of 2");
}

#[test]
fn other_parts_are_refused() {
    refused(|plan| caches(plan, 1, share(1, 3)), "its shape says");
    refused(|plan| caches(plan, 1, Slice::Cut { axis: 0, start: 0, end: 16 }), "along its positions");
    let whole = |plan: &mut Plan| {
        let context = plan.request.decode_limit().context;
        for cache in &mut plan.sails[1].caches {
            (cache.slice, cache.bytes) = (Slice::Whole, Bytes(context * 32 * cache.dtype.block_bytes()));
        }
    };
    refused(whole, "");
    refused(|plan| plan.sails[0].weights[1].slice = share(0, 2), "cannot be cut so");
}

#[test]
fn softmaxes_are_only_merged() {
    let summed = |plan: &mut Plan| merges(plan, |one| reduce(one, Some(ReduceOp::Sum)));
    refused(summed, "have not the shapes that its parts say");
    refused(|plan| merges(plan, |one| reduce(one, None)), "where Some(Sum) is meant");
    let heads = |plan: &mut Plan| merges(plan, |one| reduce(one, Some(ReduceOp::Merge { head_dim: 32 })));
    refused(heads, "have not the shapes that its parts say");
    let none = |plan: &mut Plan| merges(plan, |one| reduce(one, Some(ReduceOp::Merge { head_dim: 0 })));
    refused(none, "have not the shapes that its parts say");
    refused(|plan| merges(plan, |one| from(one, "layer.attn_norm")), "");
}

fn reduce(instruction: &mut Instruction, to: Option<ReduceOp>) {
    if let Instruction::Collective { op, .. } = instruction {
        *op = to;
    }
}

fn from(instruction: &mut Instruction, name: &str) {
    if let Instruction::Collective { buffer, .. } = instruction {
        *buffer = name.to_owned();
    }
}

/// A sum whose buffer is as wide as softmaxes are.
#[test]
fn a_sum_is_not_merged() {
    let merged = |plan: &mut Plan| {
        for instruction in plan.sails.iter_mut().flat_map(bodies).flatten() {
            if let Instruction::Collective { op: op @ Some(ReduceOp::Sum), .. } = instruction {
                *op = Some(ReduceOp::Merge { head_dim: 16 });
            }
        }
    };
    refused(merged, "have not the shapes that its parts say");
}

/// A cache that a card holds a second time, so that one phase could fill one and the other read the other.
#[test]
fn a_second_copy_of_a_cache_is_refused() {
    let copied = |plan: &mut Plan| {
        let sail = &mut plan.sails[0];
        let mut copy = sail.caches[0].clone();
        copy.name = format!("{}#2", copy.name);
        copy.offset = sail.memory.kv;
        let layers = copy.layers.as_ref().map_or(1, |layers| u64::from(layers.0.end - layers.0.start));
        sail.memory.kv += copy.stride * layers;
        sail.caches.push(copy);
    };
    refused(copied, "is a cache that the Sail holds already");
}
