//! Tests only: mixes that are found a batch of segments at a time are those that are found one segment after the other.

use crate::brute::{fleet, model};
use crate::checks::repertoires;
use crate::pins::Limits;
use crate::space::{Interval, Scope, Space};
use crate::stage::{Counts, mix};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Request, Verify};

/// The mix that is reached by single moves, each the cheapest for its bytes of all that there are.
fn step_by_step(space: &Space<'_>, group: &Interval, wanted: &[u64]) -> Option<Counts> {
    let front = space.front(group);
    if wanted.iter().zip(front).any(|(&count, points)| count > 0 && points.is_empty()) {
        return None;
    }
    let start =
        |(points, &count): (&Vec<_>, &u64)| (0..points.len()).map(|at| if at == 0 { count } else { 0 }).collect();
    let mut at: Counts = front.iter().zip(wanted).map(start).collect();
    while !space.holds(group, &at) {
        let mut best: Option<(f64, usize, usize)> = None;
        for (class, (points, counts)) in front.iter().zip(&at).enumerate() {
            for point in (0..points.len().saturating_sub(1)).filter(|&point| counts[point] > 0) {
                let saved = points[point].resident(0).total() - points[point + 1].resident(0).total();
                let slower = points[point + 1].objective - points[point].objective;
                let price = slower.0 as f64 / saved.0.max(1) as f64;
                if best.is_none_or(|known| price < known.0) {
                    best = Some((price, class, point));
                }
            }
        }
        let (_, class, point) = best?;
        at[class][point] -= 1;
        at[class][point + 1] += 1;
    }
    Some(at)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn batches_end_where_single_moves_do(
        cards in prop::collection::vec((prop::sample::select(vec![2u32, 3, 4, 6]), prop::sample::select(vec![500u32, 2000, 8000])), 1..6),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Star"]), latency in prop::sample::select(vec![1u32, 200]),
        layers in 1u32..24, context in prop::sample::select(vec![128u64, 2048]), stream in any::<bool>(),
    ) {
        let (model, fleet) = (model(layers, ""), fleet(&cards, shape, 400, latency));
        let request = Request { prompt: 64, generate: 16, context, ..Request::default() }.verify().unwrap();
        let costs = CostModel::new(&fleet, &request);
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(cards.len(), model.classes.len());
        let scope = Scope { stream, exhaustive: true, limits: Some(&limits), ..Scope::default() };
        let space = Space::new(&model, &costs, &repertoires, scope, None).unwrap();
        for group in space.groups() {
            for count in 0..=u64::from(layers) {
                for ends in 0..4 {
                    let wanted: Vec<u64> = model.classes.iter().map(|class| match class.name.as_str() {
                        "embed" => ends % 2,
                        "head" => ends / 2,
                        _ => count,
                    }).collect();
                    let found = mix(&space, &group, &wanted).map(|mix| mix.counts);
                    prop_assert_eq!(found, step_by_step(&space, &group, &wanted), "{:?} {:?}", &group, wanted);
                }
            }
        }
    }
}
