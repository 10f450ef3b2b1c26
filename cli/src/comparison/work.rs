//! What cards compute and send otherwise.

use super::View;
use super::deals::place;
use crate::summary::names;
use sailplan_codegen::{Tally, What};
use sailplan_ir::Bytes;

/// Totals, then collectives, then kernels, then loading.
pub(super) fn traffic(view: View<'_>) -> Vec<String> {
    let mut lines = view.lines(sent);
    lines.extend(view.lines(collectives));
    lines.extend(view.lines(program));
    lines.extend(view.lines(loading));
    lines
}

fn sent(what: &What) -> Option<String> {
    let What::Sent { phase, old, new } = what else { return None };
    Some(format!("{phase:<8} sends {}", change(*old, *new, "messages")))
}

fn collectives(what: &What) -> Option<String> {
    let What::Collectives { phase, part, kind, algorithm, old, new } = what else { return None };
    let change = match (old.count, new.count) {
        (0, count) => format!("added, {count} with {}", Bytes(new.bytes)),
        (count, 0) => format!("dropped, {count} with {}", Bytes(old.bytes)),
        _ => change(*old, *new, "times"),
    };
    Some(format!("{phase:<8} {}: {kind} {algorithm} {change}", place(part)))
}

fn change(old: Tally, new: Tally, what: &str) -> String {
    let count =
        if old.count == new.count { String::new() } else { format!("{} → {} {what}, ", old.count, new.count) };
    let (from, to) = (Bytes(old.bytes), Bytes(new.bytes));
    // A change below what is shown is said to the byte.
    let bytes = match (old.bytes == new.bytes, from.to_string() == to.to_string()) {
        (true, _) => format!("{from} as before"),
        (false, true) => format!("{} B → {} B", old.bytes, new.bytes),
        (false, false) => format!("{from} → {to}"),
    };
    format!("{count}{bytes}")
}

fn program(what: &What) -> Option<String> {
    let What::Program { phase, part, sails, kernels } = what else { return None };
    let counts: Vec<String> = kernels.iter().map(|one| format!("{} {} → {}", one.op, one.old, one.new)).collect();
    // Without other kernels, the lines about collectives and shares say it.
    (!counts.is_empty()).then(|| format!("{phase:<8} {} on {}: {}", place(part), names(sails), counts.join(", ")))
}

fn loading(what: &What) -> Option<String> {
    let What::Loading { old_host, new_host, old_handed_on, new_handed_on } = what else { return None };
    let parts = [("from the host", *old_host, *new_host), ("handed on", *old_handed_on, *new_handed_on)];
    let differing = parts.iter().filter(|part| part.1 != part.2);
    let said: Vec<String> =
        differing.map(|(name, old, new)| format!("{} → {} {name}", Bytes(*old), Bytes(*new))).collect();
    Some(format!("{:<8} {}", "load", said.join(", ")))
}
