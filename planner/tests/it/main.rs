//! One test binary: placements of whole models.

mod agree;
mod baselines;
mod experts;
mod loads;
mod properties;
mod random;
mod streams;
mod variants;
