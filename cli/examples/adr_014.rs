//! Writes `docs/case-studies/adr-014.md`: what ADR-014 §4.2 says of link rates at 30 tokens a second, beside what compiled
//! plans send. `./x docs` runs it; a test holds the page equal to what it prints.

use sailplan_codegen::{Plan, Sent, sent};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Fleet, Request, Verified, Verify, Wire};
use sailplan_planner::{Config, PlaceError, evaluate, place};
use std::fmt::Write;

/// A reference model: zoo name, name in ADR-014, hidden size, layers, and the published rates in MB/s for 2, 4, 8 cards.
struct Reference {
    zoo: &'static str,
    name: &'static str,
    hidden: u64,
    layers: u64,
    published: [f64; 3],
}

const REFERENCES: [Reference; 3] = [
    Reference { zoo: "tinyllama-1.1b", name: "TinyLlama-1.1B", hidden: 2048, layers: 22, published: [2.7, 4.0, 4.7] },
    Reference { zoo: "llama-2-7b", name: "Llama-7B", hidden: 4096, layers: 32, published: [7.7, 11.5, 13.4] },
    Reference { zoo: "llama-3-70b", name: "Llama-70B", hidden: 8192, layers: 80, published: [38.6, 57.9, 67.5] },
];
const CARDS: [u64; 3] = [2, 4, 8];
const TOKENS_PER_SECOND: f64 = 30.0;

#[cfg_attr(test, expect(dead_code, reason = "the test calls `page`"))]
fn main() {
    print!("{}", page());
}

impl Reference {
    /// Two all-reduces a layer of `hidden` BF16 values.
    fn payload(&self) -> u64 {
        2 * self.layers * self.hidden * 2
    }
}

/// The shipped ring, with 8 GB cards where 4 GB cannot hold the model, and with more than exists where those cannot.
fn fleet(cards: u64, memory: &str) -> Verified<Fleet> {
    let name = format!("innerjib7ea-x{cards}-ring");
    let text = shipped_fleet(&name).expect("it is shipped");
    parse_fleet(&name, &text.replace("memory: \"4 GiB\"", &format!("memory: \"{memory}\""))).expect("it is sound")
}

fn request() -> Verified<Request> {
    Request { wire: Wire::Bf16, ..Request::default() }.verify().expect("it is sound")
}

/// Tensor parallel over all cards, as ADR-014 assumes.
fn tensor_parallel(reference: &Reference, cards: u64) -> Plan {
    let (fleet, request) = (fleet(cards, "64 GiB"), request());
    let model = sailplan_models::load_zoo(reference.zoo).expect("it is shipped").model;
    let costs = CostModel::new(&fleet, &request);
    let all = [(0..cards as usize, 0..model.segments.len())];
    let placement = evaluate(&model, &costs, &all).expect("64 GiB are enough");
    sailplan_codegen::emit(&model, &fleet, &request, &placement).expect("a placement has a plan")
}

/// The page.
pub(crate) fn page() -> String {
    let mut text = String::from(HEAD);
    for reference in &REFERENCES {
        for (index, &cards) in CARDS.iter().enumerate() {
            let plan = tensor_parallel(reference, cards);
            let busiest = sent(&plan, |sail| &sail.decode).into_values().max_by_key(Sent::total).unwrap_or_default();
            row(&mut text, reference, (cards, reference.published[index]), &busiest);
        }
    }
    text.push_str(FACTOR);
    for reference in &REFERENCES {
        for cards in CARDS {
            bounds(&mut text, reference, cards);
        }
    }
    text.push_str(TAIL);
    text
}

/// MB/s at 30 tokens a second.
fn rate(bytes: f64) -> f64 {
    bytes * TOKENS_PER_SECOND / 1e6
}

fn row(text: &mut String, reference: &Reference, (cards, published): (u64, f64), busiest: &Sent) {
    let (payload, n) = (reference.payload() as f64, cards as f64);
    let (half, ring) = (payload * (n - 1.0) / n, payload * 2.0 * (n - 1.0) / n);
    let layers: u64 = busiest.layers.values().map(|bytes| bytes.0).sum();
    let how: Vec<String> =
        busiest.layers.iter().map(|((kind, algorithm), bytes)| format!("{kind} {algorithm} {bytes}")).collect();
    let _ = writeln!(
        text,
        "| {} | {cards} | {} | {published:.1} | {:.1} | {:.1} | {layers} | {:.1} | {} | {} |",
        reference.name,
        reference.payload(),
        rate(half),
        rate(ring),
        rate(layers as f64),
        how.join(", "),
        busiest.others,
    );
}

fn bounds(text: &mut String, reference: &Reference, cards: u64) {
    let model = sailplan_models::load_zoo(reference.zoo).expect("it is shipped").model;
    let request = request();
    let _ = write!(text, "| {} | {cards} | {} ", reference.name, model.weight_bytes());
    for memory in ["4 GiB", "8 GiB"] {
        let fleet = fleet(cards, memory);
        let costs = CostModel::new(&fleet, &request);
        let cell = match place(&model, &costs, Config::default()) {
            Ok(outcome) => {
                let estimate = outcome.placement.estimate;
                format!("{:.2}", 1.0 / estimate.decode.seconds())
            }
            Err(PlaceError::NoPlan(_)) => "does not fit".to_owned(),
            Err(other) => panic!("{other}"),
        };
        let _ = write!(text, "| {cell} ");
    }
    let ddr = cards as f64 * 2e9 / model.weight_bytes().0 as f64;
    let _ = writeln!(text, "| {ddr:.2} |");
}

const HEAD: &str = "\
# ADR-014 §4.2, counted

ADR-014 asks what link rate tensor parallelism needs at 30 tokens a second. Its table multiplies the bytes that are
all-reduced per token (two all-reduces of the hidden size in BF16 a layer) by (N−1)/N. This page counts the bytes in compiled
plans, message by message, from the schedules that the plans name. `./x docs` writes it; a test holds it to what the compiler
emits today.

## What a card sends

Plans for InnerJib7EA rev-A cards in a ring, `--wire bf16`, prompt 512, 128 tokens, tensor parallel over all N cards, with memory
enlarged to 64 GiB a card so that every model fits. MB/s at 30 tokens a second; bytes are what the busiest card sends to other cards in
one decode step.

| model | N | payload, B a token | published MB/s | (N−1)/N | 2(N−1)/N | plan: B a token in layers | plan: MB/s | of which | outside layers |
|---|---|---|---|---|---|---|---|---|---|
";

const FACTOR: &str = "
**2(N−1)/N is right.** A ring all-reduce sends every part around twice: once to add it up (reduce-scatter, N−1 steps of 1/N), once
to hand out the sum (all-gather, N−1 steps of 1/N). ADR-014 states that factor and tabulates half of it. Where a plan exchanges
what ADR-014 assumes, the count is exactly 2(N−1)/N of the payload, whatever the algorithm: direct schedules move the bytes
of the ring in fewer steps, an all-gather of attention's heads and a later reduce-scatter move those of two all-reduces, and at
N = 2 a one-shot all-reduce sends the payload once.

Where the count is higher, the plan chose to send more. TinyLlama has 4 KV heads, so on 8 cards attention is on four of them; the
products before it are cut along the hidden size instead of by heads, so that all eight read an equal part of the weights, and
their sums are exchanged too. On Llama-70B the products for k and v are cut that way because reading the whole activation
(32 KB a product) from memory costs more than exchanging a sum of 2 KB.

Even so, the links are not what keeps rev-A from 30 tokens a second: each card can send 400 MB/s and more, every rate above is below that.

## What memory and capacity allow

Decode tokens a second of the best plan (any placement, `--wire bf16`), with the 4 GB that rev-A boards have and with the
8 GB that fit; the last column is N × 2 GB/s over the bytes of the weights: no plan that reads all weights for every token can be faster.

| model | N | weights (Q4_0) | 4 GB cards | 8 GB cards | memory rate allows |
|---|---|---|---|---|---|
";

const TAIL: &str = "
Thirty tokens a second are out of reach on rev-A for all three models, because of memory: reading TinyLlama's weights alone allows 25
on eight cards. A 4-bit Llama-70B fits on eight cards only with 8 GB each, and is read 0.4 times a second.
";
