//! Parts of a tensor as blocks of elements: what two have in common, and what one has that the other has not.

use crate::Slice;
use sailplan_ir::{Bytes, DType, Dim};
use std::ops::Range;

/// A range of elements along each axis.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Block(Vec<(u64, u64)>);

impl Block {
    /// The elements of a slice.
    pub(crate) fn of(slice: Slice, dims: &[Dim]) -> Self {
        let range = |(axis, dim): (usize, &Dim)| match slice {
            Slice::Cut { axis: cut, start, end } if usize::from(cut) == axis => (start, end),
            _ => (0, dim.fixed().unwrap_or(1)),
        };
        Self(dims.iter().enumerate().map(range).collect())
    }

    /// Whether it has no elements.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().any(|(start, end)| start >= end)
    }

    /// What both have; `None` when that is nothing.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        let pairs = self.0.iter().zip(&other.0);
        let common: Vec<(u64, u64)> = pairs.map(|(one, two)| (one.0.max(two.0), one.1.min(two.1))).collect();
        Some(Self(common)).filter(|common| !common.is_empty())
    }

    /// What is left of it, in blocks without common elements.
    pub(crate) fn without(&self, other: &Self) -> Vec<Self> {
        let Some(common) = self.common(other) else { return vec![self.clone()] };
        let (mut rest, mut left) = (self.clone(), Vec::new());
        for axis in 0..rest.0.len() {
            let (whole, taken) = (rest.0[axis], common.0[axis]);
            let sides: [Range<u64>; 2] = [whole.0..taken.0, taken.1..whole.1];
            for side in sides.into_iter().filter(|side| !side.is_empty()) {
                let mut piece = rest.clone();
                piece.0[axis] = (side.start, side.end);
                left.push(piece);
            }
            rest.0[axis] = taken;
        }
        left
    }

    /// Its bytes; borders along the last axis are those of the type's blocks.
    pub(crate) fn bytes(&self, dtype: DType) -> Bytes {
        let sizes = self.0.iter().map(|(start, end)| end.saturating_sub(*start));
        Bytes(dtype.block_bytes()).times(sizes.fold(1, u64::saturating_mul) / dtype.block())
    }
}

/// What is left of some blocks without another one.
pub(crate) fn without(blocks: &[Block], other: &Block) -> Vec<Block> {
    blocks.iter().flat_map(|block| block.without(other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(axis: u8, start: u64, end: u64) -> Block {
        Block::of(Slice::Cut { axis, start, end }, &[Dim::Fixed(4), Dim::Fixed(64)])
    }

    fn elements(block: &Block) -> Vec<(u64, u64)> {
        let (rows, columns) = (block.0[0], block.0[1]);
        (rows.0..rows.1).flat_map(|row| (columns.0..columns.1).map(move |column| (row, column))).collect()
    }

    /// Every pair of slices, element by element.
    #[test]
    fn what_is_common_and_what_is_left_make_the_whole() {
        let slices = [cut(0, 0, 4), cut(0, 1, 3), cut(0, 3, 4), cut(1, 0, 32), cut(1, 32, 64), cut(1, 0, 64)];
        for one in &slices {
            for other in &slices {
                let mut pieces = one.without(other);
                assert!(pieces.iter().all(|piece| piece.common(other).is_none()), "{one:?} without {other:?}");
                pieces.extend(one.common(other));
                let mut found: Vec<(u64, u64)> = pieces.iter().flat_map(elements).collect();
                found.sort_unstable();
                assert_eq!(found, elements(one), "{one:?} without {other:?}");
                let bytes: Bytes = pieces.iter().map(|piece| piece.bytes(DType::Q4_0)).sum();
                assert_eq!(bytes, one.bytes(DType::Q4_0));
            }
        }
    }
}
