//! The tensor table: what each entry says, and whether the data it points to can be there.

use super::cursor::{Cursor, Stop};
use super::header::name;
use crate::report::shown;
use sailplan_ir::{At, DType, Diagnostic};
use std::borrow::Cow;

/// An empty name, no dimensions, type, offset.
pub(crate) const LEAST_BYTES: u64 = 24;
/// GGML_MAX_DIMS of ggml.h.
const MOST_DIMS: u32 = 4;
/// Ids of types that were removed; their data must be made again.
const REMOVED: [u32; 8] = [4, 5, 31, 32, 33, 36, 37, 38];

/// One entry of the table.
#[derive(Clone, Debug)]
pub(crate) struct TensorInfo<'a> {
    pub(crate) name: Cow<'a, str>,
    /// First byte of the entry in the file.
    pub(crate) entry: u64,
    /// Extents, outermost first; GGUF stores them the other way round.
    pub(crate) dims: Vec<u64>,
    /// `None` after a problem with the type.
    pub(crate) dtype: Option<DType>,
    /// From the start of the data, then (after `place`) from the start of the file.
    pub(crate) offset: u64,
    /// All bytes; 0 after a problem with the shape.
    pub(crate) bytes: u64,
}

impl<'a> TensorInfo<'a> {
    /// Reads one entry.
    pub(crate) fn read(cursor: &mut Cursor<'a>, problems: &mut Vec<Diagnostic>) -> Result<Self, Stop> {
        let entry = cursor.position();
        let name = name(cursor, "a tensor")?;
        let dims = read_dims(cursor, name)?;
        let start = cursor.position();
        let id = cursor.u32("a tensor's type")?;
        let dtype = DType::from_ggml(id);
        if dtype.is_none() {
            problems.push(unknown_type(cursor, start, (name, id)));
        }
        let offset = cursor.u64("a tensor's offset")?;
        let mut tensor = Self { name: Cow::Borrowed(name), entry, dims, dtype, offset, bytes: 0 };
        match tensor.size() {
            Ok(bytes) => tensor.bytes = bytes,
            Err((message, hint)) => problems.push(tensor.problem(cursor, message, hint)),
        }
        Ok(tensor)
    }

    fn size(&self) -> Result<u64, (String, &'static str)> {
        let Some(dtype) = self.dtype else { return Ok(0) };
        let name = shown(&self.name);
        let row = self.dims.last().copied().unwrap_or(1);
        let elements = self.dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
        let Some(elements) = elements.filter(|&elements| elements <= 1 << 62) else {
            return Err((
                format!("tensor `{name}` has more elements than 2^62: {:?}", self.dims),
                "the file is damaged",
            ));
        };
        if !row.is_multiple_of(dtype.block()) {
            let block = dtype.block();
            let message =
                format!("rows of `{name}` have {row} elements, which are not whole {dtype} blocks of {block}");
            return Err((message, "the file is damaged, or its writer is not llama.cpp's"));
        }
        let bytes = dtype.bytes(elements).map(|bytes| bytes.0);
        bytes.ok_or_else(|| (format!("tensor `{name}` has more than 2^64 bytes"), "the file is damaged"))
    }

    fn problem(&self, cursor: &Cursor<'_>, message: String, hint: &str) -> Diagnostic {
        Diagnostic::new(message).hint(hint).at(cursor.file(), At::Name(shown(&self.name)))
    }

    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

fn read_dims(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<u64>, Stop> {
    let start = cursor.position();
    let count = cursor.u32("a tensor's number of dimensions")?;
    if count > MOST_DIMS {
        let message = format!("tensor `{}` has {count} dimensions; at most {MOST_DIMS} exist", shown(name));
        return Err(cursor.problem_at(start, message, "the file is damaged; fetch it again"));
    }
    let mut dims = Vec::new();
    for _ in 0..count {
        dims.push(cursor.u64("a tensor's dimensions")?);
    }
    dims.reverse();
    Ok(dims)
}

fn unknown_type(cursor: &Cursor<'_>, start: u64, (name, id): (&str, u32)) -> Diagnostic {
    let name = shown(name);
    if REMOVED.contains(&id) {
        let message = format!("tensor `{name}` has type {id}, which was removed from GGML");
        return cursor.diagnostic_at(start, message, "quantise the model again with a current llama.cpp");
    }
    let message = format!("tensor `{name}` has type {id}, which is unknown");
    cursor.diagnostic_at(start, message, "this version knows the types of ggml up to 42 (Q2_0)")
}

/// Turns offsets into positions in the file and checks them; the cursor stands after the table.
pub(crate) fn place(
    tensors: &mut [TensorInfo<'_>],
    cursor: &Cursor<'_>,
    alignment: u64,
    problems: &mut Vec<Diagnostic>,
) {
    let data = cursor.position().div_ceil(alignment).saturating_mul(alignment);
    for tensor in tensors.iter_mut() {
        let relative = tensor.offset;
        tensor.offset = data.saturating_add(relative);
        let name = shown(&tensor.name);
        if !relative.is_multiple_of(alignment) {
            let message = format!("the data of `{name}` starts at {relative}, which is not a multiple of {alignment}");
            problems.push(tensor.problem(cursor, message, "the file is damaged; fetch it again"));
        }
        if tensor.bytes > 0 && (tensor.end() > cursor.size() || relative > cursor.size()) {
            let message =
                format!("the data of `{name}` ends at byte {} of a file of {} bytes", tensor.end(), cursor.size());
            problems.push(tensor.problem(cursor, message, "the file is truncated; fetch it again"));
        }
    }
    check_overlap(tensors, cursor, problems);
}

fn check_overlap(tensors: &[TensorInfo<'_>], cursor: &Cursor<'_>, problems: &mut Vec<Diagnostic>) {
    let mut order: Vec<&TensorInfo<'_>> = tensors.iter().filter(|tensor| tensor.bytes > 0).collect();
    order.sort_by_key(|tensor| (tensor.offset, tensor.entry));
    let mut furthest: Option<&TensorInfo<'_>> = None;
    for tensor in order {
        if let Some(before) = furthest.filter(|before| before.end() > tensor.offset) {
            let message = format!("the data of `{}` overlaps that of `{}`", shown(&tensor.name), shown(&before.name));
            problems.push(tensor.problem(cursor, message, "the file is damaged; fetch it again"));
        }
        if furthest.is_none_or(|before| tensor.end() > before.end()) {
            furthest = Some(tensor);
        }
    }
}
