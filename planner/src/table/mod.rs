//! Prices of all ways of a class on a group, fast: what a kernel moves and computes is affine in its rank's share, so it is
//! read off twice for each class and phase, and a group only costs a division for each way. Operators that are not affine
//! are worked out for each share. A test holds every entry equal to `Site::price`.

mod floor;
mod joint;

pub(crate) use floor::{Company, floors};
pub(crate) use joint::JointWork;

use crate::joint::Kernels;
use crate::price::{Site, block, local};
use crate::saturate::{Choices, Way, WayAction};
use crate::shares::coarsest;
use crate::trellis::Made;
use sailplan_cost_model::{CostModel, Phase, Work, affine, work};
use sailplan_ir::{Bytes, CollectiveKind, DType, DomainId, Layout, Partition, Picoseconds, Role, SailId};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Both phases, in the order of everything that comes in pairs.
pub(crate) const PHASES: [Phase; 2] = [Phase::Prefill, Phase::Decode];

/// Time of every way of every class in one phase, and behind them of every joint kernel; `None` where the group cannot do it.
#[derive(Clone, Debug)]
pub(crate) struct PriceTable {
    times: Vec<Option<Picoseconds>>,
    /// Where each class starts, and where the last one ends.
    starts: Rc<[usize]>,
}

impl PriceTable {
    pub(crate) fn at(&self, (class, way): Made) -> Option<Picoseconds> {
        self.times[self.starts[class] + way]
    }

    /// Of a kernel by its number.
    pub(crate) fn time(&self, kernel: usize) -> Option<Picoseconds> {
        self.times[kernel]
    }

    /// The ways of a class.
    pub(crate) fn of(&self, class: usize) -> &[Option<Picoseconds>] {
        &self.times[self.starts[class]..self.starts[class + 1]]
    }

    /// Without the ways that are forbidden, none of which is a product.
    pub(crate) fn without(mut self, choices: &Choices, forbidden: impl Fn(&Way) -> bool) -> Self {
        let ways = choices.classes.iter().flat_map(|class| &class.ways);
        for (time, way) in self.times.iter_mut().zip(ways) {
            if forbidden(way) {
                *time = None;
            }
        }
        self
    }

    /// For every way the least time of several tables, those that `tables` names for its domain.
    pub(crate) fn least<'a>(
        domains: &[Option<usize>],
        first: &Self,
        tables: impl Fn(usize) -> &'a [usize],
        all: impl Fn(usize) -> &'a Self,
    ) -> Self {
        let one = |(way, domain): (usize, &Option<usize>)| match *domain {
            None => first.times[way],
            Some(domain) => tables(domain).iter().filter_map(|&table| all(table).times[way]).min(),
        };
        Self { times: domains.iter().enumerate().map(one).collect(), starts: Rc::clone(&first.starts) }
    }
}

/// What prices depend on, by class.
pub(crate) struct Rates {
    classes: Vec<ClassRate>,
    /// By phase and way, class after class.
    kernels: [Vec<Option<Kernel>>; 2],
    pub(crate) joint: Kernels,
    /// By phase and joint kernel.
    readings: [Vec<joint::Reading>; 2],
    starts: Rc<[usize]>,
}

struct ClassRate {
    /// The domain of a sharded class, and at multiples of how many units its cuts must lie.
    cut: Option<(usize, u64)>,
    /// Elements by phase: of the whole tensor, and of one unit, or row, of a sharded one.
    whole: [u64; 2],
    unit: [u64; 2],
}

/// A kernel's work as a function of the units, or rows, that a rank has. It never falls when the share grows.
struct Kernel {
    domain: Option<usize>,
    /// The domain that covers it, where the kernel depends on that too.
    cover: Option<usize>,
    dtype: DType,
    /// `None` where it must be worked out.
    line: Option<Line>,
}

/// `none + step · units / granule`.
struct Line {
    none: Work,
    step: Work,
    granule: u64,
}

impl Line {
    fn work(&self, units: u64) -> Work {
        let part = |step: u64| match self.granule {
            1 => step.saturating_mul(units),
            granule => (u128::from(step) * u128::from(units) / u128::from(granule)).try_into().unwrap_or(u64::MAX),
        };
        let bytes = self.none.bytes + Bytes(part(self.step.bytes.0));
        Work { bytes, flops: self.none.flops.saturating_add(part(self.step.flops)) }
    }
}

impl Rates {
    pub(crate) fn new(choices: &Choices, costs: &CostModel<'_>) -> Self {
        let granules = coarsest(&choices.template.graph, &choices.template.domains);
        let kernels = PHASES.map(|phase| {
            let granules = &granules;
            let of = move |class: usize, way: &Way| kernel(choices, class, way, (costs, phase), granules);
            let classes = choices.classes.iter().enumerate();
            classes.flat_map(|(class, entry)| entry.ways.iter().map(move |way| of(class, way))).collect()
        });
        let classes = (0..choices.classes.len()).map(|class| class_rate(choices, class, costs)).collect();
        let joint = Kernels::of(choices);
        let readings = joint::readings(choices, &joint.bundles, costs, &granules);
        let starts = (0..choices.classes.len()).map(|class| joint.number((class, 0))).chain([joint.ways()]);
        Self { classes, kernels, readings, starts: starts.collect(), joint }
    }
}

fn class_rate(choices: &Choices, class: usize, costs: &CostModel<'_>) -> ClassRate {
    let fact = choices.classes[class].fact;
    let (graph, domains) = (&choices.template.graph, &choices.template.domains);
    let elements = |layout: Layout, units: u64| {
        PHASES.map(|phase| local(&choices.template, (fact.tensor, layout), units, costs.extents(phase)).elements())
    };
    let cut = match fact.layout {
        Layout::Sharded(axis) => {
            let per_unit = domains.elements_per_unit(graph, fact.tensor, axis);
            let contiguous = usize::from(axis) + 1 == graph[fact.tensor].axes.len();
            let block = if contiguous { graph[fact.tensor].dtype.block() } else { 1 };
            // block | per_unit · units exactly when (lcm / per_unit) | units.
            let border = sailplan_ir::lcm(block, per_unit.max(1)) / per_unit.max(1);
            Some((domains.domain(fact.tensor, axis).index(), border))
        }
        _ => None,
    };
    ClassRate { cut, whole: elements(Layout::Whole, 0), unit: elements(fact.layout, 1) }
}

fn kernel(
    choices: &Choices,
    class: usize,
    way: &Way,
    (costs, phase): (&CostModel<'_>, Phase),
    granules: &[u64],
) -> Option<Kernel> {
    if !matches!(way.action, WayAction::Compute(_) | WayAction::Slice) {
        return None;
    }
    let cut = cut(choices, class, way);
    let domain = cut.first().map(|domain| domain.index());
    let cover = cut.get(1).map(|domain| domain.index());
    let granule = domain.map_or(1, |domain| granules[domain]);
    let work = |units: u64| work_of(choices, (class, way), &|_| units, (costs, phase));
    let (none, all) = (work(0), work(granule));
    let bytes = Bytes(all.0.bytes.0.saturating_sub(none.0.bytes.0));
    let step = Work { bytes, flops: all.0.flops.saturating_sub(none.0.flops) };
    let whole = step == Work::default();
    let line = Line { none: none.0, step, granule: if whole { 1 } else { granule } };
    let affine = cover.is_none() && is_affine(choices, way);
    Some(Kernel { domain, cover, dtype: none.1, line: affine.then_some(line) })
}

fn is_affine(choices: &Choices, way: &Way) -> bool {
    match way.action {
        WayAction::Compute(node) => affine(choices.template.graph[node].op) && positions(choices, way).is_none(),
        _ => true,
    }
}

/// The domain of the positions that a way cuts.
fn positions(choices: &Choices, way: &Way) -> Option<DomainId> {
    let mut cut = way.inputs.iter().filter_map(|&input| choices.domain(input));
    cut.find(|&domain| choices.template.domains.is_positions(domain))
}

/// Work of a kernel on a rank with so many units of each domain, and the type that decides its compute rate.
pub(crate) fn work_of(
    choices: &Choices,
    (class, way): (usize, &Way),
    units: &dyn Fn(DomainId) -> u64,
    (costs, phase): (&CostModel<'_>, Phase),
) -> (Work, DType) {
    let mut extents = match way.action {
        WayAction::Compute(node) => costs.extents_of(phase, choices.template.graph[node].op),
        _ => costs.extents(phase),
    };
    if let (WayAction::Compute(node), Some(dealt)) = (way.action, positions(choices, way))
        && choices.template.graph[node].op.appends()
    {
        // Of the new rows each rank reads those that it keeps.
        extents.tokens = extents.tokens.div_ceil(units(dealt).max(1));
    }
    let local = |class: usize| {
        let fact = choices.classes[class].fact;
        let units = choices.domain(class).map_or(0, units);
        local(&choices.template, (fact.tensor, fact.layout), units, extents)
    };
    let made = local(class);
    match way.action {
        WayAction::Compute(node) => {
            let inputs: Vec<_> = way.inputs.iter().map(|&input| local(input)).collect();
            let dtype = inputs.last().map_or(DType::F32, |input| input.dtype);
            (work(choices.template.graph[node].op, &inputs, &made), dtype)
        }
        _ => (Work { bytes: made.bytes() + made.bytes(), flops: 0 }, DType::F32),
    }
}

/// Collectives of one group that were priced already.
#[derive(Default)]
pub(crate) struct Exchanges(Vec<(Exchange, Option<Picoseconds>)>);

/// Kind, largest part and whole, in elements.
type Exchange = (CollectiveKind, u64, u64);

/// A card of each kind in a group, with the largest share that a card of that kind has: the slowest is among them.
type Slowest = Vec<(SailId, u64)>;

/// Cards of a group with their shares of a domain and of one that covers it; each kind with each pair once.
type Pairs = BTreeSet<(u64, u64, u16, SailId)>;

struct Pricing<'a> {
    site: &'a Site<'a>,
    choices: &'a Choices,
    rates: &'a Rates,
    /// By phase and domain; the last one is for kernels that cut none.
    slowest: [Vec<Slowest>; 2],
    /// By domain that covers another, its shares beside the other's.
    pairs: Vec<Pairs>,
    /// By domain, where its cuts lie; 0 when it is not cut.
    borders: Vec<u64>,
    overhead: Picoseconds,
}

/// The prices of a group in both phases, with what it cannot do left out.
pub(crate) fn price_tables(
    choices: &Choices,
    rates: &Rates,
    site: &Site<'_>,
    exchanges: &mut Exchanges,
) -> [PriceTable; 2] {
    prices_of(choices, rates, (site, &|_| true), exchanges)
}

/// As `price_tables`, of those kernels only, by number, that are wanted.
pub(crate) fn prices_of(
    choices: &Choices,
    rates: &Rates,
    (site, wanted): (&Site<'_>, &dyn Fn(usize) -> bool),
    exchanges: &mut Exchanges,
) -> [PriceTable; 2] {
    let border = |partition: &Partition| if partition.divides() { partition.border() } else { 0 };
    let pricing = Pricing {
        site,
        choices,
        rates,
        slowest: PHASES.map(|phase| slowest(site, phase)),
        pairs: pairs(choices, site),
        borders: site.partitions.iter().map(border).collect(),
        overhead: site.costs.overhead(site.group),
    };
    [0, 1].map(|phase| {
        let legal: Vec<bool> = (0..choices.classes.len()).map(|class| pricing.legal(phase, class)).collect();
        let mut times = Vec::with_capacity(rates.kernels[phase].len());
        for (class, entry) in choices.classes.iter().enumerate() {
            for way in &entry.ways {
                let possible = wanted(times.len()) && legal[class] && way.inputs.iter().all(|&input| legal[input]);
                let price = possible.then(|| pricing.price(phase, (class, times.len()), way, exchanges));
                times.push(price.flatten());
            }
        }
        for (index, bundle) in rates.joint.bundles.iter().enumerate() {
            let possible = wanted(times.len()) && pricing.legal_together(bundle, &legal);
            times.push(possible.then(|| pricing.joint(phase, index)).flatten());
        }
        PriceTable { times, starts: Rc::clone(&rates.starts) }
    })
}

fn slowest(site: &Site<'_>, phase: Phase) -> Vec<Slowest> {
    let tokens = site.costs.extents(phase).tokens;
    let mut kinds: Vec<(u16, SailId, Vec<u64>)> = Vec::new();
    for &rank in &site.sorts {
        let (sail, number) = (site.group[rank], site.costs.kind_number(site.group[rank]));
        let shares = || (0..site.partitions.len()).map(|index| site.share(DomainId(index as u32), rank, tokens));
        match kinds.iter_mut().find(|(known, ..)| *known == number) {
            Some((_, _, most)) => most.iter_mut().zip(shares()).for_each(|(most, share)| *most = share.max(*most)),
            None => kinds.push((number, sail, shares().collect())),
        }
    }
    let domains = 0..site.partitions.len();
    let by_domain = domains.map(|domain| kinds.iter().map(|(_, sail, most)| (*sail, most[domain])).collect());
    by_domain.chain([kinds.iter().map(|&(_, sail, _)| (sail, 0)).collect()]).collect()
}

fn pairs(choices: &Choices, site: &Site<'_>) -> Vec<Pairs> {
    let units = |domain: DomainId, rank: usize| site.partitions[domain.index()].share(rank);
    let of = |cover: usize| {
        let cover = DomainId(cover as u32);
        let Some(lead) = choices.template.domains.lead(cover) else { return Pairs::new() };
        let pair = |&rank: &usize| {
            let sail = site.group[rank];
            (units(lead, rank), units(cover, rank), site.costs.kind_number(sail), sail)
        };
        let mut pairs: Vec<_> = site.sorts.iter().map(pair).collect();
        pairs.sort_unstable();
        pairs.dedup_by_key(|pair| (pair.0, pair.1, pair.2));
        pairs.into_iter().collect()
    };
    (0..site.partitions.len()).map(of).collect()
}

/// The domains that a way cuts, one that is covered before the one that covers it.
fn cut(choices: &Choices, class: usize, way: &Way) -> Vec<DomainId> {
    let classes = std::iter::once(class).chain(way.inputs.iter().copied());
    let mut cut: Vec<DomainId> = classes.filter_map(|class| choices.domain(class)).collect();
    cut.sort_by_key(|&domain| (choices.template.domains.lead(domain).is_some(), domain));
    cut.dedup();
    cut
}

impl Pricing<'_> {
    /// Whether a class can be held: a cut must divide its domain, or the rows of the phase, and, on a weight, fall on block
    /// borders.
    fn legal(&self, phase: usize, class: usize) -> bool {
        let domains = &self.choices.template.domains;
        match self.rates.classes[class].cut {
            Some((domain, _)) if domains.is_rows(DomainId(domain as u32)) => {
                let tokens = self.site.costs.extents(PHASES[phase]).tokens;
                self.slowest[phase][domain].iter().all(|&(_, share)| share < tokens)
            }
            Some((domain, _)) if domains.is_positions(DomainId(domain as u32)) => {
                self.choices.by_positions(self.site.group.len())
            }
            Some((domain, border)) => self.borders[domain] > 0 && self.borders[domain].is_multiple_of(border),
            None => match self.choices.classes[class].fact.layout {
                Layout::Partial | Layout::Dispatched | Layout::Routed => self.site.group.len() > 1,
                Layout::Unmerged => self.choices.by_positions(self.site.group.len()),
                _ => true,
            },
        }
    }

    fn price(
        &self,
        phase: usize,
        (class, number): (usize, usize),
        way: &Way,
        exchanges: &mut Exchanges,
    ) -> Option<Picoseconds> {
        let rate = &self.rates.classes[class];
        let cut = |class: usize| self.part(phase, class);
        let ranks = self.site.group.len() as u64;
        let exchange = match way.action {
            WayAction::Compute(_) | WayAction::Slice => return self.kernel(phase, (class, number), way),
            WayAction::Leaf
                if self.choices.template.graph[self.choices.classes[class].fact.tensor].role != Role::Tokens =>
            {
                return Some(Picoseconds(0));
            }
            WayAction::Leaf | WayAction::Collect => {
                return Some(self.site.price(self.choices, class, way, PHASES[phase]).price.time);
            }
            WayAction::ReduceScatter | WayAction::MergeScatter if !self.disjoint(class) => return None,
            WayAction::AllGather if !self.disjoint(way.inputs[0]) => return None,
            WayAction::AllReduce => (CollectiveKind::AllReduce, rate.whole[phase].div_ceil(ranks), rate.whole[phase]),
            WayAction::ReduceScatter => (CollectiveKind::ReduceScatter, cut(class), rate.whole[phase]),
            WayAction::MergeScatter => {
                let tensor = self.choices.classes[class].fact.tensor;
                let wide = |elements| self.choices.template.graph.unmerged(tensor, elements);
                (CollectiveKind::ReduceScatter, wide(cut(class)), wide(rate.whole[phase]))
            }
            WayAction::AllGather => (CollectiveKind::AllGather, cut(way.inputs[0]), rate.whole[phase]),
            WayAction::Dispatch => (CollectiveKind::Dispatch, self.block(phase, class, way)?, rate.whole[phase]),
            WayAction::Combine => (CollectiveKind::Combine, self.block(phase, class, way)?, rate.whole[phase]),
        };
        self.exchange(exchange, exchanges).map(|time| time + self.overhead)
    }

    /// Whether the slices of a class have nothing in common.
    fn disjoint(&self, class: usize) -> bool {
        let cut = self.rates.classes[class].cut;
        cut.is_none_or(|(domain, _)| self.site.partitions[domain].disjoint())
    }

    /// Elements of the largest block that goes to experts or back.
    fn block(&self, phase: usize, class: usize, way: &Way) -> Option<u64> {
        let most = |domain: DomainId| {
            let shares = self.slowest[phase][domain.index()].iter().map(|&(_, share)| share);
            shares.max().unwrap_or(0)
        };
        block(self.choices, (class, way), &most, self.site.costs.extents(PHASES[phase]))
    }

    /// Elements of the largest slice.
    fn part(&self, phase: usize, class: usize) -> u64 {
        let rate = &self.rates.classes[class];
        let most = rate.cut.and_then(|(domain, _)| self.slowest[phase][domain].iter().map(|&(_, share)| share).max());
        rate.unit[phase].saturating_mul(most.unwrap_or(0))
    }

    fn kernel(&self, phase: usize, (class, number): (usize, usize), way: &Way) -> Option<Picoseconds> {
        let kernel = self.rates.kernels[phase][number].as_ref()?;
        let slowest = &self.slowest[phase];
        let cards = &slowest[kernel.domain.unwrap_or(slowest.len() - 1)];
        let work = |units: &dyn Fn(DomainId) -> u64| {
            work_of(self.choices, (class, way), units, (self.site.costs, PHASES[phase])).0
        };
        if let Some(cover) = kernel.cover {
            let work = |&(units, covering, _, sail): &(u64, u64, u16, SailId)| {
                (sail, work(&|domain: DomainId| if domain.index() == cover { covering } else { units }))
            };
            return Some(self.site.costs.slowest(self.pairs[cover].iter().map(work), kernel.dtype));
        }
        let work = |units: u64| match &kernel.line {
            Some(line) => line.work(units),
            None => work(&|_| units),
        };
        Some(self.site.costs.slowest(cards.iter().map(|&(sail, share)| (sail, work(share))), kernel.dtype))
    }

    fn exchange(&self, exchange: Exchange, known: &mut Exchanges) -> Option<Picoseconds> {
        if let Some(&(_, time)) = known.0.iter().find(|(other, _)| *other == exchange) {
            return time;
        }
        let costs = self.site.costs;
        let (kind, part, whole) = exchange;
        let on_wire = |elements: u64| Bytes(elements.saturating_mul(costs.request.wire.bytes()));
        let time = costs.links.cheapest(kind, self.site.group, on_wire(part), on_wire(whole)).map(|(_, time)| time);
        known.0.push((exchange, time));
        time
    }
}
