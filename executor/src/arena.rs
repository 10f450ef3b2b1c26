//! One flat piece of memory with typed views at planned offsets. It knows neither names nor lifetimes: two tensors at
//! the same offset overwrite each other, as they would on a card.
#![expect(unsafe_code, reason = "blocks of candle have private fields, so bytes become blocks by reinterpretation")]

use crate::Fault;
use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K, BlockQ8_0,
};
use half::{bf16, f16};
use memmap2::MmapMut;
use sailplan_ir::Bytes;

/// Types without padding for which every bit pattern is a value.
///
/// # Safety
/// As said; `repr(C)` or primitive.
pub(crate) unsafe trait Plain {}

macro_rules! plain {
    ($($type:ty)*) => { $(
        // SAFETY: a primitive, or `repr(C)` over `f16` and arrays of bytes; candle asserts that the sizes have no padding.
        unsafe impl Plain for $type {}
    )* };
}
plain!(u8 u32 f32 f16 bf16 BlockQ4_0 BlockQ4_1 BlockQ5_0 BlockQ5_1 BlockQ8_0 BlockQ2K BlockQ3K BlockQ4K BlockQ5K BlockQ6K);

/// Zeroed memory whose pages exist once they are written.
pub(crate) struct Arena(MmapMut);

impl Arena {
    pub(crate) fn new(arena: &'static str, bytes: Bytes) -> Result<Self, Fault> {
        let memory = |source| Fault::Memory { arena, bytes, source };
        let size = usize::try_from(bytes.0).map_err(|_| memory(std::io::ErrorKind::OutOfMemory.into()))?;
        MmapMut::map_anon(size.max(1)).map(Self).map_err(memory)
    }

    pub(crate) fn view<T: Plain>(&self, offset: u64, elements: u64) -> Result<&[T], Fault> {
        let range = self.range::<T>(offset, elements)?;
        // SAFETY: `T` is plain.
        let (before, view, after) = unsafe { self.0[range].align_to::<T>() };
        if before.is_empty() && after.is_empty() { Ok(view) } else { Err(self.outside(offset, elements)) }
    }

    pub(crate) fn view_mut<T: Plain>(&mut self, offset: u64, elements: u64) -> Result<&mut [T], Fault> {
        let range = self.range::<T>(offset, elements)?;
        let outside = self.outside(offset, elements);
        // SAFETY: `T` is plain, so whatever is written through the view are valid bytes.
        let (before, view, after) = unsafe { self.0[range].align_to_mut::<T>() };
        if before.is_empty() && after.is_empty() { Ok(view) } else { Err(outside) }
    }

    /// The byte range of a view; an empty view lies anywhere.
    fn range<T>(&self, offset: u64, elements: u64) -> Result<std::ops::Range<usize>, Fault> {
        if elements == 0 {
            return Ok(0..0);
        }
        let end = elements.checked_mul(size_of::<T>() as u64).and_then(|bytes| offset.checked_add(bytes));
        match (usize::try_from(offset), end.and_then(|end| usize::try_from(end).ok())) {
            (Ok(start), Some(end)) if end <= self.0.len() => Ok(start..end),
            _ => Err(self.outside(offset, elements)),
        }
    }

    fn outside(&self, offset: u64, elements: u64) -> Fault {
        Fault::Outside { offset, elements, bytes: self.0.len() as u64 }
    }
}
