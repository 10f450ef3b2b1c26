//! Replays a plan with real numbers: cards become threads, links become channels, kernels run on the processor. It
//! decides nothing and knows no costs: what is not in the plan does not happen.

mod arena;
mod call;
mod collectives;
mod cpu;
mod device;
mod error;
mod experts;
mod kernels;
mod linear;
mod replay;
mod residents;
mod resolve;
mod routed;
mod sail;
mod session;
mod shards;
mod simulate;
mod softmax;
mod transport;

#[cfg(test)]
mod tests;

pub use collectives::{Collective, Exchange, Extent};
pub use cpu::Cpu;
pub use device::{Arenas, Buffer, Cache, Device, Kernel, Operand, Step, Weight};
pub use error::{Fault, ReplayError};
pub use replay::replay;
pub use session::{Measured, Progress, Report, SailTime, Session};
pub use simulate::{
    CardTime, Medium, MediumTime, Occupation, Progression, Simulation, SimulationError, Span, Steady, Timeline, Vertex,
    predicted, predicted_steady, simulate, steady, traced,
};
pub use transport::{Pulse, Tag, Threads, Transport, rounded};
