//! Pin files: every demand is read, every mistake has its place and a hint.

use sailplan_ir::{At, Demand, Part, SailId};
use sailplan_models::pins_from_ron;

#[test]
fn every_demand_is_read() {
    let text = r#"[
        (name: "a", demand: Layers(layers: "0..8", on: ["sail0", "sail1"])),
        (name: "b", demand: Group(layers: "all", sails: ["sail2"])),
        (name: "c", demand: Degree(layers: "3", ranks: 4)),
        (name: "d", demand: Never("sail3")),
        (name: "e", demand: AtMostStages(2)),
        (name: "f", demand: AtLeastStages(1)),
        (name: "g", demand: AtMostSails(4)),
        (name: "h", demand: Replicated("token_embd.weight")),
        (name: "i", demand: Cut(tensor: "blk.*.ffn_down.weight", axis: 1, at: [256, 512])),
    ]"#;
    let pins = pins_from_ron("p.ron", text).unwrap();
    assert_eq!(pins.len(), 9);
    assert_eq!(pins[0].demand, Demand::Layers { layers: Part::Layers(0..8), on: vec![SailId(0), SailId(1)] });
    assert_eq!(pins[3].demand, Demand::Never(SailId(3)));
    let place = pins[3].place.clone().unwrap();
    let At::Span(span) = place.at else { panic!("{place:?}") };
    assert!(text[span].contains("Never(\"sail3\")"));
}

#[test]
fn mistakes_have_places_and_hints() {
    let one = |demand: &str| format!("[(name: \"a\", demand: {demand})]");
    for (text, words, hint) in [
        (String::new(), "", "docs/pins.md"),
        ("[(name: \"a\")]".to_owned(), "`demand`", "add `demand: …,`"),
        (one("Neverr(\"sail3\")"), "`Neverr`", "did you mean `Never`?"),
        (one("Never(\"card3\")"), "`card3` is not a Sail", ""),
        (one("Never(3)"), "", "quotes"),
        (one("AtMostStages(-1)"), "", "whole numbers"),
        (one("Degree(layers: \"x\", ranks: 2)"), "none of \"0..8\"", ""),
        (one("Degree(layer: \"0\", ranks: 2)"), "`layer`", "did you mean `layers`?"),
        (one("Never(\"sail0\""), "", ""),
        ("[(name: \" \", demand: Never(\"sail0\"))]".to_owned(), "no name", "by name"),
        (
            "[(name: \"a\", demand: Never(\"sail0\")), (name: \"a\", demand: Never(\"sail1\"))]".to_owned(),
            "another pin is called `a`",
            "of its own",
        ),
    ] {
        let problems = pins_from_ron("p.ron", &text).unwrap_err();
        let first = &problems.0[0];
        assert_eq!(first.place.as_ref().map(|place| place.file.as_str()), Some("p.ron"), "{text}");
        let said = problems.to_string();
        assert!(said.contains(words) && said.contains(hint), "{text}: {said}");
    }
}
