//! What the user asks of a plan: the workload, its limits and what to minimise.

use crate::{DType, Extents};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The workload and the objective.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Prompt tokens of each sequence (P).
    pub prompt: u64,
    /// Tokens to generate for each sequence (G).
    pub generate: u64,
    /// Sequences side by side (B).
    pub batch: u64,
    /// Positions the caches must hold for each sequence (C).
    pub context: u64,
    /// Prompt tokens that go through the prefill program at once.
    pub chunk: u64,
    /// Type of activations on the links.
    pub wire: Wire,
    /// Type of the KV caches.
    pub cache: DType,
    /// What is minimised.
    pub objective: Objective,
    /// Requests on their way at once in each replica, each with caches of its own side by side. More than one only for
    /// throughput, where the planner chooses it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub in_flight: u64,
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

/// Type that crosses the links between cards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Wire {
    /// Exact.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// Half the bytes, rounded to nearest even at each send.
    #[serde(rename = "bf16")]
    Bf16,
}

impl Wire {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// What is minimised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Prefill plus all decode steps.
    #[default]
    Request,
    /// One decode step.
    Decode,
    /// The prompt.
    Prefill,
    /// The time between two requests that leave a fleet with as many on their way in each replica as it has stages.
    Throughput,
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Throughput => "throughput",
        })
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: 512,
            generate: 128,
            batch: 1,
            context: 2048,
            chunk: 512,
            wire: Wire::F32,
            cache: DType::F32,
            objective: Objective::Request,
            in_flight: 1,
        }
    }
}

impl Request {
    /// Tokens of one sequence that go through the prefill program at once at most.
    #[must_use]
    pub fn chunk_tokens(&self) -> u64 {
        self.chunk.min(self.prompt).max(1)
    }

    /// Passes of the prefill program over the prompt.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.prompt.div_ceil(self.chunk_tokens())
    }

    /// The largest step of the prefill program: what buffers are sized for.
    #[must_use]
    pub fn prefill_limit(&self) -> Extents {
        Extents {
            tokens: self.chunk_tokens().saturating_mul(self.batch),
            context: self.held_context(),
            outputs: self.batch,
        }
    }

    /// The largest step of the decode program.
    #[must_use]
    pub fn decode_limit(&self) -> Extents {
        Extents { tokens: self.batch, context: self.held_context(), outputs: self.batch }
    }

    /// Positions that caches hold: of every sequence of every request on its way.
    fn held_context(&self) -> u64 {
        self.context.saturating_mul(self.batch).saturating_mul(self.in_flight)
    }

    /// The step that a prefill pass is priced as: chunks are even, and each sees the average end of their contexts.
    #[must_use]
    pub fn average_prefill(&self) -> Extents {
        let chunks = self.chunks();
        let tokens = self.prompt.div_ceil(chunks.max(1));
        let context = self.prompt.saturating_mul(chunks.saturating_add(1)).div_ceil(chunks.max(1).saturating_mul(2));
        self.of_batch(tokens, context)
    }

    /// The step that a decode step is priced as. Step i of G attends to P + i + 1 positions, so the mean is
    /// P + (G + 1)/2, exact for costs linear in the context.
    #[must_use]
    pub fn average_decode(&self) -> Extents {
        self.of_batch(1, self.prompt.saturating_add(self.generate.saturating_add(1).div_ceil(2)))
    }

    /// [`Self::average_prefill`] where a token sees at most `window` positions: the context is what a pass reads, which for
    /// a chunk that ends at e and has t tokens is min(e, window + t − 1); the mean over the chunks.
    #[must_use]
    pub fn windowed_prefill(&self, window: u32) -> Extents {
        let (prompt, chunks) = (u128::from(self.prompt), u128::from(self.chunks().max(1)));
        let tokens = self.prompt.div_ceil(self.chunks().max(1));
        let most = u128::from(window) + u128::from(tokens.saturating_sub(1));
        // Chunk j of c ends at j·P/c; the first `whole` of them see all before them.
        let whole = most.saturating_mul(chunks).checked_div(prompt).map_or(chunks, |whole| whole.min(chunks));
        let ends = prompt.saturating_mul(whole.saturating_mul(whole + 1));
        let cut = (chunks - whole).saturating_mul(most).saturating_mul(chunks * 2);
        let mean = ends.saturating_add(cut).div_ceil(chunks.saturating_mul(chunks).saturating_mul(2));
        self.of_batch(tokens, u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// [`Self::average_decode`] where a token sees at most `window` positions: the mean of min(P + i + 1, window) over the
    /// steps, which is exact for costs linear in the positions read.
    #[must_use]
    pub fn windowed_decode(&self, window: u32) -> Extents {
        let (prompt, window) = (u128::from(self.prompt), u128::from(window));
        let steps = u128::from(self.generate.max(1));
        let whole = window.saturating_sub(prompt).min(steps);
        let sum = whole * prompt + whole * (whole + 1) / 2 + (steps - whole).saturating_mul(window);
        self.of_batch(1, u64::try_from(sum.div_ceil(steps)).unwrap_or(u64::MAX))
    }

    fn of_batch(&self, tokens: u64, context: u64) -> Extents {
        let batch = self.batch;
        Extents { tokens: tokens.saturating_mul(batch), context: context.saturating_mul(batch), outputs: batch }
    }

    /// How often the prefill pass and the decode step count in the objective.
    #[must_use]
    pub fn weights(&self) -> (u64, u64) {
        match self.objective {
            Objective::Request | Objective::Throughput => (1, self.generate),
            Objective::Decode => (0, 1),
            Objective::Prefill => (1, 0),
        }
    }
}
