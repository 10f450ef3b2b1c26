//! The logical model, rebuilt from the plan: a checked graph for each class, and the chain with every weight and cache
//! under its own name.

use super::value::Value;
use super::{FILE, MAX_ALIKE, MAX_EXPANDED, problem};
use crate::{PlanClass, PlanModel, in_layer};
use sailplan_ir::{At, DType, Diagnostic, Diagnostics, Dim, Graph, Node, Op, Role, Tensor, TensorId, Verify};
use std::collections::BTreeMap;

/// What the programs must compute.
pub(crate) struct Logical {
    pub(crate) classes: Vec<Class>,
    pub(crate) segments: Vec<Segment>,
    /// Weights and caches.
    pub(crate) tensors: Vec<Known>,
    names: BTreeMap<String, u32>,
}

/// One structure.
pub(crate) struct Class {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    /// The value from the segment before.
    pub(crate) input: Option<u32>,
    pub(crate) output: u32,
    tokens: Option<u32>,
    /// For each tensor, the nodes whose first operand it is.
    consumers: Vec<Vec<u32>>,
}

/// One link of the chain.
pub(crate) struct Segment {
    pub(crate) class: usize,
    pub(crate) layer: Option<u32>,
    /// For each tensor of the class, its place in `Logical::tensors`.
    globals: Vec<Option<u32>>,
}

impl Segment {
    /// The weights and caches that it uses, by place in `Logical::tensors`.
    pub(crate) fn globals(&self) -> impl Iterator<Item = u32> + '_ {
        self.globals.iter().filter_map(|tensor| *tensor)
    }
}

/// A weight or a cache of the whole model.
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) dims: Vec<Dim>,
    pub(crate) dtype: DType,
    pub(crate) role: Role,
    /// The segment and the tensor that a cache belongs to; of a weight, the first.
    pub(crate) owner: (u32, u32),
}

/// What a kernel reads, as far as matching needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// A buffer's value, or a cache's.
    Value(Value),
    /// A weight, by its place in `Logical::tensors`.
    Weight(u32),
}

impl Logical {
    pub(crate) fn new(model: &PlanModel, cache: DType) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let mut index = BTreeMap::new();
        let mut classes = Vec::new();
        for (number, plan) in model.classes.iter().enumerate() {
            if index.insert(plan.name.as_str(), number).is_some() {
                problems.push(problem("model.classes", format!("two classes are called `{}`", plan.name)));
            }
            match class(plan, cache) {
                Ok(class) => classes.push(class),
                Err(found) => problems.0.extend(found.0),
            }
        }
        problems.into_result(())?;
        let mut logical = Self { classes, segments: Vec::new(), tensors: Vec::new(), names: BTreeMap::new() };
        logical.chain(model, &index)?;
        Ok(logical)
    }

    fn chain(&mut self, model: &PlanModel, index: &BTreeMap<&str, usize>) -> Result<(), Diagnostic> {
        let mut cost = 0_u64;
        for (number, link) in model.chain.iter().enumerate() {
            let place = format!("model.chain[{number}]");
            let class = *index
                .get(link.class.as_str())
                .ok_or_else(|| problem(&place, format!("no class is called `{}`", link.class)))?;
            let range = link.layers.as_ref().map(|layers| layers.0.clone());
            let count = range.as_ref().map_or(1, |range| u64::from(range.end.saturating_sub(range.start)));
            cost = cost.saturating_add(count.saturating_mul(1 + self.classes[class].graph.tensors.len() as u64));
            if count == 0 || cost > MAX_EXPANDED / 8 {
                return Err(problem(&place, "the layers are none, or too many"));
            }
            match range {
                Some(range) => range.into_iter().try_for_each(|layer| self.segment(class, Some(layer), &place))?,
                None => self.segment(class, None, &place)?,
            }
        }
        let last = self.segments.last().ok_or_else(|| problem("model.chain", "the chain is empty"))?;
        let class = &self.classes[last.class];
        if class.graph.tensors[class.output as usize].axes.first() != Some(&Dim::Outputs) {
            return Err(problem("model.chain", "the chain does not end in rows of logits"));
        }
        Ok(())
    }

    fn segment(&mut self, class: usize, layer: Option<u32>, place: &str) -> Result<(), Diagnostic> {
        let number = self.segments.len() as u32;
        self.joins(class).map_err(|reason| problem(place, reason))?;
        let count = self.classes[class].graph.tensors.len();
        let mut globals = Vec::with_capacity(count);
        for index in 0..count {
            let tensor = &self.classes[class].graph.tensors[index];
            globals.push(match tensor.role {
                Role::Weight | Role::Cache => {
                    let name = layer.map_or_else(|| tensor.name.clone(), |layer| in_layer(&tensor.name, layer));
                    let known = Known {
                        name,
                        dims: tensor.axes.clone(),
                        dtype: tensor.dtype,
                        role: tensor.role,
                        owner: (number, index as u32),
                    };
                    Some(self.global(known).map_err(|reason| problem(place, reason))?)
                }
                _ => None,
            });
        }
        self.segments.push(Segment { class, layer, globals });
        Ok(())
    }

    /// Weights may be shared, by name, when they are alike; caches may not.
    fn global(&mut self, known: Known) -> Result<u32, String> {
        if let Some(&index) = self.names.get(&known.name) {
            let other = &self.tensors[index as usize];
            let alike = other.dims == known.dims && other.dtype == known.dtype && other.role == known.role;
            return if alike && known.role == Role::Weight {
                Ok(index)
            } else {
                Err(format!("`{}` is a name of two tensors", known.name))
            };
        }
        let index = self.tensors.len() as u32;
        self.names.insert(known.name.clone(), index);
        self.tensors.push(known);
        Ok(index)
    }

    /// Whether a segment of this class can take what the chain gives so far.
    fn joins(&self, class: usize) -> Result<(), String> {
        let next = &self.classes[class];
        let Some(last) = self.segments.last() else {
            return match next.input {
                None if next.tokens.is_some() => Ok(()),
                _ => Err("the chain does not start with token ids".to_owned()),
            };
        };
        let before = &self.classes[last.class];
        let gives = &before.graph.tensors[before.output as usize];
        match next.input.map(|input| &next.graph.tensors[input as usize]) {
            Some(takes) if takes.axes == gives.axes && takes.dtype == gives.dtype && next.tokens.is_none() => Ok(()),
            _ => Err(format!("`{}` does not take what `{}` gives", next.name, before.name)),
        }
    }

    /// A weight or a cache by its own name.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The tensor that a cache becomes when the step's rows are appended.
    pub(crate) fn appended(&self, segment: u32, cache: u32) -> Option<u32> {
        let class = &self.classes[self.segments[segment as usize].class];
        let mut nodes = class.consumers[cache as usize].iter().map(|&node| &class.graph.nodes[node as usize]);
        nodes.find(|node| node.op.appends()).map(|node| node.output.0)
    }

    /// Whether what one tensor is to a segment the other is to another segment of the same class.
    pub(crate) fn stand_alike(&self, (segment, one): (u32, u32), (later, other): (u32, u32)) -> bool {
        let globals = |segment: u32| &self.segments[segment as usize].globals;
        globals(segment).iter().zip(globals(later)).all(|(a, b)| (*a == Some(one)) == (*b == Some(other)))
    }

    /// The token ids of the step.
    pub(crate) fn tokens(&self) -> Option<Value> {
        let class = &self.classes[self.segments.first()?.class];
        class.tokens.map(|tensor| Value::whole(0, tensor))
    }

    /// The logical tensor that a value stands for.
    pub(crate) fn tensor(&self, value: Value) -> &Tensor {
        &self.classes[self.segments[value.segment as usize].class].graph.tensors[value.tensor as usize]
    }

    /// Columns of a softmax over some positions, where the value that it is merged to has so many.
    pub(crate) fn unmerged(&self, value: Value, columns: u64) -> u64 {
        let class = &self.classes[self.segments[value.segment as usize].class];
        class.graph.unmerged(TensorId(value.tensor), columns)
    }

    /// The tensor's name with the layer it belongs to.
    pub(crate) fn name(&self, value: Value) -> String {
        let name = &self.tensor(value).name;
        match self.segments[value.segment as usize].layer {
            Some(layer) => format!("`{}` of layer {layer}", in_layer(name, layer)),
            None => format!("`{name}`"),
        }
    }

    /// The operator application that reads these: its segment and its node.
    pub(crate) fn application(&self, op: Op, reads: &[Read]) -> Option<(u32, &Node)> {
        let Some(&Read::Value(first)) = reads.first() else { return None };
        let here = self.applications(first.segment, first.tensor, op, reads);
        here.or_else(|| {
            let class = &self.classes[self.segments[first.segment as usize].class];
            let next = self.segments.get(first.segment as usize + 1).filter(|_| class.output == first.tensor)?;
            let input = self.classes[next.class].input?;
            self.applications(first.segment + 1, input, op, reads)
        })
    }

    fn applications(&self, segment: u32, first: u32, op: Op, reads: &[Read]) -> Option<(u32, &Node)> {
        let class = &self.classes[self.segments[segment as usize].class];
        let nodes = class.consumers[first as usize].iter().map(|&node| &class.graph.nodes[node as usize]);
        let mut fitting = nodes.filter(|node| {
            node.op == op
                && node.inputs.len() == reads.len()
                && node.inputs.iter().zip(reads).all(|(input, read)| self.reads(segment, *input, *read))
        });
        fitting.next().map(|node| (segment, node))
    }

    /// Whether what was read is this operand of this segment.
    fn reads(&self, segment: u32, operand: TensorId, read: Read) -> bool {
        let Segment { class, globals, .. } = &self.segments[segment as usize];
        match read {
            Read::Weight(global) => globals[operand.index()] == Some(global),
            Read::Value(value) if self.classes[*class].input == Some(operand.0) => {
                let output = |value: Value| self.classes[self.segments[value.segment as usize].class].output;
                value.segment.checked_add(1) == Some(segment) && output(value) == value.tensor
            }
            Read::Value(value) => value.segment == segment && value.tensor == operand.0,
        }
    }
}

/// The graph of a class, checked.
fn class(plan: &PlanClass, cache: DType) -> Result<Class, Diagnostics> {
    let place = format!("model.classes.{}", plan.name);
    let mut graph = Graph::default();
    let mut ids = BTreeMap::new();
    for tensor in &plan.tensors {
        let id = graph.tensor(tensor.name.clone(), &tensor.dims, tensor.dtype, tensor.role);
        if ids.insert(tensor.name.as_str(), id).is_some() {
            return Err(problem(place, format!("two tensors are called `{}`", tensor.name)).into());
        }
    }
    for node in &plan.nodes {
        let find = |name: &String| ids.get(name.as_str()).copied().ok_or_else(|| name.clone());
        let inputs: Result<Vec<TensorId>, String> = node.inputs.iter().map(find).collect();
        match (inputs, find(&node.out)) {
            (Ok(inputs), Ok(output)) => graph.nodes.push(Node { op: node.op, inputs, output }),
            (Err(name), _) | (_, Err(name)) => {
                return Err(problem(place, format!("no tensor is called `{name}`")).into());
            }
        }
    }
    let sound = graph.problems();
    if !sound.0.is_empty() {
        let placed = sound.0.into_iter().map(|found| found.at(FILE, At::Name(place.clone())));
        return Err(Diagnostics(placed.collect()));
    }
    indexed(&plan.name, graph.fuse(), cache).map_err(|reason| problem(place, reason).into())
}

fn indexed(name: &str, graph: Graph, cache: DType) -> Result<Class, String> {
    if let Some(tensor) = graph.tensors.iter().find(|tensor| tensor.role == Role::Cache && tensor.dtype != cache) {
        return Err(format!("cache `{}` is {}, the request says {cache}", tensor.name, tensor.dtype));
    }
    if let Some(node) = graph.nodes.iter().find(|node| !sensible(&graph, node)) {
        return Err(format!("{} makes `{}`, which no plan can hold", node.op.row().name, graph[node.output].name));
    }
    let only = |role: Role| {
        let mut all = graph.with_role(role);
        let first = all.next().map(|tensor| tensor.0);
        if all.next().is_some() { Err(format!("it takes more than one {role:?}")) } else { Ok(first) }
    };
    let (input, tokens) = (only(Role::Input)?, only(Role::Tokens)?);
    let output = graph.output().ok_or("it makes nothing")?.0;
    let mut consumers = vec![Vec::new(); graph.tensors.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Some(first) = node.inputs.first() {
            consumers[first.index()].push(index as u32);
        }
    }
    if consumers.iter().any(|alike| alike.len() > MAX_ALIKE) {
        return Err(format!("more than {MAX_ALIKE} operators have the same first operand"));
    }
    Ok(Class { name: name.to_owned(), graph, input, output, tokens, consumers })
}

/// An append keeps a cache's type, every other operator makes F32 of at most two axes from finite constants.
fn sensible(graph: &Graph, node: &Node) -> bool {
    let output = &graph[node.output];
    let finite = match node.op {
        Op::RmsNorm { epsilon } | Op::HeadNorm { epsilon, .. } => epsilon.0.is_finite(),
        Op::Rope { base, .. } => base.0.is_finite(),
        _ => true,
    };
    let first = node.inputs.first().map(|&input| &graph[input]);
    let appended = |cache: &Tensor| cache.role == Role::Cache && cache.dtype == output.dtype;
    let kept = if node.op.appends() { first.is_some_and(appended) } else { output.dtype == DType::F32 };
    finite && kept && output.axes.len() == 2 && output.role == Role::Value
}
