//! `verify`: is this plan sound, and is it a plan of this model?

use super::{print, print_json};
use crate::args::VerifyPlan;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::render;
use sailplan_ir::{At, Diagnostic, Diagnostics};
use serde::Serialize;

/// `verify --json`.
#[derive(Serialize)]
struct Verdict {
    ok: bool,
    problems: Vec<Diagnostic>,
}

pub(crate) fn run(args: &VerifyPlan) -> Result<Ended, Failure> {
    let text = inputs::text(&args.plan)?;
    let name = args.plan.display().to_string();
    let problems = match sailplan_codegen::read(&name, &text) {
        Err(problems) if is_no_plan(&problems) => return Err(problems.into()),
        Err(problems) => problems,
        Ok(plan) => match &args.model {
            None => Diagnostics::default(),
            Some(model) => {
                let loaded = inputs::model(model)?;
                let model = inputs::with_caches(loaded.model, &plan.request)?;
                sailplan_codegen::check_model(&plan, &model).in_file(&name)
            }
        },
    };
    let ok = problems.0.is_empty();
    if args.json {
        print_json(&Verdict { ok, problems: problems.0 })?;
    } else if ok {
        print(&format!("{name}: sound\n"));
    } else {
        problems.0.iter().for_each(render::diagnostic);
    }
    Ok(if ok { Ended::Clean } else { Ended::Found })
}

/// Text that cannot be read as a plan is an error; a plan that is wrong is a violation.
fn is_no_plan(problems: &Diagnostics) -> bool {
    let in_text = |problem: &Diagnostic| problem.place.as_ref().is_some_and(|place| matches!(place.at, At::Span(_)));
    problems.0.iter().any(in_text)
}
