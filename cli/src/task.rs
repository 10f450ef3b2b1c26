//! What is to be planned: model, fleet, request, pins, as the flags give them or as an old plan has them.

use crate::args::{Asked, Compile, Workload};
use crate::inputs;
use crate::outcome::Failure;
use crate::plan_model::model_of;
use crate::render;
use sailplan_codegen::{Plan, check_model};
use sailplan_ir::{Diagnostic, Fleet, Model, Pin, Request, SailId, Verified, Verify};
use std::path::Path;

/// Everything that the planner is asked.
pub(crate) struct Task {
    pub(crate) model: Verified<Model>,
    pub(crate) fleet: Verified<Fleet>,
    pub(crate) request: Verified<Request>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) stream: bool,
}

impl Task {
    /// From the flags alone.
    pub(crate) fn new(workload: &Workload) -> Result<Self, Failure> {
        let Workload { model, fleet, asked } = workload;
        Self::of(inputs::model(model)?.model, inputs::fleet(fleet)?, asked, None)
    }

    /// From the flags of `compile`, and for what they leave open from an old plan.
    pub(crate) fn compiled(args: &Compile, old: Option<&Verified<Plan>>) -> Result<Self, Failure> {
        let model = match (&args.model, old, &args.from) {
            (None, Some(old), _) => model_of(old)?,
            (Some(name), Some(old), Some(path)) => same_model(inputs::model(name)?.model, old, path)?,
            (name, ..) => inputs::model(name.as_deref().unwrap_or_default())?.model,
        };
        let fleet = match (&args.fleet, old) {
            (None, Some(old)) => old.fleet.inline.clone().verify()?,
            (name, _) => inputs::fleet(name.as_deref().unwrap_or_default())?,
        };
        Self::of(model, without(fleet, &args.without)?, &args.asked, old)
    }

    fn of(
        model: Verified<Model>,
        fleet: Verified<Fleet>,
        asked: &Asked,
        old: Option<&Verified<Plan>>,
    ) -> Result<Self, Failure> {
        let request = inputs::request(asked, old.map(|old| &old.request))?;
        if let Some(warning) = inputs::check_context(&model, &request) {
            render::warning(&warning);
        }
        let model = inputs::with_caches(model, &request)?;
        let pins = match (&asked.pin, old) {
            (None, Some(old)) => old.pins.clone(),
            (path, _) => inputs::pins(path.as_deref())?,
        };
        let stream = asked.stream || old.is_some_and(|old| streams(old));
        Ok(Self { model, fleet, request, pins, stream })
    }
}

/// Whether a plan streams weights.
pub(crate) fn streams(plan: &Plan) -> bool {
    plan.sails.iter().flat_map(|sail| &sail.weights).any(|weight| weight.streamed)
}

/// What a card holds under the old plan is of use only for the same model.
fn same_model(model: Verified<Model>, old: &Plan, path: &Path) -> Result<Verified<Model>, Failure> {
    if check_model(old, &model).0.is_empty() {
        return Ok(model);
    }
    let message = format!("{} is a plan of {}, not of the model {}", path.display(), old.model.name, model.name);
    Err(Diagnostic::new(message)
        .hint("leave the model out to plan the old plan's again, or --from to begin anew")
        .into())
}

/// The fleet with more cards lost.
fn without(fleet: Verified<Fleet>, names: &[String]) -> Result<Verified<Fleet>, Failure> {
    if names.is_empty() {
        return Ok(fleet);
    }
    let mut fleet = fleet.into_inner();
    let size = fleet.size();
    for name in names {
        let number = name.strip_prefix("sail").and_then(|digits| digits.parse::<u16>().ok()).map(SailId);
        let sail = number.filter(|sail| sail.index() < size).ok_or_else(|| {
            let problem = Diagnostic::new(format!("--without {name}: there is no such Sail in {}", fleet.name));
            problem.hint(format!("its Sails are sail0 to sail{}", size - 1))
        })?;
        fleet.lost.push(sail);
    }
    fleet.lost.sort_unstable();
    fleet.lost.dedup();
    if fleet.lost.len() == size {
        let problem = Diagnostic::new(format!("--without: no Sail of {} is left", fleet.name));
        return Err(problem.hint("name fewer Sails, or give another fleet with --fleet").into());
    }
    Ok(fleet.verify()?)
}
