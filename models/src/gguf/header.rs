//! The header of a GGUF file, versions 2 and 3: keys with their values and the tensor table. Layout: docs/gguf.md of
//! ggml-org/ggml. It does not know what a key means, except for the alignment.

use super::cursor::{Cursor, Stop};
use super::tensors::{self, TensorInfo};
use super::value::Value;
use crate::report::shown;
use sailplan_ir::Diagnostic;
use std::collections::BTreeMap;

/// A name's length in bytes; the format allows keys up to 2^16 - 1.
const LONGEST_NAME: u64 = 65535;
/// Most tensors, and most keys; the largest published models have some thousands of one and a hundred of the other.
const MOST_ENTRIES: u64 = 1 << 18;
/// Length, type and a value of one byte.
const LEAST_KEY: u64 = 13;

/// What a header says, with the problems that did not stop the reading.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) keys: BTreeMap<&'a str, Value<'a>>,
    pub(crate) tensors: Vec<TensorInfo<'a>>,
    pub(crate) problems: Vec<Diagnostic>,
}

impl<'a> Header<'a> {
    /// Reads the header.
    pub(crate) fn read(mut cursor: Cursor<'a>) -> Result<Self, Stop> {
        let cursor = &mut cursor;
        read_version(cursor)?;
        let tensor_count = count(cursor, tensors::LEAST_BYTES, "tensors")?;
        let key_count = count(cursor, LEAST_KEY, "keys")?;
        let mut header = Self { keys: BTreeMap::new(), tensors: Vec::new(), problems: Vec::new() };
        for _ in 0..key_count {
            header.read_key(cursor)?;
        }
        let mut names = BTreeMap::new();
        for _ in 0..tensor_count {
            let tensor = TensorInfo::read(cursor, &mut header.problems)?;
            if let Some(first) = names.insert(tensor.name.clone(), tensor.entry) {
                let message = format!("tensor `{}` stands twice, first at byte {first}", shown(&tensor.name));
                header.problems.push(cursor.diagnostic_at(tensor.entry, message, "names must be unique"));
            }
            header.tensors.push(tensor);
        }
        let alignment = header.alignment(cursor);
        tensors::place(&mut header.tensors, cursor, alignment, &mut header.problems);
        Ok(header)
    }

    fn read_key(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Stop> {
        let start = cursor.position();
        let name = name(cursor, "a key")?;
        let value = Value::read(cursor)?;
        if self.keys.insert(name, value).is_some() {
            let message = format!("key `{}` stands twice", shown(name));
            self.problems.push(cursor.diagnostic_at(start, message, "names must be unique"));
        }
        Ok(())
    }

    /// The alignment of tensor data; 32 unless a key says otherwise.
    fn alignment(&mut self, cursor: &Cursor<'_>) -> u64 {
        let Some(value) = self.keys.get("general.alignment") else {
            return 32;
        };
        match value.integer() {
            Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 30 => alignment,
            _ => {
                let message = format!("the alignment is {}", value.describe());
                let at = sailplan_ir::At::Name("general.alignment".to_owned());
                let problem = Diagnostic::new(message).hint("it must be a power of two; 32 is usual");
                self.problems.push(problem.at(cursor.file(), at));
                32
            }
        }
    }
}

/// A key's or tensor's name.
pub(crate) fn name<'a>(cursor: &mut Cursor<'a>, what: &str) -> Result<&'a str, Stop> {
    let start = cursor.position();
    let bytes = cursor.string(&format!("the name of {what}"))?;
    if bytes.is_empty() || bytes.len() as u64 > LONGEST_NAME {
        let message = format!("the name of {what} has {} bytes", bytes.len());
        return Err(cursor.problem_at(start, message, "the file is damaged; fetch it again"));
    }
    std::str::from_utf8(bytes).map_err(|_| {
        cursor.problem_at(start, format!("the name of {what} is not UTF-8"), "the file is damaged; fetch it again")
    })
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    let magic = cursor.take(4, "the magic number")?;
    if magic != b"GGUF" {
        let message = format!("the file starts with {:?}, not with `GGUF`", String::from_utf8_lossy(magic));
        let hint = if magic == b"FUGG" { BIG_ENDIAN } else { "give a GGUF file" };
        return Err(cursor.problem_at(0, message, hint));
    }
    let version = cursor.u32("the version")?;
    let (message, hint) = match version {
        2 | 3 => return Ok(()),
        1 => ("GGUF version 1 is not supported".to_owned(), "convert the file with a current llama.cpp"),
        _ if version & 0xffff == 0 && version > 0 => {
            (format!("the file is big-endian (its version reads {version})"), BIG_ENDIAN)
        }
        _ => (format!("GGUF version {version} is unknown"), "versions 2 and 3 are supported"),
    };
    Err(cursor.problem_at(4, message, hint))
}

const BIG_ENDIAN: &str = "convert it with llama.cpp's gguf_convert_endian.py; little-endian files are read";

/// A number of entries that the rest of the file can hold.
fn count(cursor: &mut Cursor<'_>, least: u64, what: &str) -> Result<u64, Stop> {
    let start = cursor.position();
    let count = cursor.u64(&format!("the number of {what}"))?;
    let fits = (cursor.remaining() / least).min(MOST_ENTRIES);
    if count > fits {
        let message = format!("the header claims {count} {what}; at most {fits} can be in this file");
        return Err(cursor.problem_at(start, message, "the file is truncated or damaged; fetch it again"));
    }
    Ok(count)
}
