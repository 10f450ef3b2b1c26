//! Attention over parts of the context on several cards, merged, against attention over all of it on one.

use crate::kernels::{attended, buffer, device};
use crate::noise;
use sailplan_codegen::ReduceOp;
use sailplan_executor::{Cache, Collective, Cpu, Device, Exchange, Extent, Kernel, Operand, Pulse, Step, Threads};
use sailplan_ir::{Algorithm, CollectiveKind, Constant, DType, Op, PositionShare, SailId, Scores, Wire};
use std::time::Duration;

const HEADS: u64 = 6;
const HEAD: u64 = 8;
const KV: u64 = 24;
const WIDTH: usize = (HEADS * HEAD) as usize;
const WIDE: usize = (HEADS * (HEAD + 2)) as usize;

/// Appends a step's rows to the caches of a card that has some of the positions, then attends to those.
fn softmax(
    cpu: &mut Cpu,
    (dtype, scores): (DType, Scores),
    share: PositionShare,
    step: Step,
    rows: [&[f32]; 3],
) -> Vec<f32> {
    let cache =
        |place: u64| Operand::Cache(Cache { offset: place << 16, rows: share.most(16), share, columns: KV, dtype });
    let (q, kv, out) = (buffer(0, HEADS * HEAD), buffer(1, KV), buffer(2, WIDE as u64));
    let kernel = |op, inputs, output| Kernel { op, skip: 0, inputs, weights: Vec::new(), output, beside: Vec::new() };
    for place in [0, 1] {
        cpu.write(kv, step, rows[1 + place as usize]).expect("fits");
        let append = kernel(Op::KvAppend { head_dim: 8 }, vec![cache(place), Operand::Buffer(kv)], cache(place));
        cpu.run(&append, step).expect("appended");
    }
    cpu.write(q, step, rows[0]).expect("fits");
    let op = Op::Attention { heads: 6, kv_heads: 3, head_dim: 8, scores };
    cpu.run(&kernel(op, vec![Operand::Buffer(q), cache(0), cache(1)], Operand::Buffer(out)), step).expect("attended");
    cpu.read(out, step).expect("fits")
}

/// What each rank gets of softmaxes of so many rows: heads as even as they go, the first ranks' more.
fn merged(parts: &[Vec<f32>], rows: usize, (algorithm, wire): (Algorithm, Wire)) -> Vec<Vec<f32>> {
    let ranks = parts.len();
    let group: Vec<SailId> = (0..ranks as u16).map(SailId).collect();
    let heads = |rank: usize| (HEADS as usize / ranks + usize::from(rank < HEADS as usize % ranks)) as u64;
    let collective = Collective {
        kind: CollectiveKind::ReduceScatter,
        algorithm,
        op: ReduceOp::Merge { head_dim: HEAD as u32 },
        group: group.clone(),
        parts: (0..ranks).map(|rank| heads(rank) * HEAD).collect(),
        by_rows: false,
        experts: Vec::new(),
    };
    let ends = Threads::connect(&group, wire, Duration::from_secs(20), &Pulse::default());
    std::thread::scope(|scope| {
        let start = |(rank, mut end): (usize, Threads)| {
            let exchange = Exchange::new(collective.clone(), group[rank]).expect("a rank of the group");
            let operand = parts[rank].clone();
            scope.spawn(move || exchange.run(Extent { rows, columns: WIDE }, operand, &mut end).expect("a result"))
        };
        let threads: Vec<_> = ends.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// The ranks' columns side by side.
fn joined(parts: &[Vec<f32>], rows: usize) -> Vec<f32> {
    (0..rows).flat_map(|row| parts.iter().flat_map(move |part| chunk(part, row, rows))).copied().collect()
}

fn chunk(part: &[f32], row: usize, rows: usize) -> &[f32] {
    &part[part.len() / rows * row..part.len() / rows * (row + 1)]
}

fn furthest(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// One step of a chunk, then one of a token: cards that have seen no position yet, windows that leave all of a card's out.
#[test]
fn parts_merge_to_the_whole() {
    let plain = Scores::PLAIN;
    let all = [plain, Scores { window: Some(2), ..plain }, Scores { softcap: Some(Constant(0.5)), ..plain }];
    let steps = [Step { start: 0, tokens: 5 }, Step { start: 5, tokens: 1 }, Step { start: 6, tokens: 3 }];
    let schedules = [Algorithm::Ring, Algorithm::Direct, Algorithm::HalvingDoubling];
    for (ranks, scores) in (1..=7).flat_map(|ranks| all.iter().map(move |scores| (ranks, *scores))) {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let mut cards: Vec<Cpu> = (0..ranks).map(|_| device()).collect();
            let mut whole = device();
            for step in steps {
                let rows = step.tokens as usize;
                let (q, k, v) = (noise(rows * WIDTH, 1), noise(rows * 24, 2), noise(rows * 24, 3));
                let expected = attended(&mut whole, (dtype, scores), step, [&q, &k, &v], KV);
                let share = |rank: usize| PositionShare::new(rank as u64, ranks as u64).expect("a rank");
                if ranks == 1 {
                    assert_eq!(attended(&mut cards[0], (dtype, scores), step, [&q, &k, &v], KV), expected);
                    continue;
                }
                let one =
                    |(rank, card): (usize, &mut Cpu)| softmax(card, (dtype, scores), share(rank), step, [&q, &k, &v]);
                let parts: Vec<Vec<f32>> = cards.iter_mut().enumerate().map(one).collect();
                for algorithm in schedules {
                    let found = merged(&parts, rows, (algorithm, Wire::F32));
                    assert_eq!(found, merged(&parts, rows, (algorithm, Wire::F32)), "the same bits again");
                    let off = furthest(&joined(&found, rows), &expected);
                    assert!(off < 1e-6, "{ranks} cards, {algorithm}, {scores:?}, {step:?}: off by {off}");
                }
                let narrow = merged(&parts, rows, (Algorithm::Ring, Wire::Bf16));
                let off = furthest(&joined(&narrow, rows), &expected);
                assert!(off < 0.03, "{ranks} cards on a narrow wire: off by {off}");
            }
        }
    }
}

/// High scores lose nothing on a wire of 8 bits but what values lose; neither do very high ones on a wide wire.
#[test]
fn high_scores_stay_apart() {
    for (scale, wire, near) in [(300.0, Wire::Bf16, 0.05), (300.0, Wire::F32, 1e-4), (3e5, Wire::F32, 1e-4)] {
        let scores = Scores { scale: Some(Constant(scale)), ..Scores::PLAIN };
        let (q, k, v) = (noise(6 * WIDTH, 1), noise(6 * 24, 2), noise(6 * 24, 3));
        let step = Step { start: 0, tokens: 6 };
        let expected = attended(&mut device(), (DType::F32, scores), step, [&q, &k, &v], KV);
        let share = |rank: usize| PositionShare::new(rank as u64, 3).expect("a rank");
        let one = |rank: usize| softmax(&mut device(), (DType::F32, scores), share(rank), step, [&q, &k, &v]);
        let parts: Vec<Vec<f32>> = (0..3).map(one).collect();
        let off = furthest(&joined(&merged(&parts, 6, (Algorithm::Direct, wire)), 6), &expected);
        assert!(off < near, "{scale} on {wire:?}: off by {off}");
    }
}

/// Caches with different positions, more of them than a card has room for, and heads that are cut.
#[test]
fn what_does_not_fit_is_an_error() {
    let share = |first: u64| PositionShare::new(first, 2).expect("a rank");
    let cache = |place: u64, share, rows| {
        Operand::Cache(Cache { offset: place << 16, rows, share, columns: KV, dtype: DType::F32 })
    };
    let kernel = |op, inputs, output| Kernel { op, skip: 0, inputs, weights: Vec::new(), output, beside: Vec::new() };
    let step = Step { start: 0, tokens: 3 };
    let op = Op::Attention { heads: 6, kv_heads: 3, head_dim: 8, scores: Scores::PLAIN };
    let (q, out) = (Operand::Buffer(buffer(0, 48)), Operand::Buffer(buffer(2, WIDE as u64)));
    let other = kernel(op, vec![q, cache(0, share(0), 8), cache(1, share(1), 8)], out);
    assert!(device().run(&other, step).is_err());
    let full = cache(0, share(0), 1);
    let append = kernel(Op::KvAppend { head_dim: 8 }, vec![full, Operand::Buffer(buffer(1, KV))], full);
    assert!(device().run(&append, step).is_err(), "two of three positions");
    let collective = |parts: Vec<u64>, by_rows: bool| Collective {
        kind: CollectiveKind::ReduceScatter,
        algorithm: Algorithm::Ring,
        op: ReduceOp::Merge { head_dim: 8 },
        group: vec![SailId(0), SailId(1)],
        parts,
        by_rows,
        experts: Vec::new(),
    };
    let fits = |parts: Vec<u64>, by_rows: bool, columns: (u64, u64)| {
        let exchange = Exchange::new(collective(parts, by_rows), SailId(0)).expect("a rank");
        let rows = sailplan_ir::Dim::Tokens;
        exchange.fits((rows, columns.0), (rows, columns.1))
    };
    assert!(fits(vec![24, 24], false, (60, 24)));
    assert!(!fits(vec![24, 24], false, (48, 24)), "no figures");
    assert!(!fits(vec![20, 28], false, (60, 20)), "half a head");
    assert!(!fits(vec![24, 24], true, (60, 24)), "by rows");
}
