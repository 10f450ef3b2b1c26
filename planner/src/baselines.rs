//! What simpler placements take under the same prices: one Sail, whole layers by number or by memory, even tensor
//! parallelism with nothing but all-reduces, and what the tile heuristic would choose.

use crate::space::Manner;
use crate::{NoPlan, PlaceError, evaluate_as};
use sailplan_cost_model::{CostModel, Counting, Tile, TileFleet, TileStrategy, pick_strategy};
use sailplan_ir::{Bytes, Model, Op, Picoseconds, Placement, Verified};
use std::ops::Range;

/// Which simpler placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Simpler {
    /// The best single card.
    OneSail,
    /// Whole layers, as many on each card as the numbers allow.
    LayersEvenly,
    /// Whole layers in proportion to the cards' memory.
    LayersByMemory,
    /// Every layer cut evenly over all cards by columns, then by rows, with an all-reduce after each (Shoeybi et al. 2019).
    TensorParallel,
    /// What a heuristic over one tile and two bandwidths chooses.
    TileHeuristic,
}

/// A simpler placement, or why it is none.
#[derive(Debug)]
pub struct Baseline {
    /// Which one.
    pub simpler: Simpler,
    /// What it chose, where it had a choice.
    pub note: Option<String>,
    /// The placement under the model's prices; its certificate says nothing.
    pub placement: Result<Placement, NoPlan>,
}

/// Runs of cards with runs of segments.
type Stages = Vec<(Range<usize>, Range<usize>)>;

/// All baselines.
///
/// # Errors
/// `Internal` when the planner contradicts itself; what does not fit is an answer.
pub fn baselines(model: &Verified<Model>, costs: &CostModel<'_>) -> Result<Vec<Baseline>, PlaceError> {
    let (cards, segments) = (costs.fleet.in_service().len(), model.segments.len());
    let run = |simpler, stages: &Stages, manner| baseline(simpler, None, (model, costs), (stages, manner));
    let (equal, by_memory) = (vec![1; cards], memories(costs));
    let (even, weighted) = (layers(model, &equal), layers(model, &by_memory));
    let all: Stages = vec![(0..cards, 0..segments)];
    let chosen = tile_strategy(model, costs);
    let (stages, manner) = match chosen {
        TileStrategy::TensorParallel => (&all, Manner::AllReduce),
        TileStrategy::ModelParallel => (&even, Manner::Any),
    };
    let tile = baseline(Simpler::TileHeuristic, Some(strategy_name(chosen)), (model, costs), (stages, manner))?;
    Ok(vec![
        one_sail(model, costs)?,
        run(Simpler::LayersEvenly, &even, Manner::Any)?,
        run(Simpler::LayersByMemory, &weighted, Manner::Any)?,
        run(Simpler::TensorParallel, &all, Manner::AllReduce)?,
        tile,
    ])
}

fn baseline(
    simpler: Simpler,
    note: Option<String>,
    (model, costs): (&Verified<Model>, &CostModel<'_>),
    (stages, manner): (&Stages, Manner),
) -> Result<Baseline, PlaceError> {
    let placement = match evaluate_as(model, costs, stages, manner) {
        Ok(placement) => Ok(placement),
        Err(PlaceError::NoPlan(reasons)) => Err(reasons),
        Err(other) => return Err(other),
    };
    Ok(Baseline { simpler, note, placement })
}

/// The best single card.
fn one_sail(model: &Verified<Model>, costs: &CostModel<'_>) -> Result<Baseline, PlaceError> {
    let mut best: Option<Baseline> = None;
    let mut tried = Vec::new();
    let order = costs.fleet.in_service();
    for (place, &sail) in order.iter().enumerate() {
        if order[..place].iter().any(|&other| same(costs, sail, other)) {
            continue;
        }
        let alone = vec![(place..place + 1, 0..model.segments.len())];
        let found = baseline(Simpler::OneSail, Some(sail.to_string()), (model, costs), (&alone, Manner::Any))?;
        tried.push(sail);
        if best.as_ref().is_none_or(|known| objective(&found) < objective(known)) {
            best = Some(found);
        }
    }
    best.ok_or_else(|| PlaceError::Internal(format!("no card of {tried:?} was tried")))
}

fn same(costs: &CostModel<'_>, a: sailplan_ir::SailId, b: sailplan_ir::SailId) -> bool {
    costs.kind_number(a) == costs.kind_number(b)
}

fn objective(baseline: &Baseline) -> Picoseconds {
    baseline.placement.as_ref().map_or(Picoseconds::NEVER, |placement| placement.estimate.objective)
}

fn memories(costs: &CostModel<'_>) -> Vec<u64> {
    let order = costs.fleet.in_service().into_iter();
    order.map(|sail| (costs.kind(sail).memory - costs.kind(sail).reserve).0).collect()
}

/// Whole layers dealt in proportion to `weights`; the embedding goes with the first layer, the head with the last. Cards
/// that get no layer are left out.
fn layers(model: &Model, weights: &[u64]) -> Stages {
    let layers: Vec<usize> = (0..model.segments.len()).filter(|&index| model.segments[index].layer.is_some()).collect();
    let dealt = sailplan_ir::Partition::proportional(layers.len() as u64, 1, weights);
    let busy: Vec<usize> = (0..weights.len()).filter(|&card| !dealt.units(card).is_empty()).collect();
    let bound = |position: usize| match busy.get(position) {
        _ if position == 0 => 0,
        Some(&card) => layers[dealt.units(card).start as usize],
        None => model.segments.len(),
    };
    if busy.is_empty() {
        return vec![(0..1, 0..model.segments.len())];
    }
    let stage = |(position, &card): (usize, &usize)| (card..card + 1, bound(position)..bound(position + 1));
    busy.iter().enumerate().map(stage).collect()
}

/// What Spanker's pull request 19 answers for the largest matrix of a layer in decode, at the first card's memory rate and
/// the slowest link's rate, counted as published and in 2 B an element.
fn tile_strategy(model: &Model, costs: &CostModel<'_>) -> TileStrategy {
    let weights = model.classes.iter().flat_map(|class| {
        let products = class.template.nodes.iter().filter(|node| node.op == Op::Linear);
        products.filter_map(|node| Some(&class.template[*node.inputs.get(1)?].axes))
    });
    let sizes = weights.filter_map(|axes| Some((axes.first()?.fixed()?, axes.get(1)?.fixed()?)));
    let (n, k) = sizes.max_by_key(|(n, k)| n.saturating_mul(*k)).unwrap_or_default();
    let tile = Tile { m: costs.request.batch, n, k, element: Bytes(2) };
    let link = costs.fleet.wires().iter().map(|wire| wire.rate).min().unwrap_or_default();
    let order = costs.fleet.in_service();
    let ddr = order.first().map(|&sail| costs.kind(sail).bandwidth).unwrap_or_default();
    pick_strategy(tile, Counting::Published, TileFleet { sails: order.len() as u64, ddr, link })
}

fn strategy_name(strategy: TileStrategy) -> String {
    match strategy {
        TileStrategy::TensorParallel => "tensor parallel over all".to_owned(),
        TileStrategy::ModelParallel => "layers split evenly".to_owned(),
    }
}
