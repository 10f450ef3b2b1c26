//! Where a field stands in RON text: a small scanner, because serde keeps no places. It never fails; text it does
//! not understand has no places.

use std::ops::Range;

/// One step from a value to a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// The field with this name.
    Field(&'a str),
    /// The element with this index.
    Item(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Word,
    Open,
    Close,
    Colon,
    Comma,
    Other,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    span: Range<usize>,
}

/// The first word outside attributes: the kind of description. An opening bracket without one counts as a word.
pub(crate) fn head(text: &str) -> Option<(&str, Range<usize>)> {
    let tokens = tokens(text);
    let first = after_attributes(text, &tokens).first()?;
    Some((text.get(first.span.clone())?, first.span.clone()))
}

/// The tokens after `#![…]`.
fn after_attributes<'a>(text: &str, mut tokens: &'a [Token]) -> &'a [Token] {
    while let [Token { kind: Kind::Other, .. }, rest @ ..] = tokens {
        let end = rest.iter().position(|token| text.get(token.span.clone()) == Some("]"));
        tokens = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
    }
    tokens
}

/// The span of the field or element at the end of the path from the outermost value.
pub(crate) fn find(text: &str, path: &[Step<'_>]) -> Option<Range<usize>> {
    let tokens = tokens(text);
    let mut entry = after_attributes(text, &tokens);
    for step in path {
        entry = inside(entry)
            .enumerate()
            .find(|(index, entry)| match step {
                Step::Field(name) => key(text, entry) == Some(name),
                Step::Item(item) => item == index,
            })?
            .1;
    }
    Some(entry.first()?.span.start..entry.last()?.span.end)
}

/// The place of a field with this name nearest after a byte, or the first one.
pub(crate) fn field_after(text: &str, name: &str, byte: usize) -> Option<Range<usize>> {
    let tokens = tokens(text);
    let pairs = tokens.windows(2).filter_map(|pair| match pair {
        [word, colon] if colon.kind == Kind::Colon && text.get(word.span.clone()) == Some(name) => {
            Some(word.span.clone())
        }
        _ => None,
    });
    let places: Vec<Range<usize>> = pairs.collect();
    places.iter().find(|place| place.end >= byte).or(places.first()).cloned()
}

fn key<'a>(text: &'a str, entry: &[Token]) -> Option<&'a str> {
    match entry {
        [word, colon, ..] if word.kind == Kind::Word && colon.kind == Kind::Colon => text.get(word.span.clone()),
        _ => None,
    }
}

/// The entries between the first bracket of a value and its partner.
fn inside(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    let start = tokens.iter().position(|token| token.kind == Kind::Open).map_or(tokens.len(), |open| open + 1);
    let mut rest = tokens.get(start..).unwrap_or_default();
    std::iter::from_fn(move || {
        let mut depth = 0_usize;
        let end = rest.iter().position(|token| match token.kind {
            Kind::Comma => depth == 0,
            Kind::Open => {
                depth += 1;
                false
            }
            Kind::Close if depth == 0 => true,
            Kind::Close => {
                depth -= 1;
                false
            }
            _ => false,
        });
        let (entry, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        let closed = after.first().is_none_or(|token| token.kind == Kind::Close);
        rest = if closed { &[] } else { after.get(1..)? };
        (!entry.is_empty()).then_some(entry)
    })
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(first) = rest.chars().next()
    {
        let (kind, length) = scan(rest, first);
        if let Some(kind) = kind {
            tokens.push(Token { kind, span: at..at + length });
        }
        at += length.max(first.len_utf8());
    }
    tokens
}

/// The token at the start of `rest` and its length; white space and comments have no kind.
fn scan(rest: &str, first: char) -> (Option<Kind>, usize) {
    match first {
        '(' | '[' | '{' => (Some(Kind::Open), 1),
        ')' | ']' | '}' => (Some(Kind::Close), 1),
        ':' => (Some(Kind::Colon), 1),
        ',' => (Some(Kind::Comma), 1),
        '"' => (Some(Kind::Other), quoted(rest)),
        '/' if rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (None, rest.find("*/").map_or(rest.len(), |end| end + 2)),
        'r' if rest.starts_with("r\"") || rest.starts_with("r##") || rest.starts_with("r#\"") => {
            (Some(Kind::Other), raw_quoted(rest))
        }
        _ if is_word(first) => (Some(Kind::Word), rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
        _ if first.is_whitespace() => (None, first.len_utf8()),
        _ => (Some(Kind::Other), first.len_utf8()),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return index + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

fn raw_quoted(rest: &str) -> usize {
    let hashes = rest.chars().skip(1).take_while(|&c| c == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 2;
    rest.get(body..).and_then(|text| text.find(&end)).map_or(rest.len(), |found| body + found + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"#![enable(implicit_some)] // (a: 1)
Decoder(name: "x: (\"", r: r#"y: ""#, a: 1, /* b: 2 */ inner: In(a: 7, list: [(z: 1), (z: [2, 3])]), b: 3)"##;

    #[test]
    fn finds_fields_and_items() {
        let at = |path: &[Step<'_>]| find(TEXT, path).and_then(|span| TEXT.get(span));
        let path = [Step::Field("inner"), Step::Field("list"), Step::Item(1), Step::Field("z")];
        assert_eq!(head(TEXT).map(|head| head.0), Some("Decoder"));
        assert_eq!(find("Decoder(b: 3)", &[Step::Field("b")]), Some(8..12));
        assert_eq!(find("Decoder(b: 3)", &path), None);
        assert_eq!(at(&path), Some("z: [2, 3]"));
        assert_eq!(at(&[Step::Field("a")]), Some("a: 1"));
        assert_eq!(at(&[Step::Field("b")]), Some("b: 3"));
    }
}
