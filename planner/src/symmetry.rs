//! Which cards can stand in for each other in a placement without another price: what a placement of equal time can be
//! made of by giving its places to other cards.

use crate::service::renamed;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Algorithm, Choice, Fleet, Links, Model, Placement, Price, SailId};

/// Exchanges of cards that leave every price as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symmetry {
    /// Sets of cards of one kind, any two of which may be exchanged; in order of id.
    pub alike: Vec<Vec<SailId>>,
    /// For each further exchange of all cards at once, who takes the place of each card.
    pub turns: Vec<Vec<SailId>>,
}

/// The exchanges that are known of a placement:
///
/// - in a mesh and in a star, of any two cards of one kind in service;
/// - where one stage is all there is and its collectives are those in which every rank sends as much to every other, of any
///   two of its cards of one kind;
/// - in a ring of one kind with no card lost, rotations;
/// - in a line of one kind with no card lost, the reflection.
#[must_use]
pub fn symmetry(costs: &CostModel<'_>, placement: &Placement) -> Symmetry {
    let fleet = costs.fleet;
    let anywhere = matches!(fleet.links, Links::Mesh(_) | Links::Star(_));
    let cards = match &placement.stages[..] {
        _ if anywhere => fleet.in_service(),
        [only] if only.choices.iter().all(everyone_alike) => only.sails.clone(),
        _ => Vec::new(),
    };
    Symmetry { alike: by_kind(costs, cards), turns: turns(fleet) }
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

/// Whether all collectives of a form have every rank send as much to every other.
fn everyone_alike(choice: &Choice) -> bool {
    let alike = |price: &Price| match price.algorithm {
        None => true,
        Some(algorithm) => matches!(algorithm, Algorithm::Direct | Algorithm::OneShot),
    };
    choice.prefill.iter().chain(&choice.decode).all(alike)
}

fn turns(fleet: &Fleet) -> Vec<Vec<SailId>> {
    let cards: Vec<SailId> = fleet.ids().collect();
    let one_kind = fleet.sails.iter().all(|run| run.kind == fleet.sails[0].kind);
    if !one_kind || !fleet.lost.is_empty() {
        return Vec::new();
    }
    let rotated = |by: usize| cards[by..].iter().chain(&cards[..by]).copied().collect();
    match fleet.links {
        Links::Ring(_) if cards.len() > 2 => (1..cards.len()).map(rotated).collect(),
        Links::Ring(_) | Links::Line(_) => vec![cards.iter().rev().copied().collect()],
        _ => Vec::new(),
    }
}
