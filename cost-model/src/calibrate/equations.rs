//! What a sample says about the figures of a fleet: fixed × (time of one message, kernel or exchange) + bytes × (time of
//! one byte) = measured time. Both counts come from the fleet's own prices, asked with figures of 1 ps and 1 ps a byte:
//! there is no second formula.

use super::samples::{Measurements, Sample};
use crate::CostModel;
use sailplan_ir::{
    At, Bytes, BytesPerSecond, Compute, Diagnostic, Diagnostics, Fleet, Link, Links, Picoseconds, Request, Verified,
    Verify,
};

/// A pair of figures that is fitted together: a fixed time and a rate. Blocks share no unknown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Block {
    /// The links of one class.
    Links(usize),
    /// One kind of card.
    Kind(String),
    /// The host.
    Host,
}

/// One sample as a linear equation.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Equation {
    pub(super) block: Block,
    /// How many fixed times.
    pub(super) fixed: u64,
    /// How many bytes follow one another on the busiest medium.
    pub(super) bytes: u64,
}

/// Links of equal figures, by the index of the first of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkClass {
    pub(super) rate: BytesPerSecond,
    pub(super) latency: Picoseconds,
    pub(super) first: usize,
}

/// More kinds of link than this are not told apart by measuring.
const MOST_CLASSES: usize = 16;
/// 1 ps a byte.
const UNIT_RATE: BytesPerSecond = BytesPerSecond(1_000_000_000_000);
const UNIT: Picoseconds = Picoseconds(1);

/// All links of a fleet, to be changed.
pub(super) fn links_of(links: &mut Links) -> Vec<&mut Link> {
    match links {
        Links::Mesh(link) | Links::Ring(link) | Links::Line(link) | Links::Star(link) => vec![link],
        Links::Edges(edges) => edges.iter_mut().map(|edge| &mut edge.link).collect(),
    }
}

impl LinkClass {
    pub(super) fn has(&self, link: &Link) -> bool {
        (self.rate, self.latency) == (link.payload_rate(), link.message_latency())
    }

    /// The classes of a fleet in the order of their first links.
    pub(super) fn all(fleet: &Fleet) -> Vec<Self> {
        let mut classes: Vec<Self> = Vec::new();
        for (first, link) in links_of(&mut fleet.links.clone()).into_iter().enumerate() {
            if !classes.iter().any(|class| class.has(link)) {
                classes.push(Self { rate: link.payload_rate(), latency: link.message_latency(), first });
            }
        }
        classes
    }
}

/// One equation for each sample.
pub(super) fn equations(
    fleet: &Verified<Fleet>,
    measurements: &Measurements<'_>,
    samples: &[Sample],
) -> Result<Vec<Equation>, Diagnostics> {
    let classes = LinkClass::all(fleet);
    if classes.len() > MOST_CLASSES {
        let message = format!(
            "links: {} different kinds of link are more than the {MOST_CLASSES} that can be fitted",
            classes.len()
        );
        return Err(Diagnostic::new(message).hint("give links that are built alike the same figures").into());
    }
    let request = Request::default().verify()?;
    let counted = classes.iter().map(|class| counting(fleet, class)).collect::<Result<Vec<_>, _>>()?;
    let counters: Vec<CostModel<'_>> = counted.iter().map(|fleet| CostModel::new(fleet, &request)).collect();
    let (mut equations, mut problems) = (Vec::new(), Diagnostics::default());
    for sample in samples {
        match equation(&counters, sample) {
            Some(equation) => equations.push(equation),
            None => problems.push(unlike(sample, measurements.file)),
        }
    }
    problems.into_result(equations)
}

/// `None` when a collective crosses links of several classes: the slower of two is no linear function of their figures.
fn equation(counters: &[CostModel<'_>], sample: &Sample) -> Option<Equation> {
    use super::samples::Operation::{Collective, Host, Kernel, Message};
    let count = |costs: &CostModel<'_>, block| {
        let fixed = sample.price(costs, Bytes(0));
        Equation { block, fixed: fixed.0, bytes: (sample.price(costs, sample.bytes) - fixed).0 }
    };
    match &sample.operation {
        Kernel { kind, .. } => Some(count(counters.first()?, Block::Kind(kind.clone()))),
        Host { .. } => Some(count(counters.first()?, Block::Host)),
        Collective { .. } | Message { .. } => {
            let crossed = |costs: &CostModel<'_>| sample.price(costs, Bytes(0)) > Picoseconds(0);
            let mut crossed = (0..counters.len()).filter(|&class| crossed(&counters[class]));
            let class = crossed.next()?;
            crossed.next().is_none().then(|| count(&counters[class], Block::Links(class)))
        }
    }
}

fn unlike(sample: &Sample, file: &str) -> Diagnostic {
    let message = format!("{} over {} crosses links of different figures", sample.operation, sample.operation.group());
    let problem = Diagnostic::new(message).at(file, At::Span(sample.span.clone()));
    problem.hint(
        "its time is not linear in one latency and one rate: measure `message` between neighbours on each kind of link",
    )
}

/// The fleet with figures of 1 ps and 1 ps a byte; messages take a fixed time on the links of one class only.
fn counting(fleet: &Verified<Fleet>, class: &LinkClass) -> Result<Verified<Fleet>, Diagnostics> {
    let mut unit = Fleet::clone(fleet);
    for link in links_of(&mut unit.links) {
        link.latency = if class.has(link) { UNIT } else { Picoseconds(0) };
        (link.rate, link.frame) = (Some(UNIT_RATE), None);
    }
    for kind in unit.kinds.values_mut() {
        (kind.bandwidth, kind.overhead, kind.compute) = (UNIT_RATE, UNIT, Compute::Unknown);
    }
    (unit.host.rate, unit.host.latency) = (UNIT_RATE, UNIT);
    unit.verify()
}
