//! The metadata of the `llama` architecture: its numbers, and refusals of everything that would make another model of
//! them. Keys and defaults: src/llama-arch.cpp and src/llama-model.cpp of llama.cpp.

use super::keys::Keys;
use super::value::Value;
use crate::decoder::{Decoder, ExpertNumbers, Field, Numbers};
use crate::report::shown;

const NOT_YET: &str = "this is not supported yet; Llama models and mixtures of their feed-forward parts are";

/// The decoder, unless something is wrong or not supported (then `keys.problems` says what).
pub(crate) fn decoder(keys: &mut Keys<'_>) -> Option<Decoder> {
    check_kind(keys)?;
    refuse_variants(keys);
    refuse_scaling(keys);
    let numbers = numbers(keys)?;
    match numbers.check() {
        Ok(decoder) => Some(decoder),
        Err(flaws) => {
            for flaw in flaws {
                keys.problem(key_of(flaw.field), flaw.message, &flaw.hint);
            }
            None
        }
    }
}

fn check_kind(keys: &mut Keys<'_>) -> Option<()> {
    if let Some(count) = keys.integer("split.count")
        && count > 1
    {
        let message = format!("this is one of {count} files of a split model; split files are not supported yet");
        keys.problem("split.count", message, "join them with llama.cpp's `llama-gguf-split --merge`");
        return None;
    }
    if let Some(kind) = keys.text("general.type").filter(|kind| kind != "model") {
        let message = format!("the file holds a `{}`, not a model", shown(&kind));
        keys.problem("general.type", message, "give the model's own GGUF file");
        return None;
    }
    let architecture = keys.required("general.architecture", Keys::text)?;
    if architecture != "llama" {
        let message = format!("the architecture `{}` is not supported", shown(&architecture));
        keys.problem(
            "general.architecture",
            message,
            "supported: `llama` (Llama, TinyLlama, Mistral, SmolLM2, Mixtral)",
        );
        return None;
    }
    Some(())
}

fn refuse_variants(keys: &mut Keys<'_>) {
    for (key, what) in [
        ("llama.expert_shared_count", "experts that every token takes"),
        ("llama.attention.sliding_window", "attention over a sliding window"),
    ] {
        if let Some(count) = keys.integer(key)
            && count > 0
        {
            keys.problem(key, format!("the model uses {what} (`{key}` is {count})"), NOT_YET);
        }
    }
    if matches!(keys.get("llama.attention.causal"), Some(Value::Bool(false))) {
        keys.problem("llama.attention.causal", "the model's attention is not causal", NOT_YET);
    }
    let version = keys.integer("general.quantization_version").unwrap_or(2);
    if version != 2 {
        let message = format!("the quantisation version is {version}; 2 is supported");
        keys.problem("general.quantization_version", message, "quantise the model again with a current llama.cpp");
    }
}

/// A scaled rotary embedding gives other numbers than `Op::Rope`.
fn refuse_scaling(keys: &mut Keys<'_>) {
    let kind = keys.text("llama.rope.scaling.type").unwrap_or_else(|| "linear".to_owned());
    if !matches!(kind.as_str(), "none" | "linear" | "yarn") {
        let message = format!("rotary scaling `{}` is not supported", shown(&kind));
        keys.problem("llama.rope.scaling.type", message, NOT_YET);
    }
    if kind == "none" {
        return;
    }
    for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear", "llama.rope.scaling.attn_factor"] {
        // llama.cpp reads a factor of 0 as none.
        if let Some(factor) = keys.float(key)
            && factor != 1.0
            && factor != 0.0
        {
            let message = format!("the rotary positions are scaled ({kind}, `{key}` is {factor})");
            keys.problem(key, message, NOT_YET);
        }
    }
}

fn numbers(keys: &mut Keys<'_>) -> Option<Numbers> {
    let hidden = keys.required(key_of(Field::Hidden), Keys::integer);
    let layers = keys.required(key_of(Field::Layers), Keys::integer);
    let heads = keys.required(key_of(Field::Heads), Keys::per_layer);
    let ffn = keys.required(key_of(Field::Ffn), Keys::per_layer);
    let epsilon = keys.required(key_of(Field::Epsilon), Keys::float);
    let kv_heads = keys.per_layer(key_of(Field::KvHeads)).or_else(|| heads.clone());
    let vocab = vocabulary(keys);
    let head_dim = head_dim(keys);
    let rope_base = keys.float(key_of(Field::RopeBase)).unwrap_or(10000.0);
    let rotary_dim = keys.integer(key_of(Field::RotaryDim));
    let context = keys.integer(key_of(Field::Context));
    let experts = experts(keys);
    Some(Numbers {
        hidden: hidden?,
        layers: layers?,
        heads: heads?,
        kv_heads: kv_heads?,
        ffn: ffn?,
        experts,
        head_dim,
        rotary_dim,
        vocab: vocab?,
        context,
        epsilon: epsilon?,
        rope_base,
    })
}

/// Dense files may say 0. llama.cpp makes the gates of this architecture add up to 1.
fn experts(keys: &mut Keys<'_>) -> ExpertNumbers {
    let mut number = |field| keys.integer(key_of(field)).filter(|&number| number > 0);
    ExpertNumbers {
        count: number(Field::Experts),
        used: number(Field::ExpertsUsed),
        ffn: number(Field::ExpertFfn),
        renormalise: None,
    }
}

/// The key, else the length of the tokenizer's list.
fn vocabulary(keys: &mut Keys<'_>) -> Option<u64> {
    let key = key_of(Field::Vocab);
    match (keys.get(key), keys.get("tokenizer.ggml.tokens")) {
        (None, Some(Value::Array(tokens))) => Some(tokens.len()),
        _ => keys.required(key, Keys::integer),
    }
}

fn head_dim(keys: &mut Keys<'_>) -> Option<u64> {
    let (key, value) = (keys.integer(key_of(Field::HeadDim)), keys.integer("llama.attention.value_length"));
    if let (Some(key), Some(value)) = (key, value)
        && key != value
    {
        let message = format!("heads of keys have {key} elements and heads of values {value}");
        keys.problem("llama.attention.value_length", message, NOT_YET);
    }
    key.or(value)
}

const fn key_of(field: Field) -> &'static str {
    match field {
        Field::Hidden => "llama.embedding_length",
        Field::Layers => "llama.block_count",
        Field::Heads => "llama.attention.head_count",
        Field::KvHeads => "llama.attention.head_count_kv",
        Field::HeadDim => "llama.attention.key_length",
        Field::RotaryDim => "llama.rope.dimension_count",
        Field::Ffn => "llama.feed_forward_length",
        Field::Experts => "llama.expert_count",
        Field::ExpertsUsed | Field::Renormalise => "llama.expert_used_count",
        Field::ExpertFfn => "llama.expert_feed_forward_length",
        Field::Vocab => "llama.vocab_size",
        Field::Context => "llama.context_length",
        Field::Epsilon => "llama.attention.layer_norm_rms_epsilon",
        Field::RopeBase => "llama.rope.freq_base",
    }
}
