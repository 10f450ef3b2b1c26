//! What is asked of the planner as a value that can be changed, and a solver that only asks whether there is a plan.

use super::{Change, fleets};
use crate::pins::{Limits, blocks, resolve};
use crate::space::Interval;
use crate::stage::Mixing;
use crate::{Config, Effort, NoPlan, PlaceError, Progress, search};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Demand, Diagnostics, Fleet, Model, Pin, Placement, Request, Verified, Verify};
use std::cell::Cell;
use std::rc::Rc;

/// A model, a fleet, a request and what else is demanded.
#[derive(Clone)]
pub(crate) struct Problem {
    pub(crate) model: Rc<Verified<Model>>,
    pub(crate) fleet: Verified<Fleet>,
    pub(crate) request: Verified<Request>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) stream: bool,
    /// Whether cuts may move to block borders.
    pub(crate) round: bool,
}

impl Problem {
    pub(crate) fn new(model: &Verified<Model>, costs: &CostModel<'_>, config: Config<'_>) -> Self {
        Self {
            model: Rc::new(model.clone()),
            fleet: costs.fleet.clone(),
            request: costs.request.clone(),
            pins: config.pins.to_vec(),
            stream: config.stream,
            round: false,
        }
    }

    /// With another request.
    pub(crate) fn asking(&self, change: impl FnOnce(&mut Request)) -> Result<Self, PlaceError> {
        let mut request = *self.request;
        change(&mut request);
        Ok(Self { request: request.verify().map_err(broken)?, ..self.clone() })
    }

    /// On another fleet.
    pub(crate) fn on(&self, change: impl FnOnce(&mut Fleet)) -> Result<Self, PlaceError> {
        let mut fleet = (*self.fleet).clone();
        change(&mut fleet);
        Ok(Self { fleet: fleet.verify().map_err(broken)?, ..self.clone() })
    }

    /// With another model.
    pub(crate) fn of(&self, change: impl FnOnce(Model) -> Model) -> Result<Self, PlaceError> {
        let model = change((**self.model).clone()).verify().map_err(broken)?;
        Ok(Self { model: Rc::new(model), ..self.clone() })
    }

    /// With a change made.
    pub(crate) fn with(&self, change: &Change) -> Result<Self, PlaceError> {
        match change {
            Change::Context(context) => self.asking(|request| request.context = *context),
            Change::Caches(dtype) => {
                self.asking(|request| request.cache = *dtype)?.of(|model| model.with_cache_dtype(*dtype))
            }
            Change::Ubatch(tokens) => self.asking(|request| request.chunk = *tokens),
            Change::Batch(batch) => self.asking(|request| request.batch = *batch),
            Change::Weights(dtype) => self.of(|model| model.with_weight_dtype(*dtype)),
            Change::Sails(count) => self.on(|fleet| fleets::resize(fleet, *count)),
            Change::Stream => Ok(Self { stream: true, ..self.clone() }),
            Change::Without(name) => {
                let pins = self.pins.iter().filter(|pin| pin.name != *name).cloned().collect();
                Ok(Self { pins, ..self.clone() })
            }
            Change::Cuts(name, cuts) => {
                let mut changed = self.clone();
                for pin in changed.pins.iter_mut().filter(|pin| pin.name == *name) {
                    if let Demand::Cut { at, .. } = &mut pin.demand {
                        at.clone_from(cuts);
                    }
                }
                Ok(changed)
            }
            Change::Links(_) => self.on(fleets::join),
        }
    }

    /// What the pins stand for.
    pub(crate) fn limits(&self) -> Result<Limits, PlaceError> {
        Ok(resolve(&self.pins, &self.model, &self.fleet, self.round)?)
    }
}

/// A change of a checked value that breaks it.
fn broken(problems: Diagnostics) -> PlaceError {
    PlaceError::Internal(problems.to_string())
}

/// Asks the planner, and counts how often.
pub(crate) struct Solver<'a> {
    progress: Option<&'a dyn Fn(Progress)>,
    solved: Cell<usize>,
}

/// On more cards than this a plan is first looked for on a few groups, and only the mixes of that plan are improved,
const SOME_GROUPS: usize = 8;

/// and on more than this nowhere else.
const ALL_GROUPS: usize = 16;

/// Groups of cards in the order in service.
type Groups = Option<Vec<Interval>>;

impl<'a> Solver<'a> {
    pub(crate) fn new(progress: Option<&'a dyn Fn(Progress)>) -> Self {
        Self { progress, solved: Cell::new(0) }
    }

    /// A plan, or the balance of why there is none. On many cards a few groups are tried, which is enough to find a plan
    /// that exists for all but odd cases; on very many such a case is taken for one without a plan.
    pub(crate) fn solve(&self, problem: &Problem) -> Result<Result<Placement, NoPlan>, PlaceError> {
        self.count();
        self.on_each(problem, (groups(problem)?, Mixing::Found))
    }

    /// Whether there is a plan. One that is found on a few groups says so as well as the best, so all cards as one group
    /// are tried first.
    pub(crate) fn possible(&self, problem: &Problem) -> Result<bool, PlaceError> {
        self.count();
        let size = problem.fleet.in_service().len();
        let whole = (size > 1).then(|| Some(vec![0..size; 1]));
        let tries = whole.into_iter().chain(groups(problem)?);
        Ok(self.on_each(problem, (tries.collect(), Mixing::Never))?.is_ok())
    }

    fn count(&self) {
        self.solved.set(self.solved.get() + 1);
        if let Some(report) = self.progress {
            report(Progress::Refusal { solved: self.solved.get() });
        }
    }

    /// What is found on the first of these groups where there is a plan, or on the last.
    fn on_each(
        &self,
        problem: &Problem,
        (tries, mixing): (Vec<Groups>, Mixing),
    ) -> Result<Result<Placement, NoPlan>, PlaceError> {
        let costs = CostModel::new(&problem.fleet, &problem.request);
        let config = Config { stream: problem.stream, pins: &problem.pins, ..Config::default() };
        let mut found = Err(PlaceError::Internal("no groups were tried".into()));
        for groups in tries {
            let effort = Effort { config, groups, engine_only: true, mixing, round: problem.round, known: None };
            found = match search(&problem.model, &costs, effort) {
                Ok(outcome) => return Ok(Ok(outcome.placement)),
                Err(PlaceError::NoPlan(reasons)) => Ok(Err(reasons)),
                other => return other.map(|outcome| Ok(outcome.placement)),
            };
        }
        found
    }
}

/// Where a plan is looked for, one after the other; `None` is everywhere.
fn groups(problem: &Problem) -> Result<Vec<Groups>, PlaceError> {
    let cards = problem.fleet.size();
    if cards <= SOME_GROUPS {
        return Ok(vec![None]);
    }
    Ok(std::iter::once(Some(few(problem)?)).chain((cards <= ALL_GROUPS).then_some(None)).collect())
}

/// The whole fleet, its halves and their halves, blocks of powers of two, and what pins name.
fn few(problem: &Problem) -> Result<Vec<Interval>, PlaceError> {
    let size = problem.fleet.in_service().len();
    let halves = std::iter::successors(Some(size), |&length| (length > 1).then_some(length / 2));
    let powers =
        std::iter::successors(Some(1), |&length: &usize| Some(length * 2)).take_while(|&length| length <= size);
    let mut lengths: Vec<usize> = halves.chain(powers).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut groups: Vec<Interval> = lengths.into_iter().flat_map(|length| blocks(0..size, length)).collect();
    groups.extend(problem.limits()?.groups());
    groups.sort_unstable_by_key(|group| (group.start, group.end));
    groups.dedup();
    Ok(groups)
}
