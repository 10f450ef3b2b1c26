//! What fits a group, for as many mixes of its points as are tried: bytes of one segment by rank, where equal ranks stand once.

use crate::front::Point;
use crate::space::{Interval, Space};
use sailplan_ir::{Bytes, SailId, stage_activations};
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// What the ranks of a group hold of each point of each class, and the order in which points are exchanged.
#[derive(Debug)]
pub(crate) struct Room {
    ranks: Vec<Rank>,
    /// By class and point.
    held: Vec<Vec<Held>>,
    /// Moves of one segment from a point to the next smaller one, by class and point: the least time for a byte first, of
    /// equal ones the first class and point. The price of a move does not depend on how many segments make it.
    moves: Vec<(usize, usize)>,
    /// By class and point, its place in `moves`; the last point has none.
    places: Vec<Vec<usize>>,
}

/// Ranks that hold as much as this one in whatever mix.
#[derive(Debug)]
struct Rank {
    rank: usize,
    capacity: Bytes,
    alignment: u64,
}

/// What the ranks hold at one point.
#[derive(Debug)]
struct Held {
    /// Weights and caches of one segment.
    each: Vec<Bytes>,
    once: OnceCell<Vec<Once>>,
}

/// What a rank needs but once, however many segments use a point; of several points the largest of each part.
#[derive(Clone, Copy, Default, Debug)]
struct Once {
    staging: Bytes,
    chain: Bytes,
    internal: Bytes,
    scratch: Bytes,
}

impl Once {
    fn join(self, other: Self) -> Self {
        Self {
            staging: self.staging.max(other.staging),
            chain: self.chain.max(other.chain),
            internal: self.internal.max(other.internal),
            scratch: self.scratch.max(other.scratch),
        }
    }

    fn meet(self, other: Self) -> Self {
        Self {
            staging: self.staging.min(other.staging),
            chain: self.chain.min(other.chain),
            internal: self.internal.min(other.internal),
            scratch: self.scratch.min(other.scratch),
        }
    }

    fn total(self) -> Bytes {
        self.staging + self.chain + self.internal + self.scratch
    }
}

impl Room {
    pub(crate) fn new(space: &Space<'_>, group: &Interval) -> Self {
        let front = space.front(group);
        let mut known: BTreeSet<(u16, Vec<usize>)> = BTreeSet::new();
        let mut ranks = Vec::new();
        for rank in 0..group.len() {
            let sail = SailId((group.start + rank) as u16);
            let sorts = front.iter().flatten().map(|point| point.sort(rank)).collect();
            if known.insert((space.costs.kind_number(sail), sorts)) {
                let alignment = space.costs.kind(sail).granularity;
                ranks.push(Rank { rank, capacity: space.capacity(sail), alignment });
            }
        }
        let bytes = |point: &Point, rank: &Rank| {
            let one = point.resident(rank.rank);
            one.weights + one.kv
        };
        let held =
            |point: &Point| Held { each: ranks.iter().map(|rank| bytes(point, rank)).collect(), once: OnceCell::new() };
        let held = front.iter().map(|points| points.iter().map(held).collect()).collect();
        let moves = moves(front);
        let mut places: Vec<Vec<usize>> = front.iter().map(|points| vec![0; points.len().saturating_sub(1)]).collect();
        moves.iter().enumerate().for_each(|(place, &(class, point))| places[class][point] = place);
        Self { ranks, held, moves, places }
    }

    /// Whether every rank holds these segments.
    pub(crate) fn holds(&self, space: &Space<'_>, group: &Interval, counts: &[Vec<u64>]) -> bool {
        self.over(space, group, counts).iter().all(|&over| over <= 0)
    }

    /// By rank, how many bytes these segments need beyond what there is; negative where some are left.
    pub(crate) fn over(&self, space: &Space<'_>, group: &Interval, counts: &[Vec<u64>]) -> Vec<i128> {
        let mut needed = vec![(0, Once::default()); self.ranks.len()];
        for (class, (held, counts)) in self.held.iter().zip(counts).enumerate() {
            for (index, (held, &count)) in held.iter().zip(counts).enumerate().filter(|(_, (_, count))| **count > 0) {
                let once = held.once.get_or_init(|| self.once(space, group, (class, index)));
                for (needed, (&each, &once)) in needed.iter_mut().zip(held.each.iter().zip(once)) {
                    *needed = (needed.0 + i128::from(each.0) * i128::from(count), needed.1.join(once));
                }
            }
        }
        let over = |((each, once), rank): ((i128, Once), &Rank)| {
            each + i128::from(once.total().0) - i128::from(rank.capacity.0)
        };
        needed.into_iter().zip(&self.ranks).map(over).collect()
    }

    /// By rank: the bytes left beside what any mix of these segments needs but once, and what each point of each class takes for
    /// every segment.
    pub(crate) fn least(&self, space: &Space<'_>, group: &Interval, wanted: &[u64]) -> Vec<(i128, Vec<Vec<Bytes>>)> {
        let used = |class: &usize| wanted[*class] > 0;
        let leanest = |class: usize, rank: usize| {
            let held = self.held[class].iter().enumerate();
            let once =
                held.map(|(index, held)| held.once.get_or_init(|| self.once(space, group, (class, index)))[rank]);
            once.reduce(Once::meet).unwrap_or_default()
        };
        let of = |(number, rank): (usize, &Rank)| {
            let classes = (0..self.held.len()).filter(used);
            let once = classes.map(|class| leanest(class, number)).fold(Once::default(), Once::join);
            let each = self.held.iter().map(|points| points.iter().map(|held| held.each[number]).collect());
            (i128::from(rank.capacity.0) - i128::from(once.total().0), each.collect())
        };
        self.ranks.iter().enumerate().map(of).collect()
    }

    fn once(&self, space: &Space<'_>, group: &Interval, (class, index): (usize, usize)) -> Vec<Once> {
        let point = &space.front(group)[class][index];
        let one = |rank: &Rank| {
            let stage = stage_activations(&space.needs(group, (class, index), rank.rank), rank.alignment);
            let internal = stage.activations - stage.chain;
            Once { staging: point.staging(rank.rank), chain: stage.chain, internal, scratch: stage.scratch }
        };
        self.ranks.iter().map(one).collect()
    }

    /// The cheapest move that some segment can make.
    pub(crate) fn cheapest(&self, counts: &[Vec<u64>]) -> Option<(usize, usize)> {
        self.moves.iter().copied().find(|&(class, point)| counts[class][point] > 0)
    }

    /// Where a segment comes to rest that makes a move: it goes on while its next move is cheaper than that one, which is then
    /// the cheapest of all.
    pub(crate) fn rest(&self, (class, point): (usize, usize)) -> usize {
        let places = &self.places[class];
        let further = places[point + 1..].iter().take_while(|&&place| place < places[point]);
        point + 1 + further.count()
    }

    /// How many segments can move from a point to another one at least, and stop at any point between, with some rank still
    /// beyond its capacity by what residents take: what is needed once stays as long as both points are in use.
    pub(crate) fn in_vain(&self, over: &[i128], class: usize, (from, to): (usize, usize), most: u64) -> u64 {
        let each = |point: usize, rank: usize| i128::from(self.held[class][point].each[rank].0);
        let moved = |rank: usize| {
            let least = (from..=to).map(|point| each(point, rank)).min().unwrap_or_default();
            let (open, saved) = (over[rank] + least - each(from, rank), each(from, rank) - each(to, rank));
            match (open, saved) {
                (..=0, _) => 0,
                (_, ..=0) => most,
                _ => u64::try_from((open + saved - 1) / saved).unwrap_or(most).min(most),
            }
        };
        (0..self.ranks.len()).map(moved).max().unwrap_or(0)
    }
}

fn moves(front: &[Vec<Point>]) -> Vec<(usize, usize)> {
    let mut priced: Vec<(f64, usize, usize)> = Vec::new();
    for (class, points) in front.iter().enumerate() {
        for (index, pair) in points.windows(2).enumerate() {
            let saved = pair[0].resident(0).total() - pair[1].resident(0).total();
            let slower = pair[1].objective - pair[0].objective;
            priced.push((slower.0 as f64 / saved.0.max(1) as f64, class, index));
        }
    }
    priced.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    priced.into_iter().map(|(_, class, point)| (class, point)).collect()
}
