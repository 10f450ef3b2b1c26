//! Tests only: caches of which each rank has some positions, and softmaxes over those, in 64-bit floating point.

use super::wrong::drawn;
use super::*;
use sailplan_ir::PositionShare;

/// The rows of a cache that a rank has.
pub(super) fn dealt(cache: &Dense, share: PositionShare) -> Dense {
    let rows: Vec<usize> = positions(cache.axes[0], share).collect();
    Dense::build(&[rows.len(), cache.columns()], |row, column| cache.at(rows[row], column))
}

pub(super) fn positions(of: usize, share: PositionShare) -> impl Iterator<Item = usize> {
    (share.first() as usize..of).step_by(share.of() as usize)
}

/// Evaluates an operator on caches of which a rank has these positions.
pub(super) fn evaluate(op: Op, inputs: &[&Dense], share: PositionShare) -> Dense {
    let at = |row: usize| share.first() as usize + row * share.of() as usize;
    match op {
        Op::KvAppend { .. } => Dense::build(&inputs[0].axes, |row, c| match at(row).checked_sub(START) {
            Some(new) if new < inputs[1].axes[0] => inputs[1].at(new, c),
            _ => inputs[0].at(row, c),
        }),
        Op::Attention { heads, kv_heads, head_dim, scores } => {
            let seen = |t: usize, row: usize| {
                let window = scores.window.map_or(usize::MAX, |window| window as usize);
                at(row) <= START + t && START + t - at(row) < window
            };
            softmax(inputs, ((heads / kv_heads) as usize, head_dim as usize), scores, &seen)
        }
        _ => panic!("{op:?} knows no positions"),
    }
}

/// For each head the sum of values by their weights, the weights' sum, and the highest score; of no positions 0, 0 and −∞.
pub(super) fn softmax(
    inputs: &[&Dense],
    (group, head_dim): (usize, usize),
    scores: Scores,
    seen: &dyn Fn(usize, usize) -> bool,
) -> Dense {
    let (q, k, v) = (inputs[0], inputs[1], inputs[2]);
    let (rows, wide) = (k.rows(), head_dim + 2);
    Dense::build(&[q.rows(), q.columns() / head_dim * wide], |t, c| {
        let (head, within) = (c / wide, c % wide);
        let score = |s: usize| -> f64 {
            let column = |i: usize| head / group * head_dim + i;
            let dot: f64 = (0..head_dim).map(|i| q.at(t, head * head_dim + i) * k.at(s, column(i))).sum();
            let scaled = dot * scores.scale.map_or(1.0 / (head_dim as f64).sqrt(), |scale| f64::from(scale.0));
            scores.softcap.map_or(scaled, |cap| capped(scaled, cap))
        };
        let held = || (0..rows).filter(|&s| seen(t, s));
        let highest = held().map(score).fold(f64::NEG_INFINITY, f64::max);
        let weights = held().map(|s| ((score(s) - highest).exp(), s));
        match within {
            _ if within == head_dim + 1 => highest,
            _ if within == head_dim => weights.map(|(weight, _)| weight).sum(),
            _ => weights.map(|(weight, s)| weight * v.at(s, head / group * head_dim + within)).sum(),
        }
    })
}

pub(super) fn head_dim(graph: &Graph, attended: TensorId) -> usize {
    match graph.producer(attended).map(|node| graph[node].op) {
        Some(Op::Attention { head_dim, .. }) => head_dim as usize,
        _ => panic!("no attention makes {attended}"),
    }
}

/// What softmaxes over parts of the positions merge to.
pub(super) fn merged(family: &Family, head_dim: usize) -> Dense {
    let wide = head_dim + 2;
    Dense::build(&[family[0].rows(), family[0].columns() / wide * head_dim], |t, c| {
        let first = c / head_dim * wide;
        let highest = family.iter().map(|part| part.at(t, first + head_dim + 1)).fold(f64::NEG_INFINITY, f64::max);
        let scaled = |column: usize| -> f64 {
            let one = |part: &Dense| part.at(t, column) * (part.at(t, first + head_dim + 1) - highest).exp();
            family.iter().map(one).sum()
        };
        scaled(first + c % head_dim) / scaled(first + head_dim)
    })
}

/// Largest difference of two values.
fn apart(ours: &Dense, theirs: &Dense) -> f64 {
    assert_eq!(ours.axes, theirs.axes);
    ours.data.iter().zip(&theirs.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// What is said of softmaxes over parts, and what would be wrong: to add them up, to take local rows for positions, two ranks with
/// the same positions, one that is left out, parts that prefill dealt otherwise, and figures that are not carried along.
#[test]
fn other_merges_would_be_wrong() {
    let mut random = Random(11);
    let (ranks, head_dim, tokens) = (3, 4, 2);
    let op = Op::Attention { heads: 4, kv_heads: 2, head_dim: head_dim as u32, scores: Scores::PLAIN };
    let context = START + tokens;
    let [q, k, v] =
        [(tokens, 16), (context, 8), (context, 8)].map(|(rows, columns)| drawn(&mut random, &[rows, columns]));
    let whole = super::evaluate(op, &[&q, &k, &v], 0);
    let share = |rank: usize| PositionShare::new(rank as u64, ranks as u64).unwrap();
    let part = |held: usize, taken_for: usize| {
        evaluate(op, &[&q, &dealt(&k, share(held)), &dealt(&v, share(held))], share(taken_for))
    };
    let merge = |parts: &[(usize, usize)]| {
        merged(&parts.iter().map(|&(held, taken_for)| part(held, taken_for)).collect(), head_dim)
    };
    assert!(apart(&merge(&[(0, 0), (1, 1), (2, 2)]), &whole) < 1e-12);
    assert!(apart(&merge(&[(2, 2), (0, 0), (1, 1)]), &whole) < 1e-12, "in any order");
    for wrong in
        [&[(0, 0), (1, 1)][..], &[(0, 0), (1, 1), (1, 1)], &[(0, 1), (1, 2), (2, 0)], &[(0, 0), (1, 1), (2, 2), (2, 2)]]
    {
        assert!(apart(&merge(wrong), &whole) > 1e-3, "{wrong:?}");
    }
    let own: Family = (0..ranks).map(|rank| merged(&vec![part(rank, rank)], head_dim)).collect();
    let sum = sum(&own);
    assert!(apart(&sum, &whole) > 1e-3, "added up");
    let mean = Dense::build(&sum.axes, |t, c| sum.at(t, c) / ranks as f64);
    assert!(apart(&mean, &whole) > 1e-3, "averaged");
    let local = |rank: usize| {
        let seen = |t: usize, row: usize| row <= START + t;
        softmax(&[&q, &dealt(&k, share(rank)), &dealt(&v, share(rank))], (2, head_dim), Scores::PLAIN, &seen)
    };
    assert!(apart(&merged(&(0..ranks).map(local).collect(), head_dim), &whole) > 1e-3, "rows taken for positions");
}
