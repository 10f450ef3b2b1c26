//! Small decoders, dense and with experts, and fleets of equal cards.

use sailplan_ir::{
    Attachment, Bytes, BytesPerSecond, Compute, Constant, DType, Dim, Fleet, Graph, Host, Link, Links, Model, Op,
    Pairs, Picoseconds, Request, Role, SailKind, SailRun, Scores, TensorId, Verified, Verify, Wire,
};
use std::collections::BTreeMap;

const HIDDEN: u64 = 64;
const HEAD: u32 = 16;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const FFN: u64 = 96;
const VOCAB: u64 = 50;

/// Experts of a layer, and those that a token takes.
const EXPERTS: (u32, u32) = (5, 2);

/// Three layers of Q4_0 weights: two KV heads, three blocks of FFN columns.
pub(crate) fn model(tied: bool) -> Verified<Model> {
    decoder(tied, feed_forward)
}

/// The same with five experts of three blocks each.
pub(crate) fn mixture() -> Verified<Model> {
    decoder(false, |graph, normed, layer| experts(graph, normed, layer, (EXPERTS.0, FFN)))
}

/// One mixture behind the other in every layer, each with a router of its own.
pub(crate) fn two_mixtures() -> Verified<Model> {
    decoder(false, |graph, normed, layer| {
        let first = experts(graph, normed, layer, (EXPERTS.0, FFN));
        let again = norm(graph, first, &format!("blk.{layer}.again_norm"));
        experts_named(graph, again, &format!("blk.{layer}.again_"), (EXPERTS.0, FFN))
    })
}

/// As many experts as an expert has columns, so that slices of both look alike.
pub(crate) fn square_mixture() -> Verified<Model> {
    decoder(false, |graph, normed, layer| experts(graph, normed, layer, (64, 64)))
}

/// Three layers, the middle one without a window, with all that Qwen3 and Gemma 2 have and Llama has not.
pub(crate) fn variant() -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"small\", hidden: {HIDDEN}, layers: 3, heads: {HEADS}, kv_heads: {KV_HEADS}, head_dim: {HEAD},
         ffn: {FFN}, vocab: {VOCAB}, norm_epsilon: 1e-5, rope_base: 1e4, rope_pairs: halves, head_norms: true, window: 4,
         global_every: 2, score_cap: 5.0, logit_cap: 3.0, query_scalar: 10.0, activation: gelu, post_norms: true,
         scaled_embedding: true, tied: false, dtypes: Dtypes(default: Q4_0))"
    );
    sailplan_models::from_ron("small.ron", &text).unwrap().model
}

/// What follows the norm of a layer's second part.
type FeedForward = fn(&mut Graph, TensorId, u32) -> TensorId;

fn decoder(tied: bool, feed_forward: FeedForward) -> Verified<Model> {
    let mut graph = Graph::default();
    let tokens = graph.tensor("tokens", &[Dim::Tokens], DType::I32, Role::Tokens);
    let table = weight(&mut graph, "token_embd.weight", &[VOCAB, HIDDEN]);
    let mut x = graph.apply(Op::Embed, &[tokens, table], "x", &[Dim::Tokens, Dim::Fixed(HIDDEN)]);
    for layer in 0..3 {
        x = decoder_layer(&mut graph, x, layer, feed_forward);
    }
    let last = graph.apply(Op::LastToken, &[x], "x_last", &[Dim::Outputs, Dim::Fixed(HIDDEN)]);
    let norm = norm(&mut graph, last, "output_norm");
    let head = if tied { table } else { weight(&mut graph, "output.weight", &[VOCAB, HIDDEN]) };
    graph.apply(Op::Linear, &[norm, head], "logits", &[Dim::Outputs, Dim::Fixed(VOCAB)]);
    sailplan_models::from_graph("small", graph).unwrap()
}

fn weight(graph: &mut Graph, name: &str, sizes: &[u64]) -> TensorId {
    let router = name.contains("ffn_gate_inp");
    let dtype = if sizes.len() > 1 && !router { DType::Q4_0 } else { DType::F32 };
    let axes: Vec<Dim> = sizes.iter().map(|&size| Dim::Fixed(size)).collect();
    graph.tensor(name, &axes, dtype, Role::Weight)
}

fn norm(graph: &mut Graph, x: TensorId, name: &str) -> TensorId {
    let gain = weight(graph, &format!("{name}.weight"), &[HIDDEN]);
    let axes = graph[x].axes.clone();
    graph.apply(Op::RmsNorm { epsilon: Constant(1e-5) }, &[x, gain], short(name), &axes)
}

/// A weight has its layer's name, a value none.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn linear(graph: &mut Graph, x: TensorId, name: &str, rows: u64) -> TensorId {
    let columns = graph[x].axes[1].fixed().unwrap();
    let matrix = weight(graph, &format!("{name}.weight"), &[rows, columns]);
    graph.apply(Op::Linear, &[x, matrix], short(name), &[Dim::Tokens, Dim::Fixed(rows)])
}

fn decoder_layer(graph: &mut Graph, x: TensorId, layer: u32, feed_forward: FeedForward) -> TensorId {
    let (queries, keys) = (u64::from(HEADS * HEAD), u64::from(KV_HEADS * HEAD));
    let rope = Op::Rope { head_dim: HEAD, rotary_dim: HEAD, base: Constant(1e4), pairs: Pairs::Adjacent };
    let named = |name: &str| format!("blk.{layer}.{name}");
    let normed = norm(graph, x, &named("attn_norm"));
    let q = linear(graph, normed, &named("attn_q"), queries);
    let k = linear(graph, normed, &named("attn_k"), keys);
    let v = linear(graph, normed, &named("attn_v"), keys);
    let q = graph.apply(rope, &[q], "q_rope", &[Dim::Tokens, Dim::Fixed(queries)]);
    let k = graph.apply(rope, &[k], "k_rope", &[Dim::Tokens, Dim::Fixed(keys)]);
    let [k, v] = [("k", k), ("v", v)].map(|(name, value)| {
        let axes = [Dim::Context, Dim::Fixed(keys)];
        let cache = graph.tensor(named(&format!("{name}_cache")), &axes, DType::F32, Role::Cache);
        graph.apply(Op::KvAppend { head_dim: HEAD }, &[cache, value], format!("{name}_all"), &axes)
    });
    let attention = Op::Attention { heads: HEADS, kv_heads: KV_HEADS, head_dim: HEAD, scores: Scores::PLAIN };
    let attended = graph.apply(attention, &[q, k, v], "attn", &[Dim::Tokens, Dim::Fixed(queries)]);
    let out = linear(graph, attended, &named("attn_output"), HIDDEN);
    let x = graph.apply(Op::Add, &[x, out], "x_attn", &[Dim::Tokens, Dim::Fixed(HIDDEN)]);
    let normed = norm(graph, x, &named("ffn_norm"));
    let down = feed_forward(graph, normed, layer);
    graph.apply(Op::Add, &[x, down], "x_ffn", &[Dim::Tokens, Dim::Fixed(HIDDEN)])
}

fn feed_forward(graph: &mut Graph, normed: TensorId, layer: u32) -> TensorId {
    let named = |name: &str| format!("blk.{layer}.{name}");
    let gate = linear(graph, normed, &named("ffn_gate"), FFN);
    let up = linear(graph, normed, &named("ffn_up"), FFN);
    let act = graph.apply(Op::SwiGlu, &[gate, up], "ffn_act", &[Dim::Tokens, Dim::Fixed(FFN)]);
    linear(graph, act, &named("ffn_down"), HIDDEN)
}

fn experts(graph: &mut Graph, normed: TensorId, layer: u32, sizes: (u32, u64)) -> TensorId {
    experts_named(graph, normed, &format!("blk.{layer}."), sizes)
}

fn experts_named(graph: &mut Graph, normed: TensorId, prefix: &str, (experts, ffn): (u32, u64)) -> TensorId {
    let (count, used) = (u64::from(experts), EXPERTS.1);
    let named = |name: &str| format!("{prefix}{name}");
    let logits = linear(graph, normed, &named("ffn_gate_inp"), count);
    let axes = graph[logits].axes.clone();
    let gates = graph.apply(Op::Route { used, renormalise: true }, &[logits], "gates", &axes);
    let gate = weight(graph, &named("ffn_gate_exps.weight"), &[count, ffn, HIDDEN]);
    let up = weight(graph, &named("ffn_up_exps.weight"), &[count, ffn, HIDDEN]);
    let down = weight(graph, &named("ffn_down_exps.weight"), &[count, HIDDEN, ffn]);
    let axes = graph[normed].axes.clone();
    graph.apply(Op::Experts { experts, used }, &[normed, gates, gate, up, down], "experts", &axes)
}

pub(crate) fn fleet(count: u16) -> Verified<Fleet> {
    let rate = BytesPerSecond(1_000_000_000);
    let kind = SailKind {
        memory: Bytes(1 << 20),
        reserve: Bytes(1 << 10),
        bandwidth: rate,
        compute: Compute::Unknown,
        overhead: Picoseconds(0),
        granularity: 64,
    };
    let link = Link::plain(rate, Picoseconds::from_micros(20));
    let fleet = Fleet {
        name: format!("test-x{count}"),
        kinds: BTreeMap::from([("card".to_owned(), kind)]),
        sails: vec![SailRun { kind: "card".to_owned(), count }],
        links: Links::Mesh(link),
        lost: Vec::new(),
        host: Host { rate, latency: Picoseconds::from_micros(10), attachment: Attachment::Shared, memory: None },
        provenance: BTreeMap::new(),
    };
    fleet.verify().unwrap()
}

pub(crate) fn request() -> Verified<Request> {
    let request =
        Request { prompt: 8, generate: 4, batch: 1, context: 16, chunk: 4, wire: Wire::Bf16, ..Request::default() };
    request.verify().unwrap()
}
