//! Collectives and their algorithms: what a schedule is made of. The schedules themselves are in `schedule.rs`. The cost
//! model prices them and the executor replays them; there is no second description.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a collective does to a group's buffers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum CollectiveKind {
    /// Every rank ends with the sum of all buffers.
    AllReduce,
    /// Rank r ends with part r of the sum.
    ReduceScatter,
    /// Every rank ends with all parts.
    AllGather,
    /// Every rank ends with rank 0's buffer.
    Broadcast,
    /// Every rank ends with those rows of all parts that take one of its experts: an all-to-all of blocks whose sizes follow
    /// from the gates, which every rank knows (Lepikhin et al. 2020).
    Dispatch,
    /// Back: rank r ends with part r of the sum, to which a rank contributes the rows that take one of its experts. Blocks
    /// are added in the order of ranks when all are there.
    Combine,
}

/// What moves between the ranks of a group: a collective that a plan can state, or traffic that is only priced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pattern {
    /// A collective.
    Collective(CollectiveKind),
    /// Every rank has a block for every rank; rank r ends with all blocks meant for it.
    AllToAll,
    /// The last rank ends with rank 0's buffer.
    PointToPoint,
}

/// How it is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// Neighbours pass one part a step, around the group (Patarasuk & Yuan, J. Parallel Distrib. Comput. 69, 2009).
    Ring,
    /// Every rank sends its part straight to every other rank.
    Direct,
    /// All-reduce in one step: every rank sends its whole buffer to every other and adds them itself.
    OneShot,
    /// Pairs at distances 1, 2, 4, … exchange all they hold (Thakur, Rabenseifner & Gropp, Int. J. High Perform. Comput.
    /// Appl. 19, 2005, §4); all-to-all forwards blocks over the same distances (Bruck et al., IEEE TPDS 8, 1997).
    RecursiveDoubling,
    /// Pairs exchange halves of halves until each rank owns a part of the sum, then gather the parts the same way back
    /// (Rabenseifner; Thakur, Rabenseifner & Gropp 2005, §4.5). Broadcast scatters and gathers.
    HalvingDoubling,
    /// Whole buffers up and down a binomial tree with root 0.
    Tree,
}

/// How a received chunk is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It replaces the chunk.
    Copy,
    /// It is added to the chunk; all contributions of a step are added in the order of their ranks.
    Reduce,
}

/// A run of consecutive chunks of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Chunks {
    /// First chunk.
    pub start: usize,
    /// Chunk after the last.
    pub end: usize,
}

/// One message of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Sending rank.
    pub from: usize,
    /// Receiving rank.
    pub to: usize,
    /// Which chunks of the buffer, of [`Pattern::chunks`] in all.
    pub chunks: Chunks,
    /// What the receiver does with them.
    pub with: Use,
}

/// Messages of a step leave at once and carry what the sender held when the step began. Messages from one rank to the
/// same other are parts of one message.
pub type Step = Vec<Message>;

impl CollectiveKind {
    /// Every kind whose messages have sizes that follow from the buffer's.
    pub const ALL: [Self; 4] = [Self::AllReduce, Self::ReduceScatter, Self::AllGather, Self::Broadcast];

    /// The kinds in which what a rank sends to another depends on the gates: one block for each pair.
    pub const ROUTED: [Self; 2] = [Self::Dispatch, Self::Combine];

    /// The algorithms that can do this kind, in the order ties are broken.
    #[must_use]
    pub const fn algorithms(self) -> &'static [Algorithm] {
        use Algorithm::{Direct, HalvingDoubling, OneShot, RecursiveDoubling, Ring, Tree};
        match self {
            Self::AllReduce => &[Ring, Direct, OneShot, RecursiveDoubling, HalvingDoubling, Tree],
            Self::ReduceScatter => &[Ring, Direct, HalvingDoubling],
            Self::AllGather => &[Ring, Direct, RecursiveDoubling],
            Self::Broadcast => &[Ring, Direct, HalvingDoubling, Tree],
            Self::Dispatch | Self::Combine => &[Direct],
        }
    }

    /// Whether it is one of [`Self::ROUTED`].
    #[must_use]
    pub const fn routed(self) -> bool {
        matches!(self, Self::Dispatch | Self::Combine)
    }

    /// The schedule over `ranks` ranks, empty for one rank; `None` when the algorithm cannot do this kind.
    #[must_use]
    pub fn schedule(self, algorithm: Algorithm, ranks: usize) -> Option<Vec<Step>> {
        Pattern::Collective(self).schedule(algorithm, ranks)
    }
}

impl Pattern {
    /// Every pattern whose messages have sizes that follow from the buffer's; [`CollectiveKind::ROUTED`] is all-to-all with blocks
    /// of several sizes.
    pub const ALL: [Self; 6] = [
        Self::Collective(CollectiveKind::AllReduce),
        Self::Collective(CollectiveKind::ReduceScatter),
        Self::Collective(CollectiveKind::AllGather),
        Self::Collective(CollectiveKind::Broadcast),
        Self::AllToAll,
        Self::PointToPoint,
    ];

    /// The algorithms that can do it, in the order ties are broken.
    #[must_use]
    pub const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Collective(kind) => kind.algorithms(),
            Self::AllToAll => &[Algorithm::Ring, Algorithm::Direct, Algorithm::RecursiveDoubling],
            Self::PointToPoint => &[Algorithm::Direct, Algorithm::Ring],
        }
    }

    /// How many chunks messages count in: one for each rank; for all-to-all, dispatch and combine one for each pair, the block
    /// from rank a to rank b being chunk a · ranks + b.
    #[must_use]
    pub const fn chunks(self, ranks: usize) -> usize {
        match self {
            Self::AllToAll | Self::Collective(CollectiveKind::Dispatch | CollectiveKind::Combine) => {
                ranks.saturating_mul(ranks)
            }
            _ => ranks,
        }
    }
}

impl From<CollectiveKind> for Pattern {
    fn from(kind: CollectiveKind) -> Self {
        Self::Collective(kind)
    }
}

impl Chunks {
    /// A single chunk.
    #[must_use]
    pub const fn one(index: usize) -> Self {
        Self { start: index, end: index + 1 }
    }

    /// The first `count` chunks.
    #[must_use]
    pub const fn first(count: usize) -> Self {
        Self { start: 0, end: count }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

/// Elements `start..end` of chunk `index` when `elements` are cut into `parts` near-equal runs.
#[must_use]
pub fn even_chunk(elements: u64, parts: usize, index: usize) -> std::ops::Range<u64> {
    let bound = |i: usize| (u128::from(elements) * i as u128 / parts.max(1) as u128) as u64;
    bound(index)..bound(index + 1)
}

impl fmt::Display for CollectiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AllReduce => "all-reduce",
            Self::ReduceScatter => "reduce-scatter",
            Self::AllGather => "all-gather",
            Self::Broadcast => "broadcast",
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collective(kind) => kind.fmt(f),
            Self::AllToAll => f.pad("all-to-all"),
            Self::PointToPoint => f.pad("point-to-point"),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring",
            Self::Direct => "direct",
            Self::OneShot => "one-shot",
            Self::RecursiveDoubling => "recursive-doubling",
            Self::HalvingDoubling => "halving-doubling",
            Self::Tree => "tree",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_tile_the_buffer() {
        for (elements, parts) in [(10, 3), (2, 5), (0, 4), (u64::MAX, 7)] {
            let bounds: Vec<_> = (0..parts).map(|i| even_chunk(elements, parts, i)).collect();
            assert!(bounds.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((bounds[0].start, bounds[parts - 1].end), (0, elements));
        }
    }
}
