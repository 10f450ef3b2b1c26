//! Collectives as schedules: which rank sends which chunk to which rank in which step. The cost model prices these
//! schedules and the executor replays them; there is no second description.

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
}

/// How it is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// Neighbours pass one part a step, around the group (Patarasuk & Yuan 2009).
    Ring,
    /// Every rank sends its part straight to every other rank.
    Direct,
    /// All-reduce in one step: every rank sends its whole buffer to every other and adds them itself.
    OneShot,
}

/// How a received chunk is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It replaces the chunk.
    Copy,
    /// It is added to the chunk; all contributions of a step are added in the order of their ranks.
    Reduce,
}

/// One message of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Sending rank.
    pub from: usize,
    /// Receiving rank.
    pub to: usize,
    /// Which part of the buffer, of as many parts as there are ranks; `None` is the whole buffer.
    pub chunk: Option<usize>,
    /// What the receiver does with it.
    pub with: Use,
}

/// Messages of a step leave at once and carry what the sender held when the step began.
pub type Step = Vec<Message>;

impl CollectiveKind {
    /// The algorithms that can do this kind, in the order ties are broken.
    #[must_use]
    pub const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::AllReduce => &[Algorithm::Ring, Algorithm::Direct, Algorithm::OneShot],
            _ => &[Algorithm::Ring, Algorithm::Direct],
        }
    }

    /// The schedule over `ranks` ranks, empty for one rank; `None` when the algorithm cannot do this kind.
    #[must_use]
    pub fn schedule(self, algorithm: Algorithm, ranks: usize) -> Option<Vec<Step>> {
        if ranks < 2 {
            return Some(Vec::new());
        }
        Some(match (self, algorithm) {
            (Self::AllReduce, Algorithm::OneShot) => vec![everyone(ranks, |_, _| None, Use::Reduce)],
            (_, Algorithm::OneShot) => return None,
            (Self::AllReduce, Algorithm::Ring) => [ring_scatter(ranks), ring_gather(ranks)].concat(),
            (Self::ReduceScatter, Algorithm::Ring) => ring_scatter(ranks),
            (Self::AllGather, Algorithm::Ring) => ring_gather(ranks),
            (Self::AllReduce, Algorithm::Direct) => vec![direct_scatter(ranks), direct_gather(ranks)],
            (Self::ReduceScatter, Algorithm::Direct) => vec![direct_scatter(ranks)],
            (Self::AllGather, Algorithm::Direct) => vec![direct_gather(ranks)],
            (Self::Broadcast, Algorithm::Ring) => {
                (1..ranks).map(|to| vec![Message { from: to - 1, to, chunk: None, with: Use::Copy }]).collect()
            }
            (Self::Broadcast, Algorithm::Direct) => {
                vec![(1..ranks).map(|to| Message { from: 0, to, chunk: None, with: Use::Copy }).collect()]
            }
        })
    }
}

/// After n−1 steps rank r holds the sum of chunk r.
fn ring_scatter(ranks: usize) -> Vec<Step> {
    let message = |step: usize, from: usize| Message {
        from,
        to: (from + 1) % ranks,
        chunk: Some((from + 2 * ranks - step - 1) % ranks),
        with: Use::Reduce,
    };
    (0..ranks - 1).map(|step| (0..ranks).map(|from| message(step, from)).collect()).collect()
}

/// Rank r starts with chunk r; after n−1 steps all ranks hold all chunks.
fn ring_gather(ranks: usize) -> Vec<Step> {
    let message = |step: usize, from: usize| Message {
        from,
        to: (from + 1) % ranks,
        chunk: Some((from + ranks - step) % ranks),
        with: Use::Copy,
    };
    (0..ranks - 1).map(|step| (0..ranks).map(|from| message(step, from)).collect()).collect()
}

fn direct_scatter(ranks: usize) -> Step {
    everyone(ranks, |_, to| Some(to), Use::Reduce)
}

fn direct_gather(ranks: usize) -> Step {
    everyone(ranks, |from, _| Some(from), Use::Copy)
}

fn everyone(ranks: usize, chunk: impl Fn(usize, usize) -> Option<usize>, with: Use) -> Step {
    let pairs = (0..ranks).flat_map(|from| (0..ranks).map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to).map(|(from, to)| Message { from, to, chunk: chunk(from, to), with }).collect()
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
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring",
            Self::Direct => "direct",
            Self::OneShot => "one-shot",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What a rank holds of each chunk: the set of ranks whose contribution is in it.
    type Held = Vec<Vec<BTreeSet<usize>>>;

    fn run(kind: CollectiveKind, algorithm: Algorithm, n: usize) -> Held {
        let own = |rank: usize, chunk: usize| match kind {
            CollectiveKind::AllReduce | CollectiveKind::ReduceScatter => BTreeSet::from([rank]),
            CollectiveKind::AllGather if rank == chunk => BTreeSet::from([rank]),
            CollectiveKind::Broadcast if rank == 0 => BTreeSet::from([0]),
            _ => BTreeSet::new(),
        };
        let mut held: Held = (0..n).map(|rank| (0..n).map(|chunk| own(rank, chunk)).collect()).collect();
        for step in kind.schedule(algorithm, n).unwrap() {
            let before = held.clone();
            for message in step {
                for chunk in message.chunk.map_or(0..n, |chunk| chunk..chunk + 1) {
                    let sent = &before[message.from][chunk];
                    match message.with {
                        Use::Copy => held[message.to][chunk] = sent.clone(),
                        Use::Reduce => {
                            assert!(held[message.to][chunk].is_disjoint(sent), "counted twice");
                            held[message.to][chunk].extend(sent);
                        }
                    }
                }
            }
        }
        held
    }

    #[test]
    fn every_schedule_delivers_at_every_group_size() {
        use CollectiveKind::*;
        for kind in [AllReduce, ReduceScatter, AllGather, Broadcast] {
            for &algorithm in kind.algorithms() {
                for n in 1..=9 {
                    let held = run(kind, algorithm, n);
                    for (rank, chunks) in held.iter().enumerate() {
                        for (chunk, contributions) in chunks.iter().enumerate() {
                            let wanted: BTreeSet<usize> = match kind {
                                AllReduce => (0..n).collect(),
                                ReduceScatter if rank != chunk => continue,
                                ReduceScatter => (0..n).collect(),
                                AllGather => [chunk].into(),
                                Broadcast => [0].into(),
                            };
                            assert_eq!(*contributions, wanted, "{kind} {algorithm} n={n} rank {rank} chunk {chunk}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn chunks_tile_the_buffer() {
        for (elements, parts) in [(10, 3), (2, 5), (0, 4), (u64::MAX, 7)] {
            let bounds: Vec<_> = (0..parts).map(|i| even_chunk(elements, parts, i)).collect();
            assert!(bounds.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((bounds[0].start, bounds[parts - 1].end), (0, elements));
        }
    }
}
