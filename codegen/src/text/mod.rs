//! What stands in a plan's text. It says the same as [`Plan`](crate::Plan), with what repeats written once: bodies that
//! several layers and cards run, residents and loads of layers that differ in nothing but their number.

mod fold;
mod unfold;

use crate::lists::{self, Runs};
use crate::{Instruction, Memory, PlanFleet, PlanModel, Slice};
use sailplan_ir::{Bytes, Certificate, DType, Dim, Estimate, Objective, Picoseconds, Pin, Request, SailId, Sustain};
use serde::{Deserialize, Serialize};

pub(crate) use fold::fold;
pub(crate) use unfold::unfold;

/// The start and the end of a `Slice` that takes the columns named at the buffer it writes to.
pub(crate) const OWN: u64 = u64::MAX;

/// The whole file.
#[derive(Deserialize)]
#[serde(rename = "Plan", deny_unknown_fields)]
pub(crate) struct PlanText {
    pub(crate) version: u32,
    pub(crate) digest: String,
    pub(crate) made_by: String,
    pub(crate) model: PlanModel,
    pub(crate) fleet: PlanFleet,
    pub(crate) request: Request,
    #[serde(default)]
    pub(crate) pins: Vec<Pin>,
    pub(crate) objective: Objective,
    pub(crate) estimate: Estimate,
    pub(crate) certificate: Certificate,
    pub(crate) bodies: Vec<Body>,
    pub(crate) sails: Vec<SailText>,
}

/// What layers run, under a name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) instructions: Vec<Instruction>,
}

/// One card.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SailText {
    pub(crate) sail: SailId,
    #[serde(default)]
    pub(crate) replica: u32,
    pub(crate) stage: u32,
    #[serde(with = "lists::cards")]
    pub(crate) group: Vec<SailId>,
    pub(crate) memory: Memory,
    #[serde(default)]
    pub(crate) sustain: Option<Sustain>,
    pub(crate) weights: Vec<ResidentText>,
    pub(crate) caches: Vec<ResidentText>,
    pub(crate) load: Vec<LoadText>,
    pub(crate) prefill: ProgramText,
    pub(crate) decode: ProgramText,
}

/// Residents that are alike and lie one behind the other, run of layers after run of layers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResidentText {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Runs>,
    pub(crate) slice: Slice,
    pub(crate) dtype: DType,
    /// Of one layer's shard.
    pub(crate) bytes: Bytes,
    /// Of the first run's first layer.
    pub(crate) offset: Bytes,
    pub(crate) stride: Bytes,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) streamed: bool,
}

/// Loads on the same way, run of layers after run of layers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadText {
    pub(crate) weight: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<Runs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<SailId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<SailId>,
    /// Over all runs; each has its part by its number of layers.
    pub(crate) bytes: Bytes,
    /// As the bytes.
    pub(crate) time: Picoseconds,
}

/// One program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgramText {
    pub(crate) buffers: Vec<BufferText>,
    pub(crate) run: Vec<Part>,
}

/// An activation buffer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BufferText {
    pub(crate) name: String,
    pub(crate) rows: Dim,
    pub(crate) columns: u64,
    /// The columns that a `Slice` into this buffer takes when it names none: what differs from card to card stands at
    /// the card, so that cards can share bodies.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "lists::span")]
    pub(crate) slice: Option<(u64, u64)>,
    pub(crate) dtype: DType,
    pub(crate) bytes: Bytes,
    pub(crate) offset: Bytes,
}

/// A part of a program.
#[derive(Deserialize)]
pub(crate) enum Part {
    /// Instructions that belong to no layer.
    Once(Vec<Instruction>),
    /// Layers in order of their numbers.
    Layers(Vec<Turn>),
}

/// Layers that run the same body.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    pub(crate) layers: Runs,
    pub(crate) body: String,
}
