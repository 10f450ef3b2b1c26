//! Kernels over quantised weights, on candle's block types. They know slices only, no arenas and no cards.
//!
//! Every output element is one `GgmlType::vec_dot` of one weight row and one activation row, so it has the same bits
//! whichever other rows or tokens are computed beside it, on however many cards. Candle's other entry points do not
//! promise that: `QMatMul` repacks weights lazily (a second copy, other sums, and on AVX-512 CPUs Q8_0 activations
//! rounded in blocks of 256), `k_quants::matmul` uses four-row kernels that add in another order on some CPUs, and
//! both start a pool of spinning threads. `vec_dot` starts none: one thread a card, whatever the environment says.

use crate::arena::Plain;
use candle_core::quantized::GgmlType;

/// Tokens that are multiplied with a weight row while it is in the innermost cache.
pub(crate) const TILE: usize = 16;

/// Sizes of a product: `x` is `tokens × columns`, the weight `rows × columns`, the result `tokens × rows`.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) tokens: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// `x · wᵀ`: activations are rounded to the weight type's partner (Q8_0, Q8_1, Q8_K or F32) as ggml does. No columns
/// give zeros.
pub(crate) fn linear<T: GgmlType + Plain>(x: &[f32], weight: &[T], product: Product) -> Vec<f32> {
    let Product { tokens, rows, columns } = product;
    let mut out = vec![0.0; tokens * rows];
    let blocks = columns / T::BLCK_SIZE;
    if blocks == 0 {
        return out;
    }
    let rounded = rounded::<T>(x, product);
    for first in (0..tokens).step_by(TILE) {
        let tile = first..tokens.min(first + TILE);
        for (n, weight_row) in weight.chunks_exact(blocks).enumerate() {
            for t in tile.clone() {
                out[t * rows + n] = T::vec_dot(columns, weight_row, &rounded[t * blocks..(t + 1) * blocks]);
            }
        }
    }
    out
}

/// Activations in the form that products with weights of a type take.
fn rounded<T: GgmlType + Plain>(x: &[f32], Product { tokens, columns, .. }: Product) -> Vec<T::VecDotType> {
    let blocks = columns / T::BLCK_SIZE;
    let mut rounded = vec![T::VecDotType::zeros(); tokens * blocks];
    for (row, into) in x.chunks_exact(columns).zip(rounded.chunks_exact_mut(blocks)) {
        T::VecDotType::from_float(row, into);
    }
    rounded
}

/// `join(x · aᵀ, x · bᵀ)`, element by element, with the bits that [`linear`] gives: activations are rounded once, and no product
/// is kept.
pub(crate) fn joined<T: GgmlType + Plain>(
    x: &[f32],
    [a, b]: [&[T]; 2],
    product: Product,
    join: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let Product { tokens, rows, columns } = product;
    let mut out = vec![join(0.0, 0.0); tokens * rows];
    let blocks = columns / T::BLCK_SIZE;
    if blocks == 0 {
        return out;
    }
    let rounded = rounded::<T>(x, product);
    for first in (0..tokens).step_by(TILE) {
        let tile = first..tokens.min(first + TILE);
        for (n, (a, b)) in a.chunks_exact(blocks).zip(b.chunks_exact(blocks)).enumerate() {
            for t in tile.clone() {
                let row = &rounded[t * blocks..(t + 1) * blocks];
                out[t * rows + n] = join(T::vec_dot(columns, a, row), T::vec_dot(columns, b, row));
            }
        }
    }
    out
}

/// As [`joined`], with the bits that [`linear_widened`] gives.
pub(crate) fn joined_widened<T: GgmlType + Plain>(
    x: &[f32],
    [a, b]: [&[T]; 2],
    product: Product,
    join: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let Product { tokens, rows, columns } = product;
    let mut out = vec![join(0.0, 0.0); tokens * rows];
    if columns == 0 {
        return out;
    }
    let blocks = columns / T::BLCK_SIZE;
    let mut wide = [vec![0.0; columns], vec![0.0; columns]];
    for (n, pair) in a.chunks_exact(blocks).zip(b.chunks_exact(blocks)).enumerate() {
        T::to_float(pair.0, &mut wide[0]);
        T::to_float(pair.1, &mut wide[1]);
        for (t, row) in x.chunks_exact(columns).enumerate() {
            out[t * rows + n] = join(precise_dot(&wide[0], row) as f32, precise_dot(&wide[1], row) as f32);
        }
    }
    out
}

/// `x · wᵀ` with weights widened to F32 row by row, activations as they are and sums in F64, rounded once: for F32, where a
/// sum split over cards then differs by no more than its last bit, and for F16 and BF16, whose partner in candle (and
/// ggml) would round the activations.
pub(crate) fn linear_widened<T: GgmlType + Plain>(x: &[f32], weight: &[T], product: Product) -> Vec<f32> {
    let Product { tokens, rows, columns } = product;
    let mut out = vec![0.0; tokens * rows];
    if columns == 0 {
        return out;
    }
    let mut wide = vec![0.0; columns];
    for (n, weight_row) in weight.chunks_exact(columns / T::BLCK_SIZE).enumerate() {
        T::to_float(weight_row, &mut wide);
        for (t, row) in x.chunks_exact(columns).enumerate() {
            out[t * rows + n] = precise_dot(&wide, row) as f32;
        }
    }
    out
}

/// Rows `tokens` of a table that holds rows `first..` of the vocabulary; zeros for tokens outside it.
pub(crate) fn embed<T: GgmlType + Plain>(tokens: &[u32], table: &[T], first: u64, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; tokens.len() * columns];
    if columns == 0 {
        return out;
    }
    let blocks = columns / T::BLCK_SIZE;
    for (&token, into) in tokens.iter().zip(out.chunks_exact_mut(columns)) {
        let row = u64::from(token).checked_sub(first).and_then(|row| usize::try_from(row).ok());
        if let Some(row) = row.and_then(|row| table.chunks_exact(blocks).nth(row)) {
            T::to_float(row, into);
        }
    }
    out
}

/// All elements as F32.
pub(crate) fn widen<T: GgmlType + Plain>(weight: &[T]) -> Vec<f32> {
    let mut out = vec![0.0; weight.len() * T::BLCK_SIZE];
    T::to_float(weight, &mut out);
    out
}

/// Accumulators of `precise_dot`, so that the compiler can use vector registers.
const LANES: usize = 8;

/// Sum of products of two equally long rows in F64, in an order that depends on their length only.
fn precise_dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let (parts, others) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = parts.remainder().iter().zip(others.remainder());
    let tail: f64 = rest.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    for (a, b) in parts.zip(others) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    sums.iter().sum::<f64>() + tail
}

/// Sum of products of two equally long rows, in an order that depends on their length only.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    f32::vec_dot(a.len().min(b.len()), a, b)
}
