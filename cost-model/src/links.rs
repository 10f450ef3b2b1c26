//! Messages and collectives: a schedule of steps over the physical links. A step takes the largest sum of latencies
//! along a message's path plus the largest (bytes on a medium / its rate), so contention falls out of counting.

use crate::route::Routes;
use sailplan_ir::{Algorithm, Bytes, BytesPerSecond, CollectiveKind, Fleet, Message, Picoseconds, SailId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Prices of messages and collectives on one fleet.
pub struct Collectives {
    routes: Routes,
    profiles: RefCell<BTreeMap<Key, Rc<Profile>>>,
}

/// What a profile depends on.
type Key = (CollectiveKind, Algorithm, Vec<SailId>);

/// Equal steps of a schedule: how often, the fixed time, and for each rate the most chunks that a medium carries.
type Profile = Vec<StepProfile>;

#[derive(PartialEq, Eq)]
struct StepProfile {
    count: u64,
    latency: Picoseconds,
    loads: Vec<(BytesPerSecond, Load)>,
}

/// What one medium carries in a step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Load {
    chunks: u64,
    wholes: u64,
}

impl Collectives {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        Self { routes: Routes::new(fleet), profiles: RefCell::default() }
    }

    /// One message between two cards.
    #[must_use]
    pub fn message(&self, from: SailId, to: SailId, bytes: Bytes) -> Picoseconds {
        let mut latency = Picoseconds(0);
        let mut slowest = Picoseconds(0);
        for wire in self.routes.path(from.index(), to.index()) {
            latency += wire.latency;
            slowest = slowest.max(wire.rate.time(bytes));
        }
        latency + slowest
    }

    /// The cheapest algorithm and its time. `chunk` is the largest part that a rank owns, `whole` the whole buffer, both
    /// on the wire; ties go to the algorithm listed first. A group of one takes no time.
    #[must_use]
    pub fn cheapest(
        &self,
        kind: CollectiveKind,
        group: &[SailId],
        chunk: Bytes,
        whole: Bytes,
    ) -> Option<(Algorithm, Picoseconds)> {
        let timed = kind.algorithms().iter().filter_map(|&algorithm| {
            let time = self.time(kind, algorithm, group, chunk, whole)?;
            Some((algorithm, time))
        });
        timed.min_by_key(|&(_, time)| time)
    }

    /// Time of one algorithm; `None` when it cannot do this kind.
    #[must_use]
    pub fn time(
        &self,
        kind: CollectiveKind,
        algorithm: Algorithm,
        group: &[SailId],
        chunk: Bytes,
        whole: Bytes,
    ) -> Option<Picoseconds> {
        let profile = self.profile(kind, algorithm, group)?;
        Some(profile.iter().map(|step| step.time(chunk, whole) * step.count).sum())
    }

    fn profile(&self, kind: CollectiveKind, algorithm: Algorithm, group: &[SailId]) -> Option<Rc<Profile>> {
        let key = (kind, algorithm, group.to_vec());
        if let Some(known) = self.profiles.borrow().get(&key) {
            return Some(Rc::clone(known));
        }
        let mut profile: Profile = Vec::new();
        for step in kind.schedule(algorithm, group.len())? {
            let made = self.step(group, &step);
            match profile.last_mut() {
                Some(last) if last.latency == made.latency && last.loads == made.loads => last.count += 1,
                _ => profile.push(made),
            }
        }
        let shared = Rc::new(profile);
        self.profiles.borrow_mut().insert(key, Rc::clone(&shared));
        Some(shared)
    }

    fn step(&self, group: &[SailId], messages: &[Message]) -> StepProfile {
        let mut latency = Picoseconds(0);
        let mut media: BTreeMap<usize, (BytesPerSecond, Load)> = BTreeMap::new();
        for message in messages {
            let mut along = Picoseconds(0);
            for wire in self.routes.path(group[message.from].index(), group[message.to].index()) {
                along += wire.latency;
                let load = &mut media.entry(wire.medium).or_insert((wire.rate, Load::default())).1;
                match message.chunk {
                    Some(_) => load.chunks += 1,
                    None => load.wholes += 1,
                }
            }
            latency = latency.max(along);
        }
        let mut loads: Vec<(BytesPerSecond, Load)> = media.into_values().collect();
        loads.sort_unstable();
        loads.dedup();
        StepProfile { count: 1, latency, loads }
    }
}

impl StepProfile {
    fn time(&self, chunk: Bytes, whole: Bytes) -> Picoseconds {
        let on_wire =
            |(rate, load): &(BytesPerSecond, Load)| rate.time(chunk.times(load.chunks) + whole.times(load.wholes));
        self.latency + self.loads.iter().map(on_wire).max().unwrap_or_default()
    }
}
