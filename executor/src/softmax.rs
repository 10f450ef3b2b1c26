//! Softmaxes over some positions of a context, and what they merge to (Milakov & Gimelshein 2018, arXiv 1805.02867; Dao et al.
//! 2023, Flash-Decoding). Of each head there are the values by their weights `exp(score − highest)`, added up, then the
//! weights' sum, then the highest score; over no positions these are 0, 0 and −∞. They know slices only.

use crate::kernels::{Heads, scored};
use half::bf16;
use sailplan_ir::SOFTMAX_FIGURES;

/// What stands behind the elements of a head.
const FIGURES: usize = SOFTMAX_FIGURES as usize;

/// Higher scores are not rounded.
const ROUNDED: f32 = 4096.0;

/// Attention over the positions that the caches here have.
pub(crate) fn over_part(queries: &[f32], keys: &[f32], values: &[f32], heads: Heads) -> Vec<f32> {
    let (width, wide) = (heads.queries * heads.head_dim, heads.head_dim + FIGURES);
    if width == 0 || heads.keys == 0 {
        return Vec::new();
    }
    let mut out = vec![0.0; queries.len() / heads.head_dim * wide];
    let rows = queries.chunks_exact(width).zip(out.chunks_exact_mut(heads.queries * wide));
    for (row, (queries, into)) in rows.enumerate() {
        let each = queries.chunks_exact(heads.head_dim).zip(into.chunks_exact_mut(wide));
        for (head, (query, into)) in each.enumerate() {
            let seen = heads.seen(row, head);
            let scores = scored(query, seen.of(keys), heads.scores);
            let highest = shared(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let mut total = 0.0_f64;
            for (score, value) in scores.iter().zip(seen.of(values)) {
                let weight = (score - highest).exp();
                total += f64::from(weight);
                into.iter_mut().zip(value).for_each(|(sum, &value)| *sum += weight * value);
            }
            into[heads.head_dim] = total as f32;
            into[heads.head_dim + 1] = highest;
        }
    }
    out
}

/// A score no lower than the highest that a BF16 wire carries as it is: of weights and values a rounded wire leaves 8 bits, but a
/// rounded exponent would leave none.
fn shared(highest: f32) -> f32 {
    if highest.is_nan() || highest.abs() > ROUNDED {
        return highest;
    }
    let near = bf16::from_f32(highest);
    let up = if near.is_sign_negative() { near.to_bits().wrapping_sub(1) } else { near.to_bits() + 1 };
    if near.to_f32() < highest { bf16::from_bits(up).to_f32() } else { near.to_f32() }
}

/// Merges another part into one, head by head.
pub(crate) fn merge(own: &mut [f32], other: &[f32], head_dim: usize) {
    let wide = head_dim + FIGURES;
    for (own, other) in own.chunks_exact_mut(wide).zip(other.chunks_exact(wide)) {
        let highest = own[head_dim + 1].max(other[head_dim + 1]);
        if highest == f32::NEG_INFINITY {
            continue;
        }
        let [ours, theirs] = [&*own, other].map(|part| (part[head_dim + 1] - highest).exp());
        for (own, other) in own[..=head_dim].iter_mut().zip(other) {
            *own = *own * ours + other * theirs;
        }
        own[head_dim + 1] = highest;
    }
}

/// The softmax over all positions: elements by the sum of weights, without figures.
pub(crate) fn finished(merged: &[f32], head_dim: usize) -> Vec<f32> {
    let heads = merged.chunks_exact(head_dim + FIGURES);
    heads.flat_map(|head| head[..head_dim].iter().map(|element| element / head[head_dim])).collect()
}
