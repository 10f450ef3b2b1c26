//! Models with windows, caps, norms of heads and parallel blocks: both engines agree and no plan beats the bound.

use crate::random::{fleet, objective, request_for as request};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::{CostModel, lower_bound};
use sailplan_ir::{Action, Model, Objective, Picoseconds, Program, Verified};
use sailplan_planner::{Config, place};

/// Three layers; with `global_every` the second one has no window.
fn model(fields: &str) -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"m\", hidden: 256, layers: 3, heads: 8, kv_heads: 2, head_dim: 64, ffn: 512, vocab: 3001,
         context: 512, norm_epsilon: 1e-5, rope_base: 1e4, rope_pairs: halves, {fields} dtypes: Dtypes(default: Q4_0))"
    );
    sailplan_models::from_ron("m.ron", &text).unwrap().model
}

const FIELDS: [&str; 4] = [
    "head_norms: true, tied: true,",
    "window: 40, global_every: 2, score_cap: 5.0, logit_cap: 3.0, activation: gelu, post_norms: true,
     scaled_embedding: true, tied: true,",
    "window: 9, logit_cap: 3.0,",
    "parallel: true,",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    /// `objective` refuses a bound above a plan, and engines that disagree.
    #[test]
    fn plans_are_proven_and_above_the_bound(
        cards in prop::collection::vec((prop::sample::select(vec![3u32, 8, 4096]), prop::sample::select(vec![500u32, 2000])), 1..5),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        (rate, alpha) in prop::sample::select(vec![(10u32, 20u32), (500, 20), (5000, 2000)]),
        fields in prop::sample::select(FIELDS.to_vec()),
        batch in 1u64..4,
        goal in prop::sample::select(vec![Objective::Request, Objective::Decode, Objective::Prefill]),
    ) {
        let found = objective(&model(fields), &fleet(&cards, shape, rate, alpha), &request(batch, goal));
        prop_assert!(found.is_some() || cards.iter().any(|card| card.0 < 4096));
    }
}

/// At 2 GB/s a byte takes 500 ps. Two caches of 128 elements of 4 B a position; decode sees 65 to 80 positions, 73 in the
/// mean, rounded up; through a window of 70 the mean is (65 + … + 70 + 10 · 70) / 16 = 69.06, rounded up.
#[test]
fn the_bound_of_a_decode_step_counts_what_windows_show() {
    let (fleet, request) = (fleet(&[(4096, 2000)], "Ring", 500, 20), request(1, Objective::Decode));
    let costs = CostModel::new(&fleet, &request);
    let bound = |fields: &str| lower_bound(&costs, &model(fields));
    let positions = |count: u64| Picoseconds(count * 2 * 128 * 4 * 500);
    assert_eq!(bound("") - bound("window: 70,"), positions(3 * (73 - 70)));
    assert_eq!(bound("") - bound("window: 70, global_every: 2,"), positions(2 * (73 - 70)));
    assert_eq!(bound("logit_cap: 3.0,"), bound(""));
}

/// Attention and the feed-forward part of a parallel block read the same norm: their partial sums are added first and reduced
/// once. A block with one after the other reduces twice.
#[test]
fn parallel_blocks_reduce_once() {
    let request = request(1, Objective::Decode);
    let fleet = fleet(&[(4096, 2000); 4], "Ring", 500, 20);
    let reductions = |fields: &str| {
        let model = model(fields);
        let placement = place(&model, &CostModel::new(&fleet, &request), Config { prove: true, ..Config::default() });
        let placement = placement.unwrap().placement;
        let reduces = |program: &Program| {
            let actions = program.instructions.iter().map(|made| made.action);
            actions.filter(|action| matches!(action, Action::AllReduce | Action::ReduceScatter)).count()
        };
        assert_eq!(placement.stages.len(), 1);
        let layers = placement.stages[0].choices.iter().filter(|choice| model.class(choice.form.class).name == "layer");
        layers.map(|layer| reduces(&layer.form.decode)).max().unwrap()
    };
    let (parallel, one_by_one) = (reductions("parallel: true, tied: false,"), reductions("tied: false,"));
    assert_eq!(parallel, 1);
    assert!(one_by_one >= 1, "{one_by_one}");
}
