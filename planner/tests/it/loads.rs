//! The load plan: what several cards hold crosses the host's link once where that helps.

use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Attachment, Bytes, Fleet, Load, Model, Placement, Request, SailId, Verified, Verify};
use sailplan_planner::{Config, evaluate, place};
use std::ops::Range;

fn fleet(name: &str, change: impl Fn(&mut Fleet)) -> Verified<Fleet> {
    let mut fleet = parse_fleet(name, shipped_fleet(name).unwrap()).unwrap().into_inner();
    change(&mut fleet);
    fleet.verify().unwrap()
}

fn zoo(name: &str) -> Verified<Model> {
    sailplan_models::load_zoo(name).unwrap().model
}

fn placed(model: &Verified<Model>, fleet: &Verified<Fleet>) -> Placement {
    let request = Request::default().verify().unwrap();
    place(model, &CostModel::new(fleet, &request), Config::default()).unwrap().placement
}

fn staged(model: &Verified<Model>, fleet: &Verified<Fleet>, stages: &[(Range<usize>, Range<usize>)]) -> Placement {
    let request = Request::default().verify().unwrap();
    evaluate(model, &CostModel::new(fleet, &request), stages).unwrap()
}

/// Bytes that cross the host's link.
fn from_host(loads: &[Load]) -> Bytes {
    let count = |load: &Load| load.steps().filter(|(_, from, _)| from.is_none()).count() as u64;
    loads.iter().map(|load| load.shard.bytes * count(load)).sum()
}

/// What all cards hold together, without the padding between shards.
fn held(loads: &[Load]) -> Bytes {
    loads.iter().map(|load| load.shard.bytes * load.shard.holders.len() as u64).sum()
}

/// 100 us, and the model's bytes at 100 MB/s.
#[test]
fn every_byte_crosses_the_host_link_once() {
    let (model, fleet) = (zoo("tinyllama-1.1b"), fleet("innerjib7ea-x4-ring", |_| {}));
    let placement = placed(&model, &fleet);
    assert_eq!(from_host(&placement.loads), model.weight_bytes());
    assert!(held(&placement.loads) > model.weight_bytes());
    assert_eq!(placement.estimate.ready, fleet.host.latency + fleet.host.rate.time(model.weight_bytes()));
    let shared = placement.loads.iter().position(|load| load.shard.holders.len() == 1).unwrap();
    assert!(placement.loads[shared..].iter().all(|load| load.shard.holders.len() == 1), "what is handed on goes first");
}

/// A link of its own for every card, or card links that take an hour: nothing is handed on.
#[test]
fn nothing_is_handed_on_where_the_host_is_faster() {
    let model = zoo("tinyllama-1.1b");
    let whole = |fleet: &Verified<Fleet>| staged(&model, fleet, &[(0..4, 0..model.segments.len())]);
    let own = fleet("innerjib7ea-x4-ring", |fleet| fleet.host.attachment = Attachment::PerSail);
    let slow = |fleet: &mut Fleet| {
        let text = "Ring(rate: \"10 kB/s\", latency: \"1 us\")";
        fleet.links = ron(text);
    };
    for fleet in [own, fleet("innerjib7ea-x4-ring", slow)] {
        let placement = whole(&fleet);
        assert!(placement.loads.iter().all(|load| load.hops.is_empty()));
        assert_eq!(from_host(&placement.loads), held(&placement.loads));
    }
}

fn ron(links: &str) -> sailplan_ir::Links {
    let text = shipped_fleet("innerjib7ea-x4-star").unwrap();
    let (before, rest) = text.split_once("links: ").unwrap();
    let after = &rest[rest.find("    host:").unwrap()..];
    parse_fleet("links.ron", &format!("{before}links: {links},\n{after}")).unwrap().into_inner().links
}

/// A head that reads the embedding table on the last stage takes it from the first stage's card.
#[test]
fn a_tied_table_goes_from_stage_to_stage() {
    let text =
        "Decoder(name: \"t\", hidden: 512, layers: 4, heads: 8, kv_heads: 8, ffn: 1280, vocab: 3000, context: 512,
        norm_epsilon: 1e-5, rope_base: 1e4, tied: true, dtypes: Dtypes(default: Q4_0))";
    let model = sailplan_models::from_ron("t.ron", text).unwrap().model;
    let fleet = fleet("innerjib7ea-x4-ring", |_| {});
    let placement = staged(&model, &fleet, &[(0..1, 0..3), (1..2, 3..4), (2..3, 4..6)]);
    let table = placement.loads.iter().find(|load| load.shard.holders.len() > 1).unwrap();
    let steps: Vec<_> = table.steps().map(|(sail, from, _)| (sail, from)).collect();
    assert_eq!(steps, [(SailId(0), None), (SailId(2), Some(SailId(0)))]);
    assert_eq!(from_host(&placement.loads), model.weight_bytes());
}

/// Equal slices of consecutive layers are one load, also on 64 cards.
#[test]
fn layers_fold_into_one_load() {
    let (model, fleet) = (zoo("llama-3-8b"), fleet("innerjib7ea-x64-ring", |_| {}));
    let placement = staged(&model, &fleet, &[(0..64, 0..model.segments.len())]);
    let norms = placement.loads.iter().find(|load| load.shard.holders.len() == 64 && load.shard.layers == 32);
    assert!(norms.is_some_and(|load| load.hops.len() == 63));
    // Seven cut matrices a layer, and the head, on at most 64 cards each, and what all of them hold.
    assert!(placement.loads.len() <= 8 * 64 + 4, "{} loads", placement.loads.len());
    assert_eq!(from_host(&placement.loads), model.weight_bytes());
}
