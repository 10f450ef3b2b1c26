//! Hostile texts are refused with a place and a reason, before they cost anything: one test for each limit.

use crate::placements::plan_of;
use sailplan_codegen::{read, write};
use sailplan_ir::{At, Diagnostics};

/// The first problem of a text: where, and what.
#[track_caller]
fn refused(text: &str, words: &str) -> At {
    let problems: Diagnostics = read("plan.ron", text).unwrap_err();
    let first = &problems.0[0];
    assert!(first.to_string().contains(words), "{first}");
    assert!(first.message.len() < 1000, "{} bytes of message", first.message.len());
    first.place.clone().expect("a place").at
}

/// A sound plan's text with one thing replaced.
#[track_caller]
fn edited(plan: &str, from: &str, to: &str) -> String {
    let text = write(&plan_of(plan));
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1)
}

#[test]
fn a_large_file() {
    assert_eq!(refused(&" ".repeat((64 << 20) + 1), "at most 67108864"), At::Whole);
}

#[test]
fn deep_nesting() {
    for open in ["[", "(", "{"] {
        let text = format!("Plan(version: 2, sails: {}", open.repeat(1 << 13));
        assert!(matches!(refused(&text, "bytes"), At::Span(_)), "{open}");
    }
    for open in ["Some(", "/*"] {
        let text = format!("Plan(version: 2, digest: {}", open.repeat(1 << 13));
        assert!(matches!(refused(&text, "bytes"), At::Span(_)), "{open}");
    }
    let deep = format!("Plan(version: 2, digest: \"\", made_by: \"\", whatever: {}", "[".repeat(1 << 20));
    refused(&deep, "bytes without a quotation mark");
}

#[test]
fn long_strings() {
    let long = "x".repeat(1 << 20);
    let at = refused(&edited("one", "\"small\"", &format!("\"{long}\"")), "1048576 bytes without a quotation mark");
    assert!(matches!(at, At::Span(span) if span.len() == 1 << 20));
    let short = "7".repeat(1 << 15);
    refused(&edited("one", "layers: \"0..3\"", &format!("layers: \"{short}\"")), "is not a range of layers");
}

#[test]
fn long_lists() {
    refused(&edited("one", "group: \"0\"", "group: \"0..4097\""), "is not a list of cards");
    refused(&edited("one", "group: \"0\"", "group: \"0..1000000000\""), "is not a list of cards");
    refused(&edited("gather", "\"32 x 2\"", "\"0 x 18446744073709551615\""), "is not a list such as");
    let runs = vec!["1"; 4097].join(", ");
    refused(&edited("one", "(layers: \"0..3\", body", &format!("(layers: \"{runs}\", body")), "are not layers such as");
}

#[test]
fn long_lists_together() {
    let text = write(&plan_of("reduce"));
    let list = text.lines().find(|line| line.contains("Collective(")).unwrap();
    let long = list.replace("group: \"0..2\"", "group: \"0..4096\"") + "\n";
    let many = text.replacen(list, &long.repeat(1100), 1);
    refused(&many, "is not a list of cards");
}

/// A short file whose lines stand for tens of gigabytes.
#[test]
fn a_file_that_unfolds_to_much() {
    let text = write(&plan_of("one"));
    let line = text.lines().find(|line| line.contains("Kernel(op: Add")).unwrap();
    let bodies = text.replacen(line, &format!("{line}\n").repeat(4000), 1);
    let runs: Vec<String> = (0..4000).map(|layer| layer.to_string()).collect();
    let runs = format!("(layers: \"{}\", body", runs.join(", "));
    let at = refused(&bodies.replacen("(layers: \"0..3\", body", &runs, 1), "the digest is not");
    assert_eq!(at, At::Name("digest".to_owned()));
    let problems = read("plan.ron", &bodies.replacen("(layers: \"0..3\", body", &runs, 1)).unwrap_err();
    assert!(problems.to_string().contains("make more than 536870912 bytes"), "{problems}");
    assert!(problems.to_string().contains("sail0.prefill.run[1]"), "{problems}");
}

#[test]
fn many_problems() {
    let text = write(&plan_of("one"));
    let line = text.lines().find(|line| line.contains("(op: Add")).unwrap();
    let problems = read("plan.ron", &text.replacen(line, &format!("{line}\n").repeat(4000), 1)).unwrap_err();
    assert!(problems.0.len() < 60 && problems.to_string().contains("more problems"), "{}", problems.0.len());
}

#[test]
fn many_layers() {
    let problems = |from: &str, to: &str| read("plan.ron", &edited("one", from, to)).unwrap_err().to_string();
    assert!(problems("(layers: \"0..3\", body", "(layers: \"0..4294967295\", body").contains("or too much"));
    assert!(
        problems("(class: \"layer\", layers: \"0..3\"", "(class: \"layer\", layers: \"0..4294967295\"")
            .contains("too many")
    );
    assert!(problems("weight\", layers: \"0..3\"", "weight\", layers: \"0..4294967295\"").contains("or for too many"));
}

#[test]
fn a_terabyte_arena() {
    for arena in ["weights", "kv", "activations", "scratch"] {
        let mut plan = plan_of("reduce");
        let memory = &mut plan.sails[1].memory;
        let arena = match arena {
            "weights" => &mut memory.weights,
            "kv" => &mut memory.kv,
            "activations" => &mut memory.activations,
            _ => &mut memory.scratch,
        };
        arena.0 = 1 << 40;
        let at = refused(&write(&plan), "the Sail has");
        assert_eq!(at, At::Name("sail1.memory".to_owned()));
    }
}

#[test]
fn a_thousand_million_cards() {
    refused(&edited("one", "count: ", "count: 100000000"), "");
    let mut plan = plan_of("one");
    plan.fleet.inline.sails = vec![plan.fleet.inline.sails[0].clone(); 9000];
    plan.fleet.inline.sails.iter_mut().for_each(|run| run.count = u16::MAX);
    refused(&write(&plan), "more than the 4096 that are supported");
}

#[test]
fn tokens_beyond_counting() {
    for field in ["prompt", "context", "batch", "chunk"] {
        let mut plan = plan_of("one");
        let request = &mut plan.request;
        *match field {
            "prompt" => &mut request.prompt,
            "context" => &mut request.context,
            "batch" => &mut request.batch,
            _ => &mut request.chunk,
        } = u64::MAX;
        assert!(read("plan.ron", &write(&plan)).is_err(), "{field}");
    }
}
