//! The engine: dynamic programming over (cards used, segments placed), and over stages and cards spent where pins count
//! them. Exact over stages on intervals of the link order, as far as each stage's mix of points is.

use crate::assemble;
use crate::budget::Budget;
use crate::front::Point;
use crate::mixing;
use crate::pace::{Pace, Toll};
use crate::paced;
use crate::repertoire::Repertoire;
use crate::space::{Interval, Space};
use crate::stage::{Mixing, mix};
use sailplan_ir::{Bytes, Picoseconds, Role, SailId};
use std::collections::BTreeMap;
use std::ops::Range;

/// A stage of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) group: Interval,
    pub(crate) segments: Range<usize>,
}

/// How often stages are mixed exactly.
const REFINED: usize = 48;

/// The best chain of stages.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) cuts: Vec<Cut>,
    /// Whether every stage on the way was mixed exactly.
    pub(crate) exact: bool,
    /// What no chain of stages can beat.
    pub(crate) bound: Picoseconds,
}

#[derive(Clone, Copy)]
struct Reached {
    objective: Picoseconds,
    start: usize,
    /// Where the stage before ends, and what was spent until there.
    from: (usize, usize),
    first_segment: usize,
}

/// The best way to have placed so many segments, by what is spent, then by number of segments.
type Row = Vec<Vec<Option<Reached>>>;

/// The cheapest chain; `None` when no cut of the segments fits. Ties go to fewer cards, then to the earlier cut. Where mixes
/// were not exact, chains are looked for at what bounds every mix, and the stages of the shortest are mixed exactly, until
/// nothing is left to mix or that was done often enough.
pub(crate) fn solve(space: &Space<'_>) -> Result<Option<Chain>, String> {
    let mut stages = Stages::new(space, Mixes::Found);
    let Some((objective, cuts)) = best(space, &mut stages) else { return Ok(None) };
    if stages.exact {
        return Ok(Some(Chain { cuts, exact: true, bound: objective }));
    }
    let mut found = Chain { cuts, exact: false, bound: Picoseconds(0) };
    if space.mixing != Mixing::Searched {
        return Ok(Some(found));
    }
    let mut least = objective;
    let mut bounds = Stages::new(space, Mixes::Fastest);
    for _ in 0..=REFINED {
        let Some((bound, cuts)) = best(space, &mut bounds) else { break };
        found.bound = bound.min(least);
        if bound >= least {
            found.exact = true;
            break;
        }
        // A sum of costs is as good as its stages; loads are not.
        if space.pace() != Pace::Sum || space.stream {
            break;
        }
        match bounds.refine(&cuts, least - bound)? {
            Refined::Nothing => break,
            Refined::Beyond => continue,
            Refined::Within => {}
        }
        let takes = assemble::polished(space, &cuts)?.map(|stages| assemble::sum(space, &stages));
        if let Some(takes) = takes.filter(|&takes| takes < least) {
            (least, found.cuts) = (takes, cuts);
        }
    }
    Ok(Some(found))
}

/// The cheapest chain, whatever is known of others.
pub(crate) fn shortest(space: &Space<'_>) -> Option<Vec<Cut>> {
    best(space, &mut Stages::new(space, Mixes::Found)).map(|found| found.1)
}

/// The objective of that chain.
pub(crate) fn least(space: &Space<'_>) -> Option<Picoseconds> {
    best(space, &mut Stages::new(space, Mixes::Found)).map(|found| found.0)
}

fn best(space: &Space<'_>, stages: &mut Stages<'_>) -> Option<(Picoseconds, Vec<Cut>)> {
    if space.pace() == Pace::Sum { summed(space, stages) } else { paced::best(space, stages) }
}

fn summed(space: &Space<'_>, stages: &mut Stages<'_>) -> Option<(Picoseconds, Vec<Cut>)> {
    let segments = space.model.segments.len();
    let budget = Budget::new(space);
    // reached[end]: with the last stage ending at `end`.
    let mut reached: Vec<Row> = vec![vec![vec![None; segments + 1]; budget.states()]; space.cards + 1];
    for start in 0..space.cards {
        let arrivals: Vec<Arrivals> =
            (0..budget.states()).map(|spent| arrivals(space, &reached, (start, spent), segments)).collect();
        let ends = reached.iter_mut().enumerate().skip(start + 1).take(space.largest);
        for (end, reached) in ends {
            let group = start..end;
            if !space.open(&group) {
                continue;
            }
            let spread = space.broadcast(&group);
            let spread = space.weighted(spread.prefill, spread.decode);
            let allowed = space.allowed(&group);
            for (spent, arrivals) in arrivals.iter().enumerate() {
                let Some(after) = budget.after(spent, group.len()) else { continue };
                let arriving = Arriving { arrivals, spread, allowed: &allowed, spent };
                if space.relaxed {
                    extend_freely(space, &arriving, &group, &mut reached[after]);
                } else {
                    extend(stages, &arriving, &group, &mut reached[after]);
                }
            }
        }
    }
    let ends = (1..=space.cards).flat_map(|end| budget.enough().map(move |spent| (end, spent)));
    let best =
        ends.filter_map(|(end, spent)| reached[end][spent][segments].map(|found| (found.objective, (end, spent))));
    let best = best.min()?;
    Some((best.0, trace(&reached, best.1, segments)))
}

/// For each number of segments, the cheapest way to have them placed and their value on the first card of a group, and
/// where the stage before ends.
type Arrivals = Vec<Option<(Picoseconds, usize)>>;

/// How values come to a group.
struct Arriving<'a> {
    arrivals: &'a Arrivals,
    /// Spreading a value that comes from another stage.
    spread: Picoseconds,
    /// Which segments may run on the group.
    allowed: &'a [bool],
    /// What was spent before it.
    spent: usize,
}

impl Arriving<'_> {
    /// What it takes until the group has the value after `first` segments: the first stage takes it from the host.
    fn before(&self, first: usize) -> Option<(Picoseconds, usize)> {
        self.arrivals[first].map(|(time, from)| (if first == 0 { time } else { time + self.spread }, from))
    }
}

/// Equal cards: a chain that starts later is the same chain under other names, and no card between stages is left out.
fn arrivals(space: &Space<'_>, reached: &[Row], (start, spent): (usize, usize), segments: usize) -> Arrivals {
    let ends = if space.alike { start.max(1)..start + 1 } else { 1..start + 1 };
    let hop = |end: usize| {
        let hop = space.message(SailId(end as u16 - 1), SailId(start as u16));
        (end, space.weighted(hop.prefill, hop.decode))
    };
    let hops: Vec<(usize, Picoseconds)> = ends.filter(|end| space.joined(end - 1, start)).map(hop).collect();
    let arrive = |first: usize| {
        let options = hops.iter().filter_map(|&(end, hop)| Some((reached[end][spent][first]?.objective + hop, end)));
        options.min()
    };
    let none_before = (spent == 0 && (!space.alike || start == 0)).then_some((Picoseconds(0), 0));
    (0..segments).map(|first| if first == 0 { none_before } else { arrive(first) }).collect()
}

fn improve(slot: &mut Option<Reached>, found: Reached) {
    if slot.is_none_or(|known| found.objective < known.objective) {
        *slot = Some(found);
    }
}

/// Tries every run of segments on `group`, as the first stage or after every stage that ends at or before its start.
fn extend(stages: &mut Stages<'_>, arriving: &Arriving<'_>, group: &Interval, reached: &mut [Option<Reached>]) {
    let mut known = stages.take(group);
    for first in 0..arriving.arrivals.len() {
        let Some((before, from)) = arriving.before(first) else { continue };
        for (last, slot) in reached.iter_mut().enumerate().skip(first + 1) {
            if !arriving.allowed[last - 1] {
                break;
            }
            let Some(toll) = stages.toll(group, first..last, &mut known) else { break };
            let from = (from, arriving.spent);
            improve(slot, Reached { objective: before + toll.cost, start: group.start, from, first_segment: first });
        }
    }
    stages.put(group, known);
}

/// As `extend` where memory is left out of account: a stage then costs the sum of its segments, so the best first segment
/// for one last segment is, up to the next one, the best for the next.
fn extend_freely(space: &Space<'_>, arriving: &Arriving<'_>, group: &Interval, reached: &mut [Option<Reached>]) {
    let front = space.front(group);
    let mut best: Option<Reached> = None;
    for (index, segment) in space.model.segments.iter().enumerate() {
        if !arriving.allowed[index] {
            best = None;
            continue;
        }
        if let Some((before, from)) = arriving.before(index)
            && best.is_none_or(|known| before < known.objective)
        {
            let from = (from, arriving.spent);
            best = Some(Reached { objective: before, start: group.start, from, first_segment: index });
        }
        let point = front[segment.class.index()].first();
        best = best.zip(point).map(|(known, point)| Reached { objective: known.objective + point.objective, ..known });
        if let Some(found) = best {
            improve(&mut reached[index + 1], found);
        }
    }
}

fn trace(reached: &[Row], (end, spent): (usize, usize), segments: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let (mut end, mut spent, mut placed) = (end, spent, segments);
    while placed > 0 {
        let Some(found) = reached[end][spent][placed] else { break };
        cuts.push(Cut { group: found.start..end, segments: found.first_segment..placed });
        ((end, spent), placed) = (found.from, found.first_segment);
    }
    cuts.reverse();
    cuts
}

/// Costs of stages, remembered by group and by number of segments of each class.
pub(crate) struct Stages<'a> {
    space: &'a Space<'a>,
    /// For each run of segments, a number that it shares with those that have as many of each class.
    alike: Vec<Vec<usize>>,
    /// What the numbers stand for.
    wanted: Vec<Vec<u64>>,
    known: BTreeMap<(usize, usize), Vec<Known>>,
    mixes: Mixes,
    /// By class, bytes of one segment's weights and caches, each once.
    least: Vec<Bytes>,
    exact: bool,
    /// Tolls of exact mixes, or what none takes less than, by group and number.
    refined: BTreeMap<((usize, usize), usize), Toll>,
}

/// What a stage costs whose fastest points do not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mixes {
    /// The best mix found.
    Found,
    /// No more than any mix: its fastest points, unless its bytes are more than the group has room for.
    Fastest,
}

/// What exact mixes say of a chain.
enum Refined {
    /// All of its stages were mixed exactly before.
    Nothing,
    /// It may take less than the best one known.
    Within,
    /// It does not.
    Beyond,
}

/// A toll, once it has been asked for.
type Known = Option<Option<Toll>>;

/// Tolls of runs of segments on one group.
pub(crate) struct Runs {
    group: Interval,
    /// For each first segment, one past the last that may run with it.
    until: Vec<usize>,
    /// Where memory is left out of account, tolls of all segments before one.
    sums: Vec<Toll>,
    known: Vec<Known>,
}

impl<'a> Stages<'a> {
    fn new(space: &'a Space<'a>, mixes: Mixes) -> Self {
        let segments = if space.relaxed { 0 } else { space.model.segments.len() };
        let mut numbers: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
        let mut wanted = Vec::new();
        let mut alike = Vec::new();
        for first in 0..segments {
            let mut counts = vec![0; space.repertoires.len()];
            let mut row = Vec::new();
            for segment in &space.model.segments[first..] {
                counts[segment.class.index()] += 1;
                row.push(*numbers.entry(counts.clone()).or_insert_with(|| {
                    wanted.push(counts.clone());
                    wanted.len() - 1
                }));
            }
            alike.push(row);
        }
        let least = space.repertoires.iter().map(|repertoire| bytes(space, repertoire)).collect();
        Self { space, alike, wanted, known: BTreeMap::new(), mixes, least, exact: true, refined: BTreeMap::new() }
    }

    /// The runs of segments on a group, to be put back.
    pub(crate) fn runs(&mut self, group: &Interval) -> Runs {
        let space = self.space;
        let segments = space.model.segments.iter();
        let front = space.front(group);
        let mut allowed = space.allowed(group);
        let mut sums = vec![Toll::default()];
        if space.relaxed {
            let fastest: Vec<Option<Toll>> = (0..front.len())
                .map(|class| (!front[class].is_empty()).then(|| space.toll_at(group, class, 0)))
                .collect();
            for (segment, allowed) in segments.zip(&mut allowed) {
                let toll = fastest[segment.class.index()];
                *allowed &= toll.is_some();
                sums.push(sums[sums.len() - 1] + toll.unwrap_or_default());
            }
        }
        let mut until = vec![0; allowed.len()];
        for first in (0..allowed.len()).rev() {
            let next = until.get(first + 1).copied().filter(|&next| next > 0).unwrap_or(first + 1);
            until[first] = if allowed[first] { next } else { 0 };
        }
        let known = if space.relaxed { Vec::new() } else { self.take(group) };
        Runs { group: group.clone(), until, sums, known }
    }

    /// The toll of a run of segments; `None` where it, and any longer one, does not fit.
    pub(crate) fn of(&mut self, runs: &mut Runs, first: usize, last: usize) -> Option<Toll> {
        if last > runs.until[first] {
            return None;
        }
        if self.space.relaxed {
            let (before, after) = (runs.sums[first], runs.sums[last]);
            return Some(Toll { cost: after.cost - before.cost, load: after.load - before.load });
        }
        self.toll(&runs.group.clone(), first..last, &mut runs.known)
    }

    pub(crate) fn put_back(&mut self, runs: Runs) {
        if !self.space.relaxed {
            self.put(&runs.group, runs.known);
        }
    }

    /// Mixes stages exactly that were not before, as far as they may take longer than they do at least. A stage that takes longer
    /// still makes every chain through it longer than the best one, for no chain is shorter at what is known than these cuts.
    fn refine(&mut self, cuts: &[Cut], slack: Picoseconds) -> Result<Refined, String> {
        let mut refined = Refined::Nothing;
        for Cut { group, segments } in cuts {
            let number = self.alike[segments.start][segments.len() - 1];
            let place = (self.space.key(group), number);
            let wanted = &self.wanted[number];
            if self.refined.contains_key(&place) || mix(self.space, group, wanted).is_some_and(|mix| mix.exact) {
                continue;
            }
            let below = self.fastest(group, number).unwrap_or_default().cost + slack;
            let counts = mixing::mix(self.space, group, wanted, below)?;
            self.known.remove(&self.space.key(group));
            let Some(counts) = counts else {
                self.refined.insert(place, Toll { cost: below, load: below });
                return Ok(Refined::Beyond);
            };
            self.refined.insert(place, self.space.toll(group, &counts));
            refined = Refined::Within;
        }
        Ok(refined)
    }

    fn put(&mut self, group: &Interval, known: Vec<Known>) {
        self.known.insert(self.space.key(group), known);
    }

    /// The tolls known on a group, to be put back.
    fn take(&mut self, group: &Interval) -> Vec<Known> {
        self.known.remove(&self.space.key(group)).unwrap_or_else(|| vec![None; self.wanted.len()])
    }

    fn toll(&mut self, group: &Interval, segments: Range<usize>, known: &mut [Known]) -> Option<Toll> {
        let number = self.alike[segments.start][segments.len() - 1];
        if let Some(toll) = known[number] {
            return toll;
        }
        let found = mix(self.space, group, &self.wanted[number]);
        let exact = found.as_ref().is_some_and(|mix| mix.exact);
        self.exact &= exact || found.is_none() && self.fastest(group, number).is_none();
        if let Some(&refined) = self.refined.get(&(self.space.key(group), number)) {
            return Some(refined);
        }
        let toll = match self.mixes {
            Mixes::Fastest if !exact => self.fastest(group, number),
            _ => found.map(|mix| self.space.toll(group, &mix.counts)),
        };
        known[number] = Some(toll);
        toll
    }

    fn fastest(&self, group: &Interval, number: usize) -> Option<Toll> {
        let wanted = &self.wanted[number];
        let needed: Bytes = wanted.iter().zip(&self.least).map(|(&count, &bytes)| bytes.times(count)).sum();
        let room: Bytes = group.clone().map(|card| self.space.capacity(SailId(card as u16))).sum();
        if needed > room && !self.space.stream {
            return None;
        }
        let front = self.space.front(group).iter().enumerate();
        let least = |(class, points): (usize, &Vec<Point>)| {
            let tolls = || (0..points.len()).map(|index| self.space.toll_at(group, class, index));
            let cost = tolls().map(|toll| toll.cost).min()?;
            Some(Toll { cost, load: tolls().map(|toll| toll.load).min()? } * wanted[class])
        };
        front.filter(|(class, _)| wanted[*class] > 0).map(least).sum()
    }
}

/// Weights and caches of one segment of a class.
pub(crate) fn bytes(space: &Space<'_>, repertoire: &Repertoire) -> Bytes {
    let graph = &repertoire.choices.template.graph;
    let limit = space.costs.request.decode_limit();
    let held = [Role::Weight, Role::Cache].into_iter().flat_map(|role| graph.with_role(role));
    held.map(|id| graph[id].bytes(limit)).sum()
}

/// How many segments of each class a run has.
pub(crate) fn wanted(space: &Space<'_>, segments: Range<usize>) -> Vec<u64> {
    let mut counts = vec![0; space.repertoires.len()];
    for segment in &space.model.segments[segments] {
        counts[segment.class.index()] += 1;
    }
    counts
}
