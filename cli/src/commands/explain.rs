//! `explain`: why a plan is as it is.

use super::{print, print_json};
use crate::args::ExplainPlan;
use crate::explanation::{Solver, explain, part, text};
use crate::inputs;
use crate::outcome::{Ended, Failure};

pub(crate) fn run(args: &ExplainPlan) -> Result<Ended, Failure> {
    let plan = inputs::plan(&args.plan)?;
    let part = part(&plan, args.part.as_deref())?;
    let solver = Solver::new(&plan, args.model.as_deref())?;
    let explanation = explain(&plan, &part, &solver)?;
    drop(solver);
    if args.json {
        print_json(&explanation)?;
    } else {
        print(&text(&explanation));
    }
    Ok(if explanation.current { Ended::Clean } else { Ended::Found })
}
