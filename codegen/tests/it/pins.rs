//! Pins in plans: they are written and read, what keeps to them is accepted, what does not is refused with the reason.

use crate::forms::Style;
use crate::placements::{part, placement, plan_of, sound};
use crate::small::{fleet, model, request};
use sailplan_codegen::{Plan, emit, read, with_pins, write};
use sailplan_ir::{Algorithm, Demand, LinkState, Links, Part, Pin, SailId, Verify};

fn pinned(name: &str, demand: Demand) -> Plan {
    with_pins(plan_of(name), &[Pin { name: "p".to_owned(), demand, place: None }])
}

fn sails(ids: &[u16]) -> Vec<SailId> {
    ids.iter().map(|&id| SailId(id)).collect()
}

fn tensor(name: &str) -> String {
    name.to_owned()
}

/// The pipeline has the embedding and layer 0 on sail0, layers 1 and 2 and the head on sail1 and sail2.
fn kept() -> Vec<(&'static str, Demand)> {
    vec![
        ("pipeline", Demand::Layers { layers: Part::Layers(0..1), on: sails(&[0, 3]) }),
        ("pipeline", Demand::Layers { layers: Part::Head, on: sails(&[1, 2]) }),
        ("pipeline", Demand::Group { layers: Part::Layers(1..3), sails: sails(&[2, 1]) }),
        ("pipeline", Demand::Degree { layers: Part::Embedding, ranks: 1 }),
        ("pipeline", Demand::Never(SailId(3))),
        ("pipeline", Demand::AtMostStages(2)),
        ("pipeline", Demand::AtLeastStages(2)),
        ("pipeline", Demand::AtMostSails(3)),
        ("one", Demand::Replicated(tensor("blk.*.weight"))),
        ("streamed", Demand::Layers { layers: Part::All, on: sails(&[0, 1]) }),
    ]
}

#[test]
fn pins_that_are_kept_are_accepted_and_survive_the_text() {
    for (name, demand) in kept() {
        let plan = pinned(name, demand);
        sound(&plan);
        let text = write(&plan);
        assert!(text.contains("pins: ["), "{text}");
        let again = read("p.ron", &text).unwrap().into_inner();
        assert_eq!(again, plan);
        assert_eq!(write(&again), text);
        assert_ne!(plan.digest, plan_of(name).digest, "the digest does not cover the pins");
    }
}

#[test]
fn a_plan_without_pins_does_not_speak_of_them() {
    assert!(!write(&plan_of("one")).contains("pins"));
}

#[test]
fn pins_that_are_not_kept_are_refused() {
    let cut = |at: &[u64]| Demand::Cut { tensor: tensor("blk.*.ffn_down.weight"), axis: 1, at: at.to_vec() };
    for (name, demand, words) in [
        ("pipeline", Demand::Layers { layers: Part::Layers(0..2), on: sails(&[0]) }, "sail1 has a part of it"),
        ("pipeline", Demand::Layers { layers: Part::Head, on: sails(&[0]) }, "sail1 has a part of it"),
        ("pipeline", Demand::Group { layers: Part::Layers(1..2), sails: sails(&[1]) }, "sail1 has a part of it"),
        ("pipeline", Demand::Degree { layers: Part::All, ranks: 1 }, "sail1 has a part of it"),
        ("pipeline", Demand::Layers { layers: Part::Layers(7..9), on: sails(&[0]) }, "no part"),
        ("pipeline", Demand::Never(SailId(1)), "sail1 has work"),
        ("pipeline", Demand::AtMostStages(1), "there are 2 stages"),
        ("pipeline", Demand::AtLeastStages(3), "there are 2 stages"),
        ("pipeline", Demand::AtMostSails(2), "there are 3 Sails"),
        ("reduce", Demand::Replicated(tensor("blk.*.ffn_down.weight")), "another slice"),
        ("reduce", Demand::Replicated(tensor("nothing")), "no weight"),
        ("one", cut(&[32]), "another slice"),
        ("reduce", cut(&[1]), "another slice"),
    ] {
        let problems = pinned(name, demand.clone()).problems();
        assert!(problems.to_string().contains(words), "{demand} in {name}: {problems}");
        assert!(problems.to_string().contains("pins.p"), "{problems}");
    }
}

/// The cut that a plan has is accepted, and no other.
#[test]
fn a_cut_is_where_the_pin_says() {
    let plan = plan_of("reduce");
    let first = plan.sails[0].weights.iter().find(|weight| weight.name == "blk.{layer}.ffn_down.weight").unwrap();
    let sailplan_codegen::Slice::Cut { axis, end, .. } = first.slice else { panic!("it is cut") };
    let cut = |at: u64| Demand::Cut { tensor: tensor("blk.*.ffn_down.weight"), axis, at: vec![at] };
    sound(&pinned("reduce", cut(end)));
    assert!(!pinned("reduce", cut(end + 32)).problems().0.is_empty());
}

/// Cards that no link joins cannot share a plan.
#[test]
fn cards_apart_are_refused() {
    let mut apart = fleet(4).into_inner();
    if let Links::Ring(link) | Links::Mesh(link) | Links::Line(link) | Links::Star(link) = &mut apart.links {
        link.state = LinkState::Down;
    }
    let parts = [part(&[0], 0..2, Style::Whole, Algorithm::Ring), part(&[1], 2..5, Style::Whole, Algorithm::Ring)];
    let model = model(false);
    let plan = emit(&model, &apart.verify().unwrap(), &request(), &placement(&model, &parts)).unwrap();
    let problems = plan.problems();
    assert!(problems.to_string().contains("no links that are up lead to it from sail0"), "{problems}");
}
