//! From a placement to a plan: it orders what the placement decided, names it and gives it offsets. It makes no
//! decisions of its own and does not check its result; `verify` does.

mod body;
mod check;
mod hop;
mod loads;
mod model;
mod names;
mod residents;
mod segments;
mod stage;

use crate::{Plan, PlanFleet, PlanModel, SailPlan, VERSION, digest};
use sailplan_ir::{Diagnostics, Domains, Fleet, Model, Pin, Placement, Request, Verified};

/// All that a plan is made from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) model: &'a Model,
    /// One for each class of the model.
    pub(crate) domains: &'a [Domains],
    /// Names of the logical model.
    pub(crate) names: &'a names::ModelNames,
    pub(crate) fleet: &'a Fleet,
    pub(crate) request: &'a Request,
    pub(crate) placement: &'a Placement,
}

/// One plan for each card with work.
///
/// # Errors
/// The placement does not fit the model, the fleet or itself, or asks for what a plan cannot say.
pub fn emit(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
    placement: &Placement,
) -> Result<Plan, Diagnostics> {
    let domains: Vec<Domains> = model.classes.iter().map(|class| Domains::of(&class.template)).collect();
    let names = names::ModelNames::new(model);
    let request = &Request { in_flight: placement.in_flight, ..**request };
    let source = Source { model, domains: &domains, names: &names, fleet, request, placement };
    check::problems(source).into_result(())?;
    let mut sails = Vec::new();
    for stage in 0..placement.stages.len() {
        for rank in 0..placement.stages[stage].sails.len() {
            sails.push(sail(source, stage, rank)?);
        }
    }
    sails.sort_by_key(|plan| plan.sail);
    loads::load(source, &mut sails)?;
    let mut plan = Plan {
        version: VERSION,
        digest: String::new(),
        made_by: format!("sailplan {}", env!("CARGO_PKG_VERSION")),
        model: model::plan_model(model, &names),
        fleet: PlanFleet { name: fleet.name.clone(), digest: digest::of_fleet(fleet), inline: (**fleet).clone() },
        request: *request,
        pins: Vec::new(),
        objective: request.objective,
        estimate: placement.estimate,
        certificate: placement.certificate.clone(),
        sails,
    };
    plan.digest = digest::of_plan(&plan);
    Ok(plan)
}

/// The plan with the pins that its placement was made under, without their places.
#[must_use]
pub fn with_pins(mut plan: Plan, pins: &[Pin]) -> Plan {
    plan.pins = pins.iter().map(|pin| Pin { place: None, ..pin.clone() }).collect();
    plan.digest = digest::of_plan(&plan);
    plan
}

/// The logical model as a plan carries it.
pub(crate) fn logical(model: &Model) -> PlanModel {
    model::plan_model(model, &names::ModelNames::new(model))
}

fn sail(source: Source<'_>, stage: usize, rank: usize) -> Result<SailPlan, Diagnostics> {
    stage::Rank { source, stage: &source.placement.stages[stage], number: stage, rank }.plan()
}
