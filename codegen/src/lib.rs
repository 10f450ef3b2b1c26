//! From a placement to one plan per card, and from a plan's text back to a checked plan. It decides order and offsets,
//! never homes, and knows nothing of prices, e-graphs or solvers.

mod check;
mod diff;
mod digest;
mod emit;
mod lists;
mod moves;
mod names;
mod plan;
mod proof;
mod read;
mod reduce;
mod replica;
mod shard;
mod text;
mod traffic;
mod verify;
mod write;

pub use check::check_model;
pub use diff::{Change, Class, Diff, Held, Kernels, Part, Phase, StageOf, Tally, What, diff, diff_refused, headroom};
pub use emit::{emit, with_pins};
pub use moves::{Sources, kept, moves};
pub use names::{in_layer, tensor_name};
pub use plan::{
    Buffer, Gated, Instruction, Layers, Link, Load, Memory, Plan, PlanClass, PlanFleet, PlanModel, PlanNode,
    PlanTensor, Product, Program, Resident, SailPlan, Slice, VERSION,
};
pub use proof::{Lifted, Proofs, Proven, check_proofs, equation_table, lift, read_proofs};
pub use read::read;
pub use reduce::ReduceOp;
pub use traffic::{Sent, sent};
pub use write::write;
