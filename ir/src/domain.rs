//! Domains: which axes of a layer class are cut together. Two axes share a domain when an operator's signature gives
//! them the same letter; a partition of a domain then cuts every one of its axes at corresponding places. A domain may
//! cover another one: KV heads cover query heads. It is then cut where the other one is, outwards to its own units, so that
//! ranks may have units in common.

use crate::op::Operand;
use crate::{Dim, DomainId, Graph, PositionShare, RowShare, TensorId};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

/// The domains of a graph and how many indivisible units each has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domains {
    of: Vec<Vec<DomainId>>,
    units: Vec<u64>,
    /// The domain that each one covers.
    leads: Vec<Option<DomainId>>,
    /// Whether its axes are the rows of a step.
    rows: Vec<bool>,
    /// By tensor, whether an operator that reads or makes it may be cut along rows.
    by_rows: Vec<bool>,
    /// Whether its axes are the positions of a context.
    positions: Vec<bool>,
}

/// Units of a domain of rows or positions, whose number is known at replay only: fractions of them. Up to 16, and 32 or 64,
/// ranks share them evenly.
const ROW_UNITS: u64 = 2_882_880;

/// Axes of which the first covers the second, as numbers among all axes of a graph.
type Covers = Vec<(usize, usize)>;

impl Domains {
    /// Finds the domains: equal letters are joined, and a domain has as many units as every member axis can give
    /// (the greatest common divisor of the axes' atom counts). The rows of a step are cut at fractions, positions are dealt in
    /// turns; other axes that are not fixed numbers have no units.
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
        let mut covers = Covers::new();
        for node in &graph.nodes {
            join_letters(graph, node, &first, (&mut joined, &mut atoms, &mut covers));
        }
        let mut domains = Self::number(graph, &first, &joined, &atoms);
        let all: Vec<DomainId> = domains.of.iter().flatten().copied().collect();
        covers.into_iter().for_each(|(cover, lead)| domains.cover(all[cover], all[lead]));
        domains
    }

    /// Lets a domain cover another one. Where either already stands in another such relation, neither can be cut.
    fn cover(&mut self, cover: DomainId, lead: DomainId) {
        let known = self.leads[cover.index()];
        let chained = |domain: DomainId| self.leads[domain.index()].is_some() || self.leads.contains(&Some(domain));
        let alike = known.is_none() && !chained(cover) && self.leads[lead.index()].is_none();
        let others = self.covers(lead).any(|other| self.units(other) != self.units(cover));
        if known == Some(lead) {
        } else if cover != lead && alike && !others {
            self.leads[cover.index()] = Some(lead);
        } else {
            (self.units[cover.index()], self.units[lead.index()]) = (0, 0);
        }
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
        let by_rows: Vec<bool> = cut_by_rows(graph);
        let (mut rows, mut positions) = (vec![true; units.len()], vec![true; units.len()]);
        for (axis, dim, id) in members(graph, &of) {
            rows[id.index()] &= axis == 0 && dim == Dim::Tokens;
            positions[id.index()] &= axis == 0 && dim == Dim::Context;
            // Any other symbolic member makes the whole domain indivisible.
            if dim.fixed().is_none() {
                units[id.index()] = 0;
            }
        }
        let by_rows_of = of.iter().zip(&by_rows).filter(|(_, by_rows)| **by_rows);
        for id in by_rows_of.filter_map(|(axes, _)| axes.first()) {
            if rows[id.index()] {
                units[id.index()] = ROW_UNITS;
            }
        }
        units.iter_mut().zip(&positions).filter(|(_, positions)| **positions).for_each(|(units, _)| *units = ROW_UNITS);
        let leads = vec![None; units.len()];
        Self { of, units, leads, rows, by_rows, positions }
    }

    /// Whether a domain is the positions of a context, which ranks have in turns, each as many.
    #[must_use]
    pub fn is_positions(&self, domain: DomainId) -> bool {
        self.positions[domain.index()]
    }

    /// Whether its parts are of something whose number is known at replay only; those are dealt evenly.
    #[must_use]
    pub fn is_open(&self, domain: DomainId) -> bool {
        self.is_rows(domain) || self.is_positions(domain)
    }

    /// Whether a domain is the rows of a step, of which a partition says fractions.
    #[must_use]
    pub fn is_rows(&self, domain: DomainId) -> bool {
        self.rows[domain.index()]
    }

    /// Whether an axis of a tensor can be cut: its domain can, and of rows only where an operator may be cut along them.
    #[must_use]
    pub fn cuttable_axis(&self, tensor: TensorId, axis: u8) -> bool {
        let domain = self.domain(tensor, axis);
        self.cuttable(domain) && (!self.is_rows(domain) || self.by_rows[tensor.index()])
    }

    /// The domain that a domain covers.
    #[must_use]
    pub fn lead(&self, domain: DomainId) -> Option<DomainId> {
        self.leads[domain.index()]
    }

    /// The domains that cover a domain.
    pub fn covers(&self, lead: DomainId) -> impl Iterator<Item = DomainId> + '_ {
        (0..self.count()).map(|index| DomainId(index as u32)).filter(move |&domain| self.lead(domain) == Some(lead))
    }

    /// Whether a domain can be cut at all: it, or what it covers, has two units or more.
    #[must_use]
    pub fn cuttable(&self, domain: DomainId) -> bool {
        self.units(domain) > 0 && self.units(self.lead(domain).unwrap_or(domain)) >= 2
    }

    /// One partition for each domain: `deal` gives those of the domains that cover none.
    #[must_use]
    pub fn partitions(&self, deal: impl Fn(DomainId) -> Partition) -> Vec<Partition> {
        let all = (0..self.count()).map(|index| DomainId(index as u32));
        all.map(|domain| match self.lead(domain) {
            Some(lead) => deal(lead).covering(self.units(lead), self.units(domain)),
            None => deal(domain),
        })
        .collect()
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

/// All axes with their places and domains.
fn members<'a>(graph: &'a Graph, of: &'a [Vec<DomainId>]) -> impl Iterator<Item = (usize, Dim, DomainId)> + 'a {
    let tensors = graph.tensors.iter().zip(of);
    tensors.flat_map(|(tensor, ids)| tensor.axes.iter().zip(ids).enumerate().map(|(axis, (&dim, &id))| (axis, dim, id)))
}

/// By tensor, whether it is read or made by an operator that may be cut along its rows.
fn cut_by_rows(graph: &Graph) -> Vec<bool> {
    let mut found = vec![false; graph.tensors.len()];
    for node in &graph.nodes {
        let row = node.op.row();
        let inputs = node.inputs.iter().enumerate().map(|(index, &tensor)| (Operand::Input(index), tensor));
        for (operand, tensor) in inputs.chain([(Operand::Output, node.output)]) {
            let first = row.letters(operand).chars().next();
            let tokens = graph[tensor].axes.first() == Some(&Dim::Tokens);
            found[tensor.index()] |= tokens && first.is_some_and(|letter| row.split.contains(letter));
        }
    }
    found
}

fn units_of(dim: Dim, atom: u64) -> u64 {
    dim.fixed().map_or(0, |size| if size.is_multiple_of(atom.max(1)) { size / atom.max(1) } else { 1 })
}

fn join_letters(
    graph: &Graph,
    node: &crate::Node,
    first: &[usize],
    (joined, atoms, covers): (&mut petgraph::unionfind::UnionFind<usize>, &mut [u64], &mut Covers),
) {
    let row = node.op.row();
    let mut seen: Vec<(char, usize)> = Vec::new();
    let inputs = node.inputs.iter().enumerate().map(|(index, &tensor)| (Operand::Input(index), tensor));
    for (operand, tensor) in inputs.chain([(Operand::Output, node.output)]) {
        for (axis, letter) in row.letters(operand).chars().enumerate().take(graph[tensor].axes.len()) {
            let here = first[tensor.index()] + axis;
            atoms[here] = lcm(atoms[here], node.op.atom(letter));
            match seen.iter().find(|known| known.0 == letter) {
                Some(&(_, other)) => {
                    joined.union(here, other);
                }
                None => seen.push((letter, here)),
            }
        }
    }
    let place = |letter| seen.iter().find(|known| known.0 == letter).map(|known| known.1);
    if let Some((cover, lead)) = row.covers
        && let (Some(cover), Some(lead)) = (place(cover), place(lead))
    {
        if node.op.covered_by_each() == 1 {
            joined.union(cover, lead);
        } else {
            covers.push((cover, lead));
        }
    }
}

pub(crate) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Least common multiple, saturating.
#[must_use]
pub fn lcm(a: u64, b: u64) -> u64 {
    (a / gcd(a, b).max(1)).saturating_mul(b)
}

/// How the units of one domain are dealt to the ranks of a group, in order. Ranks have units in common only where the
/// domain covers another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Partition {
    /// The units of each rank.
    shares: Vec<(u64, u64)>,
}

impl Partition {
    /// The most even deal of `units` in whole granules; earlier ranks have the larger shares. The last granule may
    /// be short when `units` is no multiple of `granule`.
    #[must_use]
    pub fn balanced(units: u64, granule: u64, ranks: usize) -> Self {
        let granule = granule.max(1);
        let granules = units.div_ceil(granule);
        let (each, extra) = (granules / ranks.max(1) as u64, granules % ranks.max(1) as u64);
        let granules = (0..ranks as u64).map(|rank| each + u64::from(rank < extra));
        Self::in_order(units, granule, granules)
    }

    /// So many granules for each rank, one after the other.
    fn in_order(units: u64, granule: u64, granules: impl Iterator<Item = u64>) -> Self {
        let share = |start: &mut u64, granules: u64| {
            let share = (*start, (*start + granules.saturating_mul(granule)).min(units));
            *start = share.1;
            Some(share)
        };
        Self { shares: granules.scan(0, share).collect() }
    }

    /// How a domain of `covers` units is cut that covers this one of `units`: outwards, each rank having all that touches its
    /// units. A rank without units covers nothing.
    #[must_use]
    pub fn covering(&self, units: u64, covers: u64) -> Self {
        let scaled = |bound: u64| u128::from(bound) * u128::from(covers);
        let down = |bound: u64| scaled(bound).checked_div(u128::from(units)).unwrap_or(0) as u64;
        let up = |bound: u64| scaled(bound).div_ceil(u128::from(units.max(1))) as u64;
        let share = |&(start, end): &(u64, u64)| (down(start), if start == end { down(start) } else { up(end) });
        Self { shares: self.shares.iter().map(share).collect() }
    }

    /// Whether no unit is held by two ranks.
    #[must_use]
    pub fn disjoint(&self) -> bool {
        let held = self.shares.iter().filter(|share| share.0 < share.1);
        held.clone().zip(held.skip(1)).all(|(before, after)| before.1 <= after.0)
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
        Self::in_order(units, granule, shares.into_iter())
    }

    /// Where all its cuts lie at multiples of, in units.
    #[must_use]
    pub fn border(&self) -> u64 {
        self.shares.iter().fold(0, |all, &(start, end)| gcd(gcd(all, start), end))
    }

    /// The part of a step's rows that a rank has, of a domain of rows.
    #[must_use]
    pub fn rows(&self, rank: usize) -> RowShare {
        let (start, end) = self.shares[rank];
        RowShare::new(start, end, self.end()).unwrap_or_default()
    }

    /// The part of the positions of a context that a rank has.
    #[must_use]
    pub fn positions(&self, rank: usize) -> Option<PositionShare> {
        PositionShare::new(rank as u64, self.ranks() as u64)
    }

    /// The units of each rank in lowest terms.
    #[must_use]
    pub fn parts(&self) -> Vec<u64> {
        let border = self.border().max(1);
        self.shares.iter().map(|(start, end)| (end - start) / border).collect()
    }

    /// The unit after the last.
    fn end(&self) -> u64 {
        self.shares.iter().map(|share| share.1).max().unwrap_or(0)
    }

    /// Units of a rank.
    #[must_use]
    pub fn units(&self, rank: usize) -> Range<u64> {
        let (start, end) = self.shares[rank];
        start..end
    }

    /// How many units a rank has.
    #[must_use]
    pub fn share(&self, rank: usize) -> u64 {
        let (start, end) = self.shares[rank];
        end - start
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
        self.shares.len()
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

    /// 8 query heads on 2 KV heads over 3 ranks: 3, 3 and 2 of them touch the first KV head, both, and the second.
    #[test]
    fn covers_are_cut_outwards() {
        let dealt = Partition::balanced(8, 1, 3);
        let cover = dealt.covering(8, 2);
        assert_eq!([0, 1, 2].map(|rank| cover.units(rank)), [0..1, 0..2, 1..2]);
        assert!(dealt.disjoint() && !cover.disjoint());
        let left_out = Partition::proportional(8, 1, &[1, 0, 1]).covering(8, 2);
        assert_eq!([0, 1, 2].map(|rank| left_out.units(rank)), [0..1, 1..1, 1..2]);
        assert!(left_out.disjoint());
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
