//! The planner: which form each layer class takes on each group of cards, and which segments run where.
//!
//! `place` is the whole search: saturate each layer class, extract the points of every class on every group, place
//! the chain by dynamic programming, certify by an integer program. It opens no files and looks at no clock.

mod analysis;
mod assemble;
#[cfg(test)]
mod audit;
mod baselines;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod derived;
mod dynamic;
mod extract;
mod front;
mod language;
mod load;
mod outcome;
mod paths;
#[cfg(test)]
mod planted;
mod price;
mod program;
mod repertoire;
mod rules;
mod saturate;
mod shares;
mod solver;
mod space;
mod stage;
mod stream;
mod table;
mod trellis;

pub use baselines::{Baseline, Simpler, baselines};
pub use outcome::{NoPlan, Outcome, PlaceError, Search, Streaming};
pub use rules::Rule;
pub use saturate::Saturation;
pub use space::Family;

use assemble::Filled;
use repertoire::Repertoire;
use sailplan_cost_model::CostModel;
use sailplan_ir::{
    Bytes, Certificate, ClassId, Graph, LayerClass, Model, Picoseconds, Placement, Role, Status, Verified,
};
use space::{Manner, Scope, Space};
use std::collections::BTreeSet;
use std::ops::Range;

/// How far to search.
#[derive(Clone, Copy, Default)]
pub struct Config<'a> {
    /// Which groups are considered.
    pub family: Family,
    /// Solve the placement program whatever its size.
    pub prove: bool,
    /// Let weights of layers stay on the host and come at every step, where they do not fit.
    pub stream: bool,
    /// Told as the search goes on; it cannot change the answer.
    pub progress: Option<&'a dyn Fn(Progress)>,
}

/// How far a search is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// Forms are extracted, group by group.
    Forms {
        /// Groups done.
        done: usize,
        /// Groups in all.
        of: usize,
    },
    /// Stages are being placed by the engine.
    Stages,
    /// The integer program is being solved.
    Program,
}

/// The rules for one layer class, as a table.
#[must_use]
pub fn rule_table(class: &LayerClass) -> Vec<Rule> {
    rules::rules(&analysis::Template::new(&class.template))
}

/// How a class's e-graph grows with the rules: for each family, the number of its rules and the saturated e-graph with it
/// and all before it in the table.
///
/// # Errors
/// The rules do not saturate: a bug.
pub fn growth(model: &Model, class: ClassId) -> Result<Vec<(&'static str, usize, Saturation)>, PlaceError> {
    let template = &model.class(class).template;
    saturate::growth(template, last(model) == Some(class) && ends_in_outputs(template)).map_err(PlaceError::Internal)
}

/// The class of the last segment, where there are logits.
fn last(model: &Model) -> Option<ClassId> {
    model.graph.output().and_then(|_| model.segments.last()).map(|segment| segment.class)
}

/// The best placement of a model on a fleet.
///
/// # Errors
/// `NoPlan` with the demands in bytes when nothing fits, and with what streaming would take where it was not allowed;
/// `Internal` when the planner contradicts itself.
pub fn place(model: &Verified<Model>, costs: &CostModel<'_>, config: Config<'_>) -> Result<Outcome, PlaceError> {
    let answer = search(model, costs, config);
    let Err(PlaceError::NoPlan(reasons)) = answer else { return answer };
    if config.stream {
        return Err(PlaceError::NoPlan(reasons));
    }
    let streaming = if reasons.sails > STREAMING_PRICED {
        stream::at_least(costs, &reasons)
    } else {
        let config = Config { stream: true, prove: false, ..config };
        search(model, costs, config).ok().map(|outcome| stream::streaming(&outcome.placement))
    };
    Err(PlaceError::NoPlan(NoPlan { streaming, ..reasons }))
}

/// Beyond so many cards a refusal bounds the price of streaming and does not search for it.
const STREAMING_PRICED: usize = 16;

fn search(model: &Verified<Model>, costs: &CostModel<'_>, config: Config<'_>) -> Result<Outcome, PlaceError> {
    fits_in_all(model, costs, config.family, config.stream)?;
    let repertoires = repertoires(model, costs).map_err(PlaceError::Internal)?;
    let build = |relaxed| {
        let scope = Scope { family: config.family, relaxed, stream: config.stream, ..Scope::default() };
        Space::new(model, costs, &repertoires, scope, config.progress).map_err(PlaceError::Internal)
    };
    let mut space = build(true)?;
    let mut chain = dynamic::solve(&space);
    let mut engine = chain.as_ref().and_then(|chain| assemble::fill(&space, &chain.cuts));
    if !engine.as_ref().is_some_and(|stages| assemble::holds(&space, stages)) {
        space = build(false)?;
        chain = dynamic::solve(&space);
        engine = chain.as_ref().and_then(|chain| assemble::fill(&space, &chain.cuts));
    }
    let mut search = figures(&repertoires, &space);
    let solved = if config.prove || program::small(&space) {
        if let Some(report) = config.progress {
            report(Progress::Program);
        }
        Some(program::solve(&space).map_err(PlaceError::Internal)?)
    } else {
        None
    };
    if let Some(solved) = &solved {
        (search.columns, search.rows) = (solved.columns, solved.rows);
    }
    // Without a chain nothing was found, which says as much as the fronts do.
    let exact = chain.as_ref().map_or(space.complete, |chain| chain.exact);
    let bound = chain.as_ref().map_or(Picoseconds(0), |chain| chain.bound);
    let proven = solved.map(|solved| solved.stages);
    let placement = decide(&space, engine, proven, (exact, bound))?.ok_or_else(|| no_plan(&space))?;
    if config.prove {
        certify_forms(&space, &placement).map_err(PlaceError::Internal)?;
    }
    Ok(Outcome { placement, search })
}

/// The fastest form of every class on every group in use, once more by integer program.
fn certify_forms(space: &Space<'_>, placement: &Placement) -> Result<(), String> {
    for stage in &placement.stages {
        let (Some(first), Some(last)) = (stage.sails.first(), stage.sails.last()) else { continue };
        let classes: BTreeSet<ClassId> = stage.choices.iter().map(|choice| choice.form.class).collect();
        for class in classes {
            space.certify(&(first.index()..last.index() + 1), class.index())?;
        }
    }
    Ok(())
}

/// A placement with the given stages: runs of cards with runs of segments, in order.
///
/// # Errors
/// As `place`; `NoPlan` when a stage does not fit.
pub fn evaluate(
    model: &Verified<Model>,
    costs: &CostModel<'_>,
    stages: &[(Range<usize>, Range<usize>)],
) -> Result<Placement, PlaceError> {
    evaluate_as(model, costs, stages, Manner::Any)
}

pub(crate) fn evaluate_as(
    model: &Verified<Model>,
    costs: &CostModel<'_>,
    stages: &[(Range<usize>, Range<usize>)],
    manner: Manner,
) -> Result<Placement, PlaceError> {
    let family = Family { largest: None, cards: stages.iter().map(|stage| stage.0.end).max() };
    fits_in_all(model, costs, family, false)?;
    let repertoires = repertoires(model, costs).map_err(PlaceError::Internal)?;
    let cut = |(group, segments): &(Range<usize>, Range<usize>)| dynamic::Cut {
        group: group.clone(),
        segments: segments.clone(),
    };
    let cuts: Vec<dynamic::Cut> = stages.iter().map(cut).collect();
    for relaxed in [true, false] {
        let groups = Some(cuts.iter().map(|cut| cut.group.clone()).collect());
        let scope = Scope { family, manner, relaxed, stream: false, groups };
        let space = Space::new(model, costs, &repertoires, scope, None).map_err(PlaceError::Internal)?;
        let filled = assemble::fill(&space, &cuts).filter(|stages| assemble::holds(&space, stages));
        match filled {
            Some(stages) => return Ok(assemble::assemble(&space, &stages)),
            None if relaxed => {}
            None => return Err(no_plan(&space)),
        }
    }
    Err(PlaceError::Internal("no space was tried".into()))
}

fn repertoires(model: &Model, costs: &CostModel<'_>) -> Result<Vec<Repertoire>, String> {
    let last = last(model);
    let classes = model.classes.iter().enumerate();
    classes
        .map(|(index, class)| {
            let head = last.is_some_and(|last| last.index() == index);
            let choices = saturate::saturate(&class.template, head && ends_in_outputs(&class.template))?;
            Repertoire::new(ClassId(index as u32), choices, costs)
        })
        .collect()
}

/// Whether a class makes rows of logits.
fn ends_in_outputs(template: &Graph) -> bool {
    template.output().is_some_and(|output| template[output].axes.first() == Some(&sailplan_ir::Dim::Outputs))
}

fn figures(repertoires: &[Repertoire], space: &Space<'_>) -> Search {
    let (groups, forms, points) = space.counts();
    let mut egraph = Saturation::default();
    for one in repertoires.iter().map(|repertoire| &repertoire.choices) {
        egraph.nodes += one.stats.nodes;
        egraph.classes += one.stats.classes;
        egraph.iterations = egraph.iterations.max(one.stats.iterations);
    }
    Search { egraph, classes: repertoires.len(), groups, forms, points, columns: 0, rows: 0 }
}

/// The engine's answer and the program's must agree; the program decides where the engine's mixes were not exact.
fn decide(
    space: &Space<'_>,
    engine: Option<Vec<Filled>>,
    proven: Option<Option<Vec<Filled>>>,
    (exact, bound): (bool, Picoseconds),
) -> Result<Option<Placement>, PlaceError> {
    let engine = engine.map(|stages| assemble::assemble(space, &stages));
    let room = if space.relaxed { "" } else { " as far as memory goes" };
    let streaming = if space.stream { ", weights of layers on the host where they do not fit" } else { "" };
    let ended = |placement: Placement, status, method: &str, bound| {
        let base =
            "stages on intervals of the link order, forms of the saturated rules, shares even or at the cards' rates";
        let space = format!("{base}{room}{streaming}");
        Placement { certificate: Certificate { status, method: method.to_owned(), space, bound }, ..placement }
    };
    let Some(proven) = proven else {
        return Ok(engine.map(|placement| {
            let objective = placement.estimate.objective;
            if exact {
                return ended(placement, Status::Proven, "dynamic programming", objective);
            }
            let bound = assemble::relaxed(space).max(placement.estimate.lower_bound).max(bound);
            ended(placement, Status::WithinGap, "dynamic programming with greedy mixes", bound)
        }));
    };
    let proven = proven.map(|stages| assemble::assemble(space, &stages));
    match (engine, proven) {
        (None, None) => Ok(None),
        (None, Some(proven)) if exact => Err(PlaceError::Internal(format!(
            "the engine found nothing, the integer program {:?}",
            proven.estimate.objective
        ))),
        (None, Some(proven)) => {
            let objective = proven.estimate.objective;
            Ok(Some(ended(proven, Status::Proven, "integer program", objective)))
        }
        (Some(engine), Some(proven)) => {
            let (ours, theirs) = (engine.estimate.objective, proven.estimate.objective);
            if agree(ours, theirs) {
                // The engine's is kept: its ties are broken by card and cut. Its objective is the smaller to rounding.
                return Ok(Some(ended(engine, Status::Proven, "dynamic programming and integer program", ours)));
            }
            if ours < theirs || exact {
                return Err(PlaceError::Internal(format!("the engine found {ours:?}, the integer program {theirs:?}")));
            }
            Ok(Some(ended(proven, Status::Proven, "integer program", theirs)))
        }
        (Some(placement), None) => Err(PlaceError::Internal(format!(
            "the engine found {:?}, the integer program nothing",
            placement.estimate.objective
        ))),
    }
}

/// Equal to the solver's tolerance: coefficients are microseconds in floating point, integrality is met to 1e-6.
fn agree(engine: Picoseconds, program: Picoseconds) -> bool {
    engine.0.abs_diff(program.0) <= engine.0 / 10_000_000 + 1
}

/// Refuses at once what no placement can hold: every cache is on some card, and every weight where none is streamed.
fn fits_in_all(model: &Model, costs: &CostModel<'_>, family: Family, stream: bool) -> Result<(), PlaceError> {
    let reasons = reasons(model, costs, family, Bytes(0));
    let weights = if stream { Bytes(0) } else { reasons.weights };
    if weights + reasons.caches > reasons.capacity { Err(PlaceError::NoPlan(reasons)) } else { Ok(()) }
}

fn no_plan(space: &Space<'_>) -> PlaceError {
    let groups = space.groups();
    let least = groups.iter().map(Range::len).min();
    let smallest = groups.iter().filter(|group| Some(group.len()) == least);
    let activations = smallest.flat_map(|group| activations(space, group)).max().unwrap_or_default();
    let family = Family { cards: Some(space.cards), largest: None };
    PlaceError::NoPlan(reasons(space.model, space.costs, family, activations))
}

/// What the activations of each point take on the first card of a group.
fn activations<'a>(space: &'a Space<'_>, group: &'a Range<usize>) -> impl Iterator<Item = Bytes> + 'a {
    let points = space.front(group).iter().enumerate();
    let points =
        points.flat_map(|(class, points)| points.iter().enumerate().map(move |(index, point)| (class, index, point)));
    points.map(move |(class, index, point)| {
        let needs = space.detail(group, class, index).needs(point, 0);
        sailplan_ir::stage_activations(&needs, 1).total()
    })
}

fn reasons(model: &Model, costs: &CostModel<'_>, family: Family, activations: Bytes) -> NoPlan {
    let (request, graph) = (costs.request, &model.graph);
    let cards = family.cards.unwrap_or(usize::MAX).min(costs.fleet.size());
    let capacity = costs.fleet.ids().take(cards).map(|sail| costs.kind(sail).memory - costs.kind(sail).reserve);
    NoPlan {
        weights: model.weight_bytes(),
        caches: graph.with_role(Role::Cache).map(|id| graph[id].bytes(request.decode_limit())).sum(),
        activations,
        capacity: capacity.sum(),
        sails: cards,
        context: request.context,
        streaming: None,
    }
}
