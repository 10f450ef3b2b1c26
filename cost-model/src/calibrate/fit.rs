//! Two figures from the samples of one block: a fixed time and a rate, by non-negative least squares over relative
//! errors, because times span decades and a timer's error grows with what it times.

use super::equations::{Block, Equation};
use super::nnls::{dot, solve};
use sailplan_ir::{Bytes, BytesPerSecond, Diagnostic, Picoseconds};

/// The figures of one block.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Fit {
    pub(super) fixed: Picoseconds,
    pub(super) fixed_error: Option<f64>,
    pub(super) rate: BytesPerSecond,
    pub(super) rate_error: Option<f64>,
}

/// What a sample counts and took.
pub(super) type Counted<'a> = (&'a Equation, f64);

/// Sizes must differ by this for the two figures to be told apart at all; 8 is what is asked for.
const LEAST_SPREAD: f64 = 2.0;
const PS_PER_S: f64 = 1e12;
/// A faster medium is a mistake of the measurement.
const FASTEST: f64 = 1e15;

/// Fits the block that all of `samples` belong to. `fixed` and `rate` name its figures.
pub(super) fn fit(block: &Block, samples: &[Counted<'_>], names: (&str, &str)) -> Result<Fit, Diagnostic> {
    told_apart(block, samples, names)?;
    let relative = |count: fn(&Equation) -> u64| -> Vec<f64> {
        samples.iter().map(|(equation, seconds)| count(equation) as f64 / (seconds * PS_PER_S)).collect()
    };
    let columns = [relative(|equation| equation.fixed), relative(|equation| equation.bytes)];
    let found = solve(&columns, &vec![1.0; samples.len()]);
    let (fixed, byte) = (found[0], found[1]);
    if byte <= 0.0 || PS_PER_S / byte > FASTEST {
        return Err(infinite(block, names.1));
    }
    let errors = standard_errors(&columns, &found);
    Ok(Fit {
        fixed: Picoseconds(six_digits(fixed)),
        fixed_error: errors[0],
        rate: BytesPerSecond(six_digits(PS_PER_S / byte)),
        rate_error: errors[1],
    })
}

/// The figures move together unless bytes for each fixed time differ.
fn told_apart(block: &Block, samples: &[Counted<'_>], (fixed, rate): (&str, &str)) -> Result<(), Diagnostic> {
    let each = |(equation, _): &Counted<'_>| equation.bytes as f64 / equation.fixed.max(1) as f64;
    let most = samples.iter().map(each).fold(0.0, f64::max);
    let least = samples.iter().map(each).fold(f64::INFINITY, f64::min);
    if most > 0.0 && most >= least * LEAST_SPREAD {
        return Ok(());
    }
    let size = |bytes: f64| Bytes(bytes.ceil() as u64);
    let rows = match samples.len() {
        1 => "the only row moves".to_owned(),
        count => format!("all {count} rows move"),
    };
    let range = if most > least { format!("{} to {}", size(least), size(most)) } else { size(most).to_string() };
    let what = match block {
        Block::Links(_) => "hop",
        Block::Kind(_) => "kernel",
        Block::Host => "exchange",
    };
    let message = format!("{fixed} and {rate} cannot be told apart: {rows} {range} a {what}");
    Err(Diagnostic::new(message).hint(format!("measure {}", two_sizes(block))))
}

fn two_sizes(block: &Block) -> String {
    let (operation, sizes) = match block {
        Block::Links(_) => ("`message` (or a collective)".to_owned(), "64 B and 1 MiB"),
        Block::Kind(kind) => (format!("`kernel` on {kind}"), "4 KiB and 16 MiB"),
        Block::Host => ("`host`".to_owned(), "64 B and 1 MiB"),
    };
    format!("{operation} at two sizes that differ by 8 times or more, for example {sizes}")
}

fn infinite(block: &Block, rate: &str) -> Diagnostic {
    let message = format!("{rate} came out infinite: the measured times do not grow with the bytes");
    Diagnostic::new(message).hint(format!("measure sizes whose transfer takes most of the time: {}", two_sizes(block)))
}

/// Relative standard errors, from the scatter of the samples: σ²(AᵀA)⁻¹ with σ² over the degrees of freedom. `None` for
/// a figure at its bound and for as many samples as figures.
fn standard_errors(columns: &[Vec<f64>; 2], found: &[f64]) -> [Option<f64>; 2] {
    let rest = |row: usize| 1.0 - columns[0][row] * found[0] - columns[1][row] * found[1];
    let squares: f64 = (0..columns[0].len()).map(|row| rest(row).powi(2)).sum();
    let free = found.iter().filter(|&&x| x > 0.0).count();
    let beyond = columns[0].len().saturating_sub(free);
    let [a, b, c] = [dot(&columns[0], &columns[0]), dot(&columns[0], &columns[1]), dot(&columns[1], &columns[1])];
    let shared = if free == 2 { 1.0 - b * b / (a * c) } else { 1.0 };
    let error = |x: f64, length: f64| {
        let known = x > 0.0 && beyond > 0 && shared > 0.0;
        known.then(|| (squares / beyond as f64 / (length * shared)).sqrt() / x)
    };
    [error(found[0], a), error(found[1], c)]
}

/// Rounded to six significant digits: no timer knows more.
fn six_digits(value: f64) -> u64 {
    let digits = value.max(1.0).log10().floor() as i32 - 5;
    let unit = 10f64.powi(digits.max(0));
    ((value / unit).round() * unit) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_six_digits() {
        for (value, rounded) in
            [(0.0, 0), (0.4, 0), (12.6, 13), (399_520_123.0, 399_520_000), (9_999_999.9, 10_000_000)]
        {
            assert_eq!(six_digits(value), rounded);
        }
    }
}
