//! The text of a calibrated fleet: what it was fitted from, the figures, the residuals. Reading it gives the fleet back.

use super::provenance::percent;
use super::{Calibration, Residual};
use ron::ser::PrettyConfig;
use sailplan_ir::{Diagnostic, Diagnostics};
use std::fmt::Write;

/// Residuals that are listed; with more samples, those of the greatest errors.
const MOST_RESIDUALS: usize = 200;

/// The fleet file of a calibration, with the measurements' file named as the source.
///
/// # Errors
/// A fleet that does not read back as itself, which is a mistake in this program.
pub fn calibrated_text(calibration: &Calibration, file: &str) -> Result<String, Diagnostics> {
    let fleet = &calibration.fleet;
    let config = PrettyConfig::new().new_line("\n").struct_names(false);
    let body = crate::fleet_file::options()
        .to_string_pretty(&**fleet, config)
        .map_err(|error| Diagnostic::new(format!("the fleet cannot be written: {error}")))?;
    let mut text = format!(
        "// {} with figures fitted to {} samples of {}. Every figure has its source below, every residual at the end.\nFleet{body}\n",
        one_line(&fleet.name),
        calibration.residuals.len(),
        one_line(file)
    );
    residuals(&mut text, calibration);
    let read = crate::parse_fleet("the calibrated fleet", &text)?;
    if read != *fleet {
        return Err(Diagnostic::new("the calibrated fleet does not read back as it was written").into());
    }
    Ok(text)
}

/// A name cannot end the comment that it stands in.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn residuals(text: &mut String, calibration: &Calibration) {
    let all = calibration.residuals.len();
    let mut listed: Vec<&Residual> = calibration.residuals.iter().collect();
    if all > MOST_RESIDUALS {
        listed.sort_by(|a, b| b.new_error().abs().total_cmp(&a.new_error().abs()));
        listed.truncate(MOST_RESIDUALS);
        listed.sort_by_key(|residual| residual.sample.line);
    }
    let (old, new) = (percent(calibration.old_rms), percent(calibration.new_rms));
    let _ = writeln!(text, "\n// Residuals, predicted over measured less one: rms {new}, {old} under the old figures.");
    if listed.len() < all {
        let _ = writeln!(text, "// The {MOST_RESIDUALS} greatest of {all}.");
    }
    let _ = writeln!(text, "// line, operation, bytes, group, measured, predicted, residual, old residual");
    for residual in listed {
        let sample = &residual.sample;
        let _ = writeln!(
            text,
            "// {}, {}, {}, \"{}\", {:e} s, {:e} s, {:+.2} %, {:+.2} %",
            sample.line,
            sample.operation,
            sample.bytes.0,
            one_line(&sample.operation.group()),
            sample.seconds,
            residual.new.seconds(),
            residual.new_error() * 100.0,
            residual.old_error() * 100.0
        );
    }
}
