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
mod brute;
mod budget;
#[cfg(test)]
mod checks;
mod decide;
#[cfg(test)]
mod derived;
mod dynamic;
mod extract;
mod fill;
mod front;
#[cfg(test)]
mod greedy;
#[cfg(test)]
mod hopeless;
mod joint;
#[cfg(test)]
mod joint_checks;
mod language;
mod load;
mod mixing;
mod orders;
mod outcome;
mod pace;
mod paced;
mod paths;
mod pins;
#[cfg(test)]
mod planted;
mod price;
mod program;
mod proof;
mod prospect;
#[cfg(test)]
mod proven;
mod reasons;
mod refusal;
mod repertoire;
mod replicas;
mod room;
mod rules;
mod saturate;
mod service;
mod shares;
mod solver;
mod space;
mod stage;
mod stream;
mod symmetry;
mod table;
mod throughput;
mod trellis;
mod useful;

pub use baselines::{Baseline, Simpler, baselines};
pub use outcome::{NoPlan, Outcome, PlaceError, Search};
pub use proof::prove;
pub use refusal::{Change, Demanded, Refusal, Relaxation, refuse};
pub use rules::Rule;
pub use saturate::Saturation;
pub use space::Family;
pub use symmetry::{Symmetry, exchanged, symmetry};

use assemble::Filled;
use decide::decide;
use pins::Limits;
use reasons::{fits_beside_values, fits_in_all, no_plan, reasons};
use repertoire::Repertoire;
use sailplan_cost_model::CostModel;
use sailplan_ir::{ClassId, Graph, LayerClass, Model, Objective, Picoseconds, Pin, Placement, Verified};
use space::{Interval, Manner, Scope, Space};
use stage::Mixing;
use std::collections::BTreeSet;
use std::ops::Range;
use useful::Free;

/// How far to search.
#[derive(Clone, Copy, Default)]
pub struct Config<'a> {
    /// Which groups are considered.
    pub family: Family,
    /// Solve the placement program whatever its size.
    pub prove: bool,
    /// Solve no placement program where the engine is exact and nobody asks for a proof: for placements that are compared and not kept.
    pub sparing: bool,
    /// Let weights of layers stay on the host and come at every step, where they do not fit.
    pub stream: bool,
    /// What the placement must keep to.
    pub pins: &'a [Pin],
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
    /// Nothing fits: demands are dropped and relaxed, one after the other.
    Refusal {
        /// Problems solved.
        solved: usize,
    },
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
/// `NoPlan` with the demands in bytes when nothing fits ([`refuse`] then says which demands and what would help); `Pins`
/// when a pin names what does not exist; `Internal` when the planner contradicts itself.
pub fn place(model: &Verified<Model>, costs: &CostModel<'_>, config: Config<'_>) -> Result<Outcome, PlaceError> {
    search(model, costs, Effort { config, ..Effort::default() })
}

/// How far to search, and where.
#[derive(Clone, Default)]
struct Effort<'a> {
    config: Config<'a>,
    /// Only these groups.
    groups: Option<Vec<Interval>>,
    /// Take what the engine finds.
    engine_only: bool,
    /// Which mixes of points are improved.
    mixing: Mixing,
    /// Move cuts that pins demand to where they are possible.
    round: bool,
    /// The objective of a placement that is known.
    known: Option<Picoseconds>,
}

/// The search over the cards in service; groups of `effort` are intervals of their order.
fn search(model: &Verified<Model>, costs: &CostModel<'_>, effort: Effort<'_>) -> Result<Outcome, PlaceError> {
    let limits = pins::resolve(effort.config.pins, model, costs.fleet, effort.round)?;
    let Some(left) = service::left(costs.fleet)? else { return orders::search(model, costs, limits, effort) };
    let found = orders::search(model, &CostModel::new(&left, costs.request), limits, effort)?;
    Ok(service::outcome(model, costs, found))
}

fn search_all(
    model: &Verified<Model>,
    costs: &CostModel<'_>,
    limits: Limits,
    effort: Effort<'_>,
) -> Result<Outcome, PlaceError> {
    let family = effort.config.family;
    // However many a plan had on their way that asks again.
    let request = throughput::of_stages(costs.request, 1)?;
    let costs = &costs.for_request(&request);
    fits_in_all(model, costs, (family, &limits), effort.config.stream)?;
    let Some(repertoires) = pinned(model, costs, &limits).map_err(PlaceError::Internal)? else {
        return Err(PlaceError::NoPlan(reasons(model, costs, (family, &limits))));
    };
    let ground = Ground { model, limits, repertoires, effort };
    match costs.request.objective {
        Objective::Throughput => throughput::search(&ground, costs),
        Objective::Request | Objective::Decode | Objective::Prefill => {
            ground.search(costs, Wanted { known: ground.effort.known, ..Wanted::default() })
        }
    }
}

/// What one of these searches is for.
#[derive(Clone, Copy, Default)]
struct Wanted {
    /// No more stages of a replica than this; none is any number.
    stages: Option<usize>,
    /// Let several replicas share the fleet.
    replicas: bool,
    /// The objective of a placement that is known.
    known: Option<Picoseconds>,
    /// Give up where the best placement with memory left out of account does not fit.
    freely: bool,
}

/// What searches for one model on one fleet have in common.
struct Ground<'a> {
    model: &'a Verified<Model>,
    limits: Limits,
    /// By layer class.
    repertoires: Vec<Repertoire>,
    effort: Effort<'a>,
}

impl Ground<'_> {
    /// The space of placements with no more stages than this, in one chain or in replicas, with memory left out of account or not.
    fn space<'a>(
        &'a self,
        costs: &'a CostModel<'a>,
        (stages, replicas): (Option<usize>, bool),
        (relaxed, free, known): (bool, Option<Free>, Option<Picoseconds>),
    ) -> Result<Space<'a>, PlaceError> {
        let (config, groups, mixing) = (self.effort.config, self.effort.groups.clone(), self.effort.mixing);
        let (family, stream, limits) = (config.family, config.stream, Some(&self.limits));
        let exhaustive = config.prove;
        let scope = Scope {
            family,
            manner: Manner::Any,
            relaxed,
            free,
            stream,
            groups,
            limits,
            stages,
            replicas,
            exhaustive,
            mixing,
            known,
        };
        Space::new(self.model, costs, &self.repertoires, scope, config.progress).map_err(PlaceError::Internal)
    }

    /// The space of single cards, by which a refusal says what activations take; `None` where none may work alone.
    fn alone<'a>(&'a self, costs: &'a CostModel<'a>) -> Result<Option<Space<'a>>, PlaceError> {
        let groups = Some((0..costs.fleet.size()).map(|card| card..card + 1).collect());
        let scope = Scope {
            family: self.effort.config.family,
            groups,
            limits: Some(&self.limits),
            exhaustive: true,
            ..Scope::default()
        };
        let space = Space::new(self.model, costs, &self.repertoires, scope, None).map_err(PlaceError::Internal)?;
        Ok(Some(space).filter(|space| !space.groups().is_empty()))
    }

    /// The best placement with no more stages than this. Memory is only looked at when the best one without a look at it
    /// does not fit.
    fn search(&self, costs: &CostModel<'_>, wanted: Wanted) -> Result<Outcome, PlaceError> {
        let config = self.effort.config;
        let (stages, known) = ((wanted.stages, wanted.replicas), wanted.known);
        let mut space = self.space(costs, stages, (true, None, known))?;
        let mut chain = dynamic::solve(&space).map_err(PlaceError::Internal)?;
        // What takes no less than is known does not take less with a look at memory.
        if chain.is_none() && known.is_some() {
            return Err(no_plan(&space));
        }
        let mut engine = chain.as_ref().and_then(|chain| assemble::fill(&space, &chain.cuts));
        if !engine.as_ref().is_some_and(|stages| assemble::holds(&space, stages)) {
            if wanted.freely {
                return Err(no_plan(&space));
            }
            let alone = if config.stream || fits_beside_values(&space) { None } else { self.alone(costs)? };
            if let Some(alone) = alone {
                return Err(no_plan(&alone));
            }
            let free = chain.map(|chain| Free::of(&space, chain.bound));
            space = self.space(costs, stages, (false, free, known))?;
            chain = dynamic::solve(&space).map_err(PlaceError::Internal)?;
            let cuts = chain.as_ref().map(|chain| chain.cuts.as_slice());
            engine =
                cuts.map(|cuts| assemble::polished(&space, cuts)).transpose().map_err(PlaceError::Internal)?.flatten();
        }
        let mut search = figures(&self.repertoires, &space);
        // Without a chain nothing was found, which says as much as the fronts do.
        let exact = chain.as_ref().map_or(space.complete, |chain| chain.exact);
        let bound = chain.as_ref().map_or(Picoseconds(0), |chain| chain.bound);
        let several = chain.is_some_and(|chain| replicas::split(&chain.cuts).len() > 1);
        let placement = if several && !self.effort.engine_only {
            self.several(&mut space, engine, &mut search, (exact, bound))?
        } else {
            let value = |stages: &Vec<Filled>| assemble::assemble(&space, stages).estimate.objective;
            let settled = exact || engine.as_ref().is_some_and(|stages| value(stages) <= bound);
            let spared = settled && config.sparing && !config.prove;
            let proven = if spared { None } else { self.program(&space, &mut search)? };
            decide(&space, engine, proven, (exact, bound))?
        };
        let placement = placement.ok_or_else(|| no_plan(&space))?;
        if config.prove {
            certify_forms(&space, &placement).map_err(PlaceError::Internal)?;
        }
        Ok(Outcome { placement, search })
    }
}

impl Ground<'_> {
    /// What the integer program answers, if it is asked.
    fn program(&self, space: &Space<'_>, search: &mut Search) -> Result<Option<Option<Vec<Filled>>>, PlaceError> {
        let config = self.effort.config;
        if !config.prove && (self.effort.engine_only || !program::small(space)) {
            return Ok(None);
        }
        if let Some(report) = config.progress {
            report(Progress::Program);
        }
        let solved = program::solve(space).map_err(PlaceError::Internal)?;
        (search.columns, search.rows) = (solved.columns, solved.rows);
        Ok(Some(solved.stages))
    }

    /// Several replicas as the engine found them; the integer program is asked about each by itself.
    fn several(
        &self,
        space: &mut Space<'_>,
        engine: Option<Vec<Filled>>,
        search: &mut Search,
        known: (bool, Picoseconds),
    ) -> Result<Option<Placement>, PlaceError> {
        let config = self.effort.config;
        let asked = known.0 && (config.prove || !config.sparing);
        let confirmed = match engine.as_ref().filter(|_| asked) {
            Some(stages) => replicas::confirm(space, stages, config.prove).map_err(PlaceError::Internal)?,
            None => None,
        };
        let mut placement = decide(space, engine, None, known)?;
        if let (Some(placement), Some(figures)) = (&mut placement, confirmed) {
            (search.columns, search.rows) = figures;
            placement
                .certificate
                .method
                .push_str(" over runs of cards, the chain of each replica by integer program too");
        }
        Ok(placement)
    }
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

/// A placement with the given stages: runs of cards in service, in their order, with runs of segments, in order. Where the
/// first segment comes again, a further replica begins.
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
    if let Some(left) = service::left(costs.fleet)? {
        let placement = evaluate_as(model, &CostModel::new(&left, costs.request), stages, manner)?;
        return Ok(service::renamed(model, costs, placement, &costs.fleet.in_service()));
    }
    let cut = |(group, segments): &(Range<usize>, Range<usize>)| dynamic::Cut {
        group: group.clone(),
        segments: segments.clone(),
    };
    let cuts: Vec<dynamic::Cut> = stages.iter().map(cut).collect();
    let request = throughput::of_stages(costs.request, replicas::longest(&cuts))?;
    let costs = &costs.for_request(&request);
    let family = Family { largest: None, cards: stages.iter().map(|stage| stage.0.end).max() };
    let limits = Limits::none(costs.fleet.size(), model.classes.len());
    fits_in_all(model, costs, (family, &limits), false)?;
    let parts = costs.fleet.parts();
    let busy = stages.iter().flat_map(|stage| stage.0.clone());
    if busy.map(|card| parts[card]).collect::<BTreeSet<usize>>().len() > 1 {
        return Err(PlaceError::NoPlan(reasons(model, costs, (family, &limits))));
    }
    let repertoires = repertoires(model, costs).map_err(PlaceError::Internal)?;
    for relaxed in [true, false] {
        let groups = Some(cuts.iter().map(|cut| cut.group.clone()).collect());
        let scope = Scope { family, manner, relaxed, groups, ..Scope::default() };
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
    let all = pinned(model, costs, &Limits::none(costs.fleet.size(), model.classes.len()))?;
    all.ok_or_else(|| "a class without pins has no program".to_owned())
}

/// What can be done with every class as far as pins allow; `None` when one has no program that keeps to them.
fn pinned(model: &Model, costs: &CostModel<'_>, limits: &Limits) -> Result<Option<Vec<Repertoire>>, String> {
    if !limits.misaligned.is_empty() {
        return Ok(None);
    }
    let last = last(model);
    let classes = model.classes.iter().enumerate();
    classes
        .map(|(index, class)| {
            let head = last.is_some_and(|last| last.index() == index);
            let choices = saturate::saturate(&class.template, head && ends_in_outputs(&class.template))?;
            let held = &limits.held[index];
            let Some(choices) = held.restrict(choices) else { return Ok(None) };
            let repertoire = Repertoire::new(ClassId(index as u32), choices, costs)?;
            Ok(Some(repertoire.holding(held.clone())))
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

/// Equal to the solver's tolerance: coefficients are microseconds in floating point, integrality is met to 1e-6.
fn agree(engine: Picoseconds, program: Picoseconds) -> bool {
    engine.0.abs_diff(program.0) <= engine.0 / 10_000_000 + 1
}
