//! Cards that compute and meet in collectives.

use super::*;
use crate::simulate::engine::{Run, run};
use crate::simulate::exchange::{Collective, Exchanges, Outgoing, Topic, Turn};
use crate::simulate::network::Network;
use crate::simulate::script::{Act, Block, Deed, Script};
use crate::simulate::{Occupation, Progression, SimulationError, Timeline};
use sailplan_ir::{Algorithm, CollectiveKind};
use std::rc::Rc;

/// One element of the tests' buffers is four bytes.
const ELEMENT: u64 = 4;

fn act(what: Occupation, deed: Deed) -> Act {
    Act { name: "act".into(), what, predicted: Picoseconds(0), deed }
}

fn kernel(time: u64) -> Act {
    Act { predicted: micros(time), ..act(Occupation::Kernels, Deed::Spend) }
}

/// Every card of the fleet, each with its own acts.
struct Bench {
    network: Network,
    group: Vec<SailId>,
}

impl Bench {
    fn new(fleet: &Fleet) -> Self {
        Self { network: Network::new(fleet), group: fleet.ids().collect() }
    }

    /// A collective over `whole` bytes, as each card's act.
    fn collective(&self, kind: CollectiveKind, algorithm: Algorithm, whole: Bytes) -> Vec<Act> {
        self.in_parts(kind, algorithm, whole, &[])
    }

    /// With a number of columns for each rank.
    fn in_parts(&self, kind: CollectiveKind, algorithm: Algorithm, whole: Bytes, parts: &[u64]) -> Vec<Act> {
        let places = self.group.iter().map(|&sail| (sail, sail.index())).collect();
        let mut exchanges = Exchanges::new(&self.network, ELEMENT, &places);
        let columns = whole.0 / ELEMENT;
        let collective = Collective {
            kind,
            algorithm,
            op: None,
            group: &self.group,
            parts,
            by_rows: false,
            experts: None,
            rows: 1,
            columns,
        };
        let turns = self.group.iter().map(|&sail| exchanges.turns(collective, sail).unwrap());
        turns.map(|turns| act(Occupation::Links, Deed::Exchange { start_up: micros(1), turns })).collect()
    }

    fn run(&self, acts: Vec<Vec<Act>>, passes: u64, progression: Progression) -> Result<Timeline, SimulationError> {
        let group = self.group.len();
        let script = |(index, acts): (usize, Vec<Act>)| {
            let blocks = vec![Block { first_layer: None, rounds: 1, acts }];
            Script { sail: self.group[index], stage: 0, group, blocks }
        };
        let scripts: Vec<Script> = acts.into_iter().enumerate().map(script).collect();
        run(&scripts, &self.network, Run { passes, progression, recording: true })
    }
}

/// When the last act of each card ended, in microseconds.
fn ends(timeline: &Timeline) -> Vec<u64> {
    let end =
        |card: &crate::CardTime| timeline.spans.iter().filter(|span| span.sail == card.sail).map(|span| span.end).max();
    timeline.cards.iter().map(|card| end(card).unwrap_or_default().0 / 1_000_000).collect()
}

const BOTH: [Progression; 2] = [Progression::Free, Progression::Lockstep];

/// Four cards, 1 MB in quarters of 500 µs: 1 µs to start, then 2 · 3 steps of 5 + 500 µs.
#[test]
fn a_ring_all_reduce_takes_its_steps() {
    let bench = Bench::new(&fleet(4, Links::Ring(link(500)), Attachment::Shared));
    for progression in BOTH {
        let acts = bench.collective(CollectiveKind::AllReduce, Algorithm::Ring, MEGABYTE);
        let timeline = bench.run(acts.into_iter().map(|act| vec![act]).collect(), 1, progression).unwrap();
        assert_eq!(timeline.time, micros(1 + 6 * 505));
        assert_eq!(timeline.media.len(), 4, "one direction of each link");
        assert!(
            timeline
                .media
                .iter()
                .all(|used| (used.messages, used.bytes, used.busy) == (6, Bytes(1_500_000), micros(3000)))
        );
    }
}

/// Direct reduce-scatter on a ring of four: the messages to the opposite card all go one way round, over two links, so
/// a link carries three quarters: 10 + 3 · 500 µs.
#[test]
fn direct_messages_meet_on_the_links_of_a_ring() {
    let bench = Bench::new(&fleet(4, Links::Ring(link(500)), Attachment::Shared));
    let acts = bench.collective(CollectiveKind::ReduceScatter, Algorithm::Direct, MEGABYTE);
    let timeline = bench.run(acts.into_iter().map(|act| vec![act]).collect(), 1, Progression::Free).unwrap();
    assert_eq!(timeline.time, micros(1 + 10 + 1500));
}

/// The same with parts of 400, 200, 200 and 200 kB in an all-gather: the first card's link carries its part twice and the
/// one before it once, 1 MB or 2000 µs. The closed form takes every part for the largest, 3 · 800 µs.
#[test]
fn uneven_parts_carry_what_they_hold() {
    let bench = Bench::new(&fleet(4, Links::Ring(link(500)), Attachment::Shared));
    let parts = [400_000, 200_000, 200_000, 200_000].map(|bytes| bytes / ELEMENT);
    for progression in BOTH {
        let acts = bench.in_parts(CollectiveKind::AllGather, Algorithm::Direct, MEGABYTE, &parts);
        let timeline = bench.run(acts.into_iter().map(|act| vec![act]).collect(), 1, progression).unwrap();
        assert_eq!(timeline.time, micros(1 + 10 + 2000));
    }
}

/// Rank 1 comes 100 µs late. Rank 0 waits for its half, 1 + 100 + 5 + 1000 µs; rank 1 has rank 0's half by then and goes
/// on when its own has left, 5 µs before.
#[test]
fn a_late_rank_holds_up_the_others_and_leaves_first() {
    let bench = Bench::new(&fleet(2, Links::Ring(link(500)), Attachment::Shared));
    let run = |progression| {
        let acts = bench.collective(CollectiveKind::AllGather, Algorithm::Direct, MEGABYTE);
        let acts = acts.into_iter().zip([0, 100]).map(|(gather, late)| vec![kernel(late), gather]).collect();
        bench.run(acts, 1, progression).unwrap()
    };
    assert_eq!(ends(&run(Progression::Free)), [1106, 1101]);
    assert_eq!(ends(&run(Progression::Lockstep)), [1106, 1106]);
}

/// Two kernels before a collective, each slow on another card. The closed form adds the slowest of each, 200 + 200 µs; no
/// card takes longer than 200 + 100.
#[test]
fn slow_kernels_on_different_cards_overlap() {
    let bench = Bench::new(&fleet(2, Links::Ring(link(500)), Attachment::Shared));
    let acts = bench.collective(CollectiveKind::AllGather, Algorithm::Direct, MEGABYTE);
    let times = [[200, 100], [100, 200]];
    let acts = acts.into_iter().zip(times).map(|(gather, [a, b])| vec![kernel(a), kernel(b), gather]).collect();
    assert_eq!(bench.run(acts, 1, Progression::Free).unwrap().time, micros(300 + 1 + 5 + 1000));
}

/// Three steps of a ring with one link of half the rate. In lockstep each takes 5 + 1000 µs. Free, the slow link never
/// waits: 3 · 1000 µs and one latency.
#[test]
fn steps_of_a_ring_with_unequal_links_overlap() {
    let edge = |a: u16, megabytes| Edge { a: SailId(a), b: SailId((a + 1) % 4), link: link(megabytes) };
    let links = Links::Edges(vec![edge(0, 250), edge(1, 500), edge(2, 500), edge(3, 500)]);
    let bench = Bench::new(&fleet(4, links, Attachment::Shared));
    let run = |progression| {
        let acts = bench.collective(CollectiveKind::ReduceScatter, Algorithm::Ring, MEGABYTE);
        bench.run(acts.into_iter().map(|act| vec![act]).collect(), 1, progression).unwrap()
    };
    assert_eq!(ends(&run(Progression::Lockstep)), [3016; 4]);
    assert_eq!(ends(&run(Progression::Free)), [3001, 3006, 2511, 2016]);
}

fn hop(bench: &Bench) -> [Act; 2] {
    let (from, to) = (bench.group[0], bench.group[1]);
    let topic = Topic::Tagged { from, tag: 1 };
    let way = bench.network.between(from, to);
    let sent = Outgoing { from: Some(0), to: Some(1), way, bytes: MEGABYTE };
    let turns = [Turn { topic, sends: vec![sent], gets: 0 }, Turn { topic, sends: Vec::new(), gets: 1 }];
    turns.map(|turn| act(Occupation::Links, Deed::Exchange { start_up: Picoseconds(0), turns: Rc::from([turn]) }))
}

/// Two stages of 10 ms with a hop of 2005 µs, three chunks: the first stage is done with a chunk every 12 ms (it sends for
/// 2 ms), the last chunk leaves it at 36 ms.
#[test]
fn stages_overlap_from_chunk_to_chunk() {
    let bench = Bench::new(&fleet(2, Links::Ring(link(500)), Attachment::Shared));
    let run = |progression| {
        let [send, receive] = hop(&bench);
        bench.run(vec![vec![kernel(10_000), send], vec![receive, kernel(10_000)]], 3, progression).unwrap()
    };
    assert_eq!(run(Progression::Free).time, micros(3 * 12_000 + 5 + 10_000));
}

#[test]
fn a_card_that_waits_for_nobody_is_named() {
    let bench = Bench::new(&fleet(2, Links::Ring(link(500)), Attachment::Shared));
    let [_, receive] = hop(&bench);
    let ended = bench.run(vec![Vec::new(), vec![receive]], 1, Progression::Free);
    assert!(matches!(ended, Err(SimulationError::Stuck { sail: SailId(1), .. })), "{ended:?}");
}
