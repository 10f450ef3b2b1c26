//! Tests only: what the search finds, against other ways to find it. Prices against the plain formula, the walk against
//! the integer program and against every program of a class, shares against every combination of shares.

use crate::extract::{Goal, extract};
use crate::front::Station;
use crate::paths::{Cost, Walk};
use crate::price::Site;
use crate::repertoire::Repertoire;
use crate::saturate::{WayAction, saturate};
use crate::shares;
use crate::space::Manner;
use crate::table::{Exchanges, PHASES, price_tables};
use crate::trellis::Made;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{
    Bytes, ClassId, DType, Dim, Fleet, Graph, Model, Objective, Op, Partition, Picoseconds, Request, Role, SailId,
    Verified, Verify,
};
use std::collections::BTreeMap;

/// A card: memory rate in MB/s, compute rate in Gflop/s (0 is unknown), overhead in µs.
pub(crate) type Card = (u32, u32, u32);

pub(crate) fn fleet(cards: &[Card], shape: &str, rate: u32, latency: u32) -> Verified<Fleet> {
    let kind = |(index, (memory, compute, overhead)): (usize, &Card)| {
        let compute = match compute {
            0 => "Unknown".to_owned(),
            rate => format!("Rates({{F32: \"{rate} GFLOP/s\"}})"),
        };
        format!(
            "\"k{index}\": (memory: \"1 GiB\", bandwidth: \"{memory} MB/s\", compute: {compute}, overhead: \"{overhead} us\"), "
        )
    };
    let kinds: String = cards.iter().enumerate().map(kind).collect();
    let sails: String = (0..cards.len()).map(|index| format!("(kind: \"k{index}\"), ")).collect();
    let text = format!(
        "Fleet(name: \"random\", kinds: {{{kinds}}}, sails: [{sails}],
         links: {shape}(rate: \"{rate} MB/s\", latency: \"{latency} us\"), host: (rate: \"100 MB/s\", latency: \"100 us\"))"
    );
    parse_fleet("random.ron", &text).unwrap()
}

fn model(kv_heads: u32, dtype: &str) -> Verified<Model> {
    described(kv_heads, dtype, "")
}

/// The same with some of five experts for each token.
fn mixture(kv_heads: u32, dtype: &str, used: u32) -> Verified<Model> {
    described(kv_heads, dtype, &format!("experts: 5, experts_used: {used}, expert_ffn: 768,"))
}

fn described(kv_heads: u32, dtype: &str, more: &str) -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"r\", hidden: 512, layers: 1, heads: {}, kv_heads: {kv_heads}, head_dim: 64, ffn: 1280, vocab: 3001,
         {more} context: 512, norm_epsilon: 1e-5, rope_base: 1e4, tied: false, dtypes: Dtypes(default: {dtype}))",
        kv_heads * 4
    );
    sailplan_models::from_ron("r.ron", &text).unwrap().model
}

pub(crate) fn request(objective: Objective) -> Verified<Request> {
    Request { prompt: 64, generate: 16, context: 128, objective, ..Request::default() }.verify().unwrap()
}

pub(crate) fn repertoires(model: &Model, costs: &CostModel<'_>) -> Vec<Repertoire> {
    let classes = model.classes.iter().enumerate();
    let one = |(index, class): (usize, &sailplan_ir::LayerClass)| {
        let choices = saturate(&class.template, class.name == "head").unwrap();
        Repertoire::new(ClassId(index as u32), choices, costs).unwrap()
    };
    classes.map(one).collect()
}

fn weights(request: &Request) -> [u64; 2] {
    let (prefill, decode) = request.weights();
    [prefill * request.chunks(), decode]
}

/// One partition for every domain, drawn from the options by `draw`.
pub(crate) fn drawn(repertoire: &Repertoire, costs: &CostModel<'_>, group: &[SailId], draw: usize) -> Vec<Partition> {
    let template = &repertoire.choices.template;
    let options = shares::options(&template.graph, &template.domains, costs, group);
    options.iter().map(|options| options[draw % options.len()].clone()).collect()
}

fn cards() -> impl Strategy<Value = Vec<Card>> {
    let card = (
        prop::sample::select(vec![500u32, 1500, 2000, 8000]),
        prop::sample::select(vec![0u32, 1, 40]),
        prop::sample::select(vec![1u32, 30]),
    );
    prop::collection::vec(card, 1..6)
}

fn shape() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"])
}

fn goal() -> impl Strategy<Value = Objective> {
    prop::sample::select(vec![Objective::Request, Objective::Decode, Objective::Prefill])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_hold_the_plain_prices(
        cards in cards(), shape in shape(), kv_heads in 1u32..4, draw in 0usize..4,
        dtype in prop::sample::select(vec!["Q4_0", "Q4_K", "F16"]), used in 0u32..6, batch in 1u64..4,
    ) {
        let request = Request { batch, ..*request(Objective::Request) }.verify().unwrap();
        let fleet = fleet(&cards, shape, 400, 20);
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let model = if used == 0 { model(kv_heads, dtype) } else { mixture(kv_heads, dtype, used) };
        for repertoire in &repertoires(&model, &costs) {
            let partitions = drawn(repertoire, &costs, &group, draw);
            let site = Site::new(&costs, &group, (&repertoire.choices.template.domains, &partitions));
            let tables = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
            for (phase, table) in PHASES.iter().zip(&tables) {
                for (class, entry) in repertoire.choices.classes.iter().enumerate() {
                    for (index, way) in entry.ways.iter().enumerate() {
                        let Some(time) = table.at((class, index)) else { continue };
                        let plain = site.price(&repertoire.choices, class, way, *phase).price.time;
                        prop_assert_eq!(time, plain, "{:?} {:?}", entry.fact, way);
                    }
                }
            }
        }
    }

    /// The fastest form, and the fastest within any memory limit, as the integer program has it.
    #[test]
    fn the_walk_agrees_with_the_integer_program(
        cards in cards(), shape in shape(), rate in prop::sample::select(vec![10u32, 400, 5000]),
        latency in prop::sample::select(vec![1u32, 50, 2000]), kv_heads in 1u32..4, draw in 0usize..4, objective in goal(),
        experts in any::<bool>(),
    ) {
        let (fleet, request) = (fleet(&cards, shape, rate, latency), request(objective));
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let model = if experts { mixture(kv_heads, "Q4_0", 2) } else { model(kv_heads, "Q4_0") };
        for repertoire in &repertoires(&model, &costs) {
            let partitions = drawn(repertoire, &costs, &group, draw);
            let site = Site::new(&costs, &group, (&repertoire.choices.template.domains, &partitions));
            let tables = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
            let walk = Walk { trellis: repertoire.trellis(group.len()), tables: &tables, weights: weights(&request) };
            let bytes = |class: usize| -> Vec<Bytes> {
                site.sorts.iter().map(|&rank| site.resident(&repertoire.choices, class, rank).total()).collect()
            };
            let held: Vec<Vec<Bytes>> = (0..repertoire.choices.classes.len()).map(bytes).collect();
            let front = walk.front(&held, &vec![Bytes(1 << 30); site.sorts.len()], Picoseconds::NEVER);
            let ahead = walk.ahead();
            let fastest = walk.fastest(&ahead, Cost::most(ahead.whole())).map(|(_, cost)| cost);
            prop_assert_eq!(fastest, front.first().map(|(_, cost)| *cost), "the walk and its front");
            let fullest = |selection: &crate::paths::Selection| {
                let form = repertoire.form(selection).unwrap();
                (0..group.len()).map(|rank| site.held(&repertoire.choices, &form.form, rank).total()).max().unwrap()
            };
            let limits = front.iter().map(|(selection, _)| Some(fullest(selection))).chain([None, Some(Bytes(1))]);
            for limit in limits {
                let goal = Goal { weights: weights(&request), limit };
                let program = extract(&repertoire.choices, &site, &tables, &goal).unwrap().map(|(_, value)| value);
                let fits = |(selection, _): &&(crate::paths::Selection, Cost)| limit.is_none_or(|limit| fullest(selection) <= limit);
                let walked = front.iter().find(fits).map(|(_, cost)| cost.objective as f64 / 1e6);
                match (walked, program) {
                    (Some(ours), Some(theirs)) => prop_assert!(
                        (ours - theirs).abs() <= 1e-6 * theirs + 1e-3, "walk {} µs, program {} µs", ours, theirs),
                    (ours, theirs) => prop_assert_eq!(ours.is_some(), theirs.is_some(), "{:?} {:?}", ours, theirs),
                }
            }
        }
    }

    /// Branching over the shares of each domain, against all combinations one by one.
    #[test]
    fn shares_are_the_best_of_all_combinations(
        cards in cards(), shape in shape(), latency in prop::sample::select(vec![1u32, 200]), kv_heads in 1u32..4,
        objective in goal(), dtype in prop::sample::select(vec!["Q4_0", "Q4_K"]), experts in any::<bool>(),
    ) {
        let (fleet, request) = (fleet(&cards, shape, 400, latency), request(objective));
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let model = if experts { mixture(kv_heads, dtype, 2) } else { model(kv_heads, dtype) };
        for repertoire in &repertoires(&model, &costs) {
            let station = Station::new(repertoire, &costs, &group, Manner::Any);
            let found = station.fastest(Picoseconds::NEVER).unwrap().map(|point| point.objective);
            prop_assert_eq!(found, every_combination(repertoire, &costs, &group));
        }
    }
}

fn every_combination(repertoire: &Repertoire, costs: &CostModel<'_>, group: &[SailId]) -> Option<Picoseconds> {
    let template = &repertoire.choices.template;
    let options = shares::options(&template.graph, &template.domains, costs, group);
    let mut combinations: Vec<Vec<Partition>> = vec![Vec::new()];
    for options in &options {
        let one = |known: &Vec<Partition>| -> Vec<Vec<Partition>> {
            options.iter().map(|option| [&known[..], std::slice::from_ref(option)].concat()).collect()
        };
        combinations = combinations.iter().flat_map(one).collect();
    }
    // What covers a domain is cut where it is.
    combinations.retain(|dealt| *dealt == template.domains.partitions(|domain| dealt[domain.index()].clone()));
    let best = |partitions: &Vec<Partition>| {
        let site = Site::new(costs, group, (&repertoire.choices.template.domains, partitions));
        let tables = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
        let walk = Walk { trellis: repertoire.trellis(group.len()), tables: &tables, weights: weights(costs.request) };
        Some(Picoseconds(walk.ahead().whole())).filter(|time| time.0 < u64::MAX)
    };
    combinations.iter().filter_map(best).min()
}

/// Every program of one phase, way by way: what is demanded is made in every way there is. Only for small classes.
fn every_program(repertoire: &Repertoire) -> Vec<Vec<Made>> {
    let choices = &repertoire.choices;
    let mut all = Vec::new();
    let mut open: Vec<Vec<Made>> = vec![Vec::new()];
    while let Some(made) = open.pop() {
        let demanded = std::iter::once(choices.root)
            .chain(made.iter().flat_map(|&(class, way)| choices.classes[class].ways[way].inputs.iter().copied()));
        let missing = demanded
            .filter(|&class| !choices.is_resident(class))
            .find(|&class| made.iter().all(|&(known, _)| known != class));
        match missing {
            None => all.push(made),
            Some(class) => {
                let ways = 0..choices.classes[class].ways.len();
                open.extend(ways.map(|way| [&made[..], &[(class, way)]].concat()));
            }
        }
    }
    all.retain(|made| crate::extract::linearise(choices, made).is_ok());
    all
}

/// What a program reads, when it reads every weight and cache in one layout.
fn residents(repertoire: &Repertoire, made: &[Made]) -> Option<Vec<usize>> {
    let choices = &repertoire.choices;
    let inputs = made.iter().flat_map(|&(class, way)| choices.classes[class].ways[way].inputs.iter().copied());
    let mut read: Vec<usize> = inputs.filter(|&input| choices.is_resident(input)).collect();
    read.sort_unstable();
    read.dedup();
    let tensor = |class: usize| choices.classes[class].fact.tensor;
    read.windows(2).all(|pair| tensor(pair[0]) != tensor(pair[1])).then_some(read)
}

#[test]
fn small_classes_against_every_program() {
    let request = request(Objective::Request);
    for (shape, latency, count) in [("Ring", 1, 3usize), ("Mesh", 50, 4), ("Star", 2000, 2), ("Line", 20, 5)] {
        let fleet = fleet(&[(2000, 0, 1); 5][..count], shape, 400, latency);
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let model = model(2, "Q4_0");
        for repertoire in repertoires(&model, &costs).iter().filter(|one| one.choices.classes.len() < 20) {
            let (walked, best, programs) = walked_and_best(repertoire, &costs, &group);
            assert_eq!(walked, best, "{shape}");
            let worked = |&(class, way): &Made| repertoire.choices.classes[class].ways[way].action != WayAction::Leaf;
            assert!(programs.iter().flatten().any(worked));
        }
    }
}

/// The walk finds the best of all programs of a small graph on fleets of three cards; each has its choices and the programs.
pub(crate) fn on_unlike_links(graph: &Graph, check: impl Fn(&Repertoire, &[Vec<Made>])) {
    let request = request(Objective::Request);
    for (shape, rate, latency, cards) in [
        ("Ring", 400, 1, [(2000, 0, 1); 3]),
        ("Mesh", 5000, 1, [(500, 1, 30), (2000, 40, 1), (8000, 0, 1)]),
        ("Star", 10, 2000, [(2000, 1, 1); 3]),
        ("Line", 100_000, 1, [(500, 40, 1); 3]),
    ] {
        let fleet = fleet(&cards, shape, rate, latency);
        let costs = CostModel::new(&fleet, &request);
        let group: Vec<SailId> = fleet.ids().collect();
        let repertoire = Repertoire::new(ClassId(0), saturate(graph, false).unwrap(), &costs).unwrap();
        let (walked, best, programs) = walked_and_best(&repertoire, &costs, &group);
        assert_eq!(walked, best, "{shape}");
        check(&repertoire, &programs);
    }
}

/// The least cost that the walk finds, that of all pairs of programs with one layout of each weight, and the programs.
fn walked_and_best(repertoire: &Repertoire, costs: &CostModel<'_>, group: &[SailId]) -> (Cost, Cost, Vec<Vec<Made>>) {
    let partitions = drawn(repertoire, costs, group, 0);
    let site = Site::new(costs, group, (&repertoire.choices.template.domains, &partitions));
    let tables = price_tables(&repertoire.choices, &repertoire.rates, &site, &mut Exchanges::default());
    let weights = weights(costs.request);
    let walk = Walk { trellis: repertoire.trellis(group.len()), tables: &tables, weights };
    let programs = every_program(repertoire);
    assert!(programs.len() > 3, "too few programs to mean anything");
    let cost = |phase: usize, made: &Vec<Made>| {
        let kernels = repertoire.rates.joint.among(made).into_iter();
        kernels.map(|kernel| Cost::of(tables[phase].time(kernel), weights[phase])).fold(Cost::default(), Cost::plus)
    };
    // Of programs with the same weights in the same layouts only the cheapest of each phase counts.
    let mut least: BTreeMap<Vec<usize>, [Cost; 2]> = BTreeMap::new();
    for made in &programs {
        let Some(held) = residents(repertoire, made) else { continue };
        let known = least.entry(held).or_insert([Cost::NEVER; 2]);
        (0..2).for_each(|phase| known[phase] = known[phase].min(cost(phase, made)));
    }
    let tensor = |&class: &usize| repertoire.choices.classes[class].fact.tensor;
    let together = |one: &Vec<usize>, other: &Vec<usize>| {
        one.iter().all(|class| other.iter().all(|known| tensor(class) != tensor(known) || class == known))
    };
    let pairs = least.iter().flat_map(|prefill| least.iter().map(move |decode| (prefill, decode)));
    let shared = pairs.filter(|(prefill, decode)| together(prefill.0, decode.0));
    let best = shared.map(|(prefill, decode)| prefill.1[0].plus(decode.1[1])).min().unwrap();
    let ahead = walk.ahead();
    let walked = walk.fastest(&ahead, Cost::most(ahead.whole())).map_or(Cost::NEVER, |found| found.1);
    (walked, best, programs)
}

/// The gated part of a layer. The walk fuses in both phases or in neither; every pair of programs is looked at here, also those
/// that fuse in one.
#[test]
fn phases_that_fuse_alike_lose_nothing() {
    let rows = |width| [Dim::Tokens, Dim::Fixed(width)];
    let mut graph = Graph::default();
    let x = graph.tensor("x", &rows(512), DType::F32, Role::Input);
    let product = |graph: &mut Graph, name: &str| {
        let weight = graph.tensor(name, &[Dim::Fixed(1280), Dim::Fixed(512)], DType::Q4_0, Role::Weight);
        graph.apply(Op::Linear, &[x, weight], "", &rows(1280))
    };
    let pair = [product(&mut graph, "gate"), product(&mut graph, "up")];
    graph.apply(Op::SwiGlu, &pair, "act", &rows(1280));
    let graph = graph.fuse();
    on_unlike_links(&graph, |repertoire, programs| {
        let fused = |&&(class, way): &&Made| match repertoire.choices.classes[class].ways[way].action {
            WayAction::Compute(node) => graph.is_fused(node),
            _ => false,
        };
        let with = programs.iter().filter(|made| made.iter().any(|one| fused(&one))).count();
        assert!(with > 1 && programs.len() > 10 * with, "{with} of {}", programs.len());
    });
}
