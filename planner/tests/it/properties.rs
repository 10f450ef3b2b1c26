//! What no optimum may do, whatever the fleet and the model. Every answer here is proven by the integer program as well.

use crate::random::{Card, fleet, model, objective, request};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{Objective, Picoseconds};
use sailplan_planner::{Config, place};

fn cards() -> impl Strategy<Value = Vec<Card>> {
    let memory = prop::sample::select(vec![6u32, 12, 30, 4096]);
    let rate = prop::sample::select(vec![500u32, 1500, 2000, 8000]);
    prop::collection::vec((memory, rate), 1..4)
}

fn goal() -> impl Strategy<Value = Objective> {
    prop::sample::select(vec![Objective::Request, Objective::Decode, Objective::Prefill, Objective::Throughput])
}

/// Whether the better fleet's optimum is no worse; nothing is better than no plan.
fn no_worse(base: Option<Picoseconds>, better: Option<Picoseconds>) -> bool {
    base.is_none_or(|base| better.is_some_and(|better| better <= base))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(14), ..ProptestConfig::default() })]
    #[test]
    fn better_hardware_is_never_worse(
        cards in cards(), shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        rate in prop::sample::select(vec![10u32, 500, 5000]), latency in prop::sample::select(vec![2u32, 50, 2000]),
        layers in 1u32..4, kv_heads in 1u32..4, goal in goal(), card in 0usize..4,
    ) {
        let (model, request) = (model(layers, kv_heads, "Q4_0"), request(goal));
        let solve = |cards: &[Card], rate, latency| objective(&model, &fleet(cards, shape, rate, latency), &request);
        let base = solve(&cards, rate, latency);
        let with = |change: &dyn Fn(&mut Card)| {
            let mut other = cards.clone();
            let card = card % other.len();
            change(&mut other[card]);
            solve(&other, rate, latency)
        };
        let roomier = with(&|card| card.0 *= 3).map(|time| Picoseconds(time.0 - time.0 / 1000));
        prop_assert!(no_worse(base, roomier), "more memory on one card, to the deals of shares that memory limits");
        prop_assert!(no_worse(base, with(&|card| card.1 *= 2)), "faster memory on one card");
        prop_assert!(no_worse(base, solve(&cards, rate * 3, latency)), "faster links");
        prop_assert!(no_worse(base, solve(&cards, rate, latency / 2)), "shorter latency");
    }

    /// A ring is left out: a card put into it opens the circle that the others closed.
    #[test]
    fn one_more_sail_is_never_worse(
        cards in cards(), shape in prop::sample::select(vec!["Mesh", "Line", "Star"]),
        latency in prop::sample::select(vec![2u32, 50, 2000]), layers in 1u32..4, kv_heads in 1u32..4, goal in goal(),
    ) {
        let (model, request) = (model(layers, kv_heads, "Q4_0"), request(goal));
        let base = objective(&model, &fleet(&cards, shape, 500, latency), &request);
        let more = [&cards[..], &[(12, 1500)]].concat();
        prop_assert!(no_worse(base, objective(&model, &fleet(&more, shape, 500, latency), &request)));
    }

    /// Ten times every rate and a tenth of every latency is a tenth of every time, to the rounding of each instruction.
    #[test]
    fn rates_scale_times(
        cards in prop::collection::vec((4096u32..4097, prop::sample::select(vec![500u32, 2000, 8000])), 1..4),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]), layers in 1u32..4, goal in goal(),
    ) {
        let (model, request) = (model(layers, 2, "Q4_0"), request(goal));
        let text = |factor: u32| {
            let kind = |(index, (memory, rate)): (usize, &Card)| format!(
                "\"k{index}\": (memory: \"{memory} MiB\", bandwidth: \"{} MB/s\", overhead: \"{} ns\"), ", rate * factor, 1000 / factor);
            let kinds: String = cards.iter().enumerate().map(kind).collect();
            let sails: String = (0..cards.len()).map(|index| format!("(kind: \"k{index}\"), ")).collect();
            format!(
                "Fleet(name: \"scaled\", kinds: {{{kinds}}}, sails: [{sails}], links: {shape}(rate: \"{} MB/s\", latency: \"{} us\"),
                 host: (rate: \"{} MB/s\", latency: \"{} us\"))", 100 * factor, 50 / factor, 100 * factor, 100 / factor)
        };
        let solve = |factor| objective(&model, &parse_fleet("scaled.ron", &text(factor)).unwrap(), &request).unwrap().0;
        let (slow, fast) = (solve(1), solve(10));
        prop_assert!(slow.abs_diff(fast * 10) <= 100_000 * 10, "{slow} ps and {fast} ps");
    }
}

/// Equal cards are interchangeable: their names change nothing but names.
#[test]
fn kinds_with_equal_figures_are_one_kind() {
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Request));
    // Four cards of four kinds with the same figures, and four of one kind.
    let many = fleet(&[(30, 2000); 4], "Ring", 500, 20);
    let kind = "\"k\": (memory: \"30 MiB\", bandwidth: \"2000 MB/s\", overhead: \"1 us\")";
    let one = format!(
        "Fleet(name: \"one\", kinds: {{{kind}}}, sails: [(kind: \"k\", count: 4)],
         links: Ring(rate: \"500 MB/s\", latency: \"20 us\"), host: (rate: \"100 MB/s\", latency: \"100 us\"))"
    );
    let one = parse_fleet("one.ron", &one).unwrap();
    let placed = |fleet| place(&model, &CostModel::new(fleet, &request), Config::default()).unwrap().placement;
    let (many, one) = (placed(&many), placed(&one));
    assert_eq!(many.estimate, one.estimate);
    assert_eq!(many.stages, one.stages);
}
