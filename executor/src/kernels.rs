//! Kernels without weights of many rows: norms, positions, attention, elementwise. Rows are independent of each other,
//! so that a chunk gives the bits that its tokens give one by one. They know slices only.

use crate::linear::dot;
use sailplan_ir::{Pairs, PositionShare, Scores};

/// `x / sqrt(mean(x²) + epsilon) · gain` for each row; squares are added in f64, as ggml does.
pub(crate) fn rms_norm(x: &[f32], gain: &[f32], epsilon: f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(gain.len().max(1)) {
        let squares: f64 = row.iter().map(|&value| f64::from(value * value)).sum();
        let scale = 1.0 / ((squares / row.len() as f64) as f32 + epsilon).sqrt();
        out.extend(row.iter().zip(gain).map(|(&value, &gain)| value * scale * gain));
    }
    out
}

/// Adds a vector to each row.
pub(crate) fn bias(x: &[f32], vector: &[f32]) -> Vec<f32> {
    x.iter().zip(vector.iter().cycle()).map(|(a, b)| a + b).collect()
}

/// The attributes of a rotary embedding.
#[derive(Clone, Copy)]
pub(crate) struct Rotary {
    pub(crate) head_dim: usize,
    pub(crate) rotary_dim: usize,
    pub(crate) base: f32,
    /// Position of the first row.
    pub(crate) start: u64,
    pub(crate) pairs: Pairs,
}

/// Rotates pair i of each head, (2i, 2i+1) or (i, i + rotary_dim / 2), by `position · base^(−2i / rotary_dim) / divisor_i`; angles are f64, so far
/// positions lose nothing.
pub(crate) fn rope(x: &[f32], columns: usize, rotary: Rotary, divisors: Option<&[f32]>) -> Vec<f32> {
    let mut out = x.to_vec();
    let pairs = rotary.rotary_dim / 2;
    let frequency = |i: usize| {
        let divisor = divisors.and_then(|all| all.get(i)).map_or(1.0, |&divisor| f64::from(divisor));
        f64::from(rotary.base).powf(-2.0 * i as f64 / rotary.rotary_dim as f64) / divisor
    };
    let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
    if columns == 0 || pairs == 0 {
        return out;
    }
    for (position, row) in (rotary.start..).zip(out.chunks_exact_mut(columns)) {
        let turn = |frequency: &f64| (position as f64 * frequency).sin_cos();
        let turns: Vec<(f64, f64)> = frequencies.iter().map(turn).collect();
        for head in row.chunks_exact_mut(rotary.head_dim) {
            for (i, &(sin, cos)) in turns.iter().enumerate() {
                let (first, second) = match rotary.pairs {
                    Pairs::Adjacent => (2 * i, 2 * i + 1),
                    Pairs::Halves => (i, i + pairs),
                };
                let (a, b, sin, cos) = (head[first], head[second], sin as f32, cos as f32);
                head[first] = a * cos - b * sin;
                head[second] = a * sin + b * cos;
            }
        }
    }
    out
}

/// `silu(gate) · up`.
pub(crate) fn swiglu(gate: f32, up: f32) -> f32 {
    gate / (1.0 + (-gate).exp()) * up
}

/// `gelu(gate) · up` with the approximation by tanh, computed in f32 as ggml does.
pub(crate) fn geglu(gate: f32, up: f32) -> f32 {
    const ROOT_OF_2_OVER_PI: f32 = 0.797_884_6;
    let gelu = 0.5 * gate * (1.0 + (ROOT_OF_2_OVER_PI * gate * (1.0 + 0.044_715 * gate * gate)).tanh());
    gelu * up
}

/// One value of two, element by element.
pub(crate) fn pairwise(a: &[f32], b: &[f32], join: fn(f32, f32) -> f32) -> Vec<f32> {
    a.iter().zip(b).map(|(&a, &b)| join(a, b)).collect()
}

/// `cap · tanh(x / cap)`.
pub(crate) fn soft_cap(value: f32, cap: f32) -> f32 {
    (value / cap).tanh() * cap
}

/// Elementwise sum.
pub(crate) fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The heads that attention works on, as this card holds them.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// Query heads that read one KV head.
    pub(crate) group: usize,
    /// Of those that read the first one here, how many come before the first query head.
    pub(crate) skip: usize,
    pub(crate) head_dim: usize,
    /// Position of the first query row; row r sees positions up to `start + r`.
    pub(crate) start: usize,
    /// The positions of the rows of caches here.
    pub(crate) share: PositionShare,
    pub(crate) scores: Scores,
}

impl Heads {
    /// For a query row and a query head here, the keys or values that it sees, of all rows that are here.
    pub(crate) fn seen(&self, row: usize, head: usize) -> Stripe {
        let end = self.start + row + 1;
        let first = self.scores.window.map_or(0, |window| end.saturating_sub(window as usize));
        let [first, end] = [first, end].map(|position| self.share.count(position as u64) as usize);
        let column = (self.skip + head) / self.group.max(1) * self.head_dim;
        let (step, columns) = (self.keys * self.head_dim, self.head_dim);
        Stripe { step, column, columns, first, rows: end - first }
    }
}

/// Causal grouped-query attention over caches that hold one row of `keys × head_dim` for each position.
pub(crate) fn attention(queries: &[f32], keys: &[f32], values: &[f32], heads: Heads) -> Vec<f32> {
    let mut out = vec![0.0; queries.len()];
    let width = heads.queries * heads.head_dim;
    if width == 0 || heads.keys == 0 {
        return out;
    }
    let rows = queries.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for (row, (queries, into)) in rows.enumerate() {
        let each = queries.chunks_exact(heads.head_dim).zip(into.chunks_exact_mut(heads.head_dim));
        for (head, (query, into)) in each.enumerate() {
            let stripe = heads.seen(row, head);
            attend(query, stripe.of(keys), stripe.of(values), (heads.scores, &mut *into));
        }
    }
    out
}

/// One head's columns in some rows of a cache.
#[derive(Clone, Copy)]
pub(crate) struct Stripe {
    step: usize,
    column: usize,
    columns: usize,
    first: usize,
    rows: usize,
}

impl Stripe {
    pub(crate) fn of(self, cache: &[f32]) -> impl Iterator<Item = &[f32]> {
        let rows = cache.chunks_exact(self.step).skip(self.first).take(self.rows);
        rows.map(move |row| &row[self.column..self.column + self.columns])
    }
}

/// The score of each key.
pub(crate) fn scored<'a>(query: &[f32], keys: impl Iterator<Item = &'a [f32]>, how: Scores) -> Vec<f32> {
    let scale = how.scale.map_or_else(|| 1.0 / (query.len() as f32).sqrt(), |scale| scale.0);
    let mut scores: Vec<f32> = keys.map(|key| dot(query, key) * scale).collect();
    if let Some(cap) = how.softcap {
        scores.iter_mut().for_each(|score| *score = soft_cap(*score, cap.0));
    }
    scores
}

fn attend<'a>(
    query: &[f32],
    keys: impl Iterator<Item = &'a [f32]>,
    values: impl Iterator<Item = &'a [f32]>,
    (how, into): (Scores, &mut [f32]),
) {
    let mut scores = scored(query, keys, how);
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0_f64;
    for score in &mut scores {
        *score = (*score - highest).exp();
        total += f64::from(*score);
    }
    let share = (1.0 / total) as f32;
    for (score, value) in scores.iter().zip(values) {
        let weight = score * share;
        for (sum, &value) in into.iter_mut().zip(value) {
            *sum += weight * value;
        }
    }
}
