//! Which answer is taken, the engine's or the integer program's, and what is certified.

use crate::assemble::{self, Filled};
use crate::pace::Pace;
use crate::space::Space;
use crate::{PlaceError, agree};
use sailplan_ir::{Certificate, Picoseconds, Placement, Status};

/// What a certificate says of the groups.
pub(crate) const LINK_ORDER: &str = "stages on intervals of the link order";

/// The engine's answer and the program's must agree; the program decides where the engine's mixes were not exact.
pub(crate) fn decide(
    space: &Space<'_>,
    engine: Option<Vec<Filled>>,
    proven: Option<Option<Vec<Filled>>>,
    (exact, bound): (bool, Picoseconds),
) -> Result<Option<Placement>, PlaceError> {
    let engine = engine.map(|stages| assemble::assemble(space, &stages));
    let room = if space.relaxed { "" } else { " as far as memory goes" };
    let pins = if space.pinned() { ", keeping to the pins" } else { "" };
    let streaming = if space.stream { ", weights of layers on the host where they do not fit" } else { "" };
    let heads = if space.heads_first() { " with positions cut on more cards than KV heads only" } else { "" };
    let ended = |placement: Placement, status, method: &str, bound| {
        let base = format!("{LINK_ORDER}, forms of the saturated rules{heads}, shares even or at the cards' rates");
        let chunks = match space.pace() {
            Pace::Overlap { .. } => ", each layer as if chunks came one by one",
            Pace::Period if space.replicas => {
                ", replicas on runs of it, in each as many requests on their way as the longest has stages"
            }
            Pace::Period => ", as many requests on their way as stages",
            Pace::Sum => "",
        };
        let space = format!("{base}{chunks}{room}{streaming}{pins}");
        Placement { certificate: Certificate { status, method: method.to_owned(), space, bound }, ..placement }
    };
    let Some(proven) = proven else {
        return Ok(engine.map(|placement| {
            let objective = placement.estimate.objective;
            if exact || objective <= bound {
                return ended(placement, Status::Proven, "dynamic programming", objective);
            }
            let bound = assemble::relaxed(space).max(placement.estimate.lower_bound).max(bound);
            ended(placement, Status::WithinGap, "dynamic programming with greedy mixes", bound)
        }));
    };
    let proven = proven.map(|stages| assemble::assemble(space, &stages));
    // The program knows one chain. Where replicas could share the fleet, only the engine can say that it is the best.
    let settled = |placement: Placement, method: &str| {
        let objective = placement.estimate.objective;
        if exact || !space.replicas {
            return ended(placement, Status::Proven, method, objective);
        }
        let bound = bound.max(placement.estimate.lower_bound).min(objective);
        ended(placement, Status::WithinGap, &format!("{method} of one chain"), bound)
    };
    match (engine, proven) {
        (None, None) => Ok(None),
        (None, Some(proven)) if exact => Err(PlaceError::Internal(format!(
            "the engine found nothing, the integer program {:?}",
            proven.estimate.objective
        ))),
        (None, Some(proven)) => Ok(Some(settled(proven, "integer program"))),
        (Some(engine), Some(proven)) => {
            let (ours, theirs) = (engine.estimate.objective, proven.estimate.objective);
            if agree(ours, theirs) {
                // The engine's is kept: its ties are broken by card and cut. Its objective is the smaller to rounding.
                return Ok(Some(settled(engine, "dynamic programming and integer program")));
            }
            if ours < theirs || exact {
                return Err(PlaceError::Internal(format!("the engine found {ours:?}, the integer program {theirs:?}")));
            }
            Ok(Some(settled(proven, "integer program")))
        }
        (Some(placement), None) => Err(PlaceError::Internal(format!(
            "the engine found {:?}, the integer program nothing",
            placement.estimate.objective
        ))),
    }
}
