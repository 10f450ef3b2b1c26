//! Tipping points: how far a figure may go until the best plan has another structure, by bisection over plans.

use super::solver::{Solver, shape};
use crate::figure::{FIGURES, Figure};
use crate::outcome::Failure;
use sailplan_ir::Placement;
use serde::Serialize;

/// One figure in one direction.
#[derive(Serialize)]
pub(crate) struct Tipping {
    pub(crate) figure: &'static str,
    pub(crate) now: String,
    pub(crate) up: bool,
    /// The last value at which the structure is the plan's, as far as known.
    pub(crate) same_at: String,
    /// A value at which it is another one; none when none was found as far as `same_at`.
    pub(crate) tips_at: Option<String>,
    /// The structure there.
    pub(crate) becomes: Option<String>,
}

/// What is varied, and whether less of it is of interest too.
const VARIED: &[(Figure, bool)] = &[
    (Figure::LinkLatency, true),
    (Figure::LinkRate, true),
    (Figure::Bandwidth, true),
    (Figure::Memory, true),
    (Figure::Context, false),
];

/// How far a figure goes, in two steps.
const STEPS: [u64; 2] = [4, 16];

/// Values no further apart than one in so many are one tipping point. From a step of four, eight more plans find it.
const APART: u64 = 100;

/// Tipping points of every figure that the fleet has one value of.
pub(super) fn all(solver: &Solver<'_>, now: &Placement) -> Result<Vec<Tipping>, Failure> {
    let ours = shape(Some(now));
    let mut found = Vec::new();
    for &(figure, down) in VARIED {
        let Some(value) = figure.current(&solver.fleet, &solver.request).filter(|&value| value > 0) else { continue };
        let search = Search { solver, figure, ours: &ours };
        if down {
            found.push(search.along(value, false)?);
        }
        found.push(search.along(value, true)?);
    }
    Ok(found)
}

struct Search<'a> {
    solver: &'a Solver<'a>,
    figure: Figure,
    ours: &'a str,
}

impl Search<'_> {
    fn along(&self, now: u64, up: bool) -> Result<Tipping, Failure> {
        let (mut same, mut other) = (now, None);
        for step in STEPS {
            let far = if up { now.saturating_mul(step) } else { (now / step).max(1) };
            let structure = self.at(far)?;
            if structure != self.ours {
                other = Some((far, structure));
                break;
            }
            same = far;
        }
        while let Some((far, _)) = &other {
            let far = *far;
            if same.abs_diff(far) <= (same.min(far) / APART).max(1) {
                break;
            }
            let middle = between(same, far);
            let structure = self.at(middle)?;
            if structure == self.ours { same = middle } else { other = Some((middle, structure)) }
        }
        Ok(self.tipping(now, (up, same), other))
    }

    fn tipping(&self, now: u64, (up, same): (bool, u64), other: Option<(u64, String)>) -> Tipping {
        let name = FIGURES.iter().find(|known| known.1 == self.figure).map_or("", |known| known.0);
        Tipping {
            figure: name,
            now: self.figure.show(now),
            up,
            same_at: self.figure.show(same),
            tips_at: other.as_ref().map(|other| self.figure.show(other.0)),
            becomes: other.map(|other| other.1),
        }
    }

    /// The structure at a value. Where the request or the fleet is refused, there is no plan.
    fn at(&self, value: u64) -> Result<String, Failure> {
        match self.figure.apply(&self.solver.fleet, &self.solver.request, value) {
            Ok((fleet, request)) => Ok(shape(self.solver.solve(&fleet, &request, None)?.as_ref())),
            Err(_) => Ok(shape(None)),
        }
    }
}

/// The value in the middle by factors, to three significant digits where one lies there, strictly between two that differ by more than 1.
fn between(a: u64, b: u64) -> u64 {
    let (low, high) = (a.min(b), a.max(b));
    let middle = (low as f64 * high as f64).sqrt().round() as u64;
    let unit = 10_u64.pow(middle.checked_ilog10().unwrap_or(0).saturating_sub(2));
    let round = middle / unit * unit;
    if low < round && round < high { round } else { middle.clamp(low + 1, high - 1) }
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn the_middle_lies_between() {
        assert_eq!(between(100, 400), 200);
        assert_eq!(between(400, 100), 200);
        assert_eq!(between(1, 3), 2);
        assert_eq!(between(101_000, 102_100), 101_549);
        assert_eq!(between(20_000, 80_000), 40_000);
        assert_eq!(between(123_456, 130_000), 126_000);
        assert_eq!(between(u64::MAX - 2, u64::MAX), u64::MAX - 1);
    }
}
