//! Tests only: nothing is lost where hopeless groups are left out, and no price is below its floor.

use crate::brute::{fleet, model};
use crate::checks::repertoires;
use crate::pins::Limits;
use crate::price::Site;
use crate::prospect::company;
use crate::shares;
use crate::space::{Scope, Space};
use crate::table::{Exchanges, floors, price_tables};
use crate::useful::Free;
use crate::{assemble, dynamic};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Objective, Picoseconds, Request, SailId, Verified, Verify};

fn request(objective: Objective) -> Verified<Request> {
    Request { prompt: 64, generate: 16, context: 128, objective, ..Request::default() }.verify().unwrap()
}

fn objective() -> impl Strategy<Value = Objective> {
    prop::sample::select(vec![Objective::Request, Objective::Decode, Objective::Prefill])
}

fn card(memory: &'static [u32]) -> impl Strategy<Value = (u32, u32)> {
    (prop::sample::select(memory), prop::sample::select(vec![1500u32, 2000, 2400, 6000]))
}

/// Stages and objective, hopeless groups looked at or not; and how many groups had points.
fn solved(space: &Space<'_>) -> (Option<(String, Picoseconds)>, usize) {
    let chain = dynamic::solve(space).unwrap();
    let found = chain.map(|chain| {
        let stages = assemble::polished(space, &chain.cuts).unwrap().unwrap();
        (format!("{:?} {}", chain.cuts, chain.exact), assemble::sum(space, &stages))
    });
    (found, space.counts().0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_best_chain_has_no_hopeless_group(
        cards in prop::collection::vec(card(&[4096, 8192]), 26..32), shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        rate in prop::sample::select(vec![10u32, 500]), latency in prop::sample::select(vec![1u32, 200, 5000]),
        layers in 1u32..5, objective in objective(),
    ) {
        let (model, fleet, request) = (model(layers, ""), fleet(&cards, shape, rate, latency), request(objective));
        let costs = CostModel::new(&fleet, &request);
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(cards.len(), model.classes.len());
        let solve = |exhaustive| {
            let scope = Scope { relaxed: true, exhaustive, limits: Some(&limits), ..Scope::default() };
            solved(&Space::new(&model, &costs, &repertoires, scope, None).unwrap())
        };
        let (all, some) = (solve(true), solve(false));
        prop_assert_eq!(all.0, some.0);
        prop_assert!(some.1 <= all.1);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nor_where_memory_binds(
        cards in prop::collection::vec(card(&[3, 4, 6]), 15), latency in prop::sample::select(vec![1u32, 200, 2000]),
        layers in 6u32..9, objective in objective(),
    ) {
        let (model, fleet, request) = (model(layers, ""), fleet(&cards, "Ring", 400, latency), request(objective));
        let costs = CostModel::new(&fleet, &request);
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(cards.len(), model.classes.len());
        let solve = |exhaustive| {
            let scope = Scope { exhaustive, limits: Some(&limits), ..Scope::default() };
            solved(&Space::new(&model, &costs, &repertoires, scope, None).unwrap())
        };
        let (all, some) = (solve(true), solve(false));
        prop_assert_eq!(all.0.map(|found| found.1), some.0.map(|found| found.1));
        prop_assert!(some.1 <= all.1);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nor_where_the_largest_load_counts(
        cards in prop::collection::vec(card(&[3, 4, 6]), 7..11), latency in prop::sample::select(vec![1u32, 200, 2000]),
        layers in 6u32..12, known in prop::sample::select(vec![None, Some(100), Some(130)]),
    ) {
        let (model, fleet) = (model(layers, ""), fleet(&cards, "Ring", 400, latency));
        let request = request(Objective::Throughput);
        let costs = CostModel::new(&fleet, &request);
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(cards.len(), model.classes.len());
        let space = |scope| Space::new(&model, &costs, &repertoires, Scope { limits: Some(&limits), ..scope }, None).unwrap();
        let free = space(Scope { relaxed: true, ..Scope::default() });
        let bound = dynamic::solve(&free).unwrap().unwrap().bound;
        let known = known.map(|hundredths| Picoseconds(bound.0 / 100 * hundredths));
        let solve = |exhaustive| {
            let space = space(Scope { free: Some(Free::of(&free, bound)), exhaustive, known, ..Scope::default() });
            let points = space.counts();
            let chain = dynamic::solve(&space).unwrap().filter(|chain| chain.exact);
            (chain.map(|chain| (chain.bound, chain.cuts)), points)
        };
        let (all, some) = (solve(true), solve(false));
        // Mixes that are not exact depend on which points there are.
        let keeps = |best: &&(Picoseconds, Vec<dynamic::Cut>)| known.is_none_or(|known| best.0 <= known);
        if let Some(best) = all.0.as_ref().filter(keeps) {
            prop_assert_eq!(Some(best), some.0.as_ref());
        }
        prop_assert!(some.1 <= all.1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_price_is_below_its_floor(
        cards in prop::collection::vec(card(&[4096]), 2..10), shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        latency in prop::sample::select(vec![1u32, 200]), experts in any::<bool>(), draw in 0usize..6,
    ) {
        let more = if experts { "experts: 5, experts_used: 2, expert_ffn: 768," } else { "" };
        let (model, fleet, request) = (model(2, more), fleet(&cards, shape, 400, latency), request(Objective::Request));
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(cards.len(), model.classes.len());
        let scope = Scope { relaxed: true, limits: Some(&limits), ..Scope::default() };
        let space = Space::new(&model, &costs, &repertoires, scope, None).unwrap();
        let company = company(&space, &(0..cards.len()));
        for repertoire in &repertoires {
            let template = &repertoire.choices.template;
            let options = shares::options(&template.graph, &template.domains, &costs, &group);
            let partitions: Vec<_> = options.iter().map(|options| options[draw % options.len()].clone()).collect();
            let site = Site::new(&costs, &group, (&template.domains, &partitions));
            let prices = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
            let floors = floors(&repertoire.choices, &repertoire.rates, &costs, &company);
            for (price, floor) in prices.iter().zip(&floors) {
                for (class, entry) in repertoire.choices.classes.iter().enumerate() {
                    for way in 0..entry.ways.len() {
                        let Some(time) = price.at((class, way)) else { continue };
                        let least = floor.at((class, way));
                        prop_assert!(least.is_some_and(|least| least <= time), "{:?}: {least:?} above {time:?}", entry.ways[way]);
                    }
                }
            }
        }
    }
}
