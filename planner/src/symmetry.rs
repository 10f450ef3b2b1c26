//! Which cards can stand in for each other in a placement without another price: what a placement of equal time can be
//! made of by giving its places to other cards.

use crate::service::renamed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Algorithm, Choice, Fleet, Links, Model, Placement, Price, SailId};

/// Exchanges of cards that leave every price as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Symmetry {
    /// Sets of cards of one kind, any two of which may be exchanged; in order of id.
    pub alike: Vec<Vec<SailId>>,
    /// For each further exchange of all cards at once, who takes the place of each card.
    pub turns: Vec<Vec<SailId>>,
}

/// The exchanges that are known of a placement:
///
/// - in a mesh and in a star, of any two cards of one kind in service;
/// - where one stage is all there is and in its collectives every rank sends as much to every other, of any two of its cards
///   of one kind; where some go around the group instead, rotations of a group of one kind;
/// - in a ring of one kind with no card lost, rotations;
/// - where the cards in service are a line of one kind, its reflection.
#[must_use]
pub fn symmetry(costs: &CostModel<'_>, placement: &Placement) -> Symmetry {
    let fleet = costs.fleet;
    let only = if let [only] = &placement.stages[..] { Some(only) } else { None };
    let all_do = |algorithms: &[Algorithm]| only.filter(|stage| stage.choices.iter().all(|one| uses(one, algorithms)));
    let cards = match all_do(&[Algorithm::Direct, Algorithm::OneShot]) {
        _ if matches!(fleet.links, Links::Mesh(_) | Links::Star(_)) => fleet.in_service(),
        Some(stage) => stage.sails.clone(),
        None => Vec::new(),
    };
    let around = all_do(&[Algorithm::Direct, Algorithm::OneShot, Algorithm::Ring]);
    let around = around.filter(|stage| one_kind(costs, &stage.sails));
    let mut turns = around.map_or_else(Vec::new, |stage| rotations(fleet, &stage.sails));
    turns.extend(whole(costs));
    Symmetry { alike: by_kind(costs, cards), turns }
}

/// The placement with `names[i]` in the place of card i, loaded as is best then. Only exchanges of its symmetry leave its
/// prices true.
#[must_use]
pub fn exchanged(model: &Model, costs: &CostModel<'_>, placement: Placement, names: &[SailId]) -> Placement {
    renamed(model, costs, placement, names)
}

fn by_kind(costs: &CostModel<'_>, mut cards: Vec<SailId>) -> Vec<Vec<SailId>> {
    cards.sort_unstable();
    let mut alike: Vec<Vec<SailId>> = Vec::new();
    for card in cards {
        match alike.iter_mut().find(|set| costs.kind_number(set[0]) == costs.kind_number(card)) {
            Some(set) => set.push(card),
            None => alike.push(vec![card]),
        }
    }
    alike.retain(|set| set.len() > 1);
    alike
}

/// Whether a form has collectives of these algorithms only.
fn uses(choice: &Choice, algorithms: &[Algorithm]) -> bool {
    let known = |price: &Price| price.algorithm.is_none_or(|algorithm| algorithms.contains(&algorithm));
    choice.prefill.iter().chain(&choice.decode).all(known)
}

fn one_kind(costs: &CostModel<'_>, cards: &[SailId]) -> bool {
    cards.windows(2).all(|pair| costs.kind_number(pair[0]) == costs.kind_number(pair[1]))
}

/// Exchanges of all cards of the fleet.
fn whole(costs: &CostModel<'_>) -> Vec<Vec<SailId>> {
    let (fleet, order) = (costs.fleet, costs.fleet.in_service());
    if !one_kind(costs, &order) {
        return Vec::new();
    }
    match fleet.only_in_service().links {
        Links::Ring(_) if order.len() > 2 => rotations(fleet, &order),
        Links::Ring(_) | Links::Line(_) => vec![names(fleet, &order, order.iter().rev().copied())],
        _ => Vec::new(),
    }
}

/// Each card's place taken by the card so many behind it, for every number but 0.
fn rotations(fleet: &Fleet, cards: &[SailId]) -> Vec<Vec<SailId>> {
    let rotated = |by: usize| names(fleet, cards, cards[by..].iter().chain(&cards[..by]).copied());
    (1..cards.len()).map(rotated).collect()
}

/// Who takes the place of each card of the fleet, when these take the places of some.
fn names(fleet: &Fleet, places: &[SailId], cards: impl Iterator<Item = SailId>) -> Vec<SailId> {
    let mut names: Vec<SailId> = fleet.ids().collect();
    places.iter().zip(cards).for_each(|(place, card)| names[place.index()] = card);
    names
}
