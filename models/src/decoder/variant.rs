//! What sets a decoder apart from Llama's: norms of heads, windows, caps, other activations, parallel blocks; and what can
//! be wrong with it.

use super::{Field, Flaw, Numbers, flaw};
use sailplan_ir::{Constant, Pairs, Scores};

/// The differences as a front end read them; by default there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variant {
    /// Queries and keys are normed head by head before they rotate (Qwen3).
    pub(crate) head_norms: bool,
    /// Which elements of a head rotate together.
    pub(crate) pairs: Pairs,
    /// Positions that a token sees, itself included.
    pub(crate) window: Option<u64>,
    /// Every so many layers one sees everything: the last of them (Gemma 2: 2). Default: no layer does.
    pub(crate) global_every: Option<u64>,
    /// Cap of the scores of attention.
    pub(crate) score_cap: Option<f32>,
    /// Cap of the logits.
    pub(crate) logit_cap: Option<f32>,
    /// Scores are divided by its root. Default: the head size.
    pub(crate) query_scalar: Option<f32>,
    /// GELU by tanh instead of SiLU.
    pub(crate) gelu: bool,
    /// What attention and the feed-forward part make is normed before it is added (Gemma 2).
    pub(crate) post_norms: bool,
    /// Rows of the embedding are multiplied by the root of the hidden size (Gemma).
    pub(crate) scaled_embedding: bool,
    /// Attention and the feed-forward part read the same norm (GPT-J, Wang & Komatsuzaki 2021).
    pub(crate) parallel: bool,
}

impl Variant {
    pub(crate) fn check(&self, numbers: &Numbers, flaws: &mut Vec<Flaw>) {
        self.check_window(flaws);
        for (field, word, value) in [
            (Field::ScoreCap, "the cap of the scores", self.score_cap),
            (Field::LogitCap, "the cap of the logits", self.logit_cap),
            (Field::QueryScalar, "the query scalar", self.query_scalar),
        ] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                let message = format!("{word} is {value}");
                flaws.push(flaw(field, message, "give a positive number, or remove it"));
            }
        }
        if self.gelu && numbers.experts.count.is_some() {
            let message = "experts with GELU are not supported";
            flaws.push(flaw(Field::Activation, message, "experts have SiLU"));
        }
        if self.parallel && self.post_norms {
            let message = "parallel blocks have no norms after them";
            flaws.push(flaw(Field::Parallel, message, "say one of `parallel` and `post_norms`"));
        }
    }

    fn check_window(&self, flaws: &mut Vec<Flaw>) {
        if let Some(window) = self.window.filter(|&window| window == 0 || window > u64::from(u32::MAX)) {
            let message = format!("the window is {window}; 1 to {} are accepted", u32::MAX);
            flaws.push(flaw(Field::Window, message, "a token sees itself and the window − 1 tokens before it"));
        }
        match (self.window, self.global_every) {
            (None, Some(_)) => {
                let message = "the model says which layers see everything, and not what the others see";
                flaws.push(flaw(Field::GlobalEvery, message, "give the window as well, or remove this"));
            }
            (Some(_), Some(every)) if every < 2 => {
                let message = format!("every layer sees everything: one in {every}");
                flaws.push(flaw(Field::GlobalEvery, message, "give a number from 2 on, or remove the window"));
            }
            _ => {}
        }
    }

    /// How a layer makes its scores. A scale that is the usual one is not named.
    pub(crate) fn scores(&self, layer: usize, head_dim: u32) -> Scores {
        let global = self.global_every.is_some_and(|every| (layer as u64 + 1).is_multiple_of(every));
        let window = self.window.filter(|_| !global).and_then(|window| u32::try_from(window).ok());
        let scalar = self.query_scalar.filter(|&scalar| scalar != head_dim as f32);
        Scores {
            scale: scalar.map(|scalar| Constant(1.0 / scalar.sqrt())),
            softcap: self.score_cap.map(Constant),
            window,
        }
    }
}
