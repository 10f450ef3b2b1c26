//! One test binary: collectives, fleets, links, prices, tiers.

mod collectives;
mod fleets;
mod links;
mod prices;
mod tiers;
