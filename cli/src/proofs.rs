//! Proofs that what a plan runs equals its layers: made with the planner's rules, checked with the verifier's own, counted and
//! timed.
#![expect(clippy::disallowed_types, reason = "says how long proofs take; no answer depends on it")]

use sailplan_codegen::{Lifted, Plan, Proven, check_proofs, lift, read_proofs};
use sailplan_ir::{Diagnostic, Diagnostics, PROOF_HEADER, Verified};
use serde::Serialize;
use std::time::Instant;

/// One proof, as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct Row {
    class: String,
    /// Of the class's programs in this plan, counted from 1.
    form: usize,
    phases: &'static str,
    stages: Vec<u32>,
    steps: usize,
    rules: usize,
    terms: usize,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    make_s: Option<f64>,
    check_s: f64,
}

/// All proofs of a plan.
#[derive(Serialize)]
pub(crate) struct Proofs {
    pub(crate) rows: Vec<Row>,
    /// The file's text.
    #[serde(skip)]
    pub(crate) text: String,
}

/// Makes and checks the proofs; or why there is none.
pub(crate) fn make(plan: &Verified<Plan>, file: &str) -> Result<Proofs, Diagnostics> {
    let lifted = lift(plan)?;
    let mut proofs = Proofs { rows: Vec::new(), text: format!("{PROOF_HEADER}\n") };
    let mut problems = Diagnostics::default();
    for (index, program) in lifted.iter().enumerate() {
        let started = Instant::now();
        match sailplan_planner::prove(&program.class, &program.template, &program.program) {
            Ok(proof) => {
                let (text, made) = (proof.text(), started.elapsed().as_secs_f64());
                proofs.text.push_str(&text);
                let alone = format!("{PROOF_HEADER}\n{text}");
                let started = Instant::now();
                let checked =
                    read_proofs(file, &alone).and_then(|read| check_proofs(&read, std::slice::from_ref(program)));
                let took = started.elapsed().as_secs_f64();
                match checked {
                    Ok(checked) => {
                        proofs.rows.extend(checked.iter().map(|one| row(&lifted, index, (one, Some(made), took))))
                    }
                    Err(found) => problems.0.extend(found.0),
                }
            }
            Err(reason) => {
                let phases = program.phases();
                problems.push(Diagnostic::new(format!("no proof of `{}` in {phases}: {reason}", program.class)));
            }
        }
    }
    problems.into_result(proofs)
}

/// Reads and checks the proofs in a text. Text that is none is an error, a proof that does not hold a finding.
pub(crate) fn given(plan: &Verified<Plan>, file: &str, text: &str) -> Result<Result<Proofs, Diagnostics>, Diagnostics> {
    let started = Instant::now();
    let read = read_proofs(file, text)?;
    let took = started.elapsed().as_secs_f64();
    Ok(check(plan, text, (&read, took)))
}

/// Checks proofs that were read in some seconds.
fn check(
    plan: &Verified<Plan>,
    text: &str,
    (read, took): (&sailplan_codegen::Proofs, f64),
) -> Result<Proofs, Diagnostics> {
    let lifted = lift(plan)?;
    let started = Instant::now();
    let checked = check_proofs(read, &lifted)?;
    let each = (took + started.elapsed().as_secs_f64()) / checked.len().max(1) as f64;
    let rows = checked.iter().enumerate().map(|(index, one)| row(&lifted, index, (one, None, each))).collect();
    Ok(Proofs { rows, text: text.to_owned() })
}

fn row(lifted: &[Lifted], index: usize, (proven, made, checked): (&Proven, Option<f64>, f64)) -> Row {
    let program = &lifted[index];
    let form = lifted[..=index].iter().filter(|other| other.class == program.class).count();
    let Proven { steps, rules, terms, bytes } = *proven;
    let (class, phases) = (program.class.clone(), program.phases());
    let stages = program.stages.iter().copied().collect();
    Row { class, form, phases, stages, steps, rules, terms, bytes, make_s: made, check_s: checked }
}

impl Proofs {
    /// One line a proof, and the sum.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.class.chars().count()).max().unwrap_or(0).max(5);
        let mut text = format!(
            "{:<width$}  {:>4}  {:<18}  {:>6}  {:>5}  {:>5}  {:>5}  {:>7}  {:>9}  {:>9}\n",
            "class", "form", "runs in", "stages", "steps", "rules", "terms", "bytes", "made", "checked"
        );
        for row in &self.rows {
            let made = row.make_s.map_or_else(|| "-".to_owned(), milliseconds);
            text.push_str(&format!(
                "{:<width$}  {:>4}  {:<18}  {:>6}  {:>5}  {:>5}  {:>5}  {:>7}  {made:>9}  {:>9}\n",
                row.class,
                row.form,
                row.phases,
                row.stages.len(),
                row.steps,
                row.rules,
                row.terms,
                row.bytes,
                milliseconds(row.check_s)
            ));
        }
        let steps: usize = self.rows.iter().map(|row| row.steps).sum();
        let made: Option<f64> = self.rows.iter().map(|row| row.make_s).sum();
        let made = made.map_or_else(String::new, |made| format!("made in {}, ", milliseconds(made)));
        let checked: f64 = self.rows.iter().map(|row| row.check_s).sum();
        let (bytes, count, checked) = (self.text.len(), self.rows.len(), milliseconds(checked));
        text + &format!("{count} proofs hold: {steps} steps, {bytes} bytes, {made}checked in {checked}\n")
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}
