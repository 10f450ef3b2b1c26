//! What is wrong with a user's input: facts with places. Rendering belongs to the command line.

use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Where in an input a problem stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    /// The file, as the user named it.
    pub file: String,
    /// Where in the file.
    pub at: At,
}

/// A position inside a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum At {
    /// The file as a whole.
    Whole,
    /// A byte range of a text file.
    Span(Range<usize>),
    /// A byte offset of a binary file.
    Byte(u64),
    /// A named part: a metadata key, a tensor.
    Name(String),
}

/// One problem: what is wrong, where, what was expected, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// What would put it right.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A problem without a place yet.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, hint: None }
    }

    /// With a place.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, at: At) -> Self {
        self.place = Some(Place { file: file.into(), at });
        self
    }

    /// With a way to put it right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}: ", place.file)?;
            match &place.at {
                At::Whole => {}
                At::Span(span) => write!(f, "bytes {}..{}: ", span.start, span.end)?,
                At::Byte(offset) => write!(f, "byte {offset}: ")?,
                At::Name(name) => write!(f, "{name}: ")?,
            }
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All problems found in one input; never empty when returned as an error.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// `Ok(value)` when nothing was found, else all problems.
    ///
    /// # Errors
    /// The problems, when there are any.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Puts the file's name on problems that have no place yet.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        for diagnostic in &mut self.0 {
            if diagnostic.place.is_none() {
                diagnostic.place = Some(Place { file: file.to_owned(), at: At::Whole });
            }
        }
        self
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
