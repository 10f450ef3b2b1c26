//! `run`: replays a plan with the weights of a GGUF file.

use super::{print, print_json, write_whole};
use crate::args::Run;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::progress::Progress;
use sailplan_codegen::Plan;
use sailplan_executor::{Progress as Step, Report, Session, replay};
use sailplan_ir::{At, Diagnostic, Verified, Verify};
use serde::Serialize;
use std::time::Duration;

/// `run --json`.
#[derive(Serialize)]
struct Replayed<'a> {
    tokens: &'a [u32],
    generated: &'a [u32],
    predicted: Times,
    measured: Times,
}

#[derive(Serialize)]
struct Times {
    prefill_s: f64,
    /// None when nothing was decoded.
    decode_s_per_token: Option<f64>,
}

/// The file of `--logits`.
#[derive(Serialize)]
struct Logits<'a> {
    first: usize,
    tokens: &'a [u32],
    logits: &'a [Vec<f32>],
}

pub(crate) fn run(args: &Run) -> Result<Ended, Failure> {
    let plan = replica(inputs::plan(&args.plan)?, args)?;
    let weights = args.weights.display().to_string();
    let loaded = sailplan_models::load(&args.weights)?;
    let Some(index) = &loaded.weights else {
        let problem = Diagnostic::new("this describes a model but holds no weights").at(weights, At::Whole);
        return Err(Failure::Input(problem.hint("give the GGUF file that the plan was compiled for").into()));
    };
    let model = inputs::with_caches(loaded.model, &plan.request)?;
    let mismatch = sailplan_codegen::check_model(&plan, &model).in_file(&weights);
    mismatch.into_result(())?;
    let progress = Progress::start();
    let session = Session {
        tokens: args.tokens.clone(),
        prefill: args.prefill.unwrap_or(args.tokens.len()),
        generate: args.generate,
        timeout: Duration::from_secs(args.timeout.max(1)),
        progress: Some(Box::new(move |step| shown(&progress, step))),
    };
    let report = replay(&plan, index, &session)?;
    if let Some(path) = &args.logits {
        let logits = Logits { first: report.first, tokens: &report.tokens, logits: &report.logits };
        let text = serde_json::to_string(&logits).map_err(|error| Failure::Bug(error.to_string()))?;
        write_whole(path, &(text + "\n"))?;
    }
    if args.json {
        print_json(&replayed(&plan, &report))?;
    } else {
        print(&text(&plan, &report));
    }
    Ok(Ended::Clean)
}

/// The replica that is meant, as a plan of its own.
fn replica(plan: Verified<Plan>, args: &Run) -> Result<Verified<Plan>, Failure> {
    let replicas = plan.replicas();
    if replicas == 1 && args.replica == 0 {
        return Ok(plan);
    }
    let Some(one) = plan.replica(args.replica) else {
        let there = if replicas == 1 { "one replica".to_owned() } else { format!("{replicas} replicas") };
        let problem = Diagnostic::new(format!("the plan has {there}, from 0 on, and no replica {}", args.replica));
        let place = problem.at(args.plan.display().to_string(), At::Whole);
        return Err(Failure::Input(place.hint(format!("--replica {}", replicas - 1)).into()));
    };
    one.verify().map_err(|problems| Failure::Bug(format!("a replica is no plan of its own:\n{problems}")))
}

fn shown(progress: &Progress, step: Step) {
    match step {
        Step::Loaded { .. } => progress.at("weights loaded"),
        Step::Prefilled { tokens, .. } => progress.at(&format!("prefilled {tokens} tokens")),
        Step::Decoded { position, of } => progress.at(&format!("decoded position {position} of {of}")),
        _ => {}
    }
}

fn replayed<'a>(plan: &Plan, report: &'a Report) -> Replayed<'a> {
    Replayed {
        tokens: &report.tokens,
        generated: &report.generated,
        predicted: Times {
            prefill_s: plan.estimate.prefill.seconds(),
            decode_s_per_token: Some(plan.estimate.decode.seconds()),
        },
        measured: Times {
            prefill_s: report.measured.prefill_seconds,
            decode_s_per_token: report.measured.decode_seconds_per_token,
        },
    }
}

fn text(plan: &Plan, report: &Report) -> String {
    let list = |tokens: &[u32]| tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let fed = report.tokens.len() - report.generated.len();
    let mut text = format!("fed       {}\n", list(&report.tokens[..fed]));
    if !report.generated.is_empty() {
        text.push_str(&format!("generated {}\n", list(&report.generated)));
    }
    let measured = &report.measured;
    let decode =
        measured.decode_seconds_per_token.map_or(String::new(), |s| format!(", decode {:.2} ms a token", s * 1e3));
    let prefill = measured.prefill_seconds * 1e3;
    text.push_str(&format!("here      prefill {prefill:.1} ms{decode} on this machine's processor\n"));
    text.push_str(&format!(
        "predicted prefill {}, decode {} a token on {}\n",
        plan.estimate.prefill, plan.estimate.decode, plan.fleet.name
    ));
    text
}
