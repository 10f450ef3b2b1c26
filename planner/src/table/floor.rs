//! What every way of a class takes at least on any group of so many cards whose rates add up to no more than given: prices
//! that are never above those of a group, whatever its shares, for one division each. A test compares.

use super::{PHASES, PriceTable, Rates, work_of};
use crate::price::block;
use crate::saturate::{Choices, Way, WayAction};
use sailplan_cost_model::{CostModel, Work};
use sailplan_ir::{
    Attachment, Bytes, BytesPerSecond, CollectiveKind, DType, DomainId, FlopsPerSecond, Layout, Picoseconds, Role,
    SailId,
};
use std::rc::Rc;

/// Groups of one size, by the most that one of them has.
#[derive(Clone, Debug)]
pub(crate) struct Company {
    /// Neighbours in the link order; links are alike, so that others as many cost the same.
    pub(crate) group: Vec<SailId>,
    /// The sum of memory rates.
    pub(crate) memory: BytesPerSecond,
    /// The highest memory rate of a card.
    pub(crate) fastest: BytesPerSecond,
    /// The highest compute rate of a card in any type, where all are known.
    pub(crate) arithmetic: Option<FlopsPerSecond>,
    /// The shortest start-up.
    pub(crate) overhead: Picoseconds,
}

impl Company {
    /// Becomes what is no worse than either.
    pub(crate) fn join(&mut self, other: &Self) {
        self.memory = self.memory.max(other.memory);
        self.fastest = self.fastest.max(other.fastest);
        self.arithmetic = self.arithmetic.zip(other.arithmetic).map(|(one, other)| one.max(other));
        self.overhead = self.overhead.min(other.overhead);
    }

    /// A kernel of which all cards together do this much: the slowest of them takes as long as if all were done at once.
    fn together(&self, work: Work) -> Picoseconds {
        let memory = self.memory.time(work.bytes);
        let each = work.flops / self.group.len() as u64;
        memory.max(self.arithmetic(each)) + self.overhead
    }

    /// A kernel of which some card does at least this much.
    fn alone(&self, work: Work) -> Picoseconds {
        self.fastest.time(work.bytes).max(self.arithmetic(work.flops)) + self.overhead
    }

    fn arithmetic(&self, flops: u64) -> Picoseconds {
        self.arithmetic.map_or(Picoseconds(0), |rate| rate.time(flops))
    }
}

/// The least prices of all ways in both phases.
pub(crate) fn floors(choices: &Choices, rates: &Rates, costs: &CostModel<'_>, company: &Company) -> [PriceTable; 2] {
    let floor = Floor { choices, rates, costs, company };
    [0, 1].map(|phase| {
        let mut times = Vec::with_capacity(rates.kernels[phase].len());
        for (class, entry) in choices.classes.iter().enumerate() {
            for way in &entry.ways {
                times.push(floor.price(phase, (class, times.len()), way));
            }
        }
        times.extend((0..rates.joint.bundles.len()).map(|bundle| floor.joint(phase, bundle)));
        PriceTable { times, starts: Rc::clone(&rates.starts) }
    })
}

struct Floor<'a> {
    choices: &'a Choices,
    rates: &'a Rates,
    costs: &'a CostModel<'a>,
    company: &'a Company,
}

impl Floor<'_> {
    fn price(&self, phase: usize, (class, number): (usize, usize), way: &Way) -> Option<Picoseconds> {
        let ranks = self.company.group.len() as u64;
        let fact = self.choices.classes[class].fact;
        if ranks < 2 && matches!(fact.layout, Layout::Partial | Layout::Dispatched | Layout::Routed) {
            return None;
        }
        let mut whole = self.rates.classes[class].whole[phase];
        let kind = match way.action {
            WayAction::Compute(_) | WayAction::Slice => return self.kernel(phase, (class, number), way),
            WayAction::Leaf => return Some(self.leaf(phase, class)),
            WayAction::Collect => return Some(self.collect(phase, way.inputs[0])),
            WayAction::AllReduce => CollectiveKind::AllReduce,
            WayAction::ReduceScatter => CollectiveKind::ReduceScatter,
            WayAction::MergeScatter => {
                whole = self.choices.template.graph.unmerged(fact.tensor, whole);
                CollectiveKind::ReduceScatter
            }
            WayAction::AllGather => CollectiveKind::AllGather,
            WayAction::Dispatch => CollectiveKind::Dispatch,
            WayAction::Combine => CollectiveKind::Combine,
        };
        let on_wire = |elements: u64| Bytes(elements.saturating_mul(self.costs.request.wire.bytes()));
        let part = if kind.routed() { self.block(phase, class, way)? } else { whole.div_ceil(ranks) };
        let (part, whole) = (on_wire(part), on_wire(whole));
        let best = self.costs.links.cheapest(kind, &self.company.group, part, whole);
        best.map(|(_, time)| time + self.company.overhead)
    }

    /// Elements of the largest block that goes to experts or back: some card has no less than an even share.
    fn block(&self, phase: usize, class: usize, way: &Way) -> Option<u64> {
        let (ranks, domains) = (self.company.group.len() as u64, &self.choices.template.domains);
        let extents = self.costs.extents(PHASES[phase]);
        let even = |domain: DomainId| match domains.is_rows(domain) {
            true => extents.tokens.div_ceil(ranks),
            false => domains.units(domain).div_ceil(ranks),
        };
        block(self.choices, (class, way), &even, extents)
    }

    fn kernel(&self, phase: usize, (class, number): (usize, usize), way: &Way) -> Option<Picoseconds> {
        let kernel = self.rates.kernels[phase][number].as_ref()?;
        let ranks = self.company.group.len() as u64;
        let domains = &self.choices.template.domains;
        let all = |domain: DomainId| match domains.is_rows(domain) {
            true => self.costs.extents(PHASES[phase]).tokens,
            false => domains.units(domain),
        };
        let work =
            |units: &dyn Fn(DomainId) -> u64| work_of(self.choices, (class, way), units, (self.costs, PHASES[phase])).0;
        if kernel.domain.is_some_and(|domain| domains.is_positions(DomainId(domain as u32))) {
            return Some(self.company.alone(work(&|_| ranks)));
        }
        let units = kernel.domain.map_or(0, |domain| all(DomainId(domain as u32)));
        // What each rank has is rounded down.
        let sum = |all: u64, none: u64| (all + none * (ranks - 1)).saturating_sub(ranks);
        let together = |all: Work, none: Work| {
            let bytes = Bytes(sum(all.bytes.0, none.bytes.0));
            self.company.together(Work { bytes, flops: sum(all.flops, none.flops) })
        };
        if let Some(line) = &kernel.line {
            return Some(together(line.work(units), line.none));
        }
        // Some rank has no less than an even share, and work never falls with the share.
        let share = units.div_ceil(ranks);
        let Some(cover) = kernel.cover else {
            // Bytes of a mixture are the lesser of a line and what all tokens take, so shares never read less than the whole.
            let read = |units: u64| Work { flops: 0, ..work(&|_| units) };
            return Some(together(read(units), read(0)).max(self.company.alone(work(&|_| share))));
        };
        let covering = share.saturating_mul(domains.units(DomainId(cover as u32))) / units.max(1);
        Some(self.company.alone(work(&|domain| if domain.index() == cover { covering } else { share })))
    }

    /// What a rank has is rounded down for each product.
    fn joint(&self, phase: usize, bundle: usize) -> Option<Picoseconds> {
        let ranks = self.company.group.len() as u64;
        let domains = &self.choices.template.domains;
        let (moved, whole) = self.rates.joint_work(phase, bundle, |domain| domains.units(DomainId(domain as u32)))?;
        let (nothing, empty) = self.rates.joint_work(phase, bundle, |_| 0)?;
        let rounded = ranks * self.rates.joint.bundles[bundle].ways.len() as u64;
        let sum = |all: u64, none: u64| (all + none * (ranks - 1)).saturating_sub(rounded);
        let flops = |types: &[(u64, DType)]| types.iter().fold(0, |sum: u64, one| sum.saturating_add(one.0));
        let work = Work { bytes: Bytes(sum(moved.0, nothing.0)), flops: sum(flops(&whole), flops(&empty)) };
        Some(self.company.together(work))
    }

    /// Token ids come to every rank; everything else is there already.
    fn leaf(&self, phase: usize, class: usize) -> Picoseconds {
        let tensor = &self.choices.template.graph[self.choices.classes[class].fact.tensor];
        if tensor.role != Role::Tokens {
            return Picoseconds(0);
        }
        let bytes = tensor.bytes(self.costs.extents(PHASES[phase]));
        self.costs.host(&vec![bytes; self.company.group.len()])
    }

    /// All of it comes to the host once, over one link or over one for each rank.
    fn collect(&self, phase: usize, from: usize) -> Picoseconds {
        let tensor = &self.choices.template.graph[self.choices.classes[from].fact.tensor];
        let bytes = tensor.bytes(self.costs.extents(PHASES[phase]));
        match self.costs.fleet.host.attachment {
            Attachment::Shared => self.costs.host(&[bytes]),
            Attachment::PerSail => self.costs.host(&[Bytes(bytes.0 / self.company.group.len() as u64)]),
        }
    }
}
