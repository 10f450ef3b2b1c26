//! Tiny models with random weights, made from a seed as GGUF bytes: the files on which llama.cpp computed the logits in
//! `tests/data`, without storing them. Must not know any sailplan crate: test data shares no fault with what it tests.

mod gguf;
mod kin;
mod normal;
mod quantise;

use gguf::{Value, Writer};
pub(crate) use kin::Kin;
use normal::Normals;
pub(crate) use quantise::Kind;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A model to make; the seed alone gives the weights, whatever the kind they are stored as.
#[derive(Debug, Clone)]
pub(crate) struct Tiny {
    pub(crate) kin: Kin,
    /// How matrices are stored; norms are always F32.
    pub(crate) kind: Kind,
    /// How `token_embd` and `output` are stored, if not as `kind`.
    pub(crate) output_kind: Option<Kind>,
    /// How a matrix is stored whose rows are not a whole number of blocks.
    pub(crate) fallback: Kind,
    pub(crate) layers: u32,
    pub(crate) hidden: u32,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    /// Elements of a head; 0 for hidden / heads.
    pub(crate) head_dim: u32,
    /// Positions that a token sees, where the architecture has a window.
    pub(crate) window: u32,
    /// Of the feed-forward part, or of one expert.
    pub(crate) ffn: u32,
    /// Experts of every layer; 0 in a dense model.
    pub(crate) experts: u32,
    /// Experts that a token takes.
    pub(crate) experts_used: u32,
    pub(crate) vocab: u32,
    /// Trained context, in tokens.
    pub(crate) ctx: u32,
    pub(crate) rope_base: f32,
    /// Epsilon of the RMS norms.
    pub(crate) eps: f32,
    /// No `output.weight`: the embedding is read twice.
    pub(crate) tied: bool,
    pub(crate) vocab_kind: VocabKind,
    /// Metadata keys to leave out.
    pub(crate) drop_keys: Vec<&'static str>,
    pub(crate) seed: u64,
}

/// What the file says of its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VocabKind {
    /// Nothing but the size of the vocabulary.
    None,
    /// SentencePiece: three control tokens, the 256 bytes, then made-up words.
    Spm,
}

impl Default for Tiny {
    fn default() -> Self {
        Tiny {
            kin: Kin::Llama,
            kind: Kind::F32,
            output_kind: None,
            fallback: Kind::Q8_0,
            layers: 4,
            hidden: 256,
            heads: 8,
            kv_heads: 4,
            head_dim: 0,
            window: 0,
            ffn: 768,
            experts: 0,
            experts_used: 0,
            vocab: 512,
            ctx: 512,
            rope_base: 10_000.0,
            eps: 1e-5,
            tied: false,
            vocab_kind: VocabKind::None,
            drop_keys: Vec::new(),
            seed: 1,
        }
    }
}

/// The model whose logits stand in `tests/data/<name>.logits.json`.
pub(crate) fn golden(name: &str) -> Option<Tiny> {
    match name {
        "tiny-gqa-f32" => Some(grouped(Kind::F32)),
        "tiny-gqa-q4_0" => Some(grouped(Kind::Q4_0)),
        "tiny-gqa-q4_k" => Some(grouped(Kind::Q4K)),
        "tiny-gqa-q8_0" => Some(grouped(Kind::Q8_0)),
        "tiny-mha-q4_0" => Some(multi_head()),
        "tiny-spm-q8_0" => Some(sentence_piece()),
        _ => None,
    }
}

/// Grouped-query attention, two heads to a group.
fn grouped(kind: Kind) -> Tiny {
    Tiny { kind, layers: 3, ..Tiny::default() }
}

/// Every head has its own keys and values, and the embedding is tied.
fn multi_head() -> Tiny {
    Tiny {
        kind: Kind::Q4_0,
        layers: 2,
        hidden: 128,
        heads: 4,
        kv_heads: 4,
        ffn: 384,
        tied: true,
        seed: 2,
        ..Tiny::default()
    }
}

/// With a tokenizer, and a feed-forward width that is an odd number of blocks.
fn sentence_piece() -> Tiny {
    Tiny {
        kind: Kind::Q8_0,
        layers: 2,
        hidden: 128,
        heads: 4,
        kv_heads: 2,
        ffn: 352,
        vocab_kind: VocabKind::Spm,
        seed: 3,
        ..Tiny::default()
    }
}

impl Tiny {
    /// The bytes of the file.
    pub(crate) fn gguf(&self) -> Vec<u8> {
        let mut file = Writer::default();
        for (key, value) in self.metadata() {
            if !self.drop_keys.contains(&key.as_str()) {
                file.pair(&key, &value);
            }
        }
        for Weight { name, shape, values } in self.weights() {
            let kind = self.stored_as(&name, &shape);
            file.tensor(&name, &shape, kind.code(), &kind.encode(&values));
        }
        file.finish()
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let kin = self.kin.name();
        let mut numbers = vec![
            ("context_length", Value::Number(self.ctx)),
            ("embedding_length", Value::Number(self.hidden)),
            ("block_count", Value::Number(self.layers)),
            ("feed_forward_length", Value::Number(self.ffn)),
            ("attention.head_count", Value::Number(self.heads)),
            ("attention.head_count_kv", Value::Number(self.kv_heads)),
            ("attention.layer_norm_rms_epsilon", Value::Float(self.eps)),
            ("rope.dimension_count", Value::Number(self.head_size())),
            ("rope.freq_base", Value::Float(self.rope_base)),
            ("vocab_size", Value::Number(self.vocab)),
        ];
        if self.experts > 0 {
            numbers.push(("expert_count", Value::Number(self.experts)));
            numbers.push(("expert_used_count", Value::Number(self.experts_used)));
        }
        numbers.extend(self.kin.metadata(self));
        let tokenizer = match self.vocab_kind {
            VocabKind::None => vec![("tokenizer.ggml.model", Value::text("none"))],
            VocabKind::Spm => tokenizer(self.vocab),
        };
        let general = [
            ("general.architecture", Value::text(kin)),
            ("general.name", Value::text("tiny-random-llama")),
            ("general.file_type", Value::Number(self.kind.file_type())),
            ("general.quantization_version", Value::Number(2)),
        ];
        let own = numbers.into_iter().map(|(key, value)| (format!("{kin}.{key}"), value));
        let named = |(key, value): (&str, Value)| (key.to_owned(), value);
        general.into_iter().map(named).chain(own).chain(tokenizer.into_iter().map(named)).collect()
    }

    pub(crate) fn head_size(&self) -> u32 {
        if self.head_dim > 0 {
            return self.head_dim;
        }
        assert!(self.hidden.is_multiple_of(self.heads) && self.heads.is_multiple_of(self.kv_heads));
        self.hidden / self.heads
    }

    /// The numbers of every tensor before it is stored, row by row.
    pub(crate) fn values(&self) -> BTreeMap<String, Vec<f32>> {
        self.weights().into_iter().map(|weight| (weight.name, weight.values)).collect()
    }

    /// The tensors in the order in which they are drawn, which is also their order in the file.
    fn weights(&self) -> Vec<Weight> {
        let mut draw = Draw::new(self.seed);
        draw.matrix("token_embd.weight", [self.vocab, self.hidden], 1.0);
        for layer in 0..self.layers {
            self.block(&mut draw, layer);
        }
        draw.norm("output_norm.weight", self.hidden);
        if !self.tied {
            draw.matrix("output.weight", [self.vocab, self.hidden], fan_in(2.0, self.hidden));
        }
        draw.weights
    }

    fn block(&self, draw: &mut Draw, layer: u32) {
        if self.kin != Kin::Llama {
            return self.kin.block(self, draw, layer);
        }
        let (hidden, ffn) = (self.hidden, self.ffn);
        let queries = self.heads * self.head_size();
        let keys = self.kv_heads * self.head_size();
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        draw.norm(&name("attn_norm"), hidden);
        draw.matrix(&name("attn_q"), [queries, hidden], fan_in(1.5, hidden));
        draw.matrix(&name("attn_k"), [keys, hidden], fan_in(1.5, hidden));
        draw.matrix(&name("attn_v"), [keys, hidden], fan_in(1.0, hidden));
        draw.matrix(&name("attn_output"), [hidden, queries], fan_in(1.0, queries));
        draw.norm(&name("ffn_norm"), hidden);
        if self.experts > 0 {
            draw.matrix(&name("ffn_gate_inp"), [self.experts, hidden], fan_in(2.0, hidden));
            draw.stack(&name("ffn_gate_exps"), [self.experts, ffn, hidden]);
            draw.stack(&name("ffn_up_exps"), [self.experts, ffn, hidden]);
            draw.stack(&name("ffn_down_exps"), [self.experts, hidden, ffn]);
            return;
        }
        draw.matrix(&name("ffn_gate"), [ffn, hidden], fan_in(1.0, hidden));
        draw.matrix(&name("ffn_up"), [ffn, hidden], fan_in(1.0, hidden));
        draw.matrix(&name("ffn_down"), [hidden, ffn], fan_in(1.0, ffn));
    }

    fn stored_as(&self, name: &str, shape: &[u32]) -> Kind {
        let &[columns, _, ..] = shape else { return Kind::F32 };
        let kind = match name {
            _ if name.ends_with("ffn_gate_inp.weight") => Kind::F32,
            "token_embd.weight" | "output.weight" => self.output_kind.unwrap_or(self.kind),
            _ => self.kind,
        };
        if columns.is_multiple_of(kind.block()) { kind } else { self.fallback }
    }
}

/// The toy SentencePiece vocabulary: tokens with their scores and classes, and which of them are special.
fn tokenizer(size: u32) -> Vec<(&'static str, Value)> {
    const UNKNOWN: i32 = 2;
    const CONTROL: i32 = 3;
    const BYTE: i32 = 6;
    const NORMAL: i32 = 1;
    assert!(size >= 259, "three control tokens and 256 bytes");
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend((259..size).map(|word| format!("\u{2581}t{word}")));
    let mut classes = vec![UNKNOWN, CONTROL, CONTROL];
    classes.resize(259, BYTE);
    classes.resize(tokens.len(), NORMAL);
    vec![
        ("tokenizer.ggml.model", Value::text("llama")),
        ("tokenizer.ggml.tokens", Value::Texts(tokens)),
        ("tokenizer.ggml.scores", Value::Floats((0..size).map(|rank| -(rank as f32)).collect())),
        ("tokenizer.ggml.token_type", Value::Integers(classes)),
        ("tokenizer.ggml.bos_token_id", Value::Number(1)),
        ("tokenizer.ggml.eos_token_id", Value::Number(2)),
        ("tokenizer.ggml.unknown_token_id", Value::Number(0)),
    ]
}

/// The scale that keeps the variance of a product with `columns` inputs at `gain`².
fn fan_in(gain: f64, columns: u32) -> f64 {
    gain / f64::from(columns).sqrt()
}

/// A tensor before it is stored; the shape is in GGUF's order, the contiguous dimension first.
struct Weight {
    name: String,
    shape: Vec<u32>,
    values: Vec<f32>,
}

/// Draws tensors one after the other from one stream of normals.
struct Draw {
    normals: Normals,
    weights: Vec<Weight>,
}

impl Draw {
    fn new(seed: u64) -> Self {
        Draw { normals: Normals::new(seed), weights: Vec::new() }
    }

    fn matrix(&mut self, name: &str, [rows, columns]: [u32; 2], scale: f64) {
        self.tensor(name, &[columns, rows], |normal| normal * scale);
    }

    /// Matrices of equal size one behind the other.
    fn stack(&mut self, name: &str, [count, rows, columns]: [u32; 3]) {
        let scale = fan_in(1.0, columns);
        self.tensor(name, &[columns, rows, count], |normal| normal * scale);
    }

    fn norm(&mut self, name: &str, size: u32) {
        self.tensor(name, &[size], |normal| 1.0 + 0.1 * normal);
    }

    fn tensor(&mut self, name: &str, shape: &[u32], value: impl Fn(f64) -> f64) {
        let count = shape.iter().product();
        self.weights.push(Weight {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values: (0..count).map(|_| value(self.normals.draw()) as f32).collect(),
        });
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_models_are_the_files_llama_cpp_read() {
    for (name, digest) in [
        ("tiny-gqa-f32", "a7196333e3e7680cea5a79c7d11cbd99658087413dfd786379709eb00f215e3f"),
        ("tiny-gqa-q4_0", "ff85965100c67fa76c053e690cdde9aac60650f0907e7853c133a30e45950d52"),
        ("tiny-gqa-q4_k", "73f94254587c5a039ef502a1240d76c8f38833738b49c0f95017f51399163985"),
        ("tiny-gqa-q8_0", "929c2a2bd9f81fa4058ad01b76d42e30d7d7220680f9657cd214de5676559335"),
        ("tiny-mha-q4_0", "1f3202cce75b4018433dab79ba1d93ff05c9392efea23fca3b209dc0646fa890"),
        ("tiny-spm-q8_0", "862f83fa9ef552c44f1bf5020d6aa70f8fa978a1ee754b988d5063f7ac9037a5"),
    ] {
        let model = golden(name).expect("every golden model has parameters");
        assert_eq!(sha256(&model.gguf()), digest, "{name}");
    }
    assert!(golden("tiny-moe-q4_0").is_none());
}

/// What no golden file has: F16, mixed kinds, rows that fall back, a missing key, a seed of 64 bits. The digests are of
/// files written by numpy and gguf-py.
#[test]
fn other_parameters_give_the_same_bytes_as_gguf_py() {
    let mixed = Tiny {
        kind: Kind::F16,
        output_kind: Some(Kind::Q8_0),
        layers: 1,
        vocab: 300,
        ctx: 64,
        rope_base: 500_000.0,
        eps: 1e-6,
        seed: 12_345_678_901_234_567_890,
        ..sentence_piece()
    };
    let fallen_back = Tiny {
        kind: Kind::Q4K,
        output_kind: Some(Kind::F32),
        layers: 1,
        kv_heads: 1,
        ffn: 352,
        vocab: 40,
        drop_keys: vec!["llama.vocab_size"],
        seed: 0,
        ..Tiny::default()
    };
    assert_eq!(sha256(&mixed.gguf()), "59374e6750fa8c8015ee4626f04479cd480135f289122cd414169460856f7c10");
    assert_eq!(sha256(&fallen_back.gguf()), "7441acc8e0b5ccaad731b31dc38697d16dc2cf2ba6acbfa5c0701b78cad8db9e");
}
