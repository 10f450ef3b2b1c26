//! Domains: which axes of a layer class are cut together. Two axes share a domain when an operator's signature gives
//! them the same letter; a partition of a domain then cuts every one of its axes at corresponding places.

use crate::op::Operand;
use crate::{Dim, DomainId, Graph, TensorId};
use serde::{Deserialize, Serialize};
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
}
