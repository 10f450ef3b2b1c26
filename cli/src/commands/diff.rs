//! `diff`: what changed between two plans, and whether that may pass.

use super::{print, print_json};
use crate::args::{ClassArg, DiffPlans};
use crate::comparison;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use sailplan_codegen::{Change, Class, Diff, diff, diff_refused};
use sailplan_ir::Diagnostics;
use serde::Serialize;
use std::collections::BTreeSet;

/// `diff --json`.
#[derive(Serialize)]
struct Compared<'a> {
    same: bool,
    /// Most serious first.
    classes: BTreeSet<Class>,
    changes: &'a [Change],
    /// Which of the demands `--fail-if-slower` and `--fail-on` failed, in words.
    failed: Vec<String>,
}

pub(crate) fn run(args: &DiffPlans) -> Result<Ended, Failure> {
    let (old, new) = (inputs::plan_or_problems(&args.old)?, inputs::plan_or_problems(&args.new)?);
    let (diff, body) = match (&old, &new) {
        (Ok(old), Ok(new)) => {
            let diff = diff(old, new);
            let text = comparison::text(old, new, &diff);
            (diff, text)
        }
        _ => {
            let sound = Diagnostics::default();
            let diff = diff_refused(old.as_ref().err().unwrap_or(&sound), new.as_ref().err().unwrap_or(&sound));
            let text = comparison::refusal(&diff);
            (diff, text)
        }
    };
    let failed = failed(args, &diff);
    let gated = args.fail_if_slower.is_some() || !args.fail_on.is_empty();
    let passes = if gated { failed.is_empty() } else { diff.same() };
    if args.json {
        print_json(&Compared { same: diff.same(), classes: diff.classes(), changes: &diff.changes, failed })?;
    } else {
        print(&format!("{} → {}\n{body}", args.old.display(), args.new.display()));
        failed.iter().for_each(|demand| print(&format!("failed    {demand}\n")));
    }
    Ok(if passes { Ended::Clean } else { Ended::Found })
}

/// The demands that do not hold.
fn failed(args: &DiffPlans, diff: &Diff) -> Vec<String> {
    let classes = diff.classes();
    let mut failed = Vec::new();
    if let Some(percent) = args.fail_if_slower.filter(|percent| diff.slowdown() > *percent) {
        failed.push(format!("slower by {:.3} %, at most {percent} % are allowed", diff.slowdown()));
    }
    let forbidden: BTreeSet<Class> = args.fail_on.iter().map(|&class| class.into()).collect();
    failed.extend(forbidden.intersection(&classes).map(|class| format!("there are changes of class {class}")));
    let gated = args.fail_if_slower.is_some() || !args.fail_on.is_empty();
    if gated && classes.contains(&Class::Unfit) && !forbidden.contains(&Class::Unfit) {
        failed.push("the new plan is refused, so its times mean nothing".to_owned());
    }
    failed
}

impl From<ClassArg> for Class {
    fn from(class: ClassArg) -> Self {
        match class {
            ClassArg::Unfit => Self::Unfit,
            ClassArg::WrongTarget => Self::WrongTarget,
            ClassArg::Slower => Self::Slower,
            ClassArg::Tighter => Self::Tighter,
            ClassArg::Moved => Self::Moved,
            ClassArg::Traffic => Self::Traffic,
            ClassArg::EstimateOnly => Self::EstimateOnly,
            ClassArg::Cosmetic => Self::Cosmetic,
        }
    }
}
