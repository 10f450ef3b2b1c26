//! Prices of joint kernels: what their products move and compute together, but for the one value that they read, which is
//! read once.

use super::{Kernel, Line, PHASES, Pricing, Rates, work_of};
use crate::joint::Bundle;
use crate::price::{Site, local};
use crate::saturate::Choices;
use crate::trellis::Made;
use sailplan_cost_model::{CostModel, Phase, Work};
use sailplan_ir::{Bytes, DType, Picoseconds};

/// What a kernel moves, and its operations in each type.
pub(crate) type JointWork = (Bytes, Vec<(u64, DType)>);

/// Bytes of what a bundle reads, as a function of the units that a rank has of a domain.
pub(super) struct Reading {
    domain: Option<usize>,
    line: Line,
}

impl Reading {
    pub(super) fn new(choices: &Choices, class: usize, costs: &CostModel<'_>, phase: Phase, granules: &[u64]) -> Self {
        let domain = choices.domain(class).map(|domain| domain.index());
        let granule = domain.map_or(1, |domain| granules[domain]);
        let bytes = |units: u64| read(choices, class, units, (costs, phase));
        let none = bytes(0);
        let step = Work { bytes: Bytes(bytes(granule).0.saturating_sub(none.0)), flops: 0 };
        Self { domain, line: Line { none: Work { bytes: none, flops: 0 }, step, granule } }
    }
}

/// Bytes of a value on a rank with so many units of the domain that it is cut along.
fn read(choices: &Choices, class: usize, units: u64, (costs, phase): (&CostModel<'_>, Phase)) -> Bytes {
    let fact = choices.classes[class].fact;
    local(&choices.template, (fact.tensor, fact.layout), units, costs.extents(phase)).bytes()
}

/// Adds the operations of a product to those of its type.
fn add(flops: &mut Vec<(u64, DType)>, more: u64, dtype: DType) {
    match flops.iter_mut().find(|known| known.1 == dtype) {
        Some(known) => known.0 = known.0.saturating_add(more),
        None => flops.push((more, dtype)),
    }
}

impl Rates {
    /// Of a bundle where `units` tells those of a domain.
    pub(super) fn joint_work(&self, phase: usize, bundle: usize, units: impl Fn(usize) -> u64) -> Option<JointWork> {
        let (ways, reading) = (&self.joint.bundles[bundle].ways, &self.readings[phase][bundle]);
        let of = |domain: Option<usize>| domain.map_or(0, &units);
        let (mut moved, mut flops) = (Bytes(0), Vec::new());
        for &made in ways {
            let Kernel { domain, dtype, line, .. } = self.kernels[phase][self.joint.number(made)].as_ref()?;
            let work = line.as_ref()?.work(of(*domain));
            moved += work.bytes;
            add(&mut flops, work.flops, *dtype);
        }
        let again = reading.line.work(of(reading.domain)).bytes;
        Some((moved - again.times(ways.len() as u64 - 1), flops))
    }
}

impl Pricing<'_> {
    /// The slowest rank's time; `None` where a product cannot be made.
    pub(super) fn joint(&self, phase: usize, bundle: usize) -> Option<Picoseconds> {
        let site = self.site;
        let time = |&rank: &usize| {
            let units = |domain: usize| site.partitions[domain].share(rank);
            let (bytes, flops) = self.rates.joint_work(phase, bundle, units)?;
            Some(site.costs.joint(site.group[rank], bytes, &flops).total())
        };
        site.sorts.iter().map(time).try_fold(Picoseconds(0), |most, time| time.map(|time| most.max(time)))
    }

    /// Whether all ways of a bundle can be used.
    pub(super) fn legal_together(&self, bundle: &Bundle, legal: &[bool]) -> bool {
        let of = |&(class, way): &Made| {
            legal[class] && self.choices.classes[class].ways[way].inputs.iter().all(|&input| legal[input])
        };
        bundle.ways.iter().all(of)
    }
}

impl Site<'_> {
    /// What a rank moves and computes in one kernel for these ways, which read one value.
    pub(crate) fn joint_work(&self, choices: &Choices, ways: &[Made], phase: Phase, rank: usize) -> JointWork {
        let (mut moved, mut flops) = (Bytes(0), Vec::new());
        let tokens = self.costs.extents(phase).tokens;
        for &(class, index) in ways {
            let way = &choices.classes[class].ways[index];
            let units = |domain| self.share(domain, rank, tokens);
            let (work, dtype) = work_of(choices, (class, way), &units, (self.costs, phase));
            moved += work.bytes;
            add(&mut flops, work.flops, dtype);
        }
        let first = ways.first().and_then(|&(class, way)| choices.classes[class].ways[way].inputs.first());
        let again = first.map_or(Bytes(0), |&class| {
            let units = choices.domain(class).map_or(0, |domain| self.share(domain, rank, tokens));
            read(choices, class, units, (self.costs, phase))
        });
        (moved - again.times(ways.len().saturating_sub(1) as u64), flops)
    }
}

/// Bytes of what each bundle reads, by phase.
pub(super) fn readings(
    choices: &Choices,
    bundles: &[Bundle],
    costs: &CostModel<'_>,
    granules: &[u64],
) -> [Vec<Reading>; 2] {
    PHASES.map(|phase| {
        let one = |bundle: &Bundle| Reading::new(choices, bundle.read, costs, phase, granules);
        bundles.iter().map(one).collect()
    })
}
