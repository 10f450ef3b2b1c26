//! Why a replay ended without a report. Facts only: rendering belongs to the command line.

use crate::transport::Tag;
use sailplan_ir::{Bytes, DType, SailId};
use std::time::Duration;

/// Why a replay ended without a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is nothing to feed.
    #[error("there are no tokens to feed")]
    NoTokens,
    /// A token id outside the vocabulary.
    #[error("token {token} at position {position} is not in the vocabulary of {vocabulary} tokens")]
    UnknownToken {
        /// The id.
        token: u32,
        /// Where it stands.
        position: usize,
        /// Ids are below this.
        vocabulary: u64,
    },
    /// More positions than the caches have.
    #[error("{given} tokens and {generate} to generate do not fit in the plan's context of {context}")]
    ContextExceeded {
        /// Tokens given.
        given: u64,
        /// Tokens to generate.
        generate: u64,
        /// Positions of the plan.
        context: u64,
    },
    /// The prefill program needs at least one token and at most all.
    #[error("{prefill} tokens cannot go through prefill: between 1 and {given} can")]
    PrefillRange {
        /// Tokens asked for.
        prefill: usize,
        /// Tokens given.
        given: usize,
    },
    /// Several sequences side by side.
    #[error("the plan is for {batch} sequences side by side; only one can be replayed yet")]
    Batch {
        /// Sequences.
        batch: u64,
    },
    /// Several chains side by side.
    #[error("the plan has {replicas} replicas; one at a time can be replayed")]
    Replicas {
        /// How many.
        replicas: u32,
    },
    /// The plan names a weight that no file has.
    #[error("weight `{tensor}` is not in {files}")]
    MissingWeight {
        /// Its name.
        tensor: String,
        /// The files searched.
        files: String,
    },
    /// The file's tensor has another shape than the plan's.
    #[error("weight `{tensor}` is {found:?} in the file and {expected:?} in the plan")]
    WrongShape {
        /// Its name.
        tensor: String,
        /// In the plan.
        expected: Vec<u64>,
        /// In the file.
        found: Vec<u64>,
    },
    /// The file's tensor has another element type than the plan's.
    #[error("weight `{tensor}` is {found} in the file and {expected} in the plan")]
    WrongDType {
        /// Its name.
        tensor: String,
        /// In the plan.
        expected: DType,
        /// In the file.
        found: DType,
    },
    /// The device has no kernels for an element type.
    #[error("`{tensor}` is {dtype}, which the {device} device cannot compute with")]
    UnsupportedDType {
        /// Name of the weight or cache.
        tensor: String,
        /// Its element type.
        dtype: DType,
        /// The device.
        device: &'static str,
    },
    /// A weight file cannot be opened or mapped.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A weight file ends before its last tensor.
    #[error("{path} has {found} bytes, but `{tensor}` ends at byte {needed}: the file is cut short")]
    Shortened {
        /// The file.
        path: String,
        /// The tensor that reaches past the end.
        tensor: String,
        /// Bytes there must be.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A card has less memory here than its plan says.
    #[error("{sail}: {source}")]
    Device {
        /// The card.
        sail: SailId,
        /// What it could not do.
        source: Fault,
    },
    /// The plan says something that its own parts contradict.
    #[error("{sail}: {problem}")]
    Malformed {
        /// The card.
        sail: SailId,
        /// What does not fit.
        problem: String,
    },
    /// A message does not have the size that the receiver's plan says.
    #[error("{sail} expected {expected} elements from {peer} in {waiting} and got {found}")]
    WrongMessage {
        /// The receiver.
        sail: SailId,
        /// The sender.
        peer: SailId,
        /// Which message.
        waiting: Tag,
        /// Elements expected.
        expected: usize,
        /// Elements received.
        found: usize,
    },
    /// A card is gone.
    #[error("{peer} ended while {sail} was in {waiting} with it")]
    PeerDied {
        /// Who noticed.
        sail: SailId,
        /// Who is gone.
        peer: SailId,
        /// What it waited for.
        waiting: Tag,
    },
    /// A card does not answer and no other card makes progress either.
    #[error("{sail} waited for {peer} in {waiting}: no card made progress for {timeout:?}")]
    PeerTimedOut {
        /// Who waited.
        sail: SailId,
        /// For whom.
        peer: SailId,
        /// For what.
        waiting: Tag,
        /// How long.
        timeout: Duration,
    },
    /// A card does not answer the host.
    #[error("{sail} did not finish: no card made progress for {timeout:?}")]
    SailTimedOut {
        /// The card.
        sail: SailId,
        /// How long.
        timeout: Duration,
    },
    /// A card's thread could not be started.
    #[error("cannot start a thread for {sail}: {source}")]
    NoThread {
        /// The card.
        sail: SailId,
        /// Why.
        source: std::io::Error,
    },
    /// A bug: a card's thread panicked.
    #[error("the thread of {sail} panicked: {message}")]
    Panicked {
        /// The card.
        sail: SailId,
        /// The panic's message.
        message: String,
    },
    /// The cards that send logits do not cover the vocabulary once.
    #[error("the cards sent {found} of {expected} columns of the logits at position {position}")]
    LogitsCover {
        /// Position of the row.
        position: usize,
        /// Columns of the model's logits.
        expected: u64,
        /// Columns received.
        found: u64,
    },
}

/// What a device could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No memory for an arena.
    #[error("no memory for {bytes} of {arena}: {source}")]
    Memory {
        /// Which arena.
        arena: &'static str,
        /// Its size.
        bytes: Bytes,
        /// Why.
        source: std::io::Error,
    },
    /// A tensor does not lie inside its arena at a multiple of its alignment.
    #[error("{elements} elements at byte {offset} do not lie in the arena of {bytes} bytes")]
    Outside {
        /// First byte.
        offset: u64,
        /// Elements.
        elements: u64,
        /// Size of the arena.
        bytes: u64,
    },
    /// The operands do not fit the operator.
    #[error("{operator}: {problem}")]
    Operands {
        /// Name of the operator.
        operator: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
}
