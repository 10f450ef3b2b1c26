//! One test binary: placements of whole models.

mod agree;
mod baselines;
mod properties;
mod random;
mod loads;
