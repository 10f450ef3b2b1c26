//! Damaged, hostile and unsupported GGUF headers: each is refused with a message, a place and a hint.

use crate::writer::{Gguf, Meta, array, tiny};
use sailplan_ir::{At, DType, Diagnostics};

/// Where the first matching problem must stand.
#[derive(Clone, Copy)]
enum Where {
    Byte,
    Name(&'static str),
}
use Where::{Byte, Name};

fn check(case: &str, result: Result<sailplan_models::Loaded, Diagnostics>, (expected, place): (&str, Where)) {
    let problems = result.err().unwrap_or_else(|| panic!("{case}: accepted"));
    let found = problems.0.iter().find(|problem| problem.message.contains(expected));
    let found = found.unwrap_or_else(|| panic!("{case}: expected `{expected}` in\n{problems}"));
    assert!(problems.0.iter().all(|problem| problem.hint.is_some() && problem.place.is_some()), "{case}: {problems}");
    let at = found.place.as_ref().map(|place| (place.file.as_str(), &place.at));
    match (place, at) {
        (Byte, Some(("tiny.gguf", At::Byte(_)))) => {}
        (Name(name), Some(("tiny.gguf", At::Name(at)))) if name == at => {}
        (_, at) => panic!("{case}: stands at {at:?}"),
    }
}

fn table(cases: Vec<(&str, Gguf, Where)>) {
    for (expected, gguf, place) in cases {
        check(expected, gguf.load(), (expected, place));
    }
}

fn change(edit: impl FnOnce(&mut Gguf)) -> Gguf {
    let mut gguf = tiny();
    edit(&mut gguf);
    gguf
}

#[test]
fn structure() {
    let long = || Meta::Raw(8, u64::MAX.to_le_bytes().to_vec());
    let nested = |depth: u32| {
        let inner = (0..depth).fold(array(0, 0, vec![]), |inner, _| array(9, 1, inner));
        Meta::Raw(9, inner)
    };
    table(vec![
        ("not with `GGUF`", change(|gguf| gguf.magic = *b"GGML"), Byte),
        ("not with `GGUF`", change(|gguf| gguf.magic = *b"FUGG"), Byte),
        ("version 1 is not supported", change(|gguf| gguf.version = 1), Byte),
        ("version 0 is unknown", change(|gguf| gguf.version = 0), Byte),
        ("version 4 is unknown", change(|gguf| gguf.version = 4), Byte),
        ("is big-endian", change(|gguf| gguf.version = 3_u32.swap_bytes()), Byte),
        ("claims 18446744073709551615 tensors", change(|gguf| gguf.tensor_count = Some(u64::MAX)), Byte),
        ("claims 1099511627776 tensors", change(|gguf| gguf.tensor_count = Some(1 << 40)), Byte),
        ("claims 1099511627776 keys", change(|gguf| gguf.key_count = Some(1 << 40)), Byte),
        ("the name of a tensor", change(|gguf| gguf.key_count = Some(3)), Byte),
        ("the name of a key", change(|gguf| gguf.key_count = Some(30)), Byte),
        ("a metadata string claims 18446744073709551615 bytes", tiny().with("a", long()), Byte),
        ("an array claims 1099511627776 elements", tiny().with("a", Meta::Raw(9, array(4, 1 << 40, vec![]))), Byte),
        ("an array claims 1099511627776 elements", tiny().with("a", Meta::Raw(9, array(8, 1 << 40, vec![]))), Byte),
        ("arrays are nested too deeply", tiny().with("a", nested(20)), Byte),
        ("arrays are nested too deeply", tiny().with("a", nested(3000)), Byte),
        ("value type 13 is unknown", tiny().with("a", Meta::Raw(13, vec![])), Byte),
        ("value type 99 is unknown", tiny().with("a", Meta::Raw(9, array(99, 0, vec![]))), Byte),
        ("neither 0 nor 1", tiny().with("a", Meta::Bool(2)), Byte),
        ("the name of a key has 0 bytes", tiny().with("", Meta::Bool(1)), Byte),
        ("key `llama.block_count` stands twice", change(|gguf| gguf.keys.push(gguf.keys[1].clone())), Byte),
        ("the alignment is 0", tiny().with("general.alignment", Meta::U32(0)), Name("general.alignment")),
        ("the alignment is 48", tiny().with("general.alignment", Meta::U32(48)), Name("general.alignment")),
        (
            "the alignment is the string",
            tiny().with("general.alignment", Meta::Text("x".into())),
            Name("general.alignment"),
        ),
    ]);
}

#[test]
fn tensor_table() {
    let up = "blk.1.ffn_up.weight";
    let edit = |change: fn(&mut crate::writer::Entry)| tiny().edit("blk.1.ffn_up.weight", change);
    table(vec![
        ("has 5 dimensions", edit(|tensor| tensor.dims = vec![1; 5]), Byte),
        ("has 4294967295 dimensions", raw_dims(), Byte),
        ("more elements than 2^62", edit(|tensor| tensor.dims = vec![1 << 32, 1 << 32]), Name(up)),
        ("ends at byte", edit(|tensor| tensor.dims = vec![1 << 30, 1 << 30]), Name(up)),
        ("has shape [0, 64]", edit(|tensor| tensor.dims = vec![0, 64]), Name(up)),
        ("not whole Q4_0 blocks of 32", edit(|tensor| tensor.dims = vec![96, 63]), Name(up)),
        ("not whole Q4_K blocks of 256", edit(|tensor| tensor.kind = 12), Name(up)),
        ("type 4, which was removed", edit(|tensor| tensor.kind = 4), Byte),
        ("type 31, which was removed", edit(|tensor| tensor.kind = 31), Byte),
        ("type 43, which is unknown", edit(|tensor| tensor.kind = 43), Byte),
        ("type 4294967295, which is unknown", edit(|tensor| tensor.kind = u32::MAX), Byte),
        ("not a multiple of 32", edit(|tensor| tensor.offset += 1), Name(up)),
        ("overlaps that of `blk.1.ffn_gate.weight`", edit(|tensor| tensor.offset -= 32), Name(up)),
        ("ends at byte", edit(|tensor| tensor.offset = u64::MAX - 31), Name(up)),
        ("ends at byte", edit(|tensor| tensor.offset = 1 << 60), Name(up)),
        (
            "tensor `blk.1.ffn_up.weight` stands twice",
            change(|gguf| gguf.add("blk.1.ffn_up.weight", &[96, 64], DType::Q4_0)),
            Byte,
        ),
        ("the name of a tensor is not UTF-8", broken_name(), Byte),
    ]);
}

/// A dimension count the writer cannot make: the four bytes after the first tensor's name.
fn raw_dims() -> Gguf {
    // The raw value swallows the table: what follows the key count is one key, then one tensor of our making.
    let mut entry = 1_u64.to_le_bytes().to_vec();
    entry.extend(b"t");
    entry.extend(u32::MAX.to_le_bytes());
    entry.extend([0; 64]);
    let mut gguf = tiny().with("last", Meta::Raw(0, [vec![7], entry].concat()));
    gguf.tensor_count = Some(1);
    gguf
}

fn broken_name() -> Gguf {
    let mut entry = 2_u64.to_le_bytes().to_vec();
    entry.extend([0xc3, 0x28]);
    entry.extend([0; 64]);
    let mut gguf = tiny().with("last", Meta::Raw(0, [vec![7], entry].concat()));
    gguf.tensor_count = Some(1);
    gguf
}

#[test]
fn metadata() {
    let drop = |key: &'static str| tiny().without(key);
    let set = |key: &str, value: Meta| tiny().with(key, value);
    let text = |text: &str| Meta::Text(text.to_owned());
    table(vec![
        ("`general.architecture` is missing", drop("general.architecture"), Name("general.architecture")),
        ("`llama.embedding_length` is missing", drop("llama.embedding_length"), Name("llama.embedding_length")),
        ("`llama.block_count` is missing", drop("llama.block_count"), Name("llama.block_count")),
        ("head_count` is missing", drop("llama.attention.head_count"), Name("llama.attention.head_count")),
        (
            "`llama.feed_forward_length` is missing",
            drop("llama.feed_forward_length"),
            Name("llama.feed_forward_length"),
        ),
        (
            "rms_epsilon` is missing",
            drop("llama.attention.layer_norm_rms_epsilon"),
            Name("llama.attention.layer_norm_rms_epsilon"),
        ),
        (
            "`llama.vocab_size` is missing",
            drop("llama.vocab_size").without("tokenizer.ggml.tokens"),
            Name("llama.vocab_size"),
        ),
        (
            "architecture `qwen2` is not supported",
            set("general.architecture", text("qwen2")),
            Name("general.architecture"),
        ),
        ("is 7, expected a string", set("general.architecture", Meta::U32(7)), Name("general.architecture")),
        ("holds a `adapter`", set("general.type", text("adapter")), Name("general.type")),
        ("one of 3 files of a split model", set("split.count", Meta::U16(3)), Name("split.count")),
        ("nothing says how many", set("llama.expert_count", Meta::U32(8)), Name("llama.expert_count")),
        ("not that it has experts", set("llama.expert_used_count", Meta::U32(2)), Name("llama.expert_used_count")),
        ("1 to 1024", set("llama.expert_count", Meta::U32(4096)), Name("llama.expert_count")),
        ("every token takes", set("llama.expert_shared_count", Meta::U32(1)), Name("llama.expert_shared_count")),
        (
            "a sliding window",
            set("llama.attention.sliding_window", Meta::U32(4096)),
            Name("llama.attention.sliding_window"),
        ),
        ("not causal", set("llama.attention.causal", Meta::Bool(0)), Name("llama.attention.causal")),
        (
            "quantisation version is 1",
            set("general.quantization_version", Meta::U32(1)),
            Name("general.quantization_version"),
        ),
        ("positions are scaled", set("llama.rope.scaling.factor", Meta::F32(4.0)), Name("llama.rope.scaling.factor")),
        ("positions are scaled", set("llama.rope.scale_linear", Meta::F32(2.0)), Name("llama.rope.scale_linear")),
        ("scaling `longrope`", set("llama.rope.scaling.type", text("longrope")), Name("llama.rope.scaling.type")),
        ("is the string \"two\"", set("llama.block_count", text("two")), Name("llama.block_count")),
        ("is -2, expected", set("llama.block_count", Meta::I32(-2)), Name("llama.block_count")),
        ("layers is 0", set("llama.block_count", Meta::U32(0)), Name("llama.block_count")),
        ("at most 4096 is accepted", set("llama.block_count", Meta::U64(1 << 60)), Name("llama.block_count")),
        ("3 layers need at least 27 tensors", set("llama.block_count", Meta::U32(3)), Name("llama.block_count")),
        ("hidden size is 0", set("llama.embedding_length", Meta::U32(0)), Name("llama.embedding_length")),
        ("heads is 0", set("llama.attention.head_count", Meta::U32(0)), Name("llama.attention.head_count")),
        (
            "KV heads is 0",
            set("llama.attention.head_count_kv", Meta::I32s(vec![2, 0])),
            Name("llama.attention.head_count_kv"),
        ),
        (
            "cannot share 3 KV heads",
            set("llama.attention.head_count_kv", Meta::U32(3)),
            Name("llama.attention.head_count_kv"),
        ),
        (
            "3 numbers for 2 layers",
            set("llama.feed_forward_length", Meta::U32s(vec![96; 3])),
            Name("llama.feed_forward_length"),
        ),
        ("heads of values 8", set("llama.attention.value_length", Meta::U32(8)), Name("llama.attention.value_length")),
        (
            "cannot rotate in pairs",
            set("llama.rope.dimension_count", Meta::U32(18)),
            Name("llama.rope.dimension_count"),
        ),
        ("cannot rotate in pairs", set("llama.rope.dimension_count", Meta::U32(7)), Name("llama.rope.dimension_count")),
        (
            "epsilon of the norms is NaN",
            set("llama.attention.layer_norm_rms_epsilon", Meta::F32(f32::NAN)),
            Name("llama.attention.layer_norm_rms_epsilon"),
        ),
        ("rotary frequencies is -1", set("llama.rope.freq_base", Meta::F32(-1.0)), Name("llama.rope.freq_base")),
    ]);
}

#[test]
fn shapes() {
    let extra = |name: &'static str| change(|gguf| gguf.add(name, &[64], DType::F32));
    let set = |key: &str, value: u32| tiny().with(key, Meta::U32(value));
    table(vec![
        ("[128, 64], expected [99, 64]", set("llama.vocab_size", 99), Name("token_embd.weight")),
        ("[96, 64], expected [97, 64]", set("llama.feed_forward_length", 97), Name("blk.0.ffn_gate.weight")),
        ("`blk.1.attn_k.weight` has shape", set("llama.attention.head_count_kv", 4), Name("blk.1.attn_k.weight")),
        ("[64, 64] is missing", tiny().drop_tensor("blk.1.attn_q.weight"), Name("blk.1.attn_q.weight")),
        ("[64] is missing", tiny().drop_tensor("output_norm.weight"), Name("output_norm.weight")),
        ("no place in this model", extra("blk.0.attn_q_norm.weight"), Name("blk.0.attn_q_norm.weight")),
        ("no place in this model", extra("blk.2.attn_norm.weight"), Name("blk.2.attn_norm.weight")),
        ("expected [8]", extra("rope_freqs.weight"), Name("rope_freqs.weight")),
        ("expected [32]", extra("blk.0.attn_k.bias"), Name("blk.0.attn_k.bias")),
    ]);
}

/// What only some architectures say.
#[test]
fn architectures() {
    let gemma = |key: &str, value: Meta| other("gemma2").with(key, value);
    let phi = |change: fn(&mut crate::writer::Entry)| other("phi3").edit("blk.0.attn_qkv.weight", change);
    table(vec![
        (
            "the window is 0",
            gemma("gemma2.attention.sliding_window", Meta::U32(0)),
            Name("gemma2.attention.sliding_window"),
        ),
        (
            "the cap of the scores is 0",
            gemma("gemma2.attn_logit_softcapping", Meta::F32(0.0)),
            Name("gemma2.attn_logit_softcapping"),
        ),
        (
            "the cap of the logits is inf",
            gemma("gemma2.final_logit_softcapping", Meta::F32(f32::INFINITY)),
            Name("gemma2.final_logit_softcapping"),
        ),
        (
            "[64] is missing",
            other("gemma2").drop_tensor("blk.1.post_ffw_norm.weight"),
            Name("blk.1.post_ffw_norm.weight"),
        ),
        ("[16] is missing", other("qwen3").drop_tensor("blk.1.attn_k_norm.weight"), Name("blk.1.attn_k_norm.weight")),
        (
            "expected [16]",
            other("qwen3").edit("blk.0.attn_q_norm.weight", |tensor| tensor.dims = vec![8]),
            Name("blk.0.attn_q_norm.weight"),
        ),
        (
            "a sliding window",
            other("qwen3").with("qwen3.attention.sliding_window", Meta::U32(64)),
            Name("qwen3.attention.sliding_window"),
        ),
        (
            "`qwen3moe.expert_count` is missing",
            other("qwen3moe").without("qwen3moe.expert_count"),
            Name("qwen3moe.expert_count"),
        ),
        ("has no place in this model", phi(|tensor| tensor.dims[0] -= 1), Name("blk.0.attn_qkv.weight")),
        ("2 layers need at least 12 tensors", few(), Name("phi3.block_count")),
        (
            "scaling `longrope`",
            other("phi3").with("phi3.rope.scaling.type", Meta::Text("longrope".into())),
            Name("phi3.rope.scaling.type"),
        ),
    ]);
}

fn few() -> Gguf {
    let mut gguf = other("phi3");
    gguf.tensors.truncate(11);
    gguf
}

/// A small file of another architecture.
fn other(kind: &str) -> Gguf {
    let fields = match kind {
        "qwen3" => "head_norms: true,",
        "qwen3moe" => "head_norms: true, experts: 4, experts_used: 2,",
        "gemma2" => {
            "window: 8, global_every: 2, score_cap: 7.0, logit_cap: 3.0, activation: gelu, post_norms: true,
            scaled_embedding: true,"
        }
        _ => "window: 8,",
    };
    let text = format!(
        "Decoder(name: \"tiny\", hidden: 64, layers: 2, heads: 4, kv_heads: 2, ffn: 96, vocab: 128, context: 512,
        norm_epsilon: 1e-5, rope_base: 10000.0, rope_pairs: halves, {fields} dtypes: Dtypes(default: Q4_0))"
    );
    Gguf::of(&sailplan_models::from_ron("tiny.ron", &text).expect("a valid description").model)
}

/// Several problems of different kinds come in one report, in a bounded list.
#[test]
fn many_problems_at_once() {
    let gguf = tiny().with("llama.rope.freq_base", Meta::F32(0.0)).with("llama.rope.scaling.factor", Meta::F32(4.0));
    let gguf = gguf.edit("output.weight", |tensor| tensor.kind = 5);
    let problems = gguf.load().expect_err("three problems");
    assert_eq!(problems.0.len(), 3, "{problems}");
    let mut wide = tiny();
    for index in 0..1000 {
        wide.add(&format!("extra.{index}"), &[1], DType::F32);
    }
    let problems = wide.load().expect_err("a thousand problems");
    assert_eq!(problems.0.len(), 25);
    assert!(problems.0[24].message.contains("976 more problems"), "{problems}");
}

/// Every prefix, as a whole file and as the first part of a longer one.
#[test]
fn every_truncation_is_refused() {
    let gguf = tiny();
    let (bytes, size) = (gguf.bytes(), gguf.size());
    for length in 0..bytes.len() {
        let part = &bytes[..length];
        let problems = sailplan_models::from_gguf("tiny.gguf", part, length as u64).expect_err("truncated");
        assert!(problems.0[0].hint.is_some() && problems.0[0].place.is_some(), "{length}: {problems}");
        let problems = sailplan_models::from_gguf("tiny.gguf", part, size).expect_err("incomplete");
        assert!(problems.to_string().contains("past the bytes that were read"), "{length}: {problems}");
    }
}

/// Claims of huge sizes end at once: nothing is allocated for what the file cannot hold.
#[test]
#[expect(clippy::disallowed_types, reason = "the test is about time")]
fn huge_claims_cost_nothing() {
    let start = std::time::Instant::now();
    for count in [1 << 26, 1 << 40, 1 << 62, u64::MAX] {
        let tensors = change(|gguf| gguf.tensor_count = Some(count));
        let keys = change(|gguf| gguf.key_count = Some(count));
        let texts =
            tiny().with("a", Meta::Raw(9, [8_u32.to_le_bytes().to_vec(), count.to_le_bytes().to_vec()].concat()));
        for gguf in [tensors, keys, texts] {
            assert!(gguf.load().is_err());
            // The same claims in a file whose size would allow them.
            assert!(sailplan_models::from_gguf("tiny.gguf", &gguf.bytes(), u64::MAX).is_err());
        }
    }
    let layers = tiny().with("llama.block_count", Meta::U32(4096));
    assert!(layers.load().is_err());
    assert!(start.elapsed().as_secs() < 5);
}
