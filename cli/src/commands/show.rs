//! `show`: a plan in figures.

use super::{print, print_json};
use crate::args::PlanFile;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::summary::{summary, text};

pub(crate) fn run(args: &PlanFile) -> Result<Ended, Failure> {
    let plan = inputs::plan(&args.plan)?;
    if args.json {
        print_json(&summary(&plan))?;
    } else {
        print(&text(&plan));
    }
    Ok(Ended::Clean)
}
