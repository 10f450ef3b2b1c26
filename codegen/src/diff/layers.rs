//! Equal findings of neighbours as one: layers in a row, cards with the same change.

use sailplan_ir::SailId;
use std::collections::BTreeMap;

/// Findings of cards, each with all cards that have it, in order of the first card.
pub(crate) fn by_sail<T: PartialEq>(all: impl IntoIterator<Item = (SailId, T)>) -> Vec<(Vec<SailId>, T)> {
    let mut grouped: Vec<(Vec<SailId>, T)> = Vec::new();
    for (sail, found) in all {
        match grouped.iter_mut().find(|group| group.1 == found) {
            Some(group) => group.0.push(sail),
            None => grouped.push((vec![sail], found)),
        }
    }
    grouped
}

/// Findings of layers, each with first and last layer of a run.
pub(crate) fn runs<T: PartialEq>(all: BTreeMap<u32, T>) -> Vec<([u32; 2], T)> {
    let mut runs: Vec<([u32; 2], T)> = Vec::new();
    for (layer, found) in all {
        match runs.last_mut() {
            Some((range, before)) if range[1].checked_add(1) == Some(layer) && *before == found => range[1] = layer,
            _ => runs.push(([layer, layer], found)),
        }
    }
    runs
}
