//! Which points can be part of the best chain at all. What no group of a size and a sum of rates can beat is known from one
//! walk, the fastest point of a group takes many and more to price, and of the intervals of a long order of unlike cards
//! most are hopeless: a chain through them takes longer, even so, than another one that is known.

use crate::dynamic::{self, Cut};
use crate::paths::Walk;
use crate::program;
use crate::repertoire::Repertoire;
use crate::space::{Bounds, Interval, Space, sails};
use crate::table::{Company, floors};
use sailplan_ir::{Bytes, BytesPerSecond, FlopsPerSecond, Links, Picoseconds, SailId};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Groups of one size share a bound when their sums of rates lie in the same part, of so many, of the largest there could be.
const PARTS: u64 = 48;

/// Whether to look for hopeless groups: where links are alike, and the integer program, which looks at all, is too large to be
/// solved unasked.
pub(crate) fn worthwhile(space: &Space<'_>, groups: usize) -> bool {
    !matches!(space.costs.fleet.links, Links::Edges(_)) && program::large(space, groups)
}

/// Bounds on groups and what they say of chains.
pub(crate) struct Prospects {
    groups: Vec<Outlook>,
    /// By segment, its class.
    classes: Vec<usize>,
    /// Weights and caches of all segments before one, each once.
    bytes: Vec<Bytes>,
    cards: usize,
    /// The shortest message between two cards, as a part of the objective.
    hop: u64,
}

/// What a group takes at least.
struct Outlook {
    group: Interval,
    /// By class, one segment of it; `None` where it cannot run.
    least: Vec<Option<u64>>,
    spread: u64,
    /// What it has room for; `None` where memory is left out of account.
    room: Option<Bytes>,
    /// What groups share that cost the same.
    key: Bounds,
    runs: Rc<Runs>,
}

/// What a chain with a segment of a class on a group takes at least.
#[derive(Clone, Copy)]
pub(crate) struct Through {
    pub(crate) chain: Picoseconds,
    /// All of it but that segment.
    pub(crate) rest: Picoseconds,
}

impl Through {
    /// How long the segment may take in a chain that takes no more than the best known one; `None` where it takes longer.
    pub(crate) fn budget(self, best: Picoseconds) -> Option<Picoseconds> {
        match best {
            Picoseconds::NEVER => Some(best),
            _ => (self.chain <= best).then(|| Picoseconds(best.0 - self.rest.0)),
        }
    }

    /// The least of both.
    pub(crate) fn join(&mut self, other: Self) {
        *self = Self { chain: self.chain.min(other.chain), rest: self.rest.min(other.rest) };
    }

    /// With something that any chain takes beside its segments.
    pub(crate) fn add(&mut self, more: Picoseconds) {
        *self = Self { chain: self.chain + more, rest: self.rest + more };
    }
}

/// Runs of segments on one group.
#[derive(Default)]
struct Runs {
    /// Times of all segments before one.
    sums: Vec<u64>,
    /// For each end of a run, the first segment with which it may begin; the end itself where none may end there.
    first: Vec<usize>,
}

impl Runs {
    /// Whether any run may be had.
    fn open(&self) -> bool {
        self.first.last() == Some(&0)
    }

    /// What runs that begin with a segment are told apart by, when so much time has passed.
    fn from(&self, first: usize, time: u64) -> u64 {
        time.saturating_add(self.sums[self.sums.len() - 1] - self.sums[first])
    }

    /// The time that has passed at a run's end.
    fn until(&self, from: u64, end: usize) -> u64 {
        if from == u64::MAX { from } else { from - (self.sums[self.sums.len() - 1] - self.sums[end]) }
    }
}

/// The least of times with places, which are added in one order and forgotten in the same.
#[derive(Clone, Default)]
struct Least(VecDeque<(u64, usize)>);

impl Least {
    /// Of equal ones the one that was added first counts.
    fn add(&mut self, time: u64, place: usize) {
        while self.0.pop_back_if(|known| known.0 > time).is_some() {}
        self.0.push_back((time, place));
    }

    fn forget(&mut self, past: impl Fn(usize) -> bool) {
        while self.0.pop_front_if(|known| past(known.1)).is_some() {}
    }

    fn least(&self) -> Option<(u64, usize)> {
        self.0.front().copied()
    }
}

/// The cheapest known way to have so many segments placed.
#[derive(Clone, Copy)]
struct Reached {
    time: u64,
    /// Number of the last group, and its first segment.
    last: Option<(usize, usize)>,
}

impl Prospects {
    pub(crate) fn new(space: &Space<'_>) -> Self {
        let groups = space.groups();
        let parts: Vec<(usize, u64)> = groups.iter().map(|group| part(space, group)).collect();
        let mut companies: BTreeMap<(usize, u64), Company> = BTreeMap::new();
        for (group, &part) in groups.iter().zip(&parts) {
            let company = company(space, group);
            match companies.get_mut(&part) {
                Some(known) => known.join(&company),
                None => drop(companies.insert(part, company)),
            }
        }
        let bounds: BTreeMap<(usize, u64), Vec<Option<u64>>> =
            companies.iter().map(|(&part, company)| (part, bounds(space, company))).collect();
        let outlook = |(group, part): (&Interval, &(usize, u64))| {
            let spread = space.broadcast(group);
            let spread = space.weighted(spread.prefill, spread.decode).0;
            let room = Some(space.room(group)).filter(|_| !space.relaxed && !space.stream);
            let (least, runs) = (bounds[part].clone(), Rc::default());
            Outlook { group: group.clone(), least, spread, room, key: space.key(group), runs }
        };
        let classes: Vec<usize> = space.model.segments.iter().map(|segment| segment.class.index()).collect();
        let each: Vec<Bytes> = space.repertoires.iter().map(|repertoire| dynamic::bytes(space, repertoire)).collect();
        let sums = classes.iter().scan(Bytes(0), |sum, &class| {
            *sum += each[class];
            Some(*sum)
        });
        let message = |card: usize| {
            let message = space.message(SailId(card as u16 - 1), SailId(card as u16));
            space.weighted(message.prefill, message.decode).0
        };
        let mut prospects = Self {
            groups: groups.iter().zip(&parts).map(outlook).collect(),
            bytes: std::iter::once(Bytes(0)).chain(sums).collect(),
            classes,
            cards: space.cards,
            hop: (1..space.cards).map(message).min().unwrap_or(0),
        };
        prospects.run();
        prospects
    }

    /// Exact times take the place of bounds on the groups that `times` knows.
    pub(crate) fn learn(&mut self, times: impl Fn(&Interval) -> Option<Vec<Option<Picoseconds>>>) {
        for outlook in &mut self.groups {
            if let Some(times) = times(&outlook.group) {
                outlook.least = times.into_iter().map(|time| time.map(|time| time.0)).collect();
            }
        }
        self.run();
    }

    /// Works out what runs of segments take, once for groups that cost the same.
    fn run(&mut self) {
        let mut known: BTreeMap<Bounds, Rc<Runs>> = BTreeMap::new();
        let mut groups = std::mem::take(&mut self.groups);
        for outlook in &mut groups {
            let runs = known.entry(outlook.key).or_insert_with(|| Rc::new(self.runs(outlook)));
            outlook.runs = Rc::clone(runs);
        }
        self.groups = groups;
    }

    /// The chain that takes least by what is known.
    pub(crate) fn shortest(&self) -> Option<Vec<Cut>> {
        let reached = self.forward();
        let segments = self.classes.len();
        let ends = (1..=self.cards).filter(|&end| reached[end][segments].time < u64::MAX);
        let mut end = ends.min_by_key(|&end| reached[end][segments].time)?;
        let mut placed = segments;
        let mut chain = Vec::new();
        while let Some((number, first)) = reached[end][placed].last {
            let group = &self.groups[number].group;
            chain.push(Cut { group: group.clone(), segments: first..placed });
            placed = first;
            // The best of the groups that end no later than this one starts.
            end = (0..=group.start).min_by_key(|&end| reached[end][placed].time)?;
        }
        chain.reverse();
        Some(chain)
    }

    /// For each group, by class, what a chain with a segment of the class on the group takes at least.
    pub(crate) fn through(&self) -> Vec<(Interval, Vec<Through>)> {
        let (forward, back) = (earliest(&self.forward()), self.backward());
        let one = |outlook: &Outlook| {
            let times = self.with(outlook, &forward[outlook.group.start], &back[outlook.group.end]);
            let through = |(time, least): (u64, &Option<u64>)| Through {
                chain: Picoseconds(time),
                rest: Picoseconds(time - least.unwrap_or(0).min(time)),
            };
            (outlook.group.clone(), times.into_iter().zip(&outlook.least).map(through).collect())
        };
        self.groups.iter().map(one).collect()
    }

    /// By class, the least time of a chain with a segment of it on a group, from what chains take to come to its start and
    /// to go on from its end.
    fn with(&self, outlook: &Outlook, before: &[u64], after: &[u64]) -> Vec<u64> {
        let runs = &outlook.runs;
        let mut through = vec![u64::MAX; outlook.least.len()];
        // Of each class, the first segments of runs that have one of it.
        let mut open: Vec<(Least, usize)> = vec![(Least::default(), 0); outlook.least.len()];
        for (segment, &class) in self.classes.iter().enumerate() {
            let (firsts, next) = &mut open[class];
            for first in *next..=segment {
                firsts.add(runs.from(first, self.arriving(outlook, first, before)), first);
            }
            *next = segment + 1;
            for (through, (firsts, _)) in through.iter_mut().zip(&mut open) {
                firsts.forget(|first| first < runs.first[segment + 1]);
                let time = firsts.least().map_or(u64::MAX, |(time, _)| runs.until(time, segment + 1));
                *through = (*through).min(time.saturating_add(after[segment + 1]));
            }
        }
        through
    }

    /// What runs of segments take on a group, and which it may have.
    fn runs(&self, outlook: &Outlook) -> Runs {
        let mut sums = vec![0_u64];
        let mut first = vec![0];
        let mut start = 0;
        for (segment, &class) in self.classes.iter().enumerate() {
            let time = outlook.least[class];
            sums.push(sums[segment].saturating_add(time.unwrap_or(0)));
            if time.is_none() {
                start = segment + 1;
            }
            let full =
                |start: usize| outlook.room.is_some_and(|room| self.bytes[segment + 1] - self.bytes[start] > room);
            while full(start) {
                start += 1;
            }
            first.push(start);
        }
        Runs { sums, first }
    }

    /// Until a group has the value that its first segment takes.
    fn arriving(&self, outlook: &Outlook, first: usize, before: &[u64]) -> u64 {
        before[first].saturating_add(self.message(outlook, first))
    }

    /// The value that a group's first segment takes: from the host, or from a stage before.
    fn message(&self, outlook: &Outlook, first: usize) -> u64 {
        if first == 0 { 0 } else { self.hop.saturating_add(outlook.spread) }
    }

    /// By card, for each number of segments: the chains whose last group ends there.
    fn forward(&self) -> Vec<Vec<Reached>> {
        let none = Reached { time: u64::MAX, last: None };
        let mut reached = vec![vec![none; self.classes.len() + 1]; self.cards + 1];
        reached[0][0].time = 0;
        let mut before: Vec<u64> = Vec::new();
        let mut start = None;
        for (number, outlook) in self.groups.iter().enumerate() {
            if start != Some(outlook.group.start) {
                start = Some(outlook.group.start);
                before = self.until(&reached, outlook.group.start);
            }
            self.extend(outlook, (number, &before), &mut reached[outlook.group.end]);
        }
        reached
    }

    /// Tries every run of segments on a group.
    fn extend(&self, outlook: &Outlook, (number, before): (usize, &[u64]), reached: &mut [Reached]) {
        let runs = &outlook.runs;
        let mut try_one = |end: usize, time: u64, first: usize| {
            if time < reached[end].time {
                reached[end] = Reached { time, last: Some((number, first)) };
            }
        };
        if runs.open() {
            let mut open = (u64::MAX, 0);
            for (segment, sums) in runs.sums.windows(2).enumerate() {
                open = open.min((self.arriving(outlook, segment, before), segment));
                open.0 = open.0.saturating_add(sums[1] - sums[0]);
                try_one(segment + 1, open.0, open.1);
            }
            return;
        }
        let mut firsts = Least::default();
        for segment in 0..self.classes.len() {
            firsts.add(runs.from(segment, self.arriving(outlook, segment, before)), segment);
            firsts.forget(|first| first < runs.first[segment + 1]);
            if let Some((time, first)) = firsts.least() {
                try_one(segment + 1, runs.until(time, segment + 1), first);
            }
        }
    }

    fn until(&self, reached: &[Vec<Reached>], card: usize) -> Vec<u64> {
        let least = |placed: usize| reached[..=card].iter().map(|row| row[placed].time).min().unwrap_or(u64::MAX);
        (0..=self.classes.len()).map(least).collect()
    }

    /// By card, for each number of segments: what chains still take that go on no earlier than there, the message included.
    fn backward(&self) -> Vec<Vec<u64>> {
        let segments = self.classes.len();
        let mut ahead = vec![vec![u64::MAX; segments + 1]; self.cards + 2];
        let mut groups = self.groups.iter().rev().peekable();
        for start in (0..=self.cards).rev() {
            ahead[start] = ahead[start + 1].clone();
            ahead[start][segments] = 0;
            while let Some(outlook) = groups.next_if(|outlook| outlook.group.start == start) {
                let (runs, mut ends) = (&outlook.runs, Least::default());
                for segment in (0..segments).rev() {
                    ends.add(ahead[outlook.group.end][segment + 1].saturating_add(runs.sums[segment + 1]), segment + 1);
                    ends.forget(|end| runs.first[end] > segment);
                    let Some((time, _)) = ends.least().filter(|least| least.0 < u64::MAX) else { continue };
                    let slot = &mut ahead[start][segment];
                    *slot = (*slot).min((time - runs.sums[segment]).saturating_add(self.message(outlook, segment)));
                }
            }
        }
        ahead
    }
}

/// By card, for each number of segments: the least of all chains whose last group ends no later.
fn earliest(reached: &[Vec<Reached>]) -> Vec<Vec<u64>> {
    let mut least: Vec<Vec<u64>> = Vec::new();
    for row in reached {
        let before = least.last();
        let one = |(placed, reached): (usize, &Reached)| before.map_or(u64::MAX, |row| row[placed]).min(reached.time);
        let row = row.iter().enumerate().map(one).collect();
        least.push(row);
    }
    least
}

/// Size, and part of the largest sum of memory rates that a group of the size could have.
fn part(space: &Space<'_>, group: &Interval) -> (usize, u64) {
    let rate = |card: usize| space.costs.kind(SailId(card as u16)).bandwidth.0;
    let fastest = (0..space.cards).map(rate).max().unwrap_or(1).max(1);
    let mean = group.clone().map(|card| u128::from(rate(card)) * u128::from(PARTS)).sum::<u128>() / group.len() as u128;
    (group.len(), (mean / u128::from(fastest)) as u64)
}

pub(crate) fn company(space: &Space<'_>, group: &Interval) -> Company {
    let kinds = || group.clone().map(|card| space.costs.kind(SailId(card as u16)));
    let flops = kinds().map(|kind| kind.compute.fastest());
    Company {
        group: sails(group),
        memory: BytesPerSecond(kinds().map(|kind| kind.bandwidth.0).fold(0, u64::saturating_add)),
        fastest: BytesPerSecond(kinds().map(|kind| kind.bandwidth.0).max().unwrap_or(0)),
        arithmetic: flops.collect::<Option<Vec<FlopsPerSecond>>>().and_then(|rates| rates.into_iter().max()),
        overhead: kinds().map(|kind| kind.overhead).min().unwrap_or_default(),
    }
}

/// By class, what one segment takes at least on any such group.
fn bounds(space: &Space<'_>, company: &Company) -> Vec<Option<u64>> {
    let (prefill, decode) = space.costs.request.weights();
    let weights = [prefill.saturating_mul(space.costs.request.chunks()), decode];
    let one = |repertoire: &Repertoire| {
        let tables = floors(&repertoire.choices, &repertoire.rates, space.costs, company);
        let least = Walk { trellis: repertoire.trellis(company.group.len()), tables: &tables, weights }.ahead().whole();
        (least < u64::MAX).then_some(least)
    };
    space.repertoires.iter().map(one).collect()
}
