//! Where segments run: stages, and the group of each layer.

use super::layers::runs;
use super::{Class, Found, Part, StageOf, What};
use crate::{Plan, Resident, SailPlan, tensor_name};
use sailplan_ir::{Role, SailId};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    let (before, after) = (stages(old), stages(new));
    let of_replica = |stages: &[StageOf], replica: u32| -> Vec<StageOf> {
        stages.iter().filter(|stage| stage.replica == replica).cloned().collect()
    };
    let replicas = |stages: &[StageOf]| stages.iter().map(|stage| stage.replica).collect::<BTreeSet<u32>>();
    for &replica in replicas(&before).intersection(&replicas(&after)) {
        let from = homes(old, &of_replica(&before, replica));
        moved(&from, &homes(new, &of_replica(&after, replica)), found);
    }
    if before != after {
        found.push(Class::Moved, What::Stages { old: before, new: after });
    }
}

fn moved(from: &Homes, to: &Homes, found: &mut Found) {
    for (name, group) in &from.named {
        if let Some(other) = to.named.get(name).filter(|other| *other != group) {
            let part = Part::Named(name.clone());
            found.push(Class::Moved, What::Home { part, old: group.clone(), new: other.clone() });
        }
    }
    let pairs = from.layers.iter().filter_map(|(layer, group)| Some((*layer, (group, to.layers.get(layer)?))));
    for (layers, (old, new)) in runs(pairs.filter(|(_, (old, new))| old != new).collect()) {
        let part = Part::Layers(layers);
        found.push(Class::Moved, What::Home { part, old: old.clone(), new: new.clone() });
    }
}

/// Every card's stage and group, each pair once.
fn stages(plan: &Plan) -> Vec<StageOf> {
    let mut stages: Vec<StageOf> = Vec::new();
    for sail in &plan.sails {
        let stage = StageOf { replica: sail.replica, stage: sail.stage, group: sail.group.clone() };
        if !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    stages.sort_by_key(|stage| stage.stage);
    stages
}

/// The group of each layer and of each other segment.
#[derive(Default)]
struct Homes {
    layers: BTreeMap<u32, Vec<SailId>>,
    named: BTreeMap<String, Vec<SailId>>,
}

/// What a stage holds: tensors of no layer, and layers of the others.
type Holdings<'a> = BTreeSet<(&'a str, Option<u32>)>;

/// A segment is at home in the stage that holds most of its weights and caches; of several, in the first: a table that
/// embedding and head share is held by both.
fn homes(plan: &Plan, stages: &[StageOf]) -> Homes {
    let held: Vec<Holdings<'_>> = stages.iter().map(|stage| holdings(plan, stage)).collect();
    let mut homes = Homes::default();
    for link in &plan.model.chain {
        let class = plan.model.classes.iter().find(|class| class.name == link.class);
        let tensors = class.into_iter().flat_map(|class| &class.tensors);
        let names: Vec<&str> = tensors
            .filter(|tensor| matches!(tensor.role, Role::Weight | Role::Cache))
            .map(|tensor| tensor.name.as_str())
            .collect();
        let home = |layer: Option<u32>| {
            let count = |held: &Holdings<'_>| names.iter().filter(|name| held.contains(&(**name, layer))).count();
            let most = held.iter().map(count).max().unwrap_or(0);
            let first = held.iter().position(|held| count(held) == most).filter(|_| most > 0);
            first.map(|index| stages[index].group.clone()).unwrap_or_default()
        };
        match &link.layers {
            Some(layers) => homes.layers.extend(layers.0.clone().map(|layer| (layer, home(Some(layer))))),
            None => drop(homes.named.insert(link.class.clone(), home(None))),
        }
    }
    homes
}

fn holdings<'a>(plan: &'a Plan, stage: &StageOf) -> Holdings<'a> {
    let sails = plan.sails.iter().filter(|sail| sail.stage == stage.stage && sail.group == stage.group);
    sails.flat_map(residents).flat_map(of_layers).collect()
}

/// Weights and caches of a card.
fn residents(sail: &SailPlan) -> impl Iterator<Item = &Resident> {
    sail.weights.iter().chain(&sail.caches)
}

fn of_layers(resident: &Resident) -> Vec<(&str, Option<u32>)> {
    let name = tensor_name(&resident.name);
    match &resident.layers {
        Some(layers) => layers.0.clone().map(|layer| (name, Some(layer))).collect(),
        None => vec![(name, None)],
    }
}
