//! Comma-separated text to cells with their places. It knows quotes and lines, no columns.

use std::borrow::Cow;
use std::ops::Range;

/// A longer line is no row of measurements.
const LONGEST_LINE: usize = 4096;

/// One value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cell<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) span: Range<usize>,
}

/// One line of values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) span: Range<usize>,
    pub(super) cells: Vec<Cell<'a>>,
}

/// What is wrong with a line, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    pub(super) message: String,
    pub(super) span: Range<usize>,
}

/// Every line that is not blank and does not begin with `#`. A cell in quotes may hold commas, and a quote as two; none
/// holds a line break.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, Broken>> {
    let skipped = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut at = skipped;
    let placed = text[skipped..].split_inclusive('\n').enumerate().map(move |(index, line)| {
        let start = at;
        at += line.len();
        (index + 1, start, line.trim_end_matches(['\n', '\r']))
    });
    placed.filter(|(_, _, line)| !line.trim().is_empty() && !line.starts_with('#')).map(|(number, start, line)| {
        let span = start..start + line.len();
        if line.len() > LONGEST_LINE {
            let message = format!("line {number} has {} bytes, at most {LONGEST_LINE} can be a row", line.len());
            return Err(Broken { message, span: start..start + 1 });
        }
        Ok(Line { number, span, cells: cells(line, start)? })
    })
}

fn cells(line: &str, start: usize) -> Result<Vec<Cell<'_>>, Broken> {
    let mut cells = Vec::new();
    let mut at = 0;
    loop {
        let (cell, end) = cell(line, at, start)?;
        cells.push(cell);
        if end == line.len() {
            return Ok(cells);
        }
        at = end + 1;
    }
}

/// The cell that begins at `at`, and where its comma or the line's end stands.
fn cell(line: &str, at: usize, start: usize) -> Result<(Cell<'_>, usize), Broken> {
    let rest = &line[at..];
    let first = at + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    if line[first..].starts_with('"') {
        return quoted(line, first, start);
    }
    let end = rest.find(',').map_or(line.len(), |comma| at + comma);
    let first = first.min(end);
    let text = line[first..end].trim_end();
    Ok((Cell { text: Cow::Borrowed(text), span: start + first..start + first + text.len() }, end))
}

fn quoted(line: &str, open: usize, start: usize) -> Result<(Cell<'_>, usize), Broken> {
    let mut close = open + 1;
    loop {
        let Some(found) = line[close..].find('"') else {
            let span = start + open..start + line.len();
            return Err(Broken { message: "a quote is not closed on its line".to_owned(), span });
        };
        close += found;
        if !line[close + 1..].starts_with('"') {
            break;
        }
        close += 2;
    }
    let after = &line[close + 1..];
    let end = after.find(',').map_or(line.len(), |comma| close + 1 + comma);
    if !line[close + 1..end].trim().is_empty() {
        let span = start + close + 1..start + end;
        return Err(Broken { message: "text follows a closing quote".to_owned(), span });
    }
    let text = line[open + 1..close].replace("\"\"", "\"");
    Ok((Cell { text: Cow::Owned(text.trim().to_owned()), span: start + open..start + close + 1 }, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let row = |line: Line<'_>| line.cells.into_iter().map(|cell| cell.text.into_owned()).collect();
        lines(text).map(|line| row(line.unwrap())).collect()
    }

    #[test]
    fn cells_are_cut_at_commas_outside_quotes() {
        let expected: Vec<Vec<&str>> = vec![vec!["a", "b c", ""], vec!["0,2", "say \"so\"", "x"], vec![""]];
        assert_eq!(texts("\u{feff}a, b c ,\r\n\n# none\n \"0,2\" ,\"say \"\"so\"\"\",x\n\"\""), expected);
    }

    #[test]
    fn broken_quotes_are_found_where_they_stand() {
        for (text, span) in [("a,\"b", 2..4), ("a,\"b\" c,d", 5..7), ("a\n\"\"\"", 2..5)] {
            assert_eq!(lines(text).find_map(Result::err).unwrap().span, span, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_within_its_bounds(text in "[a,\"\n\r #é\u{feff}]{0,40}") {
            for line in lines(&text) {
                let spans = match line {
                    Ok(line) => line.cells.into_iter().map(|cell| cell.span).chain([line.span]).collect(),
                    Err(broken) => vec![broken.span],
                };
                for span in spans {
                    prop_assert!(text.get(span.clone()).is_some(), "{span:?}");
                }
            }
        }
    }
}
