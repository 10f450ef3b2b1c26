//! What must hold of every shipped fleet, of the three memory tiers of rev-A, and of links that are not up.

use crate::plain::plain;
use sailplan_cost_model::{parse_fleet, shipped_fleet, shipped_fleets};
use sailplan_ir::{BytesPerSecond, Fleet, Link, Links, SailId};

fn all() -> impl Iterator<Item = (&'static str, Fleet)> {
    shipped_fleets().iter().map(|&(name, text)| (name, parse_fleet(name, text).unwrap().into_inner()))
}

fn link(fleet: &Fleet) -> &Link {
    match &fleet.links {
        Links::Mesh(link) | Links::Ring(link) | Links::Line(link) | Links::Star(link) => link,
        Links::Edges(edges) => &edges[0].link,
    }
}

/// The rate after line coding and before frames, which the published order compares.
fn coded(link: &Link) -> BytesPerSecond {
    link.frame.map_or_else(|| link.payload_rate(), |frame| frame.derive(link.coding).coded)
}

#[test]
fn every_figure_is_positive_and_says_where_it_comes_from() {
    for (name, fleet) in all() {
        let kinds = fleet.kinds.keys().flat_map(|kind| {
            ["memory", "reserve", "bandwidth", "compute", "overhead"].map(|field| format!("kinds.{kind}.{field}"))
        });
        let others = ["links.latency", "host.rate", "host.latency"].map(str::to_owned);
        for figure in kinds.chain(others) {
            let source = fleet.provenance.get(&figure).map_or("", String::as_str);
            assert!(source.len() > 3, "{name}: {figure}");
        }
        for kind in fleet.kinds.values() {
            assert!(kind.memory > kind.reserve && kind.bandwidth.0 > 0 && kind.overhead.0 > 0, "{name}");
        }
        assert!(link(&fleet).payload_rate().0 > 0 && link(&fleet).latency.0 > 0, "{name}");
        assert!(fleet.host.rate.0 > 0 && fleet.host.latency.0 > 0, "{name}");
    }
}

/// Host < card link < memory. DDR3-1600 at 12.8 GB/s never was what these boards run: 4 GB/s or more is an error.
#[test]
fn rev_a_keeps_its_three_tiers() {
    let rev_a: Vec<(&str, Fleet)> = all().filter(|(name, _)| name.starts_with("innerjib7ea")).collect();
    assert_eq!(rev_a.len(), 21);
    for (name, fleet) in &rev_a {
        let (host, between) = (fleet.host.rate, coded(link(fleet)));
        assert!((BytesPerSecond(80_000_000)..=BytesPerSecond(125_000_000)).contains(&host), "{name}");
        if matches!(fleet.links, Links::Star(_)) {
            assert_eq!(between, host, "{name}: a star is the host's own network");
        } else {
            assert_eq!(between.0, 5 * host.0, "{name}");
        }
        for ddr in fleet.ids().map(|sail| fleet.kind(sail).bandwidth) {
            assert!(between < ddr && ddr < BytesPerSecond(4_000_000_000), "{name}");
            assert!((BytesPerSecond(1_500_000_000)..=BytesPerSecond(2_400_000_000)).contains(&ddr), "{name}");
            assert!(ddr.0 >= 3 * between.0, "{name}: the band's low end is three times the link");
        }
    }
}

#[test]
fn mixed_fleets_have_both_sizes_and_the_whole_band() {
    for name in ["innerjib7ea-mixed-x4-ring", "innerjib7ea-mixed-x8-ring"] {
        let fleet = parse_fleet(name, shipped_fleet(name).unwrap()).unwrap();
        let rates = || fleet.ids().map(|sail| fleet.kind(sail).bandwidth.0);
        assert_eq!((rates().min(), rates().max()), (Some(1_500_000_000), Some(2_400_000_000)));
        let sizes = || fleet.ids().map(|sail| fleet.kind(sail).memory.0 >> 30);
        assert_eq!((sizes().min(), sizes().max()), (Some(4), Some(8)));
    }
}

/// A ring of 4, link by link, in the states given.
fn edges(states: [&str; 4]) -> String {
    let text = plain("innerjib7ea-x4-ring");
    let edge = |(a, state): (usize, &str)| {
        let b = (a + 1) % 4;
        format!("(a: {a}, b: {b}, link: (rate: \"500 MB/s\", latency: \"5 us\", state: {state}))")
    };
    let list: Vec<String> = states.into_iter().enumerate().map(edge).collect();
    let (before, rest) = text.split_once("links: Ring(").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    format!("{before}links: Edges([{}]),\n{after}", list.join(", "))
}

#[test]
fn links_that_are_not_up_carry_nothing() {
    for state in ["Down", "Training", "Error"] {
        let fleet = parse_fleet("edges", &edges(["Up", "Up", "Up", state])).unwrap();
        assert_eq!(fleet.wires().len(), 6, "{state}");
        let joined = |wire: &sailplan_ir::FleetWire| (wire.from, wire.to) == (3, 0) || (wire.from, wire.to) == (0, 3);
        assert!(!fleet.wires().iter().any(joined), "{state}");
    }
}

/// With one link of the ring training, sail 3 reaches sail 0 the long way round: three hops.
#[test]
fn messages_go_around_a_link_that_trains() {
    let fleet = parse_fleet("edges", &edges(["Up", "Up", "Up", "Training"])).unwrap();
    let request = sailplan_ir::Verify::verify(sailplan_ir::Request::default()).unwrap();
    let links = sailplan_cost_model::CostModel::new(&fleet, &request).links;
    let time = links.message(SailId(3), SailId(0), sailplan_ir::Bytes(8192));
    assert_eq!(time.0, 3 * 5_000_000 + 16_384_000);
}

/// Only links that are up join cards.
#[test]
fn fleets_in_parts_know_their_parts() {
    for (states, parts) in [
        (["Up", "Down", "Up", "Error"], [0, 0, 1, 1]),
        (["Training", "Down", "Up", "Error"], [0, 1, 2, 2]),
        (["Down", "Training", "Error", "Up"], [0, 1, 2, 0]),
    ] {
        assert_eq!(parse_fleet("edges.ron", &edges(states)).unwrap().parts(), parts, "{states:?}");
    }
}
