//! The engine where stages work side by side: dynamic programming for the smallest largest load, and for the smallest sum of
//! costs among chains whose loads stay within a limit. What overlaps is a search over that limit.

use crate::budget::Budget;
use crate::dynamic::{Cut, Stages};
use crate::pace::{Pace, Toll};
use crate::replicas;
use crate::space::{Interval, Space};
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

/// The best chain by objective; for requests that follow each other, the best replicas.
pub(crate) fn best(space: &Space<'_>, stages: &mut Stages<'_>) -> Option<(Picoseconds, Vec<Cut>)> {
    let all = 0..space.cards;
    match space.pace() {
        Pace::Period if space.replicas => replicas::best(space, stages),
        Pace::Sum | Pace::Period => on(space, stages, &all),
        Pace::Overlap { further } => {
            let least = chain(space, stages, &all, Goal::Bottleneck)?.value;
            overlapped(space, stages, (least, further))
        }
    }
}

/// The chain with the smallest largest load on cards of a run, with that load. Of chains with the same the one that takes a
/// single request through soonest. Where cards are alike, the run begins at the first.
pub(crate) fn on(space: &Space<'_>, stages: &mut Stages<'_>, run: &Interval) -> Option<(Picoseconds, Vec<Cut>)> {
    let least = chain(space, stages, run, Goal::Bottleneck)?.value;
    Some((least, chain(space, stages, run, Goal::Within(least))?.cuts))
}

/// For each first card, the smallest largest load of a chain on cards from there up to `end`.
pub(crate) fn until(space: &Space<'_>, stages: &mut Stages<'_>, end: usize) -> Vec<Option<Picoseconds>> {
    let reached = reach(space, stages, &(0..end), Goal::Bottleneck);
    let budget = Budget::new(space);
    let mut best: Option<Picoseconds> = None;
    let mut periods = vec![None; end];
    for start in (0..end).rev() {
        let here = budget.enough().filter_map(|spent| Some(reached[start][spent][0]?.value));
        best = best.into_iter().chain(here).min();
        periods[start] = best;
    }
    periods
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
        let Some(found) = chain(space, stages, &(0..space.cards), Goal::Within(to)) else { continue };
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

fn chain(space: &Space<'_>, stages: &mut Stages<'_>, run: &Interval, goal: Goal) -> Option<Found> {
    let (reached, budget) = (reach(space, stages, run, goal), Budget::new(space));
    let starts = run.clone().flat_map(|start| budget.enough().map(move |spent| (start, spent)));
    let done = starts.filter_map(|(start, spent)| Some((reached[start][spent][0]?, (start, spent))));
    let (found, place) = done.min_by_key(|(found, place)| (found.value, found.load, *place))?;
    Some(Found { value: found.value, load: found.load, cuts: trace(space, &reached, place) })
}

/// What chains on cards of a run reach, by first card. From the last card to the first, because a stage goes on when its value
/// has left: the message that it sends is part of its load.
fn reach(space: &Space<'_>, stages: &mut Stages<'_>, run: &Interval, goal: Goal) -> Vec<Row> {
    let segments = space.model.segments.len();
    let budget = Budget::new(space);
    let mut reached: Vec<Row> = vec![vec![vec![None; segments + 1]; budget.states()]; run.end + 1];
    let mut departures: Vec<Vec<Vec<Vec<Departure>>>> = vec![Vec::new(); run.end + 1];
    for start in run.clone().rev() {
        // All stages that start at `start + 1` or later are known by now.
        let end = start + 1;
        let leave = |spent| departing(space, &reached, (end, spent, run.end), goal);
        departures[end] = (0..budget.states()).map(leave).collect();
        let furthest = run.end.min(start.saturating_add(space.largest));
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
    reached
}

/// For each number of segments placed so far, the ways in which no other is better both in value and in message; lighter
/// messages last. Equal cards: the last stage ends at the last card, and none is left out in between.
fn departing(
    space: &Space<'_>,
    reached: &[Row],
    (end, spent, cards): (usize, usize, usize),
    goal: Goal,
) -> Vec<Vec<Departure>> {
    let segments = space.model.segments.len();
    let starts = if space.alike { end..cards.min(end + 1) } else { end..cards };
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
    let last = (spent == 0 && (!space.alike || end == cards)).then_some(none);
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
