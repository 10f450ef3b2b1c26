//! The model that a plan carries, as the planner takes it: the chain's segments one behind the other, each a copy of its
//! class. What comes out is checked against the plan.

use crate::outcome::Failure;
use sailplan_codegen::{Link, Plan, PlanClass, check_model, in_layer};
use sailplan_ir::{Diagnostic, Graph, Model, Node, Role, TensorId, Verified, Verify};
use std::collections::BTreeMap;

/// The model, under the name and digest that the plan gives.
///
/// # Errors
/// The chain does not come out as the plan has it: the model's file is needed.
pub(crate) fn model_of(plan: &Plan) -> Result<Verified<Model>, Failure> {
    let unclear = |reason: String| -> Failure {
        let problem = Diagnostic::new(format!("the plan alone does not tell the model: {reason}"));
        problem.hint("give the model as well: --model MODEL, or MODEL after compile").into()
    };
    let graph = graph(plan).ok_or_else(|| unclear("a segment has no class or no input".to_owned()))?;
    let model = sailplan_models::from_graph(&plan.model.name, graph).map_err(|why| unclear(why.to_string()))?;
    let (source, digest) = (plan.model.source.clone(), plan.model.digest.clone());
    let model = Model { source, digest, ..model.into_inner() }.verify()?;
    let problems = check_model(plan, &model);
    if problems.0.is_empty() { Ok(model) } else { Err(unclear(problems.to_string())) }
}

/// All segments, joined where the result of one enters the next.
fn graph(plan: &Plan) -> Option<Graph> {
    let class = |name: &str| plan.model.classes.iter().find(|class| class.name == name);
    let segments: Option<Vec<(&PlanClass, Option<u32>)>> =
        plan.model.chain.iter().flat_map(layers).map(|(name, layer)| Some((class(name)?, layer))).collect();
    let segments = segments?;
    let mut joined = Joined::default();
    for (index, &(class, layer)) in segments.iter().enumerate() {
        let next = segments.get(index + 1).and_then(|(class, _)| entering(class));
        joined.segment(class, layer, next)?;
    }
    Some(joined.graph)
}

/// One entry for each segment of a link.
fn layers(link: &Link) -> Vec<(&str, Option<u32>)> {
    match &link.layers {
        Some(layers) => layers.0.clone().map(|layer| (link.class.as_str(), Some(layer))).collect(),
        None => vec![(link.class.as_str(), None)],
    }
}

/// The name of the value that a class takes.
fn entering(class: &PlanClass) -> Option<&str> {
    class.tensors.iter().find(|tensor| tensor.role == Role::Input).map(|tensor| tensor.name.as_str())
}

/// Segments so far; leaves that several segments name are one tensor.
#[derive(Default)]
struct Joined {
    graph: Graph,
    leaves: BTreeMap<String, TensorId>,
    last: Option<TensorId>,
}

impl Joined {
    /// The result goes by the name that the next segment has for it.
    fn segment(&mut self, class: &PlanClass, layer: Option<u32>, next: Option<&str>) -> Option<()> {
        let result = class.nodes.last().map(|node| node.out.as_str());
        let mut known: BTreeMap<&str, TensorId> = BTreeMap::new();
        for tensor in &class.tensors {
            let own = || layer.map_or_else(|| tensor.name.clone(), |layer| in_layer(&tensor.name, layer));
            let (name, role) = match tensor.role {
                Role::Value if Some(tensor.name.as_str()) == result => {
                    (next.map_or_else(own, str::to_owned), Role::Value)
                }
                role => (own(), role),
            };
            let id = match role {
                Role::Input => self.last?,
                Role::Value => self.graph.tensor(name, &tensor.dims, tensor.dtype, role),
                _ => *self
                    .leaves
                    .entry(name)
                    .or_insert_with_key(|name| self.graph.tensor(name.clone(), &tensor.dims, tensor.dtype, role)),
            };
            known.insert(&tensor.name, id);
        }
        for node in &class.nodes {
            let inputs: Option<Vec<TensorId>> =
                node.inputs.iter().map(|name| known.get(name.as_str()).copied()).collect();
            let output = *known.get(node.out.as_str())?;
            self.graph.nodes.push(Node { op: node.op, inputs: inputs?, output });
            self.last = Some(output);
        }
        Some(())
    }
}
