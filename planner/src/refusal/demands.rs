//! Demands that can be dropped, in the order in which that is tried, and their words.

use super::problem::{Problem, Solver};
use super::{Change, Demanded, fleets};
use crate::reasons::reasons;
use crate::space::Family;
use crate::{PlaceError, service};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, DType, Role};

/// A demand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Memory,
    Residency,
    Context,
    Weights,
    Batch,
    Ubatch,
    Caches,
    Links,
    Blocks,
    Pin(usize),
}

/// Types that weights may take instead, from the largest on.
pub(crate) const SMALLER: [DType; 7] =
    [DType::Q8_0, DType::Q6_K, DType::Q5_K, DType::Q4_K, DType::Q4_0, DType::Q3_K, DType::Q2_K];

/// A smallest set of demands that cannot hold together. Demands are tried from the last to the first, so that what stays is
/// what was asked for plainly: memory, weights on the cards, the context.
pub(crate) fn conflict(problem: &Problem, solver: &Solver<'_>) -> Result<Vec<Kind>, PlaceError> {
    let mut kept = all(problem)?;
    let every = kept.clone();
    for &kind in every.iter().rev() {
        let fewer: Vec<Kind> = kept.iter().copied().filter(|known| *known != kind).collect();
        let dropped: Vec<Kind> = every.iter().copied().filter(|known| !fewer.contains(known)).collect();
        if !solver.possible(&without(problem, &dropped)?)? {
            kept = fewer;
        }
    }
    if kept.is_empty() {
        return Err(PlaceError::Internal("there is no plan though nothing is demanded".into()));
    }
    Ok(kept)
}

/// All demands that make a difference.
fn all(problem: &Problem) -> Result<Vec<Kind>, PlaceError> {
    let request = &problem.request;
    let smallest = without(problem, &[Kind::Weights])?;
    let candidates = [
        (Kind::Memory, true),
        (Kind::Residency, !problem.stream),
        (Kind::Context, request.context > 1),
        (Kind::Weights, smallest.model.weight_bytes() < problem.model.weight_bytes()),
        (Kind::Batch, request.batch > 1),
        (Kind::Ubatch, request.chunk_tokens() > 1),
        (Kind::Caches, request.cache == DType::F32),
        (Kind::Links, fleets::apart(&problem.fleet)),
        (Kind::Blocks, !problem.limits()?.misaligned.is_empty()),
    ];
    let asked = candidates.into_iter().filter(|(_, asked)| *asked).map(|(kind, _)| kind);
    Ok(asked.chain((0..problem.pins.len()).map(Kind::Pin)).collect())
}

/// A problem without some of its demands.
pub(crate) fn without(problem: &Problem, dropped: &[Kind]) -> Result<Problem, PlaceError> {
    let mut left = problem.clone();
    for kind in dropped {
        left = match kind {
            Kind::Memory => left.on(fleets::boundless)?,
            Kind::Residency => left.with(&Change::Stream)?,
            Kind::Context => left.asking(|request| {
                (request.prompt, request.generate, request.context) = (1, 0, 1);
            })?,
            Kind::Weights => left.of(|model| SMALLER.into_iter().fold(model, sailplan_ir::Model::with_weight_dtype))?,
            Kind::Batch => left.with(&Change::Batch(1))?,
            Kind::Ubatch => left.with(&Change::Ubatch(1))?,
            Kind::Caches => left.with(&Change::Caches(DType::F16))?,
            Kind::Links => left.on(fleets::join)?,
            Kind::Blocks => Problem { round: true, ..left },
            Kind::Pin(_) => left,
        };
    }
    let pins = problem.pins.iter().enumerate().filter(|(index, _)| !dropped.contains(&Kind::Pin(*index)));
    left.pins = pins.map(|(_, pin)| pin.clone()).collect();
    Ok(left)
}

/// A demand in words.
pub(crate) fn words(problem: &Problem, kind: Kind) -> Result<Demanded, PlaceError> {
    let demanded = |kind: &'static str, words: String, bytes: Option<Bytes>| Demanded {
        name: kind.to_owned(),
        kind,
        words,
        bytes,
        place: None,
    };
    let (request, graph) = (&problem.request, &problem.model.graph);
    let left = service::left(&problem.fleet)?;
    let costs = CostModel::new(left.as_ref().unwrap_or(&problem.fleet), request);
    let limits = problem.limits()?;
    let balance = reasons(&problem.model, &costs, (Family::default(), &limits));
    Ok(match kind {
        Kind::Memory => {
            let solved = Solver::new(None).solve(problem)?.err().unwrap_or(balance);
            demanded("memory", solved.balance(), Some(solved.capacity))
        }
        Kind::Residency => {
            let words = format!("all weights stay on the cards: {}", balance.weights);
            demanded("residency", words, Some(balance.weights))
        }
        Kind::Context => {
            let words = format!("{} positions of each sequence: caches of {}", request.context, balance.caches);
            demanded("context", words, Some(balance.caches))
        }
        Kind::Weights => {
            let mut types: Vec<DType> = graph.with_role(Role::Weight).map(|id| graph[id].dtype).collect();
            types.sort_unstable();
            types.dedup();
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let words = format!("weights in {}: {}", types.join(", "), balance.weights);
            demanded("weights", words, Some(balance.weights))
        }
        Kind::Batch => demanded("batch", format!("{} sequences side by side", request.batch), None),
        Kind::Ubatch => {
            demanded("ubatch", format!("{} prompt tokens of each sequence at once", request.chunk_tokens()), None)
        }
        Kind::Caches => {
            demanded("kv", format!("caches in {}: {}", request.cache, balance.caches), Some(balance.caches))
        }
        Kind::Links => demanded("links", apart(problem), None),
        Kind::Blocks => {
            let one = |misaligned: &crate::pins::Misaligned| {
                let name = &problem.pins[misaligned.pin].name;
                let (border, dtype) = (misaligned.border, misaligned.dtype);
                format!("cuts of pin `{name}` lie at multiples of {border} elements, which {dtype} keeps together")
            };
            demanded("blocks", limits.misaligned.iter().map(one).collect::<Vec<_>>().join("; "), None)
        }
        Kind::Pin(index) => {
            let pin = &problem.pins[index];
            let words = pin.demand.to_string();
            Demanded { name: pin.name.clone(), kind: "pin", words, bytes: None, place: pin.place.clone() }
        }
    })
}

/// Which cards do not reach which.
fn apart(problem: &Problem) -> String {
    let parts = problem.fleet.parts();
    let last = parts.iter().max().copied().unwrap_or(0);
    let part = |number: usize| {
        let cards = (0..parts.len()).filter(|&card| parts[card] == number && problem.fleet.serves(card));
        cards.map(|card| format!("sail{card}")).collect::<Vec<_>>().join(", ")
    };
    let parts: Vec<String> = (0..=last).map(part).filter(|part| !part.is_empty()).collect();
    let parts: Vec<String> = parts.into_iter().map(|part| format!("{{{part}}}")).collect();
    format!("no link that is up joins {}", parts.join(" | "))
}
