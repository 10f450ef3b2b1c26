//! Names, addresses and order: what differs in the text of a card's plan and changes no meaning by itself.

use super::layers::by_sail;
use super::steps::untimed;
use super::{Class, Found, What};
use crate::{Load, Plan, SailPlan};
use sailplan_ir::Picoseconds;

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    let pairs = new.sails.iter().filter_map(|sail| {
        let earlier = old.sails.iter().find(|other| other.sail == sail.sail)?;
        Some((sail.sail, parts(earlier, sail)))
    });
    for (sails, parts) in by_sail(pairs.filter(|(_, parts)| !parts.is_empty())) {
        found.push(Class::Cosmetic, What::Arrangement { parts, sails });
    }
}

/// Which parts of a card's plan have other text, predictions apart.
fn parts(old: &SailPlan, new: &SailPlan) -> Vec<&'static str> {
    let programs = [(&old.prefill, &new.prefill), (&old.decode, &new.decode)];
    let buffers = programs.iter().any(|(old, new)| old.buffers != new.buffers);
    let instructions = programs.iter().any(|(old, new)| untimed(&old.instructions) != untimed(&new.instructions));
    let residents = old.weights != new.weights || old.caches != new.caches;
    let loads = routes(old) != routes(new);
    let all =
        [(residents, "weights and caches"), (loads, "loads"), (buffers, "buffers"), (instructions, "instructions")];
    all.into_iter().filter_map(|(differs, name)| differs.then_some(name)).collect()
}

fn routes(sail: &SailPlan) -> Vec<Load> {
    sail.load.iter().map(|load| Load { time: Picoseconds(0), ..load.clone() }).collect()
}
