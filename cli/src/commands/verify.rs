//! `verify`: is this plan sound, is it a plan of this model, and is what it runs proven equal to its layers?

use super::{print, print_json, write_whole};
use crate::args::VerifyPlan;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::proofs::{self, Proofs};
use crate::render;
use sailplan_codegen::Plan;
use sailplan_ir::{Diagnostic, Diagnostics, Verified};
use serde::Serialize;

/// `verify --json`.
#[derive(Serialize)]
struct Verdict {
    ok: bool,
    problems: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proofs: Option<Vec<proofs::Row>>,
}

pub(crate) fn run(args: &VerifyPlan) -> Result<Ended, Failure> {
    let name = args.plan.display().to_string();
    let found = match inputs::plan_or_problems(&args.plan)? {
        Err(problems) => Err(problems),
        Ok(plan) => of_model(&plan, args, &name)?.map(|()| plan),
    };
    let found = match found {
        Ok(plan) => proven(&plan, args, &name)?,
        Err(problems) => Err(problems),
    };
    let (problems, proofs) = match found {
        Ok(proofs) => (Diagnostics::default(), proofs),
        Err(problems) => (problems, None),
    };
    let ok = problems.0.is_empty();
    if args.json {
        print_json(&Verdict { ok, problems: problems.0, proofs: proofs.map(|proofs| proofs.rows) })?;
    } else if ok {
        print(&format!("{name}: sound\n"));
        proofs.iter().for_each(|proofs| print(&proofs.table()));
    } else {
        problems.0.iter().for_each(render::diagnostic);
    }
    Ok(if ok { Ended::Clean } else { Ended::Found })
}

/// A finding, or that there is none.
type Found<T> = Result<T, Diagnostics>;

fn of_model(plan: &Plan, args: &VerifyPlan, name: &str) -> Result<Found<()>, Failure> {
    let Some(model) = &args.model else { return Ok(Ok(())) };
    let loaded = inputs::model(model)?;
    let model = inputs::with_caches(loaded.model, &plan.request)?;
    Ok(sailplan_codegen::check_model(plan, &model).in_file(name).into_result(()))
}

fn proven(plan: &Verified<Plan>, args: &VerifyPlan, name: &str) -> Result<Found<Option<Proofs>>, Failure> {
    if let Some(path) = &args.check_proof {
        let text = inputs::text(path)?;
        return Ok(proofs::given(plan, &path.display().to_string(), &text)?.map(Some));
    }
    if !args.proof && args.proof_out.is_none() {
        return Ok(Ok(None));
    }
    let made = proofs::make(plan, name).map_err(|problems| problems.in_file(name));
    if let (Some(path), Ok(proofs)) = (&args.proof_out, &made) {
        write_whole(path, &proofs.text)?;
    }
    Ok(made.map(Some))
}
