//! `baseline`: what simpler placements would take, under the same prices.

use super::compile::Clock;
use super::{print, print_json};
use crate::args::Baseline;
use crate::outcome::{Ended, Failure};
use crate::summary::{EstimateSummary, estimate, summary};
use crate::task::Task;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Estimate, Objective, Picoseconds, Request};
use sailplan_planner::{Simpler, baselines};
use serde::Serialize;
use std::fmt::Write;

/// `baseline --json`.
#[derive(Serialize)]
struct Comparison {
    plan: crate::summary::Summary,
    baselines: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    note: Option<String>,
    feasible: bool,
    reason: Option<String>,
    estimate: Option<EstimateSummary>,
    #[serde(skip)]
    times: Option<Estimate>,
}

pub(crate) fn run(args: &Baseline) -> Result<Ended, Failure> {
    let task = Task::new(&args.workload)?;
    let compiled = super::compile::compile(&task, (false, None), &Clock::default())?;
    let (plan, Task { model, fleet, request, .. }) = (compiled.plan, task);
    let costs = CostModel::new(&fleet, &request);
    let baselines: Vec<Row> = baselines(&model, &costs)?.into_iter().map(|one| row(one, &request)).collect();
    if args.json {
        print_json(&Comparison { plan: summary(&plan), baselines })?;
        return Ok(Ended::Clean);
    }
    let last = if request.objective == Objective::Throughput { "period" } else { "request" };
    let mut text = format!("{:<24} {:>12} {:>16} {:>12} {:>8}\n", "", "prefill", "decode a token", last, "");
    let reference = plan.estimate;
    let reference = (request.objective, reference);
    line(&mut text, "compiled plan", Ok(&plan.estimate), reference, None);
    for row in &baselines {
        let times = row.times.as_ref().ok_or(row.reason.as_deref().unwrap_or("no plan"));
        line(&mut text, row.name, times, reference, row.note.as_deref());
    }
    print(&text);
    Ok(Ended::Clean)
}

/// What plans are compared by.
fn compared(objective: Objective, times: &Estimate) -> Picoseconds {
    if objective == Objective::Throughput { times.objective } else { times.request }
}

fn line(
    text: &mut String,
    name: &str,
    times: Result<&Estimate, &str>,
    (objective, plan): (Objective, Estimate),
    note: Option<&str>,
) {
    let note = note.map(|note| format!("  ({note})")).unwrap_or_default();
    let _ = match times {
        Ok(times) => {
            let (prefill, decode, last) = (times.prefill, times.decode, compared(objective, times));
            let ratio = last.seconds() / compared(objective, &plan).seconds();
            writeln!(text, "{name:<24} {prefill:>12} {decode:>16} {last:>12} {ratio:>7.2}×{note}")
        }
        Err(reason) => writeln!(text, "{name:<24} {reason}"),
    };
}

fn row(baseline: sailplan_planner::Baseline, request: &Request) -> Row {
    let sailplan_planner::Baseline { simpler, note, placement } = baseline;
    let name = name(simpler);
    match placement {
        Ok(placement) => {
            let times = placement.estimate;
            let estimate = Some(estimate(&times, request));
            Row { name, note, feasible: true, reason: None, estimate, times: Some(times) }
        }
        Err(reasons) => {
            let reason = Some(reasons.to_string());
            Row { name, note, feasible: false, reason, estimate: None, times: None }
        }
    }
}

fn name(simpler: Simpler) -> &'static str {
    match simpler {
        Simpler::OneSail => "one Sail",
        Simpler::LayersEvenly => "layers split evenly",
        Simpler::LayersByMemory => "layers by memory",
        Simpler::TensorParallel => "Megatron over all Sails",
        Simpler::TileHeuristic => "tile heuristic",
        _ => "another",
    }
}
