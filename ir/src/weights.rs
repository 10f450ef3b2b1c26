//! Where each weight lies in the files that hold it: what a front end finds and an executor reads from.

use crate::{Bytes, DType};
use std::collections::BTreeMap;

/// The tensors of one or more weight files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WeightIndex {
    /// Paths of the files, as the user named them.
    pub files: Vec<String>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, WeightEntry>,
}

/// One tensor in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WeightEntry {
    /// Index into `files`.
    pub file: usize,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// All its bytes; checked against the file's size.
    pub bytes: Bytes,
    /// Extents, outermost first: rows, then the contiguous row length.
    pub dims: Vec<u64>,
    /// Element type.
    pub dtype: DType,
}
