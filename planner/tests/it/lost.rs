//! Fleets with lost cards: plans are those of a fleet that never had them, under the names that cards keep.

use crate::pins::{pin, placed};
use crate::random::{fleet, model, request};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{
    Demand, Edge, Fleet, Links, Model, Objective, Part, Placement, Request, Routes, SailId, SailRun, Verified, Verify,
};
use sailplan_planner::{Config, PlaceError, baselines, exchanged, place, refuse, symmetry};

fn shipped(name: &str, change: impl Fn(&mut Fleet)) -> Verified<Fleet> {
    let mut fleet = parse_fleet(name, shipped_fleet(name).unwrap()).unwrap().into_inner();
    change(&mut fleet);
    fleet.verify().unwrap()
}

fn without(fleet: &Fleet, lost: &[u16]) -> Verified<Fleet> {
    let lost = lost.iter().map(|&sail| SailId(sail)).collect();
    Fleet { lost, ..fleet.clone() }.verify().unwrap()
}

fn small() -> (Verified<Model>, Verified<Request>) {
    (sailplan_models::load_zoo("tinyllama-1.1b").unwrap().model, Request::default().verify().unwrap())
}

fn cards(placement: &Placement) -> Vec<SailId> {
    placement.stages.iter().flat_map(|stage| stage.sails.iter().copied()).collect()
}

/// A fleet of three that someone wrote down as such: a mesh and a star of three, a ring's rest as a line.
#[test]
fn the_rest_is_planned_as_a_fleet_of_its_own() {
    let (model, request) = small();
    for shape in ["ring", "mesh", "star"] {
        let whole = shipped(&format!("innerjib7ea-x4-{shape}"), |_| ());
        let by_hand = shipped(&format!("innerjib7ea-x4-{shape}"), |fleet| {
            fleet.sails = vec![SailRun { kind: "innerjib7ea".to_owned(), count: 3 }];
            if let Links::Ring(link) = &fleet.links {
                fleet.links = Links::Line(link.clone());
            }
        });
        let fresh = placed(&model, &by_hand, &request, &[]).unwrap();
        for lost in 0..4 {
            let fleet = without(&whole, &[lost]);
            let found = placed(&model, &fleet, &request, &[]).unwrap();
            let about = format!("{shape} without sail{lost}");
            assert_eq!(found.estimate.objective, fresh.estimate.objective, "{about}");
            assert_eq!(found.estimate.lower_bound, fresh.estimate.lower_bound, "{about}");
            assert_eq!(cards(&found).len(), 3, "{about}");
            assert!(!cards(&found).contains(&SailId(lost)) && found.unused.is_empty(), "{about}");
            let routes = Routes::new(&fleet);
            for (from, to) in cards(&found).iter().flat_map(|a| cards(&found).into_iter().map(move |b| (*a, b))) {
                let mut way = routes.path(from.index(), to.index());
                assert!(way.all(|wire| wire.to != usize::from(lost) && wire.from != usize::from(lost)), "{about}");
            }
        }
    }
}

/// A line that lost a card in the middle is in two parts, and the plan is on the better one.
#[test]
fn a_broken_line_leaves_its_longer_part() {
    let (model, request) = small();
    let line = shipped("innerjib7ea-x4-ring", |fleet| {
        if let Links::Ring(link) = &fleet.links {
            fleet.links = Links::Line(link.clone());
        }
    });
    let found = placed(&model, &without(&line, &[1]), &request, &[]).unwrap();
    assert_eq!(cards(&found), [SailId(2), SailId(3)]);
    assert_eq!(found.unused, [SailId(0)]);
    let pair = shipped("innerjib7ea-x2-ring", |_| ());
    assert_eq!(found.estimate.objective, placed(&model, &pair, &request, &[]).unwrap().estimate.objective);
}

/// Unlike cards under pins that name them: renumbering the rest by hand gives the same.
#[test]
fn pins_name_cards_as_they_were() {
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Request));
    let whole = fleet(&[(12, 500), (4096, 8000), (4096, 2000), (6, 8000)], "Mesh", 400, 20);
    let lost = without(&whole, &[1]);
    let rest = fleet(&[(12, 500), (4096, 2000), (6, 8000)], "Mesh", 400, 20);
    let layers = |sail: u16| Demand::Layers { layers: Part::Layers(0..2), on: vec![SailId(sail)] };
    let group = |a: u16, b: u16| Demand::Group { layers: Part::All, sails: vec![SailId(a), SailId(b)] };
    for (ours, theirs) in [
        (vec![], vec![]),
        (vec![layers(2)], vec![layers(1)]),
        (vec![group(0, 2)], vec![group(0, 1)]),
        (vec![Demand::Never(SailId(2)), Demand::Never(SailId(1))], vec![Demand::Never(SailId(1))]),
    ] {
        let pins = |demands: &[Demand]| demands.iter().cloned().map(pin).collect::<Vec<_>>();
        let found = placed(&model, &lost, &request, &pins(&ours)).map(|found| found.estimate.objective);
        let fresh = placed(&model, &rest, &request, &pins(&theirs)).map(|found| found.estimate.objective);
        assert_eq!(found.ok(), fresh.ok(), "{ours:?}");
    }
}

/// A pin that asks for a lost card is in no plan, and the refusal says so and what leaving it out gives.
#[test]
fn pins_on_lost_cards_are_refused() {
    let (model, request) = (model(3, 2, "Q4_0"), request(Objective::Request));
    let lost = without(&fleet(&[(4096, 8000); 3], "Ring", 400, 20), &[1]);
    let costs = CostModel::new(&lost, &request);
    for demand in [
        Demand::Layers { layers: Part::All, on: vec![SailId(1)] },
        Demand::Group { layers: Part::All, sails: vec![SailId(0), SailId(1)] },
    ] {
        let pins = [pin(demand.clone())];
        let config = Config { pins: &pins, ..Config::default() };
        assert!(matches!(place(&model, &costs, config), Err(PlaceError::NoPlan(_))), "{demand}");
        let refusal = refuse(&model, &costs, config).unwrap();
        assert_eq!(refusal.demands.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), [demand.to_string()]);
        assert_eq!(refusal.relaxations.len(), 1, "{refusal:?}");
    }
    let unknown = [pin(Demand::Never(SailId(3)))];
    let found = place(&model, &costs, Config { pins: &unknown, ..Config::default() });
    assert!(matches!(found, Err(PlaceError::Pins(_))), "{found:?}");
}

/// Two lost cards leave a ring in parts; a refusal names the parts without the lost cards.
#[test]
fn a_refusal_speaks_of_cards_in_service() {
    let (_, request) = small();
    let model = sailplan_models::load_zoo("llama-2-7b").unwrap().model;
    let edges = shipped("innerjib7ea-x4-ring", |fleet| {
        if let Links::Ring(link) = &fleet.links {
            let edge = |a: u16| Edge { a: SailId(a), b: SailId((a + 1) % 4), link: link.clone() };
            fleet.links = Links::Edges((0..4).map(edge).collect());
        }
    });
    let lost = without(&edges, &[0, 2]);
    let refusal = refuse(&model, &CostModel::new(&lost, &request), Config::default()).unwrap();
    let links = refusal.demands.iter().find(|one| one.kind == "links").expect("two cards would do");
    assert_eq!(links.words, "no link that is up joins {sail1} | {sail3}");
    let offers: Vec<String> = refusal.relaxations.iter().map(|one| one.change.to_string()).collect();
    assert!(offers.contains(&"a link that is up between sail1 and sail3".to_owned()), "{offers:?}");
}

#[test]
fn baselines_keep_to_cards_in_service() {
    let (model, request) = small();
    let whole = shipped("innerjib7ea-x4-mesh", |_| ());
    let three = shipped("innerjib7ea-x4-mesh", |fleet| fleet.sails[0].count = 3);
    let lost = without(&whole, &[0]);
    let ours = baselines(&model, &CostModel::new(&lost, &request)).unwrap();
    let theirs = baselines(&model, &CostModel::new(&three, &request)).unwrap();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let (found, fresh) = (ours.placement.as_ref().unwrap(), theirs.placement.as_ref().unwrap());
        assert_eq!(found.estimate.objective, fresh.estimate.objective, "{:?}", ours.simpler);
        assert!(!cards(found).contains(&SailId(0)), "{:?}", ours.simpler);
    }
    assert_eq!(ours[0].note.as_deref(), Some("sail1"));
}

/// Exchanges that are said to change no price give placements that are valid in the planner's own eyes: pinned to the
/// cards they end on, the search finds the same objective.
#[test]
fn exchanges_keep_the_objective() {
    let (model, request) = small();
    for name in ["innerjib7ea-x4-mesh", "innerjib7ea-x4-ring", "innerjib7ea-x4-star"] {
        let fleet = shipped(name, |_| ());
        let costs = CostModel::new(&fleet, &request);
        let two = [pin(Demand::AtMostSails(2))];
        let best = placed(&model, &fleet, &request, &two).unwrap();
        let known = symmetry(&costs, &best);
        let swap = |set: &Vec<SailId>| {
            let mut names: Vec<SailId> = fleet.ids().collect();
            names.swap(set[0].index(), set[set.len() - 1].index());
            names
        };
        let exchanges: Vec<Vec<SailId>> = known.alike.iter().map(swap).chain(known.turns.iter().cloned()).collect();
        assert!(!exchanges.is_empty(), "{name}");
        for names in exchanges {
            let other = exchanged(&model, &costs, best.clone(), &names);
            let on = Demand::Layers { layers: Part::All, on: cards(&other) };
            let pinned = placed(&model, &fleet, &request, &[two[0].clone(), pin(on)]).unwrap();
            let consecutive = cards(&other).windows(2).all(|pair| pair[0].index() + 1 == pair[1].index());
            assert!(!consecutive || pinned.estimate.objective == best.estimate.objective, "{name} {names:?}");
            assert_eq!(cards(&other).len() + other.unused.len(), fleet.size());
        }
    }
}
