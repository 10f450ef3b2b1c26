//! Where a card's compute rate is not known: the rate it must sustain for its kernels to be bound by memory, which is
//! what prices assume. It knows work and rates, no plans.

use crate::{CostModel, Work};
use sailplan_ir::{Bytes, BytesPerSecond, FlopsPerSecond, SailId};

/// What a card's arithmetic must reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MustSustain {
    /// So that no kernel waits for arithmetic: the largest rate of a single kernel.
    pub every_kernel: FlopsPerSecond,
    /// So that arithmetic takes no longer than memory in all: operations of all kernels over the time of all their bytes.
    pub in_all: FlopsPerSecond,
}

impl CostModel<'_> {
    /// The rates at which one card's kernels stay bound by its memory, whether or not its compute rate is known.
    #[must_use]
    pub fn must_sustain(&self, sail: SailId, kernels: &[Work]) -> MustSustain {
        let memory = self.fleet.kind(sail).bandwidth;
        let flops = kernels.iter().fold(0, |sum: u64, work| sum.saturating_add(work.flops));
        let bytes: Bytes = kernels.iter().map(|work| work.bytes).sum();
        let single = kernels.iter().map(|work| must_sustain(*work, memory));
        MustSustain {
            every_kernel: single.max().unwrap_or_default(),
            in_all: must_sustain(Work { bytes, flops }, memory),
        }
    }
}

/// flops / (bytes / memory rate), rounded up: the arithmetic intensity at the ridge of the roofline (Williams, Waterman &
/// Patterson, Commun. ACM 52, 2009). No operations need no rate; operations without bytes are never bound by memory.
#[must_use]
pub fn must_sustain(work: Work, memory: BytesPerSecond) -> FlopsPerSecond {
    match (work.flops, work.bytes) {
        (0, _) => FlopsPerSecond(0),
        (_, Bytes(0)) => FlopsPerSecond(u64::MAX),
        (flops, Bytes(bytes)) => {
            let rate = (u128::from(flops) * u128::from(memory.0)).div_ceil(u128::from(bytes));
            FlopsPerSecond(u64::try_from(rate).unwrap_or(u64::MAX))
        }
    }
}
