//! The load plan: who takes which weight slice from where, and in which order. Prices come from the cost model.

use sailplan_cost_model::CostModel;
use sailplan_ir::{Load, Model, Picoseconds, Shard, Stage, shards};
use std::cmp::Reverse;

/// The way of all slices to their holders that has the fleet ready first, with that time. A slice that several cards hold
/// comes from the host for each of them, or once and is then handed on from card to card, in order of id. Three plans
/// are compared: nothing is handed on; a slice is when its last holder then has it sooner; every slice is. Of equal ones
/// the first wins. What is handed on goes first, the longest chain ahead, so that chains overlap with the rest.
pub(crate) fn load_plan(costs: &CostModel<'_>, model: &Model, stages: &[Stage]) -> (Vec<Load>, Picoseconds) {
    let shards = shards(model, stages);
    let rules: [fn(&Load) -> bool; 3] = [|_| false, sooner_in_a_chain, |_| true];
    let plans = rules.map(|rule| {
        let loads = ordered(costs, &shards, rule);
        let ready = costs.ready(&loads);
        (loads, ready)
    });
    plans.into_iter().min_by_key(|plan| plan.1).unwrap_or_default()
}

/// Whether the chain after the first holder takes no longer than the host for all other holders.
fn sooner_in_a_chain(load: &Load) -> bool {
    chain(load) <= load.host * load.hops.len() as u64
}

fn chain(load: &Load) -> Picoseconds {
    load.hops.iter().copied().sum()
}

/// Chains first: with the host as the first machine and the links as the second, the longest second time goes first
/// (Johnson 1954, for links faster than the host).
fn ordered(costs: &CostModel<'_>, shards: &[Shard], rule: fn(&Load) -> bool) -> Vec<Load> {
    let load = |shard: &Shard| {
        let mut load = costs.load(shard.clone(), shard.bytes.0 > 0);
        if !rule(&load) {
            load.hops.clear();
        }
        load
    };
    let mut loads: Vec<Load> = shards.iter().map(load).collect();
    loads.sort_by_cached_key(|load| Reverse(chain(load)));
    loads
}
