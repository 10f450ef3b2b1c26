//! Whether a plan was made for a model.

use crate::emit::logical;
use crate::{Plan, PlanModel};
use sailplan_ir::{At, Diagnostic, Diagnostics, Model};

/// The differences between the plan's logical model and `model`: digest, chain, classes. Caches are compared in the
/// type that the plan's request gives them.
#[must_use]
pub fn check_model(plan: &Plan, model: &Model) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let PlanModel { name, digest, chain, classes, .. } = logical(&model.clone().with_cache_dtype(plan.request.cache));
    let mut push = |place: &str, message: String| {
        problems.push(Diagnostic::new(message).at(crate::verify::FILE, At::Name(place.to_owned())));
    };
    if plan.model.digest != digest {
        let theirs = &plan.model;
        push("model.digest", format!("the plan is for {} ({}), not for {name} ({digest})", theirs.name, theirs.digest));
    }
    if plan.model.chain != chain {
        push("model.chain", "the plan's chain of segments is not the model's".to_owned());
    }
    for class in &classes {
        match plan.model.classes.iter().find(|other| other.name == class.name) {
            None => push("model.classes", format!("the plan has no class `{}`", class.name)),
            Some(other) if other != class => {
                push("model.classes", format!("the plan's class `{}` is not the model's", class.name));
            }
            Some(_) => {}
        }
    }
    if plan.model.classes.len() > classes.len() {
        push("model.classes", "the plan has classes that the model has not".to_owned());
    }
    problems
}
