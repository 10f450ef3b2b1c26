//! How one weight or cache is held, and what holding it in another way would take.

use super::alternatives::Alternative;
use super::solver::Solver;
use crate::outcome::Failure;
use sailplan_codegen::{Plan, Resident, SailPlan, Slice, tensor_name};
use sailplan_ir::{Demand, Partition, Placement, PositionShare, Role, SailId};
use serde::Serialize;

/// A tensor on the cards of one stage.
#[derive(Serialize)]
pub(crate) struct Holding {
    pub(crate) tensor: String,
    pub(crate) stage: u32,
    /// First and last layer, where it stands for layers.
    pub(crate) layers: Option<[u32; 2]>,
    /// The axis that is cut; none where every card that has it holds all of it.
    pub(crate) axis: Option<u8>,
    /// Whether it stays on the host until it is used.
    pub(crate) streamed: bool,
    pub(crate) parts: Vec<Held>,
}

/// What one card holds of it.
#[derive(Serialize)]
pub(crate) struct Held {
    pub(crate) sail: SailId,
    /// Elements `start..end` along the axis; none is all.
    pub(crate) elements: Option<[u64; 2]>,
    /// Of a cache, which positions; none is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) positions: Option<PositionShare>,
    /// Of one layer.
    pub(crate) bytes: u64,
}

/// The tensor wherever it is held, one entry for each stage and each way.
pub(super) fn holdings(plan: &Plan, tensor: &str) -> Vec<Holding> {
    let mut all: Vec<Holding> = Vec::new();
    for sail in &plan.sails {
        let residents = sail.weights.iter().chain(&sail.caches);
        for resident in residents.filter(|resident| tensor_name(&resident.name) == tensor) {
            add(&mut all, sail, resident, tensor);
        }
    }
    all.sort_by_key(|held| (held.stage, held.layers, held.axis));
    all
}

fn add(all: &mut Vec<Holding>, sail: &SailPlan, resident: &Resident, tensor: &str) {
    let layers = resident.layers.as_ref().map(|layers| [layers.0.start, layers.0.end.saturating_sub(1)]);
    let (axis, elements, positions) = match resident.slice {
        Slice::Whole => (None, None, None),
        Slice::Cut { axis, start, end } => (Some(axis), Some([start, end]), None),
        Slice::Positions(share) => (Some(0), None, Some(share)),
    };
    let part = Held { sail: sail.sail, elements, positions, bytes: resident.bytes.0 };
    let key = (sail.stage, layers, axis, resident.streamed);
    match all.iter_mut().find(|held| (held.stage, held.layers, held.axis, held.streamed) == key) {
        Some(held) => held.parts.push(part),
        None => {
            let (stage, streamed, tensor) = (sail.stage, resident.streamed, tensor.to_owned());
            all.push(Holding { tensor, stage, layers, axis, streamed, parts: vec![part] });
        }
    }
}

/// What it takes to hold a weight whole, and to cut it evenly along each axis along which it is not cut, in all layers.
pub(super) fn otherwise(
    solver: &Solver<'_>,
    (plan, tensor): (&Plan, &str),
    held: &[Holding],
    now: &Placement,
) -> Result<Vec<Alternative>, Failure> {
    let pattern = tensor.replace("{layer}", "*");
    let mut demands = Vec::new();
    if held.iter().any(|held| held.axis.is_some()) {
        demands.push(Demand::Replicated(pattern.clone()));
    }
    let ranks = now.stages.iter().map(|stage| stage.sails.len()).max().unwrap_or(1);
    for (axis, (size, step)) in (0..=u8::MAX).zip(extents(plan, tensor)) {
        let dealt = Partition::proportional(size / step, 1, &vec![1; ranks]);
        let at: Vec<u64> = (0..ranks - 1).map(|rank| dealt.units(rank).end as u64 * step).collect();
        let taken = held.iter().any(|held| held.axis == Some(axis));
        if ranks > 1 && !taken && size.is_multiple_of(step) {
            demands.push(Demand::Cut { tensor: pattern.clone(), axis, at });
        }
    }
    let mut all = Vec::new();
    for demand in demands {
        let found = match solver.demanding(demand.clone()) {
            // Not every axis can be cut.
            Err(Failure::Input(_)) => continue,
            other => other?,
        };
        all.push(Alternative::new(demand.to_string(), true, found.as_ref(), now));
    }
    Ok(all)
}

/// Elements along each axis of a weight, and the multiples at which it can be cut: blocks lie along the last axis.
fn extents(plan: &Plan, tensor: &str) -> Vec<(u64, u64)> {
    let all = plan.model.classes.iter().flat_map(|class| &class.tensors);
    let Some(tensor) = all.filter(|one| one.role == Role::Weight).find(|one| one.name == tensor) else {
        return Vec::new();
    };
    let last = tensor.dims.len().saturating_sub(1);
    let extent = |(axis, dim): (usize, &sailplan_ir::Dim)| {
        (dim.fixed().unwrap_or(1), if axis == last { tensor.dtype.block() } else { 1 })
    };
    tensor.dims.iter().enumerate().map(extent).collect()
}
