//! The RON and the GGUF of a model give the same graph, classes and digest.

use crate::writer::{Gguf, Meta, tiny};
use proptest::prelude::*;
use sailplan_ir::{DType, Model, Op, Verified};
use sailplan_models::{from_gguf, from_ron, zoo};

fn check(text: &str) -> Verified<Model> {
    let described = from_ron("described.ron", text).unwrap_or_else(|problems| panic!("{problems}"));
    let header = Gguf::of(&described.model);
    let read = header.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(described.model.graph == read.model.graph, "graphs differ");
    assert!(described.model.classes == read.model.classes, "classes differ");
    assert!(described.model.segments == read.model.segments, "segments differ");
    assert_eq!(described.model.digest, read.model.digest);
    assert_eq!((described.weights, read.model.source.as_str()), (None, "gguf"));
    let weights = read.weights.expect("an index");
    for tensor in header.tensors.iter().filter(|tensor| !header.fuses(&tensor.name)) {
        let entry = &weights.tensors[&tensor.name];
        assert_eq!((entry.offset, entry.bytes.0), (header.data() + tensor.offset, tensor.bytes), "{}", tensor.name);
        assert_eq!(entry.dims, tensor.dims, "{}", tensor.name);
    }
    read.model
}

fn with(fields: &str, dtypes: &str) -> String {
    format!(
        r#"Decoder(name: "case", hidden: 128, layers: 3, heads: 8, ffn: 256, vocab: 100, norm_epsilon: 1e-6,
        rope_base: 5e5, {fields} dtypes: Dtypes({dtypes}))"#
    )
}

#[test]
fn every_zoo_model() {
    for model in zoo() {
        assert_eq!(check(model.text).name, "tiny");
    }
}

#[test]
fn every_variant() {
    check(&with("", "default: F32"));
    check(&with("tied: true,", "default: Q8_0"));
    check(&with("kv_heads: 1, rope_factors: true,", "default: Q4_0, output: F16"));
    check(&with("kv_heads: 2, head_dim: 32, rotary_dim: 16,", "default: Q5_1, embed: BF16"));
    check(&with("biases: [q, k, v],", "default: F16"));
    check(&with("biases: [q, k, v, attn_output, gate, up, down],", "default: F16"));
    check(&with("experts: 5, experts_used: 2,", "default: Q4_0, down: Q8_0"));
    check(&with("experts: 4, experts_used: 4, expert_ffn: 64, biases: [q],", "default: F16, gate: F32"));
    let halves = "rope_pairs: halves, head_dim: 32,";
    check(&with(&format!("{halves} head_norms: true, kv_heads: 2,"), "default: Q4_0"));
    check(&with(&format!("{halves} head_norms: true, experts: 5, experts_used: 2, expert_ffn: 64,"), "default: Q4_0"));
    check(&with(&format!("{halves} kv_heads: 2, window: 9,"), "default: Q8_0"));
    let gemma = "window: 8, global_every: 2, score_cap: 7.0, logit_cap: 3.0, activation: gelu, post_norms: true,
        scaled_embedding: true, tied: true,";
    let classes = check(&with(&format!("{halves} {gemma}"), "default: Q4_0")).classes.len();
    assert_eq!(classes, 4, "layers with and without a window");
    let mixed = "default: Q4_0, v: Q8_0, overrides: [Override(parts: [v, down], dtype: F16, layers: [0, 2])]";
    assert_eq!(check(&with("", mixed)).classes.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sizes(
        (layers, kv_heads, group, pairs) in (1..6_u64, 1..5_u64, 1..5_u64, 1..9_u64),
        (hidden, ffn, vocab) in (1..9_u64, 1..9_u64, 1..300_u64),
        (tied, rope_factors, biased) in any::<(bool, bool, bool)>(),
        (default, other) in (0..TYPES.len(), 0..TYPES.len()),
        (mixed, experts, used) in (0..6_u64, 0..9_u64, 1..9_u64),
    ) {
        let (heads, head_dim, hidden, ffn) = (kv_heads * group, pairs * 32, hidden * 32, ffn * 32);
        let (default, other) = (TYPES[default], TYPES[other]);
        let biases = if biased { "q, k, v" } else { "" };
        let layer = mixed.min(layers - 1);
        let used = used.min(experts);
        let mixture = if experts == 0 { String::new() } else { format!("experts: {experts}, experts_used: {used},") };
        check(&format!(
            r#"Decoder(name: "any", hidden: {hidden}, layers: {layers}, heads: {heads}, kv_heads: {kv_heads},
            head_dim: {head_dim}, ffn: {ffn}, vocab: {vocab}, {mixture} norm_epsilon: 1e-5, rope_base: 1e4, tied: {tied},
            rope_factors: {rope_factors}, biases: [{biases}], dtypes: Dtypes(default: {default},
            overrides: [Override(parts: [v, down], dtype: {other}, layers: [{layer}])]))"#
        ));
    }
}

const TYPES: [&str; 7] = ["F32", "F16", "BF16", "Q4_0", "Q5_1", "Q8_0", "IQ4_NL"];

/// The operators of a mixture, and what its description says of them.
#[test]
fn experts_are_stacked_and_routed() {
    let model = check(&with("experts: 5, experts_used: 2, expert_ffn: 64,", "default: Q4_0"));
    let template = &model.classes[1].template;
    let node = |name: &str| template.nodes.iter().find(|node| node.op.row().name == name).expect("an operator");
    assert_eq!(node("route").op, Op::Route { used: 2, renormalise: true });
    assert_eq!(node("experts").op, Op::Experts { experts: 5, used: 2 });
    let shapes: Vec<(String, String, DType)> = node("experts").inputs[2..]
        .iter()
        .map(|&id| &template[id])
        .map(|tensor| (tensor.name.clone(), tensor.axes.iter().map(|axis| format!("{axis} ")).collect(), tensor.dtype))
        .collect();
    let expected =
        |part: &str, axes: &str| (format!("blk.{{layer}}.ffn_{part}_exps.weight"), axes.to_owned(), DType::Q4_0);
    assert_eq!(shapes, [expected("gate", "5 64 128 "), expected("up", "5 64 128 "), expected("down", "5 128 64 ")]);
    let router = template.tensors.iter().find(|tensor| tensor.name.contains("ffn_gate_inp")).expect("a router");
    assert_eq!(router.dtype, DType::F32);
    let plain = from_ron("x.ron", &with("experts: 5, experts_used: 2, renormalise: false,", "default: Q4_0"));
    assert_ne!(plain.expect("valid").model.digest, model.digest);
}

/// Files of the first mixtures have a tensor for each expert.
#[test]
fn experts_by_themselves_are_refused_once() {
    let described = from_ron("x.ron", &with("experts: 4, experts_used: 2,", "default: Q4_0")).expect("valid");
    let mut gguf = Gguf::of(&described.model);
    gguf.tensors.retain(|tensor| !tensor.name.contains("_exps"));
    for (layer, expert) in (0..3).flat_map(|layer| (0..4).map(move |expert| (layer, expert))) {
        for (part, dims) in [("gate", [256, 128]), ("up", [256, 128]), ("down", [128, 256])] {
            gguf.add(&format!("blk.{layer}.ffn_{part}.{expert}.weight"), &dims, DType::Q4_0);
        }
    }
    let problems = gguf.load().expect_err("an old file");
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert!(problems.0[0].message.contains("only stacked experts are supported"), "{problems}");
}

/// Only what planning depends on is in the digest.
#[test]
fn the_digest_is_of_the_meaning() {
    let base = tiny().load().expect("valid").model.digest.clone();
    let same = |gguf: &Gguf| gguf.load().unwrap_or_else(|problems| panic!("{problems}")).model.digest == base;
    assert!(base.starts_with("sha256:") && base.len() == 71);
    assert!(same(&tiny().with("general.name", Meta::Text("another name".into()))));
    assert!(same(&tiny().with("llama.context_length", Meta::U32(1 << 20))));
    let gguf = tiny();
    assert!(from_gguf("other.gguf", &gguf.bytes(), gguf.size()).is_ok_and(|loaded| loaded.model.digest == base));
    let mut shuffled = tiny();
    shuffled.tensors.reverse();
    shuffled.keys.reverse();
    assert!(same(&shuffled));
    assert!(!same(&tiny().with("llama.rope.freq_base", Meta::F32(5e5))));
    assert!(!same(&tiny().with("llama.attention.head_count_kv", Meta::U32(1)).fit_kv(16)));
    assert!(!same(&tiny().edit("output.weight", |tensor| tensor.kind = 0).repack()));
}

/// A number pinned here changes only when the digest's form or the builder does; either breaks committed plans.
#[test]
fn the_digest_is_stable() {
    let tinyllama = sailplan_models::load_zoo("tinyllama-1.1b").expect("shipped");
    insta::with_settings!({ snapshot_path => "../../../snapshots/models", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("digest-tinyllama-1.1b", tinyllama.model.digest);
    });
}

#[test]
fn integers_of_every_width_and_lists_of_equal_numbers() {
    let base = tiny().load().expect("valid").model.digest.clone();
    let same = |key: &str, value: Meta| {
        let loaded = tiny().with(key, value).load().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.model.digest, base);
    };
    same("llama.block_count", Meta::U64(2));
    same("llama.block_count", Meta::I32(2));
    same("llama.block_count", Meta::U16(2));
    same("llama.block_count", Meta::U8(2));
    same("llama.feed_forward_length", Meta::U32s(vec![96, 96]));
    same("llama.attention.head_count", Meta::I32s(vec![4, 4]));
    same("llama.attention.head_count_kv", Meta::U32s(vec![2, 2]));
    same("llama.attention.layer_norm_rms_epsilon", Meta::F64(1e-5));
    same("llama.rope.scaling.type", Meta::Text("none".into()));
    same("llama.rope.scaling.factor", Meta::F32(1.0));
    same("llama.expert_count", Meta::U32(0));
    same("llama.attention.causal", Meta::Bool(1));
    same("split.count", Meta::U16(1));
    same("general.alignment", Meta::U32(32));
    same("some.nested.list", Meta::Raw(9, crate::writer::array(9, 1, crate::writer::array(0, 2, vec![1, 2]))));
}

#[test]
fn defaults_of_absent_keys() {
    let base = tiny().load().expect("valid").model;
    let bare = tiny()
        .without("llama.rope.freq_base")
        .without("llama.rope.dimension_count")
        .without("llama.attention.key_length")
        .without("llama.attention.value_length")
        .without("llama.vocab_size")
        .without("llama.context_length")
        .without("general.name");
    let bare = bare.load().unwrap_or_else(|problems| panic!("{problems}")).model;
    assert_eq!(bare.digest, base.digest);
    assert_eq!((bare.trained_context, base.trained_context), (None, Some(512)));
    assert_eq!(bare.name, "tiny");
}

#[test]
fn version_2_and_other_alignments() {
    let mut gguf = tiny();
    gguf.version = 2;
    assert!(gguf.load().is_ok());
    let mut wide = tiny().with("general.alignment", Meta::U32(4096));
    wide.alignment = 4096;
    let wide = wide.repack();
    let loaded = wide.load().unwrap_or_else(|problems| panic!("{problems}"));
    let weights = loaded.weights.expect("an index");
    assert!(weights.tensors.values().all(|entry| entry.offset.is_multiple_of(4096)));
}

#[test]
fn layers_may_differ_in_width() {
    let uneven = tiny().with("llama.feed_forward_length", Meta::U32s(vec![96, 160]));
    let uneven = ["ffn_gate", "ffn_up"]
        .into_iter()
        .fold(uneven, |gguf, name| gguf.edit(&format!("blk.1.{name}.weight"), |tensor| tensor.dims = vec![160, 64]));
    let uneven = uneven.edit("blk.1.ffn_down.weight", |tensor| tensor.dims = vec![64, 160]).repack();
    let model = uneven.load().unwrap_or_else(|problems| panic!("{problems}")).model;
    let names: Vec<&str> = model.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["embed", "layer.a", "layer.b", "head"]);
}

#[test]
fn tables_that_change_nothing_are_ignored() {
    let mut gguf = tiny();
    gguf.add("blk.0.attn_rot_embd", &[8], sailplan_ir::DType::F32);
    let loaded = gguf.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.model.digest, tiny().load().expect("valid").model.digest);
}

/// Rows of queries, keys and values lie one behind the other, and those of gate and up.
#[test]
fn parts_of_fused_tensors_are_where_their_rows_are() {
    let described = from_ron("x.ron", &with("rope_pairs: halves, kv_heads: 2,", "default: Q4_0")).expect("valid");
    let header = Gguf::of(&described.model);
    let weights = header.load().unwrap_or_else(|problems| panic!("{problems}")).weights.expect("an index");
    let place = |name: &str| {
        let entry = &weights.tensors[&format!("blk.1.{name}.weight")];
        (entry.offset - header.data(), entry.bytes.0, entry.dims[0])
    };
    let start = |name: &str| header.tensors.iter().find(|tensor| tensor.name == name).expect("a tensor").offset;
    // A row of 128 elements is 4 blocks of 18 B.
    let (qkv, up) = (start("blk.1.attn_qkv.weight"), start("blk.1.ffn_up.weight"));
    assert_eq!(place("attn_q"), (qkv, 128 * 72, 128));
    assert_eq!(place("attn_k"), (qkv + 128 * 72, 32 * 72, 32));
    assert_eq!(place("attn_v"), (qkv + 160 * 72, 32 * 72, 32));
    assert_eq!(place("ffn_gate"), (up, 256 * 72, 256));
    assert_eq!(place("ffn_up"), (up + 256 * 72, 256 * 72, 256));
}

/// Only what is not as in Llama is in a digest: those of plans made before stay.
#[test]
fn every_difference_is_in_the_digest() {
    let digest = |fields: &str| from_ron("x.ron", &with(fields, "default: F32")).expect("valid").model.digest.clone();
    let plain = digest("");
    assert_eq!(digest("rope_pairs: adjacent, activation: silu, head_norms: false, query_scalar: 16.0,"), plain);
    let differences = [
        "rope_pairs: halves,",
        "activation: gelu,",
        "head_norms: true,",
        "post_norms: true,",
        "scaled_embedding: true,",
        "parallel: true,",
        "window: 4,",
        "window: 5,",
        "window: 5, global_every: 2,",
        "score_cap: 5.0,",
        "logit_cap: 5.0,",
        "query_scalar: 5.0,",
    ];
    let mut digests: Vec<String> = differences.into_iter().map(digest).chain([plain]).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), differences.len() + 1);
}

impl Gguf {
    /// Whether a tensor holds several matrices.
    fn fuses(&self, name: &str) -> bool {
        let fused = self.tensors.iter().any(|tensor| tensor.name.contains("attn_qkv"));
        fused && (name.contains("attn_qkv") || name.contains("ffn_up"))
    }

    /// Lays the data out again after shapes or types changed.
    pub(crate) fn repack(mut self) -> Self {
        for tensor in std::mem::take(&mut self.tensors) {
            let dtype = sailplan_ir::DType::from_ggml(tensor.kind).expect("a known type");
            self.add(&tensor.name, &tensor.dims, dtype);
        }
        self
    }

    /// Makes the keys' and values' matrices as wide as the heads left.
    fn fit_kv(mut self, rows: u64) -> Self {
        for tensor in &mut self.tensors {
            if tensor.name.contains("attn_k.") || tensor.name.contains("attn_v.") {
                tensor.dims = vec![rows, 64];
            }
        }
        self.repack()
    }
}
