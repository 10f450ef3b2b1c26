//! Rows of a CSV file to samples, or every problem with its place. What a cell may say is in `values.rs`.

use super::csv::{Broken, Cell, Line, lines};
use super::samples::{Measurements, Operation, Sample};
use super::values::{Mistake, asked, bytes, operation, same_topology, seconds};
use crate::CostModel;
use sailplan_ir::{At, Diagnostic, Diagnostics, SailId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// All rows, and what their other columns say.
pub(super) struct Rows {
    pub(super) samples: Vec<Sample>,
    /// Column → values, for provenance.
    pub(super) notes: BTreeMap<String, BTreeSet<String>>,
}

const COLUMNS: [&str; 5] = ["operation", "bytes", "group", "topology", "seconds"];
/// A file with more rows is no set of measurements.
const MOST_ROWS: usize = 10_000;
/// Pairs of cards in all groups together, which bounds the messages that are counted.
const MOST_PAIRS: usize = 1 << 22;
/// Problems that are shown; a wrong column makes one a row.
const MOST_PROBLEMS: usize = 20;
/// Values of a further column that are kept.
const MOST_NOTES: usize = 3;

/// Every row, or every problem with its place.
pub(super) fn read(costs: &CostModel<'_>, measurements: &Measurements<'_>) -> Result<Rows, Diagnostics> {
    let mut reader =
        Reader { costs, file: measurements.file, problems: Diagnostics::default(), groups: BTreeSet::new(), pairs: 0 };
    let mut lines = lines(measurements.text);
    let header = match lines.next() {
        None => return Err(reader.whole("the file holds no header and no row").into()),
        Some(Err(broken)) => return Err(reader.broken(broken).into()),
        Some(Ok(line)) => reader.header(&line)?,
    };
    let mut rows = Rows { samples: Vec::new(), notes: BTreeMap::new() };
    for line in lines {
        if rows.samples.len() == MOST_ROWS || reader.problems.0.len() == MOST_PROBLEMS {
            let why = if rows.samples.len() == MOST_ROWS {
                format!("more than {MOST_ROWS} rows")
            } else {
                "more problems may follow".to_owned()
            };
            reader.problems.push(reader.whole(&why));
            break;
        }
        match line {
            Err(broken) => reader.problems.push(reader.broken(broken)),
            Ok(line) => reader.row(&header, &line, &mut rows),
        }
    }
    if rows.samples.is_empty() && reader.problems.0.is_empty() {
        reader.problems.push(reader.whole("the file holds no row below its header"));
    }
    reader.problems.into_result(rows)
}

/// Where each column stands.
struct Header {
    ours: [usize; 5],
    others: Vec<(String, usize)>,
    width: usize,
}

struct Reader<'a> {
    costs: &'a CostModel<'a>,
    file: &'a str,
    problems: Diagnostics,
    groups: BTreeSet<Vec<SailId>>,
    pairs: usize,
}

impl Reader<'_> {
    fn whole(&self, what: &str) -> Diagnostic {
        let hint = format!("begin with `{}` and give a row for each measurement", COLUMNS.join(","));
        Diagnostic::new(what).at(self.file, At::Whole).hint(hint)
    }

    fn broken(&self, broken: Broken) -> Diagnostic {
        let problem = Diagnostic::new(broken.message).at(self.file, At::Span(broken.span));
        problem.hint("put a value with commas in quotes, as \"0,2\"; write a quote inside as two")
    }

    fn header(&self, line: &Line<'_>) -> Result<Header, Diagnostics> {
        let names: Vec<String> = line.cells.iter().map(|cell| cell.text.to_lowercase()).collect();
        let mut problems = Diagnostics::default();
        let mut push = |message: String, span: &Range<usize>| {
            let hint =
                format!("the header names {} in any order; other columns are kept as remarks", COLUMNS.join(", "));
            problems.push(Diagnostic::new(message).at(self.file, At::Span(span.clone())).hint(hint));
        };
        for (index, cell) in line.cells.iter().enumerate() {
            if names[..index].contains(&names[index]) {
                push(format!("column `{}` stands twice", shown(&cell.text)), &cell.span);
            }
        }
        let ours = COLUMNS.map(|column| names.iter().position(|name| name == column));
        let lacking: Vec<&str> =
            COLUMNS.into_iter().zip(ours).filter(|(_, at)| at.is_none()).map(|(name, _)| name).collect();
        if !lacking.is_empty() {
            push(format!("the header lacks {}", lacking.join(", ")), &line.span);
        }
        let width = names.len();
        let others = names.into_iter().enumerate().filter(|(index, _)| !ours.contains(&Some(*index)));
        let others = others.map(|(index, name)| (shown(&name), index)).collect();
        problems.into_result(Header { ours: ours.map(Option::unwrap_or_default), others, width })
    }

    fn row(&mut self, header: &Header, line: &Line<'_>, rows: &mut Rows) {
        if line.cells.len() != header.width {
            let message = format!("{} values stand under {} columns", line.cells.len(), header.width);
            let problem = Diagnostic::new(message).at(self.file, At::Span(line.span.clone()));
            self.problems
                .push(problem.hint("leave a value empty rather than out; put a list of cards in quotes, as \"0,2\""));
            return;
        }
        let before = self.problems.0.len();
        let cell = |index: usize| &line.cells[header.ours[index]];
        let bytes = self.checked("bytes", cell(1), bytes);
        let seconds = self.checked("seconds", cell(4), seconds);
        let links = &self.costs.fleet.links;
        self.checked("topology", cell(3), |text| same_topology(links, text));
        let asked = self.checked("operation", cell(0), asked);
        let (Some(bytes), Some(seconds), Some(asked)) = (bytes, seconds, asked) else { return };
        let costs = self.costs;
        let operation = self.checked("group", cell(2), |text| operation(costs, asked, bytes, text));
        let Some(operation) = operation else { return };
        self.bound(&operation, cell(2));
        if self.problems.0.len() == before {
            rows.samples.push(Sample { line: line.number, operation, bytes, seconds, span: line.span.clone() });
            note(header, line, &mut rows.notes);
        }
    }

    /// The value of a cell, or a problem.
    fn checked<T>(
        &mut self,
        column: &str,
        cell: &Cell<'_>,
        read: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        match read(&cell.text) {
            Ok(value) => Some(value),
            Err(Mistake { expected, hint }) => {
                let stands = if cell.text.is_empty() { "empty".to_owned() } else { format!("`{}`", shown(&cell.text)) };
                let problem = Diagnostic::new(format!("{column} is {stands}, expected {expected}"));
                self.problems.push(problem.at(self.file, At::Span(cell.span.clone())).hint(hint));
                None
            }
        }
    }

    /// Refuses more groups than can be counted in reasonable time.
    fn bound(&mut self, operation: &Operation, cell: &Cell<'_>) {
        let Operation::Collective { group, .. } = operation else { return };
        if self.groups.insert(group.clone()) {
            self.pairs += group.len() * group.len();
        }
        if self.pairs > MOST_PAIRS {
            let problem = Diagnostic::new(format!("the groups hold more than {MOST_PAIRS} pairs of cards together"));
            self.problems
                .push(problem.at(self.file, At::Span(cell.span.clone())).hint("measure fewer different groups"));
        }
    }
}

fn note(header: &Header, line: &Line<'_>, notes: &mut BTreeMap<String, BTreeSet<String>>) {
    for (name, index) in &header.others {
        let text = shown(&line.cells[*index].text);
        let known = notes.entry(name.clone()).or_default();
        if !text.is_empty() && known.len() <= MOST_NOTES {
            known.insert(text);
        }
    }
}

/// At most 60 characters of a value, without control characters.
fn shown(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}
