//! Opens model files: the only file of this crate that does. Tells the format by the first bytes, then by the
//! extension, and reads no more of a GGUF than its header.
#![expect(clippy::disallowed_types, reason = "the one place where model files are opened")]

use crate::gguf::{self, Failure};
use crate::{Loaded, from_ron, report};
use sailplan_ir::{At, Diagnostic, Diagnostics};
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

/// First read of a GGUF; most headers with a tokenizer are 1 to 8 MB.
const FIRST_READ: u64 = 1 << 20;
/// A header is refused beyond this.
const LARGEST_HEADER: u64 = 1 << 30;
/// A description is refused beyond this.
const LARGEST_TEXT: u64 = 1 << 20;

/// Loads the model in a file.
///
/// # Errors
/// Every problem found, each with the file's name and where there is one the place in it.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let name = path.display().to_string();
    let whole = |problem: Diagnostic| Diagnostics::from(problem.at(&name, At::Whole));
    let kind = std::fs::metadata(path).map_err(|error| whole(unreadable(&error)))?;
    if kind.is_dir() {
        let problem = Diagnostic::new("this is a directory; directories of safetensors are not supported yet");
        return Err(whole(problem.hint(ACCEPTED)));
    }
    if !kind.is_file() {
        return Err(whole(Diagnostic::new("this is not a regular file").hint(ACCEPTED)));
    }
    if kind.len() == 0 {
        return Err(whole(Diagnostic::new("the file is empty").hint("was the download interrupted?")));
    }
    let file = File::open(path).map_err(|error| whole(unreadable(&error)))?;
    read(file, &name, (kind.len(), &extension(path))).map_err(|problems| report::shortened(problems.in_file(&name)))
}

const ACCEPTED: &str = "give a `.gguf` file, a `.ron` description or the name of a shipped model";

fn read(mut file: File, name: &str, (size, extension): (u64, &str)) -> Result<Loaded, Diagnostics> {
    let mut bytes = Vec::new();
    grow(&mut file, &mut bytes, 4)?;
    match (bytes.as_slice(), extension) {
        (b"GGUF" | b"FUGG", _) | (_, "gguf") => read_gguf(file, bytes, (name, size)),
        (_, "ron") => {
            grow(&mut file, &mut bytes, LARGEST_TEXT + 1)?;
            from_ron(name, text(&bytes)?)
        }
        (b"lmgg" | b"tjgg" | b"fmgg" | b"algg", _) => Err(Diagnostic::new("this is a GGML file, from before GGUF")
            .hint("convert it with llama.cpp's convert_llama_ggml_to_gguf.py")
            .into()),
        (_, "safetensors" | "onnx") => {
            Err(Diagnostic::new(format!("`.{extension}` files are not supported yet")).hint(ACCEPTED).into())
        }
        _ => Err(Diagnostic::new("this is not a model file that sailplan knows").hint(ACCEPTED).into()),
    }
}

fn read_gguf(mut file: File, mut bytes: Vec<u8>, (name, size): (&str, u64)) -> Result<Loaded, Diagnostics> {
    let mut want = FIRST_READ;
    loop {
        grow(&mut file, &mut bytes, want)?;
        match gguf::read(name, &bytes, size) {
            Err(Failure::Incomplete) if (bytes.len() as u64) < want || want >= LARGEST_HEADER => {
                return Err(Failure::Incomplete.problems(name));
            }
            Err(Failure::Incomplete) => want = want.saturating_mul(4),
            Err(failure) => return Err(failure.problems(name)),
            Ok(loaded) => return Ok(loaded),
        }
    }
}

/// Reads on until `bytes` holds the first `want` bytes of the file, or all of it.
fn grow(file: &mut File, bytes: &mut Vec<u8>, want: u64) -> Result<(), Diagnostics> {
    let missing = want.saturating_sub(bytes.len() as u64);
    file.take(missing).read_to_end(bytes).map(drop).map_err(|error| unreadable(&error).into())
}

fn text(bytes: &[u8]) -> Result<&str, Diagnostics> {
    if bytes.len() as u64 > LARGEST_TEXT {
        let problem = Diagnostic::new(format!("the description is longer than {LARGEST_TEXT} bytes"));
        return Err(problem.hint("a description is a page of text").into());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let start = error.valid_up_to();
        let problem = Diagnostic::new(format!("byte {start} is not UTF-8 text"));
        problem.hint("save the description as UTF-8").into()
    })
}

fn unreadable(error: &Error) -> Diagnostic {
    match error.kind() {
        ErrorKind::NotFound => Diagnostic::new("there is no such file").hint("check the path, or name a shipped model"),
        ErrorKind::PermissionDenied => Diagnostic::new("the file may not be read").hint("check its permissions"),
        _ => Diagnostic::new(format!("the file cannot be read: {error}")).hint("check the path and the disk"),
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}
