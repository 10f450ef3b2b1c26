//! Tests only: every chain of stages on every interval of cards with every mix of points, and every set of such chains side by
//! side, against the engines and the integer
//! program.

use crate::checks::repertoires;
use crate::dynamic;
use crate::pace::{Pace, Toll};
use crate::pins::Limits;
use crate::program;
use crate::space::{Interval, Scope, Space};
use crate::stage::Counts;
use crate::{assemble, dynamic::wanted, replicas};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{Fleet, Model, Objective, Picoseconds, Rate, Request, SailId, Verified, Verify};
use std::collections::BTreeMap;

/// Tolls of all mixes that fit, by group and segments.
type Mixes = BTreeMap<(usize, usize, Vec<u64>), Vec<Toll>>;

/// Every way to deal `count` to so many points.
fn deals(count: u64, points: usize) -> Vec<Vec<u64>> {
    match points {
        0 => {
            if count == 0 {
                vec![Vec::new()]
            } else {
                Vec::new()
            }
        }
        1 => vec![vec![count]],
        _ => (0..=count)
            .flat_map(|first| {
                deals(count - first, points - 1).into_iter().map(move |rest| [vec![first], rest].concat())
            })
            .collect(),
    }
}

/// How many mixes there are.
fn combinations(space: &Space<'_>, group: &Interval, wanted: &[u64]) -> u64 {
    let of = |(points, &count): (&Vec<_>, &u64)| {
        (1..points.len() as u64).fold(1, |ways: u64, more| ways.saturating_mul(count + more) / more)
    };
    space.front(group).iter().zip(wanted).map(of).fold(1, u64::saturating_mul)
}

fn mixes(space: &Space<'_>, group: &Interval, wanted: &[u64]) -> Vec<Toll> {
    let front = space.front(group);
    let mut all: Vec<Counts> = vec![Vec::new()];
    for (points, &count) in front.iter().zip(wanted) {
        let deals = deals(count, points.len());
        all = all
            .iter()
            .flat_map(|known| deals.iter().map(|deal| [&known[..], std::slice::from_ref(deal)].concat()))
            .collect();
    }
    all.retain(|counts| space.relaxed || space.holds(group, counts));
    let mut tolls: Vec<Toll> = all.iter().map(|counts| space.toll(group, counts)).collect();
    tolls.sort_by_key(|toll| (toll.cost, toll.load));
    let mut kept: Vec<Toll> = Vec::new();
    for toll in tolls {
        if kept.last().is_none_or(|known| toll.load < known.load) {
            kept.push(toll);
        }
    }
    kept
}

/// The objective of the best of all chains on cards of a run that go on from a card with these segments placed.
fn chains(
    space: &Space<'_>,
    known: &mut Mixes,
    (run, previous, placed): (&Interval, Option<usize>, usize),
    so_far: (Toll, Toll),
) -> Option<Picoseconds> {
    let (done, open) = so_far;
    let segments = space.model.segments.len();
    let ended = |last: Toll| {
        let (sum, most) = (done.cost + last.cost, done.load.max(last.load));
        match space.pace() {
            Pace::Sum => sum,
            Pace::Overlap { further } => sum + most * further,
            Pace::Period => most,
        }
    };
    if placed == segments {
        return Some(ended(open));
    }
    let mut best: Option<Picoseconds> = None;
    for start in previous.unwrap_or(run.start)..run.end {
        let (mut sent, mut spread_over) = (open, None);
        if let Some(end) = previous {
            sent = sent + space.toll_of(&space.message(SailId(end as u16 - 1), SailId(start as u16)));
            spread_over = Some(());
        }
        let before = Toll { cost: done.cost + sent.cost, load: done.load.max(sent.load) };
        for end in start + 1..=run.end {
            let group = start..end;
            for last in placed + 1..=segments {
                let wanted = wanted(space, placed..last);
                let key = (start, end, wanted.clone());
                let tolls = known.entry(key).or_insert_with(|| mixes(space, &group, &wanted)).clone();
                for toll in tolls {
                    let spread = spread_over.map_or(Toll::default(), |()| space.toll_of(&space.broadcast(&group)));
                    let found = chains(space, known, (run, Some(end), last), (before, toll + spread));
                    best = best.into_iter().chain(found).min();
                }
            }
        }
    }
    best
}

/// The periods of all sets of replicas on disjoint runs of the cards from one on.
fn partitions(periods: &BTreeMap<(usize, usize), Picoseconds>, from: usize, cards: usize) -> Vec<Vec<Picoseconds>> {
    let mut all = vec![Vec::new()];
    for (&(start, end), &period) in periods.range((from, 0)..) {
        if start < cards {
            all.extend(partitions(periods, end, cards).into_iter().map(|rest| [vec![period], rest].concat()));
        }
    }
    all
}

pub(crate) fn fleet(cards: &[(u32, u32)], shape: &str, rate: u32, latency: u32) -> Verified<Fleet> {
    let kind = |(index, (memory, rate)): (usize, &(u32, u32))| {
        format!("\"k{index}\": (memory: \"{memory} MiB\", bandwidth: \"{rate} MB/s\", overhead: \"1 us\"), ")
    };
    let kinds: String = cards.iter().enumerate().map(kind).collect();
    let sails: String = (0..cards.len()).map(|index| format!("(kind: \"k{index}\"), ")).collect();
    let text = format!(
        "Fleet(name: \"random\", kinds: {{{kinds}}}, sails: [{sails}],
         links: {shape}(rate: \"{rate} MB/s\", latency: \"{latency} us\"), host: (rate: \"100 MB/s\", latency: \"100 us\"))"
    );
    parse_fleet("random.ron", &text).unwrap()
}

/// A small decoder, with further fields.
pub(crate) fn model(layers: u32, more: &str) -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"r\", hidden: 256, layers: {layers}, heads: 4, kv_heads: 1, head_dim: 64, ffn: 640, vocab: 1001, {more}
         context: 512, norm_epsilon: 1e-5, rope_base: 1e4, tied: false, dtypes: Dtypes(default: Q4_0))"
    );
    sailplan_models::from_ron("r.ron", &text).unwrap().model
}

/// One case: (objective, tokens in a chunk, requests in flight).
fn work() -> impl Strategy<Value = (Objective, u64, u64)> {
    prop_oneof![
        Just((Objective::Request, 64, 1)),
        Just((Objective::Decode, 64, 1)),
        Just((Objective::Prefill, 16, 1)),
        (1u64..64).prop_map(|chunk| (Objective::Request, chunk, 1)),
        (1u64..4).prop_map(|flights| (Objective::Throughput, 32, flights)),
        Just((Objective::Throughput, 64, 1)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(14), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn engines_find_the_best_of_all_chains(
        cards in prop::collection::vec((prop::sample::select(vec![4u32, 6, 12, 4096]), prop::sample::select(vec![500u32, 1500, 2000, 8000])), 1..6),
        shape in prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"]),
        rate in prop::sample::select(vec![10u32, 500]),
        latency in prop::sample::select(vec![1u32, 50, 2000]),
        layers in 1u32..7,
        (objective, chunk, in_flight) in work(),
        relaxed in any::<bool>(),
    ) {
        let model = model(layers, "");
        let request = Request { prompt: 64, generate: 16, context: 128, chunk, objective, in_flight, ..Request::default() };
        let (fleet, request) = (fleet(&cards, shape, rate, latency), request.verify().unwrap());
        let costs = CostModel::new(&fleet, &request);
        let repertoires = repertoires(&model, &costs);
        let limits = Limits::none(cards.len(), model.classes.len());
        let replicas = objective == Objective::Throughput;
        let scope = Scope { relaxed, limits: Some(&limits), replicas, ..Scope::default() };
        let space = Space::new(&model, &costs, &repertoires, scope, None).unwrap();
        // What cannot be enumerated is no case.
        let all = wanted(&space, 0..model.segments.len());
        prop_assume!(space.groups().iter().all(|group| combinations(&space, group, &all) <= 3000));
        let mut known = Mixes::new();
        let mut best_on = |run: &Interval| chains(&space, &mut known, (run, None, 0), <(Toll, Toll)>::default());
        let one = best_on(&(0..cards.len()));
        let mut brute = one;
        if space.replicas {
            let runs = (0..cards.len()).flat_map(|start| (start + 1..=cards.len()).map(move |end| (start, end)));
            // Where memory is left out of account, that of a replica's cards still holds all once.
            let runs = runs.filter(|run| space.room(&(run.0..run.1)) >= space.whole);
            let periods = runs.filter_map(|run| Some((run, best_on(&(run.0..run.1))?))).collect();
            let several = partitions(&periods, 0, cards.len()).into_iter().filter(|several| several.len() > 1);
            let floor = replicas::host_busy(&space);
            brute = brute.into_iter().chain(several.map(|all| Rate::together(all).max(floor))).min();
        }
        let chain = dynamic::solve(&space).unwrap();
        let engine = chain.as_ref().and_then(|chain| assemble::polished(&space, &chain.cuts).unwrap());
        let engine = engine.map(|stages| assemble::assemble(&space, &stages).estimate.objective);
        match chain {
            Some(chain) if chain.exact => prop_assert_eq!(engine, brute),
            Some(chain) => prop_assert!(chain.bound <= brute.unwrap() && brute <= engine, "{:?} {:?} {:?}", chain.bound, brute, engine),
            // Greedy mixes may find nothing where something fits.
            None if relaxed => prop_assert_eq!(brute, None),
            None => {}
        }
        if cards.len() < 4 {
            let program = program::solve(&space).unwrap().stages;
            let program = program.map(|stages| assemble::assemble(&space, &stages).estimate.objective);
            match (program, one) {
                (Some(program), Some(one)) => prop_assert!(crate::agree(one, program), "{program:?} {one:?}"),
                (program, one) => prop_assert_eq!(program, one),
            }
        }
    }
}
