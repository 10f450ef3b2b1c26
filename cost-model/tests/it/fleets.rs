//! Shipped fleets load, their figures are the published ones, and broken files get a message with a place.

use crate::plain::plain;
use sailplan_cost_model::{parse_fleet, shipped_fleet, shipped_fleets};
use sailplan_ir::{At, BytesPerSecond, Fleet, Links, SailId};

fn shipped(name: &str) -> Fleet {
    parse_fleet(name, shipped_fleet(name).unwrap()).unwrap().into_inner()
}

/// What the frame model takes from a fleet file.
const FRAME: &[&str] = &[
    "links.coding",
    "links.frame.lanes",
    "links.frame.line_rate",
    "links.frame.width",
    "links.frame.payload",
    "links.frame.header",
    "links.frame.crc",
    "links.frame.training",
    "links.frame.bit_errors",
    "links.frame.replay",
    "links.frame.pipeline",
    "links.frame.wake",
    "links.frame.heat",
];

#[test]
fn all_shipped_fleets_are_sound_and_named_after_their_file() {
    for &(name, text) in shipped_fleets() {
        let fleet = parse_fleet(name, text).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(fleet.name, name);
        let link: &[&str] = if text.contains("frame: (") { FRAME } else { &["links.rate"] };
        for figure in ["links.latency", "host.rate"].iter().chain(link) {
            assert!(fleet.provenance.contains_key(*figure), "{name} says no source for {figure}");
        }
    }
    assert_eq!(shipped_fleets().len(), 26);
}

/// The published order compares rates after line coding, before frames: 2 GB/s : 500 MB/s : 100 MB/s.
#[test]
fn the_three_tiers_of_rev_a_keep_their_order() {
    let fleet = shipped("innerjib7ea-x4-ring");
    let ddr = fleet.kind(SailId(0)).bandwidth;
    let Links::Ring(link) = &fleet.links else { panic!("a ring") };
    let coded = link.frame.unwrap().derive(link.coding).coded;
    assert!(fleet.host.rate < link.payload_rate() && link.payload_rate() < coded && coded < ddr);
    assert!((BytesPerSecond(1_500_000_000)..=BytesPerSecond(2_400_000_000)).contains(&ddr));
    assert!((BytesPerSecond(80_000_000)..=BytesPerSecond(125_000_000)).contains(&fleet.host.rate));
    assert_eq!((ddr.0, coded.0), (4 * coded.0, 5 * fleet.host.rate.0));
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
    ("lanes: 4", "lanes: 0", "links.frame.lanes must be 1 to 1024"),
    ("lanes: 4", "lanes: 2000", "links.frame.lanes must be 1 to 1024"),
    ("lanes: 4", "lanes: -4", "out of bounds"),
    ("width: 32", "width: 0", "links.frame.width is zero"),
    ("line_rate: \"1.25 Gb/s\"", "line_rate: \"0 b/s\"", "links.frame.line_rate is zero"),
    ("line_rate: \"1.25 Gb/s\"", "line_rate: \"1.25 GB/s\"", "expected a number and one of Tb/s"),
    ("payload: \"64 B\"", "payload: \"0 B\"", "links.frame.payload must be"),
    ("header: \"12 B\"", "header: \"12 GiB\"", "links.frame.header is more"),
    ("crc: \"4 B\"", "crc: \"4 GiB\"", "links.frame.crc is more"),
    ("training: \"0.12 %\"", "training: \"100 %\"", "links.frame.training must be less than 1"),
    ("training: \"0.12 %\"", "training: \"a bit\"", "`a bit` is not a share"),
    ("bit_errors: \"1e-12\"", "bit_errors: \"1\"", "links.frame.bit_errors must be less than 1"),
    ("bit_errors: \"1e-12\"", "bit_errors: 1.5", "links.frame.bit_errors must be less than 1"),
    ("bit_errors: \"1e-12\"", "bit_errors: -1e-12", "`-1e-12` is not a share"),
    ("bit_errors: \"1e-12\"", "bit_errors: \"0.9\"", "links.frame leaves less than one byte"),
    ("factor: \"0.5\"", "factor: \"1.5\"", "links.frame.heat.factor must be"),
    ("factor: \"0.5\"", "factor: \"0\"", "links.frame.heat.factor must be"),
    ("junction: 60", "junction: 70000", "out of bounds"),
    ("replay: GoBack", "replay: Hope", "Hope"),
    ("coding: B8B10", "coding: B4B5", "B4B5"),
    ("pipeline: 41", "pipelines: 41", "pipelines"),
    ("frame: (", "rate: \"500 MB/s\", frame: (", "links.frame stands beside a rate"),
    ("rate: \"100 MB/s\"", "rate: \"0 MB/s\"", "host.rate is zero"),
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
    let text = as_edges("(a: 0, b: 9, link: (rate: \"1 GB/s\", latency: \"1 us\"))");
    let problems = parse_fleet("fleet.ron", &text).unwrap_err();
    assert!(problems.to_string().contains("no link can join sail0 and sail9"), "{problems}");
}

/// The ring's link, written as one of a list of links.
fn as_edges(edges: &str) -> String {
    let text = plain("innerjib7ea-x4-ring");
    let from = text.find("links: Ring").unwrap();
    let to = text.find("    host:").unwrap();
    format!("{}links: Edges([{edges}]),\n{}", &text[..from], &text[to..])
}

#[test]
fn a_plain_rate_stays_a_link_and_must_not_be_zero() {
    let text = plain("innerjib7ea-x4-ring");
    assert_eq!(parse_fleet("plain", &text).unwrap().wires()[0].rate, BytesPerSecond(500_000_000));
    for (broken, expected) in [("rate: \"0 B/s\",", "links.rate is zero"), ("", "neither a rate nor a frame")] {
        let problems = parse_fleet("plain", &text.replace("rate: \"500 MB/s\",", broken)).unwrap_err();
        assert!(problems.to_string().contains(expected), "{problems}");
        assert!(matches!(problems.0[0].place.as_ref().unwrap().at, At::Span(_)), "{problems}");
    }
}

#[test]
fn a_bad_link_of_a_list_is_pointed_at() {
    let good = "(a: 0, b: 1, link: (rate: \"1 GB/s\", latency: \"1 us\"))";
    let bad = "(a: 1, b: 2, link: (frame: (lanes: 0, line_rate: \"1 Gb/s\", payload: \"64 B\", header: \"12 B\", crc: \"4 B\"), latency: \"1 us\"))";
    let text = as_edges(&format!("{good}, {bad}, {}", good.replace("a: 0, b: 1", "a: 2, b: 3")));
    let problems = parse_fleet("fleet.ron", &text).unwrap_err();
    assert!(problems.to_string().contains("links.link[1].frame.lanes must be"), "{problems}");
    let at = text.find("lanes: 0").unwrap();
    assert_eq!(problems.0[0].place.as_ref().unwrap().at, At::Span(at..at + 5));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = parse_fleet("fleet.ron", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_edit_makes_the_reader_panic(at in 0usize..1600, length in 0usize..40, with in "[ -~]{0,12}") {
        let text = shipped_fleet("innerjib7ea-x4-ring").unwrap();
        let start = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap();
        let end = (start + length..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
        let _ = parse_fleet("fleet.ron", &format!("{}{with}{}", &text[..start], &text[end.max(start)..]));
    }
}
