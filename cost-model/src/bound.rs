//! A bound for any plan on a fleet: every byte of weights and caches that a step touches is read from some card's
//! memory. The logits' own product may be shared without a message, because each card gives its part to the host;
//! whoever shares anything before it exchanges at least one. Of a mixture of experts only those count that tokens take, by
//! the routing that prices assume.

use crate::{CostModel, Local, Phase, work};
use sailplan_ir::{
    Attachment, Bytes, BytesPerSecond, Dim, Extents, Graph, Model, Node, Objective, Op, Picoseconds, Role, SailId,
    TensorId,
};

/// The bound on a whole objective: for each step, the bytes of the logits' product over the sum of all memory rates, plus
/// all other bytes either at the fastest card's rate, or over the sum plus the shortest latency of a link; plus the
/// host's logits, once for the prompt and once a decode step. Steps that do not wait for each other (further chunks of a
/// prompt, requests on their way at once) share the cards: their bytes go over the sum of all rates, and a host's link that
/// all share carries every request's logits.
#[must_use]
pub fn lower_bound(costs: &CostModel<'_>, model: &Model) -> Picoseconds {
    let request = costs.request;
    let (prefill, decode) = request.weights();
    let logits = model.graph.output().map_or(Bytes(0), |id| model.graph[id].bytes(costs.extents(Phase::Decode)));
    let host = costs.host(&[logits]);
    let further = request.chunks() - 1;
    if request.objective == Objective::Throughput {
        let reads =
            together(costs, model, Phase::Prefill) * request.chunks() + together(costs, model, Phase::Decode) * decode;
        let shared = costs.fleet.host.attachment == Attachment::Shared;
        return if shared { reads.max(host * (prefill + decode)) } else { reads };
    }
    (read(costs, model, Phase::Prefill) + together(costs, model, Phase::Prefill) * further + host) * prefill
        + (read(costs, model, Phase::Decode) + host) * decode
}

/// Reading what one step touches with all cards at once.
fn together(costs: &CostModel<'_>, model: &Model, phase: Phase) -> Picoseconds {
    let (before, last) = touched(costs, model, phase);
    sum_of_rates(costs).time(before + last)
}

fn sum_of_rates(costs: &CostModel<'_>) -> BytesPerSecond {
    let rates = costs.fleet.ids().map(|sail: SailId| costs.kind(sail).bandwidth.0);
    BytesPerSecond(rates.fold(0, u64::saturating_add))
}

/// Reading what one step touches.
fn read(costs: &CostModel<'_>, model: &Model, phase: Phase) -> Picoseconds {
    let fleet = costs.fleet;
    let fastest = BytesPerSecond(fleet.ids().map(|sail| fleet.kind(sail).bandwidth.0).max().unwrap_or(0));
    let together = sum_of_rates(costs);
    let latency = fleet.wires().iter().map(|wire| wire.latency).min().unwrap_or_default();
    let (before, last) = touched(costs, model, phase);
    fastest.time(before).min(together.time(before) + latency) + together.time(last)
}

/// Weight and cache bytes that one step reads, whatever the plan: before the last product, and from it on.
fn touched(costs: &CostModel<'_>, model: &Model, phase: Phase) -> (Bytes, Bytes) {
    let graph = &model.graph;
    let work = |nodes: &[Node]| -> Bytes {
        nodes.iter().map(|node| resident_work(graph, node, costs.extents_of(phase, node.op))).sum()
    };
    let last = graph.nodes.iter().rposition(|node| node.op == Op::Linear).unwrap_or(0);
    let (before, last) = graph.nodes.split_at(last);
    (work(before), work(last))
}

fn resident_work(graph: &Graph, node: &Node, extents: Extents) -> Bytes {
    let local = |id: TensorId| {
        let tensor = &graph[id];
        Local { axes: tensor.axes.iter().map(|axis: &Dim| axis.size(extents)).collect(), dtype: tensor.dtype }
    };
    if node.op.appends() {
        return Bytes(0);
    }
    // Values cost nothing here: only what must be read from memory on any plan counts. How many rows they have still says
    // how many tokens take experts.
    let rows = |id: TensorId| graph[id].axes.first().map_or(0, |axis| axis.size(extents));
    let free = |id: TensorId| Local { axes: vec![rows(id), 0], dtype: graph[id].dtype };
    let appended = |id: TensorId| graph.producer(id).is_some_and(|maker| graph[maker].op.appends());
    let inputs: Vec<Local> = node
        .inputs
        .iter()
        .map(|&id| if graph[id].role == Role::Weight || appended(id) { local(id) } else { free(id) })
        .collect();
    if node.op == Op::Embed {
        return Bytes(0);
    }
    work(node.op, &inputs, &free(node.output)).bytes
}
