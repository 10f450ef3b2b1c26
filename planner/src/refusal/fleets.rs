//! Fleets with more cards or with all links up.

use sailplan_ir::{Bytes, Edge, Fleet, LinkState, Links, SailId};

/// Whether a fleet can have any number of cards: one kind, and links that follow from their number.
pub(crate) fn resizable(fleet: &Fleet) -> bool {
    fleet.sails.len() == 1 && !matches!(fleet.links, Links::Edges(_))
}

/// Whether there are cards in service that do not reach each other.
pub(crate) fn apart(fleet: &Fleet) -> bool {
    let parts = fleet.parts();
    let mut parts = (0..parts.len()).filter(|&card| fleet.serves(card)).map(|card| parts[card]);
    let first = parts.next();
    parts.any(|part| Some(part) != first)
}

/// With so many cards.
pub(crate) fn resize(fleet: &mut Fleet, count: u16) {
    if let [run] = &mut fleet.sails[..] {
        run.count = count;
    }
}

/// With more memory than anything needs.
pub(crate) fn boundless(fleet: &mut Fleet) {
    for kind in fleet.kinds.values_mut() {
        (kind.memory, kind.reserve) = (Bytes(1 << 56), Bytes(0));
    }
}

/// With links that join all cards.
pub(crate) fn join(fleet: &mut Fleet) {
    let missing = missing(fleet);
    match &mut fleet.links {
        Links::Mesh(link) | Links::Ring(link) | Links::Line(link) | Links::Star(link) => link.state = LinkState::Up,
        Links::Edges(edges) => {
            for (a, b) in missing {
                let same = |edge: &&mut Edge| [(edge.a, edge.b), (edge.b, edge.a)].contains(&(a, b));
                if let Some(edge) = edges.iter_mut().find(same) {
                    edge.link.state = LinkState::Up;
                } else if let Some(first) = edges.first() {
                    let mut link = first.link.clone();
                    link.state = LinkState::Up;
                    edges.push(Edge { a, b, link });
                }
            }
        }
    }
}

/// Links that would join all parts: those that are there and not up first, then one to the first card of each other part
/// from the card before it. None for fleets whose links are all of one description.
pub(crate) fn missing(fleet: &Fleet) -> Vec<(SailId, SailId)> {
    let Links::Edges(edges) = &fleet.links else { return Vec::new() };
    let mut parts = fleet.parts();
    let mut missing = Vec::new();
    let serve = |(a, b): &(SailId, SailId)| fleet.serves(a.index()) && fleet.serves(b.index());
    let down = edges.iter().filter(|edge| edge.link.state != LinkState::Up).map(|edge| (edge.a, edge.b));
    let down: Vec<(SailId, SailId)> = down.filter(serve).collect();
    let order = fleet.in_service();
    let new = order.windows(2).map(|pair| (pair[0], pair[1]));
    for (a, b) in down.into_iter().chain(new) {
        let (from, to) = (parts[b.index()], parts[a.index()]);
        if from != to {
            parts.iter_mut().filter(|part| **part == from).for_each(|part| *part = to);
            missing.push((a, b));
        }
    }
    missing
}
