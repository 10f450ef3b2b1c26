//! Fleet files: RON text to a checked fleet, and the fleets that ship with the program.

use ron::extensions::Extensions;
use sailplan_ir::{At, Diagnostic, Diagnostics, Fleet, Verified, Verify};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// Names and texts of the fleets that ship with the program.
        #[must_use]
        pub fn shipped_fleets() -> &'static [(&'static str, &'static str)] {
            &[$(($name, include_str!(concat!("../fleets/", $name, ".ron")))),*]
        }
    };
}

shipped!(
    "innerjib7ea-x1",
    "innerjib7ea-x2-mesh",
    "innerjib7ea-x2-ring",
    "innerjib7ea-x2-star",
    "innerjib7ea-x4-mesh",
    "innerjib7ea-x4-ring",
    "innerjib7ea-x4-star",
    "innerjib7ea-x8-mesh",
    "innerjib7ea-x8-ring",
    "innerjib7ea-x8-star",
    "innerjib7ea-x16-mesh",
    "innerjib7ea-x16-ring",
    "innerjib7ea-x16-star",
    "innerjib7ea-x32-mesh",
    "innerjib7ea-x32-ring",
    "innerjib7ea-x32-star",
    "innerjib7ea-x64-mesh",
    "innerjib7ea-x64-ring",
    "innerjib7ea-x64-star",
    "popc-16a-x1",
    "popc-16a-x4",
    "foretopsail7ea-x4",
    "maintopsail7ea-x8",
    "innerjib7ea-mixed-x4-ring",
    "innerjib7ea-mixed-x8-ring",
    "home-cluster-x5",
);

/// Text of a shipped fleet, by name with or without `.ron`.
#[must_use]
pub fn shipped_fleet(name: &str) -> Option<&'static str> {
    let stem = name.strip_suffix(".ron").unwrap_or(name);
    shipped_fleets().iter().find(|shipped| shipped.0 == stem).map(|shipped| shipped.1)
}

/// Reads and checks a fleet.
///
/// # Errors
/// Syntax and type errors with their place, or every broken invariant with the place of its field.
pub fn parse_fleet(file: &str, text: &str) -> Result<Verified<Fleet>, Diagnostics> {
    let fleet: Fleet = options().from_str(text).map_err(|error| syntax(file, text, &error))?;
    fleet.verify().map_err(|problems| located(file, text, problems))
}

/// How fleets are read and written: `Ring(rate: …)` for `Ring(Link(rate: Some(…)))`.
pub(crate) fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME | Extensions::UNWRAP_VARIANT_NEWTYPES)
}

fn syntax(file: &str, text: &str, error: &ron::error::SpannedError) -> Diagnostics {
    let start = byte_of(text, error.span.start.line, error.span.start.col);
    let end = byte_of(text, error.span.end.line, error.span.end.col).max(start);
    let diagnostic = Diagnostic::new(error.code.to_string()).at(file, At::Span(start..end));
    diagnostic
        .hint("a fleet is `Fleet(name: …, kinds: {…}, sails: […], links: Ring(rate: …, latency: …), host: (…))`")
        .into()
}

/// Byte offset of a 1-based line and column (in characters), clamped to the text.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(offset, _)| offset);
    (start + within).min(text.len())
}

/// Problems name a field first (`kinds.a.memory …`); its last part is looked up in the text.
fn located(file: &str, text: &str, mut problems: Diagnostics) -> Diagnostics {
    for problem in &mut problems.0 {
        let path = problem.message.split([' ', ':']).next().unwrap_or("");
        let span = field_span(text, path);
        let at = span.map_or(At::Whole, At::Span);
        *problem = problem.clone().at(file, at);
    }
    problems
}

/// The key of a dotted path: each part is searched after the one before it; `link[2]` is the third `link`.
fn field_span(text: &str, path: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    let mut span = None;
    for part in path.split('.') {
        let (name, nth) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse().ok()?),
            None => (part, 0),
        };
        let start = from + keys(&text[from..], name).nth(nth)?;
        from = start + name.len();
        span = Some(start..from);
    }
    span
}

/// Where `name` stands as a key, bare or quoted, and not as the end of a longer word.
fn keys<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let longer = |start: usize| text[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_');
    text.match_indices(name).map(|(start, _)| start).filter(move |&start| {
        let after = &text[start + name.len()..];
        (after.starts_with(':') || after.starts_with("\":")) && !longer(start)
    })
}
