//! Models with experts: both engines agree, no plan beats the bound, and the bound counts what tokens take.

use crate::random::{fleet, objective, request_for as request};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::{CostModel, lower_bound};
use sailplan_ir::{Model, Objective, Picoseconds, Verified};

/// One layer of Q4_0: an expert has 3 · 512 · `ffn` elements.
fn mixture(experts: u32, used: u32, ffn: u32) -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"m\", hidden: 512, layers: 1, heads: 8, kv_heads: 2, head_dim: 64, ffn: {ffn}, experts: {experts},
         experts_used: {used}, vocab: 3001, context: 512, norm_epsilon: 1e-5, rope_base: 1e4, tied: false,
         dtypes: Dtypes(default: Q4_0))"
    );
    sailplan_models::from_ron("m.ron", &text).unwrap().model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    /// `objective` refuses a bound above a plan, and engines that disagree.
    #[test]
    fn plans_are_proven_and_above_the_bound(
        cards in prop::collection::vec((prop::sample::select(vec![12u32, 30, 4096]), prop::sample::select(vec![500u32, 2000])), 1..5),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        rate in prop::sample::select(vec![10u32, 500, 5000]),
        (experts, used) in prop::sample::select(vec![(8u32, 2u32), (5, 1), (3, 3)]),
        ffn in prop::sample::select(vec![32u32, 512]),
        batch in 1u64..4,
        goal in prop::sample::select(vec![Objective::Request, Objective::Decode, Objective::Prefill]),
    ) {
        let found = objective(&mixture(experts, used, ffn), &fleet(&cards, shape, rate, 20), &request(batch, goal));
        prop_assert!(found.is_some() || cards.iter().any(|card| card.0 < 4096));
    }
}

/// At 2 GB/s a byte takes 500 ps. One more expert for the token: 3 · 512 · 1280 elements, 18 B for 32. Four more to choose
/// from: four more rows of the router, 512 · 4 B each, and nothing of the experts themselves.
#[test]
fn the_bound_of_a_decode_step_counts_the_experts_that_a_token_takes() {
    let (fleet, request) = (fleet(&[(4096, 2000)], "Ring", 500, 20), request(1, Objective::Decode));
    let costs = CostModel::new(&fleet, &request);
    let bound = |experts, used| lower_bound(&costs, &mixture(experts, used, 1280));
    let steps = request.weights().1;
    let bytes = |bytes: u64| Picoseconds(bytes * 500) * steps;
    assert_eq!(bound(4, 2) - bound(4, 1), bytes(3 * 512 * 1280 / 32 * 18));
    assert_eq!(bound(8, 2) - bound(4, 2), bytes(4 * 512 * 4));
}
