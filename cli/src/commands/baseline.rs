//! `baseline`: what simpler placements would take, under the same prices.

use super::compile::Clock;
use super::{print, print_json};
use crate::args::Baseline;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::summary::{EstimateSummary, estimate, summary};
use sailplan_cost_model::CostModel;
use sailplan_ir::{Estimate, Model, Verified};
use sailplan_planner::{PlaceError, evaluate};
use serde::Serialize;
use std::fmt::Write;
use std::ops::Range;

/// `baseline --json`.
#[derive(Serialize)]
struct Comparison {
    plan: crate::summary::Summary,
    baselines: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    feasible: bool,
    reason: Option<String>,
    estimate: Option<EstimateSummary>,
    #[serde(skip)]
    times: Option<Estimate>,
}

pub(crate) fn run(args: &Baseline) -> Result<Ended, Failure> {
    let (plan, _) = super::compile::compile(&args.workload, false, &Clock::default())?;
    let fleet = inputs::fleet(&args.workload.fleet)?;
    let request = inputs::request(&args.workload)?;
    let model = inputs::with_caches(inputs::model(&args.workload.model)?.model, &request)?;
    let costs = CostModel::new(&fleet, &request);
    let baselines = vec![
        row("one Sail", &model, &costs, &[(0..1, 0..model.segments.len())])?,
        row("layers split evenly", &model, &costs, &even(&model, fleet.size()))?,
    ];
    if args.json {
        print_json(&Comparison { plan: summary(&plan), baselines })?;
        return Ok(Ended::Clean);
    }
    let mut text = format!("{:<22} {:>12} {:>16} {:>12} {:>8}\n", "", "prefill", "decode a token", "request", "");
    line(&mut text, "compiled plan", Some(&plan.estimate), None, plan.estimate);
    for row in &baselines {
        line(&mut text, row.name, row.times.as_ref(), row.reason.as_deref(), plan.estimate);
    }
    print(&text);
    Ok(Ended::Clean)
}

fn line(text: &mut String, name: &str, times: Option<&Estimate>, reason: Option<&str>, plan: Estimate) {
    let _ = match times {
        Some(times) => {
            let ratio = times.request.seconds() / plan.request.seconds();
            writeln!(text, "{name:<22} {:>12} {:>16} {:>12} {ratio:>7.2}×", times.prefill, times.decode, times.request)
        }
        None => writeln!(text, "{name:<22} {}", reason.unwrap_or("no plan")),
    };
}

fn row(
    name: &'static str,
    model: &Verified<Model>,
    costs: &CostModel<'_>,
    stages: &[(Range<usize>, Range<usize>)],
) -> Result<Row, Failure> {
    match evaluate(model, costs, stages) {
        Ok(placement) => {
            let times = placement.estimate;
            let figures = estimate(&times, costs.request.batch);
            Ok(Row { name, feasible: true, reason: None, estimate: Some(figures), times: Some(times) })
        }
        Err(PlaceError::NoPlan(reasons)) => {
            Ok(Row { name, feasible: false, reason: Some(reasons.to_string()), estimate: None, times: None })
        }
        Err(other) => Err(other.into()),
    }
}

/// Whole layers, as many on each card as the numbers allow; the embedding with the first, the head with the last.
fn even(model: &Model, sails: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let layers: Vec<usize> = (0..model.segments.len()).filter(|&index| model.segments[index].layer.is_some()).collect();
    let sails = sails.min(layers.len()).max(1);
    let cut = |part: usize| match part {
        0 => 0,
        part if part == sails => model.segments.len(),
        part => layers[layers.len() * part / sails],
    };
    (0..sails).map(|part| (part..part + 1, cut(part)..cut(part + 1))).collect()
}
