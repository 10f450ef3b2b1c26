//! `--pin` and refusals on the command line: what docs/pins.md shows works, plans keep their pins, refusals are one object.

use crate::commands::{at, code, json, said, sailplan, scratch};

const TINY: [&str; 4] = ["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x4-ring"];

/// The examples of the document.
fn examples() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pins.md")).unwrap();
    page.split("```ron\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_document_have_plans() {
    let here = scratch("pin-examples");
    let (pins, plan) = (at(&here, "pins.ron"), at(&here, "plan.ron"));
    assert_eq!(examples().len(), 4);
    for example in examples() {
        std::fs::write(&pins, &example).unwrap();
        let output = sailplan(&[&TINY[..], &["--pin", &pins, "-o", &plan]].concat());
        assert_eq!(code(&output), 0, "{example}: {}", said(&output));
        let text = std::fs::read_to_string(&plan).unwrap();
        assert!(text.contains("pins: ["), "{example}");
        assert_eq!(json(&sailplan(&["verify", &plan, "--json"]))["ok"], true);
        assert_eq!(code(&sailplan(&[&TINY[..], &["--pin", &pins, "--check", &plan]].concat())), 0);
        assert_eq!(code(&sailplan(&[&TINY[..], &["--check", &plan]].concat())), 1, "the check does not see pins");
    }
}

#[test]
fn every_demand_stands_in_the_document() {
    let examples = examples().concat();
    for demand in
        ["Layers", "Group", "Degree", "Never", "AtMostStages", "AtLeastStages", "AtMostSails", "Replicated", "Cut"]
    {
        assert!(examples.contains(&format!("demand: {demand}(")), "{demand} has no example");
    }
}

#[test]
fn other_verbs_take_pins() {
    let here = scratch("pin-verbs");
    let pins = at(&here, "pins.ron");
    std::fs::write(&pins, "[(name: \"two\", demand: AtMostSails(2))]").unwrap();
    let on = ["--fleet", "innerjib7ea-x4-ring", "--pin", &pins];
    let placement = sailplan(&[&["dump", "tinyllama-1.1b", "--stage", "placement"], &on[..]].concat());
    assert_eq!(code(&placement), 0, "{}", said(&placement));
    assert!(!String::from_utf8_lossy(&placement.stdout).contains("stage 0: sail0, sail1, sail2"));
    let compared = json(&sailplan(&[&["baseline", "tinyllama-1.1b", "--json"], &on[..]].concat()));
    assert_eq!(compared["plan"]["unused_sails"].as_array().unwrap().len(), 2);
    let swept = json(&sailplan(&[&["sweep", "tinyllama-1.1b", "--vary", "sails=1,4", "--json"], &on[..]].concat()));
    assert!(swept["rows"][1]["plan"].as_str().unwrap().starts_with("2,"), "{swept}");
}

#[test]
fn a_refusal_is_one_object() {
    let output = sailplan(&["compile", "llama-2-7b", "--fleet", "innerjib7ea-x1", "--json"]);
    assert_eq!(code(&output), 1);
    let refused: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let demands = refused["refused"]["demands"].as_array().unwrap();
    let memory = demands.iter().find(|demand| demand["kind"] == "memory").unwrap();
    assert!(memory["bytes"].as_u64().is_some() && memory["name"].is_string());
    let relaxations = refused["refused"]["relaxations"].as_array().unwrap();
    assert!(!relaxations.is_empty());
    for one in relaxations {
        assert!(one["change"].is_string() && one["objective"].as_f64().is_some_and(|seconds| seconds > 0.0), "{one}");
    }
}

/// Every flag that is offered is passed as it stands, and there is a plan.
#[test]
fn the_flags_that_are_offered_work() {
    let asked = ["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--prompt", "600"];
    let without = |flag: &str| if flag == "--context" { Vec::new() } else { vec!["--context", "100000"] };
    let output = sailplan(&[&asked[..], &without(""), &["--json"]].concat());
    let refused: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let relaxations = refused["refused"]["relaxations"].as_array().unwrap();
    let flags: Vec<&str> = relaxations.iter().filter_map(|one| one["flags"].as_str()).collect();
    assert!(flags.len() > 1, "{refused}");
    for flags in flags {
        let flags: Vec<&str> = flags.split(' ').collect();
        let changed = [&asked[..], &without(flags[0]), &flags].concat();
        let output = sailplan(&changed);
        assert_eq!(code(&output), 0, "{flags:?}: {}", said(&output));
    }
}

#[test]
fn a_refusal_cites_pins_by_line() {
    let here = scratch("pin-lines");
    let pins = at(&here, "pins.ron");
    let text = "[\n  (name: \"here\", demand: Group(layers: \"all\", sails: [\"sail0\"])),\n  (name: \"not here\", demand: Never(\"sail0\")),\n]";
    std::fs::write(&pins, text).unwrap();
    let output = sailplan(&[&TINY[..], &["--pin", &pins]].concat());
    assert_eq!(code(&output), 1);
    for words in ["pin `here`", "pins.ron:2)", "pin `not here`", "pins.ron:3)", "without pin `here`"] {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
    std::fs::write(&pins, "[(name: \"a\", demand: Never(\"sail9\"))]").unwrap();
    let output = sailplan(&[&TINY[..], &["--pin", &pins]].concat());
    assert_eq!(code(&output), 2);
    assert!(said(&output).contains("pins.ron:1") && said(&output).contains("sail9"), "{}", said(&output));
}
