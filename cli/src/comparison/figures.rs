//! Times, memory and proofs of two plans side by side.

use super::View;
use crate::summary::{names, sustain};
use sailplan_codegen::{Memory, Plan, What, headroom};
use sailplan_ir::{Bytes, Picoseconds};

/// The columns of the budget.
pub(super) fn budget_title() -> String {
    format!("{:<12} {:>12} {:>12}", "budget", "old", "new")
}

/// Times that differ; under the objective, where it goes.
pub(super) fn budget(view: View<'_>) -> Vec<String> {
    let (old, new) = (&view.old.estimate, &view.new.estimate);
    let (from, to) = (old.by_resource, new.by_resource);
    let of = |part: &str| format!("  {part}");
    let rows = [
        ("prefill".to_owned(), old.prefill, new.prefill),
        ("decode".to_owned(), old.decode, new.decode),
        ("request".to_owned(), old.request, new.request),
        (of("DDR"), from.ddr, to.ddr),
        (of("compute"), from.compute, to.compute),
        (of("link"), from.link, to.link),
        (of("host"), from.host, to.host),
        ("ready".to_owned(), old.ready, new.ready),
    ];
    let part = |name: &str| name.starts_with(' ');
    let comparable = rows.iter().filter(|row| !(view.other_objective() && part(&row.0)));
    let differing = comparable.filter(|(_, old, new)| old != new);
    differing
        .map(|(name, old, new)| {
            let rate = if name == "decode" { rates(view) } else { String::new() };
            format!("{name:<10} {old:>12} {new:>12} {:>10}{rate}", percent(*old, *new))
        })
        .collect()
}

fn rates(view: View<'_>) -> String {
    let rate = |plan: &Plan| match plan.estimate.decode.seconds() {
        seconds if seconds > 0.0 => plan.request.batch as f64 / seconds,
        _ => 0.0,
    };
    format!("   {:.2} → {:.2} tokens/s", rate(view.old), rate(view.new))
}

/// By how much a time changed.
pub(super) fn percent(old: Picoseconds, new: Picoseconds) -> String {
    if old.0 == 0 {
        return String::new();
    }
    let percent = (new.0 as f64 / old.0 as f64 - 1.0) * 100.0;
    if percent.abs() < 0.095 { format!("{percent:+.3} %") } else { format!("{percent:+.1} %") }
}

/// Arenas that differ, and what is left.
pub(super) fn memory(view: View<'_>) -> Vec<String> {
    view.lines(|what| match what {
        What::Memory { sails, old, new } => {
            Some(format!("{:<16} {}", names(sails), arenas(old.as_ref(), new.as_ref())))
        }
        _ => None,
    })
}

fn arenas(old: Option<&Memory>, new: Option<&Memory>) -> String {
    match (old, new) {
        (Some(old), Some(new)) => {
            let activations = |memory: &Memory| memory.activations + memory.scratch;
            let parts = [
                ("weights", old.weights, new.weights),
                ("kv", old.kv, new.kv),
                ("activations", activations(old), activations(new)),
                ("headroom", headroom(old), headroom(new)),
            ];
            let differing = parts.iter().filter(|part| part.1 != part.2);
            differing.map(|(name, old, new)| format!("{name} {old} → {new}")).collect::<Vec<_>>().join(", ")
        }
        (Some(old), None) => format!("held {}, now without work", held(old)),
        (None, Some(new)) => format!("without work, now holds {}, headroom {}", held(new), headroom(new)),
        (None, None) => String::new(),
    }
}

fn held(memory: &Memory) -> Bytes {
    memory.weights + memory.kv + memory.activations + memory.scratch
}

/// How the search ended, the bound, and what cards must compute.
pub(super) fn proof(view: View<'_>) -> Vec<String> {
    let mut lines = view.lines(|what| match what {
        // The bound of a proven plan is its objective.
        What::Certificate { field: "bound", .. } => None,
        What::Certificate { field, old, new } => Some(format!("{field:<10} {old} → {new}")),
        _ => None,
    });
    let gap = |plan: &Plan| plan.certificate.gap(plan.estimate.objective) * 100.0;
    if gap(view.old) > 0.0 || gap(view.new) > 0.0 {
        lines.push(format!("{:<10} {:.3} % → {:.3} %", "gap", gap(view.old), gap(view.new)));
    }
    let bounds = (view.old.estimate.lower_bound, view.new.estimate.lower_bound);
    if bounds.0 != bounds.1 && !view.other_objective() {
        let percent = percent(bounds.0, bounds.1);
        lines.push(format!("{:<10} {} → {} for any plan on the fleet ({percent})", "bound", bounds.0, bounds.1));
    }
    lines.extend(rates_to_sustain(view));
    lines
}

fn rates_to_sustain(view: View<'_>) -> Option<String> {
    let (old, new) = (sustain(view.old), sustain(view.new));
    let line = match (old, new) {
        (old, new) if old == new => return None,
        (Some(old), Some(new)) => {
            let parts = [("decode", old.decode, new.decode), ("prefill", old.prefill, new.prefill)];
            let differing = parts.iter().filter(|part| part.1 != part.2);
            let said: Vec<String> = differing.map(|(name, old, new)| format!("{old} → {new} in {name}")).collect();
            format!("memory-bound from {} a Sail", said.join(", "))
        }
        (Some(_), None) => "rates of all Sails are known now".to_owned(),
        (None, new) => new.map(|new| format!("memory-bound from {} a Sail in decode", new.decode))?,
    };
    Some(format!("{:<10} {line}", "compute"))
}
