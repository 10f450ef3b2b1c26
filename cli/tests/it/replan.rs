//! `compile --from`: cards are lost or replaced, what moves is counted, and of equal plans the nearest is taken.

use crate::commands::{at, code, json, said, sailplan, scratch};
use serde_json::Value;
use std::path::Path;

/// TinyLlama on a shipped fleet or a file, with more arguments.
fn compiled(here: &Path, name: &str, fleet: &str, more: &[&str]) -> String {
    let plan = at(here, name);
    let output = sailplan(&[&["compile", "tinyllama-1.1b", "--fleet", fleet, "-o", &plan], more].concat());
    assert_eq!(code(&output), 0, "{}", said(&output));
    plan
}

/// Plans again; the new plan is checked from scratch.
fn again(here: &Path, old: &str, more: &[&str]) -> (String, Value) {
    let plan = at(here, "new.ron");
    let found = json(&sailplan(&[&["compile", "--from", old, "-o", &plan, "--json"], more].concat()));
    assert_eq!(json(&sailplan(&["verify", &plan, "--json"]))["ok"], true);
    (plan, found)
}

/// A shipped fleet with its text changed.
fn fleet(here: &Path, name: &str, changes: &[(&str, &str)]) -> String {
    let path = at(here, &format!("{name}.ron"));
    let shipped = format!("{}/../cost-model/fleets/{name}.ron", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(shipped).unwrap();
    for (old, new) in changes {
        assert!(text.contains(old), "{name} has no {old}");
        text = text.replacen(old, new, 1);
    }
    std::fs::write(&path, text).unwrap();
    path
}

fn moves(found: &Value) -> &[Value] {
    found["replan"]["moves"].as_array().unwrap()
}

fn sails(found: &Value) -> Vec<u64> {
    let stages = found["stages"].as_array().unwrap().iter();
    stages.flat_map(|stage| stage["sails"].as_array().unwrap()).map(|sail| sail.as_u64().unwrap()).collect()
}

fn weights(found: &Value, sail: u64) -> u64 {
    let cards = found["memory"].as_array().unwrap();
    cards.iter().find(|card| card["sail"] == sail).unwrap()["weights"].as_u64().unwrap()
}

/// Bytes that one card is sent.
fn sent(found: &Value, sail: u64) -> u64 {
    moves(found).iter().filter(|one| one["sail"] == sail).map(|one| one["bytes"].as_u64().unwrap()).sum()
}

#[test]
fn an_unchanged_fleet_moves_nothing() {
    let here = scratch("replan-unchanged");
    for shape in ["ring", "mesh", "star"] {
        let old = compiled(&here, "old.ron", &format!("innerjib7ea-x4-{shape}"), &["--kv", "f16", "--prompt", "96"]);
        let (new, found) = again(&here, &old, &[]);
        assert_eq!((&found["replan"]["bytes"], &found["replan"]["seconds"]), (&0.into(), &0.0.into()), "{shape}");
        assert_eq!(moves(&found), [] as [Value; 0]);
        let texts = [old, new].map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(texts[0], texts[1], "{shape}: the request and the model are the old plan's");
    }
}

/// Four cards, each of them lost: the time is that of a fleet of three, and nothing comes from or over the lost card.
#[test]
fn a_lost_card_leaves_a_plan_for_three() {
    let here = scratch("replan-lost");
    for shape in ["ring", "mesh"] {
        let name = format!("innerjib7ea-x4-{shape}");
        let rest = if shape == "ring" { "Line(" } else { "Mesh(" };
        let links = if shape == "ring" { "Ring(" } else { "Mesh(" };
        let three = fleet(&here, &name, &[("count: 4", "count: 3"), (links, rest)]);
        let fresh = json(&sailplan(&["compile", "tinyllama-1.1b", "--fleet", &three, "--json"]));
        let old = compiled(&here, "old.ron", &name, &[]);
        for lost in [0, 1, 3] {
            let (new, found) = again(&here, &old, &["--without", &format!("sail{lost}")]);
            let about = format!("{shape} without sail{lost}");
            assert_eq!(found["estimate"]["request_s"], fresh["estimate"]["request_s"], "{about}");
            assert_eq!(found["certificate"], fresh["certificate"], "{about}");
            assert_eq!(found["lost_sails"], serde_json::json!([lost]), "{about}");
            assert_eq!(sails(&found).len(), 3, "{about}");
            assert!(!sails(&found).contains(&lost), "{about}");
            let all: u64 = moves(&found).iter().map(|one| one["bytes"].as_u64().unwrap()).sum();
            assert_eq!(found["replan"]["bytes"], all, "{about}");
            let fresh_s = found["replan"]["fresh_s"].as_f64().unwrap();
            assert!(found["replan"]["seconds"].as_f64().unwrap() < fresh_s / 2.0, "{about}");
            for one in moves(&found) {
                let over = one["over"].as_array().unwrap();
                assert!(one["from"] != lost && one["sail"] != lost && !over.contains(&lost.into()), "{about}: {one}");
            }
            // A quarter of the weights is gone; as thirds begin elsewhere than quarters, up to another one moves.
            let lost_bytes = weights(&fresh, 0) * 3 / 4;
            assert!(all >= lost_bytes && all < lost_bytes * 2, "{about}: {all} of {lost_bytes}");
            simulates_like(&new, &three, &here);
        }
    }
}

/// Whoever has which place: the simulation takes as long as that of a fleet of three, step by step.
fn simulates_like(plan: &str, three: &str, here: &Path) {
    let fresh = compiled(here, "fresh.ron", three, &[]);
    let [ours, theirs] = [plan, &fresh].map(|plan| json(&sailplan(&["simulate", plan, "--json"])));
    assert_eq!(ours["lockstep"], theirs["lockstep"]);
    assert_eq!(ours["predicted"], theirs["predicted"]);
}

/// In the place of sail3 there is a card of twice the memory: it holds nothing, the others keep what they have.
#[test]
fn a_replaced_card_is_sent_everything() {
    let here = scratch("replan-replaced");
    let name = "innerjib7ea-x4-ring";
    let old = compiled(&here, "old.ron", name, &[]);
    let kind = "\"larger\": (memory: \"8 GiB\", reserve: \"64 MiB\", bandwidth: \"2 GB/s\", overhead: \"1 us\"),";
    let cards = "count: 3), (kind: \"larger\", count: 1)";
    let changes = [("kinds: {", format!("kinds: {{ {kind}")), ("count: 4)", cards.to_owned())];
    let changes: Vec<(&str, &str)> = changes.iter().map(|(old, new)| (*old, new.as_str())).collect();
    let larger = fleet(&here, name, &changes);
    let (_, found) = again(&here, &old, &["--fleet", &larger]);
    let fresh = json(&sailplan(&["compile", "tinyllama-1.1b", "--fleet", &larger, "--json"]));
    assert_eq!(found["estimate"]["request_s"], fresh["estimate"]["request_s"]);
    assert!(moves(&found).iter().all(|one| one["sail"] == 3), "{:?}", moves(&found));
    // Arenas count the gaps between weights as well.
    let (arena, bytes) = (weights(&found, 3), sent(&found, 3));
    assert!(bytes <= arena && bytes > arena - arena / 1000, "{bytes} of {arena}");
    assert!(moves(&found).iter().any(|one| one["from"].is_null()) && moves(&found).len() > 1);
}

/// A file of one pin.
fn pinned(here: &Path, name: &str, demand: &str) -> String {
    let path = at(here, name);
    std::fs::write(&path, format!("[(name: \"test\", demand: {demand})]")).unwrap();
    path
}

/// Two of four cards do; which two is the same to the objective, so they stay where they are.
#[test]
fn of_equal_plans_the_one_that_moves_less_is_taken() {
    let here = scratch("replan-tie");
    let last = pinned(&here, "last.ron", "Layers(layers: \"all\", on: [\"sail2\", \"sail3\"])");
    let two = pinned(&here, "two.ron", "AtMostSails(2)");
    for shape in ["ring", "mesh"] {
        let name = format!("innerjib7ea-x4-{shape}");
        let old = compiled(&here, "old.ron", &name, &["--pin", &last]);
        let fresh = json(&sailplan(&["compile", "tinyllama-1.1b", "--fleet", &name, "--pin", &two, "--json"]));
        assert_eq!(sails(&fresh), [0, 1]);
        let (new, found) = again(&here, &old, &["--pin", &two]);
        assert_eq!(sails(&found), [2, 3], "{shape}");
        assert_eq!(found["replan"]["bytes"], 0, "{shape}");
        assert_eq!(found["estimate"]["request_s"], fresh["estimate"]["request_s"], "{shape}");
        assert_eq!(found["certificate"], fresh["certificate"], "{shape}");
        // The plan stands by itself: explaining it and planning again from it give it back.
        let explained = sailplan(&["explain", &new, "stage0"]);
        assert_eq!(code(&explained), 0, "{}", said(&explained));
        let checked = sailplan(&["compile", "--from", &new, "--check", &new]);
        assert_eq!(code(&checked), 0, "{}", said(&checked));
    }
}

/// One of two cards is lost. The one that is left keeps its half, though the search names the halves the other way round.
#[test]
fn equal_cards_are_exchanged_so_that_most_stays() {
    let here = scratch("replan-exchange");
    let two = pinned(&here, "two.ron", "AtMostSails(2)");
    for shape in ["ring", "mesh"] {
        let old = compiled(&here, "old.ron", &format!("innerjib7ea-x4-{shape}"), &["--pin", &two]);
        let (_, found) = again(&here, &old, &["--without", "sail0"]);
        assert!(sails(&found).contains(&1), "{shape}: {:?}", sails(&found));
        assert_eq!(sent(&found, 1), 0, "{shape}: {:?}", moves(&found));
        assert_eq!(found["stages"].as_array().unwrap().len(), 1);
    }
}

/// sail2 has half of the weights, but a pin keeps it free: cards that pins tell apart are not exchanged.
#[test]
fn pins_go_before_what_cards_hold() {
    let here = scratch("replan-pins");
    let last = pinned(&here, "last.ron", "Layers(layers: \"all\", on: [\"sail2\", \"sail3\"])");
    let both = at(&here, "both.ron");
    let pins = "[(name: \"two\", demand: AtMostSails(2)), (name: \"free\", demand: Never(\"sail2\"))]";
    std::fs::write(&both, pins).unwrap();
    let old = compiled(&here, "old.ron", "innerjib7ea-x4-mesh", &["--pin", &last]);
    let (_, found) = again(&here, &old, &["--pin", &both]);
    assert_eq!(sails(&found), [0, 1]);
    // Pins go on from plan to plan.
    let (new, found) = again(&here, &old, &["--without", "sail3"]);
    assert_eq!(sails(&found), [2]);
    assert!(std::fs::read_to_string(&new).unwrap().contains("on: [\"sail2\", \"sail3\"]"));
}

/// The README's example is what the program says today.
#[test]
fn the_readme_shows_what_is_planned_today() {
    let here = scratch("replan-readme");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let old = compiled(&here, "plan.ron", "innerjib7ea-x4-ring", &[]);
    let output = sailplan(&["compile", "--from", &old, "--without", "sail1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(readme.contains(text.trim_end()), "`sailplan compile --from` now says:\n{text}");
}

/// Lost again and again, and back.
#[test]
fn replanning_goes_on_from_a_replanned_plan() {
    let here = scratch("replan-chain");
    let mesh = "innerjib7ea-x4-mesh";
    let first = compiled(&here, "first.ron", mesh, &[]);
    let three = at(&here, "three.ron");
    let output = sailplan(&["compile", "--from", &first, "--without", "sail1", "-o", &three]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let (_, found) = again(&here, &three, &["--without", "sail3"]);
    assert_eq!(found["lost_sails"], serde_json::json!([1, 3]));
    assert_eq!(sails(&found), [0, 2]);
    let (_, found) = again(&here, &three, &["--fleet", mesh]);
    assert_eq!(sails(&found), [0, 1, 2, 3]);
    assert!(sent(&found, 1) > weights(&found, 1) * 999 / 1000, "a card that comes back holds nothing");
}

/// Without an old plan, `--without` alone plans around cards.
#[test]
fn cards_can_be_left_out_at_once() {
    let found = json(&sailplan(&[
        "compile",
        "tinyllama-1.1b",
        "--fleet",
        "innerjib7ea-x4-ring",
        "--without",
        "sail0,sail1",
        "--json",
    ]));
    assert_eq!(sails(&found), [2, 3]);
    assert_eq!(found.get("replan"), None);
}

#[test]
fn what_cannot_be_is_said() {
    let here = scratch("replan-errors");
    let old = compiled(&here, "old.ron", "innerjib7ea-x4-ring", &[]);
    let (nonsense, new) = (at(&here, "nonsense.ron"), at(&here, "new.ron"));
    std::fs::write(&nonsense, "Plan(of: nothing)").unwrap();
    let bad_fleet = fleet(&here, "innerjib7ea-x4-mesh", &[("    host: (", "    lost: [\"sail4\"],\n    host: (")]);
    for (arguments, parts) in [
        (&["--from", &old, "--without", "sail4"][..], &["--without sail4", "no such Sail", "sail0 to sail3"][..]),
        (&["--from", &old, "--without", "card1"], &["--without card1", "no such Sail", "sail0 to sail3"]),
        (
            &["--from", &old, "--without", "sail0,sail1,sail2,sail3"],
            &["no Sail of innerjib7ea-x4-ring is left", "fewer"],
        ),
        (
            &["qwen3-0.6b", "--from", &old],
            &["is a plan of tinyllama-1.1b, not of the model qwen3-0.6b", "leave the model out"],
        ),
        (&["--from", &nonsense], &["nonsense.ron"]),
        (&["--from", "/nowhere/plan.ron"], &["/nowhere/plan.ron"]),
        (&["tinyllama-1.1b", "--fleet", &bad_fleet], &["lost: sail4 is not in the fleet of 4", "sail0 to sail3"]),
    ] {
        let output = sailplan(&[&["compile"], arguments, &["-o", &new]].concat());
        assert_eq!(code(&output), 2, "{arguments:?}: {}", said(&output));
        assert!(parts.iter().all(|part| said(&output).contains(part)), "{arguments:?}: {}", said(&output));
        assert!(!Path::new(&new).exists(), "{arguments:?}");
    }
}

/// Too few cards are left: no plan, with what would admit one.
#[test]
fn too_few_cards_are_a_refusal() {
    let here = scratch("replan-refusal");
    let old = at(&here, "old.ron");
    let output = sailplan(&["compile", "llama-2-7b", "--fleet", "innerjib7ea-x2-ring", "-o", &old]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let output = sailplan(&["compile", "--from", &old, "--without", "sail1"]);
    assert_eq!(code(&output), 1);
    assert!(said(&output).contains("the Sail offers 3.938 GiB"), "{}", said(&output));
    assert!(said(&output).contains("would admit a plan: --stream"), "{}", said(&output));
}
