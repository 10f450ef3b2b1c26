//! A placement: which segments run on which cards in which form. Made by the planner, read by codegen.

use crate::{Algorithm, Certificate, Estimate, Form, MemoryUse, Partition, Picoseconds, SailId};
use std::ops::Range;

/// Where everything runs, how well that is known to be, and what it is predicted to take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Stages in order of execution.
    pub stages: Vec<Stage>,
    /// Cards without work.
    pub unused: Vec<SailId>,
    /// How the search ended.
    pub certificate: Certificate,
    /// What it is predicted to take.
    pub estimate: Estimate,
}

/// Consecutive segments on one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// The group; rank r is the r-th.
    pub sails: Vec<SailId>,
    /// How the first value arrives; `None` for the first stage.
    pub hop: Option<Hop>,
    /// The segments, as indices into the model's chain.
    pub segments: Range<u32>,
    /// For each segment, an index into `choices`.
    pub assignment: Vec<u32>,
    /// Forms in use on this stage.
    pub choices: Vec<Choice>,
    /// What each card of the group holds.
    pub memory: Vec<MemoryUse>,
}

/// The value between two stages: sent to rank 0, then spread over the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The card of the previous stage that sends.
    pub from: SailId,
    /// Time of the message and of the broadcast, in prefill and in decode.
    pub prefill: (Picoseconds, Picoseconds),
    /// As `prefill`, for one decode step.
    pub decode: (Picoseconds, Picoseconds),
    /// How rank 0 spreads it (prefill, decode); `None` for a group of one.
    pub spread: Option<(Algorithm, Algorithm)>,
}

/// A form with its partitions and prices on one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The sharded programs.
    pub form: Form,
    /// One partition for each domain of the class.
    pub partitions: Vec<Partition>,
    /// Prices of the prefill program's instructions, at the chunk size.
    pub prefill: Vec<Price>,
    /// Prices of the decode program's instructions, averaged over the tokens to generate.
    pub decode: Vec<Price>,
}

/// The predicted time of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Price {
    /// How long the slowest rank takes.
    pub time: Picoseconds,
    /// How a collective is done.
    pub algorithm: Option<Algorithm>,
}
