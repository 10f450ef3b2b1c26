//! The weights that move from an old plan to a new one: how many, from where, over which links, and how long that takes.

use crate::summary::names;
use sailplan_codegen::{Plan, Sources, moves};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, Delivery, Picoseconds, Routes, SailId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// `replan` of `compile --json`. Times are seconds, sizes bytes.
#[derive(Serialize)]
pub(crate) struct Moved {
    pub(crate) bytes: u64,
    /// Until the last card has its last piece.
    pub(crate) seconds: f64,
    /// A cold start of the new plan instead.
    pub(crate) fresh_s: f64,
    pub(crate) moves: Vec<Move>,
}

/// What a card is sent from one place.
#[derive(Serialize)]
pub(crate) struct Move {
    pub(crate) sail: SailId,
    /// Null is the host.
    pub(crate) from: Option<SailId>,
    /// The Sails on the way.
    pub(crate) over: Vec<SailId>,
    pub(crate) bytes: u64,
    /// On its links, when they carry nothing else.
    pub(crate) seconds: f64,
}

/// What moves: from the host alone, or from cards that have it, whichever has all cards ready first; of equal ones from
/// cards. The pieces that are handed on most often go first, as in a load plan.
pub(crate) fn moved(costs: &CostModel<'_>, old: &Plan, new: &Plan) -> Moved {
    let ways = [Sources::Cards, Sources::Host].map(|sources| {
        let mut deliveries = moves(old, new, sources);
        deliveries.sort_by_key(|delivery| std::cmp::Reverse(links(costs, delivery)));
        (costs.delivered(&deliveries), deliveries)
    });
    let sooner = ways.into_iter().min_by_key(|(time, _)| *time);
    let (time, deliveries) = sooner.unwrap_or_default();
    let bytes = deliveries.iter().map(|delivery| delivery.bytes.times(delivery.to.len() as u64)).sum::<Bytes>();
    // The host's latency passes before the first of its messages; without any message nothing passes.
    let time = if deliveries.is_empty() { Picoseconds(0) } else { time };
    let moves = rows(costs, new, &deliveries);
    Moved { bytes: bytes.0, seconds: time.seconds(), fresh_s: new.estimate.ready.seconds(), moves }
}

/// Time that a piece is on links between cards.
fn links(costs: &CostModel<'_>, delivery: &Delivery) -> Picoseconds {
    let steps = delivery.steps().filter(|(_, from)| from.is_some());
    steps.map(|(to, from)| costs.sent(from, to, delivery.bytes)).sum()
}

/// What each card is sent, by where it comes from; the host last.
fn rows(costs: &CostModel<'_>, new: &Plan, deliveries: &[Delivery]) -> Vec<Move> {
    let routes = Routes::new(&new.fleet.inline);
    let mut sums: BTreeMap<(SailId, bool, Option<SailId>), (Bytes, Picoseconds)> = BTreeMap::new();
    for delivery in deliveries {
        for (to, from) in delivery.steps() {
            let sum = sums.entry((to, from.is_none(), from)).or_default();
            sum.0 += delivery.bytes;
            sum.1 += costs.sent(from, to, delivery.bytes);
        }
    }
    let row = |((sail, _, from), (bytes, time)): ((SailId, bool, Option<SailId>), (Bytes, Picoseconds))| Move {
        sail,
        from,
        over: from.map_or_else(Vec::new, |from| between(&routes, from, sail, new.fleet.inline.size())),
        bytes: bytes.0,
        seconds: time.seconds(),
    };
    sums.into_iter().map(row).collect()
}

/// The cards on the way from one to another; a switch is none.
fn between(routes: &Routes, from: SailId, to: SailId, cards: usize) -> Vec<SailId> {
    let ends = routes.path(from.index(), to.index()).map(|wire| wire.to);
    ends.filter(|&end| end != to.index() && end < cards).map(|end| SailId(end as u16)).collect()
}

/// So many sources of a card are named; `--json` has all.
const NAMED: usize = 3;

/// For people, below the summary of the new plan: a line for each card.
pub(crate) fn text(moved: &Moved) -> String {
    if moved.moves.is_empty() {
        return "  moves     nothing: every Sail holds its weights\n".to_owned();
    }
    let (all, fresh) = (time(moved.seconds), time(moved.fresh_s));
    let mut text = format!("  moves     {} in {all}; a cold start takes {fresh}\n", Bytes(moved.bytes));
    for card in moved.moves.chunk_by(|one, other| one.sail == other.sail) {
        let mut largest: Vec<&Move> = card.iter().collect();
        largest.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        let mut parts: Vec<String> = largest.iter().take(NAMED).map(|one| source(one)).collect();
        if let Some(more) = largest.get(NAMED..).filter(|more| !more.is_empty()) {
            let bytes = more.iter().map(|one| Bytes(one.bytes)).sum::<Bytes>();
            parts.push(format!("{bytes} from {} more", more.len()));
        }
        let _ = writeln!(text, "  {:<9} {}", card[0].sail.to_string(), parts.join("; "));
    }
    text
}

fn source(one: &Move) -> String {
    let from = one.from.map_or_else(|| "the host".to_owned(), |from| from.to_string());
    let over = match &one.over[..] {
        [] => String::new(),
        few @ ([_] | [_, _]) => format!(" over {}", names(few)),
        many => format!(" over {} Sails", many.len()),
    };
    format!("{} from {from}{over} in {}", Bytes(one.bytes), time(one.seconds))
}

fn time(seconds: f64) -> Picoseconds {
    Picoseconds((seconds * 1e12).round() as u64)
}
