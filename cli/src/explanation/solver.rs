//! Plans the plan's problem again, with something changed, and counts how often.

use crate::outcome::Failure;
use crate::plan_model::model_of;
use crate::progress::Progress;
use crate::replan::closest;
use crate::task::{Task, streams};
use crate::{inputs, structure::structure};
use sailplan_codegen::{Plan, check_model};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Demand, Fleet, Model, Pin, Placement, Request, Verified, Verify};
use sailplan_planner::{Config, PlaceError, place};
use std::cell::Cell;

/// The problem that a plan solves.
pub(crate) struct Solver<'a> {
    plan: &'a Plan,
    model: Verified<Model>,
    pub(super) fleet: Verified<Fleet>,
    pub(super) request: Verified<Request>,
    /// Where the plan streams weights, others may.
    stream: bool,
    solved: Cell<usize>,
    progress: Progress,
}

/// The best placement of the plan's own problem.
pub(super) struct Again {
    pub(super) placement: Placement,
}

impl Again {
    /// Whether it has the plan's stages.
    pub(super) fn stages(&self, plan: &Plan) -> bool {
        let ours = self
            .placement
            .stages
            .iter()
            .enumerate()
            .flat_map(|(index, stage)| stage.sails.iter().map(move |&sail| (sail, index as u32)));
        let mut ours: Vec<_> = ours.collect();
        ours.sort_unstable();
        ours == plan.sails.iter().map(|sail| (sail.sail, sail.stage)).collect::<Vec<_>>()
    }
}

impl<'a> Solver<'a> {
    /// With the plan's own model, or with one that must be the plan's.
    ///
    /// # Errors
    /// The plan does not tell its model, or the model given is another.
    pub(crate) fn new(plan: &'a Plan, model: Option<&str>) -> Result<Self, Failure> {
        let model = match model {
            None => model_of(plan)?,
            Some(name) => {
                let model = inputs::with_caches(inputs::model(name)?.model, &plan.request)?;
                check_model(plan, &model).into_result(model)?
            }
        };
        let (fleet, request) = (plan.fleet.inline.clone().verify()?, plan.request.verify()?);
        let stream = streams(plan);
        Ok(Self { plan, model, fleet, request, stream, solved: Cell::new(0), progress: Progress::start() })
    }

    /// Plans made so far.
    pub(super) fn solved(&self) -> usize {
        self.solved.get()
    }

    /// The plan's own problem.
    pub(super) fn again(&self) -> Result<Again, Failure> {
        let placement = self.solve(&self.fleet, &self.request, None)?;
        let placement = placement.ok_or_else(|| Failure::Bug("the plan's problem has no plan".to_owned()))?;
        // Of plans of equal time the plan may be another one, when it was made from an older one.
        let (model, fleet, request) = (self.model.clone(), self.fleet.clone(), self.request.clone());
        let task = Task { model, fleet, request, pins: self.plan.pins.clone(), stream: self.stream };
        let costs = CostModel::new(&task.fleet, &task.request);
        Ok(Again { placement: closest(&task, &costs, self.plan, placement)? })
    }

    /// The best placement with one more demand; none when nothing fits.
    pub(super) fn demanding(&self, demand: Demand) -> Result<Option<Placement>, Failure> {
        self.solve(&self.fleet, &self.request, Some(demand))
    }

    /// The best placement on another fleet.
    pub(super) fn on(&self, fleet: Fleet) -> Result<Option<Placement>, Failure> {
        self.solve(&fleet.verify()?, &self.request, None)
    }

    /// The best placement of another problem; none when nothing fits.
    pub(super) fn solve(
        &self,
        fleet: &Verified<Fleet>,
        request: &Verified<Request>,
        demand: Option<Demand>,
    ) -> Result<Option<Placement>, Failure> {
        self.solved.set(self.solved.get() + 1);
        self.progress.at(&format!("planning again, plan {}", self.solved.get()));
        let mut pins = self.plan.pins.clone();
        pins.extend(demand.map(|demand| Pin { name: demand.to_string(), demand, place: None }));
        let costs = CostModel::new(fleet, request);
        let config = Config { stream: self.stream, pins: &pins, sparing: true, ..Config::default() };
        match place(&self.model, &costs, config) {
            Ok(outcome) => Ok(Some(outcome.placement)),
            Err(PlaceError::NoPlan(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

/// The structure of a placement in words, also where there is none.
pub(super) fn shape(placement: Option<&Placement>) -> String {
    match placement {
        None => "no plan".to_owned(),
        Some(one) if one.stages.len() == 1 => format!("one stage of {}", structure(one)),
        Some(several) => format!("stages of {}", structure(several)),
    }
}
