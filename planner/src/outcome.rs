//! What a search answers: a placement, or the reasons why there is none.

use crate::saturate::Saturation;
use sailplan_ir::{Bytes, Picoseconds, Placement};
use std::fmt;

/// A placement and how it was found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The placement.
    pub placement: Placement,
    /// Figures of the search.
    pub search: Search,
}

/// Figures of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Search {
    /// Saturation, summed over classes.
    pub egraph: Saturation,
    /// Layer classes.
    pub classes: usize,
    /// Distinct groups that forms were extracted for.
    pub groups: usize,
    /// Distinct forms among the points.
    pub forms: usize,
    /// Points kept: forms with partitions, over classes and groups.
    pub points: usize,
    /// Columns of the placement program; 0 when it was not solved.
    pub columns: usize,
    /// Rows of the placement program.
    pub rows: usize,
}

/// Why there is no placement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The demands cannot hold together.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
    /// A stage of the planner broke its own rules; a bug.
    #[error("internal error in the planner: {0}")]
    Internal(String),
}

/// The demands that cannot hold together, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoPlan {
    /// Weights of the model, each stored once.
    pub weights: Bytes,
    /// Caches for the whole context.
    pub caches: Bytes,
    /// Activations of one card; 0 when weights and caches alone are too much.
    pub activations: Bytes,
    /// Memory of all cards, less reserves.
    pub capacity: Bytes,
    /// Number of cards.
    pub sails: usize,
    /// Context of the request.
    pub context: u64,
    /// What a plan with streaming would take; none where it would not help, or was allowed.
    pub streaming: Option<Streaming>,
}

/// What comes over the host's link at every step when layers are streamed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streaming {
    /// For all cards.
    pub bytes: Bytes,
    /// Until all of them have it.
    pub time: Picoseconds,
    /// Whether that is a plan's; else no plan can do with less, and there may be none.
    pub planned: bool,
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed = self.weights + self.caches + self.activations;
        write!(f, "no plan: weights {} + caches {} for a context of {}", self.weights, self.caches, self.context)?;
        let sails = match self.sails {
            1 => "the Sail offers".to_owned(),
            n => format!("the {n} Sails offer"),
        };
        if self.activations.0 > 0 {
            write!(f, " + activations {}", self.activations)?;
        }
        write!(f, " = {needed}, {sails} {}", self.capacity)?;
        if needed > self.capacity {
            write!(f, ": {} too little", needed - self.capacity)
        } else {
            write!(f, ", but no cut of the layers fits them card by card")
        }
    }
}

impl std::error::Error for NoPlan {}

impl NoPlan {
    /// What would admit a plan, cheapest first.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        let rest = self.weights + self.activations;
        let room = self.capacity - rest;
        if self.caches.0 > 0 && room.0 > 0 && self.context > 1 {
            let context = u128::from(self.context) * u128::from(room.0) / u128::from(self.caches.0);
            let context = (context as u64 * 9 / 10).min(self.context / 2);
            if context > 0 {
                hints.push(format!("a context of about {context} instead of {}", self.context));
            }
        }
        let each = self.capacity.0 / self.sails.max(1) as u64;
        let sails = (rest + self.caches).0.div_ceil(each.max(1));
        if sails > self.sails as u64 {
            hints.push(format!("{sails} Sails of this size or more"));
        }
        if let Some(Streaming { bytes, time, planned }) = self.streaming {
            let least = if planned { "" } else { "at least " };
            hints.push(format!("--stream, which leaves weights on the host: {least}{time} more a token, for {bytes}"));
        }
        hints.push("a smaller quantisation of the weights".to_owned());
        hints
    }
}
