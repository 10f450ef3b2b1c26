//! `verify`: is this plan sound, and is it a plan of this model?

use super::{print, print_json};
use crate::args::VerifyPlan;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::render;
use sailplan_ir::{Diagnostic, Diagnostics};
use serde::Serialize;

/// `verify --json`.
#[derive(Serialize)]
struct Verdict {
    ok: bool,
    problems: Vec<Diagnostic>,
}

pub(crate) fn run(args: &VerifyPlan) -> Result<Ended, Failure> {
    let name = args.plan.display().to_string();
    let problems = match inputs::plan_or_problems(&args.plan)? {
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
