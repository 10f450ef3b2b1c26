//! Planning again from an old plan: of placements of equal time the one that moves fewer weights, and what moves then.

mod moved;

pub(crate) use moved::{Moved, moved, text};

use crate::outcome::Failure;
use crate::task::Task;
use sailplan_codegen::{Plan, emit, kept};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, Demand, Part, Pin, Placement, SailId};
use sailplan_planner::{Config, PlaceError, Symmetry, exchanged, place, symmetry};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Of what each place of a plan holds, what each card has.
type Kept = BTreeMap<(SailId, SailId), Bytes>;

/// The best placement, or one of exactly its time that moves less: the best one with every layer where the old plan has it,
/// and of either the exchange of equal cards that keeps most. Of equally many bytes the first is taken.
///
/// # Errors
/// The planner contradicts itself.
pub(crate) fn closest(task: &Task, costs: &CostModel<'_>, old: &Plan, best: Placement) -> Result<Placement, Failure> {
    let mut candidates = vec![best.clone()];
    if let Some(as_before) = as_before(task, costs, old)?
        && as_before.estimate.objective == best.estimate.objective
    {
        candidates.push(Placement { certificate: best.certificate.clone(), ..as_before });
    }
    let mut closest: Option<(Bytes, Placement)> = None;
    for placement in candidates {
        let (bytes, placement) = exchange(task, costs, old, placement)?;
        if closest.as_ref().is_none_or(|known| bytes < known.0) {
            closest = Some((bytes, placement));
        }
    }
    Ok(closest.map_or(best, |closest| closest.1))
}

/// The best placement with the old plan's stages on those of their cards that are left; `None` when there is none.
fn as_before(task: &Task, costs: &CostModel<'_>, old: &Plan) -> Result<Option<Placement>, Failure> {
    let Some(mut pins) = stages(task, old) else { return Ok(None) };
    pins.extend(task.pins.iter().cloned());
    let config = Config { stream: task.stream, pins: &pins, ..Config::default() };
    match place(&task.model, costs, config) {
        Ok(outcome) => Ok(Some(outcome.placement)),
        // The cards are no group of this fleet, or the layers do not fit them.
        Err(PlaceError::NoPlan(_) | PlaceError::Pins(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// The old plan's stages as demands; `None` when one has no card left, and of replicas, which pins cannot ask for.
fn stages(task: &Task, old: &Plan) -> Option<Vec<Pin>> {
    if old.sails.iter().any(|sail| sail.replica > 0) {
        return None;
    }
    let mut stages: BTreeMap<u32, (&[SailId], BTreeSet<u32>)> = BTreeMap::new();
    for sail in &old.sails {
        let stage = stages.entry(sail.stage).or_insert((&sail.group, BTreeSet::new()));
        let held = sail.weights.iter().chain(&sail.caches).filter_map(|resident| resident.layers.as_ref());
        held.for_each(|layers| stage.1.extend(layers.0.clone()));
    }
    let left = |group: &[SailId]| -> Vec<SailId> {
        let here = |sail: &&SailId| sail.index() < task.fleet.size() && task.fleet.serves(sail.index());
        group.iter().filter(here).copied().collect()
    };
    let mut parts: Vec<(Part, Vec<SailId>)> = Vec::new();
    for (group, layers) in stages.values() {
        let (first, last) = (layers.first(), layers.last());
        parts.extend(first.zip(last).map(|(&first, &last)| (Part::Layers(first..last.saturating_add(1)), left(group))));
    }
    let ends = [(Part::Embedding, stages.values().next()?), (Part::Head, stages.values().next_back()?)];
    let chain = || task.model.segments.iter().map(|segment| segment.layer);
    let there = ends.into_iter().filter(|(part, _)| part.of(chain()).contains(&true));
    parts.extend(there.map(|(part, (group, _))| (part, left(group))));
    let pin = |(layers, sails): (Part, Vec<SailId>)| {
        let name = format!("{layers} as before");
        (!sails.is_empty()).then_some(Pin { name, demand: Demand::Group { layers, sails }, place: None })
    };
    parts.into_iter().map(pin).collect()
}

/// The exchange of equal cards that has least to send, and how much that is.
fn exchange(
    task: &Task,
    costs: &CostModel<'_>,
    old: &Plan,
    placement: Placement,
) -> Result<(Bytes, Placement), Failure> {
    let plan = emit(&task.model, &task.fleet, &task.request, &placement)
        .map_err(|problems| Failure::Bug(format!("a placement cannot be written down:\n{problems}")))?;
    let kept = kept(old, &plan);
    let wanted: Bytes = plan.sails.iter().map(held).sum();
    let named = |pin: &Pin| matches!(pin.demand, Demand::Layers { .. } | Demand::Group { .. } | Demand::Never(_));
    // Where pins tell cards apart, no card stands for another.
    let symmetry = if task.pins.iter().any(named) { Symmetry::default() } else { symmetry(costs, &placement) };
    let names = names(&task.fleet.ids().collect::<Vec<_>>(), &symmetry, &kept);
    let sent = wanted - total(&names, &kept);
    let same = names.iter().enumerate().all(|(index, name)| name.index() == index);
    Ok((sent, if same { placement } else { exchanged(&task.model, costs, placement, &names) }))
}

/// Bytes of the weights that a card holds.
fn held(sail: &sailplan_codegen::SailPlan) -> Bytes {
    let held = sail.weights.iter().filter(|weight| !weight.streamed);
    held.map(|weight| weight.bytes.times(weight.layers.as_ref().map_or(1, |layers| layers.0.len() as u64))).sum()
}

fn total(names: &[SailId], kept: &Kept) -> Bytes {
    kept.iter().filter(|((place, card), _)| names[place.index()] == *card).map(|(_, bytes)| *bytes).sum()
}

/// Who takes each place so that most is kept: no change, a turn of all cards, or card by card in each set of equal ones; of
/// equal ones the first.
fn names(cards: &[SailId], symmetry: &Symmetry, kept: &Kept) -> Vec<SailId> {
    let mut one_by_one = cards.to_vec();
    symmetry.alike.iter().for_each(|set| assign(set, kept, &mut one_by_one));
    let turns = symmetry.turns.iter().cloned();
    let all = std::iter::once(cards.to_vec()).chain(turns).chain([one_by_one]);
    all.enumerate()
        .max_by_key(|(index, names)| (total(names, kept), Reverse(*index)))
        .map_or_else(Vec::new, |best| best.1)
}

/// Gives each place of a set the card that keeps most, the best pairs first; places that keep nothing stay with their card
/// while it is free.
fn assign(set: &[SailId], kept: &Kept, names: &mut [SailId]) {
    let mut pairs: Vec<(Bytes, SailId, SailId)> = kept
        .iter()
        .filter(|((place, card), bytes)| bytes.0 > 0 && set.contains(place) && set.contains(card))
        .map(|((place, card), bytes)| (*bytes, *place, *card))
        .collect();
    pairs.sort_by_key(|&(bytes, place, card)| (Reverse(bytes), place != card, place, card));
    let stay = set.iter().map(|&card| (Bytes(0), card, card));
    let rest = set.iter().flat_map(|&place| set.iter().map(move |&card| (Bytes(0), place, card)));
    let (mut placed, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for (_, place, card) in pairs.into_iter().chain(stay).chain(rest) {
        if !placed.contains(&place) && !taken.contains(&card) {
            placed.insert(place);
            taken.insert(card);
            names[place.index()] = card;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pairs: &[(u16, u16, u64)]) -> Kept {
        pairs.iter().map(|&(place, card, bytes)| ((SailId(place), SailId(card)), Bytes(bytes))).collect()
    }

    fn named(symmetry: &Symmetry, kept: &Kept) -> Vec<u16> {
        let cards: Vec<SailId> = (0..4).map(SailId).collect();
        names(&cards, symmetry, kept).into_iter().map(|sail| sail.0).collect()
    }

    #[test]
    fn cards_stay_unless_another_keeps_more() {
        let all = Symmetry { alike: vec![(0..4).map(SailId).collect()], turns: Vec::new() };
        assert_eq!(named(&all, &kept(&[])), [0, 1, 2, 3]);
        assert_eq!(named(&all, &kept(&[(0, 0, 5), (0, 1, 5), (1, 0, 5), (1, 1, 5)])), [0, 1, 2, 3]);
        assert_eq!(named(&all, &kept(&[(0, 2, 5), (1, 3, 7)])), [2, 3, 0, 1]);
        assert_eq!(named(&all, &kept(&[(0, 0, 5), (1, 0, 6), (0, 3, 1)])), [3, 0, 2, 1]);
    }

    /// A turn moves all cards, so it is taken only when it keeps more in all.
    #[test]
    fn turns_are_taken_whole() {
        let turns = vec![[1, 2, 3, 0], [2, 3, 0, 1]].into_iter().map(|turn| turn.map(SailId).to_vec()).collect();
        let ring = Symmetry { alike: Vec::new(), turns };
        assert_eq!(named(&ring, &kept(&[(0, 2, 5), (1, 3, 5), (0, 0, 9)])), [2, 3, 0, 1]);
        assert_eq!(named(&ring, &kept(&[(0, 2, 5), (1, 3, 5), (0, 0, 11)])), [0, 1, 2, 3]);
        assert_eq!(named(&ring, &kept(&[(0, 1, 5), (1, 2, 5)])), [1, 2, 3, 0]);
    }
}
