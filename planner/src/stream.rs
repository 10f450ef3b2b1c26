//! Points whose weights stay on the host and are brought to the cards at every use: what that saves and what it costs.

use crate::NoPlan;
use crate::front::Point;
use crate::price::Site;
use crate::reasons::of_space;
use crate::saturate::Choices;
use crate::space::Space;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Attachment, Bytes, LayerClass, Picoseconds, Placement, Role, SailId, Streamed};

/// The streamed twins of a layer class's points, fastest first; a later one takes less of the fullest card. A class whose
/// layers are not told apart by a number alone has none.
pub(crate) fn twins(
    choices: &Choices,
    class: &LayerClass,
    at: (&CostModel<'_>, &[SailId]),
    points: &[Point],
) -> Vec<Point> {
    let layers = class.patterned && class.template.with_role(Role::Cache).next().is_some();
    let mut twins: Vec<Point> = points.iter().filter(|_| layers).map(|point| twin(choices, at, point)).collect();
    twins.sort_by_key(|twin| twin.objective);
    let mut kept: Vec<Point> = Vec::new();
    for twin in twins {
        if kept.last().is_none_or(|known| twin.fullest() < known.fullest()) {
            kept.push(twin);
        }
    }
    kept
}

/// The same form with its layer's weights streamed. Each weight is one exchange with the host for all ranks, in both
/// phases, before anything is computed; the kernels read it from the card's memory as ever.
fn twin(choices: &Choices, (costs, group): (&CostModel<'_>, &[SailId]), point: &Point) -> Point {
    let site = Site::new(costs, group, (&choices.template.domains, &point.partitions));
    let graph = &choices.template.graph;
    let limit = costs.request.decode_limit();
    let (mut streams, mut staging) = (Vec::new(), vec![Bytes(0); site.sorts.len()]);
    for (tensor, layout) in point.formed.form.residents() {
        if graph[tensor].role != Role::Weight || !graph[tensor].name.contains("{layer}") {
            continue;
        }
        let share = |rank: usize| site.local(choices, tensor, layout, rank, limit).bytes();
        for (sort, &rank) in site.sorts.iter().enumerate() {
            staging[sort] += share(rank).aligned(costs.kind(group[rank]).granularity);
        }
        let shares: Vec<Bytes> = (0..group.len()).map(share).collect();
        streams.push(Streamed { tensor, layout, bytes: shares.iter().copied().sum(), time: costs.host(&shares) });
    }
    point.twin(costs, streams, staging)
}

/// What any placement must spend on the host's link for streaming, as a part of the objective.
pub(crate) fn unavoidable(space: &Space<'_>) -> Picoseconds {
    let time = at_least(space.costs, &of_space(space));
    space.weighted(time, time)
}

/// The time that weights take on the host's link that are, with the caches, beyond what all cards hold.
fn at_least(costs: &CostModel<'_>, reasons: &NoPlan) -> Picoseconds {
    let bytes = (reasons.weights + reasons.caches - reasons.capacity).min(reasons.weights);
    let shared = costs.fleet.host.attachment == Attachment::Shared;
    let links = if shared { 1 } else { reasons.sails.max(1) as u64 };
    if bytes.0 == 0 { Picoseconds(0) } else { costs.fleet.host.rate.time(Bytes(bytes.0 / links)) }
}

/// What a placement brings from the host at every step: bytes, and the time that takes.
pub(crate) fn streaming(placement: &Placement) -> (Bytes, Picoseconds) {
    let choices =
        placement.stages.iter().flat_map(|stage| stage.assignment.iter().map(|&index| &stage.choices[index as usize]));
    let streams = choices.flat_map(|choice| &choice.streams);
    streams.fold((Bytes(0), Picoseconds(0)), |(bytes, time), one| (bytes + one.bytes, time + one.time))
}
