//! A placement: which segments run on which cards in which form. Made by the planner, read by codegen.

use crate::{
    Algorithm, Bytes, Certificate, Estimate, Form, Layout, MemoryUse, Partition, Picoseconds, SailId, Shard, Sustain,
    TensorId,
};
use std::ops::Range;

/// Where everything runs, how well that is known to be, and what it is predicted to take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Stages in order of execution, replica after replica.
    pub stages: Vec<Stage>,
    /// What is loaded before the first step, in the order in which every card and the host's link take it.
    pub loads: Vec<Load>,
    /// Cards without work.
    pub unused: Vec<SailId>,
    /// Requests on their way at once in each replica, for whose caches there is room.
    pub in_flight: u64,
    /// How the search ended.
    pub certificate: Certificate,
    /// What it is predicted to take.
    pub estimate: Estimate,
}

/// How one slice of a weight gets to all its holders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// What, and who holds it.
    pub shard: Shard,
    /// Time on the host's link, once.
    pub host: Picoseconds,
    /// Times of the messages from each holder to the next one; none when every holder takes it from the host.
    pub hops: Vec<Picoseconds>,
}

impl Load {
    /// The holders, each with the card that it takes the slice from and the time that takes; from the host without one.
    pub fn steps(&self) -> impl Iterator<Item = (SailId, Option<SailId>, Picoseconds)> {
        let holders = &self.shard.holders;
        holders.iter().enumerate().map(|(place, &sail)| match place.checked_sub(1) {
            Some(before) if before < self.hops.len() => (sail, Some(holders[before]), self.hops[before]),
            _ => (sail, None, self.host),
        })
    }
}

/// Consecutive segments on one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// The chain that it belongs to, from 0: each has the whole model.
    pub replica: u32,
    /// The group; rank r is the r-th.
    pub sails: Vec<SailId>,
    /// How the first value arrives; `None` for the first stage of a replica.
    pub hop: Option<Hop>,
    /// The segments, as indices into the model's chain.
    pub segments: Range<u32>,
    /// For each segment, an index into `choices`.
    pub assignment: Vec<u32>,
    /// Forms in use on this stage.
    pub choices: Vec<Choice>,
    /// What each card of the group holds.
    pub memory: Vec<MemoryUse>,
    /// What each card of the group must compute, where its rate is not known.
    pub sustain: Vec<Option<Sustain>>,
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
    /// Weights that stay on the host and come to every rank before each use, in both programs.
    pub streams: Vec<Streamed>,
}

/// A weight of a layer that stays on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// The weight in the class's template.
    pub tensor: TensorId,
    /// How the ranks need it.
    pub layout: Layout,
    /// What all ranks take of one layer together.
    pub bytes: Bytes,
    /// Until all of them have it.
    pub time: Picoseconds,
}

impl Choice {
    /// Whether a weight in this layout stays on the host.
    #[must_use]
    pub fn streams(&self, tensor: TensorId, layout: Layout) -> bool {
        self.streams.iter().any(|streamed| (streamed.tensor, streamed.layout) == (tensor, layout))
    }
}

/// The predicted time of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Price {
    /// How long the slowest rank takes.
    pub time: Picoseconds,
    /// How a collective is done.
    pub algorithm: Option<Algorithm>,
}
