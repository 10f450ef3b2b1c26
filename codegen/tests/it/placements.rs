//! Placements by hand: runs of segments on runs of cards.

use crate::forms::{Style, form, prices};
use crate::small::{fleet, mixture, model, request, variant};
use sailplan_codegen::{Plan, emit};
use sailplan_ir::{
    Algorithm, Bytes, Certificate, Choice, DomainId, Domains, Estimate, Form, Graph, Hop, Load, Model, Objective,
    Partition, Picoseconds, Placement, Request, Role, SailId, Shard, Stage, Status, Streamed, TensorId, Verified,
    Verify, shards,
};
use std::ops::Range;

/// Some segments on some cards.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) sails: Vec<u16>,
    pub(crate) segments: Range<u32>,
    pub(crate) styles: (Style, Style),
    pub(crate) algorithm: Algorithm,
    /// Whether the weights of its layers stay on the host.
    pub(crate) streamed: bool,
}

pub(crate) fn part(sails: &[u16], segments: Range<u32>, style: Style, algorithm: Algorithm) -> Part {
    Part { sails: sails.to_vec(), segments, styles: (style, style), algorithm, streamed: false }
}

/// All plans that the tests corrupt, by name.
pub(crate) fn plans() -> Vec<(&'static str, Plan)> {
    let dense = cases().into_iter().map(|(name, tied, parts)| (name, plan(&model(tied), &parts)));
    let mixed = mixtures().into_iter().map(|(name, parts)| (name, plan(&mixture(), &parts)));
    let others = variants().into_iter().map(|(name, parts)| (name, plan(&variant(), &parts)));
    dense.chain(mixed).chain(others).collect()
}

pub(crate) fn plan_of(wanted: &str) -> Plan {
    let found = plans().into_iter().find(|(name, _)| *name == wanted);
    found.unwrap().1
}

/// Name, and stages of the model with experts.
fn mixtures() -> Vec<(&'static str, Vec<Part>)> {
    use Algorithm::{Direct, OneShot, Ring};
    use Style::{Context, Experts, Gather, Reduce, Scatter, Sent, Tokens, Whole};
    vec![
        ("experts", vec![part(&[0, 1], 0..5, Experts, OneShot)]),
        ("experts cut", vec![part(&[1, 2, 0], 0..5, Reduce, Direct)]),
        ("experts on two stages", vec![part(&[0], 0..2, Whole, Ring), part(&[1, 3, 2], 2..5, Experts, Direct)]),
        ("experts sent rows", vec![part(&[1, 0, 2], 0..5, Sent, Direct)]),
        ("experts sent rows on a stage", vec![part(&[2], 0..2, Whole, Ring), part(&[0, 1], 2..5, Sent, Direct)]),
        ("experts by context", vec![part(&[1, 0, 2], 0..5, Context, Ring)]),
        ("experts by rows", vec![part(&[1, 0, 2], 0..5, Tokens, Direct)]),
        ("experts gathered", vec![part(&[0, 1], 0..3, Gather, Ring), part(&[2, 3], 3..5, Scatter, Ring)]),
    ]
}

/// Name, and stages of the model with what Llama has not.
fn variants() -> Vec<(&'static str, Vec<Part>)> {
    use Algorithm::{Direct, OneShot, Ring};
    use Style::{Context, Fused, Gather, Reduce, Scatter, Tokens, Whole};
    vec![
        ("variant by context", vec![part(&[1, 0, 2], 0..5, Context, Direct)]),
        ("variant by rows", vec![part(&[1, 0], 0..5, Tokens, Ring)]),
        ("variant reduced", vec![part(&[0, 1], 0..5, Reduce, OneShot)]),
        ("variant fused", vec![part(&[2, 0, 1], 0..5, Fused, Direct)]),
        ("variant gathered", vec![part(&[1, 0], 0..5, Gather, Ring)]),
        ("variant on two stages", vec![part(&[0], 0..2, Whole, Ring), part(&[1, 2], 2..5, Scatter, Direct)]),
    ]
}

/// Name, whether the head reads the embedding table, stages.
fn cases() -> Vec<(&'static str, bool, Vec<Part>)> {
    use Algorithm::{Direct, OneShot, Ring};
    use Style::{Context, Fused, Gather, Reduce, Scatter, Tokens, Whole};
    let streamed = |part: Part| Part { streamed: true, ..part };
    let both = Part { styles: (Scatter, Reduce), ..part(&[0, 1], 0..5, Scatter, Ring) };
    vec![
        ("one", false, vec![part(&[0], 0..5, Whole, Ring)]),
        ("reduce", false, vec![part(&[0, 1], 0..5, Reduce, OneShot)]),
        ("fused", false, vec![part(&[0, 1], 0..5, Fused, OneShot)]),
        ("uneven", false, vec![part(&[2, 0, 1], 0..5, Reduce, Direct)]),
        ("gather", false, vec![part(&[0, 1], 0..5, Gather, Ring)]),
        ("scatter", true, vec![both]),
        ("rows", false, vec![part(&[0, 1], 0..5, Tokens, Ring)]),
        ("rows of three", true, vec![part(&[2, 0, 1], 0..5, Tokens, Direct)]),
        ("rows on one stage", false, vec![part(&[0], 0..2, Whole, Ring), part(&[3, 1, 2], 2..5, Tokens, Ring)]),
        ("context", false, vec![part(&[0, 1], 0..5, Context, Ring)]),
        ("context of three", true, vec![part(&[2, 0, 1], 0..5, Context, Direct)]),
        ("context on one stage", false, vec![part(&[0], 0..2, Whole, Ring), part(&[3, 1, 2], 2..5, Context, Ring)]),
        ("tied", true, vec![part(&[0, 1], 0..5, Gather, Direct)]),
        ("pipeline", false, vec![part(&[0], 0..2, Whole, Ring), part(&[1, 2], 2..5, Reduce, Direct)]),
        ("streamed", false, vec![streamed(part(&[0, 1], 0..5, Reduce, Direct))]),
        ("partly streamed", true, vec![part(&[1], 0..2, Whole, Ring), streamed(part(&[0, 2], 2..5, Gather, Ring))]),
        (
            "two replicas",
            false,
            vec![
                part(&[0], 0..2, Whole, Ring),
                part(&[1, 2], 2..5, Reduce, Direct),
                part(&[4, 3], 0..3, Gather, Ring),
                part(&[5], 3..5, Whole, Ring),
            ],
        ),
        (
            "three stages",
            true,
            vec![part(&[3, 1], 0..2, Scatter, Ring), part(&[0], 2..4, Whole, Ring), part(&[2, 4], 4..5, Gather, Ring)],
        ),
    ]
}

pub(crate) fn plan(model: &Verified<Model>, parts: &[Part]) -> Plan {
    let cards = parts.iter().flat_map(|part| &part.sails).max().unwrap() + 2;
    let placement = placement(model, parts);
    let several = placement.stages.iter().any(|stage| stage.replica > 0);
    let objective = if several { Objective::Throughput } else { request().objective };
    let request = Request { objective, ..request().into_inner() }.verify().unwrap();
    emit(model, &fleet(cards), &request, &placement).unwrap()
}

/// Every plan is sound before anything is done to it.
pub(crate) fn sound(plan: &Plan) {
    let problems = plan.problems();
    assert!(problems.0.is_empty(), "{problems}");
}

pub(crate) fn placement(model: &Model, parts: &[Part]) -> Placement {
    let time = |micros| Picoseconds::from_micros(micros);
    let hop = |index: usize| {
        let before: &Part = parts.get(index.checked_sub(1)?).filter(|_| parts[index].segments.start > 0)?;
        let spread = (parts[index].sails.len() > 1).then_some((Algorithm::Direct, Algorithm::Ring));
        let from = SailId(*before.sails.last()?);
        Some(Hop { from, prefill: (time(30), time(31)), decode: (time(20), time(21)), spread })
    };
    let mut stages: Vec<Stage> = parts.iter().enumerate().map(|(index, part)| stage(model, part, hop(index))).collect();
    // With the first segment a replica begins.
    let mut begun = 0;
    for stage in &mut stages {
        begun += u32::from(stage.segments.start == 0);
        stage.replica = begun - 1;
    }
    let certificate = Certificate {
        status: Status::Proven,
        method: "by hand".to_owned(),
        space: "one placement".to_owned(),
        bound: Picoseconds(0),
    };
    let loads = shards(model, &stages).into_iter().map(load).collect();
    Placement { stages, loads, unused: Vec::new(), in_flight: 1, certificate, estimate: Estimate::default() }
}

/// All weights of a layer.
fn streams(template: &Graph, form: &Form) -> Vec<Streamed> {
    let layered = |tensor: TensorId| template[tensor].role == Role::Weight && template[tensor].name.contains("{layer}");
    let residents = form.residents().into_iter().filter(|(tensor, _)| layered(*tensor));
    let time = Picoseconds::from_micros(3);
    residents.map(|(tensor, layout)| Streamed { tensor, layout, bytes: Bytes(0), time }).collect()
}

/// What several cards hold is handed on from card to card.
fn load(shard: Shard) -> Load {
    let (host, hop) = (Picoseconds(shard.bytes.0 * 1000), Picoseconds::from_micros(5));
    let hops = vec![hop; shard.holders.len() - 1];
    Load { shard, host, hops }
}

fn stage(model: &Model, part: &Part, hop: Option<Hop>) -> Stage {
    let ranks = part.sails.len();
    let mut choices: Vec<Choice> = Vec::new();
    let mut assignment = Vec::new();
    for segment in &model.segments[part.segments.start as usize..part.segments.end as usize] {
        let known = choices.iter().position(|choice| choice.form.class == segment.class);
        assignment.push(known.unwrap_or_else(|| {
            let class = model.class(segment.class);
            let form = form(segment.class, class, part.styles);
            let domains = Domains::of(&class.template);
            let granules = form.granules(&class.template, &domains);
            let deal = |domain: DomainId| Partition::balanced(domains.units(domain), granules[domain.index()], ranks);
            let partitions = domains.partitions(deal);
            let prefill = prices(&form.prefill, part.algorithm);
            let decode = prices(&form.decode, part.algorithm);
            let streams = if part.streamed { streams(&class.template, &form) } else { Vec::new() };
            choices.push(Choice { form, partitions, prefill, decode, streams });
            choices.len() - 1
        }) as u32);
    }
    let sails = part.sails.iter().map(|&sail| SailId(sail)).collect();
    Stage {
        replica: 0,
        sails,
        hop,
        segments: part.segments.clone(),
        assignment,
        choices,
        memory: vec![Default::default(); ranks],
        sustain: vec![Some(Default::default()); ranks],
    }
}
