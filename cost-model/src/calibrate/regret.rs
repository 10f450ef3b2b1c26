//! What the old figures cost: time lost by the algorithms that they would choose. Regret of a choice is its time over the
//! time of the best choice, less one.

use super::samples::{Operation, Sample, chunk};
use crate::CostModel;
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Pattern, SailId};
use std::collections::{BTreeMap, BTreeSet};

/// Regret of the choices that two sets of figures make in the same cases.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Regret {
    /// How many choices.
    pub cases: usize,
    /// Under the old figures.
    pub old: Loss,
    /// Under the new ones.
    pub new: Loss,
}

/// Mean and greatest regret; 0.1 is 10 % slower than the best.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Loss {
    /// Over all cases.
    pub mean: f64,
    /// Of the worst case.
    pub most: f64,
}

/// Sizes where a file measures no collective.
const SIZES: [u64; 5] = [1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24];
/// Sizes and groups of a table, at most.
const MOST: usize = 32;

impl Regret {
    /// Against the stopwatch: in every case (collective, group, bytes) of which several algorithms were measured, the
    /// measured time of the one that each set of figures would choose among them.
    pub(super) fn measured(old: &CostModel<'_>, new: &CostModel<'_>, samples: &[Sample]) -> Self {
        let mut losses = Vec::new();
        for ((pattern, group, bytes), times) in measured(samples) {
            let chosen = |costs: &CostModel<'_>| {
                let timed = pattern.algorithms().iter().filter(|algorithm| times.contains_key(algorithm));
                let price = |algorithm| costs.links.time(pattern, algorithm, group, chunk(bytes, group.len()), bytes);
                let best = timed
                    .filter_map(|&algorithm| Some((algorithm, price(algorithm)?)))
                    .min_by_key(|&(_, time)| time)?;
                times.get(&best.0).copied()
            };
            let best = times.values().copied().min_by(f64::total_cmp);
            if let (Some(old), Some(new), Some(best)) = (chosen(old), chosen(new), best)
                && times.len() > 1
            {
                losses.push((old / best - 1.0, new / best - 1.0));
            }
        }
        Self::over(&losses)
    }

    /// Against the new figures: every collective over the groups and sizes of the samples, or over the first 2, 4, 8, …
    /// cards and usual sizes when none is sampled. New figures have none by construction.
    pub(super) fn priced(old: &CostModel<'_>, new: &CostModel<'_>, samples: &[Sample]) -> Self {
        let (groups, sizes) = grid(new, samples);
        let mut losses = Vec::new();
        for (kind, group) in
            CollectiveKind::ALL.into_iter().flat_map(|kind| groups.iter().map(move |group| (kind, group)))
        {
            for &bytes in &sizes {
                let part = chunk(bytes, group.len());
                let loss = || {
                    let (choice, _) = old.links.cheapest(kind, group, part, bytes)?;
                    let best = new.links.cheapest(kind, group, part, bytes)?.1.seconds();
                    let time = new.links.time(kind, choice, group, part, bytes)?.seconds();
                    (best > 0.0).then_some(time / best - 1.0)
                };
                losses.extend(loss().map(|loss| (loss, 0.0)));
            }
        }
        Self::over(&losses)
    }

    fn over(losses: &[(f64, f64)]) -> Self {
        let loss = |of: fn(&(f64, f64)) -> f64| Loss {
            mean: losses.iter().map(of).sum::<f64>() / losses.len().max(1) as f64,
            most: losses.iter().map(of).fold(0.0, f64::max),
        };
        Self { cases: losses.len(), old: loss(|loss| loss.0), new: loss(|loss| loss.1) }
    }
}

type Case<'a> = (Pattern, &'a [SailId], Bytes);

/// Mean time of each algorithm that a row names, by case.
fn measured(samples: &[Sample]) -> BTreeMap<Case<'_>, BTreeMap<Algorithm, f64>> {
    let mut sums: BTreeMap<Case<'_>, BTreeMap<Algorithm, (f64, f64)>> = BTreeMap::new();
    for sample in samples {
        if let Operation::Collective { pattern, algorithm, group, assumed: false } = &sample.operation {
            let times = sums.entry((*pattern, group, sample.bytes)).or_default();
            let (sum, count) = times.entry(*algorithm).or_default();
            *sum += sample.seconds;
            *count += 1.0;
        }
    }
    let mean = |(algorithm, (sum, count)): (Algorithm, (f64, f64))| (algorithm, sum / count);
    sums.into_iter().map(|(case, times)| (case, times.into_iter().map(mean).collect())).collect()
}

fn grid(costs: &CostModel<'_>, samples: &[Sample]) -> (Vec<Vec<SailId>>, Vec<Bytes>) {
    let (mut groups, mut sizes) = (BTreeSet::new(), BTreeSet::new());
    for sample in samples {
        if let Operation::Collective { group, .. } = &sample.operation {
            groups.insert(group.clone());
            sizes.insert(sample.bytes);
        }
    }
    if groups.is_empty() {
        let counts = (1..7).map(|power| 1usize << power).filter(|&count| count <= costs.fleet.size());
        groups = counts.map(|count| costs.fleet.ids().take(count).collect()).collect();
        sizes = SIZES.map(Bytes).into();
    }
    (groups.into_iter().take(MOST).collect(), sizes.into_iter().take(MOST).collect())
}
