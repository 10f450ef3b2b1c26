//! Pins hold, both engines agree under them (`place` is an error when they do not), and they never make a plan better.

use crate::random::{fleet, model, request};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{
    Demand, Domains, Fleet, Layout, Model, Objective, Part, Pin, Placement, Request, SailId, Status, Verified,
};
use sailplan_planner::{Config, PlaceError, place};

pub(crate) fn pin(demand: Demand) -> Pin {
    Pin { name: demand.to_string(), demand, place: None }
}

pub(crate) fn placed(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
    pins: &[Pin],
) -> Result<Placement, PlaceError> {
    let costs = CostModel::new(fleet, request);
    place(model, &costs, Config { prove: true, pins, ..Config::default() }).map(|outcome| outcome.placement)
}

/// By segment, the group that it runs on.
fn groups(placement: &Placement) -> Vec<&[SailId]> {
    placement.stages.iter().flat_map(|stage| stage.segments.clone().map(|_| stage.sails.as_slice())).collect()
}

/// Whether a placement keeps to a demand, read off the placement alone.
fn keeps(model: &Model, placement: &Placement, demand: &Demand) -> bool {
    let all = |part: &Part, good: &dyn Fn(&[SailId]) -> bool| {
        let meant = part.of(model.segments.iter().map(|segment| segment.layer));
        groups(placement).iter().zip(meant).all(|(group, meant)| !meant || good(group))
    };
    let busy = || placement.stages.iter().flat_map(|stage| &stage.sails);
    match demand {
        Demand::Layers { layers, on } => all(layers, &|group| group.iter().all(|sail| on.contains(sail))),
        Demand::Group { layers, sails } => all(layers, &|group| group == sails.as_slice()),
        Demand::Degree { layers, ranks } => all(layers, &|group| group.len() == *ranks as usize),
        Demand::Never(sail) => !busy().any(|one| one == sail),
        Demand::AtMostStages(count) => placement.stages.len() <= *count as usize,
        Demand::AtLeastStages(count) => placement.stages.len() >= *count as usize,
        Demand::AtMostSails(count) => busy().count() <= *count as usize,
        _ => panic!("{demand} is looked at elsewhere"),
    }
}

fn demand() -> impl Strategy<Value = Demand> {
    let part =
        || prop::sample::select(vec![Part::All, Part::Embedding, Part::Head, Part::Layers(0..2), Part::Layers(1..2)]);
    let sails = || prop::sample::subsequence((0..3).map(SailId).collect::<Vec<_>>(), 1..=3);
    prop_oneof![
        (part(), sails()).prop_map(|(layers, on)| Demand::Layers { layers, on }),
        (part(), 0..3u16, 1..3u16).prop_map(|(layers, start, count)| {
            let sails = (start..(start + count).min(3)).map(SailId).collect();
            Demand::Group { layers, sails }
        }),
        (part(), 1..4u32).prop_map(|(layers, ranks)| Demand::Degree { layers, ranks }),
        (0..3u16).prop_map(|sail| Demand::Never(SailId(sail))),
        (1..4u32).prop_map(Demand::AtMostStages),
        (1..4u32).prop_map(Demand::AtLeastStages),
        (1..4u32).prop_map(Demand::AtMostSails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(23), ..ProptestConfig::default() })]
    #[test]
    fn pins_hold_and_both_engines_agree(
        cards in prop_oneof![
            (prop::sample::select(vec![6u32, 12, 4096]), Just(2000u32)).prop_map(|card| vec![card; 3]),
            prop::collection::vec((prop::sample::select(vec![12u32, 4096]), prop::sample::select(vec![500u32, 8000])), 3),
        ],
        shape in prop::sample::select(vec!["Ring", "Line"]),
        latency in prop::sample::select(vec![1u32, 2000]),
        layers in 2u32..5,
        demands in prop::collection::vec(demand(), 1..4),
    ) {
        let (model, request) = (model(layers, 2, "Q4_0"), request(Objective::Request));
        let fleet = fleet(&cards, shape, 500, latency);
        let pins: Vec<Pin> = demands.into_iter().map(pin).collect();
        let free = placed(&model, &fleet, &request, &[]);
        match placed(&model, &fleet, &request, &pins) {
            Ok(placement) => {
                prop_assert_eq!(placement.certificate.status, Status::Proven);
                for pin in &pins {
                    prop_assert!(keeps(&model, &placement, &pin.demand), "{} in {:?}", pin.name, groups(&placement));
                }
                let free = free.unwrap().estimate.objective;
                prop_assert!(free <= placement.estimate.objective, "better with pins");
            }
            Err(PlaceError::NoPlan(_)) => {}
            Err(other) => prop_assert!(false, "{other}: {pins:?}"),
        }
    }
}

/// The layout of every weight that a name names, and its partition, over all choices.
fn held(model: &Model, placement: &Placement, name: &str) -> Vec<(Layout, Option<Vec<u64>>)> {
    let mut found = Vec::new();
    for choice in placement.stages.iter().flat_map(|stage| &stage.choices) {
        let template = &model.class(choice.form.class).template;
        let domains = Domains::of(template);
        for (tensor, layout) in choice.form.residents() {
            if template[tensor].name.ends_with(name) {
                let shares = |axis: u8| {
                    let partition = &choice.partitions[domains.domain(tensor, axis).index()];
                    let per_unit = domains.elements_per_unit(template, tensor, axis);
                    (0..partition.ranks()).map(|rank| partition.elements(rank, per_unit).end).collect()
                };
                let ends = if let Layout::Sharded(axis) = layout { Some(shares(axis)) } else { None };
                found.push((layout, ends));
            }
        }
    }
    found
}

#[test]
fn tensors_are_held_as_pinned() {
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Request));
    let fleet = fleet(&[(4096, 2000); 2], "Ring", 5000, 1);
    let whole = pin(Demand::Replicated("blk.*.ffn_up.weight".to_owned()));
    let pinned = placed(&model, &fleet, &request, &[whole]).unwrap();
    assert!(held(&model, &pinned, "ffn_up.weight").iter().all(|held| held.0 == Layout::Whole));
    let free = placed(&model, &fleet, &request, &[]).unwrap();
    assert!(held(&model, &free, "ffn_up.weight").iter().any(|held| held.0 != Layout::Whole), "the pin changed nothing");

    let cut = pin(Demand::Cut { tensor: "blk.*.ffn_down.weight".to_owned(), axis: 1, at: vec![256] });
    let pinned = placed(&model, &fleet, &request, &[cut]).unwrap();
    let found = held(&model, &pinned, "ffn_down.weight");
    assert!(!found.is_empty());
    assert!(found.iter().all(|held| *held == (Layout::Sharded(1), Some(vec![256, 1280]))), "{found:?}");
}

/// Every mistake in a pin, with the words that are said.
#[test]
fn mistakes_name_the_pin_and_a_way_out() {
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Request));
    let fleet = fleet(&[(4096, 2000); 3], "Ring", 500, 5);
    let sails = |ids: &[u16]| ids.iter().map(|&id| SailId(id)).collect::<Vec<_>>();
    let cut = |tensor: &str, axis, at: &[u64]| Demand::Cut { tensor: tensor.to_owned(), axis, at: at.to_vec() };
    for (demand, words, hint) in [
        (Demand::Never(SailId(7)), "sail7 is not in the fleet of 3", "sail0 to sail2"),
        (Demand::Layers { layers: Part::All, on: Vec::new() }, "no Sail is named", "sail0"),
        (Demand::Layers { layers: Part::Layers(2..9), on: sails(&[0]) }, "no part \"2..9\"", "\"0..3\""),
        (Demand::Layers { layers: Part::Layers(2..2), on: sails(&[0]) }, "no part \"2..2\"", "\"0..3\""),
        (Demand::Group { layers: Part::All, sails: sails(&[0, 2]) }, "not consecutive", "sail2"),
        (Demand::Degree { layers: Part::All, ranks: 0 }, "0 is not a count", "1 or more"),
        (Demand::AtMostStages(0), "0 is not a count", "1 or more"),
        (Demand::Replicated("nothing".to_owned()), "no weight is called `nothing`", "token_embd"),
        (Demand::Replicated("blk.1.ffn_up.weight".to_owned()), "some layers", "*"),
        (cut("blk.*.ffn_down.weight", 2, &[1]), "has 2 axes", "outermost"),
        (cut("blk.*.ffn_down.weight", 1, &[512, 256]), "do not ascend", "every rank"),
        (cut("blk.*.ffn_down.weight", 1, &[]), "do not ascend", "every rank"),
        (cut("blk.*.ffn_down.weight", 1, &[9999]), "do not ascend", "every rank"),
    ] {
        let Err(PlaceError::Pins(problems)) = placed(&model, &fleet, &request, &[pin(demand.clone())]) else {
            panic!("{demand} must be a mistake")
        };
        let said = problems.to_string();
        assert!(said.contains(words) && said.contains(hint) && said.contains("pin `"), "{demand}: {said}");
    }
}
