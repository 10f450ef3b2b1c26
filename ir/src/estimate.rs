//! Predictions: where time goes, how the search ended, what a card holds.

use crate::{Bytes, FlopsPerSecond, Picoseconds};
use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Mul};

/// Time by the resource that binds it. The parts add up to the elapsed time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Reading and writing the cards' own memory, with kernel start-up.
    pub ddr: Picoseconds,
    /// Arithmetic.
    pub compute: Picoseconds,
    /// Links between cards.
    pub link: Picoseconds,
    /// The host's link.
    pub host: Picoseconds,
}

impl Resources {
    /// Elapsed time.
    #[must_use]
    pub fn total(&self) -> Picoseconds {
        self.ddr + self.compute + self.link + self.host
    }
}

impl Add for Resources {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            ddr: self.ddr + other.ddr,
            compute: self.compute + other.compute,
            link: self.link + other.link,
            host: self.host + other.host,
        }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Resources {
    type Output = Self;
    fn mul(self, count: u64) -> Self {
        Self { ddr: self.ddr * count, compute: self.compute * count, link: self.link * count, host: self.host * count }
    }
}

/// What a plan is predicted to take. With several replicas, what a request takes is told of the one that takes longest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Prefill plus all decode steps.
    pub request: Picoseconds,
    /// The whole prompt, until its logits are on the host.
    pub prefill: Picoseconds,
    /// One token of each sequence, at the average context of the request.
    pub decode: Picoseconds,
    /// From a cold start until every weight is on its card.
    pub ready: Picoseconds,
    /// No plan on this fleet can make `objective` smaller.
    pub lower_bound: Picoseconds,
    /// The value that was minimised.
    pub objective: Picoseconds,
    /// The objective by resource.
    pub by_resource: Resources,
}

/// Arithmetic that a card of unknown compute rate must sustain so that each of its kernels stays bound by memory, as prices
/// assume: the largest flops · memory rate / bytes of its kernels (the ridge of the roofline; Williams, Waterman &
/// Patterson, Commun. ACM 52, 2009).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sustain {
    /// In prefill, at the chunk size.
    pub prefill: FlopsPerSecond,
    /// In decode.
    pub decode: FlopsPerSecond,
}

/// How the search ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// What is known.
    pub status: Status,
    /// By which method.
    pub method: String,
    /// Over which space of plans.
    pub space: String,
    /// The proven bound on the objective within that space.
    pub bound: Picoseconds,
}

/// What is known about an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Optimal in the space.
    Proven,
    /// No worse than the bound by more than the gap.
    WithinGap,
    /// The budget ended first; the bound holds.
    OutOfBudget,
}

impl Certificate {
    /// `(objective − bound) / objective`, 0 when proven.
    #[must_use]
    pub fn gap(&self, objective: Picoseconds) -> f64 {
        if objective.0 == 0 { 0.0 } else { (objective - self.bound).0 as f64 / objective.0 as f64 }
    }
}

/// What one card holds at the fullest moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Weight shards.
    pub weights: Bytes,
    /// Caches for the whole context.
    pub kv: Bytes,
    /// Activations and collective buffers.
    pub activations: Bytes,
}

impl MemoryUse {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.weights + self.kv + self.activations
    }
}

impl Add for MemoryUse {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            weights: self.weights + other.weights,
            kv: self.kv + other.kv,
            activations: self.activations.max(other.activations),
        }
    }
}
