//! Pins as limits on the space: which groups are open, which segments each may hold, how many stages and Sails there may
//! be, and how weights are held. Who made the pins and what they are called is no concern of the engines.

mod resolve;
mod weights;

pub(crate) use resolve::{Misaligned, resolve};
pub(crate) use weights::Held;

use crate::space::Interval;
use std::ops::RangeInclusive;

/// What a placement must keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// By card, whether it must stay without work.
    closed: Vec<bool>,
    regions: Vec<Region>,
    /// How many stages there may be.
    pub(crate) stages: RangeInclusive<usize>,
    /// How many cards may have work.
    pub(crate) sails: usize,
    /// By layer class, how its weights are held.
    pub(crate) held: Vec<Held>,
    /// Cuts that no block border allows.
    pub(crate) misaligned: Vec<Misaligned>,
}

/// Segments and where they may run.
#[derive(Clone, Debug)]
struct Region {
    /// By segment, whether it is meant.
    segments: Vec<bool>,
    spot: Spot,
}

/// Where segments may run; cards as a mask.
#[derive(Clone, Debug)]
enum Spot {
    /// On a group of these cards.
    Within(Vec<bool>),
    /// On the group of exactly these cards.
    Exactly(Interval),
    /// On a group of so many cards.
    Ranks(usize),
}

impl Spot {
    fn takes(&self, group: &Interval) -> bool {
        match self {
            Self::Within(cards) => group.clone().all(|card| cards[card]),
            Self::Exactly(cards) => group == cards,
            Self::Ranks(ranks) => group.len() == *ranks,
        }
    }
}

impl Limits {
    /// None at all.
    pub(crate) fn none(cards: usize, classes: usize) -> Self {
        Self {
            closed: vec![false; cards],
            regions: Vec::new(),
            stages: 0..=usize::MAX,
            sails: usize::MAX,
            held: vec![Held::default(); classes],
            misaligned: Vec::new(),
        }
    }

    /// Whether nothing is demanded.
    pub(crate) fn is_empty(&self) -> bool {
        let free = !self.closed.contains(&true) && self.regions.is_empty() && self.sails == usize::MAX;
        free && self.stages == (0..=usize::MAX) && self.held.iter().all(Held::is_empty)
    }

    /// Whether a group may have work at all.
    pub(crate) fn open(&self, group: &Interval) -> bool {
        !self.closed[group.clone()].contains(&true)
    }

    /// Whether a segment may run on a group.
    pub(crate) fn allows(&self, group: &Interval, segment: usize) -> bool {
        let mut regions = self.regions.iter().filter(|region| region.segments[segment]);
        regions.all(|region| region.spot.takes(group))
    }

    /// Whether two segments may run on the same groups.
    pub(crate) fn alike(&self, one: usize, other: usize) -> bool {
        self.regions.iter().all(|region| region.segments[one] == region.segments[other])
    }

    /// Whether cards are told apart: then no card stands for another of its kind.
    pub(crate) fn names_cards(&self) -> bool {
        let named = |region: &Region| !matches!(region.spot, Spot::Ranks(_));
        self.closed.contains(&true) || self.regions.iter().any(named)
    }

    /// Whether pins say where segments run or count stages or cards: they mean one chain.
    pub(crate) fn place_a_chain(&self) -> bool {
        !self.regions.is_empty() || self.sails < usize::MAX || self.stages != (0..=usize::MAX)
    }

    /// Groups that pins ask for, where only some groups are tried.
    pub(crate) fn groups(&self) -> Vec<Interval> {
        let cards = self.closed.len();
        let of = |region: &Region| -> Vec<Interval> {
            match &region.spot {
                Spot::Exactly(group) => vec![group.clone()],
                Spot::Ranks(ranks) => blocks(0..cards, *ranks),
                Spot::Within(mask) => runs(mask),
            }
        };
        let open: Vec<bool> = self.closed.iter().map(|closed| !closed).collect();
        self.regions.iter().flat_map(of).chain(runs(&open)).collect()
    }
}

/// Consecutive intervals of one length.
pub(crate) fn blocks(cards: Interval, length: usize) -> Vec<Interval> {
    let length = length.max(1);
    let starts = (cards.start..cards.end).step_by(length);
    starts.filter(|start| start + length <= cards.end).map(|start| start..start + length).collect()
}

/// The longest intervals of a mask.
fn runs(mask: &[bool]) -> Vec<Interval> {
    let mut runs: Vec<Interval> = Vec::new();
    for card in (0..mask.len()).filter(|&card| mask[card]) {
        match runs.last_mut() {
            Some(run) if run.end == card => run.end += 1,
            _ => runs.push(card..card + 1),
        }
    }
    runs
}
