//! One test binary: baselines, calibration, collectives, fleets, frames, the link's document, links, prices, tiers,
//! windows.

mod baselines;
mod calibration;
mod collectives;
mod fleets;
mod frames;
mod link_document;
mod links;
mod plain;
mod prices;
mod tiers;
mod windows;
