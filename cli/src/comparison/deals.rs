//! Where layers and slices went, and what that sends.

use super::View;
use crate::summary::names;
use sailplan_codegen::{Held, Part, Slice, What, tensor_name};
use sailplan_ir::{Bytes, SailId};

/// Names of one line.
const NAMES: usize = 4;

/// Homes first, then shares, then bytes.
pub(super) fn moved(view: View<'_>) -> Vec<String> {
    let mut lines = homes(view);
    let moving = !lines.is_empty();
    if !moving {
        lines.extend(view.lines(stages));
    }
    let bytes = resent(view);
    let room = super::MOST.saturating_sub(lines.len() + usize::from(bytes.is_some()));
    let shares = view.lines(|what| dealt(what, moving));
    let shown = if shares.len() > room { room.saturating_sub(1) } else { shares.len() };
    lines.extend(shares.iter().take(shown).cloned());
    if shown < shares.len() {
        lines.push(format!("and {} more shares, see --json", shares.len() - shown));
    }
    lines.extend(bytes);
    lines
}

/// Segments with the same move on one line.
fn homes(view: View<'_>) -> Vec<String> {
    let mut moves: Vec<(Vec<String>, String)> = Vec::new();
    for change in view.changes {
        let What::Home { part, old, new } = &change.what else { continue };
        let way = format!("{} → {}", names(old), names(new));
        match moves.iter_mut().find(|one| one.1 == way) {
            Some(one) => one.0.push(place(part)),
            None => moves.push((vec![place(part)], way)),
        }
    }
    moves.into_iter().map(|(parts, way)| format!("{:<16}  {way}", parts.join(", "))).collect()
}

/// A part of the chain.
pub(super) fn place(part: &Part) -> String {
    match part {
        Part::Layers([first, last]) if first == last => format!("layer {first}"),
        Part::Layers([first, last]) => format!("layers {first} to {last}"),
        Part::Named(name) => name.clone(),
    }
}

fn stages(what: &What) -> Option<String> {
    let What::Stages { old, new } = what else { return None };
    let groups = |stages: &[sailplan_codegen::StageOf]| {
        stages.iter().map(|stage| names(&stage.group)).collect::<Vec<_>>().join(" | ")
    };
    Some(format!("{:<16} {} → {}", "stages", groups(old), groups(new)))
}

fn dealt(what: &What, moving: bool) -> Option<String> {
    let What::Dealt { tensors, layers, old, new } = what else { return None };
    // What only one side has is another model; what is cut alike has moved with its layer.
    if old.is_empty() || new.is_empty() || (moving && alike(old, new)) {
        return None;
    }
    let layers = layers.as_ref().map(|layers| format!(" ({})", place(&Part::Layers(*layers)))).unwrap_or_default();
    Some(format!("{}{layers}: {} → {}", tensor_names(tensors), share(old, new), share(new, old)))
}

fn alike(old: &[Held], new: &[Held]) -> bool {
    let bare = |held: &[Held]| {
        let mut slices: Vec<(Slice, bool)> = held.iter().map(|held| (held.slice, held.streamed)).collect();
        slices.sort();
        if slices.iter().all(|slice| slice.0 == Slice::Whole) {
            slices.dedup();
        }
        slices
    };
    bare(old) == bare(new)
}

fn tensor_names(tensors: &[String]) -> String {
    let short = |name: &String| {
        let name = tensor_name(name);
        let name = name.rsplit_once("{layer}.").map_or(name, |parts| parts.1);
        name.strip_suffix(".weight").unwrap_or(name).to_owned()
    };
    let shown: Vec<String> = tensors.iter().take(NAMES).map(short).collect();
    let more = tensors.len() - shown.len();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// `rows 512 x 4`, with the cards when the other side has others.
fn share(held: &[Held], other: &[Held]) -> String {
    let cards = |held: &[Held]| -> Vec<SailId> {
        let mut cards: Vec<SailId> = held.iter().map(|held| held.sail).collect();
        cards.dedup();
        cards
    };
    let whole = held.iter().all(|held| held.slice == Slice::Whole);
    let on = if cards(held) == cards(other) && !whole { String::new() } else { format!(" on {}", names(&cards(held))) };
    let host = if held.iter().any(|held| held.streamed) { " from the host" } else { "" };
    let cut = if whole { "whole".to_owned() } else { cut(held) };
    format!("{cut}{on}{host}")
}

fn cut(held: &[Held]) -> String {
    let widths: Vec<(&str, u64)> = held
        .iter()
        .map(|held| match held.slice {
            Slice::Whole => ("whole", 1),
            Slice::Cut { axis: 0, start, end } => ("rows", end - start),
            Slice::Cut { axis: 1, start, end } => ("columns", end - start),
            Slice::Cut { start, end, .. } => ("elements", end - start),
            Slice::Positions(share) => ("one position in", share.of()),
        })
        .collect();
    let mut text: Vec<String> = Vec::new();
    let mut axis = "";
    for run in widths.chunk_by(|a, b| a == b) {
        let (name, width) = run[0];
        let count = if run.len() > 1 { format!(" x {}", run.len()) } else { String::new() };
        let named = if name == axis { format!("{width}{count}") } else { format!("{name} {width}{count}") };
        text.push(named);
        axis = name;
    }
    text.join(", ")
}

/// What has to be sent, on one line, and how long the host takes at least.
fn resent(view: View<'_>) -> Option<String> {
    let each: Vec<(&Vec<SailId>, Bytes)> = view
        .changes
        .iter()
        .filter_map(|change| match &change.what {
            What::Resend { sails, bytes } => Some((sails, Bytes(*bytes))),
            _ => None,
        })
        .collect();
    let all: Bytes = each.iter().map(|(sails, bytes)| bytes.times(sails.len() as u64)).sum();
    let parts: Vec<String> =
        each.iter().take(NAMES).map(|(sails, bytes)| format!("{bytes} to {}", many(sails))).collect();
    let more = if each.len() > NAMES { ", …" } else { "" };
    let count: usize = each.iter().map(|(sails, _)| sails.len()).sum();
    (!each.is_empty()).then(|| {
        let total = if count > 1 { format!("; {all} in all") } else { String::new() };
        format!("{:<16} {}{more}{total}", "to send again", parts.join(", "))
    })
}

fn many(sails: &[SailId]) -> String {
    if sails.len() > 1 { format!("each of {}", names(sails)) } else { names(sails) }
}
