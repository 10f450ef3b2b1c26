//! What a comparison of two plans finds: classes, and one value for each change. It knows plans' nouns, and nothing of
//! how changes are found or shown.

use crate::{Memory, Slice};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Picoseconds, SailId, Sustain};
use serde::{Serialize, Serializer};
use std::fmt;

/// How serious a change is, most serious first. A pipeline can fail on each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The new plan is refused by `verify`.
    Unfit,
    /// Another model, other cards, other memory or links between them, or another request.
    WrongTarget,
    /// Prefill, a decode step or the request takes longer.
    Slower,
    /// A card has less room left.
    Tighter,
    /// Layers or slices have another home: weights are sent again.
    Moved,
    /// Other collectives, messages or kernels in a step, or another way to load.
    Traffic,
    /// Figures of the fleet, predictions and proofs, where they are not worse in a way named above.
    EstimateOnly,
    /// Names, addresses, who wrote it.
    Cosmetic,
}

impl Class {
    /// All, most serious first.
    pub const ALL: [Self; 8] = [
        Self::Unfit,
        Self::WrongTarget,
        Self::Slower,
        Self::Tighter,
        Self::Moved,
        Self::Traffic,
        Self::EstimateOnly,
        Self::Cosmetic,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Unfit => "unfit",
            Self::WrongTarget => "wrong-target",
            Self::Slower => "slower",
            Self::Tighter => "tighter",
            Self::Moved => "moved",
            Self::Traffic => "traffic",
            Self::EstimateOnly => "estimate-only",
            Self::Cosmetic => "cosmetic",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One change. In JSON: `class`, `what`, and the fields of that [`What`].
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// How serious it is.
    pub class: Class,
    /// What changed.
    #[serde(flatten)]
    pub what: What,
}

/// Which program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A chunk of the prompt.
    Prefill,
    /// One token of each sequence.
    Decode,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        })
    }
}

/// A part of a model's chain: layers in a row, or segments that are no layers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(untagged)]
pub enum Part {
    /// First and last layer.
    Layers([u32; 2]),
    /// A segment by its class's name, or all of a program outside of layers.
    Named(String),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_first(replica: &u32) -> bool {
    *replica == 0
}

/// One stage of a pipeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StageOf {
    /// Its replica, from 0.
    #[serde(skip_serializing_if = "is_first")]
    pub replica: u32,
    /// Its place among the stages of all replicas, from 0.
    pub stage: u32,
    /// Its cards in order of rank.
    pub group: Vec<SailId>,
}

/// Part of a weight or cache on one card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Held {
    /// The card.
    pub sail: SailId,
    /// The part.
    pub slice: Slice,
    /// Whether it stays on the host.
    pub streamed: bool,
}

/// How often something is done, and the bytes that all cards together send for it at the request's limits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// Bytes that cross to another card.
    pub bytes: u64,
}

/// How often a kernel stands in a program, over all layers and cards named with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kernels {
    /// The operator.
    pub op: String,
    /// Before.
    pub old: u64,
    /// After.
    pub new: u64,
}

/// What changed, with its value before and after. Times are seconds, sizes bytes in JSON.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// `verify` refuses the new plan; nothing else is compared.
    Refused {
        /// What it says.
        problems: Vec<String>,
    },
    /// `verify` refuses the old plan and accepts the new one: everything is sent again.
    Mended {
        /// What it says of the old one.
        problems: Vec<String>,
    },
    /// Something that the plans were made from: a cause.
    Input {
        /// The field, as files and flags call it.
        field: String,
        /// Before; none where it did not exist.
        #[serde(skip_serializing_if = "Option::is_none")]
        old: Option<String>,
        /// After; none where it is gone.
        #[serde(skip_serializing_if = "Option::is_none")]
        new: Option<String>,
        /// The cards it is about; none when it is about all or about no cards.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sails: Vec<SailId>,
    },
    /// A predicted time.
    Time {
        /// `prefill`, `decode`, `request`, `ready`, `lower_bound`, `objective`, or a part of the objective.
        figure: &'static str,
        /// Before.
        #[serde(rename = "old_s", serialize_with = "seconds")]
        old: Picoseconds,
        /// After.
        #[serde(rename = "new_s", serialize_with = "seconds")]
        new: Picoseconds,
    },
    /// How the search ended.
    Certificate {
        /// The field.
        field: &'static str,
        /// Before.
        old: String,
        /// After.
        new: String,
    },
    /// What cards of unknown compute rate must sustain.
    Sustain {
        /// The cards.
        sails: Vec<SailId>,
        /// Before; none where it is not asked.
        #[serde(serialize_with = "flops")]
        old: Option<Sustain>,
        /// After.
        #[serde(serialize_with = "flops")]
        new: Option<Sustain>,
    },
    /// Arenas of cards.
    Memory {
        /// The cards with these figures.
        sails: Vec<SailId>,
        /// Before; none for a card without work.
        #[serde(serialize_with = "arenas")]
        old: Option<Memory>,
        /// After.
        #[serde(serialize_with = "arenas")]
        new: Option<Memory>,
    },
    /// Stages of the pipeline and their groups.
    Stages {
        /// Before.
        old: Vec<StageOf>,
        /// After.
        new: Vec<StageOf>,
    },
    /// Consecutive segments on other cards.
    Home {
        /// The segments.
        part: Part,
        /// The group before.
        old: Vec<SailId>,
        /// The group after.
        new: Vec<SailId>,
    },
    /// Weights or caches that are dealt to cards otherwise.
    Dealt {
        /// Their names.
        tensors: Vec<String>,
        /// The layers; none for tensors of no layer.
        #[serde(skip_serializing_if = "Option::is_none")]
        layers: Option<[u32; 2]>,
        /// Before.
        old: Vec<Held>,
        /// After.
        new: Vec<Held>,
    },
    /// Weights that cards have not yet.
    Resend {
        /// Cards that need the same.
        sails: Vec<SailId>,
        /// Bytes for each of them.
        bytes: u64,
    },
    /// Bytes of the load plan.
    Loading {
        /// From the host, before.
        old_host: u64,
        /// From the host, after.
        new_host: u64,
        /// From card to card, before.
        old_handed_on: u64,
        /// From card to card, after.
        new_handed_on: u64,
    },
    /// All that cards send to each other in one pass of a program.
    Sent {
        /// The program.
        phase: Phase,
        /// Messages and bytes before.
        old: Tally,
        /// After.
        new: Tally,
    },
    /// Collectives of one kind in one pass of a program.
    Collectives {
        /// The program.
        phase: Phase,
        /// Where.
        part: Part,
        /// What they do.
        kind: CollectiveKind,
        /// How.
        algorithm: Algorithm,
        /// Before, over all layers of the part.
        old: Tally,
        /// After.
        new: Tally,
    },
    /// Other instructions, or the same for other cards or sizes.
    Program {
        /// The program.
        phase: Phase,
        /// Where.
        part: Part,
        /// On which cards.
        sails: Vec<SailId>,
        /// Kernels that are more or fewer.
        kernels: Vec<Kernels>,
    },
    /// Predicted times of instructions and loads.
    Predictions {
        /// How many differ, over all cards and layers.
        count: u64,
        /// On which cards.
        sails: Vec<SailId>,
    },
    /// Names, addresses and order, where they change no meaning.
    Arrangement {
        /// Which.
        parts: Vec<&'static str>,
        /// On which cards.
        sails: Vec<SailId>,
    },
}

fn seconds<S: Serializer>(time: &Picoseconds, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.seconds())
}

fn flops<S: Serializer>(rates: &Option<Sustain>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Flops {
        prefill_flops_per_s: u64,
        decode_flops_per_s: u64,
    }
    let rates = rates.map(|rates| Flops { prefill_flops_per_s: rates.prefill.0, decode_flops_per_s: rates.decode.0 });
    rates.serialize(serializer)
}

fn arenas<S: Serializer>(memory: &Option<Memory>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Arenas {
        weights: u64,
        kv: u64,
        activations: u64,
        capacity: u64,
        headroom: u64,
    }
    let arenas = memory.as_ref().map(|memory| Arenas {
        weights: memory.weights.0,
        kv: memory.kv.0,
        activations: (memory.activations + memory.scratch).0,
        capacity: (memory.capacity - memory.reserve).0,
        headroom: headroom(memory).0,
    });
    arenas.serialize(serializer)
}

/// What a card has left.
#[must_use]
pub fn headroom(memory: &Memory) -> Bytes {
    let Memory { capacity, reserve, weights, kv, activations, scratch } = *memory;
    capacity - (reserve + weights + kv + activations + scratch)
}
