//! From stages to a placement: every figure is computed again from the points, in integers, whoever found the stages.

use crate::dynamic::{Cut, wanted};
use crate::front::{Detail, Point};
use crate::load::load_plan;
use crate::mixing;
use crate::pace::Pace;
use crate::space::{Space, sails};
use crate::stage::{Counts, Mixing, mix};
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

/// As `fill`, with mixes that are not exact improved by programs of their own; only where costs are summed.
pub(crate) fn polished(space: &Space<'_>, cuts: &[Cut]) -> Result<Option<Vec<Filled>>, String> {
    let Some(mut stages) = fill(space, cuts) else { return Ok(None) };
    for (cut, counts) in &mut stages {
        let wanted = wanted(space, cut.segments.clone());
        if space.mixing == Mixing::Never
            || space.pace() != Pace::Sum
            || mix(space, &cut.group, &wanted).is_none_or(|mix| mix.exact)
        {
            continue;
        }
        let takes = space.toll(&cut.group, counts).cost;
        if let Some(better) = mixing::mix(space, &cut.group, &wanted, takes)? {
            *counts = better;
        }
    }
    Ok(Some(stages))
}

/// The sum of costs of stages and of what passes between them.
pub(crate) fn sum(space: &Space<'_>, stages: &[Filled]) -> Picoseconds {
    let stage = |(cut, counts): &Filled| space.toll(&cut.group, counts).cost;
    let passing = |pair: &[Filled]| {
        let (before, after) = (&pair[0].0.group, &pair[1].0.group);
        let message = space.message(SailId(before.end as u16 - 1), SailId(after.start as u16));
        space.toll_of(&message).cost + space.toll_of(&space.broadcast(after)).cost
    };
    stages.iter().map(stage).chain(stages.windows(2).map(passing)).sum()
}

/// Whether every stage fits, card by card.
pub(crate) fn holds(space: &Space<'_>, stages: &[Filled]) -> bool {
    stages.iter().all(|(cut, counts)| space.holds(&cut.group, counts))
}

/// What a stage takes for one prefill pass and for one decode step.
type Times = [Resources; 2];

/// The placement of these stages; the certificate is filled in by the caller.
pub(crate) fn assemble(space: &Space<'_>, stages: &[Filled]) -> Placement {
    let mut times: Vec<Vec<Times>> = Vec::new();
    let mut made: Vec<Stage> = Vec::new();
    for (cut, counts) in stages {
        // With the first segment a replica begins.
        if cut.segments.start == 0 || times.is_empty() {
            times.push(Vec::new());
        }
        let replica = times.len() - 1;
        let mut taken = Times::default();
        let hop = made.last().zip(times[replica].last_mut());
        let hop = hop.map(|(before, sender)| hop_between(space, (before, sender), cut, &mut taken));
        made.push(Stage { replica: replica as u32, ..stage(space, cut, counts, hop, &mut taken) });
        times[replica].push(taken);
    }
    let busy: Vec<SailId> = made.iter().flat_map(|stage| stage.sails.iter().copied()).collect();
    let unused = space.costs.fleet.ids().filter(|sail| !busy.contains(sail)).collect();
    let (loads, ready) = load_plan(space.costs, space.model, &made);
    let estimate = estimate(space, &times, ready);
    let certificate = Certificate {
        status: Status::OutOfBudget,
        method: String::new(),
        space: String::new(),
        bound: estimate.lower_bound,
    };
    let in_flight = space.costs.request.in_flight;
    Placement { stages: made, loads, unused, in_flight, certificate, estimate }
}

/// The sender is not free before the message has left; spreading it is the receivers' work.
fn hop_between(space: &Space<'_>, (before, sender): (&Stage, &mut Times), cut: &Cut, taken: &mut Times) -> Hop {
    let from = before.sails[before.sails.len() - 1];
    let message = space.message(from, SailId(cut.group.start as u16));
    let spread = space.broadcast(&cut.group);
    sender[0].link += message.prefill;
    sender[1].link += message.decode;
    taken[0].link += spread.prefill;
    taken[1].link += spread.decode;
    Hop {
        from,
        prefill: (message.prefill, spread.prefill),
        decode: (message.decode, spread.decode),
        spread: spread.algorithms,
    }
}

fn stage(space: &Space<'_>, cut: &Cut, counts: &Counts, hop: Option<Hop>, taken: &mut Times) -> Stage {
    let front = space.front(&cut.group);
    let mut left = counts.clone();
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut assignment = Vec::new();
    for segment in &space.model.segments[cut.segments.clone()] {
        let class = segment.class.index();
        // Every segment of the stage is counted once, so a point is left.
        let point = left[class].iter().position(|&count| count > 0).unwrap_or(0);
        left[class][point] = left[class][point].saturating_sub(1);
        let segment = front[class][point].totals(space.detail(&cut.group, class, point));
        taken.iter_mut().zip(segment).for_each(|(taken, time)| *taken += time);
        let index = choices.iter().position(|known| *known == (class, point)).unwrap_or_else(|| {
            choices.push((class, point));
            choices.len() - 1
        });
        assignment.push(index as u32);
    }
    let memory = (0..cut.group.len()).map(|rank| space.memory(&cut.group, counts, rank)).collect();
    let sustain = sustain(space, cut, &choices);
    Stage {
        replica: 0,
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

/// Chunks follow each other through the stages of a replica; the steps of decode wait for each other.
fn estimate(space: &Space<'_>, replicas: &[Vec<Times>], ready: Picoseconds) -> Estimate {
    let request = space.costs.request;
    let taken = |stages: &Vec<Times>| {
        let once = |phase: usize| stages.iter().map(move |stage| stage[phase].total());
        let slowest = once(0).max().unwrap_or_default();
        let prefill = once(0).sum::<Picoseconds>() + slowest * (request.chunks() - 1);
        let decode: Picoseconds = once(1).sum();
        (prefill + decode * request.generate, prefill, decode)
    };
    // The first of equal ones is as good as any.
    let (whole, prefill, decode) = replicas.iter().map(taken).max().unwrap_or_default();
    let by_resource = space.pooled(replicas);
    Estimate {
        request: whole,
        prefill,
        decode,
        ready,
        lower_bound: lower_bound(space.costs, space.model),
        objective: by_resource.total(),
        by_resource,
    }
}

/// The proven bound on the objective when only the engine ran and some mix was not exact: each segment at its fastest
/// point, without hops, and what must be streamed. It says nothing where stages work side by side.
pub(crate) fn relaxed(space: &Space<'_>) -> Picoseconds {
    if space.pace() != Pace::Sum {
        return Picoseconds(0);
    }
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
