//! The command line: exit codes, messages with a place and a hint, no partial output.

use crate::pipeline::directory;
use crate::tiny::golden;
use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) fn sailplan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sailplan")).args(arguments).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal, no panic")
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    assert_eq!(code(output), 0, "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A directory of one test's own.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let path = directory().join(test);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub(crate) fn at(directory: &std::path::Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

/// Arguments, exit code, and what stderr must contain.
const REFUSED: &[(&[&str], i32, &[&str])] = &[
    (&[], 2, &["Usage"]),
    (&["compil"], 2, &["compile"]),
    (&["compile", "tinyllama-1.1b"], 2, &["--fleet"]),
    (&["compile", "tinyllama", "--fleet", "innerjib7ea-x1"], 2, &["tinyllama", "shipped models: qwen3-0.6b"]),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib"], 2, &["innerjib", "shipped fleets: innerjib7ea-x1"]),
    (&["compile", "/", "--fleet", "innerjib7ea-x1"], 2, &["directory"]),
    (&["compile", "tinyllama-1.1b", "--fleet", "/"], 2, &["directory"]),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--prompt", "0"], 2, &["--prompt is 0"]),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--prompt", "-5"], 2, &["-5"]),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--batch", "0"], 2, &["--batch is 0"]),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--ubatch", "0"], 2, &["--ubatch is 0"]),
    (
        &["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--prompt", "18446744073709551615"],
        2,
        &["--prompt is 18446744073709551615"],
    ),
    (
        &["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--context", "100"],
        2,
        &["exceed the context of 100", "--context 640"],
    ),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--objective", "fun"], 2, &["request"]),
    (
        &["compile", "llama-3-70b", "--fleet", "innerjib7ea-x8-ring"],
        1,
        &["no plan", "too little", "would admit a plan", "Sails of this kind", "--stream"],
    ),
    (&["compile", "llama-2-7b", "--fleet", "innerjib7ea-x1"], 1, &["no plan", "would admit a plan: --stream"]),
    (
        &["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "--context", "100000"],
        1,
        &["no plan", "100000 positions", "would admit a plan: --context ", "would admit a plan: --kv f16"],
    ),
    (&["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x1", "-o", "/nowhere/plan.ron"], 2, &["/nowhere/plan.ron"]),
    (&["show", "/nowhere/plan.ron"], 2, &["/nowhere/plan.ron"]),
    (&["simulate", "/nowhere/plan.ron"], 2, &["/nowhere/plan.ron"]),
    (&["simulate", "/"], 2, &["directory"]),
    (&["verify", "/nowhere/plan.ron"], 2, &["/nowhere/plan.ron"]),
    (&["fleet", "nothing"], 2, &["nothing", "shipped fleets"]),
    (&["model", "nothing"], 2, &["nothing", "shipped models"]),
    (&["dump", "tinyllama-1.1b", "--stage", "placement"], 2, &["needs a fleet", "--fleet"]),
];

#[test]
fn refusals_say_what_and_how_to_mend_it() {
    for (arguments, expected, words) in REFUSED {
        let output = sailplan(arguments);
        let text = said(&output);
        assert_eq!(code(&output), *expected, "{arguments:?}: {text}");
        for word in *words {
            assert!(text.contains(word), "{arguments:?} does not say `{word}`: {text}");
        }
        assert!(output.stdout.is_empty(), "{arguments:?} printed a result beside the refusal");
    }
}

#[test]
fn a_mistake_in_a_file_shows_the_line() {
    let here = scratch("mistakes");
    let fleet = at(&here, "fleet.ron");
    let text = sailplan_cost_model::shipped_fleet("innerjib7ea-x4-ring").unwrap();
    std::fs::write(&fleet, text.replace("bandwidth: \"2 GB/s\"", "bandwidth: \"2 parsecs\"")).unwrap();
    let output = sailplan(&["fleet", &fleet]);
    assert_eq!(code(&output), 2);
    let text = said(&output);
    for word in ["fleet.ron:8", "2 parsecs", "^"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn no_partial_output_is_left() {
    let here = scratch("partial");
    let plan = at(&here, "plan.ron");
    assert_eq!(code(&sailplan(&["compile", "llama-2-7b", "--fleet", "innerjib7ea-x1", "-o", &plan])), 1);
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0);
}

#[test]
fn compile_show_verify_run_on_a_real_file() {
    let here = scratch("whole");
    let (weights, plan, logits) = (at(&here, "tiny.gguf"), at(&here, "plan.ron"), at(&here, "logits.json"));
    std::fs::write(&weights, golden("tiny-gqa-q4_0").unwrap().gguf()).unwrap();
    let compiled = json(&sailplan(&[
        "compile",
        &weights,
        "--fleet",
        "innerjib7ea-x2-ring",
        "--prompt",
        "12",
        "--generate",
        "8",
        "-o",
        &plan,
        "--json",
    ]));
    for field in [
        "plan",
        "digest",
        "objective",
        "estimate",
        "certificate",
        "stages",
        "memory",
        "unused_sails",
        "search",
        "seconds",
    ] {
        assert!(compiled.get(field).is_some(), "compile --json lacks {field}");
    }
    assert_eq!(compiled["certificate"]["status"], "proven");
    let shown = json(&sailplan(&["show", &plan, "--json"]));
    assert_eq!(shown["digest"], compiled["digest"]);
    assert_eq!(json(&sailplan(&["verify", &plan, "--model", &weights, "--json"]))["ok"], true);
    let run = json(&sailplan(&[
        "run",
        &plan,
        "--weights",
        &weights,
        "--tokens",
        "1,17,300",
        "--prefill",
        "2",
        "--generate",
        "3",
        "--logits",
        &logits,
        "--json",
    ]));
    assert_eq!(run["tokens"].as_array().unwrap().len(), 6);
    let rows: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&logits).unwrap()).unwrap();
    assert_eq!((rows["first"].as_u64(), rows["logits"].as_array().unwrap().len()), (Some(1), 5));
}

#[test]
fn run_refuses_the_wrong_weights_and_the_wrong_tokens() {
    let here = scratch("wrong");
    let (weights, other, plan) = (at(&here, "tiny.gguf"), at(&here, "other.gguf"), at(&here, "plan.ron"));
    std::fs::write(&weights, golden("tiny-gqa-q4_0").unwrap().gguf()).unwrap();
    std::fs::write(&other, golden("tiny-mha-q4_0").unwrap().gguf()).unwrap();
    let made = sailplan(&[
        "compile",
        &weights,
        "--fleet",
        "innerjib7ea-x1",
        "--prompt",
        "4",
        "--generate",
        "4",
        "--context",
        "8",
        "-o",
        &plan,
    ]);
    assert_eq!(code(&made), 0, "{}", said(&made));
    for (arguments, word) in [
        (["run", &plan, "--weights", &other, "--tokens", "1"], "the plan is for"),
        (["run", &plan, "--weights", &weights, "--tokens", "512"], "512"),
        (["run", &plan, "--weights", &weights, "--tokens", "1,2,3,4,5,6,7,8,9"], "context"),
        (["run", &plan, "--weights", &plan, "--tokens", "1"], "plan.ron"),
    ] {
        let output = sailplan(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(word), "{arguments:?} does not say {word}: {}", said(&output));
    }
}

#[test]
fn verify_finds_an_edited_plan_and_check_a_stale_one() {
    let here = scratch("edited");
    let (plan, edited) = (at(&here, "plan.ron"), at(&here, "edited.ron"));
    let compile = ["compile", "tinyllama-1.1b", "--fleet", "innerjib7ea-x2-ring"];
    assert_eq!(code(&sailplan(&[&compile[..], &["-o", &plan]].concat())), 0);
    assert_eq!(code(&sailplan(&["verify", &plan])), 0);
    assert_eq!(code(&sailplan(&["verify", &plan, "--model", "llama-2-7b"])), 1);
    assert_eq!(code(&sailplan(&[&compile[..], &["--check", &plan]].concat())), 0);
    assert_eq!(code(&sailplan(&[&compile[..], &["--generate", "64", "--check", &plan]].concat())), 1);
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&edited, text.replacen("tag: 1", "tag: 2", 1).replacen("columns: 2048", "columns: 2047", 1))
        .unwrap();
    let output = sailplan(&["verify", &edited]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    std::fs::write(&edited, &text[..text.len() / 2]).unwrap();
    assert_eq!(code(&sailplan(&["verify", &edited])), 2, "half a plan cannot be read");
}

#[test]
fn help_has_an_example_for_every_verb_and_completions_exist() {
    for verb in [
        "compile",
        "show",
        "diff",
        "verify",
        "simulate",
        "run",
        "model",
        "fleet",
        "link",
        "calibrate",
        "baseline",
        "dump",
        "completions",
    ] {
        let output = sailplan(&[verb, "--help"]);
        assert_eq!(code(&output), 0);
        assert!(String::from_utf8_lossy(&output.stdout).contains("Example"), "{verb}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(sailplan(&["completions", shell]).stdout.len() > 500);
    }
}

#[test]
fn tinyllama_on_four_cards_is_tensor_parallel_and_four_times_faster() {
    let compared = json(&sailplan(&["baseline", "tinyllama-1.1b", "--fleet", "innerjib7ea-x4-ring", "--json"]));
    let decode = |value: &serde_json::Value| value["estimate"]["decode_s_per_token"].as_f64().unwrap() * 1e3;
    assert!((80.0..90.0).contains(&decode(&compared["plan"])), "{}", decode(&compared["plan"]));
    assert_eq!(compared["plan"]["stages"][0]["degree"], 4);
    let baselines = compared["baselines"].as_array().unwrap();
    let (tensor, whole): (Vec<_>, Vec<_>) = baselines.iter().partition(|one| one["name"] == "Megatron over all Sails");
    assert_eq!((tensor.len(), whole.len()), (1, 4));
    assert!(decode(tensor[0]) > decode(&compared["plan"]), "{}", tensor[0]);
    for baseline in whole {
        assert!((300.0..340.0).contains(&decode(baseline)), "{baseline}");
    }
}

/// 37 GiB of weights do not fit into eight cards: refused with the price of streaming, planned when that is asked.
#[test]
fn a_model_that_does_not_fit_is_streamed_only_when_asked() {
    let directory = scratch("streamed");
    let plan = at(&directory, "plan.ron");
    let arguments = ["compile", "llama-3-70b", "--fleet", "innerjib7ea-x8-ring", "-o", &plan, "--json"];
    let refused = sailplan(&arguments);
    assert_eq!(code(&refused), 1);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("\"flags\": \"--stream\""), "{refused:?}");
    let compiled = json(&sailplan(&[arguments.as_slice(), &["--stream"]].concat()));
    let streamed = &compiled["streamed"];
    let bytes = streamed["bytes_per_step"].as_f64().unwrap();
    let host = compiled["estimate"]["by_resource"]["host_s"].as_f64().unwrap();
    assert!(streamed["layers"].as_array().unwrap().len() > 10 && bytes > 7e9, "{streamed}");
    // 100 MB/s, once for the prompt and once for each of 128 tokens.
    assert!(host > 129.0 * bytes / 1e8 && host < 129.1 * bytes / 1e8 + 1.0, "{host} s for {bytes} B a step");
    let certificate = &compiled["certificate"];
    assert!(certificate["space"].as_str().unwrap().contains("weights of layers on the host"), "{certificate}");
    assert_eq!(json(&sailplan(&["verify", &plan, "--model", "llama-3-70b", "--json"]))["ok"], true);
    let shown = String::from_utf8(sailplan(&["show", &plan]).stdout).unwrap();
    assert!(shown.contains("  streamed  layers ") && shown.contains(" GiB a step"), "{shown}");
}

/// The README's example is what the program says today (the path of the plan apart).
#[test]
fn the_readme_shows_the_output_of_today() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    for verb in ["compile", "baseline"] {
        let output = sailplan(&[verb, "tinyllama-1.1b", "--fleet", "innerjib7ea-x4-ring"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(readme.contains(text.trim_end()), "`sailplan {verb}` now says:\n{text}");
    }
}

/// From 10 µs to 10 ms a message the five boards exchange less and less, and the cost only rises.
#[test]
fn slower_messages_move_the_plan_from_sharing_to_boards_for_themselves() {
    let sweep = ["sweep", "llama-2-7b", "--fleet", "home-cluster-x5", "--vary", "link.latency=10us..10ms:10"];
    let table = sailplan(&sweep);
    assert_eq!(code(&table), 0, "{}", said(&table));
    insta::with_settings!({ snapshot_path => "../../../snapshots/sweeps", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("llama-2-7b-home-cluster-latency", String::from_utf8(table.stdout).unwrap());
    });
    let swept = json(&sailplan(&[&sweep[..], &["--json"]].concat()));
    let rows = swept["rows"].as_array().unwrap();
    let request = |row: &serde_json::Value| row["request_s"].as_f64().unwrap();
    assert!(rows.windows(2).all(|pair| request(&pair[0]) <= request(&pair[1])), "the cost falls");
    assert!(rows.iter().filter(|row| row["changed"] == true).count() >= 2, "the plan does not move");
}

#[test]
fn sweeps_that_make_no_sense_are_refused() {
    for (vary, problem) in [
        ("link.rate", "expected FIGURE=VALUES"),
        ("colour=1,2", "cannot be varied"),
        ("link.rate=2GB/s..1GB/s:3", "goes up"),
        ("link.rate=fast,slow", "is not a quantity"),
        ("sails=1..8:x", "is not a number of values"),
        ("sails=1..8000000:4000", "more than 1000 values"),
        ("sails=2,4", "several kinds"),
        ("link.rate=0B/s,1GB/s", "links.rate is zero"),
    ] {
        let output = sailplan(&["sweep", "tinyllama-1.1b", "--fleet", "innerjib7ea-mixed-x4-ring", "--vary", vary]);
        assert_eq!(code(&output), 2, "{vary}");
        assert!(said(&output).contains(problem), "{vary}: {}", said(&output));
    }
}
