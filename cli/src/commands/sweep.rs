//! `sweep`: one figure of the fleet or the request over a range of values; for each value the best plan, and where its
//! structure changes.

use super::{print, print_json};
use crate::args::Sweep;
use crate::figure::{FIGURES, Figure};
use crate::outcome::{Ended, Failure};
use crate::progress::Progress;
use crate::structure::structure;
use crate::task::Task;
use sailplan_cost_model::CostModel;
use sailplan_ir::{Diagnostic, Fleet, Model, Pin, Placement, Request, Verified};
use sailplan_planner::{Config, PlaceError, place};
use serde::Serialize;
use std::fmt::Write;

/// Most values of one sweep.
const MOST: usize = 1000;

/// `sweep --json`.
#[derive(Serialize)]
struct Swept {
    model: String,
    fleet: String,
    figure: String,
    rows: Vec<Row>,
}

/// One value. Times are seconds; without a plan there are none.
#[derive(Serialize)]
struct Row {
    value: String,
    /// Cards of each stage and exchanges between cards: `4, 89 exchanges a token`; why there is none otherwise.
    plan: String,
    feasible: bool,
    /// Whether it is of another structure than the plan before.
    changed: bool,
    prefill_s: Option<f64>,
    decode_s_per_token: Option<f64>,
    request_s: Option<f64>,
    #[serde(skip)]
    placement: Option<Placement>,
}

pub(crate) fn run(args: &Sweep) -> Result<Ended, Failure> {
    let (name, figure, values) = parse(&args.vary)?;
    let Task { model, fleet, request, pins, stream } = Task::new(&args.workload)?;
    let progress = Progress::start();
    let mut rows: Vec<Row> = Vec::new();
    for (done, &value) in values.iter().enumerate() {
        progress.at(&format!("value {} of {}", done + 1, values.len()));
        let (fleet, request) = figure.apply(&fleet, &request, value)?;
        rows.push(row(figure.show(value), rows.last(), (&model, &fleet, &request), (stream, &pins))?);
    }
    drop(progress);
    let swept = Swept { model: model.name.clone(), fleet: fleet.name.clone(), figure: name.to_owned(), rows };
    match (args.json, args.csv) {
        (true, _) => print_json(&swept)?,
        (_, true) => print(&csv(&swept)),
        _ => print(&table(&swept)),
    }
    Ok(Ended::Clean)
}

fn row(
    value: String,
    before: Option<&Row>,
    (model, fleet, request): (&Verified<Model>, &Verified<Fleet>, &Verified<Request>),
    (stream, pins): (bool, &[Pin]),
) -> Result<Row, Failure> {
    let costs = CostModel::new(fleet, request);
    let placement = match place(model, &costs, Config { stream, pins, ..Config::default() }) {
        Ok(outcome) => Ok(outcome.placement),
        Err(PlaceError::NoPlan(_)) => Err("does not fit"),
        Err(other) => return Err(other.into()),
    };
    let plan = placement.as_ref().map_or_else(|reason| (*reason).to_owned(), structure);
    let changed = before.is_some_and(|before| before.plan != plan);
    let estimate = placement.as_ref().ok().map(|placement| placement.estimate);
    Ok(Row {
        value,
        plan,
        feasible: placement.is_ok(),
        changed,
        prefill_s: estimate.map(|estimate| estimate.prefill.seconds()),
        decode_s_per_token: estimate.map(|estimate| estimate.decode.seconds()),
        request_s: estimate.map(|estimate| estimate.request.seconds()),
        placement: placement.ok(),
    })
}

fn table(swept: &Swept) -> String {
    let mut text = format!("{} on {}, {}\n", swept.model, swept.fleet, swept.figure);
    let _ = writeln!(
        text,
        "  {:>12} {:>12} {:>14} {:>12}    Sails of each stage",
        "value", "prefill", "decode a token", "request"
    );
    for row in &swept.rows {
        let mark = if row.changed { "*" } else { " " };
        let _ = match &row.placement {
            Some(Placement { estimate, .. }) => writeln!(
                text,
                "{mark} {:>12} {:>12} {:>14} {:>12}    {}",
                row.value, estimate.prefill, estimate.decode, estimate.request, row.plan
            ),
            None => writeln!(text, "{mark} {:>12} {:>12} {:>14} {:>12}    {}", row.value, "", "", "", row.plan),
        };
    }
    if swept.rows.iter().any(|row| row.changed) {
        text.push_str("* another structure than in the row above\n");
    }
    text
}

fn csv(swept: &Swept) -> String {
    let mut text = format!("{},prefill_s,decode_s_per_token,request_s,changed,stages\n", swept.figure);
    let number = |seconds: Option<f64>| seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
    for row in &swept.rows {
        let times = [row.prefill_s, row.decode_s_per_token, row.request_s].map(number);
        let _ = writeln!(text, "{},{},{},\"{}\"", row.value, times.join(","), row.changed, row.plan);
    }
    text
}

/// `FIGURE=FROM..TO:N`, each value the same factor above the last, or `FIGURE=A,B,C`.
fn parse(text: &str) -> Result<(&str, Figure, Vec<u64>), Failure> {
    let wrong = |problem: String| -> Failure {
        let hint = "as in link.rate=100MB/s..2GB/s:8, link.latency=5us,1ms or sails=2,4,8";
        Diagnostic::new(format!("--vary {text}: {problem}")).hint(hint).into()
    };
    let (name, values) = text.split_once('=').ok_or_else(|| wrong("expected FIGURE=VALUES".to_owned()))?;
    let Some(&(name, figure)) = FIGURES.iter().find(|known| known.0 == name.trim()) else {
        let names: Vec<&str> = FIGURES.iter().map(|known| known.0).collect();
        return Err(wrong(format!("`{name}` cannot be varied; there are {}", names.join(", "))));
    };
    let value = |text: &str| figure.parse(text.trim()).map_err(&wrong);
    let all = match values.split_once("..") {
        None => values.split(',').map(value).collect::<Result<Vec<u64>, Failure>>()?,
        Some((from, rest)) => {
            let (to, count) = rest.rsplit_once(':').unwrap_or((rest, "8"));
            let count: usize =
                count.trim().parse().map_err(|_| wrong(format!("`{count}` is not a number of values")))?;
            let (from, to) = (value(from)?, value(to)?);
            if from == 0 || to <= from || count < 2 {
                return Err(wrong("a range goes up from more than zero in two or more values".to_owned()));
            }
            if count > MOST {
                return Err(wrong(format!("more than {MOST} values")));
            }
            let mut steps = geometric(from, to, count);
            steps.dedup();
            steps
        }
    };
    if all.len() > MOST {
        return Err(wrong(format!("more than {MOST} values")));
    }
    Ok((name, figure, all))
}

/// `count` values from the first to the last, each the same factor above the one before, rounded.
fn geometric(from: u64, to: u64, count: usize) -> Vec<u64> {
    let factor = to as f64 / from as f64;
    let value = |index: usize| (from as f64 * factor.powf(index as f64 / (count - 1) as f64)).round() as u64;
    let between = (1..count - 1).map(value);
    std::iter::once(from).chain(between).chain([to]).collect()
}
