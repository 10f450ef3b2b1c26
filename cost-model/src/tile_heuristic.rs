//! A named baseline: the strategy heuristic that Spanker's pull request 19 proposed, which looks at one tile and two
//! bandwidths. Nothing in the planner asks it; `docs/case-studies/tile-heuristic.md` says what it leaves out.

use sailplan_ir::{Bytes, BytesPerSecond, Picoseconds};

/// One matrix product, m × k times k × n.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tile {
    /// Rows of activations: tokens.
    pub m: u64,
    /// Columns of the result.
    pub n: u64,
    /// Summed length.
    pub k: u64,
    /// Bytes of one element.
    pub element: Bytes,
}

/// What counts as weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counting {
    /// m · k elements, as published: what the activations are.
    Published,
    /// n · k elements: the matrix that is read.
    Matrix,
}

/// What the heuristic answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TileStrategy {
    /// Every Sail has a part of each matrix.
    TensorParallel,
    /// Every Sail has whole matrices of some layers.
    ModelParallel,
}

/// The cards a tile meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TileFleet {
    /// How many Sails.
    pub sails: u64,
    /// Rate of each Sail's memory.
    pub ddr: BytesPerSecond,
    /// Rate of a link.
    pub link: BytesPerSecond,
}

/// Both times: weights / (n · ddr) + activations / link, and weights / ddr + activations / (n · link), where activations
/// are the m · n elements of the result. Sizes and sums saturate; a rate of zero takes for ever.
#[must_use]
pub fn tile_costs(tile: Tile, counting: Counting, fleet: TileFleet) -> (Picoseconds, Picoseconds) {
    let (weights, activations) = (tile.weights(counting), tile.activations());
    let all = |rate: BytesPerSecond| BytesPerSecond(rate.0.saturating_mul(fleet.sails));
    (
        time(all(fleet.ddr), weights) + time(fleet.link, activations),
        time(fleet.ddr, weights) + time(all(fleet.link), activations),
    )
}

/// The cheaper one; tensor parallel when they cost the same and for one Sail or none. The comparison is exact: times
/// n/(n−1), the difference of the two costs is activations / link − weights / ddr, so the number of Sails plays no part.
#[must_use]
pub fn pick_strategy(tile: Tile, counting: Counting, fleet: TileFleet) -> TileStrategy {
    let wide = |bytes: Bytes, rate: BytesPerSecond| u128::from(bytes.0) * u128::from(rate.0);
    let for_ever = fleet.ddr.0 == 0 || fleet.link.0 == 0;
    let tensor = wide(tile.activations(), fleet.ddr) <= wide(tile.weights(counting), fleet.link);
    if fleet.sails <= 1 || for_ever || tensor { TileStrategy::TensorParallel } else { TileStrategy::ModelParallel }
}

fn time(rate: BytesPerSecond, bytes: Bytes) -> Picoseconds {
    if rate.0 == 0 { Picoseconds::NEVER } else { rate.time(bytes) }
}

impl Tile {
    fn weights(self, counting: Counting) -> Bytes {
        let columns = match counting {
            Counting::Published => self.m,
            Counting::Matrix => self.n,
        };
        self.element.times(columns).times(self.k)
    }

    fn activations(self) -> Bytes {
        self.element.times(self.m).times(self.n)
    }
}
