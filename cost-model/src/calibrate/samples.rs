//! Measurements: rows of a CSV file to samples that a fleet can price. Nothing here fits anything.

use crate::{CostModel, Work};
use sailplan_ir::{Algorithm, Bytes, DType, Pattern, Picoseconds, SailId};
use std::fmt;
use std::ops::Range;

/// Measured times as comma-separated text, and how the user named the file.
#[derive(Clone, Copy, Debug)]
pub struct Measurements<'a> {
    /// The file's name, for messages and provenance.
    pub file: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// A collective of a group by one algorithm.
    Collective {
        /// Which.
        pattern: Pattern,
        /// How.
        algorithm: Algorithm,
        /// The cards, in the order of their ranks.
        group: Vec<SailId>,
        /// The row names no algorithm, so it is the cheapest under the fleet's own figures.
        assumed: bool,
    },
    /// A message from one card to another.
    Message {
        /// Sender.
        from: SailId,
        /// Receiver.
        to: SailId,
    },
    /// One kernel that moves bytes of one card's memory.
    Kernel {
        /// A card of the kind.
        sail: SailId,
        /// The kind.
        kind: String,
    },
    /// One exchange with the host.
    Host {
        /// Cards that exchange as many bytes at once.
        cards: usize,
    },
}

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Line of the file, from 1.
    pub line: usize,
    /// What was measured.
    pub operation: Operation,
    /// Its size.
    pub bytes: Bytes,
    /// How long it took.
    pub seconds: f64,
    pub(super) span: Range<usize>,
}

impl Sample {
    /// Time under a fleet's figures, at `bytes` instead of the sample's own.
    pub(super) fn price(&self, costs: &CostModel<'_>, bytes: Bytes) -> Picoseconds {
        match &self.operation {
            Operation::Collective { pattern, algorithm, group, .. } => {
                costs.links.time(*pattern, *algorithm, group, chunk(bytes, group.len()), bytes).unwrap_or_default()
            }
            Operation::Message { from, to } => costs.links.message(*from, *to, bytes),
            Operation::Kernel { sail, .. } => costs.kernel(*sail, Work { bytes, flops: 0 }, DType::F32).ddr,
            Operation::Host { cards } => costs.host(&vec![bytes; *cards]),
        }
    }
}

/// The largest part of an evenly cut buffer.
pub(super) fn chunk(bytes: Bytes, ranks: usize) -> Bytes {
    Bytes(bytes.0.div_ceil(ranks.max(1) as u64))
}

/// Cards as plans write them: `0..4, 6`.
fn listed(cards: &[SailId]) -> String {
    let runs = cards.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0));
    let texts = runs.map(|run| match run {
        [one] => one.0.to_string(),
        _ => format!("{}..{}", run[0].0, run[0].index() + run.len()),
    });
    texts.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collective { pattern, algorithm, .. } => write!(f, "{pattern}/{algorithm}"),
            Self::Message { .. } => f.write_str("message"),
            Self::Kernel { .. } => f.write_str("kernel"),
            Self::Host { .. } => f.write_str("host"),
        }
    }
}

impl Operation {
    /// The cards, the kind, or how many cards exchange with the host.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::Collective { group, .. } => listed(group),
            Self::Message { from, to } => format!("{}, {}", from.0, to.0),
            Self::Kernel { kind, .. } => kind.clone(),
            Self::Host { cards } => cards.to_string(),
        }
    }
}
