//! `calibrate`: measurements to a fleet with fitted figures, written beside the old one.

use super::{print, print_json, write_whole};
use crate::args::Calibrate;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use sailplan_cost_model::{Calibration, Figure, Loss, Measurements, Operation, Regret, Residual, Value};
use sailplan_cost_model::{calibrate, calibrated_text};
use sailplan_ir::{At, Diagnostic};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// `calibrate --json`. Errors and regrets are shares: 0.01 is 1 %.
#[derive(Serialize)]
struct Report<'a> {
    fleet: &'a str,
    measurements: String,
    output: String,
    figures: Vec<Fitted<'a>>,
    residual_rms: Both<f64>,
    worst: Option<Row>,
    regret: Regrets,
    samples: Vec<Row>,
}

#[derive(Serialize)]
struct Both<T> {
    old: T,
    new: T,
}

/// Times in seconds, rates in bytes per second.
#[derive(Serialize)]
struct Fitted<'a> {
    figure: &'a str,
    unit: &'static str,
    old: f64,
    new: f64,
    fitted: bool,
    samples: usize,
    standard_error: Option<f64>,
    advice: Option<&'static str>,
}

#[derive(Serialize)]
struct Regrets {
    measured: Choices,
    priced: Choices,
}

#[derive(Serialize)]
struct Choices {
    cases: usize,
    old: Lost,
    new: Lost,
}

#[derive(Serialize)]
struct Lost {
    mean: f64,
    max: f64,
}

#[derive(Serialize)]
struct Row {
    line: usize,
    operation: String,
    algorithm_assumed: bool,
    bytes: u64,
    group: String,
    measured_s: f64,
    predicted_s: Both<f64>,
    residual: Both<f64>,
}

pub(crate) fn run(args: &Calibrate) -> Result<Ended, Failure> {
    for input in [Path::new(&args.fleet), &args.measurements] {
        refuse_over(input, &args.output)?;
    }
    let fleet = inputs::fleet(&args.fleet)?;
    let csv = inputs::text(&args.measurements)?;
    let file = args.measurements.display().to_string();
    let calibration = calibrate(&fleet, &Measurements { file: &file, text: &csv })?;
    let written = calibrated_text(&calibration, &file).map_err(|problems| Failure::Bug(problems.to_string()))?;
    write_whole(&args.output, &written)?;
    if args.json {
        print_json(&report(&calibration, args))?;
    } else {
        print(&text(&calibration, args));
    }
    Ok(Ended::Clean)
}

/// What was read stays as it is, by whatever path it is named.
fn refuse_over(input: &Path, output: &Path) -> Result<(), Failure> {
    let same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    if !same {
        return Ok(());
    }
    let problem = Diagnostic::new("the output is a file that is read").at(output.display().to_string(), At::Whole);
    Err(Failure::Input(
        problem.hint("figures are refitted beside the old ones, never over them: give another name to -o").into(),
    ))
}

/// The sample that the new figures predict worst.
fn worst(calibration: &Calibration) -> Option<&Residual> {
    calibration.residuals.iter().max_by(|a, b| a.new_error().abs().total_cmp(&b.new_error().abs()))
}

fn report<'a>(calibration: &'a Calibration, args: &Calibrate) -> Report<'a> {
    Report {
        fleet: &calibration.fleet.name,
        measurements: args.measurements.display().to_string(),
        output: args.output.display().to_string(),
        figures: calibration.figures.iter().map(fitted).collect(),
        residual_rms: Both { old: calibration.old_rms, new: calibration.new_rms },
        worst: worst(calibration).map(row),
        regret: Regrets { measured: choices(&calibration.measured), priced: choices(&calibration.priced) },
        samples: calibration.residuals.iter().map(row).collect(),
    }
}

fn fitted(figure: &Figure) -> Fitted<'_> {
    Fitted {
        figure: &figure.name,
        unit: match figure.new {
            Value::Time(_) => "s",
            Value::Rate(_) => "B/s",
        },
        old: figure.old.number(),
        new: figure.new.number(),
        fitted: figure.samples > 0,
        samples: figure.samples,
        standard_error: figure.error,
        advice: figure.advice(),
    }
}

fn choices(regret: &Regret) -> Choices {
    let lost = |loss: Loss| Lost { mean: loss.mean, max: loss.most };
    Choices { cases: regret.cases, old: lost(regret.old), new: lost(regret.new) }
}

fn row(residual: &Residual) -> Row {
    let sample = &residual.sample;
    Row {
        line: sample.line,
        operation: sample.operation.to_string(),
        algorithm_assumed: assumed(&sample.operation),
        bytes: sample.bytes.0,
        group: sample.operation.group(),
        measured_s: sample.seconds,
        predicted_s: Both { old: residual.old.seconds(), new: residual.new.seconds() },
        residual: Both { old: residual.old_error(), new: residual.new_error() },
    }
}

fn assumed(operation: &Operation) -> bool {
    matches!(operation, Operation::Collective { assumed: true, .. })
}

fn text(calibration: &Calibration, args: &Calibrate) -> String {
    let (name, file) = (&calibration.fleet.name, args.measurements.display());
    let mut text = format!("{name} from {} samples of {file}\n", calibration.residuals.len());
    figures(&mut text, &calibration.figures);
    let (old, new) = (percent(calibration.old_rms), percent(calibration.new_rms));
    let _ = writeln!(text, "  residuals   rms {new}, {old} under the old figures");
    if let Some(worst) = worst(calibration) {
        let sample = &worst.sample;
        let (what, group, error) = (&sample.operation, sample.operation.group(), worst.new_error() * 100.0);
        let _ = writeln!(
            text,
            "              worst {error:+.2} %: line {}, {what} of {} over {group}",
            sample.line, sample.bytes
        );
    }
    regret(&mut text, "measured", &calibration.measured);
    regret(&mut text, "priced", &calibration.priced);
    let unnamed = calibration.residuals.iter().filter(|residual| assumed(&residual.sample.operation)).count();
    if unnamed > 0 {
        let _ = writeln!(text, "  {unnamed} rows name no algorithm and count as what the old figures make cheapest");
    }
    let _ = writeln!(text, "  fleet       {}", args.output.display());
    text
}

fn figures(text: &mut String, figures: &[Figure]) {
    let width = figures.iter().map(|figure| figure.name.len()).max().unwrap_or_default();
    let _ = writeln!(
        text,
        "  {:<width$} {:>12} {:>12} {:>9} {:>9} {:>8}",
        "figure", "old", "new", "change", "error", "samples"
    );
    for figure in figures {
        let (old, new) = (figure.old.to_string(), figure.new.to_string());
        let change = match figure.old.number() {
            _ if figure.samples == 0 => "kept".to_owned(),
            0.0 => String::new(),
            old => format!("{:+.2} %", (figure.new.number() / old - 1.0) * 100.0),
        };
        let error = figure.error.map_or(String::new(), |error| format!("± {}", percent(error)));
        let _ = writeln!(
            text,
            "  {:<width$} {old:>12} {new:>12} {change:>9} {error:>9} {:>8}",
            figure.name, figure.samples
        );
    }
    for figure in figures {
        if let Some(advice) = figure.advice() {
            let _ = writeln!(text, "  {} is hardly known: {advice}", figure.name);
        }
    }
}

fn regret(text: &mut String, against: &str, regret: &Regret) {
    let lost = |loss: Loss| format!("mean {}, at most {}", percent(loss.mean), percent(loss.most));
    let what = format!("  regret      {against}, {} choices", regret.cases);
    let _ = match regret.cases {
        0 => writeln!(text, "{what}"),
        _ => writeln!(text, "{what}: old {}; new {}", lost(regret.old), lost(regret.new)),
    };
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
