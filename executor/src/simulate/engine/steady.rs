//! What repeats exactly is simulated once. Layers and chunks are alike, so sooner or later everything stands as it stood
//! some rounds or passes ago, only later. From there on the same follows, as long as no card comes to the end of its
//! repeat or to its last pass; so many periods are skipped, and times and bytes are added up as if they had been run.

use super::{Card, Engine, Letter, State};
use crate::simulate::exchange::Topic;
use crate::simulate::fabric::Carried;
use crate::simulate::timeline::CardTime;
use sailplan_ir::Picoseconds;
use std::collections::{BTreeMap, VecDeque};

/// Longest period that is looked for, in rounds or passes.
const LONGEST: usize = 4;

/// The latest snapshots, by the card at whose beginning of a round they were taken.
pub(super) type Histories = BTreeMap<usize, VecDeque<Snapshot>>;

/// Everything at one moment.
pub(super) struct Snapshot {
    now: Picoseconds,
    skipped: Picoseconds,
    /// What the future depends on, as seen from now.
    standing: Standing,
    began: Vec<Picoseconds>,
    passes: Vec<u64>,
    rounds: Vec<u32>,
    times: Vec<CardTime>,
    carried: Vec<Carried>,
}

#[derive(PartialEq, Eq)]
struct Standing {
    cards: Vec<Place>,
    wakes: Vec<(Picoseconds, usize)>,
    flights: Vec<Flight>,
    dealing: Vec<usize>,
}

/// Where a card is in its script but for pass and round, and what has arrived for it.
#[derive(PartialEq, Eq)]
struct Place {
    block: usize,
    act: usize,
    state: State,
    open: bool,
    unsent: usize,
    /// Passes and collectives, counted from those of the first card of the stage.
    counts: (u64, u64),
    arrived: Vec<(Topic, u64, u32, Picoseconds)>,
}

/// A message on its way: ends, topic, what is left, its share, and how long it has had it.
type Flight = (Option<usize>, Option<usize>, Topic, u64, u128, u128, Picoseconds);

impl Engine<'_> {
    /// At the beginning of a round or a pass of the first card of a stage: skips what is known already.
    pub(super) fn skip_repeats(&mut self, index: usize) {
        let card = &self.cards[index];
        let repeats = card.at().is_some_and(|block| block.rounds > 2) || (card.block == 0 && self.passes > 2);
        if self.recording || !repeats || card.act > 0 || self.leaders[card.script.stage as usize] != index {
            return;
        }
        if !self.gates.is_empty() {
            return;
        }
        let snapshot = self.snapshot();
        let known = self.histories.entry(index).or_default();
        if let Some(before) = known.iter().rev().find(|before| before.standing == snapshot.standing)
            && let Some(period) = Period::between(before, &snapshot)
            && let periods @ 1.. = period.fitting(&self.cards, self.passes)
        {
            self.skip(&period, periods);
            self.histories.clear();
            return;
        }
        known.push_back(snapshot);
        if known.len() > LONGEST {
            known.pop_front();
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        self.fabric.settle_times(self.now);
        let mut wakes: Vec<_> = self.wakes.iter().map(|wake| (wake.0.0 - self.now, wake.0.1)).collect();
        wakes.sort_unstable();
        let mut flights: Vec<Flight> = self.fabric.in_flight().map(|flow| self.flight(flow)).collect();
        flights.sort_unstable();
        let cards = (0..self.cards.len()).map(|index| self.place(index)).collect();
        Snapshot {
            now: self.now,
            skipped: self.skipped,
            standing: Standing { cards, wakes, flights, dealing: self.fabric.dealing() },
            began: self.cards.iter().map(|card| card.began).collect(),
            passes: self.cards.iter().map(|card| card.pass).collect(),
            rounds: self.cards.iter().map(|card| card.round).collect(),
            times: self.cards.iter().map(|card| card.time).collect(),
            carried: self.fabric.carried(),
        }
    }

    fn flight(&self, (letter, left, share, since): (&Letter, u128, u128, Picoseconds)) -> Flight {
        let Letter { from, to, key: (topic, number) } = *letter;
        let own = from.or(to).map_or(0, |card| self.cards[card].key(topic).1);
        (from, to, topic, own.wrapping_sub(number), left, share, self.now - since)
    }

    fn place(&self, index: usize) -> Place {
        let card = &self.cards[index];
        let first = &self.cards[self.leaders[card.script.stage as usize]];
        let counts = (card.pass.wrapping_sub(first.pass), card.collectives.wrapping_sub(first.collectives));
        let arrived = card.arrived.iter().map(|(&(topic, number), arrived)| {
            (topic, number.wrapping_sub(card.key(topic).1), arrived.count, arrived.latest - self.now)
        });
        let arrived = arrived.collect();
        let Card { block, act, state, open, unsent, .. } = *card;
        Place { block, act, state, open, unsent, counts, arrived }
    }

    /// Passes are skipped by asking for fewer, rounds by moving on; either way messages on their way keep their numbers.
    fn skip(&mut self, period: &Period, periods: u64) {
        self.passes -= period.passes * periods;
        self.skipped += period.time * periods;
        self.fabric.repeat(&period.carried, periods);
        for (index, card) in self.cards.iter_mut().enumerate() {
            card.round += (u64::from(period.rounds[index]) * periods) as u32;
            card.time.repeat(&period.times[index], periods);
            if period.still[index] {
                card.waited += period.time * periods;
            }
        }
    }
}

/// From one moment to a later one that looks the same.
struct Period {
    time: Picoseconds,
    /// Passes that every card has gone on.
    passes: u64,
    /// Rounds that each card has gone on.
    rounds: Vec<u32>,
    /// Cards that have been in one instruction all along.
    still: Vec<bool>,
    times: Vec<CardTime>,
    carried: Vec<Carried>,
}

impl Period {
    /// `None` when some card went on in passes and another did not, or when rounds differ from pass to pass.
    fn between(before: &Snapshot, after: &Snapshot) -> Option<Self> {
        let passes = after.passes.first()? - before.passes.first()?;
        let alike = before.passes.iter().zip(&after.passes).all(|(before, after)| after - before == passes);
        let rounds: Option<Vec<u32>> =
            before.rounds.iter().zip(&after.rounds).map(|(b, a)| a.checked_sub(*b)).collect();
        let rounds = rounds.filter(|rounds| alike && (passes == 0) == rounds.iter().any(|&count| count > 0))?;
        let still: Vec<bool> = before.began.iter().zip(&after.began).map(|(before, after)| before == after).collect();
        let moved = |index: usize| after.now - after.began[index] == before.now - before.began[index];
        let clear = (0..still.len()).all(|index| still[index] || moved(index));
        let times = before.times.iter().zip(&after.times).map(|(before, after)| after.since(before)).collect();
        let carried = before.carried.iter().zip(&after.carried).map(|(before, after)| after.since(before)).collect();
        let time = (after.now + after.skipped) - (before.now + before.skipped);
        clear.then_some(Self { time, passes, rounds, still, times, carried })
    }

    /// How many more of it there are before a card comes to an end.
    fn fitting(&self, cards: &[Card<'_>], passes: u64) -> u64 {
        let furthest = cards.iter().map(|card| card.pass).max().unwrap_or(0);
        if let Some(periods) = passes.saturating_sub(furthest + 1).checked_div(self.passes) {
            return periods;
        }
        let left = |(card, &rounds): (&Card<'_>, &u32)| {
            let after = card.at()?.rounds.checked_sub(card.round + 1)?;
            after.checked_div(rounds).map(u64::from)
        };
        cards.iter().zip(&self.rounds).filter_map(left).min().unwrap_or(0)
    }
}
