//! The parser's errors in a user's words, with the bytes they stand at.

use super::spans;
use ron::error::{Error, Position, SpannedError};
use sailplan_ir::{At, Diagnostic, Diagnostics};
use std::ops::Range;

/// What is wrong with the text.
pub(crate) fn explain(file: &str, text: &str, error: &SpannedError) -> Diagnostics {
    let (start, end) = (byte_of(text, &error.span.start), byte_of(text, &error.span.end));
    let span = visible(text, start..end.max(start));
    let (message, hint, name) = words(&error.code);
    let span = name.and_then(|name| spans::field_after(text, name, start)).unwrap_or(span);
    Diagnostic::new(message).hint(hint).at(file, At::Span(span)).into()
}

fn words(error: &Error) -> (String, String, Option<&str>) {
    match error {
        Error::NoSuchStructField { expected, found, .. } => {
            (format!("unknown field `{found}`"), nearest(found, expected), Some(found))
        }
        Error::NoSuchEnumVariant { expected, found, .. } => {
            (format!("`{found}` is not known here"), nearest(found, expected), None)
        }
        Error::MissingStructField { field, outer } => {
            let of = outer.as_ref().map_or(String::new(), |outer| format!(" of `{outer}`"));
            (format!("the field `{field}`{of} is missing"), format!("add `{field}: …,`"), None)
        }
        Error::DuplicateStructField { field, .. } => {
            (format!("the field `{field}` is given twice"), "keep one of them".to_owned(), None)
        }
        Error::Eof | Error::ExpectedStructLikeEnd | Error::ExpectedArrayEnd => {
            (sentence(error), "check that every bracket is closed and entries are separated by commas".to_owned(), None)
        }
        Error::ExpectedComma => (sentence(error), "separate fields with commas".to_owned(), None),
        Error::ExpectedString => (sentence(error), "put it in double quotes".to_owned(), None),
        Error::ExpectedIdentifier => {
            (sentence(error), "types are written without quotes, such as Q4_0".to_owned(), None)
        }
        Error::InvalidValueForType { .. }
        | Error::ExpectedInteger
        | Error::IntegerOutOfBounds
        | Error::InvalidIntegerDigit { .. } => {
            (sentence(error), "sizes are whole numbers without a sign".to_owned(), None)
        }
        _ => (sentence(error), "see the shipped models for the form of a description".to_owned(), None),
    }
}

/// The parser's own sentence, begun in lower case as ours are.
fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn nearest(found: &str, expected: &[&str]) -> String {
    let near = expected.iter().min_by_key(|name| distance(found, name));
    match near {
        Some(name) if distance(found, name) * 2 <= name.len().max(2) => format!("did you mean `{name}`?"),
        _ => format!("expected one of {}", expected.join(", ")),
    }
}

/// Edits between two words (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for ((to, window), j) in b.iter().zip(row.windows(2)).zip(0..) {
            let (diagonal, above) = (window.first().copied().unwrap_or(0), window.last().copied().unwrap_or(0));
            let left: usize = next.get(j).copied().unwrap_or(0);
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// The byte of a line and column, both counted from 1, columns in characters.
fn byte_of(text: &str, position: &Position) -> usize {
    let start: usize = text.split_inclusive('\n').take(position.line.saturating_sub(1)).map(str::len).sum();
    let line = text.get(start..).unwrap_or("");
    let column = position.col.saturating_sub(1);
    start + line.char_indices().nth(column).map_or(line.trim_end_matches('\n').len(), |(offset, _)| offset)
}

/// The span without white space around it, and at least one character long where there is one.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let shown = text.get(span.clone()).unwrap_or("");
    let start = span.start + (shown.len() - shown.trim_start().len());
    let trimmed = shown.trim();
    if trimmed.is_empty() {
        let next = text.get(span.end..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        return span.end..span.end + next;
    }
    start..start + trimmed.len()
}
