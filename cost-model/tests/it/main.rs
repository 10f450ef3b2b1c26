//! One test binary: baselines, collectives, fleets, links, prices, tiers.

mod baselines;
mod collectives;
mod fleets;
mod links;
mod prices;
mod tiers;
