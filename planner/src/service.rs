//! Fleets with lost cards: the search runs on a fleet of the cards in service, which then get their own names back.

use crate::load::load_plan;
use crate::{Outcome, PlaceError};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Fleet, Model, Placement, SailId, Verified, Verify};

/// The cards in service as a fleet of their own; `None` when none is lost.
pub(crate) fn left(fleet: &Fleet) -> Result<Option<Verified<Fleet>>, PlaceError> {
    if fleet.lost.is_empty() {
        return Ok(None);
    }
    let left = fleet.only_in_service().verify();
    left.map(Some).map_err(|problems| PlaceError::Internal(problems.to_string()))
}

/// The outcome of a search on the cards in service, under the names that the whole fleet has for them.
pub(crate) fn outcome(model: &Model, costs: &CostModel<'_>, outcome: Outcome) -> Outcome {
    let placement = renamed(model, costs, outcome.placement, &costs.fleet.in_service());
    Outcome { placement, ..outcome }
}

/// The placement with card i under the name `names[i]`, loaded as is best then. Nothing else is priced again.
pub(crate) fn renamed(model: &Model, costs: &CostModel<'_>, mut placement: Placement, names: &[SailId]) -> Placement {
    for stage in &mut placement.stages {
        stage.sails.iter_mut().for_each(|sail| *sail = names[sail.index()]);
        stage.hop.iter_mut().for_each(|hop| hop.from = names[hop.from.index()]);
    }
    let busy = |sail: &SailId| placement.stages.iter().any(|stage| stage.sails.contains(sail));
    placement.unused = costs.fleet.ids().filter(|sail| costs.fleet.serves(sail.index()) && !busy(sail)).collect();
    (placement.loads, placement.estimate.ready) = load_plan(costs, model, &placement.stages);
    placement
}
