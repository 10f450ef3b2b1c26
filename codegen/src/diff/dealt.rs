//! Which parts of weights and caches cards hold, and what they have to be sent anew.

use super::layers::{by_sail, runs};
use super::{Class, Found, Held, What};
use crate::moves::missing;
use crate::{Plan, Resident, tensor_name};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor of the plan's model, and the layer when `{layer}` stands in its name.
type Key<'a> = (&'a str, Option<u32>);

/// Who holds what of each tensor, in order of cards.
type Deals<'a> = BTreeMap<Key<'a>, Vec<Held>>;

/// Both deals of some tensors.
type Pair<'a> = (&'a Vec<Held>, &'a Vec<Held>);

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    dealt(old, new, found);
    let resent = missing(old, new).into_iter().map(|(sail, bytes)| (sail, bytes.0));
    for (sails, bytes) in by_sail(resent.filter(|(_, bytes)| *bytes > 0)) {
        found.push(Class::Moved, What::Resend { sails, bytes });
    }
}

/// Tensors that are dealt alike before and after, with the same change, are one finding.
fn dealt(old: &Plan, new: &Plan, found: &mut Found) {
    let (before, after) = (deals(old), deals(new));
    let none = Vec::new();
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).map(|key| key.0).collect();
    let mut findings: Vec<(Vec<String>, Option<[u32; 2]>, Pair<'_>)> = Vec::new();
    for name in names {
        for (layers, pair) in unlike(name, (&before, &after), &none) {
            match findings.iter_mut().find(|one| one.1 == layers && one.2 == pair) {
                Some(one) => one.0.push(name.to_owned()),
                None => findings.push((vec![name.to_owned()], layers, pair)),
            }
        }
    }
    for (tensors, layers, (old, new)) in findings {
        found.push(Class::Moved, What::Dealt { tensors, layers, old: old.clone(), new: new.clone() });
    }
}

/// Where one tensor is dealt otherwise: runs of layers, or the tensor itself.
fn unlike<'a>(
    name: &'a str,
    (before, after): (&'a Deals<'a>, &'a Deals<'a>),
    none: &'a Vec<Held>,
) -> Vec<(Option<[u32; 2]>, Pair<'a>)> {
    let both = (name, None)..=(name, Some(u32::MAX));
    let keys: BTreeSet<Option<u32>> =
        before.range(both.clone()).chain(after.range(both)).map(|(key, _)| key.1).collect();
    let pairs = keys.into_iter().map(|layer| {
        let of = |deals: &'a Deals<'a>| deals.get(&(name, layer)).unwrap_or(none);
        (layer, (of(before), of(after)))
    });
    let (layered, alone): (Vec<_>, Vec<_>) =
        pairs.filter(|(_, (old, new))| old != new).partition(|one| one.0.is_some());
    let layered = layered.into_iter().filter_map(|(layer, pair)| Some((layer?, pair))).collect();
    let alone = alone.into_iter().map(|(_, pair)| (None, pair));
    alone.chain(runs(layered).into_iter().map(|(layers, pair)| (Some(layers), pair))).collect()
}

fn deals(plan: &Plan) -> Deals<'_> {
    let mut deals = Deals::new();
    for sail in &plan.sails {
        for resident in sail.weights.iter().chain(&sail.caches) {
            let held = Held { sail: sail.sail, slice: resident.slice, streamed: resident.streamed };
            keys(resident).into_iter().for_each(|key| deals.entry(key).or_default().push(held));
        }
    }
    deals.values_mut().for_each(|held| held.sort());
    deals
}

fn keys(resident: &Resident) -> Vec<Key<'_>> {
    let name = tensor_name(&resident.name);
    match &resident.layers {
        Some(layers) => layers.0.clone().map(|layer| (name, Some(layer))).collect(),
        None => vec![(name, None)],
    }
}
