//! What binds: what a figure twice as good, or the other line coding, would save, with the plan made anew.

use super::seconds;
use super::solver::{Solver, shape};
use crate::figure::{each_link, plain};
use crate::outcome::Failure;
use sailplan_ir::{BytesPerSecond, Coding, Compute, Fleet, FlopsPerSecond, Picoseconds, Placement};
use serde::Serialize;

/// One figure changed for the better.
#[derive(Serialize)]
pub(crate) struct Gain {
    pub(crate) change: &'static str,
    /// Of the objective.
    #[serde(rename = "saves_s", serialize_with = "seconds")]
    pub(crate) saves: Picoseconds,
    #[serde(rename = "saves_s_per_token", serialize_with = "seconds")]
    pub(crate) saves_per_token: Picoseconds,
    pub(crate) structure: String,
    /// Whether the plan is of another structure then.
    pub(crate) moves: bool,
}

/// A change of a fleet.
type Better = fn(&mut Fleet);

const CHANGES: &[(&str, Better)] = &[
    ("twice the memory rate of the cards", |fleet| {
        fleet.kinds.values_mut().for_each(|kind| kind.bandwidth = doubled(kind.bandwidth));
    }),
    ("twice the compute rate", |fleet| {
        for kind in fleet.kinds.values_mut() {
            if let Compute::Rates(rates) = &mut kind.compute {
                rates.values_mut().for_each(|rate| *rate = FlopsPerSecond(rate.0.saturating_mul(2)));
            }
        }
    }),
    ("half the time to start a kernel", |fleet| {
        fleet.kinds.values_mut().for_each(|kind| kind.overhead = halved(kind.overhead));
    }),
    ("twice the link rate", |fleet| {
        each_link(fleet, |link| plain(link, doubled(link.payload_rate()), link.message_latency()));
    }),
    ("half the link latency", |fleet| {
        each_link(fleet, |link| plain(link, link.payload_rate(), halved(link.message_latency())));
    }),
    ("64b/66b coding on the links", |fleet| {
        each_link(fleet, |link| {
            if link.frame.is_some() && link.coding == Coding::B8B10 {
                link.coding = Coding::B64B66;
            }
        });
    }),
    ("twice the host's rate", |fleet| fleet.host.rate = doubled(fleet.host.rate)),
    ("half the host's latency", |fleet| fleet.host.latency = halved(fleet.host.latency)),
    ("twice the memory on each card", |fleet| {
        fleet.kinds.values_mut().for_each(|kind| kind.memory = kind.memory.times(2));
    }),
];

const fn doubled(rate: BytesPerSecond) -> BytesPerSecond {
    BytesPerSecond(rate.0.saturating_mul(2))
}

const fn halved(time: Picoseconds) -> Picoseconds {
    Picoseconds(time.0 / 2)
}

/// Every change that the fleet can have, the most saving one first.
pub(super) fn gains(solver: &Solver<'_>, now: &Placement) -> Result<Vec<Gain>, Failure> {
    let mut gains = Vec::new();
    for (change, better) in CHANGES {
        let mut fleet = (*solver.fleet).clone();
        better(&mut fleet);
        if fleet == *solver.fleet {
            continue;
        }
        let Some(found) = solver.on(fleet)? else { continue };
        let structure = shape(Some(&found));
        gains.push(Gain {
            change,
            saves: now.estimate.objective - found.estimate.objective,
            saves_per_token: now.estimate.decode - found.estimate.decode,
            moves: structure != shape(Some(now)),
            structure,
        });
    }
    gains.sort_by_key(|gain| std::cmp::Reverse(gain.saves));
    Ok(gains)
}
