//! The engine where stages work side by side: dynamic programming for the smallest largest load, and for the smallest sum of
//! costs among chains whose loads stay within a limit. What overlaps is a search over that limit.

use crate::budget::Budget;
use crate::dynamic::{Cut, Stages};
use crate::pace::{Pace, Toll};
use crate::space::Space;
use sailplan_ir::{Picoseconds, SailId};

/// What is looked for.
#[derive(Clone, Copy)]
enum Goal {
    /// The smallest largest load.
    Bottleneck,
    /// The smallest sum of costs with loads up to this one.
    Within(Picoseconds),
}

/// The cheapest chain from one place on.
#[derive(Clone, Copy)]
struct Reached {
    /// Of the goal.
    value: Picoseconds,
    /// The largest from here on.
    load: Picoseconds,
    end: usize,
    /// Where the stage after starts, and what is spent from there on.
    next: (usize, usize),
    last_segment: usize,
}

/// By what is spent, then by the first segment.
type Row = Vec<Vec<Option<Reached>>>;

/// How a value may leave a group.
#[derive(Clone, Copy)]
struct Departure {
    /// Of the goal, the message counted where costs are summed.
    value: Picoseconds,
    /// The largest load of the stages after.
    load: Picoseconds,
    /// The message's part of the load of the stage that sends it.
    hop: Picoseconds,
    next: (usize, usize),
}

struct Found {
    value: Picoseconds,
    load: Picoseconds,
    cuts: Vec<Cut>,
}

/// The best chain by objective. Of chains with the same period the one that takes a single request through soonest.
pub(crate) fn best(space: &Space<'_>, stages: &mut Stages<'_>) -> Option<(Picoseconds, Vec<Cut>)> {
    let least = chain(space, stages, Goal::Bottleneck)?.value;
    match space.pace() {
        Pace::Sum | Pace::Period => Some((least, chain(space, stages, Goal::Within(least))?.cuts)),
        Pace::Overlap { further } => overlapped(space, stages, (least, further)),
    }
}

/// Halves intervals of the largest load; what an interval can still give is the smallest sum up to its end, at the load where
/// it begins.
fn overlapped(
    space: &Space<'_>,
    stages: &mut Stages<'_>,
    (least, further): (Picoseconds, u64),
) -> Option<(Picoseconds, Vec<Cut>)> {
    let mut best: Option<(Picoseconds, Vec<Cut>)> = None;
    let mut open = vec![(least, Picoseconds::NEVER)];
    while let Some((from, to)) = open.pop() {
        let Some(found) = chain(space, stages, Goal::Within(to)) else { continue };
        let objective = found.value + found.load * further;
        if best.as_ref().is_none_or(|known| objective < known.0) {
            best = Some((objective, found.cuts));
        }
        let hopeless = |from: Picoseconds| best.as_ref().is_some_and(|known| found.value + from * further >= known.0);
        if found.load <= from || hopeless(from) {
            continue;
        }
        let below = Picoseconds(found.load.0 - 1);
        let middle = Picoseconds(from.0 + (below.0 - from.0) / 2);
        if middle < below && !hopeless(Picoseconds(middle.0 + 1)) {
            open.push((Picoseconds(middle.0 + 1), below));
        }
        open.push((from, middle));
    }
    best
}

/// From the last card to the first, because a stage goes on when its value has left: the message that it sends is part of
/// its load.
fn chain(space: &Space<'_>, stages: &mut Stages<'_>, goal: Goal) -> Option<Found> {
    let segments = space.model.segments.len();
    let budget = Budget::new(space);
    let mut reached: Vec<Row> = vec![vec![vec![None; segments + 1]; budget.states()]; space.cards + 1];
    let mut departures: Vec<Vec<Vec<Vec<Departure>>>> = vec![Vec::new(); space.cards + 1];
    for start in (0..space.cards).rev() {
        // All stages that start at `start + 1` or later are known by now.
        let end = start + 1;
        departures[end] = (0..budget.states()).map(|spent| departing(space, &reached, (end, spent), goal)).collect();
        let furthest = space.cards.min(start.saturating_add(space.largest));
        for end in start + 1..=furthest {
            let group = start..end;
            if !space.open(&group) {
                continue;
            }
            let spread = space.toll_of(&space.broadcast(&group));
            let mut runs = stages.runs(&group);
            let mut toll = |first: usize, last: usize| stages.of(&mut runs, first, last);
            for (spent, departures) in departures[end].iter().enumerate() {
                let Some(after) = budget.after(spent, group.len()) else { continue };
                extend(&mut toll, (departures, spread, goal), end, &mut reached[start][after]);
            }
            stages.put_back(runs);
        }
    }
    let starts = (0..space.cards).flat_map(|start| budget.enough().map(move |spent| (start, spent)));
    let done = starts.filter_map(|(start, spent)| Some((reached[start][spent][0]?, (start, spent))));
    let (found, place) = done.min_by_key(|(found, place)| (found.value, found.load, *place))?;
    Some(Found { value: found.value, load: found.load, cuts: trace(space, &reached, place) })
}

/// For each number of segments placed so far, the ways in which no other is better both in value and in message; lighter
/// messages last. Equal cards: the last stage ends at the last card, and none is left out in between.
fn departing(space: &Space<'_>, reached: &[Row], (end, spent): (usize, usize), goal: Goal) -> Vec<Vec<Departure>> {
    let segments = space.model.segments.len();
    let starts = if space.alike { end..space.cards.min(end + 1) } else { end..space.cards };
    let hop = |start: usize| (start, space.toll_of(&space.message(SailId(end as u16 - 1), SailId(start as u16))));
    let hops: Vec<(usize, Toll)> = starts.filter(|&start| space.joined(end - 1, start)).map(hop).collect();
    let depart = |placed: usize| {
        let to = |&(start, hop): &(usize, Toll)| {
            let after = reached[start][spent][placed]?;
            let value = match goal {
                Goal::Bottleneck => after.value,
                Goal::Within(_) => after.value + hop.cost,
            };
            Some(Departure { value, load: after.load, hop: hop.load, next: (start, spent) })
        };
        let mut all: Vec<Departure> = hops.iter().filter_map(to).collect();
        all.sort_by_key(|departure| (departure.value, departure.hop));
        let mut kept: Vec<Departure> = Vec::new();
        for departure in all {
            if kept.last().is_none_or(|known| departure.hop < known.hop) {
                kept.push(departure);
            }
        }
        kept
    };
    let nothing = Picoseconds(0);
    let none = Departure { value: nothing, load: nothing, hop: nothing, next: (end, spent) };
    let last = (spent == 0 && (!space.alike || end == space.cards)).then_some(none);
    (0..=segments).map(|placed| if placed == segments { last.into_iter().collect() } else { depart(placed) }).collect()
}

/// Tries every run of segments on a group before every way for them to leave it.
fn extend(
    toll: &mut dyn FnMut(usize, usize) -> Option<Toll>,
    (departures, spread, goal): (&[Vec<Departure>], Toll, Goal),
    end: usize,
    reached: &mut [Option<Reached>],
) {
    for (first, slot) in reached.iter_mut().enumerate() {
        // The first stage takes its value from the host.
        let spread = if first == 0 { Toll::default() } else { spread };
        for (last, departures) in departures.iter().enumerate().skip(first + 1) {
            let Some(stage) = toll(first, last) else { break };
            let stage = stage + spread;
            for departure in departures {
                let load = stage.load + departure.hop;
                let value = match goal {
                    Goal::Bottleneck => departure.value.max(load),
                    Goal::Within(most) if load > most => continue,
                    Goal::Within(_) => departure.value + stage.cost,
                };
                let load = load.max(departure.load);
                if slot.is_none_or(|known| (value, load) < (known.value, known.load)) {
                    *slot = Some(Reached { value, load, end, next: departure.next, last_segment: last });
                }
            }
        }
    }
}

fn trace(space: &Space<'_>, reached: &[Row], (start, spent): (usize, usize)) -> Vec<Cut> {
    let segments = space.model.segments.len();
    // Equal cards are taken from the first on.
    let shift = if space.alike { start } else { 0 };
    let mut cuts = Vec::new();
    let (mut start, mut spent, mut placed) = (start, spent, 0);
    while placed < segments {
        let Some(found) = reached[start][spent][placed] else { break };
        cuts.push(Cut { group: start - shift..found.end - shift, segments: placed..found.last_segment });
        ((start, spent), placed) = (found.next, found.last_segment);
    }
    cuts
}
