//! `explain`: what it says for named cases, that its tipping points are where it says, and what it refuses.

use crate::commands::{at, code, json, said, sailplan, scratch};
use serde_json::Value;

const TINY: [&str; 3] = ["tinyllama-1.1b", "--fleet", "innerjib7ea-x4-ring"];
const HOME: [&str; 3] = ["llama-2-7b", "--fleet", "home-cluster-x5"];

/// A plan in a folder of the test's own.
fn compiled(test: &str, arguments: &[&str]) -> String {
    let plan = at(&scratch(test), "plan.ron");
    let output = sailplan(&[&["compile"], arguments, &["-o", &plan]].concat());
    assert_eq!(code(&output), 0, "{arguments:?}: {}", said(&output));
    plan
}

/// The text for people, as a golden.
fn golden(name: &str, arguments: &[&str]) {
    let plan = compiled(&format!("explain-{name}"), arguments);
    let output = sailplan(&["explain", &plan]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    insta::with_settings!({ snapshot_path => "../../../snapshots/explain", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, String::from_utf8(output.stdout).unwrap());
    });
}

#[test]
fn a_ring_of_four_is_explained() {
    golden("tinyllama-1.1b-x4-ring", &TINY);
}

#[test]
fn five_boards_are_explained() {
    golden("llama-2-7b-home-cluster-x5", &HOME);
}

/// A quantity such as `18.7 us` times a factor.
fn scaled(quantity: &str, factor: f64) -> String {
    match quantity.split_once(' ') {
        Some((number, unit)) => format!("{:.6} {unit}", number.parse::<f64>().unwrap() * factor),
        None => format!("{:.0}", quantity.parse::<f64>().unwrap() * factor),
    }
}

/// The structure that planning afresh gives, in the words of an explanation.
fn afresh(problem: &[&str], figure: &str, value: &str) -> String {
    let vary = format!("{figure}={value}");
    let swept = json(&sailplan(&[&["sweep"], problem, &["--vary", &vary, "--json"]].concat()));
    let plan = swept["rows"][0]["plan"].as_str().unwrap().to_owned();
    match plan.as_str() {
        "does not fit" => "no plan".to_owned(),
        _ if plan.contains(" + ") => format!("stages of {plan}"),
        _ => format!("one stage of {plan}"),
    }
}

/// Five percent before a tipping point the structure is today's, five percent behind it is the one that is named. Cards that
/// are nearly full go through several structures within five percent: of memory and context, the two values that are named
/// have the two structures, and five percent behind it is not today's.
#[test]
fn the_plan_tips_where_it_is_said_to() {
    for (name, problem) in [("explain-tips-ring", TINY), ("explain-tips-boards", HOME)] {
        let plan = compiled(name, &problem);
        let explained = json(&sailplan(&["explain", &plan, "--json"]));
        let today = explained["structure"].as_str().unwrap();
        let tips: Vec<&Value> = explained["tipping"].as_array().unwrap().iter().collect();
        assert!(tips.iter().filter(|tip| tip["tips_at"].is_string()).count() >= 3, "{explained}");
        for tip in tips {
            let (figure, up) = (tip["figure"].as_str().unwrap(), tip["up"] == true);
            let Some(value) = tip["tips_at"].as_str() else {
                assert_eq!(afresh(&problem, figure, tip["same_at"].as_str().unwrap()), today, "{tip}");
                continue;
            };
            if ["sail.memory", "context"].contains(&figure) {
                let named = |key: &str| afresh(&problem, figure, tip[key].as_str().unwrap());
                assert_eq!(named("same_at"), today, "before {tip}");
                assert_eq!(named("tips_at"), tip["becomes"].as_str().unwrap(), "behind {tip}");
                assert_ne!(afresh(&problem, figure, &scaled(value, if up { 1.05 } else { 0.95 })), today, "{tip}");
                continue;
            }
            let (before, behind) = if up { (0.95, 1.05) } else { (1.05, 0.95) };
            assert_eq!(afresh(&problem, figure, &scaled(value, before)), today, "before {tip}");
            assert_eq!(
                afresh(&problem, figure, &scaled(value, behind)),
                tip["becomes"].as_str().unwrap(),
                "behind {tip}"
            );
        }
    }
}

/// The best plan with fewer cards is what a pin gives.
#[test]
fn alternatives_are_what_pins_give() {
    let plan = compiled("explain-pins", &TINY);
    let explained = json(&sailplan(&["explain", &plan, "--json"]));
    let fewer = explained["alternatives"].as_array().unwrap().iter().find(|one| one["demand"] == "at most 3 Sails");
    let pins = at(&scratch("explain-fewer"), "pins.ron");
    std::fs::write(&pins, "[(name: \"three\", demand: AtMostSails(3))]").unwrap();
    let pinned = json(&sailplan(&[&["compile"], &TINY[..], &["--pin", &pins, "--json"]].concat()));
    assert_eq!(fewer.unwrap()["objective_s"], pinned["estimate"]["request_s"]);
}

#[test]
fn parts_are_explained() {
    let plan = compiled("explain-parts", &TINY);
    let explain = |part: &str| json(&sailplan(&["explain", &plan, part, "--json"]));
    let stage = explain("stage0");
    assert_eq!(stage["stages"][0]["sails"].as_array().unwrap().len(), 4);
    assert_eq!(stage["classes"].as_array().unwrap().len(), 3);
    let layer = explain("layer");
    assert_eq!((&layer["classes"][0]["class"], &layer["classes"][0]["layers"]), (&"layer".into(), &22.into()));
    let weight = explain("blk.3.ffn_down.weight");
    assert_eq!(weight["part"], "blk.{layer}.ffn_down.weight");
    let parts = weight["holdings"][0]["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|part| part["elements"][1].as_u64().unwrap()).max(), Some(5632));
    let whole = &weight["alternatives"][0];
    assert!(whole["demand"].as_str().unwrap().contains("whole on every Sail"), "{weight}");
    assert!(whole["more_s"].as_f64().unwrap() > 0.0, "{weight}");
}

/// Dense models, mixtures, two classes of layers, tied tables, fused matrices, streamed weights, narrow caches.
#[test]
fn plans_tell_their_models() {
    for (index, arguments) in [
        &["mixtral-8x7b", "--fleet", "innerjib7ea-x16-ring"][..],
        &["gemma-2-2b", "--fleet", "innerjib7ea-x4-ring", "--kv", "f16"],
        &["phi-3-mini", "--fleet", "innerjib7ea-x2-ring"],
        &["qwen3-0.6b", "--fleet", "innerjib7ea-mixed-x4-ring"],
        &["llama-2-7b", "--fleet", "innerjib7ea-x1", "--stream", "--context", "1024"],
    ]
    .into_iter()
    .enumerate()
    {
        let plan = compiled(&format!("explain-model-{index}"), arguments);
        let explained = json(&sailplan(&["explain", &plan, "head", "--json"]));
        assert_eq!(explained["current"], true, "{arguments:?}");
        assert_eq!(explained["classes"][0]["class"], "head", "{arguments:?}");
    }
}

/// Pins shape a plan; without their list it is not what this build would choose.
#[test]
fn a_plan_that_would_be_another_today_is_a_difference() {
    let here = scratch("explain-stale");
    let (pins, old) = (at(&here, "pins.ron"), at(&here, "old.ron"));
    std::fs::write(&pins, "[(name: \"two\", demand: AtMostSails(2))]").unwrap();
    let output = sailplan(&[&["compile"], &TINY[..], &["--pin", &pins, "-o", &old]].concat());
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(code(&sailplan(&["explain", &old, "layer"])), 0);
    let plan = sailplan_codegen::read("old", &std::fs::read_to_string(&old).unwrap()).unwrap();
    let plan = sailplan_codegen::with_pins(plan.into_inner(), &[]);
    std::fs::write(&old, sailplan_codegen::write(&plan)).unwrap();
    let output = sailplan(&["explain", &old, "layer"]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("compile again"));
}

#[test]
fn what_cannot_be_explained_says_why() {
    let plan = compiled("explain-refused", &TINY);
    for (arguments, words) in [
        (&["explain", &plan, "stage7"][..], &["no part `stage7`", "stage0", "layer", "output.weight"][..]),
        (&["explain", &plan, "blk.99.ffn_down.weight"], &["no part", "blk.{layer}.ffn_down.weight"]),
        (&["explain", &plan, "--model", "llama-2-7b"], &["the plan is for tinyllama-1.1b"]),
        (&["explain", &plan, "--model", "nothing"], &["nothing", "shipped models"]),
        (&["explain", "nowhere.ron"], &["nowhere.ron", "cannot read it"]),
    ] {
        let output = sailplan(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for word in words {
            assert!(said(&output).contains(word), "{arguments:?}: {word}: {}", said(&output));
        }
    }
    assert_eq!(code(&sailplan(&["explain", &plan, "head", "--model", "tinyllama-1.1b"])), 0);
}
