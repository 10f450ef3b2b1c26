//! In a mesh or a star the order of the cards in the file hides no plan on groups by rate.

use crate::random::{Card, fleet, model, objective, request};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Objective, SailId};
use sailplan_planner::{Config, place};
use std::cmp::Reverse;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(39), ..ProptestConfig::default() })]
    #[test]
    fn no_order_is_worse_than_that_by_rate(
        cards in prop::collection::vec(
            (prop::sample::select(vec![6u32, 12, 30, 4096]), prop::sample::select(vec![500u32, 1500, 2000, 8000])), 2..5),
        shape in prop::sample::select(vec!["Mesh", "Star"]), latency in prop::sample::select(vec![2u32, 50, 2000]),
        layers in 1u32..4, kv_heads in 1u32..4,
        goal in prop::sample::select(vec![Objective::Request, Objective::Decode, Objective::Prefill]),
    ) {
        let (model, request) = (model(layers, kv_heads, "Q4_0"), request(goal));
        let solve = |cards: &[Card]| objective(&model, &fleet(cards, shape, 500, latency), &request);
        let mut sorted = cards.clone();
        sorted.sort_by_key(|&(memory, rate)| Reverse((rate, memory)));
        match (solve(&cards), solve(&sorted)) {
            (Some(given), Some(sorted)) => prop_assert!(given <= sorted, "{given:?} for {cards:?}, {sorted:?} by rate"),
            (None, Some(_)) => prop_assert!(false, "{cards:?} fit by rate"),
            (_, None) => {}
        }
    }
}

/// Two fast cards with a slow one between them: in a mesh they are a group, in a line they are not.
#[test]
fn fast_cards_join_over_slow_ones() {
    let cards = [(4096, 8000), (4096, 100), (4096, 8000), (4096, 100)];
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Decode));
    let groups = |shape: &str| {
        let fleet = fleet(&cards, shape, 5000, 1);
        let placement = place(&model, &CostModel::new(&fleet, &request), Config::default()).unwrap().placement;
        (placement.stages[0].sails.clone(), placement.unused.clone(), placement.certificate.space)
    };
    let (group, unused, space) = groups("Mesh");
    assert_eq!((group, unused), (vec![SailId(0), SailId(2)], vec![SailId(1), SailId(3)]));
    assert!(space.starts_with("stages on intervals of the link order or of the order by rate,"), "{space}");
    let (group, _, space) = groups("Line");
    assert_ne!(group, [SailId(0), SailId(2)]);
    assert!(space.starts_with("stages on intervals of the link order,"), "{space}");
}
