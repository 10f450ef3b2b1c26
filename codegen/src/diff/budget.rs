//! What plans are predicted to take and to need: times, proofs, memory.

use super::layers::by_sail;
use super::{Class, Found, What, headroom};
use crate::{Memory, Plan};
use sailplan_ir::{Bytes, Certificate, Estimate, Picoseconds, Resources, SailId, Sustain};
use std::collections::BTreeMap;

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    times(&old.estimate, &new.estimate, found);
    certificate(&old.certificate, &new.certificate, found);
    memory(old, new, found);
    sustain(old, new, found);
}

fn times(old: &Estimate, new: &Estimate, found: &mut Found) {
    // Every field by name: a new one cannot be forgotten.
    let Estimate { request, prefill, decode, ready, lower_bound, objective, by_resource } = *new;
    let Resources { ddr, compute, link, host } = by_resource;
    let parts = &old.by_resource;
    let mut time = |figure, [old, new]: [Picoseconds; 2], counts: bool| {
        if old != new {
            let class = if counts && new > old { Class::Slower } else { Class::EstimateOnly };
            found.push(class, What::Time { figure, old, new });
        }
    };
    time("prefill", [old.prefill, prefill], true);
    time("decode", [old.decode, decode], true);
    time("request", [old.request, request], true);
    time("objective", [old.objective, objective], false);
    time("ddr", [parts.ddr, ddr], false);
    time("compute", [parts.compute, compute], false);
    time("link", [parts.link, link], false);
    time("host", [parts.host, host], false);
    time("ready", [old.ready, ready], false);
    time("lower_bound", [old.lower_bound, lower_bound], false);
}

fn certificate(old: &Certificate, new: &Certificate, found: &mut Found) {
    let Certificate { status, method, space, bound } = new;
    let mut field = |field, [old, new]: [String; 2]| {
        if old != new {
            found.push(Class::EstimateOnly, What::Certificate { field, old, new });
        }
    };
    field("status", [format!("{:?}", old.status), format!("{status:?}")]);
    field("method", [old.method.clone(), method.clone()]);
    field("space", [old.space.clone(), space.clone()]);
    field("bound", [old.bound.exact(), bound.exact()]);
}

/// All cards of a plan's fleet that have work.
fn arenas(plan: &Plan) -> BTreeMap<SailId, &Memory> {
    plan.sails.iter().map(|sail| (sail.sail, &sail.memory)).collect()
}

/// What a card of the fleet has left; without work, everything. None for a card that is not there.
fn room(plan: &Plan, sail: SailId, memory: Option<&Memory>) -> Option<Bytes> {
    let there = sail.index() < plan.fleet.inline.size();
    let kind = || plan.fleet.inline.kind(sail);
    memory.map(headroom).or_else(|| there.then(|| kind().memory - kind().reserve))
}

fn memory(old: &Plan, new: &Plan, found: &mut Found) {
    let (before, after) = (arenas(old), arenas(new));
    let sails: std::collections::BTreeSet<SailId> = before.keys().chain(after.keys()).copied().collect();
    let unlike = sails.into_iter().filter_map(|sail| {
        let (one, other) = (before.get(&sail).copied(), after.get(&sail).copied());
        let tighter = room(old, sail, one).zip(room(new, sail, other)).is_some_and(|(old, new)| new < old);
        (one != other).then_some((sail, (tighter, one, other)))
    });
    for (sails, (tighter, old, new)) in by_sail(unlike) {
        let class = if tighter { Class::Tighter } else { Class::EstimateOnly };
        found.push(class, What::Memory { sails, old: old.cloned(), new: new.cloned() });
    }
}

fn sustain(old: &Plan, new: &Plan, found: &mut Found) {
    let rates = |plan: &Plan| -> BTreeMap<SailId, Sustain> {
        plan.sails.iter().filter_map(|sail| Some((sail.sail, sail.sustain?))).collect()
    };
    let (before, after) = (rates(old), rates(new));
    let sails: std::collections::BTreeSet<SailId> = before.keys().chain(after.keys()).copied().collect();
    let pairs = sails.into_iter().map(|sail| (sail, (before.get(&sail).copied(), after.get(&sail).copied())));
    for (sails, (old, new)) in by_sail(pairs.filter(|(_, (old, new))| old != new)) {
        found.push(Class::EstimateOnly, What::Sustain { sails, old, new });
    }
}
