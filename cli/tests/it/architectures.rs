//! Qwen3, Gemma 2 and Phi-3: the one-Sail replay against plain arithmetic in F64 written here from the papers' formulas, and
//! several Sails against one. There are no golden files of llama.cpp for them.

use crate::arithmetic::{Row, dot, softmax, sum};
use crate::pipeline::{compiled, fleet, on_disk, replayed, small_request, splits_a_sum, staged};
use crate::tiny::{Kin, Kind, Tiny};
use crate::truth::{bits, check};
use sailplan_codegen::Plan;
use sailplan_ir::Verified;
use std::collections::BTreeMap;

const TOKENS: [u32; 12] = [3, 250, 17, 17, 99, 4, 201, 63, 300, 12, 7, 181];

/// Heads that are wider than hidden / heads; windows that the prompt exceeds.
fn model(kin: Kin, kind: Kind) -> Tiny {
    let base = Tiny {
        kin,
        kind,
        layers: 2,
        hidden: 128,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        ffn: 192,
        vocab: 301,
        eps: 1e-6,
        seed: 21,
        ..Tiny::default()
    };
    match kin {
        Kin::Qwen3Moe => Tiny { experts: 5, experts_used: 2, ..base },
        Kin::Gemma2 => Tiny { layers: 4, window: 4, tied: true, ..base },
        Kin::Phi3 => Tiny { head_dim: 32, kv_heads: 4, window: 5, ..base },
        _ => base,
    }
}

/// The model's formulas, one token after the other, with nothing shared, cut or rounded.
struct Reference<'a> {
    tiny: &'a Tiny,
    weights: BTreeMap<String, Row>,
}

impl<'a> Reference<'a> {
    fn new(tiny: &'a Tiny) -> Self {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Self { tiny, weights: tiny.values().into_iter().map(|(name, values)| (name, wide(values))).collect() }
    }

    fn gemma(&self) -> bool {
        self.tiny.kin == Kin::Gemma2
    }

    /// Logits at every position.
    fn logits(&self, tokens: &[u32]) -> Vec<Row> {
        let hidden = self.tiny.hidden as usize;
        let factor = if self.gemma() { (hidden as f64).sqrt() } else { 1.0 };
        let table = &self.weights["token_embd.weight"];
        let embed = |&token: &u32| -> Row {
            table[token as usize * hidden..(token as usize + 1) * hidden].iter().map(|value| value * factor).collect()
        };
        let mut x: Vec<Row> = tokens.iter().map(embed).collect();
        for layer in 0..self.tiny.layers as usize {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            for (t, made) in self.attention(&x, layer).into_iter().enumerate() {
                let made = if self.gemma() { self.norm(&made, &name("post_attention_norm")) } else { made };
                x[t] = sum(&x[t], &made);
            }
            for row in &mut x {
                let made = self.feed(&self.norm(row, &name("ffn_norm")), layer);
                let made = if self.gemma() { self.norm(&made, &name("post_ffw_norm")) } else { made };
                *row = sum(row, &made);
            }
        }
        let head = if self.tiny.tied { "token_embd.weight" } else { "output.weight" };
        let cap = |value: f64| if self.gemma() { capped(value, Kin::LOGIT_CAP) } else { value };
        let logits = x.iter().map(|row| self.rows(head, 0, self.tiny.vocab, &self.norm(row, "output_norm.weight")));
        logits.map(|row| row.into_iter().map(cap).collect()).collect()
    }

    /// `count` rows of a matrix, from row `first` on, times a vector.
    fn rows(&self, name: &str, first: u32, count: u32, x: &[f64]) -> Row {
        let rows = self.weights[name].chunks(x.len()).skip(first as usize).take(count as usize);
        rows.map(|row| dot(row, x)).collect()
    }

    fn norm(&self, x: &[f64], gain: &str) -> Row {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + f64::from(self.tiny.eps)).sqrt();
        x.iter().zip(&self.weights[gain]).map(|(x, gain)| x * scale * gain).collect()
    }

    /// Queries, keys and values of one token, before they rotate.
    fn projected(&self, x: &[f64], layer: usize) -> [Row; 3] {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let size = self.tiny.head_size();
        let (queries, keys) = (self.tiny.heads * size, self.tiny.kv_heads * size);
        if self.tiny.kin == Kin::Phi3 {
            let fused = |first, count| self.rows(&name("attn_qkv"), first, count, x);
            return [fused(0, queries), fused(queries, keys), fused(queries + keys, keys)];
        }
        let own = |part: &str, count| self.rows(&name(part), 0, count, x);
        let normed = |row: Row, gain: &str| -> Row {
            if self.gemma() {
                row
            } else {
                row.chunks(size as usize).flat_map(|head| self.norm(head, &name(gain))).collect()
            }
        };
        [normed(own("attn_q", queries), "attn_q_norm"), normed(own("attn_k", keys), "attn_k_norm"), own("attn_v", keys)]
    }

    fn attention(&self, x: &[Row], layer: usize) -> Vec<Row> {
        let (heads, kv_heads) = (self.tiny.heads as usize, self.tiny.kv_heads as usize);
        let size = self.tiny.head_size() as usize;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (mut q, mut k, mut v) = (Vec::new(), Vec::new(), Vec::new());
        for (position, row) in x.iter().enumerate() {
            let [query, key, value] = self.projected(&self.norm(row, &name("attn_norm")), layer);
            q.push(self.rotated(query, position));
            k.push(self.rotated(key, position));
            v.push(value);
        }
        // Gemma 2: the first layer and every second one after it have the window. Phi-3: all have it.
        let windowed = self.tiny.window > 0 && (!self.gemma() || layer.is_multiple_of(2));
        let window = if windowed { self.tiny.window as usize } else { usize::MAX };
        let head = |t: usize, head: usize| -> Row {
            let (own, shared) = (head * size, head * kv_heads / heads * size);
            let seen: Vec<usize> = (0..=t).filter(|s| t - s < window).collect();
            let score = |&s: &usize| {
                let score = dot(&q[t][own..own + size], &k[s][shared..shared + size]) / (size as f64).sqrt();
                if self.gemma() { capped(score, Kin::SCORE_CAP) } else { score }
            };
            let parts = softmax(&seen.iter().map(score).collect::<Row>());
            (0..size).map(|i| seen.iter().zip(&parts).map(|(&s, part)| part * v[s][shared + i]).sum()).collect()
        };
        let all = (0..x.len()).map(|t| (0..heads).flat_map(|one| head(t, one)).collect::<Row>());
        all.map(|attended| self.rows(&name("attn_output"), 0, self.tiny.hidden, &attended)).collect()
    }

    /// Element i of a head turns with element i + half of it.
    fn rotated(&self, mut row: Row, position: usize) -> Row {
        let size = self.tiny.head_size() as usize;
        for head in row.chunks_mut(size) {
            for i in 0..size / 2 {
                let angle = position as f64 * f64::from(self.tiny.rope_base).powf(-2.0 * i as f64 / size as f64);
                let (a, b) = (head[i], head[i + size / 2]);
                head[i] = a * angle.cos() - b * angle.sin();
                head[i + size / 2] = a * angle.sin() + b * angle.cos();
            }
        }
        row
    }

    fn feed(&self, x: &[f64], layer: usize) -> Row {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (hidden, ffn) = (self.tiny.hidden, self.tiny.ffn);
        match self.tiny.kin {
            Kin::Qwen3Moe => self.experts(x, &name),
            Kin::Phi3 => {
                let (gate, up) = (self.rows(&name("ffn_up"), 0, ffn, x), self.rows(&name("ffn_up"), ffn, ffn, x));
                self.rows(&name("ffn_down"), 0, hidden, &gated(&gate, &up, silu))
            }
            kin => {
                let (gate, up) = (self.rows(&name("ffn_gate"), 0, ffn, x), self.rows(&name("ffn_up"), 0, ffn, x));
                let activation = if kin == Kin::Gemma2 { gelu } else { silu };
                self.rows(&name("ffn_down"), 0, hidden, &gated(&gate, &up, activation))
            }
        }
    }

    /// The chosen experts' shares of the softmax over all, made to add up to 1.
    fn experts(&self, x: &[f64], name: &dyn Fn(&str) -> String) -> Row {
        let (hidden, ffn) = (self.tiny.hidden, self.tiny.ffn);
        let shares = softmax(&self.rows(&name("ffn_gate_inp"), 0, self.tiny.experts, x));
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
        order.truncate(self.tiny.experts_used as usize);
        let chosen: f64 = order.iter().map(|&expert| shares[expert]).sum();
        order.iter().fold(vec![0.0; x.len()], |out, &expert| {
            let first = expert as u32;
            let gate = self.rows(&name("ffn_gate_exps"), first * ffn, ffn, x);
            let up = self.rows(&name("ffn_up_exps"), first * ffn, ffn, x);
            let made = self.rows(&name("ffn_down_exps"), first * hidden, hidden, &gated(&gate, &up, silu));
            sum(&out, &made.iter().map(|value| value * shares[expert] / chosen).collect::<Row>())
        })
    }
}

fn gated(gate: &[f64], up: &[f64], activation: fn(f64) -> f64) -> Row {
    gate.iter().zip(up).map(|(&gate, up)| activation(gate) * up).collect()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

fn capped(value: f64, cap: f32) -> f64 {
    f64::from(cap) * (value / f64::from(cap)).tanh()
}

/// Every logit within 1e-4 of the largest one's size.
fn check_close(what: &str, ours: &[Vec<f32>], theirs: &[Row]) {
    assert_eq!(ours.len(), theirs.len(), "{what}: positions");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let size = theirs.iter().fold(0.0, |size: f64, value| size.max(value.abs()));
        let worst = ours.iter().zip(theirs).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-4 * size, "{what}: off by {worst:e} of {size}");
    }
}

/// F32 against plain arithmetic, on one to four Sails, the prompt at once, in part, and token by token.
fn check_architecture(kin: Kin) {
    let tiny = model(kin, Kind::F32);
    let on_disk = on_disk(&format!("{}-f32", kin.name()), &tiny);
    let expected = Reference::new(&tiny).logits(&TOKENS);
    for shape in ["ring", "mesh"] {
        for sails in 1..=4 {
            let plan = compiled(&on_disk.model, &fleet(sails, shape), &small_request());
            for prefill in [TOKENS.len(), 5, 1] {
                let logits = replayed(&plan, &on_disk.weights, &TOKENS, prefill, 0).logits;
                let what = format!("{} on {sails} ({shape}), prefill {prefill}", kin.name());
                check_close(&what, &logits, &expected[prefill - 1..]);
            }
        }
    }
}

/// Quantised: one Sail, several, and a pipeline; the same bits where no sum is split.
fn check_quantised(kin: Kin) {
    let name = format!("{}-q8_0", kin.name());
    let (on_disk, request) = (on_disk(&name, &model(kin, Kind::Q8_0)), small_request());
    let run = |plan: &Verified<Plan>| replayed(plan, &on_disk.weights, &TOKENS, TOKENS.len(), 4).logits;
    let one = run(&compiled(&on_disk.model, &fleet(1, "ring"), &request));
    for (sails, shape) in [(2, "ring"), (3, "mesh"), (4, "mesh")] {
        let plan = compiled(&on_disk.model, &fleet(sails, shape), &request);
        let logits = run(&plan);
        check(&name, &format!("{name} on {sails} ({shape})"), &logits, &one);
        assert!(splits_a_sum(&plan) || bits(&logits) == bits(&one), "{name} on {sails} ({shape})");
    }
    let segments = on_disk.model.segments.len();
    let stages: Vec<_> = (0..3).map(|s| (s..s + 1, s * segments / 3..(s + 1) * segments / 3)).collect();
    let pipeline = staged(&on_disk.model, &fleet(3, "ring"), &request, &stages);
    assert!(bits(&run(&pipeline)) == bits(&one), "{name}: pipeline of 3");
}

#[test]
fn qwen3_equals_plain_arithmetic() {
    check_architecture(Kin::Qwen3);
    check_quantised(Kin::Qwen3);
}

#[test]
fn qwen3_with_experts_equals_plain_arithmetic() {
    check_architecture(Kin::Qwen3Moe);
    check_quantised(Kin::Qwen3Moe);
}

#[test]
fn gemma2_equals_plain_arithmetic() {
    check_architecture(Kin::Gemma2);
    check_quantised(Kin::Gemma2);
}

#[test]
fn phi3_equals_plain_arithmetic() {
    check_architecture(Kin::Phi3);
    check_quantised(Kin::Phi3);
}

/// Layers with a window and layers without are two classes, each with the names of its own layers.
#[test]
fn layers_with_and_without_a_window_are_two_classes() {
    let model = on_disk("gemma2-classes", &model(Kin::Gemma2, Kind::F32)).model;
    let layers: Vec<&str> = model.segments.iter().map(|segment| model.class(segment.class).name.as_str()).collect();
    assert_eq!(layers, ["embed", "layer.a", "layer.b", "layer.a", "layer.b", "head"]);
    assert!(model.classes.iter().all(|class| class.patterned));
}
