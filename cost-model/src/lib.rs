//! What things take: kernels on a card's memory, collectives and messages on links, the host's link, and a bound that
//! no plan can beat. Pure functions of a verified fleet and a request; every coefficient comes from the fleet file.

mod bound;
mod calibrate;
mod experts;
mod fleet_file;
mod kernel;
mod link_report;
mod links;
mod load;
mod sustain;
mod table;
mod tile_heuristic;

pub use bound::lower_bound;
pub use calibrate::{
    Calibration, Figure, Loss, Measurements, Operation, Regret, Residual, Sample, Value, calibrate, calibrated_text,
};
pub use fleet_file::{parse_fleet, shipped_fleet, shipped_fleets};
pub use kernel::{Local, Work, affine, work};
pub use link_report::{AllReduceRow, LinkReport, Saturation, Topology};
pub use links::Collectives;
pub use sustain::{MustSustain, must_sustain};
pub use table::TableRow;
pub use tile_heuristic::{Counting, Tile, TileFleet, TileStrategy, pick_strategy, tile_costs};

use sailplan_ir::{Bytes, DType, Extents, Fleet, Op, Picoseconds, Request, Resources, SailId, SailKind, Verified};
use std::rc::Rc;

/// Prices for one fleet and one request.
pub struct CostModel<'a> {
    /// The fleet.
    pub fleet: &'a Verified<Fleet>,
    /// The request.
    pub request: &'a Verified<Request>,
    /// Links and collectives.
    pub links: Rc<Collectives>,
    /// For each card, its kind and the number of that kind.
    kinds: Vec<(u16, &'a SailKind)>,
}

/// The program that is priced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// A chunk of the prompt.
    Prefill,
    /// One token of each sequence.
    Decode,
}

impl<'a> CostModel<'a> {
    /// Prepares routes; collectives are priced on demand and remembered.
    #[must_use]
    pub fn new(fleet: &'a Verified<Fleet>, request: &'a Verified<Request>) -> Self {
        let number = |name: &str| fleet.kinds.keys().position(|known| known == name).unwrap_or(0) as u16;
        let kinds = fleet.ids().map(|sail| (number(fleet.kind_name(sail)), fleet.kind(sail))).collect();
        Self { fleet, request, links: Rc::new(Collectives::new(fleet)), kinds }
    }

    /// The same fleet for another request; what is known of its links stays known.
    #[must_use]
    pub fn for_request<'b>(&'b self, request: &'b Verified<Request>) -> CostModel<'b> {
        CostModel { fleet: self.fleet, request, links: Rc::clone(&self.links), kinds: self.kinds.clone() }
    }

    /// The kind of a card.
    #[must_use]
    pub fn kind(&self, sail: SailId) -> &'a SailKind {
        self.kinds[sail.index()].1
    }

    /// The number of a card's kind: equal for cards of one kind.
    #[must_use]
    pub fn kind_number(&self, sail: SailId) -> u16 {
        self.kinds[sail.index()].0
    }

    /// What the symbolic axes stand for when a phase is priced.
    #[must_use]
    pub fn extents(&self, phase: Phase) -> Extents {
        match phase {
            Phase::Prefill => self.request.average_prefill(),
            Phase::Decode => self.request.average_decode(),
        }
    }

    /// [`Self::extents`] as an operator sees them: attention through a window reads no position before it.
    #[must_use]
    pub fn extents_of(&self, phase: Phase, op: Op) -> Extents {
        match (op.window(), phase) {
            (None, _) => self.extents(phase),
            (Some(window), Phase::Prefill) => self.request.windowed_prefill(window),
            (Some(window), Phase::Decode) => self.request.windowed_decode(window),
        }
    }

    /// `max(bytes / DDR rate, flops / compute rate) + overhead` on one card; the larger term takes the time.
    #[must_use]
    pub fn kernel(&self, sail: SailId, work: Work, dtype: DType) -> Resources {
        self.joint(sail, work.bytes, &[(work.flops, dtype)])
    }

    /// [`Self::kernel`] of one that computes in several types, each at most once here: what it moves, and its operations in
    /// each type, which follow each other.
    #[must_use]
    pub fn joint(&self, sail: SailId, bytes: Bytes, flops: &[(u64, DType)]) -> Resources {
        let kind = self.kind(sail);
        let memory = kind.bandwidth.time(bytes);
        let one = |&(flops, dtype): &(u64, DType)| kind.compute.rate(dtype).map(|rate| rate.time(flops));
        let arithmetic: Picoseconds = flops.iter().filter_map(one).sum();
        if memory >= arithmetic {
            Resources { ddr: memory + kind.overhead, ..Resources::default() }
        } else {
            Resources { compute: arithmetic, ddr: kind.overhead, ..Resources::default() }
        }
    }

    /// Time of the slowest of several cards with a kernel each, as [`Self::kernel`] has it. Only those near the largest
    /// estimate are computed exactly.
    #[must_use]
    pub fn slowest(&self, works: impl Iterator<Item = (SailId, Work)> + Clone, dtype: DType) -> Picoseconds {
        let estimate = |(sail, work): (SailId, Work)| {
            let (kind, memory) = (self.kind(sail), work.bytes.0 as f64 / self.kind(sail).bandwidth.0 as f64);
            let compute = kind.compute.rate(dtype).map_or(0.0, |rate| work.flops as f64 / rate.0 as f64);
            memory.max(compute) + kind.overhead.0 as f64 / 1e12
        };
        let most = works.clone().map(estimate).fold(0.0, f64::max);
        let close = works.filter(|&work| estimate(work) >= most * (1.0 - 1e-9));
        close.map(|(sail, work)| self.kernel(sail, work, dtype).total()).max().unwrap_or_default()
    }

    /// Fixed time of one instruction on the slowest card of a group.
    #[must_use]
    pub fn overhead(&self, group: &[SailId]) -> Picoseconds {
        group.iter().map(|&sail| self.kind(sail).overhead).max().unwrap_or_default()
    }

    /// One exchange with the host: all `bytes` cross the shared link, or the largest share a link of its own.
    #[must_use]
    pub fn host(&self, shares: &[Bytes]) -> Picoseconds {
        let bytes = match self.fleet.host.attachment {
            sailplan_ir::Attachment::Shared => shares.iter().copied().sum(),
            sailplan_ir::Attachment::PerSail => shares.iter().copied().max().unwrap_or_default(),
        };
        self.fleet.host.latency + self.fleet.host.rate.time(bytes)
    }

    /// All-reduce through the host, the way without links between cards: `ranks` buffers of `whole` bytes go up, the sum
    /// comes down to each. The host is no rank and no plan can ask it to add, so this is a figure to compare with and
    /// no [`sailplan_ir::Algorithm`].
    #[must_use]
    pub fn through_host(&self, ranks: usize, whole: Bytes) -> Picoseconds {
        if ranks < 2 {
            return Picoseconds(0);
        }
        self.host(&vec![whole; ranks]) * 2
    }
}
