//! A model: its graph, cut into a chain of segments (embedding, layers, head) that are grouped into classes of equal
//! structure. The planner works on classes; the chain says in which order they run.

use crate::{Bytes, ClassId, DType, Extents, Graph, Role, TensorId};

/// A model as every stage after the front ends sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    /// Short name, from the file or its metadata.
    pub name: String,
    /// What was read: `gguf`, `ron`, …
    pub source: String,
    /// SHA-256 over what planning depends on: names, shapes, types, operators.
    pub digest: String,
    /// Longest context the model was made for, when the file says.
    pub trained_context: Option<u64>,
    /// The whole graph.
    pub graph: Graph,
    /// The chain, in order of execution. Each segment takes one value from the segment before it.
    pub segments: Vec<Segment>,
    /// Structures that segments share.
    pub classes: Vec<LayerClass>,
}

/// One link of the chain: a copy of its class's template with its own tensors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The structure.
    pub class: ClassId,
    /// Position among the layers (segments that hold state); `None` for the embedding and the head.
    pub layer: Option<u32>,
    /// For each tensor of the template, this segment's tensor in the model graph.
    pub tensors: Vec<TensorId>,
}

/// One structure: operators, sizes and types, without the layer's own names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerClass {
    /// Name for people: `embed`, `layer`, `head`, with a suffix when there are several of a kind.
    pub name: String,
    /// The operators of one segment. Tensor names have `{layer}` where the layer's number stands, if all segments of
    /// the class follow that pattern (`patterned`); otherwise they are the first segment's.
    pub template: Graph,
    /// Whether replacing `{layer}` gives every segment's own tensor names.
    pub patterned: bool,
}

impl Model {
    /// The class of a segment.
    #[must_use]
    pub fn class(&self, id: ClassId) -> &LayerClass {
        &self.classes[id.index()]
    }

    /// Number of layers: segments that hold state.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.segments.iter().filter(|segment| segment.layer.is_some()).count() as u32
    }

    /// Bytes of all weights, each stored once.
    #[must_use]
    pub fn weight_bytes(&self) -> Bytes {
        let none = Extents { tokens: 0, context: 0, outputs: 0 };
        self.graph.with_role(Role::Weight).map(|id| self.graph[id].bytes(none)).sum()
    }

    /// Parameters: elements of all weights.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let none = Extents { tokens: 0, context: 0, outputs: 0 };
        self.graph.with_role(Role::Weight).fold(0, |sum, id| sum.saturating_add(self.graph[id].elements(none)))
    }

    /// The same model with caches of another element type (the graph's default is F32).
    #[must_use]
    pub fn with_cache_dtype(mut self, dtype: DType) -> Self {
        retype_caches(&mut self.graph, dtype);
        for class in &mut self.classes {
            retype_caches(&mut class.template, dtype);
        }
        self
    }

    /// The same model with its matrices in another type, where whole blocks fill their rows and the bytes become fewer.
    /// Matrices in F32 stay so unless all are. The digest stays that of the file.
    #[must_use]
    pub fn with_weight_dtype(mut self, dtype: DType) -> Self {
        let all = self.graph.with_role(Role::Weight).all(|id| {
            let tensor = &self.graph[id];
            tensor.axes.len() < 2 || tensor.dtype == DType::F32
        });
        retype_weights(&mut self.graph, dtype, all);
        for class in &mut self.classes {
            retype_weights(&mut class.template, dtype, all);
        }
        self
    }
}

fn retype_weights(graph: &mut Graph, dtype: DType, all: bool) {
    for tensor in graph.tensors.iter_mut().filter(|tensor| tensor.role == Role::Weight && tensor.axes.len() > 1) {
        let row = tensor.axes.last().and_then(|axis| axis.fixed()).unwrap_or(0);
        let fewer = dtype.block_bytes() * tensor.dtype.block() < tensor.dtype.block_bytes() * dtype.block();
        if row.is_multiple_of(dtype.block()) && fewer && (all || tensor.dtype != DType::F32) {
            tensor.dtype = dtype;
        }
    }
}

/// A cache's type is also the type of what appending to it returns.
fn retype_caches(graph: &mut Graph, dtype: DType) {
    for tensor in &mut graph.tensors {
        if tensor.role == Role::Cache {
            tensor.dtype = dtype;
        }
    }
    for node in 0..graph.nodes.len() {
        if graph.nodes[node].op.appends() {
            let output = graph.nodes[node].output;
            graph.tensors[output.index()].dtype = dtype;
        }
    }
}
