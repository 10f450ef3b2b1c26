//! Bytes that are demanded and offered: what a refusal begins with, and a first check that costs nothing.

use crate::pins::Limits;
use crate::space::{Family, Space};
use crate::{NoPlan, PlaceError, ends_in_outputs};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, Extents, Graph, LayerClass, Model, Role, SailId};
use std::collections::BTreeSet;
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

/// Whether all cards together hold every weight and every cache beside the value that passes between segments, of which each
/// card with work has room for one. What is streamed is not counted, so it says nothing where weights may be.
pub(crate) fn fits_beside_values(space: &Space<'_>) -> bool {
    let limit = space.costs.request.prefill_limit();
    let of_class = |class: &LayerClass| value(&class.template, limit);
    let value = space.model.classes.iter().map(of_class).min().unwrap_or_default();
    let family = Family { cards: Some(space.cards), largest: None };
    let none = Limits::none(space.costs.fleet.size(), space.repertoires.len());
    let room = capacity(space.costs, (family, space.limits.unwrap_or(&none)), value).1;
    let reasons = of_space(space);
    reasons.weights + reasons.caches <= room
}

/// Bytes of the largest value that a class's result is made from and that comes from the segment before; where there is none,
/// of the result itself, unless it is rows of logits, which go to the host.
fn value(template: &Graph, limit: Extents) -> Bytes {
    let Some(result) = template.output() else { return Bytes(0) };
    let (mut open, mut seen) = (vec![result], BTreeSet::new());
    while let Some(tensor) = open.pop() {
        let producer = template.producer(tensor).filter(|_| seen.insert(tensor));
        open.extend(producer.iter().flat_map(|&node| &template[node].inputs));
        seen.insert(tensor);
    }
    let inputs = seen.into_iter().filter(|&tensor| template[tensor].role == Role::Input);
    let largest = inputs.map(|tensor| template[tensor].bytes(limit)).max();
    largest.unwrap_or_else(|| if ends_in_outputs(template) { Bytes(0) } else { template[result].bytes(limit) })
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
    let (sails, capacity) = capacity(costs, allowed, Bytes(0));
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
/// many as pins allow; less what each of them needs for itself.
fn capacity(costs: &CostModel<'_>, (family, limits): Allowed<'_>, own: Bytes) -> (usize, Bytes) {
    let parts = costs.fleet.parts();
    let cards = family.cards.unwrap_or(usize::MAX).min(costs.fleet.size());
    let of_part = |part: usize| {
        let open = (0..cards).filter(|&card| parts[card] == part && limits.open(&(card..card + 1)));
        let room = |card: usize| costs.kind(SailId(card as u16)).memory - costs.kind(SailId(card as u16)).reserve - own;
        let mut rooms: Vec<Bytes> = open.map(room).collect();
        rooms.sort_unstable_by(|a, b| b.cmp(a));
        rooms.truncate(limits.sails);
        (rooms.len(), rooms.into_iter().sum::<Bytes>())
    };
    let count = parts.iter().max().map_or(0, |last| last + 1);
    (0..count).map(of_part).max_by_key(|&(_, bytes)| bytes).unwrap_or_default()
}
