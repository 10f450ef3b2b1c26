//! Products of one value in one kernel, which reads the value once and starts once: which nodes of a graph go together, and
//! which instructions of a program therefore are one kernel. There is nothing to choose, because such a kernel never takes
//! longer than its products one by one.

use crate::{Action, DomainId, Domains, Graph, Node, NodeId, Op, Program, Role, TensorId, ValueId};
use std::collections::BTreeMap;

/// Products of a joint kernel at most: the planner decides about all of them in one step, whose size is a power of their
/// number.
const MOST: usize = 3;

impl Graph {
    /// Sets of two and more products that are one kernel wherever they read one value in one layout. Their columns are cut
    /// along one domain or along domains that cover it, so that the time of the kernel depends on one choice of shares.
    #[must_use]
    pub fn companions(&self, domains: &Domains) -> Vec<Vec<NodeId>> {
        let mut sets: BTreeMap<(TensorId, DomainId), Vec<NodeId>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(x) = self.multiplied(node) {
                let columns = domains.domain(node.output, 1);
                let key = (x, domains.lead(columns).unwrap_or(columns));
                sets.entry(key).or_default().push(NodeId(index as u32));
            }
        }
        let parts = sets.values().flat_map(|set| set.chunks(MOST));
        parts.filter(|set| set.len() > 1).map(<[NodeId]>::to_vec).collect()
    }

    /// What a product multiplies with a weight; `None` for any other node.
    fn multiplied(&self, node: &Node) -> Option<TensorId> {
        match (node.op, node.inputs.as_slice()) {
            (Op::Linear, &[x, weight]) if self[weight].role == Role::Weight => Some(x),
            _ => None,
        }
    }
}

impl Program {
    /// The joint kernels: instructions that follow each other, weights and caches aside, multiply one value and are
    /// companions.
    #[must_use]
    pub fn joint(&self, template: &Graph, domains: &Domains) -> Vec<Vec<usize>> {
        let sets = template.companions(domains);
        let mut kernels: Vec<Vec<usize>> = Vec::new();
        let mut open: Option<(usize, ValueId)> = None;
        for (index, made) in self.instructions.iter().enumerate() {
            let held = made.action == Action::Leaf && template[made.tensor].role != Role::Tokens;
            if held {
                continue;
            }
            let set = match made.action {
                Action::Compute(node) => sets.iter().position(|set| set.contains(&node)),
                _ => None,
            };
            let next = set.and_then(|set| Some((set, *made.inputs.first()?)));
            match kernels.last_mut() {
                Some(last) if next.is_some() && next == open => last.push(index),
                _ if next.is_some() => kernels.push(vec![index]),
                _ => {}
            }
            open = next;
        }
        kernels.retain(|kernel| kernel.len() > 1);
        kernels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Dim, Instruction, Layout};

    const ROWS: [Dim; 2] = [Dim::Tokens, Dim::Fixed(8)];

    /// Products of x with weights of these types, and one of something else.
    fn products(types: &[DType]) -> Graph {
        let mut graph = Graph::default();
        let x = graph.tensor("x", &ROWS, DType::F32, Role::Input);
        let mut last = x;
        for (place, &dtype) in types.iter().enumerate() {
            let weight = graph.tensor(format!("w{place}"), &[Dim::Fixed(8); 2], dtype, Role::Weight);
            let made = graph.apply(Op::Linear, &[x, weight], format!("p{place}"), &ROWS);
            last = graph.apply(Op::Add, &[last, made], format!("s{place}"), &ROWS);
        }
        let weight = graph.tensor("other", &[Dim::Fixed(8); 2], DType::F32, Role::Weight);
        graph.apply(Op::Linear, &[last, weight], "out", &ROWS);
        graph
    }

    fn sets(graph: &Graph) -> Vec<Vec<u32>> {
        let sets = graph.companions(&Domains::of(graph));
        sets.iter().map(|set| set.iter().map(|node| node.0).collect()).collect()
    }

    #[test]
    fn products_of_one_value_go_together_whatever_their_types() {
        assert_eq!(sets(&products(&[DType::F32, DType::Q6_K, DType::F16])), [[0, 2, 4]]);
        assert_eq!(sets(&products(&[DType::F32; 7])), [[0, 2, 4], [6, 8, 10]], "and a seventh by itself");
        assert!(sets(&products(&[DType::F32])).is_empty());
    }

    #[test]
    fn columns_that_are_cut_apart_keep_products_apart() {
        let mut graph = Graph::default();
        let x = graph.tensor("x", &ROWS, DType::F32, Role::Input);
        let product = |graph: &mut Graph, width: u64| {
            let weight = graph.tensor("", &[Dim::Fixed(width), Dim::Fixed(8)], DType::F32, Role::Weight);
            graph.apply(Op::Linear, &[x, weight], "", &[Dim::Tokens, Dim::Fixed(width)])
        };
        let [one, other] = [product(&mut graph, 8), product(&mut graph, 8)];
        assert!(sets(&graph).is_empty());
        graph.apply(Op::Add, &[one, other], "", &ROWS);
        assert_eq!(sets(&graph), [[0, 1]], "their sum cuts them alike");
    }

    #[test]
    fn a_product_with_a_value_is_none_of_them() {
        let mut graph = products(&[DType::F32, DType::F32]);
        let second = graph.nodes[2].inputs[1];
        graph.tensors[second.index()].role = Role::Value;
        assert!(sets(&graph).is_empty());
    }

    #[test]
    fn instructions_that_follow_each_other_are_one_kernel() {
        let graph = products(&[DType::F32, DType::F32]);
        let domains = Domains::of(&graph);
        let leaf = |tensor| Instruction { action: Action::Leaf, inputs: Vec::new(), tensor, layout: Layout::Whole };
        let of = |node: usize, inputs: [u32; 2]| Instruction {
            action: Action::Compute(NodeId(node as u32)),
            inputs: inputs.map(ValueId).to_vec(),
            tensor: graph.nodes[node].output,
            layout: Layout::Whole,
        };
        let weights = [0, 2].map(|node: usize| graph.nodes[node].inputs[1]);
        let start = [leaf(TensorId(0)), leaf(weights[0])];
        let program = |rest: &[Instruction]| Program { instructions: [&start, rest].concat() };
        let together = program(&[of(0, [0, 1]), leaf(weights[1]), of(2, [0, 3])]);
        assert_eq!(together.joint(&graph, &domains), [[2, 4]]);
        let apart = program(&[of(0, [0, 1]), of(1, [0, 2]), leaf(weights[1]), of(2, [0, 4])]);
        assert!(apart.joint(&graph, &domains).is_empty(), "a sum in between");
        let unlike = program(&[of(0, [0, 1]), leaf(weights[1]), of(2, [1, 3])]);
        assert!(unlike.joint(&graph, &domains).is_empty(), "two values");
    }
}
