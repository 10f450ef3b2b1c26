//! What fits a group, for as many mixes of its points as are tried: bytes of one segment by rank, where equal ranks stand once.

use crate::front::Point;
use crate::space::{Interval, Space};
use sailplan_ir::{ActivationNeed, Bytes, SailId, stage_activations};
use std::collections::BTreeSet;

/// What the ranks of a group hold of each point of each class.
#[derive(Debug)]
pub(crate) struct Room {
    ranks: Vec<Rank>,
}

/// Ranks that hold as much as this one in whatever mix.
#[derive(Debug)]
struct Rank {
    rank: usize,
    capacity: Bytes,
    alignment: u64,
    /// Weights and caches of one segment, by class and point.
    each: Vec<Vec<Bytes>>,
}

/// What each of the ranks needs but once, however many segments use the same points: activations, and room for streams.
pub(crate) struct Once(Vec<Bytes>);

impl Room {
    pub(crate) fn new(space: &Space<'_>, group: &Interval) -> Self {
        let front = space.front(group);
        let mut known: BTreeSet<(u16, Vec<usize>)> = BTreeSet::new();
        let mut ranks = Vec::new();
        for rank in 0..group.len() {
            let sail = SailId((group.start + rank) as u16);
            let sorts = front.iter().flatten().map(|point| point.sort(rank)).collect();
            if !known.insert((space.costs.kind_number(sail), sorts)) {
                continue;
            }
            let bytes = |point: &Point| {
                let one = point.resident(rank);
                one.weights + one.kv
            };
            let each = front.iter().map(|points| points.iter().map(bytes).collect()).collect();
            let alignment = space.costs.kind(sail).granularity;
            ranks.push(Rank { rank, capacity: space.capacity(sail), alignment, each });
        }
        Self { ranks }
    }

    /// Of a mix with these counts, and of every other one that uses the same points.
    pub(crate) fn once(&self, space: &Space<'_>, group: &Interval, counts: &[Vec<u64>]) -> Once {
        let front = space.front(group);
        let one = |rank: &Rank| {
            let (mut needs, mut staging): (Vec<ActivationNeed>, Bytes) = (Vec::new(), Bytes(0));
            for (class, (points, counts)) in front.iter().zip(counts).enumerate() {
                let used = points.iter().zip(counts).enumerate().filter(|(_, (_, count))| **count > 0);
                for (index, (point, _)) in used {
                    needs.extend(space.detail(group, class, index).needs(point, rank.rank));
                    staging = staging.max(point.staging(rank.rank));
                }
            }
            staging + stage_activations(&needs, rank.alignment).total()
        };
        Once(self.ranks.iter().map(one).collect())
    }

    /// Whether every rank holds these segments.
    pub(crate) fn holds(&self, counts: &[Vec<u64>], once: &Once) -> bool {
        self.ranks.iter().zip(&once.0).all(|(rank, &once)| {
            let used = rank.each.iter().zip(counts).flat_map(|(each, counts)| each.iter().zip(counts));
            used.filter(|(_, count)| **count > 0).map(|(bytes, &count)| *bytes * count).sum::<Bytes>() + once
                <= rank.capacity
        })
    }
}
