//! Reads little-endian numbers and strings from the first bytes of a file, never past what the file can hold and
//! never allocating. It knows nothing of GGUF's structure.

use sailplan_ir::{At, Diagnostic};

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes at hand end here, the file does not.
    Incomplete,
    /// What is wrong.
    Problem(Diagnostic),
}

/// A position in the first bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    size: u64,
}

impl<'a> Cursor<'a> {
    /// The start of a file of `size` bytes, of which `bytes` are the first.
    pub(crate) fn new(file: &'a str, bytes: &'a [u8], size: u64) -> Self {
        Self { file, bytes, at: 0, size: size.max(bytes.len() as u64) }
    }

    /// Bytes before this position.
    pub(crate) fn position(&self) -> u64 {
        self.at as u64
    }

    /// Bytes of the file from here on.
    pub(crate) fn remaining(&self) -> u64 {
        self.size - self.position()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8], Stop> {
        if count > self.remaining() {
            let message = format!("the file ends inside {what}: {count} bytes wanted, {} left", self.remaining());
            return Err(self.problem(message, "the file is truncated or damaged; fetch it again"));
        }
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(Stop::Incomplete)?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Stop> {
        self.take(N as u64, what)?.try_into().map_err(|_| Stop::Incomplete)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, Stop> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, Stop> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string's bytes: a u64 length, then the bytes.
    pub(crate) fn string(&mut self, what: &str) -> Result<&'a [u8], Stop> {
        let start = self.position();
        let length = self.u64(what)?;
        if length > self.remaining() {
            let message = format!("{what} claims {length} bytes, but the file has {} left", self.remaining());
            return Err(self.problem_at(start, message, "the file is truncated or damaged; fetch it again"));
        }
        self.take(length, what)
    }

    /// A problem at this position.
    pub(crate) fn problem(&self, message: impl Into<String>, hint: &str) -> Stop {
        self.problem_at(self.position(), message, hint)
    }

    /// A problem at a byte.
    pub(crate) fn problem_at(&self, byte: u64, message: impl Into<String>, hint: &str) -> Stop {
        Stop::Problem(self.diagnostic_at(byte, message, hint))
    }

    /// A problem at a byte that does not stop the reading.
    pub(crate) fn diagnostic_at(&self, byte: u64, message: impl Into<String>, hint: &str) -> Diagnostic {
        Diagnostic::new(message).hint(hint).at(self.file, At::Byte(byte))
    }

    /// The file's name, for other places in it.
    pub(crate) fn file(&self) -> &'a str {
        self.file
    }

    /// Size of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}
