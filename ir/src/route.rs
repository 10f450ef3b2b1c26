//! Shortest paths over the physical links. What crosses them and what that takes is no concern of theirs.

use crate::Fleet;
use crate::fleet::Wire;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::collections::VecDeque;

/// The wires of a fleet and, from every vertex to every other, the first wire of a path with the fewest hops.
pub struct Routes {
    wires: Vec<Wire>,
    /// By destination.
    trees: Vec<Tree>,
}

/// All paths to one vertex: they form a tree.
struct Tree {
    /// For every vertex, the first wire of its path.
    next: Vec<Option<usize>>,
    /// The vertices that have a path, nearest first.
    order: Vec<usize>,
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
        let trees = vertices.iter().map(|&to| towards(&graph, to)).collect();
        Self { wires, trees }
    }

    /// Both directions of every link that is up, as [`Fleet::wires`] lists them.
    #[must_use]
    pub fn wires(&self) -> &[Wire] {
        &self.wires
    }

    /// Cards, switches and whatever else links join.
    #[must_use]
    pub fn vertices(&self) -> usize {
        self.trees.len()
    }

    /// The wires from one vertex to another; empty when they are the same or not connected.
    pub fn path(&self, from: usize, to: usize) -> impl Iterator<Item = &Wire> {
        let mut at = from;
        std::iter::from_fn(move || {
            let wire = &self.wires[self.trees[to].next[at]?];
            at = wire.to;
            Some(wire)
        })
    }

    /// Every vertex with a path to `to`, nearest first, and the first wire of its path.
    pub fn towards(&self, to: usize) -> impl DoubleEndedIterator<Item = (usize, &Wire)> {
        let Tree { next, order } = &self.trees[to];
        order.iter().filter_map(|&at| Some((at, &self.wires[next[at]?])))
    }
}

fn towards(graph: &DiGraph<(), usize>, to: NodeIndex) -> Tree {
    let mut next: Vec<Option<usize>> = vec![None; graph.node_count()];
    let mut order = Vec::new();
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
                order.push(from.index());
                queue.push_back(from);
            }
        }
    }
    Tree { next, order }
}
