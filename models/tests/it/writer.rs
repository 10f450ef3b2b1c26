//! Writes GGUF headers. It shares no code with the reader; data is not written, only counted.

use sailplan_ir::{DType, Extents, Model, Op, Pairs, Role};

/// A metadata value.
#[derive(Clone, Debug)]
pub(crate) enum Meta {
    U8(u8),
    U16(u16),
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    F64(f64),
    Bool(u8),
    Text(String),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    Texts(Vec<String>),
    /// A value type and bytes of any kind.
    Raw(u32, Vec<u8>),
}

/// An entry of the tensor table, dimensions rows first.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// A header in the making.
#[derive(Clone, Debug)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) keys: Vec<(String, Meta)>,
    pub(crate) tensors: Vec<Entry>,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) key_count: Option<u64>,
    pub(crate) alignment: u64,
}

/// A small model with a tokenizer: 2 layers, 4 heads of 16, 2 KV heads, 96 wide, 128 tokens.
pub(crate) fn tiny() -> Gguf {
    let text = r#"Decoder(name: "tiny", hidden: 64, layers: 2, heads: 4, kv_heads: 2, ffn: 96, vocab: 128, context: 512,
        norm_epsilon: 1e-5, rope_base: 10000.0, dtypes: Dtypes(default: Q4_0, output: Q8_0))"#;
    let model = sailplan_models::from_ron("tiny.ron", text).expect("a valid description").model;
    let tokens = (0..128).map(|index| format!("<{index}>")).collect();
    Gguf::of(&model)
        .with("general.name", Meta::Text("tiny".into()))
        .with("tokenizer.ggml.tokens", Meta::Texts(tokens))
        .with("tokenizer.ggml.token_type", Meta::I32s(vec![1; 128]))
}

/// The architecture that has a model's operators.
fn architecture(model: &Model) -> &'static str {
    let has = |op: &dyn Fn(Op) -> bool| model.graph.nodes.iter().any(|node| op(node.op));
    match (has(&|op| matches!(op, Op::HeadNorm { .. })), has(&|op| matches!(op, Op::Experts { .. }))) {
        (true, true) => "qwen3moe",
        (true, false) => "qwen3",
        _ if has(&|op| op == Op::GeGlu) => "gemma2",
        _ if has(&|op| matches!(op, Op::Rope { pairs: Pairs::Halves, .. })) => "phi3",
        _ => "llama",
    }
}

impl Gguf {
    /// The header llama.cpp would write for a model.
    pub(crate) fn of(model: &Model) -> Self {
        let mut gguf = Self {
            magic: *b"GGUF",
            version: 3,
            keys: Vec::new(),
            tensors: Vec::new(),
            tensor_count: None,
            key_count: None,
            alignment: 32,
        };
        gguf.add_keys(model);
        let none = Extents { tokens: 0, context: 0, outputs: 0 };
        let fuses = architecture(model) == "phi3";
        for id in model.graph.with_role(Role::Weight) {
            let tensor = &model.graph[id];
            let dims: Vec<u64> = tensor.axes.iter().map(|axis| axis.size(none)).collect();
            match tensor.name.rsplit_once('.').filter(|_| fuses) {
                Some((name, _)) => gguf.add_to_fused(name, &dims, tensor.dtype),
                None => gguf.add(&tensor.name, &dims, tensor.dtype),
            }
        }
        gguf
    }

    /// Adds the rows of a matrix to those of the one before it where a file of Phi-3 has both in one.
    fn add_to_fused(&mut self, name: &str, dims: &[u64], dtype: DType) {
        let (layer, part) = name.rsplit_once('.').unwrap_or(("", name));
        let fused = match part {
            "attn_q" | "attn_k" | "attn_v" => format!("{layer}.attn_qkv.weight"),
            "ffn_gate" | "ffn_up" => format!("{layer}.ffn_up.weight"),
            _ => return self.add(&format!("{name}.weight"), dims, dtype),
        };
        match self.tensors.last_mut().filter(|last| last.name == fused) {
            Some(last) => {
                last.dims[0] += dims[0];
                last.bytes += dtype.bytes(dims.iter().product()).map_or(0, |bytes| bytes.0);
            }
            None => self.add(&fused, dims, dtype),
        }
    }

    fn add_keys(&mut self, model: &Model) {
        let graph = &model.graph;
        let width = |name: &str, axis: usize| {
            let tensor = graph.tensors.iter().find(|tensor| tensor.name == name);
            tensor.and_then(|tensor| tensor.axes[axis].fixed()).expect("a weight") as u32
        };
        let kind = architecture(model);
        self.set("general.architecture", Meta::Text(kind.into()));
        let mut set = |key: &str, value: Meta| self.set(&format!("{kind}.{key}"), value);
        set("block_count", Meta::U32(model.layers()));
        set("embedding_length", Meta::U32(width("token_embd.weight", 1)));
        let stacked = graph.tensors.iter().any(|tensor| tensor.name == "blk.0.ffn_up_exps.weight");
        let (up, rows) = if stacked { ("blk.0.ffn_up_exps.weight", 1) } else { ("blk.0.ffn_up.weight", 0) };
        set("feed_forward_length", Meta::U32(width(up, rows)));
        set("vocab_size", Meta::U32(width("token_embd.weight", 0)));
        set("context_length", Meta::U64(model.trained_context.unwrap_or(2048)));
        for node in &graph.nodes {
            match node.op {
                Op::Attention { heads, kv_heads, head_dim, scores } => {
                    set("attention.head_count", Meta::U32(heads));
                    set("attention.head_count_kv", Meta::U32(kv_heads));
                    set("attention.key_length", Meta::U32(head_dim));
                    set("attention.value_length", Meta::U32(head_dim));
                    if let Some(window) = scores.window {
                        set("attention.sliding_window", Meta::U32(window));
                    }
                    if let Some(cap) = scores.softcap {
                        set("attn_logit_softcapping", Meta::F32(cap.0));
                    }
                }
                Op::Rope { rotary_dim, base, .. } => {
                    set("rope.dimension_count", Meta::U32(rotary_dim));
                    set("rope.freq_base", Meta::F32(base.0));
                }
                Op::RmsNorm { epsilon } => set("attention.layer_norm_rms_epsilon", Meta::F32(epsilon.0)),
                Op::SoftCap { cap } => set("final_logit_softcapping", Meta::F32(cap.0)),
                Op::Experts { experts, used } => {
                    set("expert_count", Meta::U32(experts));
                    set("expert_used_count", Meta::U32(used));
                }
                _ => {}
            }
        }
        self.set("general.quantization_version", Meta::U32(2));
    }

    /// Sets a key, where it stands or at the end.
    pub(crate) fn set(&mut self, key: &str, value: Meta) {
        match self.keys.iter_mut().find(|known| known.0 == key) {
            Some(known) => known.1 = value,
            None => self.keys.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn with(mut self, key: &str, value: Meta) -> Self {
        self.set(key, value);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.keys.retain(|known| known.0 != key);
        self
    }

    /// Adds a tensor after the data of the others.
    pub(crate) fn add(&mut self, name: &str, dims: &[u64], dtype: DType) {
        let end = self.tensors.last().map_or(0, |last| last.offset + last.bytes);
        let offset = end.next_multiple_of(self.alignment);
        let bytes = dtype.bytes(dims.iter().product()).map_or(0, |bytes| bytes.0);
        self.tensors.push(Entry { name: name.to_owned(), dims: dims.to_vec(), kind: dtype.ggml(), offset, bytes });
    }

    pub(crate) fn edit(mut self, name: &str, change: impl FnOnce(&mut Entry)) -> Self {
        change(self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor"));
        self
    }

    pub(crate) fn drop_tensor(mut self, name: &str) -> Self {
        self.tensors.retain(|tensor| tensor.name != name);
        self
    }

    /// The header without padding.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            put_text(&mut out, key);
            put_value(&mut out, value);
        }
        for tensor in &self.tensors {
            put_text(&mut out, &tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().rev().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out
    }

    /// First byte of the data.
    pub(crate) fn data(&self) -> u64 {
        (self.bytes().len() as u64).next_multiple_of(self.alignment)
    }

    /// Size of the whole file.
    pub(crate) fn size(&self) -> u64 {
        let end = self.tensors.iter().map(|tensor| tensor.offset.saturating_add(tensor.bytes)).max();
        self.data().saturating_add(end.unwrap_or(0).min(1 << 50))
    }

    pub(crate) fn load(&self) -> Result<sailplan_models::Loaded, sailplan_ir::Diagnostics> {
        sailplan_models::from_gguf("tiny.gguf", &self.bytes(), self.size())
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Meta) {
    let (kind, bytes) = match value {
        Meta::U8(value) => (0, vec![*value]),
        Meta::U16(value) => (2, value.to_le_bytes().to_vec()),
        Meta::U32(value) => (4, value.to_le_bytes().to_vec()),
        Meta::I32(value) => (5, value.to_le_bytes().to_vec()),
        Meta::U64(value) => (10, value.to_le_bytes().to_vec()),
        Meta::F32(value) => (6, value.to_le_bytes().to_vec()),
        Meta::F64(value) => (12, value.to_le_bytes().to_vec()),
        Meta::Bool(value) => (7, vec![*value]),
        Meta::Text(text) => (8, text_bytes(text)),
        Meta::U32s(values) => {
            (9, array(4, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        }
        Meta::I32s(values) => {
            (9, array(5, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        }
        Meta::Texts(texts) => (9, array(8, texts.len(), texts.iter().flat_map(|text| text_bytes(text)).collect())),
        Meta::Raw(kind, bytes) => (*kind, bytes.clone()),
    };
    out.extend(u32::to_le_bytes(kind));
    out.extend(bytes);
}

fn text_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, text);
    out
}

/// An array value: element type, length, elements.
pub(crate) fn array(element: u32, length: usize, bytes: Vec<u8>) -> Vec<u8> {
    let mut out = element.to_le_bytes().to_vec();
    out.extend((length as u64).to_le_bytes());
    out.extend(bytes);
    out
}
