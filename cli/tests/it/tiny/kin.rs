//! Architectures beside Llama: their metadata and the tensors of a layer, as llama.cpp's converters write them.

use super::gguf::Value;
use super::{Draw, Tiny, fan_in};

/// What `general.architecture` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    Llama,
    Qwen3,
    Qwen3Moe,
    Gemma2,
    Phi3,
}

impl Kin {
    /// The caps of Gemma 2, small enough to bend what small weights give.
    pub(crate) const SCORE_CAP: f32 = 1.5;
    pub(crate) const LOGIT_CAP: f32 = 2.5;

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kin::Llama => "llama",
            Kin::Qwen3 => "qwen3",
            Kin::Qwen3Moe => "qwen3moe",
            Kin::Gemma2 => "gemma2",
            Kin::Phi3 => "phi3",
        }
    }

    pub(super) fn metadata(self, tiny: &Tiny) -> Vec<(&'static str, Value)> {
        let mut pairs = Vec::new();
        if self != Kin::Llama {
            pairs.push(("attention.key_length", Value::Number(tiny.head_size())));
            pairs.push(("attention.value_length", Value::Number(tiny.head_size())));
        }
        if tiny.window > 0 {
            pairs.push(("attention.sliding_window", Value::Number(tiny.window)));
        }
        if self == Kin::Gemma2 {
            pairs.push(("attn_logit_softcapping", Value::Float(Kin::SCORE_CAP)));
            pairs.push(("final_logit_softcapping", Value::Float(Kin::LOGIT_CAP)));
        }
        if self == Kin::Qwen3Moe {
            pairs.push(("expert_feed_forward_length", Value::Number(tiny.ffn)));
        }
        pairs
    }

    /// One layer's tensors.
    pub(super) fn block(self, tiny: &Tiny, draw: &mut Draw, layer: u32) {
        let (hidden, ffn, size) = (tiny.hidden, tiny.ffn, tiny.head_size());
        let (queries, keys) = (tiny.heads * size, tiny.kv_heads * size);
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        draw.norm(&name("attn_norm"), hidden);
        if self == Kin::Phi3 {
            draw.matrix(&name("attn_qkv"), [queries + 2 * keys, hidden], fan_in(1.5, hidden));
        } else {
            draw.matrix(&name("attn_q"), [queries, hidden], fan_in(1.5, hidden));
            draw.matrix(&name("attn_k"), [keys, hidden], fan_in(1.5, hidden));
            draw.matrix(&name("attn_v"), [keys, hidden], fan_in(1.0, hidden));
        }
        if matches!(self, Kin::Qwen3 | Kin::Qwen3Moe) {
            draw.norm(&name("attn_q_norm"), size);
            draw.norm(&name("attn_k_norm"), size);
        }
        draw.matrix(&name("attn_output"), [hidden, queries], fan_in(1.0, queries));
        draw.norm(&name("ffn_norm"), hidden);
        if self == Kin::Gemma2 {
            draw.norm(&name("post_attention_norm"), hidden);
            draw.norm(&name("post_ffw_norm"), hidden);
        }
        match self {
            Kin::Qwen3Moe => {
                draw.matrix(&name("ffn_gate_inp"), [tiny.experts, hidden], fan_in(2.0, hidden));
                draw.stack(&name("ffn_gate_exps"), [tiny.experts, ffn, hidden]);
                draw.stack(&name("ffn_up_exps"), [tiny.experts, ffn, hidden]);
                draw.stack(&name("ffn_down_exps"), [tiny.experts, hidden, ffn]);
                return;
            }
            Kin::Phi3 => draw.matrix(&name("ffn_up"), [2 * ffn, hidden], fan_in(1.0, hidden)),
            _ => {
                draw.matrix(&name("ffn_gate"), [ffn, hidden], fan_in(1.0, hidden));
                draw.matrix(&name("ffn_up"), [ffn, hidden], fan_in(1.0, hidden));
            }
        }
        draw.matrix(&name("ffn_down"), [hidden, ffn], fan_in(1.0, ffn));
    }
}
