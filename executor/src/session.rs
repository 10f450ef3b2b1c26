//! What a user asks of a replay and what comes back. It knows nothing of how a plan is run.

use crate::ReplayError;
use sailplan_codegen::Plan;
use sailplan_ir::{Bytes, Op, SailId};
use std::time::Duration;

/// What to feed and how long to wait.
pub struct Session {
    /// Token ids of the prompt, or of any text whose logits are wanted.
    pub tokens: Vec<u32>,
    /// So many of them, at least one, go through the prefill program in chunks; the others one by one through decode.
    pub prefill: usize,
    /// So many tokens are then chosen greedily and fed through decode.
    pub generate: u32,
    /// The run ends when no card makes progress for so long. One kernel of the largest chunk must fit.
    pub timeout: Duration,
    /// Called as the run goes on.
    pub progress: Option<Box<dyn Fn(Progress)>>,
}

impl Session {
    /// All tokens through prefill, then `generate` more; a limit of one minute without progress.
    #[must_use]
    pub fn new(tokens: Vec<u32>, generate: u32) -> Self {
        let prefill = tokens.len();
        Self { tokens, prefill, generate, timeout: Duration::from_secs(60), progress: None }
    }

    /// Whether the plan can replay this.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), ReplayError> {
        let (request, given) = (&plan.request, self.tokens.len() as u64);
        if request.batch != 1 {
            return Err(ReplayError::Batch { batch: request.batch });
        }
        if plan.replicas() > 1 {
            return Err(ReplayError::Replicas { replicas: plan.replicas() });
        }
        if given == 0 {
            return Err(ReplayError::NoTokens);
        }
        if !(1..=self.tokens.len()).contains(&self.prefill) {
            return Err(ReplayError::PrefillRange { prefill: self.prefill, given: self.tokens.len() });
        }
        let generate = u64::from(self.generate);
        if given.saturating_add(generate) > request.context {
            return Err(ReplayError::ContextExceeded { given, generate, context: request.context });
        }
        let vocabulary = vocabulary(plan);
        match self.tokens.iter().position(|&token| u64::from(token) >= vocabulary) {
            Some(position) => Err(ReplayError::UnknownToken { token: self.tokens[position], position, vocabulary }),
            None => Ok(()),
        }
    }
}

/// Rows of the smallest table that token ids are looked up in.
fn vocabulary(plan: &Plan) -> u64 {
    let classes = plan.model.classes.iter();
    let tables = classes.flat_map(|class| {
        let embeds = class.nodes.iter().filter(|node| node.op == Op::Embed);
        let named = |name: &String| class.tensors.iter().find(|tensor| tensor.name == *name);
        embeds.filter_map(move |node| node.inputs.get(1).and_then(named)?.dims.first()?.fixed())
    });
    tables.min().unwrap_or(0)
}

/// Columns of the model's logits: the last axis of what the chain ends with.
pub(crate) fn logits_width(plan: &Plan) -> u64 {
    let last =
        plan.model.chain.last().and_then(|link| plan.model.classes.iter().find(|class| class.name == link.class));
    let width = last.and_then(|class| {
        let result = &class.nodes.last()?.out;
        class.tensors.iter().find(|tensor| tensor.name == *result)?.dims.last()?.fixed()
    });
    width.unwrap_or(0)
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// All cards hold their weights.
    Loaded {
        /// Since the run began.
        seconds: f64,
    },
    /// The prompt is read.
    Prefilled {
        /// Tokens.
        tokens: usize,
        /// Since the weights were loaded.
        seconds: f64,
    },
    /// One more token was fed.
    Decoded {
        /// Its position.
        position: usize,
        /// Positions of the whole run.
        of: usize,
    },
}

/// What a replay yields.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Position of the first row of `logits`: the last token of prefill.
    pub first: usize,
    /// All tokens fed, the generated ones too.
    pub tokens: Vec<u32>,
    /// The generated tokens.
    pub generated: Vec<u32>,
    /// One row for each position from `first` to the last token fed.
    pub logits: Vec<Vec<f32>>,
    /// What it took here.
    pub measured: Measured,
}

/// Wall-clock times on this machine.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Measured {
    /// Until all weights were in the arenas.
    pub load_seconds: f64,
    /// Read from the weight files until then.
    pub loaded: Bytes,
    /// All chunks of the prompt.
    pub prefill_seconds: f64,
    /// Mean over decode steps; `None` without any.
    pub decode_seconds_per_token: Option<f64>,
    /// Each card, in order of id.
    pub sails: Vec<SailTime>,
}

/// Where one card's time went, over all steps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SailTime {
    /// The card.
    pub sail: SailId,
    /// In kernels.
    pub kernel_seconds: f64,
    /// In sends, receives and collectives, waiting for peers included.
    pub link_seconds: f64,
}

/// The token with the highest logit; of equal ones the lowest id.
pub(crate) fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, value) in logits.iter().enumerate() {
        if *value > logits[best] {
            best = token;
        }
    }
    best as u32
}
