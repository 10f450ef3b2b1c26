//! The architectures that are read: what each has that Llama has not, and the keys of its numbers. Keys, defaults and
//! formulas: src/llama-arch.cpp, src/llama-model.cpp and the graph builders of llama.cpp.

use super::keys::Keys;
use crate::decoder::{Field, PerLayer, Variant};
use sailplan_ir::Pairs;

/// What `general.architecture` may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Architecture {
    Llama,
    Qwen3,
    Qwen3Moe,
    Gemma2,
    Phi3,
}

/// For people: names and models.
pub(crate) const SUPPORTED: &str = "supported: `llama` (Llama, TinyLlama, Mistral, SmolLM2, Mixtral), `qwen3`, `qwen3moe`, \
                                    `gemma2`, `phi3`";

/// Gemma 2's where the file does not say them, as llama.cpp has them.
const GEMMA2_WINDOW: u64 = 4096;
const GEMMA2_SCORE_CAP: f32 = 50.0;
const GEMMA2_LOGIT_CAP: f32 = 30.0;
/// No key says what scores are divided by; llama.cpp knows the 27B model by its layers.
const GEMMA2_27B_LAYERS: u64 = 46;

impl Architecture {
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Llama, Self::Qwen3, Self::Qwen3Moe, Self::Gemma2, Self::Phi3].into_iter().find(|one| one.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3moe",
            Self::Gemma2 => "gemma2",
            Self::Phi3 => "phi3",
        }
    }

    /// A key of this architecture.
    pub(crate) fn key(self, rest: &str) -> String {
        format!("{}.{rest}", self.name())
    }

    /// Whether a window is part of the model.
    pub(crate) const fn has_window(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Phi3)
    }

    /// Whether matrices that read the same input are stored as one.
    pub(crate) const fn fuses(self) -> bool {
        matches!(self, Self::Phi3)
    }

    /// What sets it apart; all but Llama rotate halves.
    pub(crate) fn variant(self, keys: &mut Keys<'_>) -> Variant {
        let halves = Variant { pairs: Pairs::Halves, ..Variant::default() };
        match self {
            Self::Llama => Variant::default(),
            Self::Qwen3 | Self::Qwen3Moe => Variant { head_norms: true, ..halves },
            Self::Gemma2 => Variant {
                window: Some(keys.integer(&self.key_of(Field::Window)).unwrap_or(GEMMA2_WINDOW)),
                global_every: Some(2),
                score_cap: Some(keys.float(&self.key_of(Field::ScoreCap)).unwrap_or(GEMMA2_SCORE_CAP)),
                logit_cap: Some(keys.float(&self.key_of(Field::LogitCap)).unwrap_or(GEMMA2_LOGIT_CAP)),
                query_scalar: self.query_scalar(keys),
                gelu: true,
                post_norms: true,
                scaled_embedding: true,
                ..halves
            },
            Self::Phi3 => {
                Variant { window: keys.integer(&self.key_of(Field::Window)).filter(|&window| window > 0), ..halves }
            }
        }
    }

    /// Of Gemma 2 27B the hidden size over the heads, of its sisters the head size.
    fn query_scalar(self, keys: &mut Keys<'_>) -> Option<f32> {
        if keys.integer(&self.key_of(Field::Layers))? != GEMMA2_27B_LAYERS {
            return None;
        }
        let hidden = keys.integer(&self.key_of(Field::Hidden))?;
        match keys.per_layer(&self.key_of(Field::Heads))? {
            PerLayer::Same(heads) => hidden.checked_div(heads).map(|scalar| scalar as f32),
            PerLayer::Each(_) => None,
        }
    }

    /// Where a number stands.
    pub(crate) fn key_of(self, field: Field) -> String {
        self.key(match field {
            Field::Hidden => "embedding_length",
            Field::Layers => "block_count",
            Field::Heads => "attention.head_count",
            Field::KvHeads => "attention.head_count_kv",
            Field::HeadDim => "attention.key_length",
            Field::RotaryDim => "rope.dimension_count",
            Field::Ffn | Field::Activation | Field::Parallel => "feed_forward_length",
            Field::Experts => "expert_count",
            Field::ExpertsUsed | Field::Renormalise => "expert_used_count",
            Field::ExpertFfn => "expert_feed_forward_length",
            Field::Vocab => "vocab_size",
            Field::Context => "context_length",
            Field::Epsilon => "attention.layer_norm_rms_epsilon",
            Field::RopeBase => "rope.freq_base",
            Field::Window | Field::GlobalEvery => "attention.sliding_window",
            Field::ScoreCap => "attn_logit_softcapping",
            Field::LogitCap => "final_logit_softcapping",
            // No key says it; it is made of these.
            Field::QueryScalar => "embedding_length",
        })
    }
}
