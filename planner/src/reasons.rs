//! Bytes that are demanded and offered: what a refusal begins with, and a first check that costs nothing.

use crate::pins::Limits;
use crate::space::{Family, Space};
use crate::{NoPlan, PlaceError};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, Model, Role, SailId};
use std::ops::Range;

/// Cards that may be used, and what pins demand.
type Allowed<'a> = (Family, &'a Limits);

/// Refuses at once what no placement can hold: every cache is on some card, and every weight where none is streamed.
pub(crate) fn fits_in_all(
    model: &Model,
    costs: &CostModel<'_>,
    allowed: Allowed<'_>,
    stream: bool,
) -> Result<(), PlaceError> {
    let reasons = reasons(model, costs, allowed);
    let weights = if stream { Bytes(0) } else { reasons.weights };
    if weights + reasons.caches > reasons.capacity { Err(PlaceError::NoPlan(reasons)) } else { Ok(()) }
}

/// Why nothing in a space fits.
pub(crate) fn no_plan(space: &Space<'_>) -> PlaceError {
    let groups = space.groups();
    let least = groups.iter().map(Range::len).min();
    let smallest = groups.iter().filter(|group| Some(group.len()) == least);
    let activations = smallest.flat_map(|group| activations(space, group)).max().unwrap_or_default();
    PlaceError::NoPlan(NoPlan { activations, ..of_space(space) })
}

/// Demands and capacity of a space, without activations.
pub(crate) fn of_space(space: &Space<'_>) -> NoPlan {
    let family = Family { cards: Some(space.cards), largest: None };
    let none = Limits::none(space.costs.fleet.size(), space.repertoires.len());
    reasons(space.model, space.costs, (family, space.limits.unwrap_or(&none)))
}

/// What the activations of each point take on the first card of a group.
fn activations<'a>(space: &'a Space<'_>, group: &'a Range<usize>) -> impl Iterator<Item = Bytes> + 'a {
    let points = space.front(group).iter().enumerate();
    let points = points.flat_map(|(class, points)| (0..points.len()).map(move |index| (class, index)));
    points.map(move |(class, index)| {
        let needs = space.needs(group, (class, index), 0);
        sailplan_ir::stage_activations(&needs, 1).total()
    })
}

/// Demands and capacity, without activations.
pub(crate) fn reasons(model: &Model, costs: &CostModel<'_>, allowed: Allowed<'_>) -> NoPlan {
    let (request, graph) = (costs.request, &model.graph);
    let (sails, capacity) = capacity(costs, allowed);
    NoPlan {
        weights: model.weight_bytes(),
        caches: graph.with_role(Role::Cache).map(|id| graph[id].bytes(request.decode_limit())).sum(),
        activations: Bytes(0),
        capacity,
        sails,
        context: request.context,
    }
}

/// The most that cards offer that may work together: those of one part of the fleet that no pin keeps free, the largest as
/// many as pins allow.
fn capacity(costs: &CostModel<'_>, (family, limits): Allowed<'_>) -> (usize, Bytes) {
    let parts = costs.fleet.parts();
    let cards = family.cards.unwrap_or(usize::MAX).min(costs.fleet.size());
    let of_part = |part: usize| {
        let open = (0..cards).filter(|&card| parts[card] == part && limits.open(&(card..card + 1)));
        let room = |card: usize| costs.kind(SailId(card as u16)).memory - costs.kind(SailId(card as u16)).reserve;
        let mut rooms: Vec<Bytes> = open.map(room).collect();
        rooms.sort_unstable_by(|a, b| b.cmp(a));
        rooms.truncate(limits.sails);
        (rooms.len(), rooms.into_iter().sum::<Bytes>())
    };
    let count = parts.iter().max().map_or(0, |last| last + 1);
    (0..count).map(of_part).max_by_key(|&(_, bytes)| bytes).unwrap_or_default()
}
