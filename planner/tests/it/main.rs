//! One test binary: placements of whole models.

mod agree;
mod baselines;
mod experts;
mod properties;
mod random;
