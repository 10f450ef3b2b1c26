//! The model graph: tensors with symbolic axes and operator applications in topological order. It knows nothing of
//! devices.

use crate::{Bytes, DType, NodeId, Op, RowShare, TensorId};
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The extent of one axis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Dim {
    /// A number known from the model.
    Fixed(u64),
    /// Tokens in this step, of all sequences: bound at replay.
    Tokens,
    /// Positions held by a cache, of all sequences: bound at replay.
    Context,
    /// Rows of logits wanted, one per sequence.
    Outputs,
    /// A part of the tokens in this step: rows of a buffer that holds a slice, never of a model.
    Part(RowShare),
}

/// What the symbolic axes stand for in one step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Extents {
    /// Value of [`Dim::Tokens`].
    pub tokens: u64,
    /// Value of [`Dim::Context`].
    pub context: u64,
    /// Value of [`Dim::Outputs`].
    pub outputs: u64,
}

impl Dim {
    /// The number this axis has in a step.
    #[must_use]
    pub fn size(self, extents: Extents) -> u64 {
        match self {
            Self::Part(share) => share.count(extents.tokens),
            Self::Fixed(size) => size,
            Self::Tokens => extents.tokens,
            Self::Context => extents.context,
            Self::Outputs => extents.outputs,
        }
    }

    /// The largest number that this axis has in any step up to these extents.
    #[must_use]
    pub fn most(self, extents: Extents) -> u64 {
        match self {
            Self::Part(share) => share.most(extents.tokens),
            other => other.size(extents),
        }
    }

    /// The number, when it does not depend on the step.
    #[must_use]
    pub const fn fixed(self) -> Option<u64> {
        match self {
            Self::Fixed(size) => Some(size),
            _ => None,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Tokens => f.write_str("tokens"),
            Self::Context => f.write_str("context"),
            Self::Outputs => f.write_str("outputs"),
            Self::Part(share) => write!(f, "tokens {share}"),
        }
    }
}

/// Where a tensor comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Token ids, from the host.
    Tokens,
    /// A parameter of the model, stored by rows: the last axis is contiguous.
    Weight,
    /// State that persists from step to step.
    Cache,
    /// The value that enters a layer class from the segment before it.
    Input,
    /// The result of a node.
    Value,
}

/// One tensor.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tensor {
    /// Name in the source file, or made from the layer and the role.
    pub name: String,
    /// Extents, outermost first.
    pub axes: Vec<Dim>,
    /// Element type.
    pub dtype: DType,
    /// Where it comes from.
    pub role: Role,
}

impl Tensor {
    /// Elements in a step, saturating.
    #[must_use]
    pub fn elements(&self, extents: Extents) -> u64 {
        self.axes.iter().fold(1, |product, axis| product.saturating_mul(axis.size(extents)))
    }

    /// Bytes in a step. Partial blocks count as whole ones; overflow saturates.
    #[must_use]
    pub fn bytes(&self, extents: Extents) -> Bytes {
        let blocks = self.elements(extents).div_ceil(self.dtype.block());
        Bytes(blocks.saturating_mul(self.dtype.block_bytes()))
    }
}

/// One operator application.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// The operator.
    pub op: Op,
    /// Operands, in the order of the operator's signature.
    pub inputs: Vec<TensorId>,
    /// The result.
    pub output: TensorId,
}

/// A directed acyclic graph of operators; nodes stand in topological order (checked by `verify`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Graph {
    /// All tensors.
    pub tensors: Vec<Tensor>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// Operators that may do the work of several nodes ([`Self::fuse`]).
    pub(crate) fused: Vec<Node>,
}

impl Graph {
    /// Adds a tensor.
    pub fn tensor(&mut self, name: impl Into<String>, axes: &[Dim], dtype: DType, role: Role) -> TensorId {
        self.tensors.push(Tensor { name: name.into(), axes: axes.to_vec(), dtype, role });
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// Applies an operator; the output is an F32 value of the given shape.
    pub fn apply(&mut self, op: Op, inputs: &[TensorId], name: impl Into<String>, axes: &[Dim]) -> TensorId {
        let output = self.tensor(name, axes, DType::F32, Role::Value);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), output });
        output
    }

    /// The node that makes `tensor`; `None` for leaves.
    #[must_use]
    pub fn producer(&self, tensor: TensorId) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.output == tensor).map(|index| NodeId(index as u32))
    }

    /// Columns of a softmax over some positions, where the value that it is merged to has so many.
    #[must_use]
    pub fn unmerged(&self, tensor: TensorId, columns: u64) -> u64 {
        self.producer(tensor).map_or(columns, |node| self[node].op.unmerged(columns))
    }

    /// The last node's output: what the graph is for.
    #[must_use]
    pub fn output(&self) -> Option<TensorId> {
        self.nodes.last().map(|node| node.output)
    }

    /// Tensors with a role, in id order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = TensorId> {
        (0..self.tensors.len())
            .filter(move |&index| self.tensors[index].role == role)
            .map(|index| TensorId(index as u32))
    }

    /// The graph of nodes; an edge carries the tensor that flows. Node `i` has index `i`.
    #[must_use]
    pub fn dataflow(&self) -> DiGraph<NodeId, TensorId> {
        let mut flow = DiGraph::with_capacity(self.nodes.len(), self.nodes.len() * 2);
        let mut producer = vec![None; self.tensors.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let here = flow.add_node(NodeId(index as u32));
            for &input in &node.inputs {
                if let Some(from) = producer.get(input.index()).copied().flatten() {
                    flow.add_edge(from, here, input);
                }
            }
            if let Some(slot) = producer.get_mut(node.output.index()) {
                *slot = Some(NodeIndex::new(index));
            }
        }
        flow
    }
}

impl std::ops::Index<TensorId> for Graph {
    type Output = Tensor;
    fn index(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }
}

impl std::ops::Index<NodeId> for Graph {
    type Output = Node;
    fn index(&self, id: NodeId) -> &Node {
        self.nodes.get(id.index()).unwrap_or_else(|| &self.fused[id.index() - self.nodes.len()])
    }
}
