//! What a search answers: a placement, or the reasons why there is none.

use crate::saturate::Saturation;
use sailplan_ir::{Bytes, Diagnostics, Placement};
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
    /// A pin names what does not exist, or cannot mean what it says.
    #[error(transparent)]
    Pins(#[from] Diagnostics),
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
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no plan: {}", self.balance())
    }
}

impl std::error::Error for NoPlan {}

impl NoPlan {
    /// What is demanded, what is offered, and the difference.
    #[must_use]
    pub fn balance(&self) -> String {
        let needed = self.weights + self.caches + self.activations;
        let sails = match self.sails {
            1 => "the Sail offers".to_owned(),
            n => format!("the {n} Sails offer"),
        };
        let activations = match self.activations {
            Bytes(0) => String::new(),
            bytes => format!(" + activations {bytes}"),
        };
        let missing = if needed > self.capacity {
            format!(": {} too little", needed - self.capacity)
        } else {
            ", but no cut of the layers fits them card by card".to_owned()
        };
        format!(
            "weights {} + caches {} for a context of {}{activations} = {needed}, {sails} {}{missing}",
            self.weights, self.caches, self.context, self.capacity
        )
    }
}
