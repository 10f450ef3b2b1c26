//! Shipped fleets load, their figures are the published ones, and broken files get a message with a place.

use sailplan_cost_model::{parse_fleet, shipped_fleet, shipped_fleets};
use sailplan_ir::{At, BytesPerSecond, Fleet, Links, SailId};

fn shipped(name: &str) -> Fleet {
    parse_fleet(name, shipped_fleet(name).unwrap()).unwrap().into_inner()
}

#[test]
fn all_shipped_fleets_are_sound_and_named_after_their_file() {
    for &(name, text) in shipped_fleets() {
        let fleet = parse_fleet(name, text).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(fleet.name, name);
        for figure in ["links.rate", "host.rate"] {
            assert!(fleet.provenance.contains_key(figure), "{name} says no source for {figure}");
        }
    }
    assert_eq!(shipped_fleets().len(), 26);
}

#[test]
fn the_three_tiers_of_rev_a_keep_their_order() {
    let fleet = shipped("innerjib7ea-x4-ring");
    let ddr = fleet.kind(SailId(0)).bandwidth;
    let Links::Ring(link) = &fleet.links else { panic!("a ring") };
    assert!(fleet.host.rate < link.rate && link.rate < ddr);
    assert!((BytesPerSecond(1_500_000_000)..=BytesPerSecond(2_400_000_000)).contains(&ddr));
    assert!((BytesPerSecond(80_000_000)..=BytesPerSecond(125_000_000)).contains(&fleet.host.rate));
    assert_eq!(ddr.0, 4 * link.rate.0);
}

#[test]
fn a_ring_of_two_is_one_link() {
    assert_eq!(shipped("innerjib7ea-x2-ring").wires().len(), 2);
    assert_eq!(shipped("innerjib7ea-x4-ring").wires().len(), 8);
    assert_eq!(shipped("innerjib7ea-x4-mesh").wires().len(), 12);
}

/// Each edit of the four-card ring, and what the message must say.
const BROKEN: &[(&str, &str, &str)] = &[
    ("count: 4", "count: 0", "the fleet has none"),
    ("[(kind: \"innerjib7ea\", count: 4)]", "[]", "the fleet has none"),
    ("count: 4", "count: 70000", "out of bounds"),
    ("count: 4", "count: 60000", "more than the 4096"),
    ("(kind: \"innerjib7ea\"", "(kind: \"innerjib\"", "`innerjib` is not defined"),
    ("bandwidth: \"2 GB/s\"", "bandwidth: \"0 B/s\"", "bandwidth is zero"),
    ("bandwidth: \"2 GB/s\"", "bandwidth: \"2 GBs\"", "`2 GBs` is not a quantity"),
    ("bandwidth: \"2 GB/s\"", "bandwith: \"2 GB/s\"", "bandwith"),
    ("memory: \"4 GiB\"", "memory: \"0 B\"", "memory is zero"),
    ("reserve: \"64 MiB\"", "reserve: \"5 GiB\"", "reserve is larger"),
    ("granularity: 64", "granularity: 0", "granularity must be"),
    ("rate: \"500 MB/s\"", "rate: \"0 B/s\"", "rate is zero"),
    ("rate: \"100 MB/s\"", "rate: \"0 MB/s\"", "host.rate is zero"),
    ("state: Up", "state: Down", "not connected: {sail0} | {sail1} | {sail2} | {sail3}"),
    ("state: Up", "state: Sideways", "Sideways"),
    ("compute: Unknown", "compute: Rates({})", "compute has no rate"),
    ("latency: \"5 us\"", "latency: \"-5 us\"", "not a quantity"),
    ("links: Ring(", "links: Ring[", "Expected"),
    ("Fleet(", "Flet(", "Flet"),
];

#[test]
fn broken_fleets_are_refused_with_a_place() {
    let text = shipped_fleet("innerjib7ea-x4-ring").unwrap();
    for (from, to, expected) in BROKEN {
        assert!(text.contains(from), "{from}");
        let problems = parse_fleet("fleet.ron", &text.replacen(from, to, 1)).expect_err(to);
        let said = problems.to_string();
        assert!(said.contains(expected), "{to}: {said}");
        let place = problems.0[0].place.as_ref().expect("a place");
        assert!(matches!(place.at, At::Span(_)), "{to}: {place:?}");
    }
}

#[test]
fn an_edge_to_a_card_that_is_not_there_is_refused() {
    let text = shipped_fleet("innerjib7ea-x4-ring").unwrap();
    let from = text.find("links: Ring").unwrap();
    let to = text[from..].find('\n').unwrap() + from;
    let edges = "links: Edges([(a: 0, b: 9, link: (rate: \"1 GB/s\", latency: \"1 us\"))]),";
    let problems = parse_fleet("fleet.ron", &format!("{}{edges}{}", &text[..from], &text[to..])).unwrap_err();
    assert!(problems.to_string().contains("no link can join sail0 and sail9"), "{problems}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = parse_fleet("fleet.ron", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_edit_makes_the_reader_panic(at in 0usize..1200, length in 0usize..40, with in "[ -~]{0,12}") {
        let text = shipped_fleet("innerjib7ea-x4-ring").unwrap();
        let start = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap();
        let end = (start + length..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
        let _ = parse_fleet("fleet.ron", &format!("{}{with}{}", &text[..start], &text[end.max(start)..]));
    }
}
