//! `docs/plan-format.md` is true: its example is a plan, and it names every field and every word of the format.

use crate::placements::{plan_of, plans};
use sailplan_codegen::{read, write};
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../docs/plan-format.md");

/// The annotated example.
fn example() -> &'static str {
    let after = DOCUMENT.split_once("```ron\n").unwrap().1;
    after.split_once("```").unwrap().0
}

#[test]
fn the_example_is_read_and_is_what_is_written() {
    let plan = read("example.ron", example()).unwrap();
    assert_eq!(*plan, plan_of("one"));
    let bare: String =
        example().lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    assert_eq!(bare, write(&plan));
}

/// Words before a colon, outside of strings.
fn fields(text: &str) -> BTreeSet<&str> {
    let outside = text.split('"').step_by(2);
    let words = outside.flat_map(|part| part.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')));
    words.filter_map(|word| word.strip_suffix(':')).filter(|word| !word.is_empty()).collect()
}

/// Words before a bracket, outside of strings.
fn variants(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for part in text.split('"').step_by(2) {
        for (end, _) in part.match_indices('(') {
            let start = part[..end].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |before| before + 1);
            found.insert(&part[start..end]);
        }
    }
    found.remove("");
    found
}

/// The figures of a fleet have their own document.
fn without_the_fleet(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("inline:")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_field_and_every_word_is_named() {
    let texts: Vec<String> = plans().iter().map(|(_, plan)| without_the_fleet(&write(plan))).collect();
    let prose = DOCUMENT.replace(example(), "");
    let named = |word: &str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        prose.split(|c: char| !is_word(c)).any(|other| other == word)
    };
    let words: BTreeSet<&str> = texts.iter().flat_map(|text| fields(text).into_iter().chain(variants(text))).collect();
    for kind in ["Kernel", "Slice", "Collective", "Send", "Recv", "Stream", "HostRecv", "HostSend", "Once", "Layers"] {
        assert!(words.contains(kind), "no plan has {kind}");
    }
    for field in ["streamed", "from", "to", "into", "parts", "tag", "sustain", "slice", "stride"] {
        assert!(words.contains(field), "no plan has {field}");
    }
    // Attributes of operators stand in the table of operators.
    let attributes =
        ["epsilon", "base", "head_dim", "rotary_dim", "heads", "kv_heads", "experts", "used", "renormalise"];
    let missing: Vec<&str> = words.into_iter().filter(|word| !named(word) && !attributes.contains(word)).collect();
    assert!(missing.is_empty(), "not in docs/plan-format.md: {missing:?}");
}
