//! `diff`: what it says of pairs that differ in one thing, which exit codes gates give, what it refuses.

use crate::commands::{code, said, scratch};
use std::path::Path;
use std::process::{Command, Output};

/// Arguments of a compilation: model, and flags; the fleet is a file.
type Case<'a> = (&'a str, String, &'a [&'a str]);

fn in_folder(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sailplan")).current_dir(folder).args(arguments).output().unwrap()
}

fn compile(folder: &Path, plan: &str, (model, fleet, flags): &Case<'_>) {
    let file = format!("{plan}.fleet.ron");
    std::fs::write(folder.join(&file), fleet).unwrap();
    let output = in_folder(folder, &[&["compile", model, "--fleet", &file, "-o", plan][..], flags].concat());
    assert_eq!(code(&output), 0, "{}", said(&output));
}

fn shipped(name: &str) -> String {
    sailplan_cost_model::shipped_fleet(name).unwrap().to_owned()
}

fn ring() -> String {
    shipped("innerjib7ea-x4-ring")
}

/// The ring with another figure, which must be there.
fn with(old: &str, new: &str) -> String {
    let text = ring();
    assert!(text.contains(old), "{old}");
    text.replacen(old, new, 1)
}

/// The ring with another figure on `sail2` alone.
fn with_on_sail2(old: &str, new: &str) -> String {
    let text = ring();
    let (start, end) = (text.find("\"innerjib7ea\": (").unwrap(), text.find("    },\n    sails").unwrap());
    let other = text[start..end].replacen("innerjib7ea", "changed", 1);
    assert!(other.contains(old), "{old}");
    let other = other.replacen(old, new, 1);
    let text = format!("{}    {other}{}", &text[..end], &text[end..]);
    let one = "(kind: \"innerjib7ea\", count: 4)";
    assert!(text.contains(one));
    text.replace(one, "(kind: \"innerjib7ea\", count: 2), (kind: \"changed\"), (kind: \"innerjib7ea\")")
}

/// Compiles two cases and holds what `diff` says of them.
fn check(name: &str, old: &Case<'_>, new: &Case<'_>, words: &[&str]) {
    let here = scratch(&format!("diff-{name}"));
    compile(&here, "old.ron", old);
    compile(&here, "new.ron", new);
    let output = in_folder(&here, &["diff", "old.ron", "new.ron"]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() <= 40, "more than a screenful:\n{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not said:\n{text}");
    }
    insta::with_settings!({ snapshot_path => "../../../snapshots/diff", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
    let output = in_folder(&here, &["diff", "old.ron", "new.ron", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &value["same"]), (1, &false.into()));
    let classes = value["classes"].as_array().unwrap();
    let changes = value["changes"].as_array().unwrap();
    assert!(
        !changes.is_empty()
            && changes.iter().all(|change| classes.contains(&change["class"]) && change["what"].is_string())
    );
    assert_eq!(code(&in_folder(&here, &["diff", "new.ron", "new.ron"])), 0);
}

const TINY: &str = "tinyllama-1.1b";

#[test]
fn a_faster_link() {
    let new = with("line_rate: \"1.25 Gb/s\"", "line_rate: \"1.5 Gb/s\"");
    check(
        "link-rate",
        &(TINY, ring(), &[]),
        &(TINY, new, &[]),
        &["faster", "link.frame.line_rate", "1.25 Gb/s → 1.5 Gb/s"],
    );
}

#[test]
fn more_memory_on_one_card() {
    let new = with_on_sail2("memory: \"4 GiB\"", "memory: \"8 GiB\"");
    check(
        "card-memory",
        &(TINY, ring(), &[]),
        &(TINY, new, &[]),
        &["as fast", "sail.memory", "4 GiB → 8 GiB  (sail2)"],
    );
}

#[test]
fn a_longer_context() {
    let words = ["request.context", "2048 → 8192", "kv 22.00 MiB → 88.00 MiB"];
    check("context", &(TINY, ring(), &[]), &(TINY, ring(), &["--context", "8192"]), &words);
}

#[test]
fn another_quantisation() {
    let words = ["wrong-target", "type of", "Q4_0 → Q4_K", "to send again"];
    check("quantisation", &(TINY, ring(), &[]), &("tinyllama-1.1b-q4_k_m", ring(), &[]), &words);
}

#[test]
fn a_lost_card() {
    let words = ["slower", "4 → 3  (sail3 gone)", "sail0 to sail3 → sail0 to sail2", "to send again"];
    check("card-lost", &(TINY, ring(), &[]), &(TINY, with("count: 4", "count: 3"), &[]), &words);
}

#[test]
fn slower_messages() {
    let new = with("latency: \"5 us\"", "latency: \"200 us\"");
    check("latency", &(TINY, ring(), &[]), &(TINY, new, &[]), &["slower", "link.latency", "5 us → 200 us"]);
}

#[test]
fn half_the_bytes_on_the_wire() {
    let words = ["request.wire", "f32 → bf16", "decode   sends"];
    check("wire", &(TINY, ring(), &[]), &(TINY, ring(), &["--wire", "bf16"]), &words);
}

#[test]
fn four_sequences_at_once() {
    let words = ["request.batch", "1 → 4", "tokens/s", "of another request"];
    check("batch", &(TINY, ring(), &[]), &(TINY, ring(), &["--batch", "4"]), &words);
}

#[test]
fn a_card_with_slower_memory() {
    let new = with_on_sail2("bandwidth: \"2 GB/s\"", "bandwidth: \"1.2 GB/s\"");
    let words = ["sail.bandwidth", "2 GB/s → 1.2 GB/s  (sail2)", "rows ", "to send again"];
    check("uneven", &(TINY, ring(), &[]), &(TINY, new, &[]), &words);
}

#[test]
fn a_ring_for_a_mesh() {
    let words = ["links", "mesh of 4, 6 links → ring of 4, 4 links"];
    check("mesh-to-ring", &(TINY, shipped("innerjib7ea-x4-mesh"), &[]), &(TINY, ring(), &[]), &words);
}

#[test]
fn another_objective() {
    let words = ["another objective", "request.objective", "request → decode"];
    check("objective", &(TINY, ring(), &[]), &(TINY, ring(), &["--objective", "decode"]), &words);
}

#[test]
fn gates_fail_only_on_what_they_name() {
    let here = scratch("diff-gates");
    compile(&here, "a.ron", &(TINY, ring(), &[]));
    compile(&here, "b.ron", &(TINY, with("latency: \"5 us\"", "latency: \"50 us\""), &[]));
    let ends = |old, new, flags: &[&str]| code(&in_folder(&here, &[&["diff", old, new][..], flags].concat()));
    for (flags, there, back) in [
        (&[][..], 1, 1),
        (&["--fail-if-slower", "1"][..], 1, 0),
        (&["--fail-if-slower", "1000"], 0, 0),
        (&["--fail-on", "slower"], 1, 0),
        (&["--fail-on", "unfit,wrong-target"], 0, 0),
        (&["--fail-on", "estimate-only", "--json"], 1, 1),
    ] {
        assert_eq!((ends("a.ron", "b.ron", flags), ends("b.ron", "a.ron", flags)), (there, back), "{flags:?}");
        assert_eq!(ends("a.ron", "a.ron", flags), 0, "{flags:?}");
    }
}

#[test]
fn another_model_is_another_target_and_still_compared() {
    let here = scratch("diff-models");
    compile(&here, "a.ron", &(TINY, ring(), &[]));
    compile(&here, "b.ron", &("llama-2-7b", ring(), &[]));
    let output = in_folder(&here, &["diff", "a.ron", "b.ron", "--fail-on", "wrong-target"]);
    assert_eq!(code(&output), 1);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "tinyllama-1.1b → llama-2-7b",
        "model.layers             22 → 32",
        "prefill",
        "failed    there are changes of class wrong-target",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn what_is_no_plan_of_this_version_is_refused() {
    let here = scratch("diff-refused");
    compile(&here, "a.ron", &(TINY, ring(), &[]));
    let text = std::fs::read_to_string(here.join("a.ron")).unwrap();
    std::fs::write(here.join("half.ron"), &text[..text.len() / 2]).unwrap();
    std::fs::write(here.join("version.ron"), text.replacen("version: 2,", "version: 99,", 1)).unwrap();
    for (files, words) in [
        (["a.ron", "half.ron"], "half.ron"),
        (["half.ron", "a.ron"], "half.ron"),
        (["a.ron", "version.ron"], "the plan has format version 99"),
        (["a.ron", "nothing.ron"], "nothing.ron"),
    ] {
        let output = in_folder(&here, &["diff", files[0], files[1], "--fail-if-slower", "1"]);
        assert_eq!(code(&output), 2, "{files:?}");
        assert!(said(&output).contains(words) && output.stdout.is_empty(), "{}", said(&output));
    }
    for (flags, words) in [
        (["--fail-on", "slow"], "possible values: unfit, wrong-target, slower"),
        (["--fail-if-slower", "-1"], "expected percent such as 1 or 2.5"),
        (["--fail-if-slower", "nan"], "expected percent such as 1 or 2.5"),
    ] {
        let output = in_folder(&here, &["diff", "a.ron", "a.ron", flags[0], flags[1]]);
        assert_eq!(code(&output), 2, "{flags:?}");
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

/// A plan that was edited is unfit as the new one, whatever is gated; as the old one it is replaced as a whole.
#[test]
fn an_edited_plan_is_unfit() {
    let here = scratch("diff-unfit");
    compile(&here, "a.ron", &(TINY, ring(), &[]));
    let text = std::fs::read_to_string(here.join("a.ron")).unwrap();
    std::fs::write(here.join("edited.ron"), text.replacen("columns: 2048", "columns: 2047", 1)).unwrap();
    for flags in [&[][..], &["--fail-if-slower", "1"], &["--fail-on", "moved"], &["--fail-on", "unfit"]] {
        let output = in_folder(&here, &[&["diff", "a.ron", "edited.ron"][..], flags].concat());
        assert_eq!(code(&output), 1, "{flags:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("unfit: the new plan is refused") && text.contains("the digest is not that of the text"));
    }
    let mended = in_folder(&here, &["diff", "edited.ron", "a.ron", "--fail-on", "unfit,wrong-target"]);
    assert_eq!(code(&mended), 0);
    assert!(String::from_utf8(mended.stdout).unwrap().contains("the old plan is refused, the new one is sound"));
}
