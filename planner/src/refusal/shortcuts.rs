//! Tests only: whether there is a plan is answered on few groups first; the engine on all of them says the same.

use super::problem::{Problem, Solver};
use crate::brute::{fleet, model};
use crate::checks::repertoires;
use crate::pins::Limits;
use crate::reasons::{fits_beside_values, fits_in_all};
use crate::space::{Family, Scope, Space};
use crate::{Config, Effort, PlaceError, search};
use crate::{dynamic, program};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Demand, Objective, Pin, Request, SailId, Verify};

/// What the engine finds on all groups, its mixes improved.
fn engine(problem: &Problem) -> bool {
    let costs = CostModel::new(&problem.fleet, &problem.request);
    let config = Config { stream: problem.stream, pins: &problem.pins, ..Config::default() };
    match search(&problem.model, &costs, Effort { config, engine_only: true, ..Effort::default() }) {
        Ok(_) => true,
        Err(PlaceError::NoPlan(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

/// Few cards, or as many as are tried on few groups first.
fn cards() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let card = || (prop::sample::select(vec![1u32, 2, 3, 5]), prop::sample::select(vec![500u32, 2000]));
    prop_oneof![2 => 1usize..5, 1 => Just(9)].prop_flat_map(move |count| prop::collection::vec(card(), count))
}

/// A demand on some card, or none.
fn pins() -> impl Strategy<Value = Vec<Pin>> {
    let pin = |demand| vec![Pin { name: "pin".to_owned(), demand, place: None }];
    prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(pin(Demand::Never(SailId(0)))),
        1 => Just(pin(Demand::AtMostSails(2))),
        1 => Just(pin(Demand::AtLeastStages(2))),
        1 => Just(pin(Demand::AtMostStages(1))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn few_groups_say_what_all_do(
        cards in cards(),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Star"]), layers in 1u32..16,
        objective in prop::sample::select(vec![Objective::Request, Objective::Decode]),
        stream in any::<bool>(), pins in pins(),
    ) {
        let (model, fleet) = (model(layers, ""), fleet(&cards, shape, 400, 5));
        let request = Request { prompt: 64, generate: 16, context: 1024, objective, ..Request::default() }.verify().unwrap();
        let config = Config { stream, pins: &pins, ..Config::default() };
        let problem = Problem::new(&model, &CostModel::new(&fleet, &request), config);
        let (solver, engine) = (Solver::new(None), engine(&problem));
        prop_assert_eq!(solver.possible(&problem).unwrap(), engine);
        prop_assert_eq!(solver.solve(&problem).unwrap().is_ok(), engine);
    }
}

/// What is refused because each card has room for the value between segments is refused by engine and integer program too.
#[test]
fn nothing_fits_where_values_leave_too_little() {
    let (mut refused, mut fitting) = (0, 0);
    for (layers, memory) in (4..16).flat_map(|layers| (1..8).map(move |memory| (layers, memory))) {
        let (model, fleet) = (model(layers, ""), fleet(&[(memory, 2000), (memory, 500), (2, 2000)], "Ring", 400, 5));
        let request = Request { prompt: 512, generate: 16, context: 1024, ..Request::default() }.verify().unwrap();
        let costs = CostModel::new(&fleet, &request);
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(3, model.classes.len());
        let scope = Scope { limits: Some(&limits), ..Scope::default() };
        if fits_in_all(&model, &costs, (Family::default(), &limits), false).is_err() {
            continue;
        }
        let space = Space::new(&model, &costs, &repertoires, scope, None).unwrap();
        if fits_beside_values(&space) {
            fitting += 1;
            continue;
        }
        assert!(dynamic::solve(&space).unwrap().is_none() && program::solve(&space).unwrap().stages.is_none());
        refused += 1;
    }
    assert!(refused > 3 && fitting > 3, "{refused} refused, {fitting} left to the engine");
}
