//! Proofs that what a plan runs equals its layers: the programs read out of the plan, the equations of the operator table, and
//! a checker of chains of such equations. Nothing here knows how a proof was found.

mod bank;
mod check;
mod equation;
mod family;
mod lift;
#[cfg(test)]
mod lifting;
mod read;

pub use check::{Proven, check_proofs};
pub use equation::equation_table;
pub use lift::{Lifted, lift};
pub use read::{Proofs, read_proofs};
