//! Why there is no plan: a smallest set of demands that cannot hold together, found by dropping them in a fixed order, and
//! the least changes of each that admit a plan, found by planning again.

mod demands;
mod fleets;
mod problem;
mod relax;
#[cfg(test)]
mod shortcuts;

use crate::{Config, PlaceError};
use problem::{Problem, Solver};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, DType, Model, Picoseconds, Place, Placement, SailId, Verified};
use std::fmt;

/// Demands that cannot hold together, though any of them without the others can, and what would admit a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// None can be left out: without any one of them there is a plan.
    pub demands: Vec<Demanded>,
    /// Each of them admits a plan by itself, in a fixed order; none when only several changes at once do.
    pub relaxations: Vec<Relaxation>,
}

/// One of the demands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Demanded {
    /// What it is called: a pin's name, or the kind.
    pub name: String,
    /// `memory`, `residency`, `context`, `weights`, `batch`, `ubatch`, `kv`, `links`, `blocks` or `pin`.
    pub kind: &'static str,
    /// What is demanded.
    pub words: String,
    /// How much, where it is bytes.
    pub bytes: Option<Bytes>,
    /// Where a pin stands in its file.
    pub place: Option<Place>,
}

/// A change that admits a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relaxation {
    /// The change.
    pub change: Change,
    /// The objective of a plan with it; a better one may exist.
    pub objective: Picoseconds,
    /// A decode step of that plan.
    pub decode: Picoseconds,
    /// Tokens that such a step gives: sequences side by side.
    pub sequences: u64,
    /// Of a streaming plan, the time in each step that weights take on the host's link.
    pub streaming: Option<(Bytes, Picoseconds)>,
}

/// What can be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// So many positions.
    Context(u64),
    /// Caches of this type.
    Caches(DType),
    /// So many prompt tokens at once.
    Ubatch(u64),
    /// So many sequences.
    Batch(u64),
    /// Matrices of this type, where they are larger.
    Weights(DType),
    /// So many Sails of the one kind.
    Sails(u16),
    /// Weights of layers may stay on the host.
    Stream,
    /// Without this pin.
    Without(String),
    /// This pin's cuts at block borders.
    Cuts(String, Vec<u64>),
    /// These links up; none for all.
    Links(Vec<(SailId, SailId)>),
}

impl Change {
    /// The flags to pass, where flags can say it.
    #[must_use]
    pub fn flags(&self) -> Option<String> {
        match self {
            Self::Context(context) => Some(format!("--context {context}")),
            Self::Caches(dtype) => Some(format!("--kv {}", dtype.to_string().to_lowercase())),
            Self::Ubatch(tokens) => Some(format!("--ubatch {tokens}")),
            Self::Batch(batch) => Some(format!("--batch {batch}")),
            Self::Stream => Some("--stream".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(context) => write!(f, "a context of {context}"),
            Self::Caches(dtype) => write!(f, "caches in {dtype}"),
            Self::Ubatch(tokens) => write!(f, "{tokens} prompt tokens at once"),
            Self::Batch(batch) => write!(f, "{batch} sequences side by side"),
            Self::Weights(dtype) => write!(f, "a model with its matrices in {dtype}"),
            Self::Sails(count) => write!(f, "{count} Sails of this kind in the fleet file"),
            Self::Stream => f.write_str("weights that stay on the host"),
            Self::Without(pin) => write!(f, "without pin `{pin}`"),
            Self::Cuts(pin, at) => write!(f, "pin `{pin}` cut at {at:?}"),
            Self::Links(links) if links.is_empty() => f.write_str("links that are up"),
            Self::Links(links) => {
                let pairs: Vec<String> = links.iter().map(|(a, b)| format!("{a} and {b}")).collect();
                write!(f, "a link that is up between {}", pairs.join(", between "))
            }
        }
    }
}

/// Why [`crate::place`] found no plan.
///
/// # Errors
/// `Pins` as `place`; `Internal` when there is a plan after all, or the planner contradicts itself.
pub fn refuse(model: &Verified<Model>, costs: &CostModel<'_>, config: Config<'_>) -> Result<Refusal, PlaceError> {
    let problem = Problem::new(model, costs, config);
    let solver = Solver::new(config.progress);
    let kinds = demands::conflict(&problem, &solver)?;
    let demands = kinds.iter().map(|&kind| demands::words(&problem, kind)).collect::<Result<_, _>>()?;
    let relaxations = relax::relaxations(&problem, &kinds, &solver)?;
    Ok(Refusal { demands, relaxations })
}

/// A change with the plan that it admits.
fn relaxation(change: Change, sequences: u64, placement: &Placement) -> Relaxation {
    let sequences = if let Change::Batch(batch) = change { batch } else { sequences };
    let streaming = (change == Change::Stream).then(|| crate::stream::streaming(placement));
    let estimate = placement.estimate;
    Relaxation { change, objective: estimate.objective, decode: estimate.decode, sequences, streaming }
}
