//! The fields of a RON description, as a user writes them.

use sailplan_ir::DType;
use serde::Deserialize;

/// A decoder, dense or with a mixture of experts in every layer. What is not said is as in Llama.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decoder {
    pub(crate) name: String,
    /// Width of the residual stream.
    pub(crate) hidden: u64,
    pub(crate) layers: u64,
    /// Query heads.
    pub(crate) heads: u64,
    /// Default: as many as heads.
    pub(crate) kv_heads: Option<u64>,
    /// Default: hidden / heads.
    pub(crate) head_dim: Option<u64>,
    /// Leading elements of each head that rotate. Default: all.
    pub(crate) rotary_dim: Option<u64>,
    /// Width of the feed-forward part.
    pub(crate) ffn: u64,
    /// Experts of every layer. Default: the model is dense.
    pub(crate) experts: Option<u64>,
    /// Experts that a token takes.
    pub(crate) experts_used: Option<u64>,
    /// Width of one expert. Default: `ffn`.
    pub(crate) expert_ffn: Option<u64>,
    /// Whether the gates of the experts that a token takes are made to add up to 1. Default: they are.
    pub(crate) renormalise: Option<bool>,
    pub(crate) vocab: u64,
    /// Longest context the model was trained for.
    pub(crate) context: Option<u64>,
    pub(crate) norm_epsilon: f32,
    pub(crate) rope_base: f32,
    /// Whether there is a tensor of rotary frequency factors (Llama 3.1).
    #[serde(default)]
    pub(crate) rope_factors: bool,
    /// Which elements of a head rotate together. Default: adjacent ones.
    #[serde(default)]
    pub(crate) rope_pairs: RopePairs,
    /// Whether queries and keys are normed head by head (Qwen3).
    #[serde(default)]
    pub(crate) head_norms: bool,
    /// Positions that a token sees, itself included. Default: all before it.
    pub(crate) window: Option<u64>,
    /// Of so many layers the last one sees all positions in spite of the window. Default: none does.
    pub(crate) global_every: Option<u64>,
    /// Scores become cap · tanh(score / cap).
    pub(crate) score_cap: Option<f32>,
    /// Logits become cap · tanh(logit / cap).
    pub(crate) logit_cap: Option<f32>,
    /// Scores are divided by its root (`query_pre_attn_scalar`). Default: the head size.
    pub(crate) query_scalar: Option<f32>,
    /// Of the gate of the feed-forward part. Default: SiLU.
    #[serde(default)]
    pub(crate) activation: Activation,
    /// Whether what attention and the feed-forward part make is normed before it is added.
    #[serde(default)]
    pub(crate) post_norms: bool,
    /// Whether rows of the embedding are multiplied by the root of `hidden`.
    #[serde(default)]
    pub(crate) scaled_embedding: bool,
    /// Whether attention and the feed-forward part read the same norm and are added together.
    #[serde(default)]
    pub(crate) parallel: bool,
    /// Whether the head reads the embedding table.
    #[serde(default)]
    pub(crate) tied: bool,
    /// Matrices of the layers that add a bias.
    #[serde(default)]
    pub(crate) biases: Vec<Part>,
    pub(crate) dtypes: Dtypes,
}

/// Elements i and i + 1, or i and i + half of those that rotate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RopePairs {
    #[default]
    Adjacent,
    Halves,
}

/// Gelu is the approximation by tanh.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Activation {
    #[default]
    Silu,
    Gelu,
}

/// Element types of the matrices; `default` holds where nothing else is said. Norms, biases and routers are F32. `gate`, `up`
/// and `down` are those of the experts where there are experts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dtypes {
    pub(crate) default: DType,
    pub(crate) embed: Option<DType>,
    pub(crate) output: Option<DType>,
    pub(crate) q: Option<DType>,
    pub(crate) k: Option<DType>,
    pub(crate) v: Option<DType>,
    pub(crate) attn_output: Option<DType>,
    pub(crate) gate: Option<DType>,
    pub(crate) up: Option<DType>,
    pub(crate) down: Option<DType>,
    /// Types that only some layers have, as mixed quantisations do.
    #[serde(default)]
    pub(crate) overrides: Vec<Override>,
}

/// Another type for some matrices of some layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Override {
    pub(crate) parts: Vec<Part>,
    pub(crate) layers: Vec<u64>,
    pub(crate) dtype: DType,
}

/// A matrix of a layer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    Q,
    K,
    V,
    AttnOutput,
    Gate,
    Up,
    Down,
}

impl Part {
    pub(crate) const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::AttnOutput, Self::Gate, Self::Up, Self::Down];

    /// Its name in this format.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::AttnOutput => "attn_output",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Its name in a GGUF file, after `blk.N.`; experts are stacked in one tensor.
    pub(crate) const fn tensor(self, experts: bool) -> &'static str {
        match (self, experts) {
            (Self::Q, _) => "attn_q",
            (Self::K, _) => "attn_k",
            (Self::V, _) => "attn_v",
            (Self::AttnOutput, _) => "attn_output",
            (Self::Gate, false) => "ffn_gate",
            (Self::Up, false) => "ffn_up",
            (Self::Down, false) => "ffn_down",
            (Self::Gate, true) => "ffn_gate_exps",
            (Self::Up, true) => "ffn_up_exps",
            (Self::Down, true) => "ffn_down_exps",
        }
    }

    /// Whether it belongs to the feed-forward part.
    pub(crate) const fn feeds_forward(self) -> bool {
        matches!(self, Self::Gate | Self::Up | Self::Down)
    }
}

impl Dtypes {
    /// The type of a part where no override speaks.
    pub(crate) fn of(&self, part: Part) -> DType {
        let own = match part {
            Part::Q => self.q,
            Part::K => self.k,
            Part::V => self.v,
            Part::AttnOutput => self.attn_output,
            Part::Gate => self.gate,
            Part::Up => self.up,
            Part::Down => self.down,
        };
        own.unwrap_or(self.default)
    }
}
