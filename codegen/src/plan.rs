//! The plan: what every card holds and runs, as the file says it. Types only; the meaning of each instruction stands
//! at its variant, and `verify` accepts a plan only if its programs compute the model that the plan carries.

use crate::lists;
use crate::reduce::ReduceOp;
use crate::text::OWN;
use sailplan_ir::{
    Algorithm, Bytes, Certificate, CollectiveKind, DType, Dim, Estimate, Fleet, Objective, Op, Picoseconds, Pin,
    PositionShare, Request, Role, SailId, Sustain,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::ops::Range;

/// The version this build writes and reads.
pub const VERSION: u32 = 2;

/// One execution plan for each card of a fleet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Format version.
    pub version: u32,
    /// `sha256:` over the canonical text with this field empty.
    pub digest: String,
    /// Program and version that wrote it.
    pub made_by: String,
    /// The model, as far as checking and replaying need it.
    pub model: PlanModel,
    /// The fleet it was made for.
    pub fleet: PlanFleet,
    /// The workload and its limits.
    pub request: Request,
    /// Demands that the placement keeps to.
    pub pins: Vec<Pin>,
    /// What was minimised.
    pub objective: Objective,
    /// What it is predicted to take.
    pub estimate: Estimate,
    /// How the search ended.
    pub certificate: Certificate,
    /// One entry for each card with work, in order of id.
    pub sails: Vec<SailPlan>,
}

/// The logical model: what the programs must compute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanModel {
    /// Short name.
    pub name: String,
    /// Digest of what planning depends on.
    pub digest: String,
    /// What was read: `gguf`, `ron`, …
    pub source: String,
    /// The chain, in order of execution.
    pub chain: Vec<Link>,
    /// The structures that the chain's links name.
    pub classes: Vec<PlanClass>,
}

/// Segments of one class in a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name of the class.
    pub class: String,
    /// The layers, one segment each; without it, one segment that is no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
}

/// Layers `first..end`; written `"0..22"`, one layer as `"7"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layers(pub Range<u32>);

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&lists::layers(&self.0))
    }
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        lists::layers_of(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!("{} is not a range of layers such as \"0..22\"", lists::shown(&text)))
        })
    }
}

/// One structure of the logical model. In names, `{layer}` stands for the layer's number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanClass {
    /// Unique name.
    pub name: String,
    /// Leaves and values, with unique names.
    pub tensors: Vec<PlanTensor>,
    /// Operators in order; the last one's result enters the next segment.
    pub nodes: Vec<PlanNode>,
}

/// A tensor of the logical model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanTensor {
    /// Name.
    pub name: String,
    /// Extents, outermost first.
    pub dims: Vec<Dim>,
    /// Element type.
    pub dtype: DType,
    /// Where it comes from.
    pub role: Role,
}

/// An operator of the logical model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanNode {
    /// The operator.
    pub op: Op,
    /// Operands by name.
    #[serde(rename = "in")]
    pub inputs: Vec<String>,
    /// Result by name.
    pub out: String,
}

/// The fleet and its identity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFleet {
    /// Short name.
    pub name: String,
    /// Digest of the figures.
    pub digest: String,
    /// The figures.
    pub inline: Fleet,
}

/// What one card holds and runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SailPlan {
    /// The card.
    pub sail: SailId,
    /// The chain of stages that it belongs to, from 0: each has the whole model, and takes requests of its own.
    pub replica: u32,
    /// Its pipeline stage, from 0; the stages of a replica follow those of the one before.
    pub stage: u32,
    /// All cards of the stage, in order of rank; written `"0..4, 6"`.
    pub group: Vec<SailId>,
    /// Arena sizes.
    pub memory: Memory,
    /// What the card must compute to stay bound by its memory, where its compute rate is not known.
    pub sustain: Option<Sustain>,
    /// Weight shards in the weights arena.
    pub weights: Vec<Resident>,
    /// Cache shards in the KV arena.
    pub caches: Vec<Resident>,
    /// What is loaded before the first step.
    pub load: Vec<Load>,
    /// Run once for each chunk of the prompt.
    pub prefill: Program,
    /// Run once for each further token.
    pub decode: Program,
}

/// Arena sizes of one card; their sum stays within capacity − reserve.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// What the card has.
    pub capacity: Bytes,
    /// What plans may not use.
    pub reserve: Bytes,
    /// The weights arena.
    pub weights: Bytes,
    /// The KV arena.
    pub kv: Bytes,
    /// The activation arena, shared by both programs.
    pub activations: Bytes,
    /// The receive buffers of collectives, shared by both programs.
    pub scratch: Bytes,
}

/// A shard of a weight or of a cache, or the same shard of several layers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resident {
    /// The logical tensor; `{layer}` stands for each of `layers`. A card that holds a second slice of the same tensor
    /// calls it `name#2`, a third one `name#3`: instructions use this name, files the one that [`tensor_name`] gives.
    pub name: String,
    /// The layers it stands for; without it, one tensor.
    pub layers: Option<Layers>,
    /// Which part.
    pub slice: Slice,
    /// Element type.
    pub dtype: DType,
    /// Bytes of one layer's shard.
    pub bytes: Bytes,
    /// Offset of the first layer's shard in its arena.
    pub offset: Bytes,
    /// From one layer's shard to the next.
    pub stride: Bytes,
    /// Whether the weight stays on the host: all layers share one place, to which a `Stream` brings each before its use.
    pub streamed: bool,
}

/// A part of a logical tensor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Slice {
    /// All of it.
    Whole,
    /// Elements `start..end` along one axis (0 is outermost).
    Cut {
        /// The axis.
        axis: u8,
        /// First element.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// Of a cache, the positions that this card has when they are dealt in turns: row i of it is the i-th of them.
    Positions(PositionShare),
}

/// Shards of one resident come from the host or from another card, layer by layer, and are handed on when they are
/// there. A card takes its loads in this order; messages between two cards keep theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// Name of the resident.
    pub weight: String,
    /// Some or all of the resident's layers, when it stands for layers.
    pub layers: Option<Layers>,
    /// The card that hands them on; without it, the host.
    pub from: Option<SailId>,
    /// The card that they are handed on to.
    pub to: Option<SailId>,
    /// Bytes over these layers.
    pub bytes: Bytes,
    /// Time on the link that they come over, when it carries nothing else.
    pub time: Picoseconds,
}

/// Buffers and instructions of one program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    /// Activation buffers, by unique name.
    pub buffers: Vec<Buffer>,
    /// In order.
    pub instructions: Vec<Instruction>,
}

/// An activation buffer: `rows × columns` elements, row by row, in the activation arena.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Name.
    pub name: String,
    /// Rows: `Tokens` or `Outputs`, bound at replay.
    pub rows: Dim,
    /// Columns on this card.
    pub columns: u64,
    /// `F32` for values, `I32` for token ids.
    pub dtype: DType,
    /// Bytes at the request's limits.
    pub bytes: Bytes,
    /// Offset in the activation arena.
    pub offset: Bytes,
}

/// A product of the operand of the kernel that it stands in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Weight.
    pub weight: String,
    /// Buffer.
    pub out: String,
}

/// Which rows go to which card: a row goes to those that have an expert whose gate is not 0 for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gated {
    /// The buffer with the gates of all rows and experts.
    pub gates: String,
    /// Experts that a row takes.
    pub used: u32,
    /// Experts of each rank, in order; written `"2 x 4"`.
    #[serde(with = "crate::lists::columns")]
    pub experts: Vec<u64>,
}

/// One instruction; it reads all operands before it writes. Every `time` is the prediction for the request: the average chunk
/// in prefill, the average step in decode, on the slowest card of the group. Every `bytes` holds at the request's limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Instruction {
    /// The body once for each layer, in order; `{layer}` in names is the layer's number. Not nested. In the text, bodies
    /// stand once, under names, and parts of programs say which layers run which.
    #[serde(skip)]
    Repeat {
        /// The layers.
        layers: Layers,
        /// What is repeated.
        body: Vec<Instruction>,
    },
    /// An operator on local tensors. Its operands are `in` (buffers and caches) followed by `weights`. A `KvAppend`
    /// writes the cache that it reads, from the step's first position on; where a card holds some positions only, it keeps those of
    /// the new rows. An `Embed` on a slice of the vocabulary gives
    /// zero rows for tokens outside it.
    Kernel {
        /// The operator, with the attributes of the unsharded layer; local sizes follow from the operands.
        op: Op,
        /// Of attention: query heads of the first KV head here that lie on other Sails, before this Sail's first.
        #[serde(default, skip_serializing_if = "is_zero")]
        skip: u64,
        /// Buffers and caches.
        #[serde(rename = "in")]
        inputs: Vec<String>,
        /// Weights.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<String>,
        /// Buffer or cache.
        out: String,
        /// Of a product: further products of the same operand in this kernel.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<Product>,
        /// Prediction.
        time: Picoseconds,
    },
    /// Columns `start..end` of a buffer.
    Slice {
        /// From this buffer.
        buffer: String,
        /// First column. In the text, columns that stand at the buffer `out` are left out.
        #[serde(default = "own", skip_serializing_if = "is_own")]
        start: u64,
        /// One past the last.
        #[serde(default = "own", skip_serializing_if = "is_own")]
        end: u64,
        /// Into this buffer.
        out: String,
        /// Prediction.
        time: Picoseconds,
    },
    /// All cards of the group take part, in this order of ranks. All-reduce and broadcast work in place. All-gather reads this
    /// card's columns from `buffer` and writes all to `into`, reduce-scatter the other way; `parts` are the columns of each rank.
    /// Dispatch writes to `into` the rows of all cards that take one of this card's experts, at their places; combine takes
    /// what experts made of these, and writes this card's rows, each the sum of what the cards with its experts made.
    /// A reduce-scatter that merges reads columns of softmaxes, of which the figures are no columns of the result.
    Collective {
        /// What it does.
        kind: CollectiveKind,
        /// How contributions are combined; only where there is something to combine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        op: Option<ReduceOp>,
        /// Cards in order of rank.
        #[serde(with = "crate::lists::cards")]
        group: Vec<SailId>,
        /// The schedule.
        algorithm: Algorithm,
        /// Operand.
        buffer: String,
        /// Result, when it is not in place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        into: Option<String>,
        /// Columns of each rank, for all-gather and reduce-scatter; written `"6 x 3, 5 x 5"`.
        #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::lists::columns")]
        parts: Vec<u64>,
        /// Which rows go where, of dispatch and combine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Gated>,
        /// Bytes of the whole buffer in the wire type.
        bytes: Bytes,
        /// Prediction.
        time: Picoseconds,
    },
    /// Sends a buffer to another card.
    Send {
        /// To.
        peer: SailId,
        /// What.
        buffer: String,
        /// Bytes in the wire type.
        bytes: Bytes,
        /// Matches the receive; unique between two cards within a program.
        tag: u32,
        /// Prediction.
        time: Picoseconds,
    },
    /// Receives a buffer from another card.
    Recv {
        /// From.
        peer: SailId,
        /// What.
        buffer: String,
        /// Bytes in the wire type.
        bytes: Bytes,
        /// Matches the send.
        tag: u32,
        /// Prediction; the time stands at the receive, a send's is 0.
        time: Picoseconds,
    },
    /// Takes a streamed weight's shard from the host, for the layer at hand.
    Stream {
        /// The weight.
        weight: String,
        /// Bytes of the shard.
        bytes: Bytes,
        /// Prediction: until all cards of the group have their shards.
        time: Picoseconds,
    },
    /// Takes the step's token ids from the host.
    HostRecv {
        /// Into this buffer.
        buffer: String,
        /// Bytes.
        bytes: Bytes,
        /// Prediction.
        time: Picoseconds,
    },
    /// Gives the host columns `start..start + columns` of the logits; the cards of a replica that send cover all of them
    /// once.
    HostSend {
        /// This buffer.
        buffer: String,
        /// First column of the logits that it holds.
        start: u64,
        /// Bytes.
        bytes: Bytes,
        /// Prediction.
        time: Picoseconds,
    },
}

/// What is left out of the text.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn own() -> u64 {
    OWN
}

fn is_own(column: &u64) -> bool {
    *column == OWN
}

impl Instruction {
    /// Predicted time; of a repeat, over all its layers.
    #[must_use]
    pub fn time(&self) -> Picoseconds {
        match self {
            Self::Repeat { layers, body } => {
                let once: Picoseconds = body.iter().map(Self::time).sum();
                once * u64::from(layers.0.end.saturating_sub(layers.0.start))
            }
            Self::Kernel { time, .. }
            | Self::Slice { time, .. }
            | Self::Collective { time, .. }
            | Self::Send { time, .. }
            | Self::Recv { time, .. }
            | Self::Stream { time, .. }
            | Self::HostRecv { time, .. }
            | Self::HostSend { time, .. } => *time,
        }
    }

    /// The predicted time of one instruction; a repeat has none of its own.
    pub fn time_mut(&mut self) -> Option<&mut Picoseconds> {
        match self {
            Self::Repeat { .. } => None,
            Self::Kernel { time, .. }
            | Self::Slice { time, .. }
            | Self::Collective { time, .. }
            | Self::Send { time, .. }
            | Self::Recv { time, .. }
            | Self::Stream { time, .. }
            | Self::HostRecv { time, .. }
            | Self::HostSend { time, .. } => Some(time),
        }
    }

    /// Sets its predicted time to nothing; of a repeat, that of everything in its body.
    pub fn forget_time(&mut self) {
        match self {
            Self::Repeat { body, .. } => body.iter_mut().for_each(Self::forget_time),
            other => other.time_mut().into_iter().for_each(|time| *time = Picoseconds(0)),
        }
    }
}
