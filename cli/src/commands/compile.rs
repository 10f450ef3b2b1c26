//! `compile`: model, fleet and request to a plan.
#![expect(clippy::disallowed_types, reason = "reports how long the compilation took")]

use super::{print, print_json, write_whole};
use crate::args::Compile;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::progress::Progress;
use crate::refused;
use crate::replan::{self, Moved};
use crate::summary::{Summary, summary, text};
use crate::task::Task;
use sailplan_codegen::Plan;
use sailplan_cost_model::CostModel;
use sailplan_ir::Verified;
use sailplan_planner::{Config, PlaceError, Progress as Step, Search, place, refuse};
use serde::Serialize;
use std::cell::Cell;
use std::time::Instant;

/// `compile --json`.
#[derive(Serialize)]
struct Compiled {
    plan: Option<String>,
    #[serde(flatten)]
    summary: Summary,
    /// What moves; only with an old plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    replan: Option<Moved>,
    search: SearchSummary,
    seconds: f64,
}

#[derive(Serialize)]
struct SearchSummary {
    egraph: EgraphSummary,
    classes: usize,
    forms: usize,
    groups: usize,
    points: usize,
    /// Seconds in the engine.
    dp_s: f64,
    ilp: IlpSummary,
}

#[derive(Serialize)]
struct EgraphSummary {
    nodes: usize,
    classes: usize,
    iterations: usize,
    stop: &'static str,
}

#[derive(Serialize)]
struct IlpSummary {
    columns: usize,
    rows: usize,
    /// Branch-and-bound nodes; the solver's interface does not tell.
    nodes: Option<u64>,
    seconds: f64,
}

/// When the engine and the integer program began, and when the search ended.
#[derive(Default)]
pub(crate) struct Clock {
    engine: Cell<Option<Instant>>,
    program: Cell<Option<Instant>>,
    end: Cell<Option<Instant>>,
}

impl Clock {
    fn seconds(from: Option<Instant>, to: Option<Instant>) -> f64 {
        from.zip(to).map_or(0.0, |(from, to)| (to - from).as_secs_f64())
    }
}

pub(crate) fn run(args: &Compile) -> Result<Ended, Failure> {
    let started = Instant::now();
    let clock = Clock::default();
    let old = args.from.as_deref().map(inputs::plan).transpose()?;
    let task = Task::compiled(args, old.as_ref())?;
    let made = match compile(&task, (args.prove, old.as_ref()), &clock) {
        Err(Failure::Refused(refusal)) if args.json => {
            print_json(&refused::json(&refusal))?;
            return Ok(Ended::Found);
        }
        other => other?,
    };
    let Made { plan, search, replan } = made;
    let canonical = sailplan_codegen::write(&plan);
    let mut ended = Ended::Clean;
    if let Some(old) = &args.check {
        let committed = inputs::text(old)?;
        if committed != canonical {
            ended = Ended::Found;
            eprintln!("{}: the plan would change; compile with -o to renew it", old.display());
        }
    }
    if let Some(path) = &args.output {
        write_whole(path, &canonical)?;
    }
    if args.json {
        let path = args.output.as_ref().map(|path| path.display().to_string());
        let compiled = Compiled {
            plan: path,
            summary: summary(&plan),
            replan,
            search: searched(search, &clock),
            seconds: started.elapsed().as_secs_f64(),
        };
        print_json(&compiled)?;
    } else {
        print(&text(&plan));
        if let Some(moved) = &replan {
            print(&replan::text(moved));
        }
        if let Some(path) = &args.output {
            print(&format!("  plan      {} ({})\n", path.display(), plan.digest));
        }
    }
    Ok(ended)
}

/// What was compiled.
pub(crate) struct Made {
    pub(crate) plan: Verified<Plan>,
    search: Search,
    /// What moves from the old plan, where there is one.
    replan: Option<Moved>,
}

/// The whole pipeline, with its answer checked by the plan verifier.
pub(crate) fn compile(
    task: &Task,
    (prove, old): (bool, Option<&Verified<Plan>>),
    clock: &Clock,
) -> Result<Made, Failure> {
    let Task { model, fleet, request, pins, stream } = task;
    let costs = CostModel::new(fleet, request);
    let progress = Progress::start();
    let report = |step: Step| match step {
        Step::Forms { done, of } => progress.at(&format!("extracting forms, group {done} of {of}")),
        Step::Program => {
            clock.program.set(Some(Instant::now()));
            progress.at("solving the integer program");
        }
        Step::Refusal { solved } => progress.at(&format!("nothing fits; looking for what would, plan {solved}")),
        _ => {
            clock.engine.set(Some(Instant::now()));
            progress.at("placing stages");
        }
    };
    let config = Config { prove, stream: *stream, pins, progress: Some(&report), ..Config::default() };
    let outcome = match place(model, &costs, config) {
        Err(PlaceError::NoPlan(_)) => return Err(Failure::Refused(Box::new(refuse(model, &costs, config)?))),
        other => other?,
    };
    clock.end.set(Some(Instant::now()));
    drop(progress);
    let placement = match old {
        Some(old) => replan::closest(task, &costs, old, outcome.placement)?,
        None => outcome.placement,
    };
    let plan = sailplan_codegen::emit(model, fleet, request, &placement)
        .map(|plan| sailplan_codegen::with_pins(plan, pins))
        .and_then(|plan| sailplan_codegen::read("the emitted plan", &sailplan_codegen::write(&plan)))
        .map_err(|problems| Failure::Bug(format!("the emitted plan is refused:\n{problems}")))?;
    let replan = old.map(|old| replan::moved(&costs, old, &plan));
    Ok(Made { plan, search: outcome.search, replan })
}

fn searched(search: Search, clock: &Clock) -> SearchSummary {
    let (engine, program, end) = (clock.engine.get(), clock.program.get(), clock.end.get());
    SearchSummary {
        egraph: EgraphSummary {
            nodes: search.egraph.nodes,
            classes: search.egraph.classes,
            iterations: search.egraph.iterations,
            stop: "saturated",
        },
        classes: search.classes,
        forms: search.forms,
        groups: search.groups,
        points: search.points,
        dp_s: Clock::seconds(engine, program.or(end)),
        ilp: IlpSummary {
            columns: search.columns,
            rows: search.rows,
            nodes: None,
            seconds: Clock::seconds(program, end),
        },
    }
}
