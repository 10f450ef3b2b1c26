//! Throughput: as many requests are on their way in each replica as the longest has stages, each with caches of its own, so
//! that how many stages there are decides how much memory caches take. Replicas with at most one stage are searched, with at
//! most two, and so on; numbers that cannot be better, memory left out of account but that all of it holds each replica, are
//! left out.

use crate::{Ground, Outcome, PlaceError, dynamic, replicas, space};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Objective, Picoseconds, Request, Status, Verified, Verify};

/// Where memory binds, replicas are only looked for on so many cards: every run of them is a fleet of its own there.
const SEVERAL: usize = 16;

/// The best placement over all numbers of stages; of equal ones that with fewer requests on their way.
pub(crate) fn search(ground: &Ground<'_>, costs: &CostModel<'_>) -> Result<Outcome, PlaceError> {
    among(ground, costs, true)
}

fn among(ground: &Ground<'_>, costs: &CostModel<'_>, replicas: bool) -> Result<Outcome, PlaceError> {
    let mut free = ground.space(costs, (None, replicas), true)?;
    let Some(fastest) = dynamic::solve(&free).map_err(PlaceError::Internal)? else { return Err(crate::no_plan(&free)) };
    let first = with_stages(ground, costs, (replicas::longest(&fastest.cuts), replicas));
    match &first {
        Ok(found) if objective(found) == fastest.bound && found.placement.certificate.status == Status::Proven => {
            return first;
        }
        Ok(_) | Err(PlaceError::NoPlan(_)) => {}
        Err(_) => return first,
    }
    if free.replicas && free.cards > SEVERAL {
        return among(ground, costs, false);
    }
    let (mut refusal, mut best) = (None, first.ok());
    // What a search without a proof leaves open.
    let mut open: Option<Picoseconds> = None;
    let most = free.cards.min(ground.model.segments.len());
    for stages in 1..=most {
        free.stages = stages;
        free.whole = space::whole(ground.model, &*of_stages(costs.request, stages)?);
        let Some(chain) = dynamic::solve(&free).map_err(PlaceError::Internal)? else { continue };
        if best.as_ref().is_some_and(|best| objective(best) <= chain.bound) {
            continue;
        }
        match with_stages(ground, costs, (stages, replicas)) {
            Ok(found) => {
                let certificate = &found.placement.certificate;
                if certificate.status != Status::Proven {
                    open = Some(open.map_or(certificate.bound, |open| open.min(certificate.bound)));
                }
                let better =
                    |best: &Outcome| (objective(&found), stages as u64) < (objective(best), best.placement.in_flight);
                if best.as_ref().is_none_or(better) {
                    best = Some(found);
                }
            }
            Err(PlaceError::NoPlan(reasons)) => refusal = refusal.or(Some(reasons)),
            Err(other) => return Err(other),
        }
    }
    let Some(mut best) = best else {
        return Err(refusal.map_or_else(|| crate::no_plan(&free), PlaceError::NoPlan));
    };
    let found = objective(&best);
    let certificate = &mut best.placement.certificate;
    let bound = open.map_or(found, |open| open.min(found));
    (certificate.bound, certificate.status) = (bound, if bound < found { Status::WithinGap } else { Status::Proven });
    Ok(best)
}

fn objective(found: &Outcome) -> Picoseconds {
    found.placement.estimate.objective
}

/// The request with as many on their way as a replica has stages, where that counts.
pub(crate) fn of_stages(request: &Request, stages: usize) -> Result<Verified<Request>, PlaceError> {
    let in_flight = if request.objective == Objective::Throughput { stages.max(1) as u64 } else { request.in_flight };
    Request { in_flight, ..*request }.verify().map_err(|problems| PlaceError::Internal(problems.to_string()))
}

/// The best placement with up to so many stages and caches for as many requests.
fn with_stages(
    ground: &Ground<'_>,
    costs: &CostModel<'_>,
    (stages, replicas): (usize, bool),
) -> Result<Outcome, PlaceError> {
    let request = of_stages(costs.request, stages)?;
    let costs = costs.for_request(&request);
    let config = ground.effort.config;
    crate::fits_in_all(ground.model, &costs, (config.family, &ground.limits), config.stream)?;
    ground.search(&costs, (Some(stages), replicas))
}
