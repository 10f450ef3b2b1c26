//! Which bytes of the weight files make a shard, and the mapped files themselves. It knows no devices and no programs.
#![expect(clippy::disallowed_types, reason = "weights are read from files")]

use crate::ReplayError;
use memmap2::Mmap;
use sailplan_codegen::Slice;
use sailplan_ir::{Bytes, DType, WeightEntry, WeightIndex};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Extents of a shard and where its bytes lie in its tensor: `count` runs, `stride` bytes from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) rows: u64,
    pub(crate) columns: u64,
    pub(crate) first_row: u64,
    first: u64,
    run: u64,
    stride: u64,
    count: u64,
}

impl Cut {
    /// The part `slice` of a tensor with extents `dims`; `None` when it is outside the tensor or cuts a block.
    pub(crate) fn new(dims: &[u64], dtype: DType, slice: Slice) -> Option<Self> {
        let last = dims.len().checked_sub(1)?;
        let (axis, range) = match slice {
            Slice::Whole => (0, 0..dims[0]),
            Slice::Cut { axis, start, end } => (usize::from(axis), start..end),
            Slice::Positions(_) => return None,
        };
        if range.start > range.end || range.end > *dims.get(axis)? {
            return None;
        }
        let inner = product(&dims[axis + 1..])?;
        let bytes = |elements: u64| Some(dtype.bytes(elements.checked_mul(inner)?)?.0);
        let mut local = dims.to_vec();
        local[axis] = range.end - range.start;
        dtype.bytes(local[last])?;
        Some(Self {
            rows: product(&local[..last])?,
            columns: local[last],
            first_row: if axis == 0 && last > 0 { range.start.checked_mul(product(&dims[1..last])?)? } else { 0 },
            first: bytes(range.start)?,
            run: bytes(local[axis])?,
            stride: bytes(dims[axis])?,
            count: product(&dims[..axis])?,
        })
    }

    pub(crate) fn bytes(&self) -> Option<u64> {
        self.run.checked_mul(self.count)
    }

    /// Byte ranges within the tensor, in order.
    fn runs(self) -> impl Iterator<Item = Range<u64>> {
        (0..self.count).map(move |index| self.first + index * self.stride).map(move |start| start..start + self.run)
    }
}

fn product(extents: &[u64]) -> Option<u64> {
    extents.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent))
}

/// The weight files of a run, mapped.
pub(crate) struct Files {
    maps: Vec<Option<Mmap>>,
    /// Bytes given out.
    read: AtomicU64,
}

impl Files {
    /// Maps every file that holds one of the tensors, after checking that all of them lie inside.
    pub(crate) fn open(index: &WeightIndex, tensors: &BTreeMap<String, WeightEntry>) -> Result<Self, ReplayError> {
        let mut maps: Vec<Option<Mmap>> = index.files.iter().map(|_| None).collect();
        for (name, entry) in tensors {
            let path = &index.files[entry.file];
            if maps[entry.file].is_none() {
                maps[entry.file] = Some(map(path)?);
            }
            let found = maps[entry.file].as_ref().map_or(0, |map| map.len() as u64);
            let needed = entry.offset.saturating_add(entry.bytes.0);
            if needed > found {
                return Err(ReplayError::Shortened { path: path.clone(), tensor: name.clone(), needed, found });
            }
        }
        Ok(Self { maps, read: AtomicU64::new(0) })
    }

    /// The bytes of a shard, run by run. Tensors were checked when the files were opened.
    pub(crate) fn shard(&self, entry: &WeightEntry, cut: Cut) -> impl Iterator<Item = &[u8]> {
        self.read.fetch_add(cut.bytes().unwrap_or(0), Ordering::Relaxed);
        let file = self.maps[entry.file].as_deref().unwrap_or_default();
        let tensor = &file[entry.offset as usize..(entry.offset + entry.bytes.0) as usize];
        cut.runs().map(move |run| &tensor[run.start as usize..run.end as usize])
    }

    /// Bytes of all shards given out so far.
    pub(crate) fn read(&self) -> Bytes {
        Bytes(self.read.load(Ordering::Relaxed))
    }
}

fn map(path: &str) -> Result<Mmap, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    #[expect(
        unsafe_code,
        reason = "nobody changes a weight file while it is replayed; a cut file would end the process"
    )]
    // SAFETY: the map is read-only; see the reason above for the file.
    unsafe { Mmap::map(&file) }.map_err(unreadable)
}
