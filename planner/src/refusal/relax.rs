//! The least change of each demand that admits a plan. Each is tried on the whole problem before it is offered; a demand
//! that is in no conflict is left alone, because changing it cannot help.

use super::demands::{Kind, SMALLER};
use super::problem::{Problem, Solver};
use super::{Change, Relaxation, fleets, relaxation};
use crate::PlaceError;
use sailplan_ir::{DType, Placement};

/// Every single change that admits a plan, in the order of the demands.
pub(crate) fn relaxations(
    problem: &Problem,
    conflict: &[Kind],
    solver: &Solver<'_>,
) -> Result<Vec<Relaxation>, PlaceError> {
    let try_out = Trial { problem, solver };
    let mut found = Vec::new();
    for kind in conflict {
        let admitted = match kind {
            Kind::Memory => try_out.more_sails()?,
            Kind::Residency => try_out.one(Change::Stream)?,
            Kind::Context => try_out.context()?,
            Kind::Weights => try_out.weights()?,
            Kind::Batch => try_out.largest(problem.request.batch - 1, &|index| Change::Batch(index + 1))?,
            Kind::Ubatch => {
                let powers = u64::from((problem.request.chunk_tokens() - 1).ilog2()) + 1;
                try_out.largest(powers, &|index| Change::Ubatch(1 << index))?
            }
            Kind::Caches => try_out.one(Change::Caches(DType::F16))?,
            Kind::Links => try_out.one(Change::Links(fleets::missing(&problem.fleet)))?,
            Kind::Blocks => None,
            Kind::Pin(index) => {
                let name = &problem.pins[*index].name;
                let limits = problem.limits()?;
                let cuts = limits.misaligned.iter().find(|misaligned| misaligned.pin == *index);
                if let Some(misaligned) = cuts {
                    found.extend(try_out.one(Change::Cuts(name.clone(), misaligned.nearest.clone()))?);
                }
                try_out.one(Change::Without(name.clone()))?
            }
        };
        found.extend(admitted);
    }
    Ok(found)
}

struct Trial<'a> {
    problem: &'a Problem,
    solver: &'a Solver<'a>,
}

impl Trial<'_> {
    fn plan(&self, change: &Change) -> Result<Option<Placement>, PlaceError> {
        Ok(self.solver.solve(&self.problem.with(change)?)?.ok())
    }

    fn one(&self, change: Change) -> Result<Option<Relaxation>, PlaceError> {
        let sequences = self.problem.request.batch;
        Ok(self.plan(&change)?.map(|placement| relaxation(change, sequences, &placement)))
    }

    /// Of `count` changes, each more than the one before, the last that admits a plan; all before it do as well.
    fn largest(&self, count: u64, change: &dyn Fn(u64) -> Change) -> Result<Option<Relaxation>, PlaceError> {
        let (mut low, mut high) = (0, count);
        let mut best = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.one(change(middle))? {
                Some(admitted) => (best, low) = (Some(admitted), middle + 1),
                None => high = middle,
            }
        }
        Ok(best)
    }

    /// The largest multiple of 1024 below the context, or power of two below 1024, that is enough for the prompt and what is
    /// generated; or just that.
    fn context(&self) -> Result<Option<Relaxation>, PlaceError> {
        let request = &self.problem.request;
        let (needed, most) = (request.prompt.saturating_add(request.generate), request.context);
        let first = needed.div_ceil(STEP);
        let multiples = most.div_ceil(STEP).saturating_sub(first);
        if let Some(found) = self.largest(multiples, &|index| Change::Context((first + index) * STEP))? {
            return Ok(Some(found));
        }
        let powers: Vec<u64> = (0..STEP.ilog2()).map(|power| 1 << power).collect();
        let powers = powers.into_iter().filter(|&power| power > needed && power < most);
        let small: Vec<u64> = std::iter::once(needed).filter(|&needed| needed < most).chain(powers).collect();
        self.largest(small.len() as u64, &|index| Change::Context(small[index as usize]))
    }

    /// The largest type of the weights that is smaller than theirs.
    fn weights(&self) -> Result<Option<Relaxation>, PlaceError> {
        let mut bytes = self.problem.model.weight_bytes();
        for dtype in SMALLER {
            let smaller = self.problem.with(&Change::Weights(dtype))?.model.weight_bytes();
            if smaller < bytes {
                bytes = smaller;
                if let Some(found) = self.one(Change::Weights(dtype))? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The fewest cards of the same kind.
    fn more_sails(&self) -> Result<Option<Relaxation>, PlaceError> {
        let fleet = &self.problem.fleet;
        if !fleets::resizable(fleet) || self.problem.limits()?.sails < fleet.size() {
            return Ok(None);
        }
        let size = fleet.size() as u64;
        let most = (size * MOST_TIMES).clamp(MOST_SAILS.0, MOST_SAILS.1);
        let sails = |count: u64| Change::Sails(count as u16);
        let (mut low, mut step) = (size, 1);
        let (mut high, mut best) = loop {
            let count = (low + step).min(most);
            if count <= low {
                return Ok(None);
            }
            match self.one(sails(count))? {
                Some(found) => break (count, found),
                None => (low, step) = (count, step * 2),
            }
        };
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match self.one(sails(middle))? {
                Some(found) => (best, high) = (found, middle),
                None => low = middle,
            }
        }
        Ok(Some(best))
    }
}

/// Contexts are offered in such steps.
const STEP: u64 = 1024;

/// More than so many times the cards of the fleet are not offered,
const MOST_TIMES: u64 = 4;

/// but always so many, and never more than these.
const MOST_SAILS: (u64, u64) = (32, 256);
