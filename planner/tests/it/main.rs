//! One test binary: placements of whole models.

mod agree;
mod baselines;
mod experts;
mod loads;
mod lost;
mod orders;
mod pins;
mod properties;
mod random;
mod refusals;
mod streams;
mod variants;
