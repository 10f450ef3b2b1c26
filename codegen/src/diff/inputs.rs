//! What two plans were made from, the fleet apart: program, model, request.

use super::{Class, Found, What};
use crate::{Plan, PlanClass, PlanModel, write};
use sailplan_ir::{DType, Request, Role};
use std::collections::BTreeMap;

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    model(&old.model, &new.model, found);
    request(&old.request, &new.request, found);
    field(found, Class::Cosmetic, "made_by", [&old.made_by, &new.made_by]);
    field(found, Class::Cosmetic, "version", [old.version, new.version]);
    if old.request.objective == new.request.objective {
        field(found, Class::WrongTarget, "objective", [old.objective, new.objective]);
    }
}

/// A field with other text.
pub(crate) fn field<T: ToString>(found: &mut Found, class: Class, name: &str, [old, new]: [T; 2]) {
    let (old, new) = (old.to_string(), new.to_string());
    if old != new {
        let what = What::Input { field: name.to_owned(), old: Some(old), new: Some(new), sails: Vec::new() };
        found.push(class, what);
    }
}

fn request(old: &Request, new: &Request, found: &mut Found) {
    // Every field by name: a new one cannot be forgotten.
    let Request { prompt, generate, batch, context, chunk, wire, cache, objective, in_flight } = *new;
    let class = Class::WrongTarget;
    field(found, class, "request.prompt", [old.prompt, prompt]);
    field(found, class, "request.generate", [old.generate, generate]);
    field(found, class, "request.batch", [old.batch, batch]);
    field(found, class, "request.context", [old.context, context]);
    field(found, class, "request.chunk", [old.chunk, chunk]);
    field(found, class, "request.wire", [write::leaf(&old.wire), write::leaf(&wire)]);
    field(found, class, "request.cache", [old.cache, cache]);
    field(found, class, "request.objective", [old.objective, objective]);
    // The planner's choice: it follows the number of stages.
    field(found, Class::Moved, "request.in_flight", [old.in_flight, in_flight]);
}

fn model(old: &PlanModel, new: &PlanModel, found: &mut Found) {
    let PlanModel { name, digest, source, chain, classes } = new;
    let another = old.digest != *digest;
    let named = if another { Class::WrongTarget } else { Class::Cosmetic };
    field(found, named, "model.name", [&old.name, name]);
    field(found, Class::Cosmetic, "model.source", [&old.source, source]);
    field(found, Class::WrongTarget, "model.layers", [layers(old), layers(new)]);
    for ((old, new), count) in retyped(old, new) {
        let name = format!("type of {count} tensor{}", if count == 1 { "" } else { "s" });
        field(found, Class::WrongTarget, &name, [old, new]);
    }
    field(found, Class::WrongTarget, "model.digest", [&old.digest, digest]);
    if !another && (old.chain != *chain || untyped(&old.classes) != untyped(classes)) {
        let what = What::Input { field: "model.graph".to_owned(), old: None, new: None, sails: Vec::new() };
        found.push(Class::WrongTarget, what);
    }
}

fn layers(model: &PlanModel) -> usize {
    model.chain.iter().filter_map(|link| link.layers.as_ref()).map(|layers| layers.0.len()).sum()
}

/// The classes without the types of weights and caches: those have causes of their own.
fn untyped(classes: &[PlanClass]) -> Vec<PlanClass> {
    let mut classes = classes.to_vec();
    let tensors = classes.iter_mut().flat_map(|class| &mut class.tensors);
    let typed = tensors.filter(|tensor| matches!(tensor.role, Role::Weight | Role::Cache));
    typed.for_each(|tensor| tensor.dtype = DType::F32);
    classes
}

/// Weights of the whole model with their types.
fn weights(model: &PlanModel) -> BTreeMap<String, DType> {
    let mut all = BTreeMap::new();
    for link in &model.chain {
        let class = model.classes.iter().find(|class| class.name == link.class);
        let tensors = class.into_iter().flat_map(|class| &class.tensors);
        for tensor in tensors.filter(|tensor| tensor.role == Role::Weight) {
            let range = link.layers.as_ref().map(|layers| layers.0.clone());
            match range {
                Some(range) => all.extend(range.map(|layer| (crate::in_layer(&tensor.name, layer), tensor.dtype))),
                None => drop(all.insert(tensor.name.clone(), tensor.dtype)),
            }
        }
    }
    all
}

/// How many tensors have which other type.
fn retyped(old: &PlanModel, new: &PlanModel) -> BTreeMap<(DType, DType), usize> {
    let after = weights(new);
    let mut count = BTreeMap::new();
    for (name, before) in weights(old) {
        match after.get(&name) {
            Some(&dtype) if dtype != before => *count.entry((before, dtype)).or_default() += 1,
            _ => {}
        }
    }
    count
}
