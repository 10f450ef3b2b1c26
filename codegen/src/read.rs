//! From text to a checked plan. Any bytes may come in: what is no plan is refused with places, cheaply, and nothing
//! panics.

use crate::text::{self, PlanText};
use crate::{Plan, VERSION, digest, lists, verify, write};
use ron::error::{Position, SpannedError};
use sailplan_ir::{At, Diagnostic, Diagnostics, Place, Verified, Verify};
use std::ops::Range;

/// Larger texts are refused unread; a plan for 64 cards has one or two megabytes.
const MAX_BYTES: usize = 64 << 20;

/// Cards and columns in all lists together; a plan for 64 cards, each with bodies of its own, has a hundred thousand.
const MAX_ITEMS: usize = 1 << 22;

/// Bytes of a string, and of what stands between two strings. Names have fewer than a hundred.
const MAX_STRETCH: usize = 1 << 16;

/// Problems of one file that are told.
const MAX_PROBLEMS: usize = 50;

/// A plan nests values eight deep.
const MAX_DEPTH: usize = 32;

/// The plan in a file's text.
///
/// # Errors
/// The text is no plan of this version, was changed after it was written, or breaks an invariant: all problems, with
/// places.
pub fn read(file: &str, text: &str) -> Result<Verified<Plan>, Diagnostics> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; plans have at most {MAX_BYTES}", text.len());
        return Err(Diagnostic::new(message).at(file, At::Whole).into());
    }
    check_version(file, text)?;
    check_strings(file, text)?;
    let options = write::options().with_recursion_limit(MAX_DEPTH);
    let parsed = lists::within(MAX_ITEMS, || options.from_str::<PlanText>(text));
    let parsed = parsed.map_err(|error| Diagnostics::from(explain(file, text, &error)))?;
    let mut problems = Diagnostics::default();
    if parsed.digest != digest::of_text(&parsed) {
        let message = "the digest is not that of the text: edited by hand, or damaged?";
        let place = At::Name("digest".to_owned());
        problems.push(Diagnostic::new(message).at(file, place).hint("compile the plan again instead of editing it"));
    }
    let plan = match text::unfold(parsed) {
        Ok(plan) => plan,
        Err(problem) => {
            problems.0.extend(named(file, problem.into()).0);
            return Err(problems);
        }
    };
    if problems.0.is_empty() {
        return plan.verify().map_err(|problems| named(file, problems));
    }
    problems.0.extend(named(file, plan.problems()).0);
    Err(problems)
}

/// Puts the file's name where `verify` could not know it. Of a thousand problems the first ones tell enough.
fn named(file: &str, mut problems: Diagnostics) -> Diagnostics {
    let rest = problems.0.len().saturating_sub(MAX_PROBLEMS);
    problems.0.truncate(MAX_PROBLEMS);
    if rest > 0 {
        problems.push(Diagnostic::new(format!("and {rest} more problems")).at(file, At::Whole));
    }
    for place in problems.0.iter_mut().filter_map(|problem| problem.place.as_mut()) {
        if place.file == verify::FILE {
            *place = Place { file: file.to_owned(), at: place.at.clone() };
        }
    }
    problems.in_file(file)
}

/// A plan of another version is told apart before the rest is read, which this build may not understand.
fn check_version(file: &str, text: &str) -> Result<(), Diagnostics> {
    let Some(span) = version_span(text) else { return Ok(()) };
    let version = &text[span.clone()];
    if version.parse() == Ok(VERSION) {
        return Ok(());
    }
    let message = format!("the plan has format version {version}; this build reads version {VERSION}");
    let newer = version.parse::<u128>().is_ok_and(|version| version > u128::from(VERSION));
    let hint = if newer { "use a newer sailplan" } else { "it was made by an older sailplan: compile it again" };
    Err(Diagnostic::new(message).at(file, At::Span(span)).hint(hint).into())
}

/// Names go into many places and into messages: what is no name is refused before it does.
fn check_strings(file: &str, text: &str) -> Result<(), Diagnostics> {
    let mut start = 0;
    for part in text.split('"') {
        let end = start + part.len();
        if part.len() > MAX_STRETCH {
            let message = format!("{} bytes without a quotation mark; plans have at most {MAX_STRETCH}", part.len());
            return Err(Diagnostic::new(message).at(file, At::Span(start..end)).hint("no name is so long").into());
        }
        start = end + 1;
    }
    Ok(())
}

/// The digits after a leading `Plan(version:`, with comments and white space in between.
fn version_span(text: &str) -> Option<Range<usize>> {
    let mut rest = blank(text);
    rest = rest.strip_prefix("Plan").map_or(rest, blank);
    rest = blank(rest.strip_prefix('(')?);
    rest = blank(rest.strip_prefix("version")?);
    rest = blank(rest.strip_prefix(':')?);
    let start = text.len() - rest.len();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    (digits > 0).then_some(start..start + digits)
}

/// The text after white space and line comments.
fn blank(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        match text.strip_prefix("//") {
            Some(comment) => text = comment.split_once('\n').map_or("", |lines| lines.1),
            None => return text,
        }
    }
}

fn explain(file: &str, text: &str, error: &SpannedError) -> Diagnostic {
    use ron::error::Error;
    let start = byte_of(text, &error.span.start);
    let end = byte_of(text, &error.span.end).max(start);
    let hint = match &error.code {
        Error::Eof | Error::ExpectedStructLikeEnd | Error::ExpectedArrayEnd => "check that every bracket is closed",
        Error::ExceededRecursionLimit => "plans are not nested so deep",
        Error::NoSuchStructField { .. } | Error::MissingStructField { .. } | Error::NoSuchEnumVariant { .. } => {
            "plans are written by `sailplan compile`; this one was edited or comes from another version"
        }
        _ => "plans are written by `sailplan compile`",
    };
    Diagnostic::new(error.code.to_string()).at(file, At::Span(start..end)).hint(hint)
}

/// The byte of a line and column, both counted from 1, columns in characters.
fn byte_of(text: &str, position: &Position) -> usize {
    let lines = text.split_inclusive('\n').take(position.line.saturating_sub(1));
    let start: usize = lines.map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    let inside = rest.char_indices().nth(position.col.saturating_sub(1));
    start + inside.map_or(rest.len(), |(offset, _)| offset)
}
