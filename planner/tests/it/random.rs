//! Small fleets, models and requests to draw from, and what the planner proves about them.

use proptest::prelude::*;
use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{Demand, Fleet, Model, Objective, Picoseconds, Pin, Request, Status, Verified, Verify};
use sailplan_planner::{Config, PlaceError, place};

/// One card: memory in MiB, memory rate in MB/s.
pub(crate) type Card = (u32, u32);

pub(crate) fn fleet(cards: &[Card], shape: &str, rate: u32, latency: u32) -> Verified<Fleet> {
    let kinds: String = cards
        .iter()
        .enumerate()
        .map(|(i, (memory, rate))| {
            format!("\"k{i}\": (memory: \"{memory} MiB\", bandwidth: \"{rate} MB/s\", overhead: \"1 us\"), ")
        })
        .collect();
    let sails: String = (0..cards.len()).map(|i| format!("(kind: \"k{i}\"), ")).collect();
    let text = format!(
        "Fleet(name: \"random\", kinds: {{{kinds}}}, sails: [{sails}],
         links: {shape}(rate: \"{rate} MB/s\", latency: \"{latency} us\"), host: (rate: \"100 MB/s\", latency: \"100 us\"))"
    );
    parse_fleet("random.ron", &text).unwrap()
}

pub(crate) fn model(layers: u32, kv_heads: u32, dtype: &str) -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"r\", hidden: 512, layers: {layers}, heads: {}, kv_heads: {kv_heads}, head_dim: 64, ffn: 1280, vocab: 3001,
         context: 512, norm_epsilon: 1e-5, rope_base: 1e4, tied: false, dtypes: Dtypes(default: {dtype}))",
        kv_heads * 4
    );
    sailplan_models::from_ron("r.ron", &text).unwrap().model
}

pub(crate) fn request(objective: Objective) -> Verified<Request> {
    request_for(1, objective)
}

/// Requests for each objective, with the prompt of `request` in one chunk or in several.
pub(crate) fn requests() -> impl Strategy<Value = Verified<Request>> {
    let objectives = [Objective::Request, Objective::Decode, Objective::Prefill, Objective::Throughput];
    let chunk = prop_oneof![2 => Just(64u64), 1 => 5u64..60];
    (prop::sample::select(objectives.to_vec()), chunk)
        .prop_map(|(objective, chunk)| Request { chunk, ..*request(objective) }.verify().unwrap())
}

/// As `request`, for so many sequences.
pub(crate) fn request_for(batch: u64, objective: Objective) -> Verified<Request> {
    Request { prompt: 64, generate: 16, context: 128, batch, objective, ..Request::default() }.verify().unwrap()
}

/// The proven objective; `None` when nothing fits.
pub(crate) fn objective(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
) -> Option<Picoseconds> {
    proven(model, fleet, request, false)
}

/// As `objective`, with weights on the host where `stream` says so.
pub(crate) fn proven(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
    stream: bool,
) -> Option<Picoseconds> {
    let costs = CostModel::new(fleet, request);
    // The integer program settles what one chain can do; of replicas it settles nothing where mixes are greedy.
    let one_chain = Pin { name: "one chain".to_owned(), demand: Demand::AtMostStages(1 << 10), place: None };
    let pins = if request.objective == Objective::Throughput { vec![one_chain] } else { Vec::new() };
    match place(model, &costs, Config { prove: true, stream, pins: &pins, ..Config::default() }) {
        Ok(outcome) => {
            let (estimate, certificate) = (outcome.placement.estimate, outcome.placement.certificate);
            assert_eq!(certificate.status, Status::Proven);
            assert_eq!(certificate.bound, estimate.objective);
            assert!(estimate.lower_bound <= estimate.objective, "the bound for any plan is above a plan");
            Some(estimate.objective)
        }
        Err(PlaceError::NoPlan(_)) => None,
        Err(other) => panic!("{other}"),
    }
}
