//! How the times of stages make an objective: one after the other, or, where several chunks of a prompt or several requests
//! are on their way, side by side.

use crate::replicas;
use crate::space::{Interval, Passing, Space};
use crate::stage::Counts;
use sailplan_ir::{Objective, Picoseconds, Request, Resources};
use std::iter::Sum;
use std::ops::{Add, Mul};

/// What is minimised over a chain of stages, each of which has a [`Toll`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// The sum of costs.
    Sum,
    /// The sum of costs, and the largest load once for each further chunk: with c chunks through stages that take p₁, p₂, …
    /// for one, the last chunk leaves after Σp + (c − 1)·max p (a flow shop with equal jobs; Johnson 1954).
    Overlap {
        /// Chunks after the first.
        further: u64,
    },
    /// The largest load: a request leaves whenever the slowest stage is done with one.
    Period,
}

/// What a stage adds to the objective.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Toll {
    /// Its part of a sum.
    pub(crate) cost: Picoseconds,
    /// How long it keeps others waiting: with the message that it sends, for it goes on when that has left.
    pub(crate) load: Picoseconds,
}

impl Add for Toll {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { cost: self.cost + other.cost, load: self.load + other.load }
    }
}

impl Mul<u64> for Toll {
    type Output = Self;
    fn mul(self, count: u64) -> Self {
        Self { cost: self.cost * count, load: self.load * count }
    }
}

impl Sum for Toll {
    fn sum<I: Iterator<Item = Self>>(tolls: I) -> Self {
        tolls.fold(Self::default(), Self::add)
    }
}

impl Pace {
    /// What a request asks for.
    pub(crate) fn of(request: &Request) -> Self {
        match request.objective {
            Objective::Throughput => Self::Period,
            Objective::Request | Objective::Prefill if request.chunks() > 1 => {
                Self::Overlap { further: request.chunks() - 1 }
            }
            Objective::Request | Objective::Prefill | Objective::Decode => Self::Sum,
        }
    }

    /// The toll of these times of one prefill pass and of one decode step.
    pub(crate) fn toll(self, request: &Request, prefill: Picoseconds, decode: Picoseconds) -> Toll {
        let (p, d) = request.weights();
        match self {
            Self::Overlap { .. } => Toll { cost: prefill * p + decode * d, load: prefill },
            Self::Sum | Self::Period => {
                let time = prefill * p.saturating_mul(request.chunks()) + decode * d;
                Toll { cost: time, load: time }
            }
        }
    }
}

impl Space<'_> {
    /// How stages make an objective here.
    pub(crate) fn pace(&self) -> Pace {
        Pace::of(self.costs.request)
    }

    /// The toll of a value that comes to a stage.
    pub(crate) fn toll_of(&self, passing: &Passing) -> Toll {
        self.pace().toll(self.costs.request, passing.prefill, passing.decode)
    }

    /// The toll of one segment of a class at a point.
    pub(crate) fn toll_at(&self, group: &Interval, class: usize, index: usize) -> Toll {
        let point = &self.front(group)[class][index];
        if !matches!(self.pace(), Pace::Overlap { .. }) {
            return Toll { cost: point.objective, load: point.objective };
        }
        let [prefill, decode] = point.totals(self.detail(group, class, index));
        self.pace().toll(self.costs.request, prefill.total(), decode.total())
    }

    /// The toll of segments at these points.
    pub(crate) fn toll(&self, group: &Interval, counts: &Counts) -> Toll {
        let classes = counts.iter().enumerate();
        let used = classes.flat_map(|(class, counts)| counts.iter().enumerate().map(move |(at, &n)| (class, at, n)));
        used.filter(|used| used.2 > 0).map(|(class, at, count)| self.toll_at(group, class, at) * count).sum()
    }

    /// The objective of replicas by resource. Of several it is made of what each replica's objective is made of, on average
    /// over the requests; what the host's link holds it up is the host's, and what rounding leaves the memory's.
    pub(crate) fn pooled(&self, replicas: &[Vec<[Resources; 2]>]) -> Resources {
        let wholes: Vec<Resources> = replicas.iter().map(|stages| self.whole(stages)).collect();
        let (Pace::Period, [_, _, ..]) = (self.pace(), &wholes[..]) else {
            return wholes.into_iter().max_by_key(Resources::total).unwrap_or_default();
        };
        let periods: Vec<Picoseconds> = wholes.iter().map(Resources::total).collect();
        let period = replicas::together(self, &periods);
        let free = replicas::unhindered(&periods);
        let share = |time: Picoseconds, own: Picoseconds| {
            let all = u128::from(own.0.max(1)).saturating_mul(periods.len() as u128);
            Picoseconds((u128::from(time.0).saturating_mul(u128::from(free.0)) / all) as u64)
        };
        let parts = wholes.iter().zip(&periods).map(|(whole, &own)| Resources {
            ddr: share(whole.ddr, own),
            compute: share(whole.compute, own),
            link: share(whole.link, own),
            host: share(whole.host, own),
        });
        let mut sum = parts.fold(Resources::default(), Resources::add);
        sum.ddr += Picoseconds(free.0.saturating_sub(sum.total().0));
        sum.host += Picoseconds(period.0.saturating_sub(sum.total().0));
        sum
    }

    /// Times of both phases of each stage of a replica by resource, as the whole objective has them.
    fn whole(&self, stages: &[[Resources; 2]]) -> Resources {
        let (p, d) = self.costs.request.weights();
        let all = |phase: usize| stages.iter().map(|stage| stage[phase]).fold(Resources::default(), Resources::add);
        let slowest = |load: &dyn Fn(&[Resources; 2]) -> Resources| {
            // The first of equal ones.
            stages.iter().map(load).rev().max_by_key(Resources::total).unwrap_or_default()
        };
        match self.pace() {
            Pace::Sum => all(0) * p.saturating_mul(self.costs.request.chunks()) + all(1) * d,
            Pace::Overlap { further } => all(0) * p + all(1) * d + slowest(&|stage| stage[0]) * further,
            Pace::Period => {
                let chunks = self.costs.request.chunks();
                slowest(&|stage| stage[0] * p.saturating_mul(chunks) + stage[1] * d)
            }
        }
    }
}
