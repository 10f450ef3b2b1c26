//! Where each fitted figure comes from: samples, sizes, residual, remarks, and what stood there before.

use super::equations::{Block, Equation, LinkClass, links_of};
use super::samples::Measurements;
use super::{Figure, Residual, names, rms};
use sailplan_ir::{Bytes, Fleet, Verified};
use std::collections::{BTreeMap, BTreeSet};

/// Operations that are listed; the rest is counted.
const MOST_NAMED: usize = 6;
/// Characters of an earlier source that are kept.
const LONGEST: usize = 240;

/// What the sources of the new figures are written from.
pub(super) struct Source<'a> {
    pub(super) measurements: &'a Measurements<'a>,
    pub(super) notes: &'a BTreeMap<String, BTreeSet<String>>,
    pub(super) old: &'a Verified<Fleet>,
    pub(super) figures: &'a [Figure],
    pub(super) equations: &'a [Equation],
    pub(super) residuals: &'a [Residual],
}

impl Source<'_> {
    /// The fleet with the source of every fitted figure. What was said of a frame goes with the frame.
    pub(super) fn stated(&self, mut fleet: Fleet) -> Fleet {
        let blocks: BTreeSet<&Block> = self.equations.iter().map(|equation| &equation.block).collect();
        if !links_of(&mut fleet.links).iter().any(|link| link.frame.is_some()) {
            fleet.provenance.retain(|figure, _| !figure.starts_with("links.frame"));
        }
        for block in blocks {
            let (fixed, rate) = names(self.old, block);
            let from = self.samples(block);
            for name in [fixed, rate] {
                if let Some(figure) = self.figures.iter().find(|figure| figure.name == name) {
                    let error =
                        figure.error.map_or(String::new(), |error| format!(", standard error {}", percent(error)));
                    let before = self.before(block, figure);
                    fleet.provenance.insert(name, format!("fitted from {from}{error}{}; was {before}", self.remarks()));
                }
            }
        }
        fleet
    }

    fn samples(&self, block: &Block) -> String {
        let ours = || self.equations.iter().zip(self.residuals).filter(|(equation, _)| equation.block == *block);
        let sizes = || ours().map(|(_, residual)| residual.sample.bytes);
        let operations: BTreeSet<String> = ours().map(|(_, residual)| told(residual)).collect();
        let named: Vec<&str> = operations.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = operations.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let errors: Vec<f64> = ours().map(|(_, residual)| residual.new_error()).collect();
        let (least, most): (Option<Bytes>, Option<Bytes>) = (sizes().min(), sizes().max());
        format!(
            "{} samples of {} ({} to {}: {}{more}), residual rms {}",
            errors.len(),
            self.measurements.file,
            least.unwrap_or_default(),
            most.unwrap_or_default(),
            named.join("; "),
            percent(rms(errors.into_iter()))
        )
    }

    fn remarks(&self) -> String {
        let listed = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let stated = self.notes.iter().filter(|(_, values)| !values.is_empty());
        stated.map(|(name, values)| format!("; {name}: {}", listed(values))).collect()
    }

    /// The figure that was there and its source; a framed link's rate was its frame's.
    fn before(&self, block: &Block, figure: &Figure) -> String {
        let source = self.old.provenance.get(&figure.name).cloned();
        let source = source.or_else(|| self.framed(block)).unwrap_or_else(|| "no source stated".to_owned());
        let mut short: String = source.chars().take(LONGEST).collect();
        if short.len() < source.len() {
            short.push('…');
        }
        format!("{} ({short})", figure.old)
    }

    fn framed(&self, block: &Block) -> Option<String> {
        let Block::Links(class) = block else { return None };
        let class = LinkClass::all(self.old).into_iter().nth(*class)?;
        let mut links = self.old.links.clone();
        let link = links_of(&mut links).into_iter().nth(class.first)?;
        let frame = link.frame?;
        let whole = frame.payload + frame.header + frame.crc;
        Some(format!(
            "frame model: {} lanes × {}, {:?}, {} in frames of {whole}",
            frame.lanes, frame.line_rate, link.coding, frame.payload
        ))
    }
}

fn told(residual: &Residual) -> String {
    let operation = &residual.sample.operation;
    format!("{operation} over {}", operation.group())
}

/// A share as text with three digits.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
