//! Tests only: joint kernels are priced as they are emitted, never take longer than their products one by one, and are what
//! every other way to find the best program has as well.

use crate::brute;
use crate::checks::{drawn, fleet, on_unlike_links, repertoires, request};
use crate::joint::Kernels;
use crate::price::Site;
use crate::prospect::company;
use crate::saturate::saturate;
use crate::space::{Scope, Space};
use crate::table::{Exchanges, PHASES, floors, price_tables};
use crate::trellis::Made;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{DType, Dim, Graph, Layout, Model, Objective, Op, Picoseconds, Role, SailId, Verified};

/// Grouped-query attention with v in a type of its own.
fn model() -> Verified<Model> {
    let text = "Decoder(name: \"r\", hidden: 512, layers: 1, heads: 8, kv_heads: 2, head_dim: 64, ffn: 1280, vocab: 3001,
         context: 512, norm_epsilon: 1e-5, rope_base: 1e4, tied: false, dtypes: Dtypes(default: Q4_K, v: Q6_K, up: Q8_0))";
    sailplan_models::from_ron("r.ron", text).unwrap().model
}

#[test]
fn products_of_one_value_in_one_layout_are_joint() {
    let model = model();
    let choices = saturate(&model.classes[1].template, false).unwrap();
    let name = |&(class, _): &Made| {
        let fact = choices.classes[class].fact;
        format!("{} {}", choices.template.graph[fact.tensor].name, fact.layout)
    };
    let kernels = Kernels::of(&choices);
    let named = |bundle: &crate::joint::Bundle| bundle.ways.iter().map(name).collect::<Vec<_>>().join(", ");
    let all: Vec<String> = kernels.bundles.iter().map(named).collect();
    let of = |layout: &str| all.iter().filter(|text| text.split(", ").all(|one| one.ends_with(layout))).count();
    assert_eq!((of("whole"), of("sharded(1)"), of("partial")), (5, 5, 5), "{all:#?}");
    assert_eq!(all.len(), 29, "whole and cut ones beside each other as well, partial ones never");
    let triple = kernels.bundles.iter().position(|bundle| bundle.ways.len() == 3).unwrap();
    let ways = kernels.bundles[triple].ways.clone();
    assert_eq!(kernels.among(&[ways[2], ways[0], ways[1]]), [kernels.ways() + triple]);
    assert_eq!(kernels.among(&ways[..1]), [kernels.number(ways[0])]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, rng_seed: RngSeed::Fixed(36), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn joint_kernels_cost_what_they_do_and_no_more_than_apart(
        cards in prop::collection::vec((
            prop::sample::select(vec![500u32, 2000, 8000]), prop::sample::select(vec![0u32, 1, 40]), prop::sample::select(vec![0u32, 1, 30]),
        ), 1..6),
        draw in 0usize..4,
    ) {
        let (fleet, request, model) = (fleet(&cards, "Ring", 400, 20), request(Objective::Request), model());
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        for repertoire in &repertoires(&model, &costs) {
            let partitions = drawn(repertoire, &costs, &group, draw);
            let domains = &repertoire.choices.template.domains;
            let site = Site::new(&costs, &group, (domains, &partitions));
            let tables = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
            let kernels = &repertoire.rates.joint;
            for (&phase, table) in PHASES.iter().zip(&tables) {
                for (index, bundle) in kernels.bundles.iter().enumerate() {
                    let Some(time) = table.time(kernels.ways() + index) else { continue };
                    prop_assert_eq!(time, site.joint(&repertoire.choices, &bundle.ways, phase).price.time);
                    for (place, &one) in bundle.ways.iter().enumerate() {
                        let rest = [&bundle.ways[..place], &bundle.ways[place + 1..]].concat();
                        let rest: Option<Picoseconds> = kernels.among(&rest).into_iter().map(|kernel| table.time(kernel)).sum();
                        let apart = table.at(one).zip(rest).map(|(one, rest)| one + rest);
                        prop_assert!(apart.is_some_and(|apart| time <= apart), "{:?} {:?}", time, apart);
                    }
                }
            }
        }
    }

    #[test]
    fn no_joint_kernel_is_below_its_floor(
        cards in prop::collection::vec((Just(4096u32), prop::sample::select(vec![1500u32, 2000, 6000])), 2..9), draw in 0usize..4,
    ) {
        let (fleet, request, model) = (brute::fleet(&cards, "Mesh", 400, 20), request(Objective::Request), model());
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let repertoires = repertoires(&model, &costs);
        let limits = crate::pins::Limits::none(cards.len(), model.classes.len());
        let scope = Scope { relaxed: true, limits: Some(&limits), ..Scope::default() };
        let company = company(&Space::new(&model, &costs, &repertoires, scope, None).unwrap(), &(0..cards.len()));
        for repertoire in &repertoires {
            let partitions = drawn(repertoire, &costs, &group, draw);
            let domains = &repertoire.choices.template.domains;
            let site = Site::new(&costs, &group, (domains, &partitions));
            let prices = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
            let floors = floors(&repertoire.choices, &repertoire.rates, &costs, &company);
            let kernels = &repertoire.rates.joint;
            for kernel in kernels.ways()..kernels.ways() + kernels.bundles.len() {
                for (price, floor) in prices.iter().zip(&floors) {
                    let Some(time) = price.time(kernel) else { continue };
                    prop_assert!(floor.time(kernel).is_some_and(|least| least <= time));
                }
            }
        }
    }
}

/// `x·a` and `x·b` added to `x·c`, against every program in which each is made in every way.
#[test]
fn programs_with_joint_kernels_against_all_programs() {
    let rows = |width| [Dim::Tokens, Dim::Fixed(width)];
    let mut graph = Graph::default();
    let x = graph.tensor("x", &rows(512), DType::F32, Role::Input);
    let mut last = x;
    for (name, dtype) in [("a", DType::Q4_0), ("b", DType::Q8_0)] {
        let weight = graph.tensor(name, &[Dim::Fixed(512), Dim::Fixed(512)], dtype, Role::Weight);
        let made = graph.apply(Op::Linear, &[x, weight], "", &rows(512));
        last = graph.apply(Op::Add, &[last, made], "", &rows(512));
    }
    on_unlike_links(&graph, |repertoire, programs| {
        let kernels = &repertoire.rates.joint;
        let joint = |made: &&Vec<Made>| kernels.among(made).iter().any(|&kernel| kernel >= kernels.ways());
        let with = programs.iter().filter(joint).count();
        assert!(with > 1 && with < programs.len(), "{with} of {}", programs.len());
    });
}

/// Each phase has the joint kernels that its own layouts allow.
#[test]
fn the_products_of_a_joint_kernel_stand_behind_each_other() {
    let (fleet, request, model) = (fleet(&[(2000, 0, 1); 4], "Ring", 400, 20), request(Objective::Request), model());
    let costs = CostModel::new(&fleet, &request);
    let group: Vec<SailId> = fleet.ids().collect();
    let repertoires = repertoires(&model, &costs);
    let repertoire = &repertoires[1];
    let station = crate::front::Station::new(repertoire, &costs, &group, crate::space::Manner::Any);
    let point = station.fastest(Picoseconds::NEVER).unwrap().unwrap();
    for (phase, program) in [&point.formed.form.prefill, &point.formed.form.decode].into_iter().enumerate() {
        let sizes: Vec<usize> = point.formed.kernels(phase).map(<[Made]>::len).filter(|&size| size > 1).collect();
        assert_eq!(sizes, [3, 2], "q, k and v; gate and up, which are of two types");
        let times = &point.detail(repertoire, &costs, &group).prices[phase];
        assert_eq!(times.len(), program.instructions.len());
        let joint = program.joint(&repertoire.choices.template.graph, &repertoire.choices.template.domains);
        assert!(joint.iter().all(|kernel| kernel[1..].iter().all(|&place| times[place].price.time == Picoseconds(0))));
        assert!(joint.iter().all(|kernel| program.instructions[kernel[0]].layout != Layout::Host));
    }
    let weights = [request.weights().0 * request.chunks(), request.weights().1];
    let detail = point.detail(repertoire, &costs, &group);
    let sum =
        |phase: usize| detail.prices[phase].iter().map(|one| one.price.time).sum::<Picoseconds>() * weights[phase];
    assert_eq!(sum(0) + sum(1), point.objective);
}
