//! What the cells of a row may say: sizes, times, operations, groups. They know the fleet, no file and no row.

use super::samples::{Operation, chunk};
use crate::CostModel;
use sailplan_ir::{Algorithm, Bytes, Fleet, Links, Pattern, Picoseconds, SailId};
use std::collections::BTreeSet;
use std::ops::Range;

/// Larger groups take longer to price than anyone measures.
const LARGEST_GROUP: usize = 256;
/// 1 TiB: no single operation moves more.
const MOST_BYTES: u64 = 1 << 40;
/// 11 days, and a picosecond.
const SECONDS: std::ops::RangeInclusive<f64> = 1e-12..=1e6;

/// A problem with one cell: what was expected, and how to mend it.
pub(super) struct Mistake {
    pub(super) expected: String,
    pub(super) hint: String,
}

fn mistake(expected: impl Into<String>, hint: impl Into<String>) -> Mistake {
    Mistake { expected: expected.into(), hint: hint.into() }
}

/// A shape's name in the column `topology`.
fn topology(links: &Links) -> &'static str {
    match links {
        Links::Mesh(_) => "mesh",
        Links::Ring(_) => "ring",
        Links::Line(_) => "line",
        Links::Star(_) => "star",
        Links::Edges(_) => "edges",
    }
}

pub(super) fn bytes(text: &str) -> Result<Bytes, Mistake> {
    let read = text.parse().map(Bytes).ok().or_else(|| text.parse().ok());
    read.filter(|bytes| bytes.0 <= MOST_BYTES)
        .ok_or_else(|| mistake("bytes, at most 1 TiB", "write 65536 or \"64 KiB\""))
}

pub(super) fn seconds(text: &str) -> Result<f64, Mistake> {
    let quantity = || text.parse().ok().map(Picoseconds::seconds);
    let read = text.parse().ok().or_else(quantity).filter(|seconds| SECONDS.contains(seconds));
    read.ok_or_else(|| mistake("a time of 1e-12 to 1e6 seconds", "write 0.000125, 1.25e-4 or \"125 us\""))
}

pub(super) fn same_topology(links: &Links, text: &str) -> Result<(), Mistake> {
    let ours = topology(links);
    if text.is_empty() || text == "-" || text.eq_ignore_ascii_case(ours) {
        return Ok(());
    }
    let hint =
        format!("calibrate a fleet of that shape with this row; leave the cell empty for the fleet's own {ours}");
    Err(mistake(format!("`{ours}`, as the fleet's links are"), hint))
}

/// An operation before its group is known.
pub(super) enum Asked {
    Collective(Pattern, Option<Algorithm>),
    Message,
    Kernel,
    Host,
}

pub(super) fn asked(text: &str) -> Result<Asked, Mistake> {
    let text = text.to_lowercase();
    let (name, algorithm) = text.split_once('/').map_or((text.as_str(), None), |(name, how)| (name, Some(how)));
    match (name, algorithm) {
        ("message", None) => return Ok(Asked::Message),
        ("kernel", None) => return Ok(Asked::Kernel),
        ("host", None) => return Ok(Asked::Host),
        _ => {}
    }
    let Some(pattern) = Pattern::ALL.into_iter().find(|pattern| pattern.to_string() == name) else {
        let names: Vec<String> = Pattern::ALL.iter().map(ToString::to_string).collect();
        return Err(mistake(
            "an operation",
            format!("message, kernel, host, or a collective, as all-reduce/ring: {}", names.join(", ")),
        ));
    };
    let Some(how) = algorithm else { return Ok(Asked::Collective(pattern, None)) };
    let known = pattern.algorithms().iter().find(|algorithm| algorithm.to_string() == how);
    let names = || pattern.algorithms().iter().map(|algorithm| format!("{pattern}/{algorithm}")).collect::<Vec<_>>();
    let unknown = || mistake(format!("an algorithm that can do {pattern}"), names().join(", "));
    known.map(|&algorithm| Asked::Collective(pattern, Some(algorithm))).ok_or_else(unknown)
}

pub(super) fn operation(costs: &CostModel<'_>, asked: Asked, bytes: Bytes, text: &str) -> Result<Operation, Mistake> {
    let fleet: &Fleet = costs.fleet;
    match asked {
        Asked::Kernel => kernel(fleet, text),
        Asked::Host if text.is_empty() => Ok(Operation::Host { cards: 1 }),
        Asked::Host => Ok(Operation::Host { cards: cards(fleet, text)?.len() }),
        Asked::Message => {
            let pair = if text.is_empty() { "2" } else { text };
            match cards(fleet, pair)?[..] {
                [from, to] => Ok(Operation::Message { from, to }),
                _ => Err(mistake("two cards", "a message goes from one card to another: \"0,1\"")),
            }
        }
        Asked::Collective(pattern, algorithm) => {
            let group = if text.is_empty() { cards(fleet, &fleet.size().to_string())? } else { cards(fleet, text)? };
            if group.len() < 2 {
                return Err(mistake("two cards or more", "a group of one exchanges nothing"));
            }
            let cheapest = || Some(costs.links.cheapest(pattern, &group, chunk(bytes, group.len()), bytes)?.0);
            let assumed = algorithm.is_none();
            let chosen = algorithm.or_else(cheapest);
            let algorithm =
                chosen.ok_or_else(|| mistake("a group that some algorithm serves", "name the algorithm"))?;
            Ok(Operation::Collective { pattern, algorithm, group, assumed })
        }
    }
}

/// A number of cards, or cards as `0..4` or `0,2`.
fn cards(fleet: &Fleet, text: &str) -> Result<Vec<SailId>, Mistake> {
    let size = fleet.size();
    let expected = || {
        let most = size.min(LARGEST_GROUP);
        mistake(
            format!("1 to {most} different cards of sail0 to sail{}", size - 1),
            "write 4 for the first four, or 0..4, or \"0,2\"",
        )
    };
    let run = |item: &str| -> Option<Range<usize>> {
        let (first, end) = match item.split_once("..") {
            Some((first, end)) => (first.trim().parse().ok()?, end.trim().parse().ok()?),
            None => item.parse::<usize>().ok().map(|first| (first, first.saturating_add(1)))?,
        };
        (first < end && end <= size).then_some(first..end)
    };
    let runs = match text.parse::<usize>() {
        Ok(count) => (count > 0 && count <= size).then_some(0..count).map(|first| Vec::from([first])),
        Err(_) => text.split(',').map(|item| run(item.trim())).collect(),
    };
    let runs = runs.filter(|runs| runs.iter().map(Range::len).sum::<usize>() <= LARGEST_GROUP).ok_or_else(expected)?;
    let group: Vec<SailId> = runs.into_iter().flatten().map(|index| SailId(index as u16)).collect();
    let different = group.iter().collect::<BTreeSet<_>>().len() == group.len();
    if different { Ok(group) } else { Err(expected()) }
}

/// A kind by its name or by one of its cards; a fleet of one kind needs neither.
fn kernel(fleet: &Fleet, text: &str) -> Result<Operation, Mistake> {
    let kinds: BTreeSet<&str> = fleet.sails.iter().filter(|run| run.count > 0).map(|run| run.kind.as_str()).collect();
    let mut of_cards =
        fleet.sails.iter().flat_map(|run| std::iter::repeat_n(run.kind.as_str(), usize::from(run.count)));
    let number: Option<usize> = text.strip_prefix("sail").unwrap_or(text).parse().ok();
    let named = kinds.get(text).copied();
    let kind = match (named, number, kinds.first()) {
        (Some(kind), ..) => Some(kind),
        (None, Some(count), Some(&only)) if kinds.len() == 1 && count <= fleet.size() => Some(only),
        (None, Some(index), _) => of_cards.clone().nth(index),
        (None, None, Some(&only)) if text.is_empty() && kinds.len() == 1 => Some(only),
        _ => None,
    };
    let names: Vec<&str> = kinds.iter().copied().collect();
    let kind = kind.ok_or_else(|| {
        mistake(
            "a kind or a card of the fleet",
            format!("kinds: {}; cards: 0 to {}", names.join(", "), fleet.size() - 1),
        )
    })?;
    let sail = of_cards.position(|of| of == kind).unwrap_or_default();
    Ok(Operation::Kernel { sail: SailId(sail as u16), kind: kind.to_owned() })
}
