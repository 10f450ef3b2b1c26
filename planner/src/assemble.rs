//! From stages to a placement: every figure is computed again from the points, in integers, whoever found the stages.

use crate::dynamic::{Cut, wanted};
use crate::front::{Detail, Point};
use crate::load::load_plan;
use crate::space::{Space, sails};
use crate::stage::{Counts, mix};
use crate::stream::unavoidable;
use sailplan_cost_model::lower_bound;
use sailplan_ir::{
    Certificate, Choice, Compute, Estimate, Hop, Picoseconds, Placement, Price, Resources, SailId, Stage, Status,
    Sustain,
};

/// A stage with its mix of points.
pub(crate) type Filled = (Cut, Counts);

/// Fills in the cheapest mix of every stage; `None` when one does not fit.
pub(crate) fn fill(space: &Space<'_>, cuts: &[Cut]) -> Option<Vec<Filled>> {
    let filled = cuts.iter().map(|cut| {
        let mixed = mix(space, &cut.group, &wanted(space, cut.segments.clone()))?;
        Some((cut.clone(), mixed.counts))
    });
    filled.collect()
}

/// Whether every stage fits, card by card.
pub(crate) fn holds(space: &Space<'_>, stages: &[Filled]) -> bool {
    stages.iter().all(|(cut, counts)| space.holds(&cut.group, counts))
}

/// Sums of a placement in both phases.
#[derive(Default)]
struct Totals {
    prefill: Resources,
    decode: Resources,
}

/// The placement of these stages; the certificate is filled in by the caller.
pub(crate) fn assemble(space: &Space<'_>, stages: &[Filled]) -> Placement {
    let mut totals = Totals::default();
    let mut made: Vec<Stage> = Vec::new();
    for (cut, counts) in stages {
        let hop = made.last().map(|before| hop(space, before, cut, &mut totals));
        made.push(stage(space, cut, counts, hop, &mut totals));
    }
    let busy: Vec<SailId> = made.iter().flat_map(|stage| stage.sails.iter().copied()).collect();
    let unused = space.costs.fleet.ids().filter(|sail| !busy.contains(sail)).collect();
    let (loads, ready) = load_plan(space.costs, space.model, &made);
    let estimate = estimate(space, &totals, ready);
    let certificate = Certificate {
        status: Status::OutOfBudget,
        method: String::new(),
        space: String::new(),
        bound: estimate.lower_bound,
    };
    Placement { stages: made, loads, unused, certificate, estimate }
}

fn hop(space: &Space<'_>, before: &Stage, cut: &Cut, totals: &mut Totals) -> Hop {
    let from = before.sails[before.sails.len() - 1];
    let message = space.message(from, SailId(cut.group.start as u16));
    let spread = space.broadcast(&cut.group);
    totals.prefill.link += message.prefill + spread.prefill;
    totals.decode.link += message.decode + spread.decode;
    Hop {
        from,
        prefill: (message.prefill, spread.prefill),
        decode: (message.decode, spread.decode),
        spread: spread.algorithms,
    }
}

fn stage(space: &Space<'_>, cut: &Cut, counts: &Counts, hop: Option<Hop>, totals: &mut Totals) -> Stage {
    let front = space.front(&cut.group);
    let mut left = counts.clone();
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut assignment = Vec::new();
    for segment in &space.model.segments[cut.segments.clone()] {
        let class = segment.class.index();
        // Every segment of the stage is counted once, so a point is left.
        let point = left[class].iter().position(|&count| count > 0).unwrap_or(0);
        left[class][point] = left[class][point].saturating_sub(1);
        let [prefill, decode] = front[class][point].totals(space.detail(&cut.group, class, point));
        totals.prefill += prefill;
        totals.decode += decode;
        let index = choices.iter().position(|known| *known == (class, point)).unwrap_or_else(|| {
            choices.push((class, point));
            choices.len() - 1
        });
        assignment.push(index as u32);
    }
    let memory = (0..cut.group.len()).map(|rank| space.memory(&cut.group, counts, rank)).collect();
    let sustain = sustain(space, cut, &choices);
    Stage {
        sails: sails(&cut.group),
        hop,
        segments: cut.segments.start as u32..cut.segments.end as u32,
        assignment,
        choices: choices
            .iter()
            .map(|&(class, point)| choice(&front[class][point], space.detail(&cut.group, class, point)))
            .collect(),
        memory,
        sustain,
    }
}

/// The most that any point in use asks of each rank whose compute rate is not known.
fn sustain(space: &Space<'_>, cut: &Cut, choices: &[(usize, usize)]) -> Vec<Option<Sustain>> {
    let front = space.front(&cut.group);
    let rank = |rank: usize| {
        let kind = space.costs.kind(SailId((cut.group.start + rank) as u16));
        let each = choices
            .iter()
            .map(|&(class, point)| space.detail(&cut.group, class, point).sustain(&front[class][point], rank));
        let most = each.reduce(|a, b| Sustain { prefill: a.prefill.max(b.prefill), decode: a.decode.max(b.decode) });
        most.filter(|_| kind.compute == Compute::Unknown)
    };
    (0..cut.group.len()).map(rank).collect()
}

fn choice(point: &Point, detail: &Detail) -> Choice {
    let prices = |priced: &[crate::price::Priced]| -> Vec<Price> { priced.iter().map(|one| one.price).collect() };
    Choice {
        form: point.formed.form.clone(),
        partitions: point.partitions.clone(),
        prefill: prices(&detail.prices[0]),
        decode: prices(&detail.prices[1]),
        streams: point.streams.clone(),
    }
}

fn estimate(space: &Space<'_>, totals: &Totals, ready: Picoseconds) -> Estimate {
    let request = space.costs.request;
    let prefill = totals.prefill.total() * request.chunks();
    let decode = totals.decode.total();
    let by_resource = space.weighted_resources(totals.prefill, totals.decode);
    Estimate {
        request: prefill + decode * request.generate,
        prefill,
        decode,
        ready,
        lower_bound: lower_bound(space.costs, space.model),
        objective: by_resource.total(),
        by_resource,
    }
}

/// The proven bound on the objective when only the engine ran and some mix was not exact: each segment at its fastest
/// point, without hops, and what must be streamed.
pub(crate) fn relaxed(space: &Space<'_>) -> Picoseconds {
    let fastest = |class: usize| {
        let groups = space.groups();
        let points = groups.iter().filter_map(|group| space.front(group)[class].first());
        points.map(|point| point.objective).min().unwrap_or_default()
    };
    let per_class: Vec<Picoseconds> = (0..space.repertoires.len()).map(fastest).collect();
    let segments = space.model.segments.iter();
    let computed: Picoseconds = segments.map(|segment| per_class[segment.class.index()]).sum();
    if space.stream { computed + unavoidable(space) } else { computed }
}
