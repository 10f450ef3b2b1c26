//! The logical model as a plan carries it.

use super::names::{ModelNames, SegmentNames};
use crate::{Layers, Link, PlanClass, PlanModel, PlanNode, PlanTensor};
use sailplan_ir::{Graph, Model};

/// The chain and its classes, each once, in order of first use.
pub(crate) fn plan_model(model: &Model, names: &ModelNames) -> PlanModel {
    let (mut chain, mut classes): (Vec<Link>, Vec<PlanClass>) = (Vec::new(), Vec::new());
    for (index, segment) in model.segments.iter().enumerate() {
        let named = names.segment(index);
        if classes.iter().all(|class| class.name != named.class) {
            classes.push(class(&model.class(segment.class).template, named));
        }
        if !extends(chain.last_mut(), named) {
            let layers = named.layer.map(|layer| Layers(layer..layer.saturating_add(1)));
            chain.push(Link { class: named.class.clone(), layers });
        }
    }
    let (name, digest, source) = (model.name.clone(), model.digest.clone(), model.source.clone());
    PlanModel { name, digest, source, chain, classes }
}

/// Takes the segment into the last link when it is the link's next layer.
fn extends(last: Option<&mut Link>, named: &SegmentNames) -> bool {
    let Some(Link { class, layers: Some(layers) }) = last else { return false };
    let next = *class == named.class && named.layer == Some(layers.0.end);
    layers.0.end += u32::from(next);
    next
}

fn class(template: &Graph, named: &SegmentNames) -> PlanClass {
    let tensors = template.tensors.iter().zip(&named.tensors).map(|(tensor, name)| PlanTensor {
        name: name.clone(),
        dims: tensor.axes.clone(),
        dtype: tensor.dtype,
        role: tensor.role,
    });
    let name = |tensor: sailplan_ir::TensorId| named.tensors[tensor.index()].clone();
    let nodes = template.nodes.iter().map(|node| PlanNode {
        op: node.op,
        inputs: node.inputs.iter().map(|&input| name(input)).collect(),
        out: name(node.output),
    });
    PlanClass { name: named.class.clone(), tensors: tensors.collect(), nodes: nodes.collect() }
}
