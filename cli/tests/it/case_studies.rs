//! Pages of figures say what the compiler computes today.

use crate::commands::{sailplan, scratch};

#[path = "../../examples/adr_014.rs"]
mod adr_014;

#[path = "../../examples/reviewed_plans.rs"]
mod reviewed_plans;

#[test]
fn adr_014_is_what_plans_send() {
    let committed = include_str!("../../../docs/case-studies/adr-014.md");
    assert!(committed == adr_014::page(), "run ./x docs");
}

/// The page, and what its last section says of it.
#[test]
fn reviewed_plans_are_what_the_command_says() {
    let committed = include_str!("../../../docs/case-studies/reviewed-plans.md");
    let command = std::path::Path::new(env!("CARGO_BIN_EXE_sailplan"));
    assert!(committed == reviewed_plans::page(command, &scratch("reviewed-plans")), "run ./x docs");
    let differences = committed.lines().filter(|line| line.starts_with("classes"));
    assert!(differences.clone().count() == 7 && differences.into_iter().all(|line| line == "classes   estimate-only"));
    let gains = |figure: &str, most: f64| {
        let percent = |line: &str| line.split_whitespace().nth(5)?.parse::<f64>().ok();
        let all: Vec<f64> =
            committed.lines().filter(|line| line.trim_start().starts_with(figure)).filter_map(percent).collect();
        assert!(all.len() >= 7 && all.iter().all(|gain| *gain < 0.0 && *gain > -most), "{figure}: {all:?}");
    };
    gains("request ", 1.45);
    gains("decode ", 0.5);
    gains("prefill ", 9.5);
}

/// TinyLlama on two cards: 2 · 22 · 2048 values of 2 B, once; on four 3/2 of it, to a byte.
#[test]
fn the_count_is_twice_what_was_published() {
    let page = adr_014::page();
    for (cards, bytes) in [(2, "180224"), (4, "270336")] {
        let row = page.lines().find(|line| line.starts_with(&format!("| TinyLlama-1.1B | {cards} | 180224"))).unwrap();
        assert_eq!(row.split('|').nth(7).unwrap().trim(), bytes);
    }
}

/// The table of the tile heuristic's cost holds what `baseline` prints.
#[test]
fn the_tile_heuristic_costs_what_its_page_says() {
    let page = include_str!("../../../docs/case-studies/tile-heuristic.md");
    let printed = sailplan(&["baseline", "tinyllama-1.1b", "--fleet", "innerjib7ea-x4-ring"]).stdout;
    let printed = String::from_utf8(printed).unwrap();
    for (name, row) in
        [("compiled plan", "| compiled plan |"), ("tile heuristic", "| tile heuristic: layers split evenly |")]
    {
        let line = printed.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = line[24..].split_whitespace().collect();
        let row = format!("{row} {} {} | {} {} | {} {} |", words[0], words[1], words[2], words[3], words[4], words[5]);
        assert!(page.contains(&row), "docs/case-studies/tile-heuristic.md lacks\n{row}");
    }
}

#[test]
fn seventy_billion_parameters_beside_every_baseline() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/case-studies/llama-3-70b.md"));
    let page = page.expect("the page");
    for cards in [16, 32, 64] {
        let fleet = format!("innerjib7ea-x{cards}-ring");
        let output = sailplan(&["baseline", "llama-3-70b", "--fleet", &fleet]);
        let table = String::from_utf8(output.stdout).expect("text");
        assert!(page.contains(&table), "docs/case-studies/llama-3-70b.md lacks for {fleet}:\n{table}");
    }
}
