//! One test binary: fleets, links, prices.

mod fleets;
mod links;
mod prices;
