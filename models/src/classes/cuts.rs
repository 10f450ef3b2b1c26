//! Cut points of a graph: the nodes that every path from the tokens to the output goes through (dominators; the
//! algorithm is that of Cooper, Harvey & Kennedy 2001). The nodes after one cut up to the next are an atom.

use petgraph::algo::dominators::{Dominators, simple_fast};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::Dfs;
use sailplan_ir::{Diagnostic, Diagnostics, Graph, NodeId, Op, Role, TensorId};

/// The nodes after one cut up to the next, which is the last of them.
pub(crate) struct Atom {
    /// In the order of the graph.
    pub(crate) nodes: Vec<NodeId>,
    /// Whether it ends by adding its own input back.
    pub(crate) residual: bool,
    /// Whether it appends to a cache.
    pub(crate) appends: bool,
}

/// The atoms of a verified graph, in order of execution.
pub(crate) fn atoms(graph: &Graph) -> Result<Vec<Atom>, Diagnostics> {
    let mut flow = graph.dataflow();
    let root = add_root(graph, &mut flow);
    let output = NodeIndex::new(graph.nodes.len().saturating_sub(1));
    check_reach(graph, &flow, (root, output))?;
    let dominators = simple_fast(&flow, root);
    let mut cuts: Vec<NodeIndex> = dominators.dominators(output).into_iter().flatten().collect();
    cuts.retain(|&cut| cut != root);
    cuts.reverse();
    let mut atoms: Vec<Vec<NodeId>> = vec![Vec::new(); cuts.len()];
    for (index, position) in positions(graph, &dominators, &cuts).into_iter().enumerate() {
        if let Some(nodes) = atoms.get_mut(position) {
            nodes.push(NodeId(index as u32));
        }
    }
    let inputs =
        std::iter::once(None).chain(cuts.iter().map(|&cut| graph.nodes.get(cut.index()).map(|node| node.output)));
    Ok(atoms.into_iter().zip(inputs).map(|(nodes, input)| atom(graph, nodes, input)).collect())
}

/// A node above all that read the tokens.
fn add_root(graph: &Graph, flow: &mut DiGraph<NodeId, TensorId>) -> NodeIndex {
    let root = flow.add_node(NodeId(graph.nodes.len() as u32));
    for (index, node) in graph.nodes.iter().enumerate() {
        for &input in node.inputs.iter().filter(|&&input| graph[input].role == Role::Tokens) {
            flow.add_edge(root, NodeIndex::new(index), input);
        }
    }
    root
}

/// Every node must depend on the tokens and serve the output.
fn check_reach(
    graph: &Graph,
    flow: &DiGraph<NodeId, TensorId>,
    (root, output): (NodeIndex, NodeIndex),
) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    let forward = reached(Dfs::new(flow, root), flow);
    let mut reversed = flow.clone();
    reversed.reverse();
    let backward = reached(Dfs::new(&reversed, output), &reversed);
    for (index, node) in graph.nodes.iter().enumerate() {
        let name = &graph[node.output].name;
        if forward.get(index) != Some(&true) {
            problems.push(Diagnostic::new(format!("n{index} (`{name}`) does not depend on the tokens")));
        } else if backward.get(index) != Some(&true) {
            problems.push(Diagnostic::new(format!("n{index} (`{name}`) is not needed for the output")));
        }
    }
    problems.into_result(())
}

type Search = Dfs<NodeIndex, <DiGraph<NodeId, TensorId> as petgraph::visit::Visitable>::Map>;

fn reached(mut search: Search, flow: &DiGraph<NodeId, TensorId>) -> Vec<bool> {
    let mut reached = vec![false; flow.node_count()];
    while let Some(node) = search.next(flow) {
        if let Some(slot) = reached.get_mut(node.index()) {
            *slot = true;
        }
    }
    reached
}

/// For each node the index of its atom. A cut ends its own atom; any other node stands in the atom after the last cut
/// that dominates it, which is the atom of its immediate dominator, plus one when that is a cut.
fn positions(graph: &Graph, dominators: &Dominators<NodeIndex>, cuts: &[NodeIndex]) -> Vec<usize> {
    let mut of_cut = vec![None; graph.nodes.len()];
    for (position, cut) in cuts.iter().enumerate() {
        if let Some(slot) = of_cut.get_mut(cut.index()) {
            *slot = Some(position);
        }
    }
    let mut positions: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for index in 0..graph.nodes.len() {
        let above = dominators.immediate_dominator(NodeIndex::new(index)).map(NodeIndex::index);
        let below = |above: usize| match of_cut.get(above).copied().flatten() {
            Some(cut) => cut + 1,
            None => positions.get(above).copied().unwrap_or(0),
        };
        let own = of_cut.get(index).copied().flatten();
        positions.push(own.unwrap_or_else(|| above.map_or(0, below)));
    }
    positions
}

fn atom(graph: &Graph, nodes: Vec<NodeId>, input: Option<TensorId>) -> Atom {
    let appends = nodes.iter().any(|&node| graph[node].op.appends());
    let adds_back =
        |&node: &NodeId| graph[node].op == Op::Add && input.is_some_and(|input| graph[node].inputs.contains(&input));
    let residual = nodes.last().is_some_and(adds_back);
    Atom { nodes, residual, appends }
}
