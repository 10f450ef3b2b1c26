//! The text of proofs, line by line. Any bytes may come in; every number must name something on a line above, so that what is
//! read has no circles and no depth.

use sailplan_ir::{At, Diagnostic, Diagnostics, Head, PROOF_HEADER, ProofStep, TensorId, Term};
use std::ops::Range;

/// Larger texts are refused unread; a proof of a dense layer has some ten thousand bytes.
const MAX_BYTES: usize = 64 << 20;

/// Something with its place in the text.
pub(super) type Placed<T> = (T, Range<usize>);

/// One proof as the text has it.
pub(super) struct Entry {
    /// The class's name in quotes.
    pub(super) class: Placed<String>,
    pub(super) terms: Vec<Placed<Term>>,
    pub(super) chains: Vec<Steps>,
}

/// One chain.
pub(super) struct Steps {
    pub(super) from: Placed<u32>,
    pub(super) steps: Vec<Placed<ProofStep>>,
}

impl Entry {
    /// Bytes of its text.
    pub(super) fn bytes(&self) -> usize {
        let last = self.chains.last().map(|chain| chain.steps.last().map_or(&chain.from.1, |step| &step.1));
        let last = last.or(self.terms.last().map(|term| &term.1)).unwrap_or(&self.class.1);
        last.end + 1 - self.class.1.start
    }
}

/// The proofs of a file, read but not believed.
pub struct Proofs {
    pub(super) file: String,
    pub(super) entries: Vec<Entry>,
}

/// The proofs in a file's text.
///
/// # Errors
/// The text is no list of proofs; the line that is none.
pub fn read_proofs(file: &str, text: &str) -> Result<Proofs, Diagnostics> {
    let entries = entries(file, text)?;
    Ok(Proofs { file: file.to_owned(), entries })
}

fn entries(file: &str, text: &str) -> Result<Vec<Entry>, Diagnostic> {
    let whole = |message: String| Diagnostic::new(message).at(file, At::Whole);
    if text.len() > MAX_BYTES {
        return Err(whole(format!("the file has {} bytes; proofs have at most {MAX_BYTES}", text.len())));
    }
    let mut lines = lines(text);
    let (first, place) = lines.next().unwrap_or(("", 0..0));
    if first != PROOF_HEADER {
        let problem = Diagnostic::new(format!("the first line is not `{PROOF_HEADER}`")).at(file, At::Span(place));
        return Err(problem.hint("write proofs with `sailplan verify PLAN --proof-out FILE`"));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (line, place) in lines {
        let problem = |message: String| Diagnostic::new(message).at(file, At::Span(place.clone()));
        if let Some(class) = line.strip_prefix("class ") {
            entries.push(Entry { class: (class.to_owned(), place), terms: Vec::new(), chains: Vec::new() });
            continue;
        }
        let entry = entries.last_mut().ok_or_else(|| problem("a line before the first `class`".to_owned()))?;
        add(entry, line, place.clone()).map_err(problem)?;
    }
    Ok(entries)
}

/// Every line with its bytes. The last one ends like the others.
fn lines(text: &str) -> impl Iterator<Item = Placed<&str>> {
    let start = |next: &mut usize, line: &str| {
        let from = *next;
        *next += line.len() + 1;
        Some(from)
    };
    let ended = text.strip_suffix('\n').unwrap_or(text);
    let starts = ended.split('\n').scan(0, start).collect::<Vec<_>>();
    ended.split('\n').zip(starts).map(|(line, from)| (line, from..from + line.len()))
}

/// One line of an entry.
fn add(entry: &mut Entry, line: &str, place: Range<usize>) -> Result<(), String> {
    if let Some(step) = line.strip_prefix("  ") {
        let step = self::step(step)?;
        let numbers = (entry.terms.len(), entry.chains.len().saturating_sub(1));
        let chain = entry.chains.last_mut().ok_or("a step before the first chain")?;
        below(step.gives(), numbers.0, 't')?;
        if let ProofStep::Inside { chain, .. } = step {
            below(chain, numbers.1, 'c')?;
        }
        chain.steps.push((step, place));
        return Ok(());
    }
    let (name, rest) = line.split_once(' ').ok_or_else(unknown)?;
    match (rest.strip_prefix("= "), rest.strip_prefix("from ")) {
        (Some(term), _) if entry.chains.is_empty() => {
            expected(name, 't', entry.terms.len())?;
            let term = self::term(term)?;
            term.operands.iter().try_for_each(|&operand| below(operand, entry.terms.len(), 't'))?;
            entry.terms.push((term, place));
        }
        (_, Some(from)) => {
            expected(name, 'c', entry.chains.len())?;
            let from = number(from, 't').ok_or_else(unknown)?;
            below(from, entry.terms.len(), 't')?;
            entry.chains.push(Steps { from: (from, place), steps: Vec::new() });
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

fn unknown() -> String {
    "no term, chain or step: expected such as `t3 = all-reduce t2`, `c1 from t3` or `  reduce 1 -> t5`".to_owned()
}

fn expected(name: &str, letter: char, count: usize) -> Result<(), String> {
    let next = format!("{letter}{count}");
    if name == next { Ok(()) } else { Err(format!("`{name}` stands where `{next}` comes next")) }
}

fn below(number: u32, count: usize, letter: char) -> Result<(), String> {
    if (number as usize) < count { Ok(()) } else { Err(format!("`{letter}{number}` does not stand above")) }
}

/// A letter and a number, written in one way only.
fn number(text: &str, letter: char) -> Option<u32> {
    plain(text.strip_prefix(letter)?)
}

fn plain<N: std::str::FromStr + ToString>(digits: &str) -> Option<N> {
    digits.parse().ok().filter(|number: &N| number.to_string() == digits)
}

fn term(text: &str) -> Result<Term, String> {
    let mut words = text.split(' ');
    let head = words.next().unwrap_or_default();
    let head = self::head(head).ok_or_else(|| format!("`{head}` is no operator, leaf or collective"))?;
    let operands: Option<Vec<u32>> = words.map(|operand| number(operand, 't')).collect();
    Ok(Term { head, operands: operands.ok_or_else(unknown)? })
}

fn head(text: &str) -> Option<Head> {
    if let Some((name, index)) = text.split_once('@') {
        return Some(Head::Op { name: name.to_owned(), index: plain(index)? });
    }
    if let Some(tensor) = text.strip_prefix('%') {
        return Some(Head::Leaf(TensorId(plain(tensor)?)));
    }
    match text.split_once('.') {
        None => match text {
            "all-reduce" => Some(Head::AllReduce),
            "collect" => Some(Head::Collect(None)),
            "dispatch" => Some(Head::Dispatch),
            "combine" => Some(Head::Combine),
            _ => None,
        },
        Some((name, axis)) => {
            let axis: u8 = plain(axis)?;
            Some(match name {
                "slice" => Head::Slice(axis),
                "all-gather" => Head::AllGather(axis),
                "reduce-scatter" => Head::ReduceScatter(axis),
                "merge-scatter" => Head::MergeScatter(axis),
                "collect" => Head::Collect(Some(axis)),
                _ => return None,
            })
        }
    }
}

fn step(text: &str) -> Result<ProofStep, String> {
    let arrow = |arrow: &str| {
        let (before, after) = text.rsplit_once(arrow)?;
        Some((before, number(after, 't')?))
    };
    let (before, gives, forward) = match (arrow(" -> "), arrow(" <- ")) {
        (Some((before, gives)), _) => (before, gives, true),
        (_, Some((before, gives))) => (before, gives, false),
        _ => return Err(unknown()),
    };
    let Some(inside) = before.strip_prefix("operand ") else {
        return Ok(ProofStep::Rule { name: before.to_owned(), forward, gives });
    };
    let (operand, chain) = inside.split_once(" by ").filter(|_| forward).ok_or_else(unknown)?;
    let (operand, chain) = (plain(operand).ok_or_else(unknown)?, number(chain, 'c').ok_or_else(unknown)?);
    Ok(ProofStep::Inside { operand, chain, gives })
}
