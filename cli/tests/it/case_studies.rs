//! Pages of figures say what the compiler computes today.

#[path = "../../examples/adr_014.rs"]
mod adr_014;

#[test]
fn adr_014_is_what_plans_send() {
    let committed = include_str!("../../../docs/case-studies/adr-014.md");
    assert!(committed == adr_014::page(), "run ./x docs");
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
