//! Mixtures of experts: the one-Sail replay against plain arithmetic in F64 written here, and several Sails against one.
//! There is no golden file of llama.cpp for them.

use crate::arithmetic::{Row, dot, softmax, sum};
use crate::pipeline::{OnDisk, compiled, fleet, on_disk, replayed, small_request, splits_a_sum, staged};
use crate::tiny::{Kind, Tiny};
use crate::truth::{bits, check};
use sailplan_codegen::{Instruction, Plan, Slice};
use sailplan_ir::{
    BytesPerSecond, CollectiveKind, Fleet, Link, Links, Objective, Picoseconds, Request, Verified, Verify, Wire,
};
use std::collections::{BTreeMap, BTreeSet};

const TOKENS: [u32; 12] = [3, 250, 17, 17, 99, 4, 201, 63, 300, 12, 7, 181];

/// Two layers of five experts, of which a token takes two.
pub(crate) fn mixture(kind: Kind) -> Tiny {
    Tiny {
        kind,
        layers: 2,
        hidden: 128,
        heads: 4,
        kv_heads: 2,
        ffn: 192,
        experts: 5,
        experts_used: 2,
        vocab: 301,
        seed: 11,
        ..Tiny::default()
    }
}

/// The model's formulas, one token after the other, with nothing shared, cut or rounded.
struct Reference<'a> {
    tiny: &'a Tiny,
    weights: BTreeMap<String, Vec<f64>>,
}

impl<'a> Reference<'a> {
    fn new(tiny: &'a Tiny) -> Self {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Self { tiny, weights: tiny.values().into_iter().map(|(name, values)| (name, wide(values))).collect() }
    }

    /// Logits at every position.
    fn logits(&self, tokens: &[u32]) -> Vec<Row> {
        let hidden = self.tiny.hidden as usize;
        let table = &self.weights["token_embd.weight"];
        let embed = |&token: &u32| table[token as usize * hidden..(token as usize + 1) * hidden].to_vec();
        let mut x: Vec<Row> = tokens.iter().map(embed).collect();
        for layer in 0..self.tiny.layers {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let attended = self.attention(&x, &name);
            x = x.iter().zip(attended).map(|(x, more)| sum(x, &more)).collect();
            let fed = x.iter().map(|x| self.experts(&self.norm(x, &name("ffn_norm")), &name));
            x = x.iter().zip(fed.collect::<Vec<_>>()).map(|(x, more)| sum(x, &more)).collect();
        }
        x.iter().map(|x| self.matrix("output.weight", 0, &self.norm(x, "output_norm.weight"))).collect()
    }

    /// Matrix `index` of a stack times a vector.
    fn matrix(&self, name: &str, index: usize, x: &[f64]) -> Row {
        let weight = &self.weights[name];
        let stacked = if name.contains("_exps") { weight.len() / self.tiny.experts as usize } else { weight.len() };
        let rows = weight[index * stacked..(index + 1) * stacked].chunks(x.len());
        rows.map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    fn norm(&self, x: &[f64], gain: &str) -> Row {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + f64::from(self.tiny.eps)).sqrt();
        x.iter().zip(&self.weights[gain]).map(|(x, gain)| x * scale * gain).collect()
    }

    fn attention(&self, x: &[Row], name: &dyn Fn(&str) -> String) -> Vec<Row> {
        let (heads, kv_heads) = (self.tiny.heads as usize, self.tiny.kv_heads as usize);
        let size = self.tiny.hidden as usize / heads;
        let normed: Vec<Row> = x.iter().map(|x| self.norm(x, &name("attn_norm"))).collect();
        let rows = |part: &str| -> Vec<Row> { normed.iter().map(|x| self.matrix(&name(part), 0, x)).collect() };
        let rotated = |rows: Vec<Row>| -> Vec<Row> {
            rows.iter().enumerate().map(|(at, row)| self.rope(row, at, size)).collect()
        };
        let (q, k, v) = (rotated(rows("attn_q")), rotated(rows("attn_k")), rows("attn_v"));
        let head = |t: usize, head: usize| -> Row {
            let (own, shared) = (head * size, head * kv_heads / heads * size);
            let score = |s: usize| dot(&q[t][own..own + size], &k[s][shared..shared + size]) / (size as f64).sqrt();
            let parts = softmax(&(0..=t).map(score).collect::<Row>());
            (0..size).map(|i| parts.iter().enumerate().map(|(s, part)| part * v[s][shared + i]).sum()).collect()
        };
        let all = (0..x.len()).map(|t| (0..heads).flat_map(|one| head(t, one)).collect::<Row>());
        all.map(|attended| self.matrix(&name("attn_output"), 0, &attended)).collect()
    }

    fn rope(&self, row: &[f64], position: usize, size: usize) -> Row {
        let mut out = row.to_vec();
        for (index, pair) in out.chunks_mut(2).enumerate() {
            let within = 2 * index % size;
            let angle = position as f64 * f64::from(self.tiny.rope_base).powf(-(within as f64) / size as f64);
            let (a, b) = (pair[0], pair[1]);
            (pair[0], pair[1]) = (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos());
        }
        out
    }

    /// The softmax of the chosen logits (Jiang et al. 2024).
    fn experts(&self, x: &[f64], name: &dyn Fn(&str) -> String) -> Row {
        let logits = self.matrix(&name("ffn_gate_inp"), 0, x);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        order.truncate(self.tiny.experts_used as usize);
        let gates = softmax(&order.iter().map(|&expert| logits[expert]).collect::<Row>());
        let mut out = vec![0.0; x.len()];
        for (&expert, gate) in order.iter().zip(gates) {
            let (open, up) =
                (self.matrix(&name("ffn_gate_exps"), expert, x), self.matrix(&name("ffn_up_exps"), expert, x));
            let inner: Row = open.iter().zip(up).map(|(open, up)| open / (1.0 + (-open).exp()) * up).collect();
            let made = self.matrix(&name("ffn_down_exps"), expert, &inner);
            out = sum(&out, &made.iter().map(|value| gate * value).collect::<Row>());
        }
        out
    }
}

/// The axes along which the cards of a plan hold slices of a stack.
fn cut_axes(plan: &Plan, part: &str) -> BTreeSet<u8> {
    let weights = plan.sails.iter().flat_map(|sail| &sail.weights).filter(|weight| weight.name.contains(part));
    weights
        .filter_map(|weight| match weight.slice {
            Slice::Cut { axis, .. } => Some(axis),
            Slice::Whole | Slice::Positions(_) => None,
        })
        .collect()
}

/// F32: every logit within 2e-5 of plain arithmetic, on one to four Sails, the prompt at once and token by token.
#[test]
fn a_mixture_equals_plain_arithmetic() {
    let tiny = mixture(Kind::F32);
    let on_disk = on_disk("mixture-f32", &tiny);
    let expected: Vec<Vec<f32>> = Reference::new(&tiny)
        .logits(&TOKENS)
        .into_iter()
        .map(|row| row.into_iter().map(|value| value as f32).collect())
        .collect();
    let mut cuts = BTreeSet::new();
    for shape in ["ring", "mesh"] {
        for sails in 1..=4 {
            let plan = compiled(&on_disk.model, &fleet(sails, shape), &small_request());
            cuts.extend(cut_axes(&plan, "ffn_up_exps"));
            for prefill in [TOKENS.len(), 5, 1] {
                let report = replayed(&plan, &on_disk.weights, &TOKENS, prefill, 0);
                check(
                    "f32",
                    &format!("{sails} ({shape}), prefill {prefill}"),
                    &report.logits,
                    &expected[prefill - 1..],
                );
            }
        }
    }
    assert!(cuts.contains(&1), "no plan cut every expert: {cuts:?}");
}

/// One Sail and several, ring and mesh: the same bits where no sum is split, else the same logits to rounding.
fn check_on_several_sails(name: &str, on_disk: &OnDisk) {
    let request = small_request();
    let run = |plan| replayed(&plan, &on_disk.weights, &TOKENS, TOKENS.len(), 4).logits;
    let one = run(compiled(&on_disk.model, &fleet(1, "ring"), &request));
    for shape in ["ring", "mesh"] {
        for sails in 2..=4 {
            let plan = compiled(&on_disk.model, &fleet(sails, shape), &request);
            let (exact, logits) = (!splits_a_sum(&plan), run(plan));
            check(name, &format!("{name} on {sails} ({shape})"), &logits, &one);
            assert!(!exact || bits(&logits) == bits(&one), "{name} on {sails} ({shape})");
        }
    }
    let segments = on_disk.model.segments.len();
    let stages: Vec<_> = (0..3).map(|s| (s..s + 1, s * segments / 3..(s + 1) * segments / 3)).collect();
    let pipeline = staged(&on_disk.model, &fleet(3, "ring"), &request, &stages);
    assert!(!splits_a_sum(&pipeline));
    assert!(bits(&run(pipeline)) == bits(&one), "{name}: pipeline of 3");
}

#[test]
fn mixtures_on_several_sails_equal_one_sail() {
    for (name, kind) in [("mixture-f32", Kind::F32), ("mixture-q4_0", Kind::Q4_0), ("mixture-q8_0", Kind::Q8_0)] {
        check_on_several_sails(name, &on_disk(name, &mixture(kind)));
    }
    let blocks = Tiny { kind: Kind::Q4K, hidden: 256, ffn: 512, layers: 1, ..mixture(Kind::Q4K) };
    check_on_several_sails("mixture-q4_k", &on_disk("mixture-q4_k", &blocks));
}

/// Experts of one block of columns cannot be cut inside; on fast links each card has some of them.
#[test]
fn narrow_experts_are_dealt_whole() {
    let shape = Tiny { ffn: 32, experts: 16, experts_used: 4, hidden: 256, heads: 8, layers: 1, ..mixture(Kind::Q8_0) };
    for tiny in [shape.clone(), Tiny { kind: Kind::F32, ..shape }] {
        let name = format!("narrow-{:?}", tiny.kind);
        let on_disk = on_disk(&name, &tiny);
        let request = Request { objective: Objective::Prefill, ..*small_request() }.verify().unwrap();
        let run = |plan: &_| replayed(plan, &on_disk.weights, &TOKENS, TOKENS.len(), 4).logits;
        let one = run(&compiled(&on_disk.model, &fleet(1, "mesh"), &request));
        for sails in 2..=4 {
            let plan = compiled(&on_disk.model, &fleet(sails, "mesh"), &request);
            if tiny.kind == Kind::Q8_0 {
                assert_eq!(cut_axes(&plan, "ffn_gate_exps"), BTreeSet::from([0]), "{name} on {sails}");
            }
            let kind = if tiny.kind == Kind::F32 { "f32" } else { "quantised" };
            check(kind, &format!("{name} on {sails}"), &run(&plan), &one);
        }
    }
}

/// Cards slow at reading weights on links of little latency, so that values are cut wherever that saves bytes.
fn swift(sails: u16, shape: &str) -> Verified<Fleet> {
    let mut fleet = fleet(sails, shape).into_inner();
    let link = Link::plain(BytesPerSecond(100_000_000), Picoseconds(1));
    fleet.links = if shape == "ring" { Links::Ring(link) } else { Links::Mesh(link) };
    for kind in fleet.kinds.values_mut() {
        (kind.overhead, kind.bandwidth) = (Picoseconds(0), BytesPerSecond(10_000_000));
    }
    fleet.verify().unwrap()
}

/// The same plan with all rows gathered and all sums scattered, card to card at once, and how often rows are sent in it.
fn gathered(plan: &Plan) -> (Verified<Plan>, usize) {
    let (mut other, mut sent) = (plan.clone(), 0);
    let programs = other.sails.iter_mut().flat_map(|sail| [&mut sail.prefill, &mut sail.decode]);
    let all = programs.flat_map(|program| &mut program.instructions).flat_map(|instruction| match instruction {
        Instruction::Repeat { body, .. } => body.iter_mut(),
        other => std::slice::from_mut(other).iter_mut(),
    });
    for instruction in all {
        if let Instruction::Collective { kind, by, .. } = instruction
            && kind.routed()
        {
            *kind = match kind {
                CollectiveKind::Dispatch => CollectiveKind::AllGather,
                _ => CollectiveKind::ReduceScatter,
            };
            *by = None;
            sent += 1;
        }
    }
    (other.verify().unwrap(), sent)
}

/// Rows that only go to the cards with an expert that they take: the logits of the whole model, and the bits of the plan that
/// sends all rows everywhere, on both wires.
#[test]
fn rows_sent_to_their_experts_give_the_bits_of_rows_sent_everywhere() {
    let shape = Tiny { ffn: 32, experts: 8, experts_used: 1, hidden: 256, heads: 8, ..mixture(Kind::Q8_0) };
    for (tiny, wire) in [(shape.clone(), Wire::F32), (Tiny { kind: Kind::Q4_0, ..shape }, Wire::Bf16)] {
        let on_disk = on_disk(&format!("sent-{:?}", tiny.kind), &tiny);
        let request = Request { objective: Objective::Prefill, wire, ..*small_request() }.verify().unwrap();
        let run = |plan: &_, prefill| replayed(plan, &on_disk.weights, &TOKENS, prefill, 4).logits;
        let one = run(&compiled(&on_disk.model, &fleet(1, "mesh"), &request), TOKENS.len());
        for (sails, shape) in [(2, "mesh"), (3, "mesh"), (4, "mesh"), (4, "ring")] {
            let plan = compiled(&on_disk.model, &swift(sails, shape), &request);
            let (everywhere, sent) = gathered(&plan);
            assert!(sent > 0, "no rows are sent on {sails} ({shape})");
            let logits = run(&plan, TOKENS.len());
            assert_eq!(bits(&logits), bits(&run(&everywhere, TOKENS.len())), "{sails} ({shape})");
            check("quantised", &format!("{:?} on {sails} ({shape})", tiny.kind), &logits, &one);
            assert_eq!(bits(&run(&plan, 3)), bits(&run(&everywhere, 3)), "{sails} ({shape}), token by token");
        }
    }
}
