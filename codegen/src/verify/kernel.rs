//! What an operator makes of parts of its operands. Equal letters of the operator's row must be cut at corresponding
//! places, counted in the letter's atoms; at most one letter is cut. A cut letter of the result cuts the result; a cut
//! letter that is summed gives a partial sum. A letter that covers a cut one may have more than is needed; `skip` then says
//! how many atoms of the covered letter lie before the first that the operands have.

use super::value::{Held, Span, Sums, Taken, Terms};
use super::{positions, routed, rows};
use sailplan_ir::{Graph, Node, Operand, PositionShare, RowShare, TensorId};

/// How one operand is held.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Whole,
    /// The axis that is cut, and where.
    Cut(usize, Span),
    /// A part of a step's rows.
    Rows(RowShare),
    Partial(Sums),
    /// Rows that were sent to experts.
    Dispatched(Taken),
    /// What experts made of rows that were sent to them.
    Routed,
    /// Of a cache, some positions.
    Positions(PositionShare),
    /// A softmax over some positions.
    Unmerged,
}

/// A letter with the part of it that an operand has, in atoms.
struct Letter {
    letter: char,
    span: Span,
    size: u64,
}

/// How the result is held, which is the tensor `of` of a segment.
pub(crate) fn result(
    graph: &Graph,
    (node, of): (&Node, (u32, u32)),
    skip: u64,
    parts: &[Part],
) -> Result<Held, String> {
    let row = node.op.row();
    if parts.iter().any(|part| matches!(part, Part::Routed)) {
        return Err(format!("{} reads what experts made of some rows", row.name));
    }
    if parts.iter().any(|part| matches!(part, Part::Dispatched(_))) {
        return routed::result(graph, (node, of), skip, parts);
    }
    if parts.iter().any(|part| matches!(part, Part::Partial(..))) {
        return partial(node, parts);
    }
    if parts.iter().any(|part| matches!(part, Part::Unmerged)) {
        return Err(format!("{} reads a softmax that is not merged", row.name));
    }
    let positions = |part: &Part| if let Part::Positions(share) = part { Some(*share) } else { None };
    if let Some(share) = parts.iter().find_map(positions) {
        return positions::result(node, skip, (share, parts));
    }
    let share = |part: &Part| if let Part::Rows(share) = part { Some(*share) } else { None };
    if let Some(share) = parts.iter().find_map(share) {
        return rows::result((node, graph.routes(node)), skip, (share, parts));
    }
    let mut known: Vec<Letter> = Vec::new();
    for (index, (&tensor, part)) in node.inputs.iter().zip(parts).enumerate() {
        for letter in letters(graph, node, Operand::Input(index), (tensor, *part))? {
            match known.iter().find(|other| other.letter == letter.letter) {
                Some(other) if other.size != letter.size || !other.span.alike(letter.span) => {
                    return Err(format!(
                        "operands are cut at different places: {}..{} and {}..{} of {}",
                        other.span.start, other.span.end, letter.span.start, letter.span.end, letter.size
                    ));
                }
                Some(_) => {}
                None => known.push(letter),
            }
        }
    }
    covered(node, skip, &known)?;
    let covers = |letter: &&Letter| row.covers.is_some_and(|(cover, _)| cover == letter.letter);
    let mut cut = known.iter().filter(|letter| letter.span != Span::of(letter.size) && !covers(letter));
    let Some(first) = cut.next() else { return Ok(Held::Whole) };
    if cut.next().is_some() {
        return Err("operands are cut along two axes at once".to_owned());
    }
    if row.contract.contains(first.letter) {
        return Ok(Held::Partial(Sums::one(Terms { of, letter: first.letter, span: first.span, size: first.size })));
    }
    let axis = row.output().chars().position(|letter| letter == first.letter);
    let last = graph[node.output].axes.len().checked_sub(1);
    if !row.split.contains(first.letter) || axis.is_none() || axis != last {
        return Err(format!("{} needs all of an axis that is cut", row.name));
    }
    let atom = node.op.atom(first.letter);
    let scaled = |bound: u64| bound.checked_mul(atom).ok_or("a cut beyond all bounds");
    Ok(Held::Cut(Span { start: scaled(first.span.start)?, end: scaled(first.span.end)? }))
}

/// What a linear operator makes of partial sums and of whole operands beside them.
fn partial(node: &Node, parts: &[Part]) -> Result<Held, String> {
    let row = node.op.row();
    let mut sums: Option<Sums> = None;
    for (input, part) in parts.iter().enumerate() {
        sums = match (part, row.linear.contains(&input)) {
            (Part::Partial(more), true) => match sums {
                Some(sums) => Some(sums.with(*more).ok_or("adds up one sum twice, or too many")?),
                None => Some(*more),
            },
            (Part::Whole, false) => sums,
            (Part::Partial(..), false) => return Err(format!("{} reads a partial sum", row.name)),
            (_, _) => return Err(format!("{} reads a partial sum and what is none", row.name)),
        };
    }
    sums.map(Held::Partial).ok_or_else(|| format!("{} of no partial sum", row.name))
}

/// Whether what covers a letter has all that is needed, and `skip` is how far into it the covered part starts.
fn covered(node: &Node, skip: u64, known: &[Letter]) -> Result<(), String> {
    let find = |letter| known.iter().find(|known| known.letter == letter);
    let pair = node.op.row().covers.and_then(|(cover, covered)| Some((find(cover)?.span, find(covered)?.span)));
    let first = match pair {
        Some((_, part)) if part.len() == 0 => 0,
        Some((cover, part)) => {
            let each = node.op.covered_by_each();
            let scaled = |bound: u64| bound.saturating_mul(each);
            if scaled(cover.start) > part.start || scaled(cover.end) < part.end {
                return Err(format!(
                    "query heads {}..{} need other KV heads than {}..{}",
                    part.start, part.end, cover.start, cover.end
                ));
            }
            part.start - scaled(cover.start)
        }
        None => 0,
    };
    if skip == first { Ok(()) } else { Err(format!("skips {skip} query heads, where {first} lie on other Sails")) }
}

/// The letters of one operand whose size is a number.
fn letters(
    graph: &Graph,
    node: &Node,
    operand: Operand,
    (tensor, part): (TensorId, Part),
) -> Result<Vec<Letter>, String> {
    let mut found = Vec::new();
    let axes = node.op.row().letters(operand).chars().zip(&graph[tensor].axes);
    for (axis, (letter, dim)) in axes.enumerate() {
        let cut = match part {
            Part::Cut(cut, span) if cut == axis => Some(span),
            _ => None,
        };
        let Some(size) = dim.fixed() else {
            if cut.is_some() {
                return Err(format!("`{}` is cut along its {dim}", graph[tensor].name));
            }
            continue;
        };
        let atom = node.op.atom(letter);
        let in_atoms =
            |span: Span| span.in_atoms(atom).ok_or_else(|| format!("`{}` is cut inside a head", graph[tensor].name));
        let all = in_atoms(Span::of(size))?;
        found.push(Letter { letter, span: cut.map_or(Ok(all), in_atoms)?, size: all.end });
    }
    Ok(found)
}
