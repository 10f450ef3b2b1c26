//! Messages in flight. Those that cross a medium at the same time share its rate equally, as interleaved frames do; a
//! message goes at its smallest share along the way and holds all of the way at once (cut-through). Alone it takes the
//! sum of the latencies plus bytes / slowest rate. Contention is what the shares make of it; no formula adds it.
//!
//! What is left of a message is counted in parts of a byte so small that shares lose less than a picosecond an hour.

use super::network::{Medium, Way};
use super::timeline::MediumTime;
use sailplan_ir::{Bytes, Picoseconds};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A share of a rate is rounded down to a part of a byte per second; shares of up to 16 messages are exact.
const PARTS: u128 = 720_720;
/// A rate of one part per second moves one unit in a picosecond.
const UNITS_PER_BYTE: u128 = PARTS * 1_000_000_000_000;

/// Messages over media; `T` says what a message is for.
pub(crate) struct Fabric<T> {
    lanes: Vec<Lane>,
    flows: Vec<Flow<T>>,
    free: Vec<usize>,
    /// Lanes whose sharers have changed since the shares were dealt.
    changed: Vec<usize>,
    /// When flows end at their present share; entries of an older version do not count.
    ends: BinaryHeap<Reverse<(Picoseconds, u64, usize)>>,
    version: u64,
}

/// A medium with what crosses it.
struct Lane {
    medium: Medium,
    sharers: Vec<usize>,
    changed: bool,
    since: Picoseconds,
    time: MediumTime,
}

struct Flow<T> {
    what: Option<T>,
    way: Rc<Way>,
    left: u128,
    share: u128,
    since: Picoseconds,
    version: u64,
}

/// A message whose last byte has left its sender.
pub(crate) struct Sent<T> {
    pub(crate) what: T,
    /// When the receiver has it.
    pub(crate) arrives: Picoseconds,
}

impl<T> Fabric<T> {
    pub(crate) fn new(media: &[Medium]) -> Self {
        let lane = |(number, &medium): (usize, &Medium)| Lane {
            medium,
            sharers: Vec::new(),
            changed: false,
            since: Picoseconds(0),
            time: MediumTime::new(number, medium),
        };
        let lanes = media.iter().enumerate().map(lane).collect();
        Self { lanes, flows: Vec::new(), free: Vec::new(), changed: Vec::new(), ends: BinaryHeap::new(), version: 0 }
    }

    /// Puts a message on its way. An empty one has left at once.
    pub(crate) fn send(&mut self, now: Picoseconds, way: &Rc<Way>, bytes: Bytes, what: T) {
        let left = u128::from(bytes.0).saturating_mul(UNITS_PER_BYTE);
        let flow = Flow { what: Some(what), way: Rc::clone(way), left, share: 0, since: now, version: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.flows[index] = flow;
                index
            }
            None => {
                self.flows.push(flow);
                self.flows.len() - 1
            }
        };
        if left == 0 || way.media.is_empty() {
            return self.ends_at(index, now);
        }
        for &medium in &way.media {
            self.join(now, medium, index, bytes);
        }
    }

    fn join(&mut self, now: Picoseconds, medium: usize, flow: usize, bytes: Bytes) {
        let lane = &mut self.lanes[medium];
        if lane.sharers.is_empty() {
            lane.since = now;
        }
        lane.sharers.push(flow);
        lane.time.bytes += bytes;
        lane.time.messages += 1;
        self.touch(medium);
    }

    fn touch(&mut self, medium: usize) {
        if !std::mem::replace(&mut self.lanes[medium].changed, true) {
            self.changed.push(medium);
        }
    }

    fn ends_at(&mut self, flow: usize, time: Picoseconds) {
        self.version += 1;
        self.flows[flow].version = self.version;
        self.ends.push(Reverse((time, self.version, flow)));
    }

    /// Deals shares anew where messages came or went, and says when the next message has left.
    pub(crate) fn next(&mut self, now: Picoseconds) -> Option<Picoseconds> {
        let changed = std::mem::take(&mut self.changed);
        let mut touched: Vec<usize> = Vec::new();
        for &medium in &changed {
            self.lanes[medium].changed = false;
            touched.extend(&self.lanes[medium].sharers);
        }
        if changed.len() > 1 {
            touched.sort_unstable();
            touched.dedup();
        }
        for flow in touched {
            self.deal(now, flow);
        }
        while let Some(&Reverse((time, version, flow))) = self.ends.peek() {
            if self.flows[flow].version == version {
                return Some(time);
            }
            self.ends.pop();
        }
        None
    }

    fn deal(&mut self, now: Picoseconds, index: usize) {
        let share = |&medium: &usize| self.lanes[medium].share();
        let flow = &self.flows[index];
        let share = flow.way.media.iter().map(share).min().unwrap_or(u128::MAX);
        if share == flow.share {
            return;
        }
        let flow = &mut self.flows[index];
        let gone = flow.share.saturating_mul(u128::from((now - flow.since).0));
        (flow.left, flow.share, flow.since) = (flow.left.saturating_sub(gone), share, now);
        let time = flow.left.checked_div(share).map_or(u128::MAX, |_| flow.left.div_ceil(share));
        let time = u64::try_from(time).map_or(Picoseconds::NEVER, Picoseconds);
        self.ends_at(index, now + time);
    }

    /// The messages that leave at this time, which [`Self::next`] has named.
    pub(crate) fn sent(&mut self, now: Picoseconds) -> Vec<Sent<T>> {
        let mut sent = Vec::new();
        while let Some(&Reverse((time, version, flow))) = self.ends.peek() {
            if time > now {
                break;
            }
            self.ends.pop();
            if self.flows[flow].version == version {
                sent.extend(self.end(now, flow));
            }
        }
        sent
    }

    fn end(&mut self, now: Picoseconds, index: usize) -> Option<Sent<T>> {
        let flow = &mut self.flows[index];
        let (what, way) = (flow.what.take()?, Rc::clone(&flow.way));
        flow.version = 0;
        for &medium in &way.media {
            self.leave(now, medium, index);
        }
        self.free.push(index);
        Some(Sent { what, arrives: now + way.latency })
    }

    fn leave(&mut self, now: Picoseconds, medium: usize, flow: usize) {
        let lane = &mut self.lanes[medium];
        let Some(place) = lane.sharers.iter().position(|&other| other == flow) else { return };
        lane.sharers.swap_remove(place);
        if lane.sharers.is_empty() {
            lane.time.busy += now - lane.since;
            match lane.time.periods.last_mut() {
                Some(last) if last.1 == lane.since => last.1 = now,
                _ => lane.time.periods.push((lane.since, now)),
            }
        }
        self.touch(medium);
    }

    /// What every medium has carried.
    pub(crate) fn times(self) -> Vec<MediumTime> {
        self.lanes.into_iter().map(|lane| lane.time).filter(|time| time.messages > 0).collect()
    }
}

impl Lane {
    fn share(&self) -> u128 {
        u128::from(self.medium.rate.0) * PARTS / self.sharers.len().max(1) as u128
    }
}
