//! Shortest paths over the physical links. What crosses them and what that takes is no concern of theirs.

use crate::Fleet;
use crate::fleet::Wire;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::collections::VecDeque;

/// The wires of a fleet and, from every vertex to every other, the first wire of a path with the fewest hops.
pub struct Routes {
    wires: Vec<Wire>,
    next: Vec<Vec<Option<usize>>>,
}

impl Routes {
    /// Breadth-first from every destination; among equal paths one that arrives in the direction of its link wins, then the
    /// one over the lowest wire. So around a ring every card sees the same.
    #[must_use]
    pub fn new(fleet: &Fleet) -> Self {
        let wires = fleet.wires();
        let mut graph = DiGraph::<(), usize>::new();
        let vertices: Vec<NodeIndex> = (0..fleet.vertices()).map(|_| graph.add_node(())).collect();
        for (index, wire) in wires.iter().enumerate() {
            graph.add_edge(vertices[wire.from], vertices[wire.to], index);
        }
        let next = vertices.iter().map(|&to| towards(&graph, to)).collect();
        Self { wires, next }
    }

    /// Both directions of every link that is up, as [`Fleet::wires`] lists them.
    #[must_use]
    pub fn wires(&self) -> &[Wire] {
        &self.wires
    }

    /// The wires from one vertex to another; empty when they are the same or not connected.
    pub fn path(&self, from: usize, to: usize) -> impl Iterator<Item = &Wire> {
        let mut at = from;
        std::iter::from_fn(move || {
            let wire = &self.wires[self.next[to][at]?];
            at = wire.to;
            Some(wire)
        })
    }
}

/// For every vertex, the first wire of its path to `to`.
fn towards(graph: &DiGraph<(), usize>, to: NodeIndex) -> Vec<Option<usize>> {
    let mut next: Vec<Option<usize>> = vec![None; graph.node_count()];
    let mut queue = VecDeque::from([to]);
    while let Some(here) = queue.pop_front() {
        let mut edges: Vec<(usize, NodeIndex)> = graph
            .edges_directed(here, petgraph::Direction::Incoming)
            .map(|edge| (*edge.weight(), edge.source()))
            .collect();
        edges.sort_unstable_by_key(|&(wire, _)| (wire % 2, wire));
        for (wire, from) in edges {
            if from != to && next[from.index()].is_none() {
                next[from.index()] = Some(wire);
                queue.push_back(from);
            }
        }
    }
    next
}
