//! What a simulation yields: when it ended, where each card's time went, what each medium carried, and every span of it.

use super::network::Medium;
use sailplan_ir::{Bytes, Picoseconds, SailId};
use std::rc::Rc;

/// One prefill or one decode step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Timeline {
    /// From the host's tokens to the last logits on the host.
    pub time: Picoseconds,
    /// Each card with work, in order of id.
    pub cards: Vec<CardTime>,
    /// Every medium that carried something, in order of the fleet's links, the host's last.
    pub media: Vec<MediumTime>,
    /// What every card did when, when that was asked for; the instructions of one card do not overlap.
    pub spans: Vec<Span>,
}

/// Where one card's time went; the rest of it waits for its turn or is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardTime {
    /// The card.
    pub sail: SailId,
    /// In kernels and slices.
    pub kernels: Picoseconds,
    /// In sends, receives and collectives, waiting for peers included.
    pub links: Picoseconds,
    /// In exchanges with the host.
    pub host: Picoseconds,
}

/// What one medium carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediumTime {
    /// Its place among the fleet's media: the same in every timeline.
    pub number: usize,
    /// The medium.
    pub medium: Medium,
    /// How long something was on it.
    pub busy: Picoseconds,
    /// Payload.
    pub bytes: Bytes,
    /// Messages.
    pub messages: u64,
    /// From when to when it was busy, when that was asked for.
    pub periods: Vec<(Picoseconds, Picoseconds)>,
}

/// One instruction on one card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The card.
    pub sail: SailId,
    /// What it keeps busy.
    pub what: Occupation,
    /// Operator and result, or collective and size.
    pub name: Rc<str>,
    /// The layer, inside a repeat.
    pub layer: Option<u32>,
    /// When it began.
    pub start: Picoseconds,
    /// When the card went on.
    pub end: Picoseconds,
}

/// What an instruction keeps busy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Occupation {
    /// The card's memory and arithmetic.
    Kernels,
    /// Links between cards.
    Links,
    /// The host's link.
    Host,
}

impl MediumTime {
    pub(crate) fn new(number: usize, medium: Medium) -> Self {
        Self { number, medium, busy: Picoseconds(0), bytes: Bytes(0), messages: 0, periods: Vec::new() }
    }

    /// Periods that follow each other at once are one.
    pub(crate) fn record(&mut self, start: Picoseconds, end: Picoseconds) {
        match self.periods.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.periods.push((start, end)),
        }
    }

    /// Bytes carried over what it could have carried in a time.
    #[must_use]
    pub fn utilisation(&self, time: Picoseconds) -> f64 {
        let most = self.medium.rate.0 as f64 * time.seconds();
        if most > 0.0 { self.bytes.0 as f64 / most } else { 0.0 }
    }
}

impl CardTime {
    pub(crate) fn new(sail: SailId) -> Self {
        Self { sail, kernels: Picoseconds(0), links: Picoseconds(0), host: Picoseconds(0) }
    }

    pub(crate) fn spend(&mut self, what: Occupation, time: Picoseconds) {
        match what {
            Occupation::Kernels => self.kernels += time,
            Occupation::Links => self.links += time,
            Occupation::Host => self.host += time,
        }
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let Self { kernels, links, host, .. } = *before;
        Self { kernels: self.kernels - kernels, links: self.links - links, host: self.host - host, ..*self }
    }

    pub(crate) fn repeat(&mut self, once: &Self, times: u64) {
        self.kernels += once.kernels * times;
        self.links += once.links * times;
        self.host += once.host * times;
    }
}
