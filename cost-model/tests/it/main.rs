//! One test binary: collectives, fleets, links, prices.

mod collectives;
mod fleets;
mod links;
mod prices;
