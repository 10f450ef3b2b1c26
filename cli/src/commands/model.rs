//! `model`: what a model file holds.

use super::{print, print_json};
use crate::args::ModelArg;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use sailplan_ir::{Model, Role, model_text};
use serde::Serialize;
use std::collections::BTreeMap;

/// `model --json`.
#[derive(Serialize)]
struct ModelSummary<'a> {
    name: &'a str,
    source: &'a str,
    digest: &'a str,
    trained_context: Option<u64>,
    layers: u32,
    parameters: u64,
    weight_bytes: u64,
    bytes_by_dtype: BTreeMap<String, u64>,
    kv_bytes_per_token: u64,
    classes: Vec<ClassSummary<'a>>,
}

#[derive(Serialize)]
struct ClassSummary<'a> {
    name: &'a str,
    segments: usize,
    operators: usize,
    weight_bytes: u64,
}

pub(crate) fn run(args: &ModelArg) -> Result<Ended, Failure> {
    let loaded = inputs::model(&args.model)?;
    if args.json {
        print_json(&summary(&loaded.model))?;
    } else {
        let types: Vec<String> = bytes_by_dtype(&loaded.model)
            .into_iter()
            .map(|(dtype, bytes)| format!("{dtype} {}", sailplan_ir::Bytes(bytes)))
            .collect();
        print(&model_text(&loaded.model));
        print(&format!("\nweights by type: {}\n", types.join(", ")));
        print(&format!("caches: {} bytes a token\n", kv_bytes(&loaded.model)));
    }
    Ok(Ended::Clean)
}

const ONE: sailplan_ir::Extents = sailplan_ir::Extents { tokens: 1, context: 1, outputs: 1 };

fn kv_bytes(model: &Model) -> u64 {
    model.graph.with_role(Role::Cache).map(|id| model.graph[id].bytes(ONE)).sum::<sailplan_ir::Bytes>().0
}

fn bytes_by_dtype(model: &Model) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for id in model.graph.with_role(Role::Weight) {
        let tensor = &model.graph[id];
        *sums.entry(tensor.dtype.to_string()).or_insert(0) += tensor.bytes(ONE).0;
    }
    sums
}

fn summary(model: &Model) -> ModelSummary<'_> {
    let class = |index: usize| {
        let class = &model.classes[index];
        let weights = class.template.with_role(Role::Weight).map(|id| class.template[id].bytes(ONE));
        ClassSummary {
            name: &class.name,
            segments: model.segments.iter().filter(|segment| segment.class.index() == index).count(),
            operators: class.template.nodes.len(),
            weight_bytes: weights.sum::<sailplan_ir::Bytes>().0,
        }
    };
    ModelSummary {
        name: &model.name,
        source: &model.source,
        digest: &model.digest,
        trained_context: model.trained_context,
        layers: model.layers(),
        parameters: model.parameters(),
        weight_bytes: model.weight_bytes().0,
        bytes_by_dtype: bytes_by_dtype(model),
        kv_bytes_per_token: kv_bytes(model),
        classes: (0..model.classes.len()).map(class).collect(),
    }
}
