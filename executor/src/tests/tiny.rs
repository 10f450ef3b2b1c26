//! Plans written by hand for a small model: groups of cards in a row, each card with its share of heads, FFN columns
//! and vocabulary.

use super::model::model;
use sailplan_codegen::{
    Buffer, Instruction, Layers, Load, Memory, Plan, PlanFleet, Program, ReduceOp, Resident, SailPlan, Slice, VERSION,
};
use sailplan_ir::{
    Algorithm, Attachment, Bytes, BytesPerSecond, Certificate, CollectiveKind, Constant, DType, Dim, Estimate, Fleet,
    Host, Links, Objective, Op, Pairs, Picoseconds, Request, SailId, Scores, Status, Wire,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// Sizes of the model.
#[derive(Clone)]
pub(super) struct Sizes {
    pub(super) layers: u32,
    pub(super) width: u64,
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) ffn: u64,
    pub(super) vocabulary: u64,
    pub(super) dtype: DType,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { layers: 3, width: 256, heads: 8, kv_heads: 4, ffn: 512, vocabulary: 96, dtype: DType::F32 }
    }
}

impl Sizes {
    pub(super) fn head_dim(&self) -> u32 {
        self.width as u32 / self.heads
    }

    /// Columns of the queries of so many KV heads.
    fn queries(&self, kv: &Range<u64>) -> Range<u64> {
        let each = self.width / u64::from(self.kv_heads);
        kv.start * each..kv.end * each
    }

    fn keys(&self, kv: &Range<u64>) -> Range<u64> {
        let each = u64::from(self.head_dim());
        kv.start * each..kv.end * each
    }
}

/// What one card of a group does of each layer.
#[derive(Clone)]
pub(super) struct Share {
    pub(super) kv_heads: Range<u64>,
    pub(super) ffn: Range<u64>,
    pub(super) vocabulary: Range<u64>,
}

impl Share {
    pub(super) fn all(sizes: &Sizes) -> Self {
        Self { kv_heads: 0..u64::from(sizes.kv_heads), ffn: 0..sizes.ffn, vocabulary: 0..sizes.vocabulary }
    }
}

/// A group of cards and its layers.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) layers: Range<u32>,
    pub(super) shares: Vec<Share>,
}

/// A model, its groups and the request.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) sizes: Sizes,
    pub(super) groups: Vec<Group>,
    pub(super) algorithm: Algorithm,
    pub(super) request: Request,
}

impl Case {
    /// Everything on one card.
    pub(super) fn alone(sizes: Sizes) -> Self {
        let groups = vec![Group { layers: 0..sizes.layers, shares: vec![Share::all(&sizes)] }];
        let request = Request { prompt: 5, generate: 3, context: 24, chunk: 4, ..Request::default() };
        Self { sizes, groups, algorithm: Algorithm::Ring, request }
    }

    pub(super) fn plan(&self) -> Plan {
        let mut sails = Vec::new();
        for stage in 0..self.groups.len() {
            for rank in 0..self.groups[stage].shares.len() {
                sails.push(self.sail(stage, rank));
            }
        }
        Plan {
            version: VERSION,
            digest: String::new(),
            made_by: "a test".to_owned(),
            model: model(&self.sizes, self.request.cache),
            fleet: PlanFleet { name: "test".to_owned(), digest: String::new(), inline: fleet() },
            request: self.request,
            pins: Vec::new(),
            objective: Objective::Request,
            estimate: Estimate::default(),
            certificate: Certificate {
                status: Status::OutOfBudget,
                method: String::new(),
                space: String::new(),
                bound: Picoseconds(0),
            },
            sails,
        }
    }

    fn ids(&self, stage: usize) -> Vec<SailId> {
        let first: usize = self.groups[..stage].iter().map(|group| group.shares.len()).sum();
        (first..first + self.groups[stage].shares.len()).map(|index| SailId(index as u16)).collect()
    }

    fn sail(&self, stage: usize, rank: usize) -> SailPlan {
        let (group, share) = (&self.groups[stage], &self.groups[stage].shares[rank]);
        let mut weights = Arena::default();
        let mut layer = |name: &str, dims: &[u64], cut: Option<(u8, Range<u64>)>| {
            let name = format!("blk.{{layer}}.{name}.weight");
            weights.resident(&name, Some(group.layers.clone()), dims, self.dtype_of(&name), cut);
        };
        let (d, f) = (self.sizes.width, self.sizes.ffn);
        let (q, kv) = (self.sizes.queries(&share.kv_heads), self.sizes.keys(&share.kv_heads));
        let all_keys = u64::from(self.sizes.kv_heads * self.sizes.head_dim());
        layer("attn_norm", &[d], None);
        layer("attn_q", &[d, d], Some((0, q.clone())));
        layer("attn_k", &[all_keys, d], Some((0, kv.clone())));
        layer("attn_v", &[all_keys, d], Some((0, kv.clone())));
        layer("attn_output", &[d, d], Some((1, q)));
        layer("ffn_norm", &[d], None);
        layer("ffn_gate", &[f, d], Some((0, share.ffn.clone())));
        layer("ffn_up", &[f, d], Some((0, share.ffn.clone())));
        layer("ffn_down", &[d, f], Some((1, share.ffn.clone())));
        let table = [self.sizes.vocabulary, d];
        if stage == 0 {
            let cut = Some((0, share.vocabulary.clone()));
            weights.resident("token_embd.weight", None, &table, self.sizes.dtype, cut);
        }
        if stage + 1 == self.groups.len() {
            weights.resident("output_norm.weight", None, &[d], DType::F32, None);
            weights.resident("output.weight", None, &table, self.sizes.dtype, Some((0, share.vocabulary.clone())));
        }
        let mut caches = Arena::default();
        for name in ["cache_k.{layer}", "cache_v.{layer}"] {
            let dims = [self.request.context, all_keys];
            caches.resident(name, Some(group.layers.clone()), &dims, self.request.cache, Some((1, kv.clone())));
        }
        let (prefill, activations) = self.program(stage, rank, self.request.chunk_tokens());
        let decode = self.program(stage, rank, self.request.chunk_tokens()).0;
        let memory = Memory {
            capacity: Bytes(1 << 30),
            reserve: Bytes(0),
            weights: weights.end,
            kv: caches.end,
            activations,
            scratch: Bytes(0),
        };
        SailPlan {
            sail: self.ids(stage)[rank],
            replica: 0,
            stage: stage as u32,
            group: self.ids(stage),
            memory,
            sustain: None,
            load: weights.residents.iter().map(from_host).collect(),
            weights: weights.residents,
            caches: caches.residents,
            prefill,
            decode,
        }
    }

    fn dtype_of(&self, name: &str) -> DType {
        if name.contains("norm") { DType::F32 } else { self.sizes.dtype }
    }

    fn program(&self, stage: usize, rank: usize, tokens: u64) -> (Program, Bytes) {
        let (group, share) = (&self.groups[stage], &self.groups[stage].shares[rank]);
        let sizes = &self.sizes;
        let queries = self.sizes.queries(&share.kv_heads).count() as u64;
        let keys = self.sizes.keys(&share.kv_heads).count() as u64;
        let (d, f, v) = (sizes.width, share.ffn.clone().count() as u64, share.vocabulary.clone().count() as u64);
        let mut code = Code { program: Program::default(), end: 0, tokens, group: self.ids(stage), case: self };
        for (name, columns) in
            [("x", d), ("h", d), ("o", d), ("q", queries), ("k", keys), ("v", keys), ("a", queries), ("g", f), ("u", f)]
        {
            code.buffer(name, Dim::Tokens, columns, DType::F32);
        }
        if stage == 0 {
            code.buffer("tokens", Dim::Tokens, 1, DType::I32);
            let buffer = "tokens".to_owned();
            code.push(Instruction::HostRecv { buffer, bytes: Bytes(0), time: Picoseconds(0) });
            code.kernel(Op::Embed, &["tokens"], &["token_embd.weight"], "x");
            code.all_reduce("x");
        } else {
            let peer = self.ids(stage - 1)[0];
            let (buffer, tag) = ("x".to_owned(), rank as u32);
            code.push(Instruction::Recv { peer, buffer, bytes: Bytes(0), tag, time: Picoseconds(0) });
        }
        code.layers(group.layers.clone());
        if stage + 1 == self.groups.len() {
            code.buffer("last", Dim::Outputs, d, DType::F32);
            code.buffer("logits", Dim::Outputs, v, DType::F32);
            code.kernel(Op::LastToken, &["x"], &[], "last");
            code.kernel(Op::RmsNorm { epsilon: Constant(1e-5) }, &["last"], &["output_norm.weight"], "last");
            code.kernel(Op::Linear, &["last"], &["output.weight"], "logits");
            let (buffer, start) = ("logits".to_owned(), share.vocabulary.start);
            code.push(Instruction::HostSend { buffer, start, bytes: Bytes(0), time: Picoseconds(0) });
        } else if rank == 0 {
            for (tag, peer) in self.ids(stage + 1).into_iter().enumerate() {
                let (buffer, tag) = ("x".to_owned(), tag as u32);
                code.push(Instruction::Send { peer, buffer, bytes: Bytes(0), tag, time: Picoseconds(0) });
            }
        }
        (code.program, Bytes(code.end))
    }
}

/// A program in the making; buffers never share memory.
struct Code<'a> {
    program: Program,
    end: u64,
    tokens: u64,
    group: Vec<SailId>,
    case: &'a Case,
}

impl Code<'_> {
    fn buffer(&mut self, name: &str, rows: Dim, columns: u64, dtype: DType) {
        let bytes = Bytes(columns * 4 * if rows == Dim::Tokens { self.tokens } else { 1 });
        let buffer = Buffer { name: name.to_owned(), rows, columns, dtype, bytes, offset: Bytes(self.end) };
        self.program.buffers.push(buffer);
        self.end += bytes.0;
    }

    fn push(&mut self, instruction: Instruction) {
        self.program.instructions.push(instruction);
    }

    fn kernel(&mut self, op: Op, inputs: &[&str], weights: &[&str], out: &str) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (inputs, weights) = (owned(inputs), owned(weights));
        let (out, beside, time) = (out.to_owned(), Vec::new(), Picoseconds(0));
        self.push(Instruction::Kernel { op, skip: 0, inputs, weights, out, beside, time });
    }

    fn all_reduce(&mut self, buffer: &str) {
        self.push(Instruction::Collective {
            kind: CollectiveKind::AllReduce,
            op: Some(ReduceOp::Sum),
            group: self.group.clone(),
            algorithm: self.case.algorithm,
            buffer: buffer.to_owned(),
            into: None,
            parts: Vec::new(),
            by: None,
            bytes: Bytes(0),
            time: Picoseconds(0),
        });
    }

    fn layers(&mut self, layers: Range<u32>) {
        let before = std::mem::take(&mut self.program.instructions);
        let norm = Op::RmsNorm { epsilon: Constant(1e-5) };
        let Sizes { heads, kv_heads, .. } = self.case.sizes;
        let head_dim = self.case.sizes.head_dim();
        let rope = Op::Rope { head_dim, rotary_dim: head_dim, base: Constant(1e4), pairs: Pairs::Adjacent };
        self.kernel(norm, &["x"], &["blk.{layer}.attn_norm.weight"], "h");
        for (out, name) in [("q", "attn_q"), ("k", "attn_k"), ("v", "attn_v")] {
            self.kernel(Op::Linear, &["h"], &[&format!("blk.{{layer}}.{name}.weight")], out);
        }
        self.kernel(rope, &["q"], &[], "q");
        self.kernel(rope, &["k"], &[], "k");
        self.kernel(Op::KvAppend { head_dim }, &["cache_k.{layer}", "k"], &[], "cache_k.{layer}");
        self.kernel(Op::KvAppend { head_dim }, &["cache_v.{layer}", "v"], &[], "cache_v.{layer}");
        let attention = Op::Attention { heads, kv_heads, head_dim, scores: Scores::PLAIN };
        self.kernel(attention, &["q", "cache_k.{layer}", "cache_v.{layer}"], &[], "a");
        self.kernel(Op::Linear, &["a"], &["blk.{layer}.attn_output.weight"], "o");
        self.all_reduce("o");
        self.kernel(Op::Add, &["x", "o"], &[], "x");
        self.kernel(norm, &["x"], &["blk.{layer}.ffn_norm.weight"], "h");
        self.kernel(Op::Linear, &["h"], &["blk.{layer}.ffn_gate.weight"], "g");
        self.kernel(Op::Linear, &["h"], &["blk.{layer}.ffn_up.weight"], "u");
        self.kernel(Op::SwiGlu, &["g", "u"], &[], "g");
        self.kernel(Op::Linear, &["g"], &["blk.{layer}.ffn_down.weight"], "o");
        self.all_reduce("o");
        self.kernel(Op::Add, &["x", "o"], &[], "x");
        let body = std::mem::replace(&mut self.program.instructions, before);
        self.push(Instruction::Repeat { layers: Layers(layers), body });
    }
}

fn from_host(resident: &Resident) -> Load {
    let count = resident.layers.as_ref().map_or(1, |layers| layers.0.len() as u64);
    let (weight, layers) = (resident.name.clone(), resident.layers.clone());
    Load { weight, layers, from: None, to: None, bytes: resident.bytes * count, time: Picoseconds(0) }
}

/// Residents one after the other.
#[derive(Default)]
struct Arena {
    residents: Vec<Resident>,
    end: Bytes,
}

impl Arena {
    fn resident(
        &mut self,
        name: &str,
        layers: Option<Range<u32>>,
        dims: &[u64],
        dtype: DType,
        cut: Option<(u8, Range<u64>)>,
    ) {
        let mut local = dims.to_vec();
        let slice = cut.map_or(Slice::Whole, |(axis, range)| {
            local[usize::from(axis)] = range.end - range.start;
            Slice::Cut { axis, start: range.start, end: range.end }
        });
        let bytes = dtype.bytes(local.iter().product()).expect("cuts at block borders");
        let count = layers.as_ref().map_or(1, |layers| u64::from(layers.end - layers.start));
        let (layers, stride) = (layers.map(Layers), bytes.aligned(64));
        self.residents.push(Resident {
            name: name.to_owned(),
            layers,
            slice,
            dtype,
            bytes,
            offset: self.end,
            stride,
            streamed: false,
        });
        self.end += stride * count;
    }
}

fn fleet() -> Fleet {
    let host = Host { rate: BytesPerSecond(1), latency: Picoseconds(0), attachment: Attachment::Shared, memory: None };
    let (kinds, provenance) = (BTreeMap::new(), BTreeMap::new());
    let (sails, links, lost) = (Vec::new(), Links::Edges(Vec::new()), Vec::new());
    Fleet { name: "test".to_owned(), kinds, sails, links, lost, host, provenance }
}

/// The wire type of a request.
pub(super) fn with_wire(case: &Case, wire: Wire) -> Case {
    Case { request: Request { wire, ..case.request }, ..case.clone() }
}
