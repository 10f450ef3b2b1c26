//! Replicas: chains with all of the model's weights side by side, each on a run of cards of its own, that take requests at
//! their own rates. Together they have a request leave after 1 / Σ(1/period). Dynamic programming over runs of cards, by
//! number of replicas, on what `paced` knows of each run.

use crate::assemble::{Filled, assemble};
use crate::dynamic::{Cut, Stages};
use crate::space::{Interval, Space};
use crate::{paced, program};
use sailplan_cost_model::Phase;
use sailplan_ir::{Attachment, Bytes, DType, Picoseconds, Rate, Role, SailId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// By first card and by one past the last: the smallest period of a chain on cards of the run.
type Periods = Vec<Vec<Option<Picoseconds>>>;

/// The replicas that together have the smallest time between two requests, as one list of stages: one with the first
/// segment begins a replica. Of equal ones the fewest; each is then, on its cards, the chain of its period that takes a
/// request through soonest.
pub(crate) fn best(space: &Space<'_>, stages: &mut Stages<'_>) -> Option<(Picoseconds, Vec<Cut>)> {
    let periods = periods(space, stages);
    let all = periods[0][space.cards]?;
    let table = Table::new(space, &periods);
    let floor = host_busy(space);
    let several = (2..table.rates.len()).map(|count| (table.rates[count][0].period().max(floor), count));
    let (objective, count) = several.chain([(all, 1)]).min()?;
    let whole = 0..space.cards;
    let runs = if count == 1 { vec![whole] } else { table.runs(space, &periods, count) };
    let mut known: BTreeMap<(usize, usize), Vec<Cut>> = BTreeMap::new();
    let mut cuts = Vec::new();
    for run in runs {
        let shift = if space.alike { run.start } else { 0 };
        let place = run.start - shift..run.end - shift;
        let chain = match known.entry((place.start, place.end)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(paced::on(space, stages, &place)?.1),
        };
        let shifted = |cut: &Cut| Cut { group: cut.group.start + shift..cut.group.end + shift, ..cut.clone() };
        cuts.extend(chain.iter().map(shifted));
    }
    Some((objective, cuts))
}

/// Solves the integer program for the chain of each replica, on the cards from its first to its last; of cards that are alike
/// once for each number. `None` where one of the programs is too large and nobody asks for it.
pub(crate) fn confirm(space: &mut Space<'_>, stages: &[Filled], prove: bool) -> Result<Option<(usize, usize)>, String> {
    let (cards, only) = (space.cards, space.only.take());
    let cuts: Vec<Cut> = stages.iter().map(|stage| stage.0.clone()).collect();
    let mut known: BTreeSet<(usize, usize)> = BTreeSet::new();
    let (mut figures, mut rest) = (Some((0, 0)), stages);
    for replica in split(&cuts) {
        let own;
        (own, rest) = rest.split_at(replica.len());
        let run = replica[0].group.start..replica[replica.len() - 1].group.end;
        let run = if space.alike { 0..run.len() } else { run };
        let period = assemble(space, own).estimate.objective;
        space.cards = run.end;
        space.only = (!space.alike).then(|| within(&run));
        if !known.insert((run.start, run.end)) {
            continue;
        }
        if !prove && !program::small(space) {
            figures = None;
            break;
        }
        let solved = program::solve(space)?;
        let theirs = solved.stages.map(|stages| assemble(space, &stages).estimate.objective);
        if !theirs.is_some_and(|theirs| crate::agree(period, theirs)) {
            return Err(format!("the engine found {period:?} for a replica, the integer program {theirs:?}"));
        }
        figures = figures.map(|(columns, rows)| (columns + solved.columns, rows + solved.rows));
    }
    (space.cards, space.only) = (cards, only);
    Ok(figures)
}

/// All groups of a run.
fn within(run: &Interval) -> BTreeSet<(usize, usize)> {
    run.clone().flat_map(|start| (start + 1..=run.end).map(move |end| (start, end))).collect()
}

/// The stages of each replica.
pub(crate) fn split(cuts: &[Cut]) -> Vec<&[Cut]> {
    cuts.chunk_by(|_, next| next.segments.start > 0).collect()
}

/// Stages of the longest replica: requests on their way in each.
pub(crate) fn longest(cuts: &[Cut]) -> usize {
    split(cuts).into_iter().map(<[Cut]>::len).max().unwrap_or(1)
}

/// The time between two requests of replicas with these periods.
pub(crate) fn together(space: &Space<'_>, periods: &[Picoseconds]) -> Picoseconds {
    match periods {
        [one] => *one,
        several => unhindered(several).max(host_busy(space)),
    }
}

/// The same where the host is always there.
pub(crate) fn unhindered(periods: &[Picoseconds]) -> Picoseconds {
    Rate::together(periods.iter().copied())
}

/// What a link that all cards share to the host carries for one request at least, in the direction that has more to do:
/// tokens down, logits up, in each pass.
pub(crate) fn host_busy(space: &Space<'_>) -> Picoseconds {
    let (costs, graph) = (space.costs, &space.model.graph);
    if costs.fleet.host.attachment == Attachment::PerSail {
        return Picoseconds(0);
    }
    let [prefill, decode] = [Phase::Prefill, Phase::Decode].map(|phase| costs.extents(phase));
    let (passes, steps) = (costs.request.chunks(), costs.request.generate);
    let down = graph.with_role(Role::Tokens).next().map(|_| {
        let ids = |tokens: u64| costs.host(&[DType::I32.bytes(tokens).unwrap_or(Bytes(u64::MAX))]);
        ids(prefill.tokens) * passes + ids(decode.tokens) * steps
    });
    let up = graph.output().map(|id| {
        let rows = |extents| costs.host(&[graph[id].bytes(extents)]);
        rows(prefill) * passes + rows(decode) * steps
    });
    down.max(up).unwrap_or_default()
}

/// Of cards that are alike, runs of one length have one period. A run whose memory does not hold all weights and caches once
/// is none.
fn periods(space: &Space<'_>, stages: &mut Stages<'_>) -> Periods {
    let cards = space.cards;
    let last = paced::until(space, stages, cards);
    let of_end = |end: usize| {
        if space.alike { last[cards - end..].to_vec() } else { paced::until(space, stages, end) }
    };
    let by_end: Vec<Vec<Option<Picoseconds>>> = (1..=cards).map(of_end).collect();
    let room = (0..cards).scan(Bytes(0), |before, card| {
        *before += space.capacity(SailId(card as u16));
        Some(*before)
    });
    let room: Vec<Bytes> = std::iter::once(Bytes(0)).chain(room).collect();
    let of = |start: usize, end: usize| {
        let holds = start < end && (space.stream || room[end] - room[start] >= space.whole);
        by_end[end.max(1) - 1].get(start).copied().flatten().filter(|_| holds)
    };
    (0..cards).map(|start| (0..=cards).map(|end| of(start, end)).collect()).collect()
}

/// By number of replicas and first card that they may use: the largest sum of their rates, none where so many do not fit.
struct Table {
    rates: Vec<Vec<Rate>>,
}

impl Table {
    fn new(space: &Space<'_>, periods: &Periods) -> Self {
        let mut rates = vec![vec![Rate::default(); space.cards + 1]];
        loop {
            let row = Self::row(space, periods, &rates);
            if row[0] == Rate::default() {
                return Self { rates };
            }
            rates.push(row);
        }
    }

    fn row(space: &Space<'_>, periods: &Periods, rates: &[Vec<Rate>]) -> Vec<Rate> {
        let mut row = vec![Rate::default(); space.cards + 1];
        for start in (0..space.cards).rev() {
            let with = |end: usize| Self::with(rates, periods, (start, end)).unwrap_or_default();
            row[start] = (start + 1..=space.cards).map(with).max().unwrap_or_default().max(row[start + 1]);
        }
        row
    }

    /// The sum with a replica on this run and those of the last row behind it.
    fn with(rates: &[Vec<Rate>], periods: &Periods, (start, end): (usize, usize)) -> Option<Rate> {
        let after = rates[rates.len() - 1][end];
        let own = Rate::once_in(periods[start][end]?);
        (rates.len() == 1 || after > Rate::default()).then_some(own + after)
    }

    /// The runs of the best replicas of this number: the shortest ones, from the first card on.
    fn runs(&self, space: &Space<'_>, periods: &Periods, count: usize) -> Vec<Interval> {
        let (mut runs, mut start) = (Vec::new(), 0);
        for left in (1..=count).rev() {
            let (wanted, rates) = (self.rates[left][start], &self.rates[..left]);
            let here = |run: &Interval| Self::with(rates, periods, (run.start, run.end)) == Some(wanted);
            let all = (start..space.cards).flat_map(|first| (first + 1..=space.cards).map(move |end| first..end));
            let Some(run) = all.into_iter().find(here) else { return runs };
            start = run.end;
            runs.push(run);
        }
        runs
    }
}
