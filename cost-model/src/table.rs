//! The cheapest algorithm for each kind, group size and message size of a fleet, as rows to read and compare.

use crate::Collectives;
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Picoseconds, SailId};

/// One entry of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableRow {
    /// The collective.
    pub kind: CollectiveKind,
    /// Number of cards, the first so many of the fleet.
    pub ranks: usize,
    /// The whole buffer on the wire, cut evenly.
    pub bytes: Bytes,
    /// The cheapest algorithm.
    pub algorithm: Algorithm,
    /// Its time.
    pub time: Picoseconds,
}

impl Collectives {
    /// For every kind, the first 2, 3, … of `sails` and every size in bytes: the cheapest algorithm and its time.
    #[must_use]
    pub fn table(&self, sails: &[SailId], sizes: &[Bytes]) -> Vec<TableRow> {
        let groups = || (2..=sails.len()).map(|ranks| &sails[..ranks]);
        let kinds = CollectiveKind::ALL.into_iter().flat_map(|kind| groups().map(move |group| (kind, group)));
        kinds.flat_map(|(kind, group)| sizes.iter().filter_map(move |&bytes| self.row(kind, group, bytes))).collect()
    }

    fn row(&self, kind: CollectiveKind, group: &[SailId], bytes: Bytes) -> Option<TableRow> {
        let ranks = group.len();
        let chunk = Bytes(bytes.0.div_ceil(ranks as u64));
        let (algorithm, time) = self.cheapest(kind, group, chunk, bytes)?;
        Some(TableRow { kind, ranks, bytes, algorithm, time })
    }
}
