//! The engine and the integer program search the same space and must give the same objective: `place` is an error when
//! they do not. Here on random fleets, equal and mixed, roomy and tight.

use crate::random::{Card, fleet, model, objective, proven, request, requests};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Objective, Picoseconds};
use sailplan_planner::{Config, PlaceError, place};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(14), ..ProptestConfig::default() })]
    #[test]
    fn both_engines_agree(
        cards in prop::collection::vec((prop::sample::select(vec![6u32, 12, 30, 4096]), prop::sample::select(vec![500u32, 1500, 2000, 8000])), 1..5),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        rate in prop::sample::select(vec![10u32, 500, 5000]),
        latency in prop::sample::select(vec![1u32, 50, 2000]),
        layers in 1u32..6,
        kv_heads in 1u32..4,
        dtype in prop::sample::select(vec!["Q4_0", "Q4_K", "F16"]),
        request in requests(),
    ) {
        let model = model(layers, kv_heads, dtype);
        let base = objective(&model, &fleet(&cards, shape, rate, latency), &request);
        // More memory on every card never makes the optimum worse.
        let larger: Vec<Card> = cards.iter().map(|&(memory, rate)| (memory * 2, rate)).collect();
        let more = objective(&model, &fleet(&larger, shape, rate, latency), &request);
        // Nor does leaving weights on the host where that is better.
        let streamed = proven(&model, &fleet(&cards, shape, rate, latency), &request, true);
        if let Some(base) = base {
            // Unlike cards: deals of shares that memory limits happen to suit collectives now and then, and are not in the
            // space once memory limits nothing.
            let equal = cards.windows(2).all(|pair| pair[0] == pair[1]);
            let most = if equal { base } else { base + Picoseconds(base.0 / 1000) };
            prop_assert!(more.is_some_and(|more| more <= most), "{base:?} with {cards:?}, {more:?} with twice the memory");
            prop_assert!(streamed.is_some_and(|streamed| streamed <= base), "{base:?} with {cards:?}, {streamed:?} streaming");
        }
    }
}

/// With a latency of a second no message is worth its bytes. (Cards may still work side by side: each computes the layers
/// for itself and a part of the logits, which go straight to the host.)
#[test]
fn useless_links_are_left_alone() {
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Request));
    let fleet = fleet(&[(4096, 2000); 4], "Ring", 500, 1_000_000);
    let costs = CostModel::new(&fleet, &request);
    let placement = place(&model, &costs, Config::default()).unwrap().placement;
    assert_eq!(placement.stages.len(), 1);
    assert_eq!(placement.estimate.by_resource.link, Picoseconds(0));
}

/// Nothing fits, and the reasons are in bytes.
#[test]
fn no_plan_says_how_much_is_missing() {
    let (model, request) = (model(5, 2, "F16"), request(Objective::Request));
    let fleet = fleet(&[(6, 2000)], "Line", 500, 5);
    let costs = CostModel::new(&fleet, &request);
    let Err(PlaceError::NoPlan(reasons)) = place(&model, &costs, Config::default()) else { panic!("it cannot fit") };
    assert!(reasons.weights + reasons.caches > reasons.capacity);
    assert!(reasons.to_string().contains("too little"), "{reasons}");
}
