//! Bytes and operations of one operator on one card's local tensors, read from the operator table's shapes.

use crate::experts;
use sailplan_ir::{Bytes, DType, Op};

/// A tensor as one card holds it: extents with the symbols bound, and its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// Elements along each axis, outermost first.
    pub axes: Vec<u64>,
    /// Element type.
    pub dtype: DType,
}

/// What an operator moves and computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Bytes read from and written to the card's memory.
    pub bytes: Bytes,
    /// Floating-point operations; a multiply-add is two.
    pub flops: u64,
}

impl Local {
    /// Elements, saturating.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.axes.iter().fold(1, |product, &axis| product.saturating_mul(axis))
    }

    /// Bytes, whole blocks, saturating.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let blocks = self.elements().div_ceil(self.dtype.block());
        Bytes(blocks.saturating_mul(self.dtype.block_bytes()))
    }

    /// Bytes of one step along the outermost axis.
    pub(crate) fn row_bytes(&self) -> Bytes {
        Self { axes: self.axes.iter().skip(1).copied().collect(), dtype: self.dtype }.bytes()
    }

    pub(crate) fn outermost(&self) -> u64 {
        self.axes.first().copied().unwrap_or(1)
    }
}

/// Work of `op` on local operands. An embedding reads one table row a token; an append writes the new rows only;
/// attention reads both caches up to the context; experts are read when a token takes them; everything else reads its
/// operands and writes its result once.
#[must_use]
pub fn work(op: Op, inputs: &[Local], output: &Local) -> Work {
    let read: Bytes = inputs.iter().map(Local::bytes).sum();
    let moved = read + output.bytes();
    let elements = output.elements();
    match op {
        Op::Embed => {
            let rows = inputs.first().map_or(0, Local::outermost);
            let row = inputs.get(1).map_or(Bytes(0), Local::row_bytes);
            Work { bytes: row.times(rows) + output.bytes(), flops: 0 }
        }
        Op::Linear => {
            let depth = inputs.first().and_then(|x| x.axes.last().copied()).unwrap_or(0);
            Work { bytes: moved, flops: elements.saturating_mul(depth).saturating_mul(2) }
        }
        Op::KvAppend { .. } => {
            let new = inputs.get(1).map_or(Bytes(0), Local::bytes);
            let rows = inputs.get(1).map_or(0, Local::outermost);
            Work { bytes: new + output.row_bytes().times(rows), flops: 0 }
        }
        Op::Attention { head_dim, scores, .. } => {
            let (context, elements) =
                (inputs.get(1).map_or(0, Local::outermost), inputs.first().map_or(0, Local::elements));
            // For each position 4 an element, for q·k and the sum of v; a cap takes 3 a score.
            let capped = scores.softcap.map_or(0, |_| elements / u64::from(head_dim.max(1)) * 3);
            Work { bytes: moved, flops: elements.saturating_mul(4).saturating_add(capped).saturating_mul(context) }
        }
        Op::LastToken => Work { bytes: output.bytes() + output.bytes(), flops: 0 },
        Op::RmsNorm { .. } | Op::HeadNorm { .. } | Op::Rope { .. } => {
            Work { bytes: moved, flops: elements.saturating_mul(4) }
        }
        Op::Route { .. } => Work { bytes: moved, flops: elements.saturating_mul(6) },
        Op::Experts { experts, used } => experts::work((experts, used), inputs, output),
        Op::LinearSwiGlu | Op::LinearGeGlu => {
            let depth = inputs.first().and_then(|x| x.axes.last().copied()).unwrap_or(0);
            let each = depth.saturating_mul(4).saturating_add(if op == Op::LinearGeGlu { 10 } else { 6 });
            Work { bytes: moved, flops: elements.saturating_mul(each) }
        }
        Op::SwiGlu => Work { bytes: moved, flops: elements.saturating_mul(6) },
        Op::GeGlu => Work { bytes: moved, flops: elements.saturating_mul(10) },
        Op::SoftCap { .. } => Work { bytes: moved, flops: elements.saturating_mul(3) },
        Op::Bias | Op::Add | Op::Scale { .. } => Work { bytes: moved, flops: elements },
    }
}

/// Whether the work of an operator is affine in the size of every axis, so that it may be read off two sizes.
#[must_use]
pub const fn affine(op: Op) -> bool {
    !matches!(op, Op::Experts { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(axes: &[u64], dtype: DType) -> Local {
        Local { axes: axes.to_vec(), dtype }
    }

    /// 2048 × 2048 Q4_0 = 131,072 blocks × 18 B = 2,359,296 B; plus 2048 × 4 B in and out.
    #[test]
    fn a_matrix_vector_product_reads_its_weights_once() {
        let x = local(&[1, 2048], DType::F32);
        let done = work(Op::Linear, &[x.clone(), local(&[2048, 2048], DType::Q4_0)], &x);
        assert_eq!(done.bytes, Bytes(2_359_296 + 2 * 8192));
        assert_eq!(done.flops, 2 * 2048 * 2048);
    }

    /// Two matrices of 5632 × 2048 Q4_0 = 12,976,128 B, x of 3 × 2048 and the result of 3 × 5632 in F32 once each; three kernels
    /// for the same write and read both products as well.
    #[test]
    fn a_fused_kernel_moves_no_product() {
        let (x, made, weight) =
            (local(&[3, 2048], DType::F32), local(&[3, 5632], DType::F32), local(&[5632, 2048], DType::Q4_0));
        let done = work(Op::LinearSwiGlu, &[x.clone(), weight.clone(), weight.clone()], &made);
        assert_eq!(done.bytes, Bytes(12_976_128 + 3 * (2048 + 5632) * 4));
        let product = work(Op::Linear, &[x.clone(), weight], &made);
        for (fused, outer) in [(Op::LinearSwiGlu, Op::SwiGlu), (Op::LinearGeGlu, Op::GeGlu)] {
            let one =
                work(fused, &[x.clone(), local(&[5632, 2048], DType::Q4_0), local(&[5632, 2048], DType::Q4_0)], &made);
            let outer = work(outer, &[made.clone(), made.clone()], &made);
            assert_eq!(one.flops, 2 * product.flops + outer.flops);
            assert_eq!(product.bytes + product.bytes + outer.bytes, one.bytes + x.bytes() + made.bytes().times(4));
        }
    }

    /// One row of 2048 Q4_0 = 64 blocks × 18 B, one row of F32 out.
    #[test]
    fn an_embedding_reads_one_row() {
        let done = work(
            Op::Embed,
            &[local(&[1], DType::I32), local(&[32000, 2048], DType::Q4_0)],
            &local(&[1, 2048], DType::F32),
        );
        assert_eq!(done.bytes, Bytes(64 * 18 + 8192));
    }
}
