//! An explanation for people.

use super::alternatives::Alternative;
use super::chosen::{Chosen, StageChosen, Work};
use super::gains::Gain;
use super::holding::{Held, Holding};
use super::tipping::Tipping;
use super::{Explanation, Spent};
use crate::summary::names;
use sailplan_ir::{Bytes, Picoseconds, SailId};
use std::fmt::Write;

/// The whole of it.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut text = format!("{} on {}", explanation.model, explanation.fleet);
    let _ = match &explanation.part {
        Some(part) => writeln!(text, ": {part}"),
        None => writeln!(text),
    };
    let whole = explanation.part.is_none();
    if whole || !explanation.alternatives.is_empty() {
        let _ =
            writeln!(text, "  chosen    {}: {} {}", explanation.structure, explanation.objective, explanation.takes);
    }
    if whole {
        let _ = writeln!(text, "  binds     {}", spent(&explanation.resources));
    }
    explanation.stages.iter().for_each(|one| stage(&mut text, one));
    explanation.classes.iter().for_each(|one| class(&mut text, one));
    explanation.holdings.iter().for_each(|one| cards(&mut text, one));
    section(&mut text, "what would save time, with the plan made anew", &explanation.gains, gain);
    let next = if whole { "the next best plans" } else { "held otherwise" };
    section(&mut text, next, &explanation.alternatives, alternative);
    section(&mut text, "tipping points", &explanation.tipping, tipping);
    if !explanation.current {
        text.push_str("  note      this build plans otherwise: compile again\n");
    }
    let _ = match explanation.solved {
        1 => writeln!(text, "  1 plan was made for this"),
        many => writeln!(text, "  {many} plans were made for this"),
    };
    text
}

fn section<T>(text: &mut String, title: &str, rows: &[T], row: impl Fn(&T) -> String) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {title}");
    rows.iter().for_each(|one| text.extend(["    ", &row(one), "\n"]));
}

/// The shares of the resources, the largest first.
fn spent(spent: &Spent) -> String {
    let mut parts =
        [("DDR", spent.ddr_s), ("compute", spent.compute_s), ("link", spent.link_s), ("host", spent.host_s)];
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: f64 = parts.iter().map(|part| part.1).sum();
    let shown = parts.iter().filter(|part| part.1 > 0.0);
    shown.map(|(name, time)| format!("{name} {:.1} %", time / all * 100.0)).collect::<Vec<_>>().join(", ")
}

fn stage(text: &mut String, stage: &StageChosen) {
    let sails = names(&stage.sails);
    let _ = writeln!(
        text,
        "  stage {:<3} {sails}: {} a chunk in prefill, {} a token in decode; least memory left {} on {}",
        stage.stage,
        stage.prefill,
        stage.decode,
        Bytes(stage.left),
        stage.tightest
    );
}

fn class(text: &mut String, class: &Chosen) {
    let layers = match class.layers {
        0 => String::new(),
        1 => ", 1 layer".to_owned(),
        many => format!(", {many} layers"),
    };
    let _ = writeln!(text, "  {} on stage {}{layers}", class.class, class.stage);
    for (name, work) in [("prefill", &class.prefill), ("decode", &class.decode)] {
        let _ = writeln!(text, "    {name:<8} {}", done(work));
    }
    for held in &class.weights {
        let _ = writeln!(text, "    {:<32} {}", held.tensor, shares(held));
    }
}

fn done(work: &Work) -> String {
    let mut text = format!("kernels {}", work.kernels);
    for one in &work.exchanges {
        let _ = write!(text, "; {} {} ({}) {}", one.count, one.kind, one.algorithm, one.time);
    }
    text
}

/// How a tensor is cut, in one line.
fn shares(held: &Holding) -> String {
    let layers = held.layers.map(|[first, last]| format!(" in layers {first} to {last}")).unwrap_or_default();
    let from = if held.streamed { ", from the host at every step" } else { "" };
    let Some(axis) = held.axis else {
        let sails: Vec<SailId> = held.parts.iter().map(|part| part.sail).collect();
        return format!("whole on {}{layers}{from}", names(&sails));
    };
    if let Some(share) = held.parts.first().and_then(|part| part.positions) {
        return format!("positions in turns on {} Sails{layers}", share.of());
    }
    let size = |part: &Held| part.elements.map_or(0, |[start, end]| end - start);
    let runs = held.parts.chunk_by(|a, b| size(a) == size(b));
    let sizes: Vec<String> = runs.map(|run| format!("{} x {}", size(&run[0]), run.len())).collect();
    format!("axis {axis} cut as {}{layers}{from}", sizes.join(", "))
}

/// How a tensor is held, card by card.
fn cards(text: &mut String, held: &Holding) {
    let _ = writeln!(text, "  stage {:<3} {}", held.stage, shares(held));
    for part in &held.parts {
        let all = || part.positions.map_or_else(|| "all".to_owned(), |share| share.to_string());
        let elements = part.elements.map_or_else(all, |[start, end]| format!("{start}..{end}"));
        let each = if held.layers.is_some() { " a layer" } else { "" };
        let _ = writeln!(text, "    {:<8} {elements:<16} {}{each}", part.sail.to_string(), Bytes(part.bytes));
    }
}

fn gain(gain: &Gain) -> String {
    let moves = if gain.moves { format!("; becomes {}", gain.structure) } else { String::new() };
    let saves = if gain.saves == Picoseconds(0) {
        "nothing".to_owned()
    } else {
        format!("{} ({} a token)", gain.saves, gain.saves_per_token)
    };
    format!("{:<36} {saves}{moves}", gain.change)
}

fn alternative(one: &Alternative) -> String {
    let Some(takes) = one.takes else { return format!("{}: {}", one.demand, one.structure) };
    let signed = |more: i128| {
        let sign = if more < 0 { "−" } else { "+" };
        format!("{sign}{}", Picoseconds(u64::try_from(more.unsigned_abs()).unwrap_or(u64::MAX)))
    };
    let total: i128 = one.more.iter().map(|part| part.1).sum();
    let parts: Vec<String> =
        one.more.iter().filter(|part| part.1 != 0).map(|(name, more)| format!("{name} {}", signed(*more))).collect();
    let how = if parts.is_empty() { String::new() } else { format!(" = {}", parts.join(", ")) };
    format!("{}: {}: {takes}, {}{how}", one.demand, one.structure, signed(total))
}

fn tipping(one: &Tipping) -> String {
    let (word, figure) = (if one.up { "up" } else { "down" }, one.figure);
    match (&one.tips_at, &one.becomes) {
        (Some(at), Some(becomes)) => {
            let side = if one.up { "from" } else { "at and below" };
            format!("{figure:<16} {side} {at} (now {}): {becomes}", one.now)
        }
        _ => format!("{figure:<16} {word} to {} (now {}): no change found", one.same_at, one.now),
    }
}
