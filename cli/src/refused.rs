//! A refusal for people, and as JSON: demands and relaxations one a line, with the flags to pass.

use crate::render::quoted;
use sailplan_ir::{At, Place};
use sailplan_planner::{Refusal, Relaxation};
use serde::Serialize;
use std::fmt::Write;

/// `{refused: …}`.
#[derive(Serialize)]
pub(crate) struct Refused {
    refused: Reasons,
}

#[derive(Serialize)]
struct Reasons {
    demands: Vec<Demanded>,
    relaxations: Vec<Admitted>,
}

#[derive(Serialize)]
struct Demanded {
    name: String,
    kind: &'static str,
    demand: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// Times are seconds.
#[derive(Serialize)]
struct Admitted {
    change: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<String>,
    objective: f64,
    tokens_per_s: f64,
}

/// As JSON.
pub(crate) fn json(refusal: &Refusal) -> Refused {
    let demanded = |one: &sailplan_planner::Demanded| Demanded {
        name: one.name.clone(),
        kind: one.kind,
        demand: one.words.clone(),
        bytes: one.bytes.map(|bytes| bytes.0),
        place: one.place.as_ref().map(place),
    };
    let admitted = |one: &Relaxation| Admitted {
        change: one.change.to_string(),
        flags: one.change.flags(),
        objective: one.objective.seconds(),
        tokens_per_s: one.sequences as f64 / one.decode.seconds(),
    };
    let demands = refusal.demands.iter().map(demanded).collect();
    Refused { refused: Reasons { demands, relaxations: refusal.relaxations.iter().map(admitted).collect() } }
}

/// For people.
pub(crate) fn text(refusal: &Refusal) -> String {
    let mut text = String::from(match refusal.demands.len() {
        1 => "no plan: this demand cannot be met\n",
        _ => "no plan: these demands cannot hold together; without any one of them the others can\n",
    });
    for demand in &refusal.demands {
        let place = demand.place.as_ref().map(|at| format!(" ({})", place(at))).unwrap_or_default();
        let name = if demand.kind == "pin" { format!("pin `{}`", demand.name) } else { demand.name.clone() };
        let _ = writeln!(text, "  {name}: {}{place}", demand.words);
    }
    for one in &refusal.relaxations {
        let _ = writeln!(text, "  would admit a plan: {}", admitted(one));
    }
    if refusal.relaxations.is_empty() {
        text.push_str("  no single change admits a plan: change several of these together\n");
    }
    text
}

/// The flags, what they mean, and what the plan takes.
fn admitted(one: &Relaxation) -> String {
    let change = match one.change.flags() {
        Some(flags) => format!("{flags} ({})", one.change),
        None => one.change.to_string(),
    };
    let streaming = one.streaming.map(|(bytes, time)| format!(", {time} of a step for {bytes} from the host"));
    let rate = one.sequences as f64 / one.decode.seconds();
    format!("{change}: objective {}, {} tokens/s{}", one.objective, figures(rate), streaming.unwrap_or_default())
}

/// Three figures at least.
fn figures(rate: f64) -> String {
    let places = if rate < 1.0 { (2.0 - rate.log10()).clamp(2.0, 9.0) as usize } else { 2 };
    format!("{rate:.places$}")
}

/// File and line.
fn place(place: &Place) -> String {
    let line = match (&place.at, quoted(&place.file)) {
        (At::Span(span), Some(text)) => text.get(..span.start).map(|before| before.matches('\n').count() + 1),
        _ => None,
    };
    line.map_or_else(|| place.file.clone(), |line| format!("{}:{line}", place.file))
}
