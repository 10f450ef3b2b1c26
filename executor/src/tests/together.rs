//! Several cards give what one card gives.

use super::model::WeightFile;
use super::tiny::{Case, Group, Share, Sizes, with_wire};
use crate::cpu::Cpu;
use crate::replay::replay_on;
use crate::{Report, Session};
use sailplan_codegen::Instruction;
use sailplan_ir::{Bytes, CollectiveKind, DType, Request, SailId, Wire};

fn run(case: &Case, file: &WeightFile, prefill: usize) -> Report {
    let tokens = vec![1, 17, 42, 7, 90, 3, 64];
    let session = Session { prefill, ..Session::new(tokens, 4) };
    replay_on::<Cpu>(&case.plan(), &file.index, &session).expect("a report")
}

/// One group whose cards have these shares of 4 KV heads, 512 FFN columns and 96 tokens.
fn group(layers: std::ops::Range<u32>, bounds: &[(u64, u64, u64)]) -> Group {
    let share = |pair: &[(u64, u64, u64)]| Share {
        kv_heads: pair[0].0..pair[1].0,
        ffn: pair[0].1..pair[1].1,
        vocabulary: pair[0].2..pair[1].2,
    };
    Group { layers, shares: bounds.windows(2).map(share).collect() }
}

fn apart(a: &Report, b: &Report) -> f32 {
    let pairs = a.logits.iter().flatten().zip(b.logits.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn uneven_shares_and_idle_cards_agree_with_one_card() {
    let sizes = Sizes::default();
    let file = WeightFile::new(&sizes, "uneven");
    let alone = Case::alone(sizes.clone());
    let expected = run(&alone, &file, 5);
    assert_eq!((expected.first, expected.logits.len(), expected.tokens.len()), (4, 7, 11));
    // The third card has no heads, the second no FFN columns and no tokens.
    let bounds = [(0, 0, 0), (1, 96, 70), (4, 96, 70), (4, 512, 96)];
    for &algorithm in CollectiveKind::AllReduce.algorithms() {
        let groups = vec![group(0..sizes.layers, &bounds)];
        let found = run(&Case { groups, algorithm, ..alone.clone() }, &file, 5);
        assert_eq!(found.generated, expected.generated);
        assert!(apart(&found, &expected) < 2e-5, "{algorithm}: {}", apart(&found, &expected));
    }
}

#[test]
fn a_pipeline_gives_the_bits_of_one_card() {
    let sizes = Sizes { dtype: DType::Q4_0, ..Sizes::default() };
    let file = WeightFile::new(&sizes, "pipeline");
    let alone = Case::alone(sizes.clone());
    let groups = vec![
        Group { layers: 0..1, shares: vec![Share::all(&sizes)] },
        Group { layers: 1..3, shares: vec![Share::all(&sizes)] },
    ];
    assert_eq!(run(&Case { groups, ..alone.clone() }, &file, 7).logits, run(&alone, &file, 7).logits);
}

#[test]
fn chunks_and_single_tokens_give_the_same_bits() {
    for dtype in [DType::F32, DType::F16, DType::Q8_0, DType::Q4_K] {
        let sizes = Sizes { dtype, ..Sizes::default() };
        let file = WeightFile::new(&sizes, &format!("chunks-{dtype}"));
        let case = Case::alone(sizes);
        let (all, one) = (run(&case, &file, 7), run(&case, &file, 1));
        assert_eq!(all.logits, one.logits[6..], "{dtype}");
        let again = run(&case, &file, 7);
        assert_eq!(all.logits, again.logits, "{dtype}");
    }
}

#[test]
fn a_second_slice_of_a_tensor_has_a_name_of_its_own() {
    let sizes = Sizes { layers: 1, ..Sizes::default() };
    let file = WeightFile::new(&sizes, "tied");
    let mut tied = file.index.clone();
    tied.tensors.insert("output.weight".to_owned(), tied.tensors["token_embd.weight"].clone());
    let mut plan = Case::alone(sizes).plan();
    let session = Session::new(vec![1, 2], 2);
    let expected = replay_on::<Cpu>(&plan, &tied, &session).expect("a report");
    tied.tensors.remove("output.weight");
    let sail = &mut plan.sails[0];
    let second = || "token_embd.weight#2".to_owned();
    for resident in sail.weights.iter_mut().filter(|resident| resident.name == "output.weight") {
        resident.name = second();
    }
    for load in sail.load.iter_mut().filter(|load| load.weight == "output.weight") {
        load.weight = second();
    }
    for instruction in sail.prefill.instructions.iter_mut().chain(&mut sail.decode.instructions) {
        match instruction {
            Instruction::Kernel { weights, .. } if weights == &["output.weight"] => *weights = vec![second()],
            _ => {}
        }
    }
    let found = replay_on::<Cpu>(&plan, &tied, &session).expect("a report");
    assert_eq!(found.logits, expected.logits);
}

#[test]
fn a_narrow_wire_and_narrow_caches_stay_close() {
    let sizes = Sizes::default();
    let file = WeightFile::new(&sizes, "narrow");
    let alone = Case::alone(sizes.clone());
    let expected = run(&alone, &file, 7);
    let groups = vec![group(0..sizes.layers, &[(0, 0, 0), (2, 256, 48), (4, 512, 96)])];
    let narrow = with_wire(&Case { groups, ..alone.clone() }, Wire::Bf16);
    let found = run(&narrow, &file, 7);
    let far = apart(&found, &expected);
    assert!(far > 0.0 && far < 0.2, "bf16 wire: {far}");
    let request = Request { cache: DType::F16, ..alone.request };
    let far = apart(&run(&Case { request, ..alone }, &file, 7), &expected);
    assert!(far > 0.0 && far < 0.02, "f16 caches: {far}");
}

/// Three cards hold the norms; two of them take the norms from the card before.
fn hand_on(plan: &mut sailplan_codegen::Plan) {
    let last = plan.sails.len() - 1;
    for (number, sail) in plan.sails.iter_mut().enumerate() {
        for load in sail.load.iter_mut().filter(|load| load.weight.contains("norm")) {
            load.from = number.checked_sub(1).map(|before| SailId(before as u16));
            load.to = (number < last).then_some(SailId(number as u16 + 1));
        }
        sail.load.sort_by_key(|load| load.from.is_none() && load.to.is_none());
    }
}

#[test]
fn shards_that_are_handed_on_give_the_same_bits_and_are_read_once() {
    for wire in [Wire::F32, Wire::Bf16] {
        let sizes = Sizes { dtype: DType::Q4_0, ..Sizes::default() };
        let file = WeightFile::new(&sizes, &format!("handed-{wire:?}"));
        let groups = vec![group(0..sizes.layers, &[(0, 0, 0), (1, 96, 32), (3, 256, 64), (4, 512, 96)])];
        let case = with_wire(&Case { groups, ..Case::alone(sizes.clone()) }, wire);
        let session = || Session::new(vec![1, 17, 42], 2);
        let mut plan = case.plan();
        let star = replay_on::<Cpu>(&plan, &file.index, &session()).expect("from the host");
        hand_on(&mut plan);
        let chain = replay_on::<Cpu>(&plan, &file.index, &session()).expect("from card to card");
        assert_eq!(star.logits, chain.logits, "{wire:?}");
        // Six norms of the layers and one at the end, 256 F32 each, for two cards more than one.
        assert_eq!(star.measured.loaded - chain.measured.loaded, Bytes(2 * 7 * 256 * 4));
        assert_eq!(chain.measured.loaded, file.index.tensors.values().map(|tensor| tensor.bytes).sum());
    }
}

#[test]
fn a_shard_of_another_size_is_refused() {
    let sizes = Sizes { layers: 1, ..Sizes::default() };
    let file = WeightFile::new(&sizes, "other-size");
    let groups = vec![group(0..1, &[(0, 0, 0), (2, 256, 48), (4, 512, 96)])];
    let mut plan = Case { groups, ..Case::alone(sizes) }.plan();
    hand_on(&mut plan);
    let sent = plan.sails[0].load.iter_mut().find(|load| load.weight.contains("attn_q")).expect("a matrix");
    sent.to = Some(SailId(1));
    plan.sails[0].load.sort_by_key(|load| !load.weight.contains("attn_q"));
    let error = replay_on::<Cpu>(&plan, &file.index, &Session::new(vec![1], 0)).expect_err("a matrix for a norm");
    assert_eq!(error.to_string(), "sail1 expected 1024 elements from sail0 in loading and got 131072");
}

/// The weights of all layers stay on the host; each layer's come to the first layer's place.
fn stream(plan: &mut sailplan_codegen::Plan) {
    for sail in &mut plan.sails {
        let mut streams = Vec::new();
        for resident in sail.weights.iter_mut().filter(|resident| resident.layers.is_some()) {
            (resident.streamed, resident.stride) = (true, Bytes(0));
            let (weight, bytes) = (resident.name.clone(), resident.bytes);
            streams.push(Instruction::Stream { weight, bytes, time: sailplan_ir::Picoseconds(0) });
        }
        sail.load.retain(|load| load.layers.is_none());
        for program in [&mut sail.prefill, &mut sail.decode] {
            for instruction in &mut program.instructions {
                if let Instruction::Repeat { body, .. } = instruction {
                    body.splice(0..0, streams.iter().cloned());
                }
            }
        }
    }
}

#[test]
fn streamed_weights_give_the_same_bits() {
    let sizes = Sizes { dtype: DType::Q4_0, ..Sizes::default() };
    let file = WeightFile::new(&sizes, "streamed");
    let groups = vec![group(0..sizes.layers, &[(0, 0, 0), (2, 256, 48), (4, 512, 96)])];
    for case in [Case::alone(sizes.clone()), Case { groups, ..Case::alone(sizes) }] {
        let session = || Session::new(vec![1, 17, 42], 2);
        let mut plan = case.plan();
        let resident = replay_on::<Cpu>(&plan, &file.index, &session()).expect("all on the cards");
        stream(&mut plan);
        let streamed = replay_on::<Cpu>(&plan, &file.index, &session()).expect("layers on the host");
        assert_eq!(resident.logits, streamed.logits);
        assert!(streamed.measured.loaded < resident.measured.loaded);
    }
}
