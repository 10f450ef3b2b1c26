//! Throughput: as many requests are on their way in each replica as the longest has stages, each with caches of its own, so
//! that how many stages there are decides how much memory caches take. Replicas with at most one stage are searched, with at
//! most two, and so on; numbers that cannot be better, memory left out of account but that all of it holds each replica, are
//! left out.

use crate::space::Space;
use crate::{Ground, Outcome, PlaceError, Wanted, dynamic, replicas, space};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Objective, Picoseconds, Request, Status, Verified, Verify};
use std::collections::BTreeMap;

/// Where memory binds, replicas are only looked for on so many cards: every run of them is a fleet of its own there.
const SEVERAL: usize = 16;

/// The best placement over all numbers of stages; of equal ones that with fewer requests on their way.
pub(crate) fn search(ground: &Ground<'_>, costs: &CostModel<'_>) -> Result<Outcome, PlaceError> {
    among(ground, costs, true)
}

fn among(ground: &Ground<'_>, costs: &CostModel<'_>, replicas: bool) -> Result<Outcome, PlaceError> {
    let mut free = ground.space(costs, (None, replicas), (true, None, None))?;
    let Some(fastest) = dynamic::solve(&free).map_err(PlaceError::Internal)? else { return Err(crate::no_plan(&free)) };
    let known = ground.effort.known;
    if known.is_some_and(|known| known <= fastest.bound) {
        return Err(crate::no_plan(&free));
    }
    // Where the best replicas do not fit and these are many cards, replicas are not looked for any further.
    let freely = free.replicas && free.cards > SEVERAL;
    let longest = Some(replicas::longest(&fastest.cuts));
    let first = with_stages(ground, costs, Wanted { stages: longest, replicas, known, freely });
    let proven = |found: &Outcome| found.placement.certificate.status == Status::Proven;
    if first.as_ref().is_ok_and(|first| objective(first) == fastest.bound && proven(first)) {
        return first;
    }
    if freely && matches!(first, Ok(_) | Err(PlaceError::NoPlan(_))) {
        return among(ground, costs, false);
    }
    // Of refusals that of the fewest stages.
    let mut refusals = BTreeMap::new();
    let mut best = match first {
        Ok(first) => Some(first),
        Err(PlaceError::NoPlan(reasons)) => {
            refusals.insert(longest, reasons);
            None
        }
        Err(other) => return Err(other),
    };
    // What a search without a proof leaves open.
    let mut open: Option<Picoseconds> = None;
    if let Some(best) = &best {
        note(&mut open, best);
    }
    for (bound, stages) in bounds(ground, costs, &mut free)? {
        // Of equal ones that with fewer stages is wanted.
        let settled = |best: &Outcome| (objective(best), best.placement.in_flight) <= (bound, stages as u64);
        if Some(stages) == longest || best.as_ref().is_some_and(settled) || known.is_some_and(|known| known <= bound) {
            continue;
        }
        let known = best.as_ref().map(objective).into_iter().chain(known).min();
        match with_stages(ground, costs, Wanted { stages: Some(stages), replicas, known, freely: false }) {
            Ok(found) => {
                note(&mut open, &found);
                let better =
                    |best: &Outcome| (objective(&found), stages as u64) < (objective(best), best.placement.in_flight);
                if best.as_ref().is_none_or(better) {
                    best = Some(found);
                }
            }
            Err(PlaceError::NoPlan(reasons)) => drop(refusals.insert(Some(stages), reasons)),
            Err(other) => return Err(other),
        }
    }
    let Some(mut best) = best else {
        let refusal = refusals.into_values().next();
        return Err(refusal.map_or_else(|| crate::no_plan(&free), PlaceError::NoPlan));
    };
    let found = objective(&best);
    let certificate = &mut best.placement.certificate;
    let bound = open.map_or(found, |open| open.min(found));
    (certificate.bound, certificate.status) = (bound, if bound < found { Status::WithinGap } else { Status::Proven });
    Ok(best)
}

/// Notes what a search without a proof leaves open.
fn note(open: &mut Option<Picoseconds>, found: &Outcome) {
    let certificate = &found.placement.certificate;
    if certificate.status != Status::Proven {
        *open = Some(open.map_or(certificate.bound, |open| open.min(certificate.bound)));
    }
}

/// What no placement with up to so many stages beats, and how many, the least first; none where all memory does not hold the
/// caches of as many requests.
fn bounds(
    ground: &Ground<'_>,
    costs: &CostModel<'_>,
    free: &mut Space<'_>,
) -> Result<Vec<(Picoseconds, usize)>, PlaceError> {
    let mut bounds = Vec::new();
    for stages in 1..=free.cards.min(ground.model.segments.len()) {
        free.stages = stages;
        free.whole = space::whole(ground.model, &*of_stages(costs.request, stages)?);
        let chain = dynamic::solve(free).map_err(PlaceError::Internal)?;
        bounds.extend(chain.map(|chain| (chain.bound, stages)));
    }
    bounds.sort_unstable();
    Ok(bounds)
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
fn with_stages(ground: &Ground<'_>, costs: &CostModel<'_>, wanted: Wanted) -> Result<Outcome, PlaceError> {
    let request = of_stages(costs.request, wanted.stages.unwrap_or(1))?;
    let costs = costs.for_request(&request);
    let config = ground.effort.config;
    crate::fits_in_all(ground.model, &costs, (config.family, &ground.limits), config.stream)?;
    ground.search(&costs, wanted)
}
