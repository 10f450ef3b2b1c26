//! The compiled plan is never worse than a simpler placement, and the simpler placements are what their names say.

use crate::random::{fleet, model, objective, request, requests};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Objective, Request, Verify};
use sailplan_planner::{Simpler, baselines};

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, rng_seed: RngSeed::Fixed(14), ..ProptestConfig::default() })]
    #[test]
    fn no_baseline_beats_the_plan(
        cards in prop::collection::vec((prop::sample::select(vec![6u32, 12, 30, 4096]), prop::sample::select(vec![500u32, 1500, 2000, 8000])), 1..5),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        rate in prop::sample::select(vec![10u32, 500, 5000]),
        latency in prop::sample::select(vec![1u32, 50, 2000]),
        layers in 1u32..6,
        kv_heads in 1u32..4,
        request in requests(),
    ) {
        let (model, fleet) = (model(layers, kv_heads, "Q4_0"), fleet(&cards, shape, rate, latency));
        let best = objective(&model, &fleet, &request);
        for baseline in baselines(&model, &CostModel::new(&fleet, &request)).unwrap() {
            if let Ok(placement) = baseline.placement {
                let simpler = placement.estimate.objective;
                prop_assert!(best.is_some_and(|best| best <= simpler), "{:?}: {simpler:?} beats {best:?}", baseline.simpler);
            }
        }
    }
}

/// TinyLlama on the ring of four: one card takes what whole layers take, and the published heuristic chooses whole layers.
#[test]
fn baselines_are_what_they_are_called() {
    let fleet = parse_fleet("ring", shipped_fleet("innerjib7ea-x4-ring").unwrap()).unwrap();
    let (request, model) =
        (Request::default().verify().unwrap(), sailplan_models::load_zoo("tinyllama-1.1b").unwrap().model);
    let all = baselines(&model, &CostModel::new(&fleet, &request)).unwrap();
    let kinds: Vec<Simpler> = all.iter().map(|baseline| baseline.simpler).collect();
    use Simpler::{LayersByMemory, LayersEvenly, OneSail, TensorParallel, TileHeuristic};
    assert_eq!(kinds, [OneSail, LayersEvenly, LayersByMemory, TensorParallel, TileHeuristic]);
    let [one, even, memory, megatron, tile] =
        <[_; 5]>::try_from(all).unwrap().map(|baseline| baseline.placement.unwrap());
    assert_eq!((one.stages.len(), even.stages.len(), megatron.stages.len()), (1, 4, 1));
    assert_eq!(even.estimate, memory.estimate, "equal cards");
    assert_eq!(even.estimate, tile.estimate, "it counts m · k and answers model parallel");
    let slices = megatron.stages[0].choices.iter().flat_map(|choice| &choice.form.decode.instructions);
    assert!(slices.clone().any(|instruction| instruction.action.to_string() == "all-reduce"));
    assert!(slices.into_iter().all(|instruction| {
        !["all-gather", "reduce-scatter", "slice"].contains(&instruction.action.to_string().as_str())
    }));
}

/// Layers in proportion to memory less reserve: 3.94, 3.94, 7.94, 7.94 GiB take 3, 3, 7, 7 of 22 layers; of the two that are
/// left, 8 / 7.94 is less than 4 / 3.94, so they go to the large cards.
#[test]
fn layers_by_memory_follow_the_cards() {
    let fleet = parse_fleet("ring", shipped_fleet("innerjib7ea-mixed-x4-ring").unwrap()).unwrap();
    let (request, model) =
        (Request::default().verify().unwrap(), sailplan_models::load_zoo("tinyllama-1.1b").unwrap().model);
    let all = baselines(&model, &CostModel::new(&fleet, &request)).unwrap();
    let stages = &all[2].placement.as_ref().unwrap().stages;
    let layers: Vec<usize> = stages.iter().map(|stage| stage.segments.len()).collect();
    // The embedding is with the first layers, the head with the last.
    assert_eq!(layers, [1 + 3, 3, 8, 8 + 1]);
}

/// A fast card and a slow one with little memory each: shares at the rates fit no longer, even ones do.
#[test]
fn shares_give_way_to_memory() {
    let fleet = fleet(&[(6, 8000), (6, 1500)], "Ring", 10, 1);
    let (model, request) = (model(5, 1, "Q4_0"), request(Objective::Request));
    let best = objective(&model, &fleet, &request).unwrap();
    let all = baselines(&model, &CostModel::new(&fleet, &request)).unwrap();
    let even = all[3].placement.as_ref().expect("even shares fit").estimate.objective;
    assert!(best <= even, "{best:?} {even:?}");
}
