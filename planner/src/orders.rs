//! Orders of the cards. In a mesh or a star every place is like every other, so that groups may as well be intervals of the order
//! by rate: the search runs once more with the cards in that order, and the better placement is taken.

use crate::decide::LINK_ORDER;
use crate::pins::Limits;
use crate::{Effort, Outcome, PlaceError, search_all, service};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Fleet, Links, Model, Picoseconds, SailId, SailRun, Status, Verified, Verify};
use std::cmp::Reverse;

/// The best placement over the orders that a fleet has. Pins name cards by their places in the link order.
pub(crate) fn search(
    model: &Verified<Model>,
    costs: &CostModel<'_>,
    limits: Limits,
    effort: Effort<'_>,
) -> Result<Outcome, PlaceError> {
    let names = if limits.is_empty() && effort.groups.is_none() { by_rate(costs.fleet) } else { None };
    let Some(names) = names else { return search_all(model, costs, limits, effort) };
    let first = match search_all(model, costs, limits.clone(), effort.clone()) {
        Ok(found) => Some(found),
        Err(PlaceError::NoPlan(_)) => None,
        Err(other) => return Err(other),
    };
    let fleet = ordered(costs.fleet, &names)?;
    let effort = Effort { known: first.as_ref().map(value), ..effort };
    let second = match search_all(model, &CostModel::new(&fleet, costs.request), limits, effort) {
        Ok(found) => Some(found),
        Err(PlaceError::NoPlan(reasons)) if first.is_none() => return Err(PlaceError::NoPlan(reasons)),
        Err(PlaceError::NoPlan(_)) => None,
        Err(other) => return Err(other),
    };
    let bound = [&first, &second].into_iter().flatten().map(|found| found.placement.certificate.bound).min();
    let wins = |second: &Outcome| first.as_ref().is_none_or(|first| value(second) < value(first));
    let mut best = match second.filter(wins) {
        Some(second) => {
            let placement = service::renamed(model, costs, second.placement, &names);
            Outcome { placement, ..second }
        }
        None => first.ok_or_else(|| PlaceError::Internal("an order has a plan and has none".into()))?,
    };
    let (objective, certificate) = (value(&best), &mut best.placement.certificate);
    certificate.bound = bound.unwrap_or(certificate.bound);
    if certificate.bound < objective && certificate.status == Status::Proven {
        certificate.status = Status::WithinGap;
    }
    certificate.space = certificate.space.replace(LINK_ORDER, BOTH_ORDERS);
    Ok(best)
}

fn value(found: &Outcome) -> Picoseconds {
    found.placement.estimate.objective
}

/// What a certificate says of the groups.
const BOTH_ORDERS: &str = "stages on intervals of the link order or of the order by rate";

/// The cards from the fastest memory to the slowest, where links are uniform; `None` where kinds stand so already.
fn by_rate(fleet: &Fleet) -> Option<Vec<SailId>> {
    if !matches!(fleet.links, Links::Mesh(_) | Links::Star(_)) {
        return None;
    }
    let rate = |sail: SailId| {
        let kind = fleet.kind(sail);
        (kind.bandwidth, kind.memory)
    };
    let mut names: Vec<SailId> = fleet.ids().collect();
    names.sort_by_key(|&sail| Reverse(rate(sail)));
    let order = |names: &[SailId]| names.iter().map(|&sail| fleet.kind_name(sail).to_owned()).collect::<Vec<_>>();
    let (here, there) = (order(&fleet.ids().collect::<Vec<_>>()), order(&names));
    (here != there).then_some(names)
}

/// The fleet with its cards in this order.
fn ordered(fleet: &Fleet, names: &[SailId]) -> Result<Verified<Fleet>, PlaceError> {
    let run = |&sail: &SailId| SailRun { kind: fleet.kind_name(sail).to_owned(), count: 1 };
    let ordered = Fleet { sails: names.iter().map(run).collect(), ..fleet.clone() };
    ordered.verify().map_err(|problems| PlaceError::Internal(problems.to_string()))
}
