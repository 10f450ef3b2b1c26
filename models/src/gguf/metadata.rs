//! The metadata of a file: its numbers, and refusals of everything that would make another model of them. Keys and
//! defaults: src/llama-arch.cpp and src/llama-model.cpp of llama.cpp.

use super::architecture::{Architecture, SUPPORTED};
use super::keys::Keys;
use super::value::Value;
use crate::decoder::{Decoder, ExpertNumbers, Field, Numbers};
use crate::report::shown;

const NOT_YET: &str = "this is not supported yet; the README lists the models that are";

/// The decoder, unless something is wrong or not supported (then `keys.problems` says what).
pub(crate) fn decoder(keys: &mut Keys<'_>) -> Option<(Architecture, Decoder)> {
    let kind = architecture(keys)?;
    refuse_variants(keys, kind);
    refuse_scaling(keys, kind);
    let numbers = numbers(keys, kind)?;
    match numbers.check() {
        Ok(decoder) => Some((kind, decoder)),
        Err(flaws) => {
            for flaw in flaws {
                keys.problem(&kind.key_of(flaw.field), flaw.message, &flaw.hint);
            }
            None
        }
    }
}

fn architecture(keys: &mut Keys<'_>) -> Option<Architecture> {
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
    let name = keys.required("general.architecture", Keys::text)?;
    let known = Architecture::of(&name);
    if known.is_none() {
        let message = format!("the architecture `{}` is not supported", shown(&name));
        keys.problem("general.architecture", message, SUPPORTED);
    }
    known
}

fn refuse_variants(keys: &mut Keys<'_>, kind: Architecture) {
    for (key, what, refused) in [
        ("expert_shared_count", "experts that every token takes", true),
        ("attention.sliding_window", "attention over a sliding window", !kind.has_window()),
    ] {
        let key = kind.key(key);
        if let Some(count) = keys.integer(&key).filter(|_| refused)
            && count > 0
        {
            keys.problem(&key, format!("the model uses {what} (`{key}` is {count})"), NOT_YET);
        }
    }
    let causal = kind.key("attention.causal");
    if matches!(keys.get(&causal), Some(Value::Bool(false))) {
        keys.problem(&causal, "the model's attention is not causal", NOT_YET);
    }
    let version = keys.integer("general.quantization_version").unwrap_or(2);
    if version != 2 {
        let message = format!("the quantisation version is {version}; 2 is supported");
        keys.problem("general.quantization_version", message, "quantise the model again with a current llama.cpp");
    }
}

/// A scaled rotary embedding gives other numbers than `Op::Rope`.
fn refuse_scaling(keys: &mut Keys<'_>, architecture: Architecture) {
    let type_key = architecture.key("rope.scaling.type");
    let kind = keys.text(&type_key).unwrap_or_else(|| "linear".to_owned());
    if !matches!(kind.as_str(), "none" | "linear" | "yarn") {
        let message = format!("rotary scaling `{}` is not supported", shown(&kind));
        keys.problem(&type_key, message, NOT_YET);
    }
    if kind == "none" {
        return;
    }
    for key in ["rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"] {
        let key = architecture.key(key);
        // llama.cpp reads a factor of 0 as none.
        if let Some(factor) = keys.float(&key)
            && factor != 1.0
            && factor != 0.0
        {
            let message = format!("the rotary positions are scaled ({kind}, `{key}` is {factor})");
            keys.problem(&key, message, NOT_YET);
        }
    }
}

fn numbers(keys: &mut Keys<'_>, kind: Architecture) -> Option<Numbers> {
    let key_of = |field| kind.key_of(field);
    let hidden = keys.required(&key_of(Field::Hidden), Keys::integer);
    let layers = keys.required(&key_of(Field::Layers), Keys::integer);
    let heads = keys.required(&key_of(Field::Heads), Keys::per_layer);
    let ffn = keys.required(&key_of(Field::Ffn), Keys::per_layer);
    let epsilon = keys.required(&key_of(Field::Epsilon), Keys::float);
    let kv_heads = keys.per_layer(&key_of(Field::KvHeads)).or_else(|| heads.clone());
    let vocab = vocabulary(keys, kind);
    let head_dim = head_dim(keys, kind);
    let rope_base = keys.float(&key_of(Field::RopeBase)).unwrap_or(10000.0);
    let rotary_dim = keys.integer(&key_of(Field::RotaryDim));
    let context = keys.integer(&key_of(Field::Context));
    let variant = kind.variant(keys);
    let experts = experts(keys, kind);
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
        variant,
    })
}

/// Dense files may say 0. llama.cpp makes the gates of these architectures add up to 1.
fn experts(keys: &mut Keys<'_>, kind: Architecture) -> ExpertNumbers {
    if kind == Architecture::Qwen3Moe {
        keys.required(&kind.key_of(Field::Experts), Keys::integer);
    }
    let mut number = |field| keys.integer(&kind.key_of(field)).filter(|&number| number > 0);
    ExpertNumbers {
        count: number(Field::Experts),
        used: number(Field::ExpertsUsed),
        ffn: number(Field::ExpertFfn),
        renormalise: None,
    }
}

/// The key, else the length of the tokenizer's list.
fn vocabulary(keys: &mut Keys<'_>, kind: Architecture) -> Option<u64> {
    let key = kind.key_of(Field::Vocab);
    match (keys.get(&key), keys.get("tokenizer.ggml.tokens")) {
        (None, Some(Value::Array(tokens))) => Some(tokens.len()),
        _ => keys.required(&key, Keys::integer),
    }
}

fn head_dim(keys: &mut Keys<'_>, kind: Architecture) -> Option<u64> {
    let value_key = kind.key("attention.value_length");
    let (key, value) = (keys.integer(&kind.key_of(Field::HeadDim)), keys.integer(&value_key));
    if let (Some(key), Some(value)) = (key, value)
        && key != value
    {
        let message = format!("heads of keys have {key} elements and heads of values {value}");
        keys.problem(&value_key, message, NOT_YET);
    }
    key.or(value)
}
