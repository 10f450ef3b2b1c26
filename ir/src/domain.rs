//! Domains: which axes of a layer class are cut together. Two axes share a domain when an operator's signature gives
//! them the same letter; a partition of a domain then cuts every one of its axes at corresponding places.

use crate::op::Operand;
use crate::{Dim, DomainId, Graph, TensorId};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

/// The domains of a graph and how many indivisible units each has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domains {
    of: Vec<Vec<DomainId>>,
    units: Vec<u64>,
}

impl Domains {
    /// Finds the domains: equal letters are joined, and a domain has as many units as every member axis can give
    /// (the greatest common divisor of the axes' atom counts). Axes that are not fixed numbers have no units.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let mut first = Vec::new();
        let mut count = 0;
        for tensor in &graph.tensors {
            first.push(count);
            count += tensor.axes.len();
        }
        let mut joined = petgraph::unionfind::UnionFind::<usize>::new(count);
        let mut atoms: Vec<u64> = vec![1; count];
        for node in &graph.nodes {
            join_letters(graph, node, &first, &mut joined, &mut atoms);
        }
        Self::number(graph, &first, &joined, &atoms)
    }

    fn number(graph: &Graph, first: &[usize], joined: &petgraph::unionfind::UnionFind<usize>, atoms: &[u64]) -> Self {
        let mut ids = std::collections::BTreeMap::new();
        let mut units: Vec<u64> = Vec::new();
        let mut of = Vec::new();
        for (tensor, &start) in graph.tensors.iter().zip(first) {
            let mut axes = Vec::new();
            for (axis, dim) in tensor.axes.iter().enumerate() {
                let next = DomainId(units.len() as u32);
                let id = *ids.entry(joined.find(start + axis)).or_insert(next);
                let here = units_of(*dim, atoms[start + axis]);
                match units.get_mut(id.index()) {
                    Some(known) => *known = gcd(*known, here),
                    None => units.push(here),
                }
                axes.push(id);
            }
            of.push(axes);
        }
        // A symbolic member makes the whole domain indivisible.
        for (tensor, axes) in graph.tensors.iter().zip(&of) {
            for (dim, id) in tensor.axes.iter().zip(axes) {
                if dim.fixed().is_none() {
                    units[id.index()] = 0;
                }
            }
        }
        Self { of, units }
    }

    /// The domain of an axis.
    #[must_use]
    pub fn domain(&self, tensor: TensorId, axis: u8) -> DomainId {
        self.of[tensor.index()][usize::from(axis)]
    }

    /// Indivisible units of a domain; 0 when it cannot be cut.
    #[must_use]
    pub fn units(&self, domain: DomainId) -> u64 {
        self.units[domain.index()]
    }

    /// Number of domains.
    #[must_use]
    pub fn count(&self) -> usize {
        self.units.len()
    }

    /// Elements of one unit along an axis of a tensor; 0 when the axis cannot be cut.
    #[must_use]
    pub fn elements_per_unit(&self, graph: &Graph, tensor: TensorId, axis: u8) -> u64 {
        let size = graph[tensor].axes[usize::from(axis)].fixed().unwrap_or(0);
        size.checked_div(self.units(self.domain(tensor, axis))).unwrap_or(0)
    }
}

fn units_of(dim: Dim, atom: u64) -> u64 {
    dim.fixed().map_or(0, |size| if size.is_multiple_of(atom.max(1)) { size / atom.max(1) } else { 1 })
}

fn join_letters(
    graph: &Graph,
    node: &crate::Node,
    first: &[usize],
    joined: &mut petgraph::unionfind::UnionFind<usize>,
    atoms: &mut [u64],
) {
    let row = node.op.row();
    let mut seen: Vec<(char, usize)> = Vec::new();
    let inputs = node.inputs.iter().enumerate().map(|(index, &tensor)| (Operand::Input(index), tensor));
    for (operand, tensor) in inputs.chain([(Operand::Output, node.output)]) {
        for (axis, letter) in row.letters(operand).chars().enumerate().take(graph[tensor].axes.len()) {
            let here = first[tensor.index()] + axis;
            atoms[here] = lcm(atoms[here], node.op.atom(operand, letter));
            match seen.iter().find(|known| known.0 == letter) {
                Some(&(_, other)) => {
                    joined.union(here, other);
                }
                None => seen.push((letter, here)),
            }
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Least common multiple, saturating.
#[must_use]
pub fn lcm(a: u64, b: u64) -> u64 {
    (a / gcd(a, b).max(1)).saturating_mul(b)
}

/// How the units of one domain are dealt to the ranks of a group: rank r has units `bounds[r]..bounds[r+1]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Partition {
    bounds: Vec<u64>,
}

impl Partition {
    /// The most even deal of `units` in whole granules; earlier ranks have the larger shares. The last granule may
    /// be short when `units` is no multiple of `granule`.
    #[must_use]
    pub fn balanced(units: u64, granule: u64, ranks: usize) -> Self {
        let granule = granule.max(1);
        let granules = units.div_ceil(granule);
        let (each, extra) = (granules / ranks.max(1) as u64, granules % ranks.max(1) as u64);
        let mut bounds = vec![0];
        for rank in 0..ranks as u64 {
            let share = each + u64::from(rank < extra);
            let last = bounds[bounds.len() - 1];
            bounds.push((last + share.saturating_mul(granule)).min(units));
        }
        Self { bounds }
    }

    /// The deal of whole granules that minimises the largest share / rate: the time of the slowest rank when each works at
    /// its own rate. Every rank first gets what it does in the time that all need together; each granule that is left
    /// goes to the rank that would be done with it first (the lowest of equals). Equal rates give [`Self::balanced`].
    /// Ranks without a rate get nothing, unless none has one.
    #[must_use]
    pub fn proportional(units: u64, granule: u64, rates: &[u64]) -> Self {
        let (granule, total) = (granule.max(1), rates.iter().map(|&rate| u128::from(rate)).sum::<u128>());
        if total == 0 {
            return Self::balanced(units, granule, rates.len());
        }
        if rates.iter().all(|rate| *rate == rates[0]) {
            return Self::balanced(units, granule, rates.len());
        }
        let granules = units.div_ceil(granule);
        let even = |&rate: &u64| (u128::from(granules) * u128::from(rate) / total) as u64;
        let mut shares: Vec<u64> = rates.iter().map(even).collect();
        let able = (0..rates.len()).filter(|&rank| rates[rank] > 0);
        let next = able.map(|rank| Reverse(Done { share: shares[rank] + 1, rate: rates[rank], rank }));
        let mut queue: BinaryHeap<Reverse<Done>> = next.collect();
        for _ in shares.iter().sum::<u64>()..granules {
            if let Some(Reverse(first)) = queue.pop() {
                shares[first.rank] = first.share;
                queue.push(Reverse(Done { share: first.share + 1, ..first }));
            }
        }
        let mut bounds = vec![0];
        for share in shares {
            let last = bounds[bounds.len() - 1];
            bounds.push((last + share.saturating_mul(granule)).min(units));
        }
        Self { bounds }
    }

    /// Where all its cuts lie at multiples of, in units.
    #[must_use]
    pub fn border(&self) -> u64 {
        self.bounds.iter().fold(0, |all, &bound| gcd(all, bound))
    }

    /// Units of a rank.
    #[must_use]
    pub fn units(&self, rank: usize) -> Range<u64> {
        self.bounds[rank]..self.bounds[rank + 1]
    }

    /// Elements of a rank along an axis with so many elements a unit.
    #[must_use]
    pub fn elements(&self, rank: usize, per_unit: u64) -> Range<u64> {
        let units = self.units(rank);
        units.start * per_unit..units.end * per_unit
    }

    /// Number of ranks.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Whether at least two ranks have something.
    #[must_use]
    pub fn divides(&self) -> bool {
        (0..self.ranks()).filter(|&rank| !self.units(rank).is_empty()).count() > 1
    }
}

/// When a rank would be done with a share: share / rate, the lowest rank first among equals.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Done {
    share: u64,
    rate: u64,
    rank: usize,
}

impl Ord for Done {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) =
            (u128::from(self.share) * u128::from(other.rate), u128::from(other.share) * u128::from(self.rate));
        ours.cmp(&theirs).then(self.rank.cmp(&other.rank))
    }
}

impl PartialOrd for Done {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_deals_whole_granules() {
        let shares = |units, granule, ranks| -> Vec<u64> {
            let partition = Partition::balanced(units, granule, ranks);
            (0..ranks).map(|rank| partition.units(rank).count() as u64).collect()
        };
        assert_eq!(shares(43, 1, 8), [6, 6, 6, 5, 5, 5, 5, 5]);
        assert_eq!(shares(4, 1, 3), [2, 1, 1]);
        assert_eq!(shares(2, 1, 4), [1, 1, 0, 0]);
        assert_eq!(shares(10, 4, 3), [4, 4, 2]);
    }

    fn shares(partition: &Partition) -> Vec<u64> {
        (0..partition.ranks()).map(|rank| partition.units(rank).count() as u64).collect()
    }

    /// 12 at rates 1 : 2 : 3 are 2, 4, 6. Of 10, floor(10 · 2 / 8) = 2, 2, 5 leave one; done after 3/2, 3/2 or 6/4.
    #[test]
    fn proportional_shares_finish_together() {
        assert_eq!(shares(&Partition::proportional(12, 1, &[1, 2, 3])), [2, 4, 6]);
        assert_eq!(shares(&Partition::proportional(10, 1, &[2, 2, 4])), [3, 2, 5]);
        assert_eq!(shares(&Partition::proportional(43, 1, &[7; 8])), [6, 6, 6, 5, 5, 5, 5, 5]);
        assert_eq!(shares(&Partition::proportional(10, 4, &[1, 0, 5])), [0, 0, 10]);
        assert_eq!(shares(&Partition::proportional(3, 1, &[0, 0])), [2, 1]);
        assert_eq!(Partition::proportional(12, 2, &[1, 2]).border(), 4);
    }

    /// Every deal of up to 9 units to up to 4 ranks, against the one that is made.
    #[test]
    fn no_deal_has_a_faster_slowest_rank() {
        fn deals(units: u64, ranks: usize) -> Vec<Vec<u64>> {
            if ranks == 1 {
                return vec![vec![units]];
            }
            let rest =
                |first| deals(units - first, ranks - 1).into_iter().map(move |rest| [vec![first], rest].concat());
            (0..=units).flat_map(rest).collect()
        }
        let slowest = |deal: &[u64], rates: &[u64]| {
            deal.iter().zip(rates).map(|(&share, &rate)| share * 2520 / rate).max().unwrap()
        };
        for rates in [vec![1, 2, 3], vec![5, 5, 4, 9], vec![10, 1], vec![3, 7, 7], vec![2, 2, 2, 1]] {
            for units in 0..=9 {
                let made = shares(&Partition::proportional(units, 1, &rates));
                let best = deals(units, rates.len()).iter().map(|deal| slowest(deal, &rates)).min().unwrap();
                assert_eq!(slowest(&made, &rates), best, "{units} at {rates:?}: {made:?}");
            }
        }
    }
}
