//! Messages between cards. A transport keeps the order of equal tags between two cards, rounds to the wire type at
//! each send, and never waits for ever. It knows no plans and no collectives.
#![expect(clippy::disallowed_types, reason = "a wait without progress must end")]

use crate::ReplayError;
use half::bf16;
use sailplan_ir::{CollectiveKind, SailId, Wire};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Which message of a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tag {
    /// A send's or a receive's own tag.
    Send(u32),
    /// A step of a collective.
    Step {
        /// The collective.
        kind: CollectiveKind,
        /// From 0.
        step: u32,
    },
    /// A weight shard, before the first step.
    Load,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(tag) => write!(f, "message {tag}"),
            Self::Step { kind, step } => write!(f, "step {step} of {kind}"),
            Self::Load => f.write_str("loading"),
        }
    }
}

/// One card's end of the links.
pub trait Transport {
    /// Type that crosses the links.
    fn wire(&self) -> Wire;

    /// Sends values; does not wait for the receiver.
    ///
    /// # Errors
    /// The peer is gone.
    fn send(&mut self, to: SailId, tag: Tag, values: &[f32]) -> Result<(), ReplayError>;

    /// The next values that `from` sent with this tag.
    ///
    /// # Errors
    /// The peer is gone, nothing moves within the time limit, or the message has another size.
    fn receive(&mut self, from: SailId, tag: Tag, elements: usize) -> Result<Vec<f32>, ReplayError>;

    /// Hands a weight shard on as it is; does not wait for the receiver.
    ///
    /// # Errors
    /// The peer is gone.
    fn send_shard(&mut self, to: SailId, bytes: &[u8]) -> Result<(), ReplayError>;

    /// The next shard that `from` hands on.
    ///
    /// # Errors
    /// As `receive`; the size is in bytes.
    fn receive_shard(&mut self, from: SailId, bytes: usize) -> Result<Vec<u8>, ReplayError>;
}

/// What a receiver gets of a value.
#[must_use]
pub fn rounded(wire: Wire, value: f32) -> f32 {
    match wire {
        Wire::F32 => value,
        Wire::Bf16 => bf16::from_f32(value).to_f32(),
    }
}

/// Counts what all cards of a run have done, so that a long kernel elsewhere is no hang and a hang is noticed.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Something was done.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why nothing was received.
pub(crate) enum Silence {
    /// All senders are gone.
    Closed,
    /// No card made progress for the time limit.
    Still,
}

/// Waits until something arrives or nothing has moved for `limit`.
pub(crate) fn wait<T>(inbox: &Receiver<T>, pulse: &Pulse, limit: Duration) -> Result<T, Silence> {
    let slice = (limit / 8).clamp(Duration::from_millis(1), Duration::from_millis(100));
    let (mut beats, mut since) = (pulse.count(), Instant::now());
    loop {
        match inbox.recv_timeout(slice) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Disconnected) => return Err(Silence::Closed),
            Err(RecvTimeoutError::Timeout) if pulse.count() != beats => {
                (beats, since) = (pulse.count(), Instant::now());
            }
            Err(RecvTimeoutError::Timeout) if since.elapsed() >= limit => return Err(Silence::Still),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

enum Payload {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Bytes(Vec<u8>),
}

impl Payload {
    fn new(wire: Wire, values: &[f32]) -> Self {
        match wire {
            Wire::F32 => Self::F32(values.to_vec()),
            Wire::Bf16 => Self::Bf16(values.iter().copied().map(bf16::from_f32).collect()),
        }
    }

    fn values(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::Bf16(values) => values.into_iter().map(bf16::to_f32).collect(),
            Self::Bytes(_) => Vec::new(),
        }
    }
}

struct Message {
    tag: Tag,
    payload: Payload,
}

/// One card's end of channels between threads of this process.
pub struct Threads {
    own: SailId,
    wire: Wire,
    limit: Duration,
    pulse: Pulse,
    to: BTreeMap<SailId, Sender<Message>>,
    from: BTreeMap<SailId, Receiver<Message>>,
    /// Messages that arrived before the one that was waited for.
    early: BTreeMap<(SailId, Tag), VecDeque<Payload>>,
}

impl Threads {
    /// A channel for each ordered pair of cards; one end for each card, in the order given. A receive gives up when
    /// `pulse` stands still for `limit`.
    #[must_use]
    pub fn connect(sails: &[SailId], wire: Wire, limit: Duration, pulse: &Pulse) -> Vec<Self> {
        let end = |&own| Self {
            own,
            wire,
            limit,
            pulse: pulse.clone(),
            to: BTreeMap::new(),
            from: BTreeMap::new(),
            early: BTreeMap::new(),
        };
        let mut ends: Vec<Self> = sails.iter().map(end).collect();
        for (a, &from) in sails.iter().enumerate() {
            for (b, &to) in sails.iter().enumerate().filter(|&(b, _)| a != b) {
                let (sender, receiver) = channel();
                ends[a].to.insert(to, sender);
                ends[b].from.insert(from, receiver);
            }
        }
        ends
    }

    fn put(&self, to: SailId, message: Message) -> Result<(), ReplayError> {
        let tag = message.tag;
        let sent = self.to.get(&to).is_some_and(|sender| sender.send(message).is_ok());
        if sent { Ok(()) } else { Err(self.died(to, tag)) }
    }

    fn died(&self, peer: SailId, waiting: Tag) -> ReplayError {
        ReplayError::PeerDied { sail: self.own, peer, waiting }
    }

    fn next(&mut self, from: SailId, tag: Tag) -> Result<Payload, ReplayError> {
        if let Some(payload) = self.early.get_mut(&(from, tag)).and_then(VecDeque::pop_front) {
            return Ok(payload);
        }
        loop {
            let inbox = self.from.get(&from).ok_or_else(|| self.died(from, tag))?;
            let message = wait(inbox, &self.pulse, self.limit).map_err(|silence| match silence {
                Silence::Closed => self.died(from, tag),
                Silence::Still => {
                    ReplayError::PeerTimedOut { sail: self.own, peer: from, waiting: tag, timeout: self.limit }
                }
            })?;
            if message.tag == tag {
                return Ok(message.payload);
            }
            self.early.entry((from, message.tag)).or_default().push_back(message.payload);
        }
    }
}

impl Transport for Threads {
    fn wire(&self) -> Wire {
        self.wire
    }

    fn send(&mut self, to: SailId, tag: Tag, values: &[f32]) -> Result<(), ReplayError> {
        self.put(to, Message { tag, payload: Payload::new(self.wire, values) })
    }

    fn receive(&mut self, from: SailId, tag: Tag, elements: usize) -> Result<Vec<f32>, ReplayError> {
        let values = self.next(from, tag)?.values();
        if values.len() == elements {
            return Ok(values);
        }
        let found = values.len();
        Err(ReplayError::WrongMessage { sail: self.own, peer: from, waiting: tag, expected: elements, found })
    }
    fn send_shard(&mut self, to: SailId, bytes: &[u8]) -> Result<(), ReplayError> {
        self.put(to, Message { tag: Tag::Load, payload: Payload::Bytes(bytes.to_vec()) })
    }

    fn receive_shard(&mut self, from: SailId, bytes: usize) -> Result<Vec<u8>, ReplayError> {
        let shard = match self.next(from, Tag::Load)? {
            Payload::Bytes(shard) => shard,
            Payload::F32(_) | Payload::Bf16(_) => Vec::new(),
        };
        if shard.len() == bytes {
            return Ok(shard);
        }
        let (sail, found) = (self.own, shard.len());
        Err(ReplayError::WrongMessage { sail, peer: from, waiting: Tag::Load, expected: bytes, found })
    }
}
