//! A bound for any plan on a fleet: every byte of weights and caches that a step touches is read from some card's
//! memory, and whoever uses a second card exchanges at least one message.

use crate::{CostModel, Local, Phase, work};
use sailplan_ir::{Bytes, Dim, Extents, Graph, Model, Picoseconds, Role, SailId, TensorId};

/// The bound on a whole objective: for every number k of fastest cards, bytes / (sum of their rates), plus the cheapest
/// link's latency when k > 1; the least over k, over the phases with their counts, plus the host's logits.
#[must_use]
pub fn lower_bound(costs: &CostModel<'_>, model: &Model) -> Picoseconds {
    let request = costs.request;
    let (prefill, decode) = request.weights();
    let logits = model.graph.output().map_or(Bytes(0), |id| model.graph[id].bytes(costs.extents(Phase::Decode)));
    let host = costs.host(&[logits]);
    let one = |phase: Phase| fastest(costs, touched(model, costs.extents(phase))) + host;
    one(Phase::Prefill) * prefill.saturating_mul(request.chunks()) - host * prefill.saturating_mul(request.chunks() - 1)
        + one(Phase::Decode) * decode
}

fn fastest(costs: &CostModel<'_>, bytes: Bytes) -> Picoseconds {
    let fleet = costs.fleet;
    let mut rates: Vec<u64> = fleet.ids().map(|sail: SailId| fleet.kind(sail).bandwidth.0).collect();
    rates.sort_unstable_by(|a, b| b.cmp(a));
    let latency = fleet.wires().iter().map(|wire| wire.latency).min().unwrap_or_default();
    let mut sum = 0u64;
    let mut best = Picoseconds::NEVER;
    for (index, rate) in rates.into_iter().enumerate() {
        sum = sum.saturating_add(rate);
        let read = sailplan_ir::BytesPerSecond(sum).time(bytes);
        best = best.min(if index == 0 { read } else { read + latency });
    }
    best
}

/// Weight and cache bytes that one step reads, whatever the plan.
fn touched(model: &Model, extents: Extents) -> Bytes {
    let graph = &model.graph;
    graph.nodes.iter().map(|node| resident_work(graph, node, extents)).sum()
}

fn resident_work(graph: &Graph, node: &sailplan_ir::Node, extents: Extents) -> Bytes {
    let local = |id: TensorId| {
        let tensor = &graph[id];
        Local { axes: tensor.axes.iter().map(|axis: &Dim| axis.size(extents)).collect(), dtype: tensor.dtype }
    };
    if node.op.appends() {
        return Bytes(0);
    }
    // Values cost nothing here: only what must be read from memory on any plan counts.
    let free = |id: TensorId| Local { axes: vec![0], dtype: graph[id].dtype };
    let appended = |id: TensorId| graph.producer(id).is_some_and(|maker| graph[maker].op.appends());
    let inputs: Vec<Local> = node
        .inputs
        .iter()
        .map(|&id| if graph[id].role == Role::Weight || appended(id) { local(id) } else { free(id) })
        .collect();
    if matches!(node.op, sailplan_ir::Op::Embed) {
        return Bytes(0);
    }
    work(node.op, &inputs, &free(node.output)).bytes
}
