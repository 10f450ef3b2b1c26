//! Figures of a fleet from measurements: rows to equations, equations to figures, figures to a new fleet with provenance
//! and residuals. Values in, values out; the command line reads and writes the files.

mod csv;
mod equations;
mod fit;
mod nnls;
mod provenance;
mod regret;
mod rows;
mod samples;
mod text;
mod values;

pub use regret::{Loss, Regret};
pub use samples::{Measurements, Operation, Sample};
pub use text::calibrated_text;

use crate::CostModel;
use equations::{Block, Equation, LinkClass, equations, links_of};
use fit::{Fit, fit};
use provenance::Source;
use sailplan_ir::{At, BytesPerSecond, Diagnostic, Diagnostics, Fleet, Picoseconds, Request, Verified, Verify};
use std::collections::BTreeMap;
use std::fmt;

/// A fleet with figures fitted to measurements, and how well they fit.
#[derive(Clone, PartialEq, Debug)]
pub struct Calibration {
    /// The fleet with the new figures and their provenance.
    pub fleet: Verified<Fleet>,
    /// Every fixed time and rate, fitted or kept.
    pub figures: Vec<Figure>,
    /// Every sample beside what it should take, in the order of the file.
    pub residuals: Vec<Residual>,
    /// Root mean square of the relative errors under the old figures.
    pub old_rms: f64,
    /// And under the new ones.
    pub new_rms: f64,
    /// Time lost by choices, against the measured times.
    pub measured: Regret,
    /// Time lost by choices, against the new figures.
    pub priced: Regret,
}

/// One figure before and after.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// Its path in the fleet file.
    pub name: String,
    /// Before.
    pub old: Value,
    /// After; as before when no sample bears on it.
    pub new: Value,
    /// Samples that bear on it.
    pub samples: usize,
    /// Relative standard error, when there are more samples than figures.
    pub error: Option<f64>,
}

/// A fixed time or a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of one message, kernel or exchange.
    Time(Picoseconds),
    /// Of payload or memory.
    Rate(BytesPerSecond),
}

/// A sample beside its prices.
#[derive(Clone, PartialEq, Debug)]
pub struct Residual {
    /// The sample.
    pub sample: Sample,
    /// Under the old figures.
    pub old: Picoseconds,
    /// Under the new ones.
    pub new: Picoseconds,
}

impl Residual {
    /// Predicted over measured, less one, under the old figures.
    #[must_use]
    pub fn old_error(&self) -> f64 {
        self.old.seconds() / self.sample.seconds - 1.0
    }

    /// Predicted over measured, less one, under the new figures.
    #[must_use]
    pub fn new_error(&self) -> f64 {
        self.new.seconds() / self.sample.seconds - 1.0
    }
}

impl Value {
    /// In seconds or bytes per second.
    #[must_use]
    pub fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.seconds(),
            Self::Rate(rate) => rate.0 as f64,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Rate(rate) => rate.fmt(f),
        }
    }
}

/// A figure is worth measuring again above this standard error.
const UNSURE: f64 = 0.1;

impl Figure {
    /// What to measure when the samples hardly bear on the figure.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self.new {
            _ if self.error.is_none_or(|error| error <= UNSURE) => None,
            Value::Time(_) => Some("measure smaller sizes, at which this time is most of the whole"),
            Value::Rate(_) => Some("measure larger sizes, at which the transfer is most of the time"),
        }
    }
}

/// Fits latencies, overheads and rates to measured times.
///
/// # Errors
/// Every row that cannot be read or used, with its place; figures that the rows cannot tell apart, with what to measure.
pub fn calibrate(old: &Verified<Fleet>, measurements: &Measurements<'_>) -> Result<Calibration, Diagnostics> {
    let request = Request::default().verify()?;
    let costs = CostModel::new(old, &request);
    let rows = rows::read(&costs, measurements)?;
    let equations = equations(old, measurements, &rows.samples)?;
    let fits = fits(old, &equations, &rows.samples).map_err(|problems| problems.in_file(measurements.file))?;
    let (fleet, figures) = refitted(old, &fits).map_err(|problems| refused(problems, measurements))?;
    let prices = CostModel::new(&fleet, &request);
    let residual = |sample: Sample| {
        let price = |costs| sample.price(costs, sample.bytes);
        Residual { old: price(&costs), new: price(&prices), sample }
    };
    let measured = Regret::measured(&costs, &prices, &rows.samples);
    let priced = Regret::priced(&costs, &prices, &rows.samples);
    let residuals: Vec<Residual> = rows.samples.into_iter().map(residual).collect();
    let source = Source {
        measurements,
        notes: &rows.notes,
        old,
        figures: &figures,
        equations: &equations,
        residuals: &residuals,
    };
    let fleet = source.stated(fleet.clone().into_inner()).verify()?;
    let (old_rms, new_rms) =
        (rms(residuals.iter().map(Residual::old_error)), rms(residuals.iter().map(Residual::new_error)));
    Ok(Calibration { fleet, figures, residuals, old_rms, new_rms, measured, priced })
}

fn rms(errors: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = errors.len().max(1) as f64;
    (errors.map(|error| error * error).sum::<f64>() / count).sqrt()
}

/// Every block that samples bear on, fitted, or everything that cannot be.
fn fits(
    fleet: &Fleet,
    equations: &[Equation],
    samples: &[Sample],
) -> Result<BTreeMap<Block, (Fit, usize)>, Diagnostics> {
    let mut blocks: BTreeMap<&Block, Vec<(&Equation, f64)>> = BTreeMap::new();
    for (equation, sample) in equations.iter().zip(samples) {
        blocks.entry(&equation.block).or_default().push((equation, sample.seconds));
    }
    let (mut fits, mut problems) = (BTreeMap::new(), Diagnostics::default());
    for (block, counted) in blocks {
        let (fixed, rate) = names(fleet, block);
        match fit(block, &counted, (&fixed, &rate)) {
            Ok(fit) => drop(fits.insert(block.clone(), (fit, counted.len()))),
            Err(problem) => problems.push(problem),
        }
    }
    problems.into_result(fits)
}

/// Paths of a block's fixed time and rate in the fleet file.
fn names(fleet: &Fleet, block: &Block) -> (String, String) {
    let under = |place: String, fixed: &str, rate: &str| (format!("{place}.{fixed}"), format!("{place}.{rate}"));
    match block {
        Block::Links(class) => under(place(fleet, *class), "latency", "rate"),
        Block::Kind(kind) => under(format!("kinds.{kind}"), "overhead", "bandwidth"),
        Block::Host => under("host".to_owned(), "latency", "rate"),
    }
}

fn place(fleet: &Fleet, class: usize) -> String {
    match &fleet.links {
        sailplan_ir::Links::Edges(_) => {
            let first = LinkClass::all(fleet).get(class).map_or(0, |class| class.first);
            format!("links.link[{first}]")
        }
        _ => "links".to_owned(),
    }
}

/// The fleet with the fitted figures, and each figure before and after.
fn refitted(
    old: &Verified<Fleet>,
    fits: &BTreeMap<Block, (Fit, usize)>,
) -> Result<(Verified<Fleet>, Vec<Figure>), Diagnostics> {
    let classes = LinkClass::all(old);
    let mut fleet = Fleet::clone(old);
    let mut figures = Vec::new();
    for (index, class) in classes.iter().enumerate() {
        let block = Block::Links(index);
        push_figures(&mut figures, names(old, &block), (class.latency, class.rate), fits.get(&block));
    }
    for (name, kind) in &old.kinds {
        let block = Block::Kind(name.clone());
        push_figures(&mut figures, names(old, &block), (kind.overhead, kind.bandwidth), fits.get(&block));
    }
    push_figures(&mut figures, names(old, &Block::Host), (old.host.latency, old.host.rate), fits.get(&Block::Host));
    for (block, (fit, _)) in fits {
        apply(&mut fleet, old, block, fit);
    }
    Ok((fleet.verify()?, figures))
}

fn push_figures(
    figures: &mut Vec<Figure>,
    (fixed, rate): (String, String),
    (latency, bytes): (Picoseconds, BytesPerSecond),
    fit: Option<&(Fit, usize)>,
) {
    let samples = fit.map_or(0, |(_, samples)| *samples);
    let fit = fit.map(|(fit, _)| fit);
    let (old, new) = (Value::Time(latency), Value::Time(fit.map_or(latency, |fit| fit.fixed)));
    figures.push(Figure { name: fixed, old, new, samples, error: fit.and_then(|fit| fit.fixed_error) });
    let (old, new) = (Value::Rate(bytes), Value::Rate(fit.map_or(bytes, |fit| fit.rate)));
    figures.push(Figure { name: rate, old, new, samples, error: fit.and_then(|fit| fit.rate_error) });
}

/// A framed link becomes one of a plain rate: the measured one.
fn apply(fleet: &mut Fleet, old: &Fleet, block: &Block, fit: &Fit) {
    match block {
        Block::Links(class) => {
            let class = LinkClass::all(old).get(*class).copied();
            let mut before = old.links.clone();
            for (link, before) in links_of(&mut fleet.links).into_iter().zip(links_of(&mut before)) {
                if class.is_some_and(|class| class.has(before)) {
                    (link.rate, link.frame, link.latency) = (Some(fit.rate), None, fit.fixed);
                }
            }
        }
        Block::Kind(name) => {
            if let Some(kind) = fleet.kinds.get_mut(name) {
                (kind.bandwidth, kind.overhead) = (fit.rate, fit.fixed);
            }
        }
        Block::Host => (fleet.host.rate, fleet.host.latency) = (fit.rate, fit.fixed),
    }
}

/// Figures that no fleet may have.
fn refused(problems: Diagnostics, measurements: &Measurements<'_>) -> Diagnostics {
    let told = |problem: Diagnostic| {
        let fitted = Diagnostic::new(format!("the fitted figure is refused: {}", problem.message));
        fitted.at(measurements.file, At::Whole).hint("check the units of the columns `bytes` and `seconds`")
    };
    Diagnostics(problems.0.into_iter().map(told).collect())
}
