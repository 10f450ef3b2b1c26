//! Operators that do the work of several in one kernel, and where a graph has room for them. They are written from the
//! operators that the model has; no model names them.

use crate::{Graph, Node, NodeId, Op, Role, TensorId};

/// What is done to two products of one left side, and the operator that does all three.
const OF_PRODUCTS: [(Op, Op); 2] = [(Op::SwiGlu, Op::LinearSwiGlu), (Op::GeGlu, Op::LinearGeGlu)];

/// Which node makes a tensor, and how often nodes read it.
#[derive(Clone, Copy, Default)]
struct Uses {
    maker: Option<usize>,
    readers: usize,
}

impl Op {
    /// The operator `f` with `f(x, a, b) = self(linear(x, a), linear(x, b))`.
    #[must_use]
    pub fn of_products(self) -> Option<Self> {
        OF_PRODUCTS.iter().find(|known| known.0 == self).map(|known| known.1)
    }

    /// What an operator does to the two products that it makes by itself.
    #[must_use]
    pub fn on_products(self) -> Option<Self> {
        OF_PRODUCTS.iter().find(|known| known.1 == self).map(|known| known.0)
    }
}

impl Graph {
    /// With the fused operators that its nodes have room for. They are applications beside the nodes: they make a value that
    /// a node makes, and their ids follow those of the nodes, of which there must be no more later.
    #[must_use]
    pub fn fuse(mut self) -> Self {
        let mut uses = vec![Uses::default(); self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            uses[node.output.index()].maker = Some(index);
            node.inputs.iter().for_each(|input| uses[input.index()].readers += 1);
        }
        self.fused = self.nodes.iter().filter_map(|node| self.over_products(node, &uses)).collect();
        self
    }

    /// The nodes, and behind them the fused operators.
    pub fn applications(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().chain(&self.fused)
    }

    /// A node or a fused operator.
    #[must_use]
    pub fn application(&self, id: NodeId) -> Option<&Node> {
        self.applications().nth(id.index())
    }

    /// The first application for which something holds.
    #[must_use]
    pub fn applied(&self, holds: impl Fn(&Node) -> bool) -> Option<NodeId> {
        self.applications().position(holds).map(|index| NodeId(index as u32))
    }

    /// Whether an application is a fused operator.
    #[must_use]
    pub fn is_fused(&self, id: NodeId) -> bool {
        id.index() >= self.nodes.len()
    }

    /// The values that an application makes on its way and does not write; none of a node.
    #[must_use]
    pub fn inside(&self, id: NodeId) -> &[TensorId] {
        let made = self.applications().nth(id.index()).filter(|_| self.is_fused(id)).map(|node| node.output);
        made.and_then(|made| self.producer(made)).map_or(&[], |node| &self[node].inputs)
    }

    /// A node together with the products that it reads: of one value, with weights of one type, so that one compute rate
    /// goes for all of it, and read by nothing else, so that nothing is computed twice.
    fn over_products(&self, node: &Node, uses: &[Uses]) -> Option<Node> {
        let op = node.op.of_products()?;
        let product = |&value: &TensorId| {
            let maker = &self.nodes[uses[value.index()].maker.filter(|_| uses[value.index()].readers == 1)?];
            let &[x, weight] = maker.inputs.as_slice() else { return None };
            (maker.op == Op::Linear && self[weight].role == Role::Weight).then_some((x, weight))
        };
        let products: Vec<(TensorId, TensorId)> = node.inputs.iter().map(product).collect::<Option<_>>()?;
        let &[(x, one), (also, other)] = products.as_slice() else { return None };
        let alike = x == also && self[one].dtype == self[other].dtype;
        alike.then(|| Node { op, inputs: vec![x, one, other], output: node.output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Dim, Verify};

    const ROWS: [Dim; 2] = [Dim::Tokens, Dim::Fixed(8)];

    /// `swiglu(linear(x, a), linear(y, b))`, then the sum of it and x.
    fn gated(two: bool, other: DType) -> Graph {
        let mut graph = Graph::default();
        let x = graph.tensor("x", &ROWS, DType::F32, Role::Input);
        let y = if two { graph.apply(Op::Add, &[x, x], "y", &ROWS) } else { x };
        let [a, b] = [("a", DType::F32), ("b", other)]
            .map(|(name, dtype)| graph.tensor(name, &[Dim::Fixed(8); 2], dtype, Role::Weight));
        let gate = graph.apply(Op::Linear, &[x, a], "gate", &ROWS);
        let up = graph.apply(Op::Linear, &[y, b], "up", &ROWS);
        let act = graph.apply(Op::SwiGlu, &[gate, up], "act", &ROWS);
        graph.apply(Op::Add, &[x, act], "out", &ROWS);
        graph
    }

    #[test]
    fn two_products_of_one_value_are_fused() {
        let graph = gated(false, DType::F32).fuse();
        let id = NodeId(graph.nodes.len() as u32);
        let shown = |ids: &[TensorId]| ids.iter().map(|&id| graph[id].name.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(graph[id].op, Op::LinearSwiGlu);
        assert_eq!((shown(&graph[id].inputs), shown(graph.inside(id))), ("x a b".to_owned(), "gate up".to_owned()));
        assert_eq!(graph[graph[id].output].name, "act");
        assert_eq!(graph.applied(|node| node.op == Op::LinearSwiGlu), Some(id));
        assert!(graph.is_fused(id) && graph.application(NodeId(id.0 + 1)).is_none());
        assert!(graph.inside(NodeId(2)).is_empty(), "a node keeps what it makes");
    }

    #[test]
    fn what_is_not_alike_is_not_fused() {
        assert_eq!(gated(true, DType::F32).fuse().fused, [], "two values");
        assert_eq!(gated(false, DType::F16).fuse().fused, [], "two types");
        let mut read = gated(false, DType::F32);
        let gate = read.nodes[0].output;
        read.apply(Op::Add, &[gate, gate], "more", &ROWS);
        assert_eq!(read.fuse().fused, [], "a product that something else reads");
        let mut biased = gated(false, DType::F32);
        biased.nodes[0].op = Op::Bias;
        assert_eq!(biased.fuse().fused, [], "no product");
    }

    #[test]
    fn no_model_names_them() {
        let mut graph = gated(false, DType::F32);
        let weights = [graph.nodes[0].inputs[1], graph.nodes[1].inputs[1]];
        graph.apply(Op::LinearSwiGlu, &[TensorId(0), weights[0], weights[1]], "fused", &ROWS);
        let found = graph.problems().to_string();
        assert!(found.contains("a model has its products and what is done to them one by one"), "{found}");
    }

    #[test]
    fn either_name_leads_to_the_other() {
        for (outer, fused) in OF_PRODUCTS {
            assert_eq!((outer.of_products(), fused.on_products()), (Some(fused), Some(outer)));
            assert_eq!((fused.of_products(), outer.on_products()), (None, None));
        }
    }
}
