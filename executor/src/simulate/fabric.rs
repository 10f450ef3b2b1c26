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
    recording: bool,
}

/// What a medium has carried so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Carried {
    busy: Picoseconds,
    bytes: Bytes,
    messages: u64,
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
    pub(crate) fn new(media: &[Medium], recording: bool) -> Self {
        let lane = |(number, &medium): (usize, &Medium)| Lane {
            medium,
            sharers: Vec::new(),
            changed: false,
            since: Picoseconds(0),
            time: MediumTime::new(number, medium),
        };
        let lanes = media.iter().enumerate().map(lane).collect();
        let (flows, free, changed, ends) = (Vec::new(), Vec::new(), Vec::new(), BinaryHeap::new());
        Self { lanes, flows, free, changed, ends, version: 0, recording }
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
            if self.recording {
                lane.time.record(lane.since, now);
            }
        }
        self.touch(medium);
    }

    /// Counts the busy time up to now, so that what follows is counted from now on.
    pub(crate) fn settle_times(&mut self, now: Picoseconds) {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.sharers.is_empty()) {
            lane.time.busy += now - lane.since;
            lane.since = now;
        }
    }

    /// Messages on their way: what for, what is left, at which share, since when.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (&T, u128, u128, Picoseconds)> {
        self.flows.iter().filter_map(|flow| Some((flow.what.as_ref()?, flow.left, flow.share, flow.since)))
    }

    /// The media whose shares are still to be dealt.
    pub(crate) fn dealing(&self) -> Vec<usize> {
        let mut media = self.changed.clone();
        media.sort_unstable();
        media
    }

    /// What every medium has carried so far.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        let carried = |lane: &Lane| {
            let MediumTime { busy, bytes, messages, .. } = lane.time;
            Carried { busy, bytes, messages }
        };
        self.lanes.iter().map(carried).collect()
    }

    /// Counts `once` for each medium so many times more.
    pub(crate) fn repeat(&mut self, once: &[Carried], times: u64) {
        for (lane, once) in self.lanes.iter_mut().zip(once) {
            lane.time.busy += once.busy * times;
            lane.time.bytes += once.bytes.times(times);
            lane.time.messages += once.messages * times;
        }
    }

    /// What every medium has carried.
    pub(crate) fn times(self) -> Vec<MediumTime> {
        self.lanes.into_iter().map(|lane| lane.time).filter(|time| time.messages > 0).collect()
    }
}

impl Carried {
    pub(crate) fn since(&self, before: &Self) -> Self {
        let Self { busy, bytes, messages } = *before;
        Self { busy: self.busy - busy, bytes: self.bytes - bytes, messages: self.messages - messages }
    }
}

impl Lane {
    fn share(&self) -> u128 {
        u128::from(self.medium.rate.0) * PARTS / self.sharers.len().max(1) as u128
    }
}
