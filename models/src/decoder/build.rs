//! Writes the graph of a decoder. Weights carry the names GGUF gives them, so that both front ends make one graph.

use super::{Decoder, LayerNumbers, Mixture};
use sailplan_ir::{Constant, DType, Dim, Graph, Op, Role, TensorId};
use std::collections::BTreeMap;

/// The graph; `dtypes` gives each weight's type and says which optional weights (biases, rotary factors, an output
/// matrix of its own) there are. A required weight without an entry becomes F32: the caller compares.
pub(crate) fn graph(decoder: &Decoder, dtypes: &BTreeMap<String, DType>) -> Graph {
    let mut build = Build { decoder, dtypes, graph: Graph::default(), factors: None };
    let hidden = decoder.hidden;
    let tokens = build.graph.tensor("tokens", &[Dim::Tokens], DType::I32, Role::Tokens);
    let table = build.weight("token_embd.weight", &[decoder.vocab, hidden]);
    build.factors = build.optional("rope_freqs.weight", &[u64::from(decoder.rotary_dim / 2)]);
    let mut x = build.embed(tokens, table);
    for (index, &layer) in decoder.layers.iter().enumerate() {
        x = if decoder.variant.parallel { build.parallel(x, index, layer) } else { build.serial(x, index, layer) };
    }
    build.head(x, table);
    build.graph
}

struct Build<'a> {
    decoder: &'a Decoder,
    dtypes: &'a BTreeMap<String, DType>,
    graph: Graph,
    factors: Option<TensorId>,
}

impl Build<'_> {
    fn embed(&mut self, tokens: TensorId, table: TensorId) -> TensorId {
        let hidden = self.decoder.hidden;
        let axes = [Dim::Tokens, Dim::Fixed(hidden)];
        if !self.decoder.variant.scaled_embedding {
            return self.graph.apply(Op::Embed, &[tokens, table], "x", &axes);
        }
        let rows = self.graph.apply(Op::Embed, &[tokens, table], "embedded", &axes);
        self.same_shape(Op::Scale { factor: Constant((hidden as f32).sqrt()) }, &[rows], "x")
    }

    /// x + attention(norm x), then the same with the feed-forward part.
    fn serial(&mut self, x: TensorId, index: usize, layer: LayerNumbers) -> TensorId {
        let norm = self.norm(x, &format!("blk.{index}.attn_norm"), "attn_norm");
        let out = self.attention(norm, index, layer);
        let out = self.post_norm(out, &format!("blk.{index}.post_attention_norm"), "attn_post_norm");
        let x = self.same_shape(Op::Add, &[x, out], "x_attn");
        let norm = self.norm(x, &format!("blk.{index}.ffn_norm"), "ffn_norm");
        let out = self.feed_forward(norm, index, layer);
        let out = self.post_norm(out, &format!("blk.{index}.post_ffw_norm"), "ffn_post_norm");
        self.same_shape(Op::Add, &[x, out], "x")
    }

    /// x + attention(norm x) + feed-forward(norm x).
    fn parallel(&mut self, x: TensorId, index: usize, layer: LayerNumbers) -> TensorId {
        let norm = self.norm(x, &format!("blk.{index}.attn_norm"), "attn_norm");
        let attended = self.attention(norm, index, layer);
        let fed = self.feed_forward(norm, index, layer);
        let both = self.same_shape(Op::Add, &[attended, fed], "block_out");
        self.same_shape(Op::Add, &[x, both], "x")
    }

    fn post_norm(&mut self, x: TensorId, weight: &str, name: &str) -> TensorId {
        if self.decoder.variant.post_norms { self.norm(x, weight, name) } else { x }
    }

    fn attention(&mut self, norm: TensorId, index: usize, layer: LayerNumbers) -> TensorId {
        let (head_dim, variant) = (self.decoder.head_dim, self.decoder.variant);
        let queries = u64::from(layer.heads) * u64::from(head_dim);
        let keys = u64::from(layer.kv_heads) * u64::from(head_dim);
        let q = self.linear(norm, &format!("blk.{index}.attn_q"), queries, "q");
        let k = self.linear(norm, &format!("blk.{index}.attn_k"), keys, "k");
        let v = self.linear(norm, &format!("blk.{index}.attn_v"), keys, "v");
        let q = self.head_norm(q, &format!("blk.{index}.attn_q_norm"), "q_norm");
        let k = self.head_norm(k, &format!("blk.{index}.attn_k_norm"), "k_norm");
        let q = self.rope(q, "q_rope");
        let k = self.rope(k, "k_rope");
        let k = self.append(k, format!("blk.{index}.k_cache"), "k_all");
        let v = self.append(v, format!("blk.{index}.v_cache"), "v_all");
        let scores = variant.scores(index, head_dim);
        let op = Op::Attention { heads: layer.heads, kv_heads: layer.kv_heads, head_dim, scores };
        let attended = self.graph.apply(op, &[q, k, v], "attn", &[Dim::Tokens, Dim::Fixed(queries)]);
        self.linear(attended, &format!("blk.{index}.attn_output"), self.decoder.hidden, "attn_out")
    }

    fn head_norm(&mut self, x: TensorId, weight: &str, name: &str) -> TensorId {
        let Decoder { head_dim, epsilon, .. } = *self.decoder;
        if !self.decoder.variant.head_norms {
            return x;
        }
        let gain = self.weight(&format!("{weight}.weight"), &[u64::from(head_dim)]);
        self.same_shape(Op::HeadNorm { head_dim, epsilon: Constant(epsilon) }, &[x, gain], name)
    }

    fn feed_forward(&mut self, norm: TensorId, index: usize, layer: LayerNumbers) -> TensorId {
        match self.decoder.mixture {
            Some(mixture) => self.mixture(norm, index, (mixture, layer.ffn)),
            None => self.gated(norm, index, layer),
        }
    }

    fn gated(&mut self, norm: TensorId, index: usize, layer: LayerNumbers) -> TensorId {
        let gate = self.linear(norm, &format!("blk.{index}.ffn_gate"), layer.ffn, "gate");
        let up = self.linear(norm, &format!("blk.{index}.ffn_up"), layer.ffn, "up");
        let activation = if self.decoder.variant.gelu { Op::GeGlu } else { Op::SwiGlu };
        let act = self.same_shape(activation, &[gate, up], "ffn_act");
        self.linear(act, &format!("blk.{index}.ffn_down"), self.decoder.hidden, "ffn_out")
    }

    fn mixture(&mut self, norm: TensorId, index: usize, (mixture, ffn): (Mixture, u64)) -> TensorId {
        let Mixture { experts, used, renormalise } = mixture;
        let (count, hidden) = (u64::from(experts), self.decoder.hidden);
        let logits = self.linear(norm, &format!("blk.{index}.ffn_gate_inp"), count, "router");
        let gates = self.same_shape(Op::Route { used, renormalise }, &[logits], "gates");
        let gate = self.weight(&format!("blk.{index}.ffn_gate_exps.weight"), &[count, ffn, hidden]);
        let up = self.weight(&format!("blk.{index}.ffn_up_exps.weight"), &[count, ffn, hidden]);
        let down = self.weight(&format!("blk.{index}.ffn_down_exps.weight"), &[count, hidden, ffn]);
        self.same_shape(Op::Experts { experts, used }, &[norm, gates, gate, up, down], "ffn_out")
    }

    /// A tied head reads the embedding table.
    fn head(&mut self, x: TensorId, table: TensorId) {
        let (hidden, vocab) = (Dim::Fixed(self.decoder.hidden), self.decoder.vocab);
        let last = self.graph.apply(Op::LastToken, &[x], "x_last", &[Dim::Outputs, hidden]);
        let norm = self.norm(last, "output_norm", "output_norm");
        let matrix = self.optional("output.weight", &[vocab, self.decoder.hidden]).unwrap_or(table);
        let axes = [Dim::Outputs, Dim::Fixed(vocab)];
        let cap = self.decoder.variant.logit_cap;
        let name = if cap.is_some() { "logits_raw" } else { "logits" };
        let logits = self.graph.apply(Op::Linear, &[norm, matrix], name, &axes);
        if let Some(cap) = cap {
            self.same_shape(Op::SoftCap { cap: Constant(cap) }, &[logits], "logits");
        }
    }

    fn norm(&mut self, x: TensorId, weight: &str, name: &str) -> TensorId {
        let gain = self.weight(&format!("{weight}.weight"), &[self.decoder.hidden]);
        self.same_shape(Op::RmsNorm { epsilon: Constant(self.decoder.epsilon) }, &[x, gain], name)
    }

    fn linear(&mut self, x: TensorId, weight: &str, rows: u64, name: &str) -> TensorId {
        let row = self.graph[x].axes.last().and_then(|axis| axis.fixed()).unwrap_or(0);
        let matrix = self.weight(&format!("{weight}.weight"), &[rows, row]);
        let product = self.graph.apply(Op::Linear, &[x, matrix], name, &[Dim::Tokens, Dim::Fixed(rows)]);
        match self.optional(&format!("{weight}.bias"), &[rows]) {
            Some(bias) => self.same_shape(Op::Bias, &[product, bias], &format!("{name}_biased")),
            None => product,
        }
    }

    fn rope(&mut self, x: TensorId, name: &str) -> TensorId {
        let Decoder { head_dim, rotary_dim, rope_base, .. } = *self.decoder;
        let op = Op::Rope { head_dim, rotary_dim, base: Constant(rope_base), pairs: self.decoder.variant.pairs };
        let inputs: Vec<TensorId> = [x].into_iter().chain(self.factors).collect();
        self.same_shape(op, &inputs, name)
    }

    fn append(&mut self, x: TensorId, cache: String, name: &str) -> TensorId {
        let width = self.graph[x].axes.last().copied().unwrap_or(Dim::Fixed(0));
        let cache = self.graph.tensor(cache, &[Dim::Context, width], DType::F32, Role::Cache);
        self.same_shape(Op::KvAppend { head_dim: self.decoder.head_dim }, &[cache, x], name)
    }

    /// Applies an operator whose output has the shape of its first operand.
    fn same_shape(&mut self, op: Op, inputs: &[TensorId], name: &str) -> TensorId {
        let axes = inputs.first().map(|&first| self.graph[first].axes.clone()).unwrap_or_default();
        self.graph.apply(op, inputs, name, &axes)
    }

    fn weight(&mut self, name: &str, sizes: &[u64]) -> TensorId {
        let axes: Vec<Dim> = sizes.iter().map(|&size| Dim::Fixed(size)).collect();
        let dtype = self.dtypes.get(name).copied().unwrap_or(DType::F32);
        self.graph.tensor(name, &axes, dtype, Role::Weight)
    }

    fn optional(&mut self, name: &str, sizes: &[u64]) -> Option<TensorId> {
        self.dtypes.contains_key(name).then(|| self.weight(name, sizes))
    }
}
