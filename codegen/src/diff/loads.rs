//! Load plans: what comes from the host and what is handed on.

use super::{Class, Found, What};
use crate::Plan;

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    let ([old_host, old_handed_on], [new_host, new_handed_on]) = (bytes(old), bytes(new));
    if [old_host, old_handed_on] != [new_host, new_handed_on] {
        found.push(Class::Traffic, What::Loading { old_host, new_host, old_handed_on, new_handed_on });
    }
}

/// From the host, and from card to card.
fn bytes(plan: &Plan) -> [u64; 2] {
    let loads = plan.sails.iter().flat_map(|sail| &sail.load);
    loads.fold([0_u64; 2], |mut sums, load| {
        let sum = &mut sums[usize::from(load.from.is_some())];
        *sum = sum.saturating_add(load.bytes.0);
        sums
    })
}
