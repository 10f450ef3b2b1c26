//! A form: one sharded program for one layer class, valid for every group size and every partition of its domains.
//! Values are families of local tensors, one per rank; a layout says how the family stands for the logical tensor.

use crate::{ClassId, DomainId, Domains, Graph, NodeId, TensorId, ValueId};
use std::collections::BTreeSet;
use std::fmt;

/// How a family of local tensors stands for one logical tensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Layout {
    /// Every rank holds all of it.
    Whole,
    /// Each rank holds its slice along this axis.
    Sharded(u8),
    /// The ranks' tensors add up to it.
    Partial,
    /// Each rank holds the rows that take one of its experts; its other rows are nothing, and are not read.
    Dispatched,
    /// The ranks' tensors add up to it, and the rows that take none of a rank's experts are zero there.
    Routed,
    /// The ranks' tensors are softmaxes, each over its own positions, from which it is merged.
    Unmerged,
    /// It is on the host.
    Host,
}

/// What makes a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// An input, a weight or a cache, held in the value's layout.
    Leaf,
    /// A node of the template, on local tensors.
    Compute(NodeId),
    /// Each rank keeps its slice of a whole value.
    Slice,
    /// All ranks exchange their slices.
    AllGather,
    /// All ranks add their partial sums.
    AllReduce,
    /// All ranks add their partial sums, each keeps its slice.
    ReduceScatter,
    /// All ranks send each of their rows to the ranks with an expert that it takes, by the gates that are the second operand.
    Dispatch,
    /// The ranks with an expert that a row takes send what it made of it back to the rank whose row it is, which adds all up;
    /// the second operand are the gates.
    Combine,
    /// All ranks merge their softmaxes, each keeps its slice.
    MergeScatter,
    /// The host takes the value: from one rank when whole, slice by slice when sharded.
    Collect,
}

/// One value of a program and how it is made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Instruction {
    /// What makes it.
    pub action: Action,
    /// From which values.
    pub inputs: Vec<ValueId>,
    /// The logical tensor of the template that it stands for.
    pub tensor: TensorId,
    /// How it stands for it.
    pub layout: Layout,
}

/// A sharded program: instructions in order; value i is made by instruction i, the last one is the result.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Program {
    /// The instructions.
    pub instructions: Vec<Instruction>,
}

impl Program {
    /// The result.
    #[must_use]
    pub fn output(&self) -> Option<&Instruction> {
        self.instructions.last()
    }

    /// What an instruction reads.
    pub fn inputs(&self, instruction: &Instruction) -> impl Iterator<Item = &Instruction> {
        instruction.inputs.iter().map(|input| &self.instructions[input.index()])
    }

    /// Weights and caches with the layouts they are held in.
    #[must_use]
    pub fn residents(&self) -> BTreeSet<(TensorId, Layout)> {
        let leaves = self.instructions.iter().filter(|instruction| instruction.action == Action::Leaf);
        leaves.map(|leaf| (leaf.tensor, leaf.layout)).collect()
    }
}

/// Both programs of one layer class over one layout of its weights and caches.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Form {
    /// The class.
    pub class: ClassId,
    /// The program for a chunk of the prompt.
    pub prefill: Program,
    /// The program for one token of each sequence.
    pub decode: Program,
}

impl Form {
    /// Weights and caches of both programs with the layouts they are held in.
    #[must_use]
    pub fn residents(&self) -> BTreeSet<(TensorId, Layout)> {
        self.prefill.residents().into_iter().chain(self.decode.residents()).collect()
    }

    /// Units of each domain that must stay together so that every sharded weight is cut at block borders of its type.
    #[must_use]
    pub fn granules(&self, graph: &Graph, domains: &Domains) -> Vec<u64> {
        let mut granules = vec![1; domains.count()];
        for (tensor, layout) in self.residents() {
            if let Layout::Sharded(axis) = layout {
                let domain = domains.domain(tensor, axis);
                let granule = block_granule(graph, domains, tensor, axis);
                granules[domain.index()] = crate::domain::lcm(granules[domain.index()], granule);
            }
        }
        granules
    }

    /// Domains that some value of either program is cut along.
    #[must_use]
    pub fn cut_domains(&self, domains: &Domains) -> BTreeSet<DomainId> {
        let instructions = self.prefill.instructions.iter().chain(&self.decode.instructions);
        instructions
            .filter_map(|made| match made.layout {
                Layout::Sharded(axis) => Some(domains.domain(made.tensor, axis)),
                _ => None,
            })
            .collect()
    }
}

/// Units that a cut along `axis` must keep together: only the last axis of a block-quantised tensor has blocks.
#[must_use]
pub fn block_granule(graph: &Graph, domains: &Domains, tensor: TensorId, axis: u8) -> u64 {
    let contiguous = usize::from(axis) + 1 == graph[tensor].axes.len();
    let block = graph[tensor].dtype.block();
    let per_unit = domains.elements_per_unit(graph, tensor, axis).max(1);
    if contiguous { crate::domain::lcm(per_unit, block) / per_unit } else { 1 }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Sharded(axis) => write!(f, "sharded({axis})"),
            Self::Partial => f.write_str("partial"),
            Self::Dispatched => f.write_str("dispatched"),
            Self::Routed => f.write_str("routed"),
            Self::Unmerged => f.write_str("unmerged"),
            Self::Host => f.write_str("host"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf => f.write_str("leaf"),
            Self::Compute(node) => write!(f, "{node}"),
            Self::Slice => f.write_str("slice"),
            Self::AllGather => f.write_str("all-gather"),
            Self::AllReduce => f.write_str("all-reduce"),
            Self::ReduceScatter => f.write_str("reduce-scatter"),
            Self::Dispatch => f.write_str("dispatch"),
            Self::Combine => f.write_str("combine"),
            Self::MergeScatter => f.write_str("merge-scatter"),
            Self::Collect => f.write_str("collect"),
        }
    }
}
