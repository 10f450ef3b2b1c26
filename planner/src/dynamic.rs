//! The engine: dynamic programming over (cards used, segments placed). Exact over stages on intervals of the link order,
//! as far as each stage's mix of points is.

use crate::space::{Interval, Space};
use crate::stage::mix;
use sailplan_ir::{Picoseconds, SailId};
use std::collections::BTreeMap;
use std::ops::Range;

/// A stage of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) group: Interval,
    pub(crate) segments: Range<usize>,
}

/// The best chain of stages.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) cuts: Vec<Cut>,
    /// Whether every stage on the way was mixed exactly.
    pub(crate) exact: bool,
}

#[derive(Clone, Copy)]
struct Reached {
    objective: Picoseconds,
    start: usize,
    from: usize,
    first_segment: usize,
}

/// The cheapest chain; `None` when no cut of the segments fits. Ties go to fewer cards, then to the earlier cut.
pub(crate) fn solve(space: &Space<'_>) -> Option<Chain> {
    let segments = space.model.segments.len();
    let mut stages = Stages { space, known: BTreeMap::new(), exact: true };
    // reached[end][segments]: the best way to have placed so many segments with the last stage ending at `end`.
    let mut reached: Vec<Vec<Option<Reached>>> = vec![vec![None; segments + 1]; space.cards + 1];
    for end in 1..=space.cards {
        for start in end.saturating_sub(space.largest)..end {
            extend(&mut stages, &mut reached, start..end, segments);
        }
    }
    let best = (1..=space.cards).filter_map(|end| reached[end][segments].map(|found| (found.objective, end))).min()?;
    Some(Chain { cuts: trace(&reached, best.1, segments), exact: stages.exact })
}

/// Tries every run of segments on `group`, as the first stage or after every stage that ends at or before its start.
fn extend(stages: &mut Stages<'_>, reached: &mut [Vec<Option<Reached>>], group: Interval, segments: usize) {
    let spread = stages.space.broadcast(&group);
    let spread = stages.space.weighted(spread.prefill, spread.decode);
    for first in 0..segments {
        let Some((before, from)) = arrival(stages.space, reached, &group, first, spread) else {
            continue;
        };
        for (last, slot) in reached[group.end].iter_mut().enumerate().skip(first + 1) {
            let Some(cost) = stages.cost(&group, first..last) else {
                break;
            };
            let objective = before + cost;
            if slot.is_none_or(|known| objective < known.objective) {
                *slot = Some(Reached { objective, start: group.start, from, first_segment: first });
            }
        }
    }
}

/// The cheapest way to have `first` segments placed and their value on `group`.
fn arrival(
    space: &Space<'_>,
    reached: &[Vec<Option<Reached>>],
    group: &Interval,
    first: usize,
    spread: Picoseconds,
) -> Option<(Picoseconds, usize)> {
    if first == 0 {
        // Equal cards: a chain that starts later is the same chain under other names.
        return (!space.uniform || group.start == 0).then_some((Picoseconds(0), 0));
    }
    let ends = if space.uniform { group.start..group.start + 1 } else { 1..group.start + 1 };
    let options = ends.filter_map(|end| {
        let known = reached[end][first]?;
        let hop = space.message(SailId(end as u16 - 1), SailId(group.start as u16));
        Some((known.objective + space.weighted(hop.prefill, hop.decode) + spread, end))
    });
    options.min()
}

fn trace(reached: &[Vec<Option<Reached>>], end: usize, segments: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let (mut end, mut placed) = (end, segments);
    while placed > 0 {
        let Some(found) = reached[end][placed] else { break };
        cuts.push(Cut { group: found.start..end, segments: found.first_segment..placed });
        (end, placed) = (found.from, found.first_segment);
    }
    cuts.reverse();
    cuts
}

/// Costs of stages, remembered by group size and number of segments of each class.
struct Stages<'a> {
    space: &'a Space<'a>,
    known: BTreeMap<(Range2, Vec<u64>), Option<Picoseconds>>,
    exact: bool,
}

type Range2 = (usize, usize);

impl Stages<'_> {
    fn cost(&mut self, group: &Interval, segments: Range<usize>) -> Option<Picoseconds> {
        let wanted = wanted(self.space, segments);
        let key = if self.space.uniform { (0, group.len()) } else { (group.start, group.end) };
        if let Some(&known) = self.known.get(&(key, wanted.clone())) {
            return known;
        }
        let found = mix(self.space, group, &wanted);
        self.exact &= found.as_ref().is_none_or(|mix| mix.exact);
        let cost = found.map(|mix| mix.objective);
        self.known.insert((key, wanted), cost);
        cost
    }
}

/// How many segments of each class a run has.
pub(crate) fn wanted(space: &Space<'_>, segments: Range<usize>) -> Vec<u64> {
    let mut counts = vec![0; space.choices.len()];
    for segment in &space.model.segments[segments] {
        counts[segment.class.index()] += 1;
    }
    counts
}
