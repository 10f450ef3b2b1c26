//! Messages and collectives: a schedule of steps over the physical links. A step takes the largest sum of latencies
//! along a message's path plus the largest (bytes on a medium / its rate), so contention falls out of counting.

use sailplan_ir::{
    Algorithm, Bytes, BytesPerSecond, Fleet, FleetWire, Links, Message, Pattern, Picoseconds, Round, Routes, SailId,
    Traffic,
};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Prices of messages and collectives on one fleet.
pub struct Collectives {
    routes: Routes,
    /// Whether all links are alike and so are all places for a group of one size.
    alike: bool,
    profiles: RefCell<BTreeMap<Group, Rc<Profiles>>>,
    meter: RefCell<Meter>,
}

/// A group, as far as its profiles depend on it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// So many neighbours, wherever they are: every link is alike, and a mesh, a star, a line and a ring look the same
    /// from all of them (equal paths around a ring go in the direction of its links).
    Neighbours(usize),
    Cards(Vec<SailId>),
}

/// What is known of one group.
#[derive(Default)]
struct Profiles {
    known: RefCell<Known>,
    /// The step in which every rank sends one chunk to every other, the longest of all and part of most direct schedules.
    exchange: OnceCell<StepProfile>,
}

/// Profiles by algorithm; `None` for one that cannot do it.
type Known = BTreeMap<(Pattern, Algorithm), Option<Rc<Profile>>>;

/// Equal steps of a schedule: how often, the fixed time, and for each rate the most chunks that a medium carries.
type Profile = Vec<StepProfile>;

struct StepProfile {
    count: u64,
    latency: Picoseconds,
    loads: Vec<(BytesPerSecond, Load)>,
}

/// What one medium carries in a step.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Load {
    chunks: u64,
    wholes: u64,
}

impl Collectives {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let routes = Routes::new(fleet);
        let meter = Meter { carried: vec![Load::default(); routes.wires().len()], touched: Vec::new() };
        let alike = !matches!(fleet.links, Links::Edges(_));
        Self { routes, alike, profiles: RefCell::default(), meter: RefCell::new(meter) }
    }

    fn profiles(&self, group: &[SailId]) -> Rc<Profiles> {
        let neighbours = self.alike && group.windows(2).all(|pair| pair[1].index() == pair[0].index() + 1);
        let key = if neighbours { Group::Neighbours(group.len()) } else { Group::Cards(group.to_vec()) };
        Rc::clone(self.profiles.borrow_mut().entry(key).or_default())
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

    /// Upper bound of the numbers of media.
    pub(crate) fn media(&self) -> usize {
        self.routes.wires().len()
    }

    /// When a message that may begin at `start` and takes `time` is there: it waits until every medium on its way is free
    /// and keeps them all for so long. `busy` says until when each medium is used.
    pub(crate) fn carried(
        &self,
        busy: &mut [Picoseconds],
        (from, to): (SailId, SailId),
        start: Picoseconds,
        time: Picoseconds,
    ) -> Picoseconds {
        let path = || self.routes.path(from.index(), to.index()).map(|wire| wire.medium);
        let free = path().map(|medium| busy[medium]).max().unwrap_or_default();
        let end = start.max(free) + time;
        path().for_each(|medium| busy[medium] = end);
        end
    }

    /// The cheapest algorithm and its time. `chunk` is the largest part that a rank owns (for all-to-all the largest
    /// block), `whole` the whole buffer, both on the wire; ties go to the algorithm listed first. A group of one takes no
    /// time.
    #[must_use]
    pub fn cheapest(
        &self,
        pattern: impl Into<Pattern>,
        group: &[SailId],
        chunk: Bytes,
        whole: Bytes,
    ) -> Option<(Algorithm, Picoseconds)> {
        let pattern = pattern.into();
        let profiles = self.profiles(group);
        let timed = pattern.algorithms().iter().filter_map(|&algorithm| {
            let profile = self.profile(&profiles, pattern, algorithm, group)?;
            Some((algorithm, time(&profile, chunk, whole)))
        });
        timed.min_by_key(|&(_, time)| time)
    }

    /// Time of one algorithm; `None` when it cannot do this.
    #[must_use]
    pub fn time(
        &self,
        pattern: impl Into<Pattern>,
        algorithm: Algorithm,
        group: &[SailId],
        chunk: Bytes,
        whole: Bytes,
    ) -> Option<Picoseconds> {
        let profile = self.profile(&self.profiles(group), pattern.into(), algorithm, group)?;
        Some(time(&profile, chunk, whole))
    }

    fn profile(
        &self,
        profiles: &Profiles,
        pattern: Pattern,
        algorithm: Algorithm,
        group: &[SailId],
    ) -> Option<Rc<Profile>> {
        let key = (pattern, algorithm);
        if let Some(known) = profiles.known.borrow().get(&key) {
            return known.clone();
        }
        let steps = |round: Round| self.steps(profiles, group, round, pattern.chunks(group.len()));
        let rounds = pattern.rounds(algorithm, group.len());
        let made = rounds.map(|rounds| Rc::new(merged(rounds.into_iter().map(steps))));
        profiles.known.borrow_mut().insert(key, made.clone());
        made
    }

    /// Equal steps of a schedule whose buffer is cut into `chunks`.
    fn steps(&self, profiles: &Profiles, group: &[SailId], round: Round, chunks: usize) -> StepProfile {
        let one = match round.traffic {
            Traffic::Messages(messages) => self.meter.borrow_mut().step(&self.routes, group, &messages, chunks),
            Traffic::Exchange(each) => {
                let one = profiles.exchange.get_or_init(|| self.meter.borrow_mut().exchange(&self.routes, group));
                let sent = Load::of(each, chunks);
                let scaled = |&(rate, load): &(BytesPerSecond, Load)| (rate, sent.times(load.chunks));
                StepProfile { count: 1, latency: one.latency, loads: one.loads.iter().map(scaled).collect() }
            }
        };
        StepProfile { count: round.steps, ..one }
    }
}

/// Neighbouring steps that take as long as each other, whatever is sent, as one.
fn merged(steps: impl Iterator<Item = StepProfile>) -> Profile {
    let mut profile = Profile::new();
    for step in steps {
        match profile.last_mut() {
            Some(last) if (last.latency, &last.loads) == (step.latency, &step.loads) => last.count += step.count,
            _ => profile.push(step),
        }
    }
    profile
}

fn time(profile: &Profile, chunk: Bytes, whole: Bytes) -> Picoseconds {
    profile.iter().map(|step| step.time(chunk, whole) * step.count).sum()
}

/// With more messages than this for each vertex, those to one card are counted together.
const MANY: usize = 4;

/// Counts what a step puts on every medium; used again for the next step.
struct Meter {
    carried: Vec<Load>,
    touched: Vec<(usize, BytesPerSecond)>,
}

impl Meter {
    /// A step of messages of a buffer that is cut into `chunks`.
    fn step(&mut self, routes: &Routes, group: &[SailId], messages: &[Message], chunks: usize) -> StepProfile {
        let latency = if messages.len() > MANY * routes.vertices() {
            self.together(routes, group, messages, chunks)
        } else {
            let walk = |message: &Message| {
                let wires = routes.path(group[message.from].index(), group[message.to].index());
                let load = Load::of(message.chunks.count(), chunks);
                wires.map(|wire| self.carry(wire, load)).sum()
            };
            messages.iter().map(walk).max().unwrap_or_default()
        };
        StepProfile { count: 1, latency, loads: self.fullest() }
    }

    /// Many messages, those to one card together.
    fn together(&mut self, routes: &Routes, group: &[SailId], messages: &[Message], chunks: usize) -> Picoseconds {
        let mut to_each: Vec<Vec<(usize, Load)>> = vec![Vec::new(); group.len()];
        for message in messages {
            to_each[message.to].push((group[message.from].index(), Load::of(message.chunks.count(), chunks)));
        }
        let to_each = group.iter().zip(to_each).filter(|(_, senders)| !senders.is_empty());
        to_each.map(|(to, senders)| self.gather(routes, to.index(), &senders)).max().unwrap_or_default()
    }

    /// One chunk from every rank to every other.
    fn exchange(&mut self, routes: &Routes, group: &[SailId]) -> StepProfile {
        let one = Load { chunks: 1, wholes: 0 };
        let mut latency = Picoseconds(0);
        for to in group {
            let others = group.iter().filter(|from| *from != to);
            let senders: Vec<(usize, Load)> = others.map(|from| (from.index(), one)).collect();
            latency = latency.max(self.gather(routes, to.index(), &senders));
        }
        StepProfile { count: 1, latency, loads: self.fullest() }
    }

    /// Messages from several cards to one flow together down the tree of its paths, so that each wire is visited once; what
    /// the latest of them takes to cross its wires.
    fn gather(&mut self, routes: &Routes, to: usize, senders: &[(usize, Load)]) -> Picoseconds {
        let mut flows = vec![Load::default(); routes.vertices()];
        senders.iter().for_each(|&(from, load)| flows[from].add(load));
        for (at, wire) in routes.towards(to).rev() {
            let flow = std::mem::take(&mut flows[at]);
            if flow != Load::default() {
                self.carry(wire, flow);
                flows[wire.to].add(flow);
            }
        }
        let mut along = vec![Picoseconds(0); routes.vertices()];
        routes.towards(to).for_each(|(at, wire)| along[at] = along[wire.to] + wire.latency);
        senders.iter().map(|&(from, _)| along[from]).max().unwrap_or_default()
    }

    /// Puts a load on a wire's medium; what it takes to cross.
    fn carry(&mut self, wire: &FleetWire, sent: Load) -> Picoseconds {
        let carried = &mut self.carried[wire.medium];
        if *carried == Load::default() {
            self.touched.push((wire.medium, wire.rate));
        }
        carried.add(sent);
        wire.latency
    }

    /// For each rate the loads that can take the longest: those that no other covers.
    fn fullest(&mut self) -> Vec<(BytesPerSecond, Load)> {
        let mut kept: Vec<(BytesPerSecond, Load)> = Vec::new();
        for (medium, rate) in self.touched.drain(..) {
            let load = std::mem::take(&mut self.carried[medium]);
            if !kept.iter().any(|&(other, most)| other == rate && most.covers(load)) {
                kept.retain(|&(other, least)| other != rate || !load.covers(least));
                kept.push((rate, load));
            }
        }
        kept
    }
}

impl Load {
    /// A message with all the chunks is the whole buffer, which near-equal chunks together are larger than.
    fn of(count: usize, chunks: usize) -> Self {
        match count {
            count if count == chunks => Self { chunks: 0, wholes: 1 },
            count => Self { chunks: count as u64, wholes: 0 },
        }
    }

    fn add(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.wholes += other.wholes;
    }

    fn times(self, count: u64) -> Self {
        Self { chunks: self.chunks * count, wholes: self.wholes * count }
    }

    fn covers(self, other: Self) -> bool {
        self.chunks >= other.chunks && self.wholes >= other.wholes
    }
}

impl StepProfile {
    fn time(&self, chunk: Bytes, whole: Bytes) -> Picoseconds {
        let on_wire =
            |(rate, load): &(BytesPerSecond, Load)| rate.time(chunk.times(load.chunks) + whole.times(load.wholes));
        self.latency + self.loads.iter().map(on_wire).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages to one card counted together, against each message along its own path.
    #[test]
    fn trees_carry_what_paths_carry() {
        for name in ["innerjib7ea-x16-ring", "innerjib7ea-x16-star", "innerjib7ea-x8-mesh", "home-cluster-x5"] {
            let text = crate::shipped_fleet(name).expect("it is shipped");
            let fleet = crate::parse_fleet(name, text).expect("it is sound");
            let collectives = Collectives::new(&fleet);
            let routes = &collectives.routes;
            for group in [fleet.ids().collect::<Vec<_>>(), fleet.ids().skip(1).step_by(2).collect()] {
                for pattern in [Pattern::AllToAll, Pattern::from(sailplan_ir::CollectiveKind::AllReduce)] {
                    for &algorithm in pattern.algorithms() {
                        for step in pattern.schedule(algorithm, group.len()).into_iter().flatten() {
                            let chunks = pattern.chunks(group.len());
                            let walked = collectives.meter.borrow_mut().step(routes, &group, &step, chunks);
                            let mut meter = collectives.meter.borrow_mut();
                            let latency = meter.together(routes, &group, &step, chunks);
                            let sorted = |mut loads: Vec<(BytesPerSecond, Load)>| {
                                loads.sort_by_key(|(rate, load)| (rate.0, load.chunks, load.wholes));
                                loads
                            };
                            assert_eq!(latency, walked.latency, "{name}: {algorithm}");
                            assert!(sorted(meter.fullest()) == sorted(walked.loads), "{name}: {algorithm}");
                        }
                    }
                }
            }
        }
    }
}
