//! What a plan says, as one JSON object and as tables: shared by `compile` and `show`.

use sailplan_codegen::{Plan, Resident};
use sailplan_ir::{Bytes, Objective, Picoseconds, Request, SailId, Status, Sustain};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A plan in figures. Times are seconds, sizes bytes.
#[derive(Serialize, Debug)]
pub(crate) struct Summary {
    pub(crate) model: String,
    pub(crate) fleet: String,
    pub(crate) digest: String,
    pub(crate) objective: String,
    pub(crate) estimate: EstimateSummary,
    pub(crate) certificate: CertificateSummary,
    pub(crate) stages: Vec<StageSummary>,
    pub(crate) memory: Vec<MemorySummary>,
    pub(crate) unused_sails: Vec<SailId>,
    /// Out of service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost_sails: Vec<SailId>,
    /// What Sails of unknown compute rate must compute to stay bound by memory; null when all rates are known.
    pub(crate) must_sustain_flops_per_s: Option<SustainSummary>,
    pub(crate) streamed: StreamedSummary,
}

/// Operations per second of the Sail that needs most.
#[derive(Serialize, Debug)]
pub(crate) struct SustainSummary {
    pub(crate) prefill: u64,
    pub(crate) decode: u64,
}

/// Weights that stay on the host.
#[derive(Serialize, Debug)]
pub(crate) struct StreamedSummary {
    pub(crate) layers: Vec<u32>,
    /// Over the host's link at every step, for all cards.
    pub(crate) bytes_per_step: u64,
}

#[derive(Serialize, Debug)]
pub(crate) struct EstimateSummary {
    pub(crate) request_s: f64,
    pub(crate) prefill_s: f64,
    pub(crate) decode_s_per_token: f64,
    pub(crate) throughput_tokens_per_s: f64,
    pub(crate) ready_s: f64,
    pub(crate) lower_bound_s: f64,
    pub(crate) by_resource: ResourceSummary,
}

#[derive(Serialize, Debug)]
pub(crate) struct ResourceSummary {
    pub(crate) ddr_s: f64,
    pub(crate) compute_s: f64,
    pub(crate) link_s: f64,
    pub(crate) host_s: f64,
}

#[derive(Serialize, Debug)]
pub(crate) struct CertificateSummary {
    pub(crate) status: Status,
    pub(crate) method: String,
    pub(crate) space: String,
    pub(crate) gap: f64,
    pub(crate) bound_s: f64,
}

#[derive(Serialize, Debug)]
pub(crate) struct StageSummary {
    pub(crate) replica: u32,
    pub(crate) sails: Vec<SailId>,
    /// First and last layer; none on a stage of only embedding or head.
    pub(crate) layers: Option<[u32; 2]>,
    pub(crate) degree: usize,
}

#[derive(Serialize, Debug)]
pub(crate) struct MemorySummary {
    pub(crate) sail: SailId,
    pub(crate) weights: u64,
    pub(crate) kv: u64,
    pub(crate) activations: u64,
    pub(crate) capacity: u64,
}

/// Tokens a second: of decode alone, one request after the other; or, where requests follow each other through the
/// stages, of all tokens generated, prefill included (of the prompts where nothing is generated).
fn throughput(estimate: &sailplan_ir::Estimate, request: &Request) -> f64 {
    let (tokens, time) = match request.objective {
        Objective::Throughput if request.generate == 0 => (request.prompt, estimate.objective),
        Objective::Throughput => (request.generate, estimate.objective),
        Objective::Request | Objective::Decode | Objective::Prefill => (1, estimate.decode),
    };
    if time.0 > 0 { (request.batch * tokens) as f64 / time.seconds() } else { 0.0 }
}

/// The figures of an estimate.
pub(crate) fn estimate(estimate: &sailplan_ir::Estimate, request: &Request) -> EstimateSummary {
    let decode = estimate.decode.seconds();
    let parts = estimate.by_resource;
    EstimateSummary {
        request_s: estimate.request.seconds(),
        prefill_s: estimate.prefill.seconds(),
        decode_s_per_token: decode,
        throughput_tokens_per_s: throughput(estimate, request),
        ready_s: estimate.ready.seconds(),
        lower_bound_s: estimate.lower_bound.seconds(),
        by_resource: ResourceSummary {
            ddr_s: parts.ddr.seconds(),
            compute_s: parts.compute.seconds(),
            link_s: parts.link.seconds(),
            host_s: parts.host.seconds(),
        },
    }
}

/// The figures of a plan.
pub(crate) fn summary(plan: &Plan) -> Summary {
    let (certificate, fleet) = (&plan.certificate, &plan.fleet.inline);
    let busy: Vec<SailId> = plan.sails.iter().map(|sail| sail.sail).collect();
    Summary {
        model: plan.model.name.clone(),
        fleet: plan.fleet.name.clone(),
        digest: plan.digest.clone(),
        objective: plan.objective.to_string(),
        estimate: estimate(&plan.estimate, &plan.request),
        certificate: CertificateSummary {
            status: certificate.status,
            method: certificate.method.clone(),
            space: certificate.space.clone(),
            gap: certificate.gap(plan.estimate.objective),
            bound_s: certificate.bound.seconds(),
        },
        stages: stages(plan),
        memory: plan.sails.iter().map(memory).collect(),
        streamed: streamed(plan),
        unused_sails: fleet.ids().filter(|sail| fleet.serves(sail.index()) && !busy.contains(sail)).collect(),
        lost_sails: fleet.lost.clone(),
        must_sustain_flops_per_s: sustain(plan)
            .map(|rates| SustainSummary { prefill: rates.prefill.0, decode: rates.decode.0 }),
    }
}

/// The most that any Sail of unknown compute rate must sustain.
pub(crate) fn sustain(plan: &Plan) -> Option<Sustain> {
    let rates = plan.sails.iter().filter_map(|sail| sail.sustain);
    rates.reduce(|a, b| Sustain { prefill: a.prefill.max(b.prefill), decode: a.decode.max(b.decode) })
}

fn stages(plan: &Plan) -> Vec<StageSummary> {
    let first_of_each = plan.sails.iter().filter(|sail| sail.group.first() == Some(&sail.sail));
    let mut stages: Vec<(u32, StageSummary)> = first_of_each
        .map(|sail| {
            let (sails, degree) = (sail.group.clone(), sail.group.len());
            let stage = StageSummary { replica: sail.replica, sails, layers: layers(&sail.caches), degree };
            (sail.stage, stage)
        })
        .collect();
    stages.sort_by_key(|stage| stage.0);
    stages.into_iter().map(|stage| stage.1).collect()
}

fn streamed(plan: &Plan) -> StreamedSummary {
    let residents = plan.sails.iter().flat_map(|sail| &sail.weights).filter(|resident| resident.streamed);
    let (mut layers, mut bytes) = (BTreeSet::new(), Bytes(0));
    for (range, each) in residents.filter_map(|resident| Some((&resident.layers.as_ref()?.0, resident.bytes))) {
        layers.extend(range.clone());
        bytes += each * range.len() as u64;
    }
    StreamedSummary { layers: layers.into_iter().collect(), bytes_per_step: bytes.0 }
}

/// First and last layer with state here.
fn layers(caches: &[Resident]) -> Option<[u32; 2]> {
    let ranges = caches.iter().filter_map(|cache| cache.layers.as_ref()).filter(|layers| !layers.0.is_empty());
    let bounds: Vec<(u32, u32)> = ranges.map(|layers| (layers.0.start, layers.0.end - 1)).collect();
    Some([bounds.iter().map(|bound| bound.0).min()?, bounds.iter().map(|bound| bound.1).max()?])
}

fn memory(sail: &sailplan_codegen::SailPlan) -> MemorySummary {
    let memory = &sail.memory;
    MemorySummary {
        sail: sail.sail,
        weights: memory.weights.0,
        kv: memory.kv.0,
        activations: (memory.activations + memory.scratch).0,
        capacity: (memory.capacity - memory.reserve).0,
    }
}

/// The figures for people.
pub(crate) fn text(plan: &Plan) -> String {
    let figures = summary(plan);
    let mut text = String::new();
    let request = &plan.request;
    let _ = writeln!(text, "{} on {}", plan.model.name, plan.fleet.name);
    let _ = writeln!(
        text,
        "  request   prompt {}, generate {}, batch {}, context {}",
        request.prompt, request.generate, request.batch, request.context
    );
    let replicas = plan.replicas();
    for (index, stage) in figures.stages.iter().enumerate() {
        let replica = if replicas > 1 { format!("replica {:<3} ", stage.replica) } else { String::new() };
        let _ = writeln!(text, "  {replica}stage {index:<3} {}", stage_line(stage));
    }
    if !figures.unused_sails.is_empty() {
        let _ = writeln!(text, "  unused    {}", names(&figures.unused_sails));
    }
    if !figures.lost_sails.is_empty() {
        let _ = writeln!(text, "  lost      {}", names(&figures.lost_sails));
    }
    if !figures.streamed.layers.is_empty() {
        let _ = writeln!(text, "  streamed  {}", streamed_line(&figures.streamed));
    }
    let estimate = &plan.estimate;
    let _ = writeln!(text, "  prefill   {}", estimate.prefill);
    let rate = figures.estimate.throughput_tokens_per_s;
    if request.objective == Objective::Throughput {
        let _ = writeln!(text, "  decode    {} a token", estimate.decode);
        let _ = writeln!(text, "  request   {}", estimate.request);
        let each = if replicas > 1 { format!(" in each of {replicas} replicas") } else { String::new() };
        let requests = if request.in_flight == 1 { "request" } else { "requests" };
        let _ = writeln!(
            text,
            "  period    {} with {} {requests} in flight{each} ({rate:.2} tokens/s)  = {}",
            estimate.objective,
            request.in_flight,
            resources(plan)
        );
    } else {
        let _ = writeln!(text, "  decode    {} a token ({rate:.2} tokens/s)", estimate.decode);
        let _ = writeln!(text, "  request   {}  = {}", estimate.request, resources(plan));
    }
    let _ = writeln!(text, "  ready     {} to load", estimate.ready);
    let _ = writeln!(text, "  bound     {} for any plan on this fleet", estimate.lower_bound);
    if let Some(Sustain { prefill, decode }) = sustain(plan) {
        let _ =
            writeln!(text, "  compute   unknown: memory-bound from {decode} a Sail in decode, {prefill} in prefill");
    }
    let gap = plan.certificate.gap(estimate.objective) * 100.0;
    let _ = writeln!(text, "  search    {:?}, gap {gap:.3} %, by {}", plan.certificate.status, plan.certificate.method);
    text.push_str(&memory_table(&figures.memory));
    text
}

fn stage_line(stage: &StageSummary) -> String {
    let layers = match stage.layers {
        Some([first, last]) if first == last => format!("layer {first}"),
        Some([first, last]) => format!("layers {first} to {last}"),
        None => "no layers".to_owned(),
    };
    let how = if stage.degree > 1 { format!("tensor parallel over {}", stage.degree) } else { "whole".to_owned() };
    format!("{}: {layers}, {how}", names(&stage.sails))
}

fn streamed_line(streamed: &StreamedSummary) -> String {
    let runs = streamed.layers.chunk_by(|a, b| a + 1 == *b);
    let parts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first} to {last}"),
            one => one.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let word = if streamed.layers.len() == 1 { "layer" } else { "layers" };
    format!("{word} {} from the host, {} a step", parts.join(", "), Bytes(streamed.bytes_per_step))
}

/// Names, three or more in a row as "first to last".
pub(crate) fn names(sails: &[SailId]) -> String {
    let mut parts = Vec::new();
    for run in sails.chunk_by(|a, b| a.index() + 1 == b.index()) {
        match run {
            [first, _, .., last] => parts.push(format!("{first} to {last}")),
            few => parts.extend(few.iter().map(ToString::to_string)),
        }
    }
    parts.join(", ")
}

fn resources(plan: &Plan) -> String {
    let parts = plan.estimate.by_resource;
    let named = [("DDR", parts.ddr), ("compute", parts.compute), ("link", parts.link), ("host", parts.host)];
    let shown = named.iter().filter(|part| part.1 > Picoseconds(0));
    shown.map(|(name, time)| format!("{name} {time}")).collect::<Vec<_>>().join(" + ")
}

fn memory_table(memory: &[MemorySummary]) -> String {
    let mut text = format!("  {:<8} {:>12} {:>12} {:>12} {:>12}\n", "memory", "weights", "kv", "activations", "of");
    for row in memory {
        let _ = writeln!(
            text,
            "  {:<8} {:>12} {:>12} {:>12} {:>12}",
            row.sail.to_string(),
            Bytes(row.weights),
            Bytes(row.kv),
            Bytes(row.activations),
            Bytes(row.capacity)
        );
    }
    text
}
