//! The schedules of the collectives: which rank sends which chunks to which rank in which step. They know ranks and
//! chunks, no cards and no bytes.

use crate::collective::{Algorithm, Chunks, CollectiveKind, Message, Pattern, Step, Use};

impl Pattern {
    /// The schedule over `ranks` ranks, empty for one rank; `None` when the algorithm cannot do it.
    #[must_use]
    pub fn schedule(self, algorithm: Algorithm, ranks: usize) -> Option<Vec<Step>> {
        use Algorithm::{Direct, HalvingDoubling, OneShot, RecursiveDoubling, Ring, Tree};
        use CollectiveKind::{AllGather, AllReduce, Broadcast, Combine, Dispatch, ReduceScatter};
        if ranks < 2 {
            return Some(Vec::new());
        }
        let all = Chunks::first(ranks);
        let core = Core::new(ranks);
        Some(match (self, algorithm) {
            (Self::Collective(AllReduce), Ring) => [ring_scatter(ranks), ring_gather(ranks)].concat(),
            (Self::Collective(AllReduce), Direct) => vec![direct_scatter(ranks), direct_gather(ranks)],
            (Self::Collective(AllReduce), OneShot) => vec![everyone(ranks, |_, _| all, Use::Reduce)],
            (Self::Collective(AllReduce), RecursiveDoubling) => core.recursive_doubling(),
            (Self::Collective(AllReduce), HalvingDoubling) => core.halving_doubling(),
            (Self::Collective(AllReduce), Tree) => [tree_reduce(ranks), tree_broadcast(ranks)].concat(),
            (Self::Collective(ReduceScatter), Ring) => ring_scatter(ranks),
            (Self::Collective(ReduceScatter), Direct) => vec![direct_scatter(ranks)],
            (Self::Collective(ReduceScatter), HalvingDoubling) => core.reduce_scatter(),
            (Self::Collective(AllGather), Ring) => ring_gather(ranks),
            (Self::Collective(AllGather), Direct) => vec![direct_gather(ranks)],
            (Self::Collective(AllGather), RecursiveDoubling) => core.all_gather(),
            (Self::Collective(Broadcast), Ring) | (Self::PointToPoint, Ring) => {
                (1..ranks).map(|to| vec![copy(to - 1, to, all)]).collect()
            }
            (Self::Collective(Broadcast), Direct) => vec![(1..ranks).map(|to| copy(0, to, all)).collect()],
            (Self::Collective(Broadcast), HalvingDoubling) => core.broadcast(),
            (Self::Collective(Broadcast), Tree) => tree_broadcast(ranks),
            (Self::AllToAll, Ring) => all_to_all_ring(ranks),
            (Self::AllToAll | Self::Collective(Dispatch | Combine), Direct) => {
                vec![everyone(ranks, |from, to| Chunks::one(from * ranks + to), Use::Copy)]
            }
            (Self::AllToAll, RecursiveDoubling) => all_to_all_doubling(ranks),
            (Self::PointToPoint, Direct) => vec![vec![copy(0, ranks - 1, all)]],
            _ => return None,
        })
    }
}

fn copy(from: usize, to: usize, chunks: Chunks) -> Message {
    Message { from, to, chunks, with: Use::Copy }
}

fn reduce(from: usize, to: usize, chunks: Chunks) -> Message {
    Message { from, to, chunks, with: Use::Reduce }
}

/// What every step of a ring sends, one chunk to the next rank.
pub(crate) fn ring_step(ranks: usize) -> Step {
    (0..ranks).map(|from| copy(from, (from + 1) % ranks, Chunks::one(from))).collect()
}

/// After n−1 steps rank r holds the sum of chunk r.
fn ring_scatter(ranks: usize) -> Vec<Step> {
    let chunk = |step: usize, from: usize| Chunks::one((from + 2 * ranks - step - 1) % ranks);
    let message = |step: usize, from: usize| reduce(from, (from + 1) % ranks, chunk(step, from));
    (0..ranks - 1).map(|step| (0..ranks).map(|from| message(step, from)).collect()).collect()
}

/// Rank r starts with chunk r; after n−1 steps all ranks hold all chunks.
fn ring_gather(ranks: usize) -> Vec<Step> {
    let chunk = |step: usize, from: usize| Chunks::one((from + ranks - step) % ranks);
    let message = |step: usize, from: usize| copy(from, (from + 1) % ranks, chunk(step, from));
    (0..ranks - 1).map(|step| (0..ranks).map(|from| message(step, from)).collect()).collect()
}

fn direct_scatter(ranks: usize) -> Step {
    everyone(ranks, |_, to| Chunks::one(to), Use::Reduce)
}

fn direct_gather(ranks: usize) -> Step {
    everyone(ranks, |from, _| Chunks::one(from), Use::Copy)
}

fn everyone(ranks: usize, chunks: impl Fn(usize, usize) -> Chunks, with: Use) -> Step {
    let pairs = (0..ranks).flat_map(|from| (0..ranks).map(move |to| (from, to)));
    let messages = pairs.filter(|(from, to)| from != to);
    messages.map(|(from, to)| Message { from, to, chunks: chunks(from, to), with }).collect()
}

/// In step k, every rank that is an odd multiple of 2^k sends its sum to the multiple below.
fn tree_reduce(ranks: usize) -> Vec<Step> {
    let all = Chunks::first(ranks);
    let level = |bit: u32| (0..ranks).step_by(2 << bit).map(move |to| (to + (1 << bit), to));
    let step =
        |bit: u32| level(bit).filter(|&(from, _)| from < ranks).map(|(from, to)| reduce(from, to, all)).collect();
    (0..ranks.next_power_of_two().ilog2()).map(step).collect()
}

/// The messages of [`tree_reduce`] backwards.
fn tree_broadcast(ranks: usize) -> Vec<Step> {
    let back = |message: Message| copy(message.to, message.from, message.chunks);
    tree_reduce(ranks).into_iter().rev().map(|step| step.into_iter().map(back).collect()).collect()
}

/// Every block goes around until it is there: in step s each rank passes on the blocks that have s or more hops to go.
fn all_to_all_ring(ranks: usize) -> Vec<Step> {
    let blocks = |step: usize, from: usize| {
        let origin = (from + ranks + 1 - step) % ranks;
        (step..ranks).map(move |distance| origin * ranks + (origin + distance) % ranks)
    };
    let messages = |step: usize, from: usize| {
        blocks(step, from).map(move |block| copy(from, (from + 1) % ranks, Chunks::one(block)))
    };
    (1..ranks).map(|step| (0..ranks).flat_map(|from| messages(step, from)).collect()).collect()
}

/// Step k moves every block 2^k ranks on whose distance has bit k.
fn all_to_all_doubling(ranks: usize) -> Vec<Step> {
    let messages = |bit: u32, from: usize| {
        let distances = (1..ranks).filter(move |distance| distance >> bit & 1 == 1);
        distances.map(move |distance| {
            let origin = (from + ranks - distance % (1 << bit)) % ranks;
            let block = origin * ranks + (origin + distance) % ranks;
            copy(from, (from + (1 << bit)) % ranks, Chunks::one(block))
        })
    };
    let step = |bit| (0..ranks).flat_map(|from| messages(bit, from)).collect();
    (0..ranks.next_power_of_two().ilog2()).map(step).collect()
}

/// The largest power of two of ranks, and how the others take part: of the first 2·`extra` ranks, the odd ones hand
/// their buffer to the even rank before them and get the result from it (Thakur, Rabenseifner & Gropp 2005, §4).
/// Member m of the core is rank 2m, or m + extra after those, and stands for the chunks up to the next member's rank.
pub(crate) struct Core {
    members: usize,
    extra: usize,
    ranks: usize,
}

impl Core {
    pub(crate) fn new(ranks: usize) -> Self {
        let members = 1 << ranks.max(1).ilog2();
        Self { members, extra: ranks - members, ranks }
    }

    /// Chunks that `rank` adds in its fullest step of halving; `None` for a rank that hands its buffer over.
    pub(crate) fn added(&self, rank: usize, nearest_first: bool) -> Option<Chunks> {
        let member = match rank {
            rank if rank >= 2 * self.extra => rank - self.extra,
            rank if rank.is_multiple_of(2) => return Some(self.all()),
            _ => return None,
        };
        let bits = if nearest_first { self.nearest() } else { self.farthest() };
        Some(self.window(member, bits.get(..1).unwrap_or_default()))
    }

    fn all(&self) -> Chunks {
        Chunks::first(self.ranks)
    }

    /// Rank of a member, which is its first chunk as well.
    fn rank(&self, member: usize) -> usize {
        if member < self.extra { 2 * member } else { member + self.extra }
    }

    /// Distances as powers of two, nearest first.
    fn nearest(&self) -> Vec<u32> {
        (0..self.members.ilog2()).collect()
    }

    fn farthest(&self) -> Vec<u32> {
        (0..self.members.ilog2()).rev().collect()
    }

    /// The chunks left to a member when the buffer is halved once for each bit of its number: the lower half for 0.
    fn window(&self, member: usize, bits: &[u32]) -> Chunks {
        let (mut start, mut length) = (0, self.members);
        for bit in bits {
            length /= 2;
            start += (member >> bit & 1) * length;
        }
        Chunks { start: self.rank(start), end: self.rank(start + length) }
    }

    fn pairs(&self, bit: u32) -> impl Iterator<Item = (usize, usize)> + use<> {
        (0..self.members).map(move |member| (member, member ^ 1 << bit))
    }

    fn hand_over(&self, message: impl Fn(usize, usize) -> Message) -> Option<Step> {
        (self.extra > 0).then(|| (0..self.extra).map(|member| message(2 * member, 2 * member + 1)).collect())
    }

    /// Each step halves what a member is responsible for; it gets its half of the partner's sum.
    fn halving(&self, bits: &[u32]) -> Vec<Step> {
        let message =
            |k: usize, (from, to): (usize, usize)| reduce(self.rank(from), self.rank(to), self.window(to, &bits[..=k]));
        let step = |k: usize| self.pairs(bits[k]).map(|pair| message(k, pair)).collect();
        (0..bits.len()).map(step).collect()
    }

    /// [`Self::halving`] backwards: each step doubles what a member holds.
    fn doubling(&self, bits: &[u32]) -> Vec<Step> {
        let message =
            |k: usize, (from, to): (usize, usize)| copy(self.rank(from), self.rank(to), self.window(from, &bits[..=k]));
        let step = |k: usize| self.pairs(bits[k]).map(|pair| message(k, pair)).collect();
        (0..bits.len()).rev().map(step).collect()
    }

    fn recursive_doubling(&self) -> Vec<Step> {
        let message = |(from, to): (usize, usize)| reduce(self.rank(from), self.rank(to), self.all());
        let step = |bit: u32| self.pairs(bit).map(message).collect();
        let exchange = self.nearest().into_iter().map(step);
        self.whole_buffers(exchange.collect())
    }

    /// The largest halves go to the nearest ranks: who owns which part does not matter in between.
    fn halving_doubling(&self) -> Vec<Step> {
        let bits = self.nearest();
        self.whole_buffers([self.halving(&bits), self.doubling(&bits)].concat())
    }

    /// Steps of the core's all-reduce, with the others' buffers before and after.
    fn whole_buffers(&self, steps: Vec<Step>) -> Vec<Step> {
        let before = self.hand_over(|even, odd| reduce(odd, even, self.all()));
        let after = self.hand_over(|even, odd| copy(even, odd, self.all()));
        before.into_iter().chain(steps).chain(after).collect()
    }

    fn reduce_scatter(&self) -> Vec<Step> {
        let before = self.hand_over(|even, odd| reduce(odd, even, self.all()));
        let after = self.hand_over(|even, odd| copy(even, odd, Chunks::one(odd)));
        before.into_iter().chain(self.halving(&self.farthest())).chain(after).collect()
    }

    fn all_gather(&self) -> Vec<Step> {
        let before = self.hand_over(|even, odd| copy(odd, even, Chunks::one(odd)));
        let after = self.hand_over(|even, odd| copy(even, odd, self.all()));
        before.into_iter().chain(self.doubling(&self.farthest())).chain(after).collect()
    }

    /// Rank 0 scatters over a binomial tree, then all gather (van de Geijn; Thakur, Rabenseifner & Gropp 2005, §3.2).
    fn broadcast(&self) -> Vec<Step> {
        let bits = self.farthest();
        let scatter = |k: usize| {
            let bit = bits[k];
            let holders = (0..self.members).step_by(2 << bit).map(|from| (from, from + (1 << bit)));
            holders.map(|(from, to)| copy(self.rank(from), self.rank(to), self.window(to, &bits[..=k]))).collect()
        };
        let after = self.hand_over(|even, odd| copy(even, odd, self.all()));
        (0..bits.len()).map(scatter).chain(self.doubling(&bits)).chain(after).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What a rank holds of each chunk: the set of ranks whose contribution is in it.
    type Held = Vec<Vec<BTreeSet<usize>>>;

    fn start(pattern: Pattern, n: usize) -> Held {
        use CollectiveKind::*;
        let own = |rank: usize, chunk: usize| match pattern {
            Pattern::Collective(AllReduce | ReduceScatter) => BTreeSet::from([rank]),
            Pattern::Collective(AllGather) if rank == chunk => BTreeSet::from([rank]),
            Pattern::Collective(Broadcast) | Pattern::PointToPoint if rank == 0 => BTreeSet::from([0]),
            Pattern::AllToAll | Pattern::Collective(Dispatch | Combine) if chunk / n == rank => BTreeSet::from([rank]),
            _ => BTreeSet::new(),
        };
        (0..n).map(|rank| (0..pattern.chunks(n)).map(|chunk| own(rank, chunk)).collect()).collect()
    }

    fn run(pattern: Pattern, algorithm: Algorithm, n: usize) -> Held {
        let mut held = start(pattern, n);
        for step in pattern.schedule(algorithm, n).unwrap() {
            let before = held.clone();
            for message in step {
                assert!(message.chunks.count() > 0 && message.from != message.to, "{message:?}");
                for chunk in message.chunks.start..message.chunks.end {
                    let sent = &before[message.from][chunk];
                    assert!(!sent.is_empty(), "{pattern} {algorithm} n={n}: {message:?} has nothing to send");
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

    /// What a rank must hold of a chunk at the end; `None` when anything will do.
    fn wanted(pattern: Pattern, n: usize, rank: usize, chunk: usize) -> Option<BTreeSet<usize>> {
        use CollectiveKind::*;
        match pattern {
            Pattern::Collective(AllReduce) => Some((0..n).collect()),
            Pattern::Collective(ReduceScatter) => (rank == chunk).then(|| (0..n).collect()),
            Pattern::Collective(AllGather) => Some([chunk].into()),
            Pattern::Collective(Broadcast) => Some([0].into()),
            Pattern::AllToAll | Pattern::Collective(Dispatch | Combine) => {
                (chunk % n == rank).then(|| [chunk / n].into())
            }
            Pattern::PointToPoint => (rank == n - 1).then(|| [0].into()),
        }
    }

    #[test]
    fn every_schedule_delivers_at_every_group_size() {
        for pattern in Pattern::ALL.into_iter().chain(CollectiveKind::ROUTED.map(Pattern::from)) {
            for (&algorithm, n) in pattern.algorithms().iter().flat_map(|a| (1..=17).map(move |n| (a, n))) {
                for (rank, chunks) in run(pattern, algorithm, n).iter().enumerate() {
                    for (chunk, found) in chunks.iter().enumerate() {
                        let right = wanted(pattern, n, rank, chunk).is_none_or(|wanted| wanted == *found);
                        assert!(right, "{pattern} {algorithm} n={n} rank {rank} chunk {chunk}: {found:?}");
                    }
                }
            }
        }
    }

    /// log₂ n steps for powers of two, one before and one after for the rest.
    #[test]
    fn the_logarithmic_schedules_have_logarithmic_length() {
        let steps = |kind: CollectiveKind, algorithm, n| kind.schedule(algorithm, n).unwrap().len();
        for (n, log, folds) in [(2, 1, 0), (3, 1, 2), (4, 2, 0), (6, 2, 2), (8, 3, 0), (17, 4, 2), (64, 6, 0)] {
            assert_eq!(steps(CollectiveKind::AllReduce, Algorithm::RecursiveDoubling, n), log + folds);
            assert_eq!(steps(CollectiveKind::AllReduce, Algorithm::HalvingDoubling, n), 2 * log + folds);
            assert_eq!(steps(CollectiveKind::ReduceScatter, Algorithm::HalvingDoubling, n), log + folds);
            assert_eq!(steps(CollectiveKind::AllGather, Algorithm::RecursiveDoubling, n), log + folds);
            let height = n.next_power_of_two().ilog2() as usize;
            assert_eq!(steps(CollectiveKind::Broadcast, Algorithm::Tree, n), height);
            assert_eq!(steps(CollectiveKind::AllReduce, Algorithm::Tree, n), 2 * height);
        }
    }
}
