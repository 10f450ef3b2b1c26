//! Why a plan is as it is. What was chosen is read from the plan; everything else is found by planning again with one thing
//! changed. Nothing here prices anything.

mod alternatives;
mod chosen;
mod gains;
mod holding;
mod solver;
mod text;
mod tipping;

pub(crate) use solver::Solver;
pub(crate) use text::text;

use crate::outcome::Failure;
use alternatives::Alternative;
use chosen::{Chosen, StageChosen};
use gains::Gain;
use holding::Holding;
use sailplan_codegen::{Plan, in_layer};
use sailplan_ir::{Diagnostic, Picoseconds, Resources, Role};
use serde::{Serialize, Serializer};
use solver::shape;
use tipping::Tipping;

/// What is explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Plan,
    Stage(u32),
    Class(String),
    Weight(String),
}

/// `explain --json`. Times are seconds, sizes bytes.
#[derive(Serialize)]
pub(crate) struct Explanation {
    pub(crate) model: String,
    pub(crate) fleet: String,
    pub(crate) objective: String,
    #[serde(rename = "objective_s", serialize_with = "seconds")]
    pub(crate) takes: Picoseconds,
    #[serde(flatten)]
    pub(crate) resources: Spent,
    pub(crate) structure: String,
    /// Whether planning again gives this plan's time and structure.
    pub(crate) current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<String>,
    pub(crate) stages: Vec<StageChosen>,
    pub(crate) classes: Vec<Chosen>,
    pub(crate) holdings: Vec<Holding>,
    pub(crate) gains: Vec<Gain>,
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) tipping: Vec<Tipping>,
    /// Plans made for this explanation.
    pub(crate) solved: usize,
}

/// The objective by resource, and which of them it is most of.
#[derive(Clone, Serialize)]
pub(crate) struct Spent {
    pub(crate) ddr_s: f64,
    pub(crate) compute_s: f64,
    pub(crate) link_s: f64,
    pub(crate) host_s: f64,
    pub(crate) binding: &'static str,
}

impl Spent {
    fn of(parts: Resources) -> Self {
        let named = named(parts);
        let binding = named.iter().max_by_key(|part| part.1).map_or("nothing", |part| part.0);
        let [ddr_s, compute_s, link_s, host_s] = named.map(|part| part.1.seconds());
        Self { ddr_s, compute_s, link_s, host_s, binding }
    }
}

/// The resources by name; of equal ones the last counts as the largest.
fn named(parts: Resources) -> [(&'static str, Picoseconds); 4] {
    [("DDR", parts.ddr), ("compute", parts.compute), ("link", parts.link), ("host", parts.host)]
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn seconds<S: Serializer>(time: &Picoseconds, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.seconds())
}

/// Finds what a name stands for.
///
/// # Errors
/// There is no such part; the hint lists what there is.
pub(crate) fn part(plan: &Plan, name: Option<&str>) -> Result<Part, Failure> {
    let Some(name) = name else { return Ok(Part::Plan) };
    let stages = plan.sails.iter().map(|sail| sail.stage).max().map_or(0, |last| last.saturating_add(1));
    if let Some(stage) = (0..stages).find(|stage| format!("stage{stage}") == name) {
        return Ok(Part::Stage(stage));
    }
    if plan.model.classes.iter().any(|class| class.name == name) {
        return Ok(Part::Class(name.to_owned()));
    }
    let weights: Vec<(String, String)> = weights(plan);
    if let Some((_, pattern)) = weights.iter().find(|(own, pattern)| own == name || pattern == name) {
        return Ok(Part::Weight(pattern.clone()));
    }
    let mut patterns: Vec<&str> = weights.iter().map(|weight| weight.1.as_str()).collect();
    patterns.dedup();
    let classes: Vec<&str> = plan.model.classes.iter().map(|class| class.name.as_str()).collect();
    let stages: Vec<String> = (0..stages).map(|stage| format!("stage{stage}")).collect();
    let hint = format!(
        "there are the stages {}; the layer classes {}; the weights {}",
        stages.join(", "),
        classes.join(", "),
        patterns.join(", ")
    );
    Err(Diagnostic::new(format!("the plan has no part `{name}`")).hint(hint).into())
}

/// Every weight by its own name and by its class's.
fn weights(plan: &Plan) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for link in &plan.model.chain {
        let Some(class) = plan.model.classes.iter().find(|class| class.name == link.class) else { continue };
        for tensor in class.tensors.iter().filter(|tensor| tensor.role == Role::Weight) {
            match &link.layers {
                None => all.push((tensor.name.clone(), tensor.name.clone())),
                Some(layers) => {
                    all.extend(layers.0.clone().map(|layer| (in_layer(&tensor.name, layer), tensor.name.clone())));
                }
            }
        }
    }
    all
}

/// The explanation of a part.
///
/// # Errors
/// The planner contradicts itself.
pub(crate) fn explain(plan: &Plan, part: &Part, solver: &Solver<'_>) -> Result<Explanation, Failure> {
    let again = solver.again()?;
    let placement = &again.placement;
    let mut explanation = Explanation {
        model: plan.model.name.clone(),
        fleet: plan.fleet.name.clone(),
        objective: plan.objective.to_string(),
        takes: plan.estimate.objective,
        resources: Spent::of(plan.estimate.by_resource),
        structure: shape(Some(placement)),
        current: placement.estimate == plan.estimate && again.stages(plan),
        part: None,
        stages: chosen::stages(plan),
        classes: chosen::classes(plan),
        holdings: Vec::new(),
        gains: Vec::new(),
        alternatives: Vec::new(),
        tipping: Vec::new(),
        solved: 0,
    };
    match part {
        Part::Plan => {
            explanation.gains = gains::gains(solver, placement)?;
            explanation.alternatives = alternatives::others(solver, placement)?;
            explanation.tipping = tipping::all(solver, placement)?;
        }
        Part::Stage(stage) => {
            explanation.part = Some(format!("stage{stage}"));
            explanation.stages.retain(|one| one.stage == *stage);
            explanation.classes.retain(|one| one.stage == *stage);
        }
        Part::Class(name) => {
            explanation.part = Some(name.clone());
            explanation.classes.retain(|one| one.class == *name);
            let stages: Vec<u32> = explanation.classes.iter().map(|one| one.stage).collect();
            explanation.stages.retain(|one| stages.contains(&one.stage));
        }
        Part::Weight(name) => {
            explanation.part = Some(name.clone());
            explanation.stages.clear();
            explanation.classes.clear();
            explanation.holdings = holding::holdings(plan, name);
            explanation.alternatives = holding::otherwise(solver, (plan, name), &explanation.holdings, placement)?;
        }
    }
    explanation.solved = solver.solved();
    Ok(explanation)
}
