//! Which parts of weights and caches cards hold, and what they have to be sent anew.

use super::layers::{by_sail, runs};
use super::{Class, Found, Held, What};
use crate::{Plan, Resident, SailPlan, Slice, tensor_name};
use sailplan_ir::{Dim, SailId};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor of the plan's model, and the layer when `{layer}` stands in its name.
type Key<'a> = (&'a str, Option<u32>);

/// Who holds what of each tensor, in order of cards.
type Deals<'a> = BTreeMap<Key<'a>, Vec<Held>>;

/// Both deals of some tensors.
type Pair<'a> = (&'a Vec<Held>, &'a Vec<Held>);

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    dealt(old, new, found);
    let resent = new.sails.iter().map(|sail| (sail.sail, resend(old, new, sail)));
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

/// Bytes of the card's weights that it does not hold under the old plan. Of another model nothing is kept: its weights may
/// have the same names and shapes and other values.
fn resend(old: &Plan, new: &Plan, sail: &SailPlan) -> u64 {
    let same_model = old.model.digest == new.model.digest;
    let card = |id: SailId| old.sails.iter().find(|other| other.sail == id).filter(|_| same_model);
    let mut kept: BTreeMap<Key<'_>, Vec<&Resident>> = BTreeMap::new();
    for resident in card(sail.sail).iter().flat_map(|card| &card.weights).filter(|resident| !resident.streamed) {
        keys(resident).into_iter().for_each(|key| kept.entry(key).or_default().push(resident));
    }
    let extents = extents(new);
    let missing = |resident: &Resident, key: Key<'_>| {
        let here = kept.get(&key).into_iter().flatten().filter(|other| other.dtype == resident.dtype);
        let dims = extents.get(key.0).map_or(&[][..], |dims| dims);
        // The largest piece alone counts: several may overlap.
        let covered = here.map(|other| covered(resident, other.slice, dims)).max().unwrap_or(0);
        resident.bytes.0.saturating_sub(covered)
    };
    let resident = sail.weights.iter().filter(|resident| !resident.streamed);
    let all = resident.flat_map(|resident| keys(resident).into_iter().map(move |key| (resident, key)));
    all.map(|(resident, key)| missing(resident, key)).fold(0, u64::saturating_add)
}

/// Sizes of each weight.
fn extents(plan: &Plan) -> BTreeMap<&str, &[Dim]> {
    let tensors = plan.model.classes.iter().flat_map(|class| &class.tensors);
    tensors.map(|tensor| (tensor.name.as_str(), tensor.dims.as_slice())).collect()
}

/// How many of a resident's bytes another slice of the same tensor has, rounded down.
fn covered(resident: &Resident, other: Slice, dims: &[Dim]) -> u64 {
    let (mut common, mut all) = (1_u128, 1_u128);
    for (axis, dim) in dims.iter().enumerate() {
        let size = dim.fixed().unwrap_or(1);
        let (mine, theirs) = (along(resident.slice, axis, size), along(other, axis, size));
        let both = mine.1.min(theirs.1).saturating_sub(mine.0.max(theirs.0));
        common = common.saturating_mul(u128::from(both));
        all = all.saturating_mul(u128::from(mine.1.saturating_sub(mine.0)));
    }
    let bytes = u128::from(resident.bytes.0).saturating_mul(common).checked_div(all).unwrap_or(0);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// First and one past the last element along an axis.
fn along(slice: Slice, wanted: usize, size: u64) -> (u64, u64) {
    match slice {
        Slice::Cut { axis, start, end } if usize::from(axis) == wanted => (start, end),
        _ => (0, size),
    }
}
