//! Messages and collectives against worked examples: links of 500 MB/s with 5 µs a message, so 2048 B take 4.096 µs.

use crate::plain::plain;
use proptest::prelude::*;
use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Fleet, Picoseconds, Request, SailId, Verified, Verify};

fn fleet(name: &str) -> Verified<Fleet> {
    parse_fleet(name, &plain(name)).unwrap()
}

fn group(n: u16) -> Vec<SailId> {
    (0..n).map(SailId).collect()
}

fn time(name: &str, kind: CollectiveKind, algorithm: Algorithm, n: u16, bytes: u64) -> Picoseconds {
    let (fleet, request) = (fleet(name), Request::default().verify().unwrap());
    let chunk = Bytes(bytes.div_ceil(u64::from(n)));
    CostModel::new(&fleet, &request).links.time(kind, algorithm, &group(n), chunk, Bytes(bytes)).unwrap()
}

/// Ring, n = 4, 8192 B: 2(n − 1) = 6 steps of 5 µs + 2048 B / 500 MB/s = 9.096 µs.
#[test]
fn ring_all_reduce_is_two_n_minus_one_steps() {
    let expected = Picoseconds(6 * 9_096_000);
    assert_eq!(time("innerjib7ea-x4-ring", CollectiveKind::AllReduce, Algorithm::Ring, 4, 8192), expected);
    assert_eq!(time("innerjib7ea-x4-mesh", CollectiveKind::AllReduce, Algorithm::Ring, 4, 8192), expected);
}

/// Direct on a full mesh: scatter and gather, each 5 µs + 2048 B on every link.
#[test]
fn direct_all_reduce_on_a_mesh_is_two_steps() {
    let expected = Picoseconds(2 * 9_096_000);
    assert_eq!(time("innerjib7ea-x4-mesh", CollectiveKind::AllReduce, Algorithm::Direct, 4, 8192), expected);
}

/// One shot on a full mesh: 5 µs + 8192 B on every link.
#[test]
fn one_shot_all_reduce_on_a_mesh_is_one_step() {
    let expected = Picoseconds(5_000_000 + 16_384_000);
    assert_eq!(time("innerjib7ea-x4-mesh", CollectiveKind::AllReduce, Algorithm::OneShot, 4, 8192), expected);
}

/// One shot on a ring of 4. Each rank sends to both neighbours and, over two links, to the rank opposite: the farthest
/// message takes 2 × 5 µs. The four opposite messages add two wholes to each of some links: the fullest carries its
/// neighbour's message and two in transit, 3 × 8192 B.
#[test]
fn one_shot_on_a_ring_pays_for_the_links_it_shares() {
    let expected = Picoseconds(10_000_000 + 3 * 16_384_000);
    assert_eq!(time("innerjib7ea-x4-ring", CollectiveKind::AllReduce, Algorithm::OneShot, 4, 8192), expected);
}

/// A star of 100 MB/s links with 50 µs a hop. Ring, n = 4, 8192 B: 6 × (2 × 50 µs + 2048 B / 100 MB/s = 20.48 µs).
#[test]
fn a_star_crosses_two_links() {
    let expected = Picoseconds(6 * 120_480_000);
    assert_eq!(time("innerjib7ea-x4-star", CollectiveKind::AllReduce, Algorithm::Ring, 4, 8192), expected);
}

/// Half duplex: both directions of a link share it, so a ring's step is unchanged (one direction is idle), while a
/// direct exchange between two cards takes both messages one after the other.
#[test]
fn half_duplex_shares_the_medium() {
    let text = plain("innerjib7ea-x2-ring").replace("duplex: Full", "duplex: Half");
    let (half, request) = (parse_fleet("half", &text).unwrap(), Request::default().verify().unwrap());
    let costs = CostModel::new(&half, &request);
    let time = costs.links.time(CollectiveKind::AllReduce, Algorithm::OneShot, &group(2), Bytes(4096), Bytes(8192));
    assert_eq!(time, Some(Picoseconds(5_000_000 + 2 * 16_384_000)));
}

/// Sail 0 to sail 2 of a ring of 4 is two hops; bytes are pipelined through, latencies add up.
#[test]
fn a_message_pays_every_hop() {
    let (fleet, request) = (fleet("innerjib7ea-x4-ring"), Request::default().verify().unwrap());
    let links = CostModel::new(&fleet, &request).links;
    assert_eq!(links.message(SailId(0), SailId(2), Bytes(8192)), Picoseconds(10_000_000 + 16_384_000));
    assert_eq!(links.message(SailId(0), SailId(3), Bytes(8192)), Picoseconds(5_000_000 + 16_384_000));
    assert_eq!(links.message(SailId(1), SailId(1), Bytes(8192)), Picoseconds(0));
}

fn with_link(rate: u64, latency: u64) -> Verified<Fleet> {
    let text = plain("innerjib7ea-x8-ring").replace("rate: \"500 MB/s\"", &format!("rate: \"{rate} B/s\""));
    parse_fleet("link", &text.replace("latency: \"5 us\"", &format!("latency: \"{latency} ns\""))).unwrap()
}

fn cheapest(fleet: &Verified<Fleet>, kind: CollectiveKind, n: u16, bytes: u64) -> Picoseconds {
    let request = Request::default().verify().unwrap();
    let chunk = Bytes(bytes.div_ceil(u64::from(n)));
    CostModel::new(fleet, &request).links.cheapest(kind, &group(n), chunk, Bytes(bytes)).unwrap().1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn more_bytes_a_slower_link_or_a_longer_latency_never_cost_less(
        kind in prop::sample::select(vec![CollectiveKind::AllReduce, CollectiveKind::AllGather, CollectiveKind::ReduceScatter, CollectiveKind::Broadcast]),
        n in 2u16..=8, bytes in 1u64..10_000_000, more in 0u64..1_000_000,
        rate in 1_000u64..10_000_000_000, slower in 0u64..999, latency in 0u64..1_000_000, longer in 0u64..1_000_000,
    ) {
        let base = cheapest(&with_link(rate, latency), kind, n, bytes);
        prop_assert!(cheapest(&with_link(rate, latency), kind, n, bytes + more) >= base);
        prop_assert!(cheapest(&with_link(rate - slower, latency), kind, n, bytes) >= base);
        prop_assert!(cheapest(&with_link(rate, latency + longer), kind, n, bytes) >= base);
    }
}
