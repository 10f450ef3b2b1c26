//! Collectives against the literature's closed forms, what contention adds, and what may never make one cheaper.

use crate::plain::plain;
use proptest::prelude::*;
use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{
    Algorithm, Bytes, BytesPerSecond, CollectiveKind, Edge, Fleet, Link, Links, Pattern, Picoseconds, Request, SailId,
    Verified, Verify,
};

const ALPHA: u64 = 5_000_000;
const RATE: BytesPerSecond = BytesPerSecond(500_000_000);

/// Cards with links of 500 MB/s and 5 µs.
fn fleet(shape: &str, count: u16) -> Verified<Fleet> {
    let text = plain("innerjib7ea-x4-mesh");
    let text = text.replace("links: Mesh(", &format!("links: {shape}("));
    parse_fleet(shape, &text.replace("count: 4", &format!("count: {count}"))).unwrap()
}

fn time(fleet: &Verified<Fleet>, pattern: impl Into<Pattern>, algorithm: Algorithm, bytes: u64) -> Picoseconds {
    let request = Request::default().verify().unwrap();
    let n = fleet.size() as u64;
    let group: Vec<SailId> = fleet.ids().collect();
    let links = CostModel::new(fleet, &request).links;
    links.time(pattern, algorithm, &group, Bytes(bytes.div_ceil(n)), Bytes(bytes)).unwrap()
}

/// α · steps + β · bytes.
fn alpha_beta(steps: u64, bytes: u64) -> Picoseconds {
    Picoseconds(ALPHA * steps) + RATE.time(Bytes(bytes))
}

/// Patarasuk & Yuan 2009: 2(n−1)(α + B/(nβ)), and half of it for each half.
#[test]
fn ring() {
    for n in [2u64, 3, 5, 8, 13, 16] {
        let (mesh, bytes) = (fleet("Mesh", n as u16), n * 4096);
        let half = alpha_beta(1, 4096) * (n - 1);
        assert_eq!(time(&mesh, CollectiveKind::AllReduce, Algorithm::Ring, bytes), half * 2);
        assert_eq!(time(&mesh, CollectiveKind::ReduceScatter, Algorithm::Ring, bytes), half);
        assert_eq!(time(&mesh, CollectiveKind::AllGather, Algorithm::Ring, bytes), half);
        assert_eq!(time(&mesh, CollectiveKind::Broadcast, Algorithm::Ring, bytes), alpha_beta(1, bytes) * (n - 1));
    }
}

/// Thakur, Rabenseifner & Gropp 2005: all-reduce log₂(n)(α + B/β), all-gather log₂(n)α + (n−1)/n B/β.
#[test]
fn recursive_doubling() {
    for log in 1..=5u64 {
        let (n, bytes) = (1 << log, 4096 << log);
        let mesh = fleet("Mesh", n);
        let (reduce, gather) = (CollectiveKind::AllReduce, CollectiveKind::AllGather);
        assert_eq!(time(&mesh, reduce, Algorithm::RecursiveDoubling, bytes), alpha_beta(1, bytes) * log);
        let gathered = alpha_beta(log, (u64::from(n) - 1) * 4096);
        assert_eq!(time(&mesh, gather, Algorithm::RecursiveDoubling, bytes), gathered);
    }
}

/// Rabenseifner's all-reduce: 2 log₂(n) α + 2 (n−1)/n B/β; each half is half. Broadcast as scatter and all-gather is the
/// same as all-reduce.
#[test]
fn halving_doubling() {
    for log in 1..=5u64 {
        let (n, bytes) = (1 << log, 4096 << log);
        let mesh = fleet("Mesh", n);
        let half = alpha_beta(log, (u64::from(n) - 1) * 4096);
        assert_eq!(time(&mesh, CollectiveKind::AllReduce, Algorithm::HalvingDoubling, bytes), half * 2);
        assert_eq!(time(&mesh, CollectiveKind::Broadcast, Algorithm::HalvingDoubling, bytes), half * 2);
        assert_eq!(time(&mesh, CollectiveKind::ReduceScatter, Algorithm::HalvingDoubling, bytes), half);
    }
}

/// Ranks beyond a power of two pay one message with the whole buffer before and one after: n = 6 is n = 4 and two more.
#[test]
fn other_sizes_fold() {
    let (four, six) = (fleet("Mesh", 4), fleet("Mesh", 6));
    let doubling = |fleet| time(fleet, CollectiveKind::AllReduce, Algorithm::RecursiveDoubling, 12_288);
    assert_eq!(doubling(&six), doubling(&four) + alpha_beta(1, 12_288) * 2);
}

/// Binomial tree: ⌈log₂ n⌉(α + B/β), twice for all-reduce.
#[test]
fn tree() {
    for (n, height) in [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4)] {
        let mesh = fleet("Mesh", n);
        let up = alpha_beta(1, 8192) * height;
        assert_eq!(time(&mesh, CollectiveKind::Broadcast, Algorithm::Tree, 8192), up);
        assert_eq!(time(&mesh, CollectiveKind::AllReduce, Algorithm::Tree, 8192), up * 2);
    }
}

/// All-to-all of blocks of B bytes on a mesh: direct α + B/β; Bruck log₂(n)(α + n/2 B/β); passed around a ring,
/// n(n−1)/2 blocks over every link in n−1 steps. Point to point is one message.
#[test]
fn all_to_all_and_point_to_point() {
    let (mesh, request) = (fleet("Mesh", 8), Request::default().verify().unwrap());
    let links = CostModel::new(&mesh, &request).links;
    let group: Vec<SailId> = mesh.ids().collect();
    let time = |pattern, algorithm| links.time(pattern, algorithm, &group, Bytes(4096), Bytes(8 * 4096)).unwrap();
    assert_eq!(time(Pattern::AllToAll, Algorithm::Direct), alpha_beta(1, 4096));
    assert_eq!(time(Pattern::AllToAll, Algorithm::RecursiveDoubling), alpha_beta(3, 3 * 4 * 4096));
    assert_eq!(time(Pattern::AllToAll, Algorithm::Ring), alpha_beta(7, 28 * 4096));
    assert_eq!(time(Pattern::PointToPoint, Algorithm::Direct), alpha_beta(1, 8 * 4096));
    assert_eq!(links.cheapest(Pattern::PointToPoint, &group[..1], Bytes(1), Bytes(1)).unwrap().1, Picoseconds(0));
}

/// The ring algorithm loads every link of a ring once a step, so it costs there what it costs on a mesh.
#[test]
fn a_ring_on_a_ring_has_no_contention_and_direct_has() {
    for n in [4, 5, 8, 16] {
        let (ring, mesh) = (fleet("Ring", n), fleet("Mesh", n));
        for kind in CollectiveKind::ALL {
            assert_eq!(
                time(&ring, kind, Algorithm::Ring, 65_536),
                time(&mesh, kind, Algorithm::Ring, 65_536),
                "{kind}"
            );
            assert!(
                time(&ring, kind, Algorithm::Direct, 65_536) > time(&mesh, kind, Algorithm::Direct, 65_536),
                "{kind}"
            );
        }
    }
}

/// Two steps of two hops; the opposite rank's chunks share links with the neighbours': three on the fullest.
#[test]
fn direct_on_a_ring_of_four_takes_what_the_case_study_says() {
    let ring = fleet("Ring", 4);
    assert_eq!(time(&ring, CollectiveKind::AllReduce, Algorithm::Direct, 8192), alpha_beta(2, 3 * 2048) * 2);
}

/// On a star of 4, each card's link carries the three messages it sends: 2 hops, 3 × 8192 B.
#[test]
fn one_shot_on_a_star_shares_the_card_s_own_link() {
    let star = fleet("Star", 4);
    assert_eq!(time(&star, CollectiveKind::AllReduce, Algorithm::OneShot, 8192), alpha_beta(2, 3 * 8192));
}

/// Pairs that exchange pay twice on a half-duplex link; a ring of three or more uses each link in one direction.
#[test]
fn half_duplex_doubles_exchanges_only() {
    let text = plain("innerjib7ea-x4-mesh");
    let half = parse_fleet("half", &text.replace("duplex: Full", "duplex: Half")).unwrap();
    let (full, kind) = (fleet("Mesh", 4), CollectiveKind::AllReduce);
    assert_eq!(time(&half, kind, Algorithm::Ring, 8192), time(&full, kind, Algorithm::Ring, 8192));
    assert_eq!(time(&half, kind, Algorithm::Tree, 8192), time(&full, kind, Algorithm::Tree, 8192));
    assert_eq!(time(&half, kind, Algorithm::RecursiveDoubling, 8192), alpha_beta(1, 2 * 8192) * 2);
}

/// 4 × 8192 B up and down at 100 MB/s, 100 µs each way.
#[test]
fn through_the_host_every_byte_crosses_the_shared_link() {
    let (ring, request) = (fleet("Ring", 4), Request::default().verify().unwrap());
    let costs = CostModel::new(&ring, &request);
    assert_eq!(costs.through_host(4, Bytes(8192)), Picoseconds(2 * (100_000_000 + 327_680_000)));
    assert_eq!(costs.through_host(1, Bytes(8192)), Picoseconds(0));
}

fn with_link(shape: &str, n: u16, rate: u64, latency: u64) -> Verified<Fleet> {
    let text = plain("innerjib7ea-x8-ring").replace("links: Ring(", &format!("links: {shape}("));
    let text = text.replace("count: 8", &format!("count: {n}")).replace("\"500 MB/s\"", &format!("\"{rate} B/s\""));
    parse_fleet("link", &text.replace("\"5 us\"", &format!("\"{latency} ns\""))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_algorithm_gets_cheaper_with_bytes_slowness_or_latency(
        shape in prop::sample::select(vec!["Ring", "Mesh", "Star", "Line"]), n in 2u16..=9,
        bytes in 1u64..10_000_000, more in 0u64..1_000_000, rate in 1_000u64..10_000_000_000, slower in 0u64..999,
        latency in 0u64..1_000_000, longer in 0u64..1_000_000,
    ) {
        let now = with_link(shape, n, rate, latency);
        let (slow, late) = (with_link(shape, n, rate - slower, latency), with_link(shape, n, rate, latency + longer));
        for pattern in Pattern::ALL {
            for &algorithm in pattern.algorithms() {
                let base = time(&now, pattern, algorithm, bytes);
                prop_assert!(time(&now, pattern, algorithm, bytes + more) >= base, "{pattern} {algorithm}");
                prop_assert!(time(&slow, pattern, algorithm, bytes) >= base, "{pattern} {algorithm}");
                prop_assert!(time(&late, pattern, algorithm, bytes) >= base, "{pattern} {algorithm}");
            }
        }
    }
}

/// All places for a group of one size are priced as one. Spelled out link by link, every place is priced by itself.
#[test]
fn a_group_costs_the_same_wherever_it_stands() {
    for (shape, n) in [("Ring", 6u16), ("Ring", 7), ("Line", 6), ("Mesh", 5)] {
        let named = fleet(shape, n);
        let mut spelled = (*named).clone();
        let edge = |(a, b, link): (usize, usize, &Link)| {
            let (a, b) = (SailId(a as u16), SailId(b as u16));
            Edge { a, b, link: link.clone() }
        };
        spelled.links = Links::Edges(named.edges().into_iter().map(edge).collect());
        let spelled = spelled.verify().unwrap();
        let request = Request::default().verify().unwrap();
        let (named, spelled) = (CostModel::new(&named, &request), CostModel::new(&spelled, &request));
        for start in 0..n {
            for end in start + 2..=n {
                let group: Vec<SailId> = (start..end).map(SailId).collect();
                for pattern in Pattern::ALL {
                    for &algorithm in pattern.algorithms() {
                        let time = |costs: &CostModel<'_>| {
                            costs.links.time(pattern, algorithm, &group, Bytes(3000), Bytes(8192))
                        };
                        assert_eq!(time(&named), time(&spelled), "{shape} {group:?} {pattern} {algorithm}");
                    }
                }
            }
        }
    }
}
