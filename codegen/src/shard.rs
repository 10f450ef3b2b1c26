//! The size of a shard.

use crate::Slice;
use sailplan_ir::{DType, Dim};

/// Bytes of a slice of a weight or of a cache of `context` positions; `None` when it cuts a block, leaves the tensor or
/// overflows.
pub(crate) fn shard_bytes(dims: &[Dim], dtype: DType, slice: Slice, context: u64) -> Option<u64> {
    let mut elements = 1_u64;
    let mut row = 1;
    for (index, dim) in dims.iter().enumerate() {
        let size = match dim {
            Dim::Fixed(size) => *size,
            Dim::Context => context,
            Dim::Tokens | Dim::Outputs | Dim::Part(_) => return None,
        };
        row = match slice {
            Slice::Cut { axis, start, end } if usize::from(axis) == index => {
                let last = index + 1 == dims.len();
                let borders = !last || (start.is_multiple_of(dtype.block()) && end.is_multiple_of(dtype.block()));
                (end <= size && borders).then(|| end.checked_sub(start))??
            }
            Slice::Positions(share) if index == 0 => (*dim == Dim::Context).then(|| share.most(size))?,
            _ => size,
        };
        elements = elements.checked_mul(row)?;
    }
    let known_axis = match slice {
        Slice::Cut { axis, .. } => usize::from(axis) < dims.len(),
        Slice::Positions(_) => dims.first() == Some(&Dim::Context),
        Slice::Whole => true,
    };
    // A row of whole blocks makes all of them whole.
    (known_axis && row.is_multiple_of(dtype.block())).then(|| dtype.bytes(elements).map(|bytes| bytes.0))?
}
