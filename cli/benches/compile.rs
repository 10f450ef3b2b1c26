//! How long `sailplan compile` takes as a whole process, everything cold: reading, planning, emitting, checking.
#![expect(clippy::disallowed_methods, reason = "writes the fleets that it compiles for")]

use sailplan_cost_model::shipped_fleet;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    divan::main();
}

/// Model, fleet, and how many cards it has.
const CASES: [(&str, &str, usize); 9] = [
    ("tinyllama-1.1b", "equal", 4),
    ("llama-2-7b", "mixed", 8),
    ("llama-3-70b", "equal", 8),
    ("llama-3-70b", "mixed", 16),
    ("llama-3-70b", "equal", 64),
    ("llama-3-70b", "mixed", 64),
    ("mixtral-8x7b", "equal", 64),
    ("mixtral-8x7b", "mixed", 64),
    ("llama-3-405b", "equal", 256),
];

#[divan::bench(args = CASES.map(|(model, kind, cards)| format!("{model} on {cards} {kind}")), sample_count = 5, sample_size = 1)]
fn compile(bencher: divan::Bencher<'_, '_>, case: &str) {
    let words: Vec<&str> = case.split_whitespace().collect();
    let (model, cards, kind) = (words[0], words[2].parse().expect("a number"), words[3]);
    let fleet = fleet(kind, cards);
    bencher.bench(|| {
        let sailplan =
            Command::new(env!("CARGO_BIN_EXE_sailplan")).args(["compile", model, "--fleet"]).arg(&fleet).output();
        // 1 is an answer as well: no plan.
        assert!(sailplan.expect("it runs").status.code().is_some_and(|code| code < 2));
    });
}

/// Rev-A cards in a ring; mixed ones of 4 and 8 GiB at 1.5, 2 and 2.4 GB/s in turn.
fn fleet(kind: &str, cards: usize) -> PathBuf {
    let ring = shipped_fleet("innerjib7ea-x64-ring").expect("it is shipped");
    let one = &ring[ring.find("\"innerjib7ea\": (").expect("a kind")..ring.find("    },\n    sails").expect("cards")];
    let kinds = [("4 GiB", "1.5 GB/s"), ("8 GiB", "2 GB/s"), ("4 GiB", "2.4 GB/s"), ("8 GiB", "1.5 GB/s")];
    let text = if kind == "equal" {
        ring.replace("count: 64", &format!("count: {cards}"))
    } else {
        let named = kinds.iter().enumerate().map(|(index, (memory, rate))| {
            let kind = one.replace("innerjib7ea", &format!("k{index}")).replace("4 GiB", memory);
            kind.replace("\"2 GB/s\"", &format!("\"{rate}\""))
        });
        let sails: String = (0..cards).map(|card| format!("(kind: \"k{}\"), ", (card * 7 + card / 5) % 4)).collect();
        let text = ring.replace(one, &named.collect::<String>());
        text.replace("(kind: \"innerjib7ea\", count: 64)", &sails)
    };
    let path = std::env::temp_dir().join(format!("sailplan-bench-{kind}-{cards}.ron"));
    std::fs::write(&path, text).expect("the temporary folder takes a file");
    path
}
