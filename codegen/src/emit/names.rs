//! Names of the logical model in a plan: unique inside a class, with `{layer}` where a class's segments follow a
//! pattern, and one class for each segment where they do not.

use sailplan_ir::{Graph, Model, Role, TensorId};
use std::collections::BTreeSet;

/// The name of every segment's class in the plan, and of every tensor of that class.
pub(crate) struct ModelNames {
    segments: Vec<SegmentNames>,
}

/// How a segment is named in the plan.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SegmentNames {
    /// The plan's class.
    pub(crate) class: String,
    /// The layer that `{layer}` stands for in `tensors`.
    pub(crate) layer: Option<u32>,
    /// One for each tensor of the template.
    pub(crate) tensors: Vec<String>,
}

impl ModelNames {
    pub(crate) fn new(model: &Model) -> Self {
        let mut taken: BTreeSet<String> = model.classes.iter().map(|class| class.name.clone()).collect();
        let mut segments = Vec::new();
        for (index, segment) in model.segments.iter().enumerate() {
            let class = model.class(segment.class);
            segments.push(if class.patterned {
                let tensors = tensors(&class.template, |tensor| class.template[tensor].name.clone());
                SegmentNames { class: class.name.clone(), layer: segment.layer, tensors }
            } else {
                let own = |tensor: TensorId| model.graph[segment.tensors[tensor.index()]].name.clone();
                let class = unique(&mut taken, format!("{}.{index}", class.name));
                SegmentNames { class, layer: None, tensors: tensors(&model.class(segment.class).template, own) }
            });
        }
        Self { segments }
    }

    pub(crate) fn segment(&self, index: usize) -> &SegmentNames {
        &self.segments[index]
    }
}

/// Weights and caches keep their names; a value that has another tensor's name is numbered.
fn tensors(template: &Graph, own: impl Fn(TensorId) -> String) -> Vec<String> {
    let ids = || (0..template.tensors.len()).map(|index| TensorId(index as u32));
    let resident = |tensor: TensorId| matches!(template[tensor].role, Role::Weight | Role::Cache);
    let mut taken: BTreeSet<String> = ids().filter(|&tensor| resident(tensor)).map(&own).collect();
    ids().map(|tensor| if resident(tensor) { own(tensor) } else { unique(&mut taken, own(tensor)) }).collect()
}

/// The name itself, or the first of `name.2`, `name.3`, … that is free.
pub(crate) fn unique(taken: &mut BTreeSet<String>, name: String) -> String {
    let mut candidate = name.clone();
    let mut number = 2_u64;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}.{number}");
        number += 1;
    }
    candidate
}
