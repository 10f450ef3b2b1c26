//! Collectives, replayed step by step as their schedule says. They know ranks and elements, no plans and no buffers.
//!
//! All ranks end with the same bits: contributions of a step are combined in ascending order of rank, and a rank keeps
//! of what it sends what the wire carries. Without that, a BF16 wire would leave the owner of a reduced chunk with more
//! digits than everyone else; nor would the ranks that agree on a sum without passing it on, while others are sent it.

use crate::ReplayError;
use crate::softmax;
use crate::transport::{Tag, Transport, rounded};
use sailplan_codegen::ReduceOp;
use sailplan_ir::{Algorithm, Chunks, CollectiveKind, Dim, RowShare, SailId, Use, Wire, even_chunk};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A collective as the plan states it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collective {
    /// What it does.
    pub kind: CollectiveKind,
    /// The schedule.
    pub algorithm: Algorithm,
    /// How contributions are combined; ignored where there are none.
    pub op: ReduceOp,
    /// Cards in order of rank.
    pub group: Vec<SailId>,
    /// Of each rank, for all-gather and reduce-scatter: its columns, or its share of the rows.
    pub parts: Vec<u64>,
    /// Whether parts are shares of the rows.
    pub by_rows: bool,
    /// Of each rank, for dispatch and combine: its experts.
    pub experts: Vec<u64>,
}

/// Rows and columns of the whole that ranks have parts of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// In this step.
    pub rows: usize,
    /// Of every row.
    pub columns: usize,
}

/// One rank's part in a collective.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    collective: Collective,
    rank: usize,
    turns: Vec<Turn>,
}

/// What one rank does in one step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Turn {
    sends: Vec<(usize, Chunks)>,
    /// Chunks of an all-reduce that some rank passes on as final: every rank keeps of them what the wire carries.
    passed: BTreeSet<Chunks>,
    receives: Vec<(usize, Chunks, Use)>,
}

impl Exchange {
    /// The part of `own`; `None` when it is not in the group, the algorithm cannot do the kind, or the parts are not
    /// one for each rank.
    #[must_use]
    pub fn new(collective: Collective, own: SailId) -> Option<Self> {
        let ranks = collective.group.len();
        let rank = collective.group.iter().position(|&sail| sail == own)?;
        let counts = (collective.parts.len(), collective.experts.len());
        if collective.in_parts() && counts.0 != ranks || collective.kind.routed() && counts.1 != ranks {
            return None;
        }
        let mut turns = Vec::new();
        for step in collective.kind.schedule(collective.algorithm, ranks)? {
            let mut turn = Turn::default();
            for message in step {
                if message.from == rank {
                    turn.sends.push((message.to, message.chunks));
                }
                if message.with == Use::Copy && collective.kind == CollectiveKind::AllReduce {
                    turn.passed.insert(message.chunks);
                }
                if message.to == rank {
                    turn.receives.push((message.from, message.chunks, message.with));
                }
            }
            turns.push(turn);
        }
        Some(Self { collective, rank, turns })
    }

    /// Whether an operand and a result with such rows of so many columns are this rank's.
    #[must_use]
    pub fn fits(&self, (from, operand): (Dim, u64), (into, result): (Dim, u64)) -> bool {
        let Self { collective, rank, .. } = self;
        if matches!(collective.op, ReduceOp::Merge { .. })
            && (collective.by_rows || collective.kind != CollectiveKind::ReduceScatter)
        {
            return false;
        }
        if collective.by_rows {
            let own = RowShare::among(&collective.parts, *rank).map(Dim::Part);
            let gathers = matches!(collective.kind, CollectiveKind::AllGather | CollectiveKind::Dispatch);
            let rows = if gathers { (from, into) } else { (into, from) };
            return own.map(|own| (own, Dim::Tokens)) == Some(rows) && operand == result;
        }
        if from != into {
            return false;
        }
        let part = || collective.parts.get(*rank).copied();
        let all = || collective.wide().and_then(|wide| wide.iter().try_fold(0_u64, |sum, &part| sum.checked_add(part)));
        match collective.kind {
            CollectiveKind::AllGather => (Some(operand), Some(result)) == (part(), all()),
            CollectiveKind::ReduceScatter => (Some(operand), Some(result)) == (all(), part()),
            CollectiveKind::AllReduce | CollectiveKind::Broadcast => operand == result,
            CollectiveKind::Dispatch | CollectiveKind::Combine => false,
        }
    }

    /// Whether gates with such rows of so many columns say which rows go where; there are none where none are needed.
    #[must_use]
    pub fn fits_gates(&self, gates: Option<(Dim, u64)>) -> bool {
        let all = || self.collective.experts.iter().try_fold(0_u64, |sum, &experts| sum.checked_add(experts));
        match gates {
            Some((rows, columns)) => self.collective.kind.routed() && rows == Dim::Tokens && Some(columns) == all(),
            None => !self.collective.kind.routed(),
        }
    }

    /// This rank.
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    /// The collective of all ranks.
    pub(crate) fn collective(&self) -> &Collective {
        &self.collective
    }

    /// This rank's result from this rank's operand, both row by row; `whole` is what all ranks have together.
    ///
    /// # Errors
    /// A peer is gone or silent, or sends another size.
    pub fn run(
        &self,
        whole: Extent,
        operand: Vec<f32>,
        transport: &mut impl Transport,
    ) -> Result<Vec<f32>, ReplayError> {
        let mut held = Held::new(self, whole, operand);
        for (step, turn) in self.turns.iter().enumerate() {
            let tag = Tag::Step { kind: self.collective.kind, step: step as u32 };
            for &(to, chunks) in &turn.sends {
                transport.send(self.collective.group[to], tag, held.chunks(chunks))?;
                held.round(chunks, transport.wire());
            }
            for &chunks in &turn.passed {
                held.round(chunks, transport.wire());
            }
            let mut arrived: BTreeMap<Chunks, Vec<(usize, Vec<f32>)>> = BTreeMap::new();
            for &(from, chunks, with) in &turn.receives {
                let values = transport.receive(self.collective.group[from], tag, held.range(chunks).len())?;
                match with {
                    Use::Copy => held.chunks(chunks).copy_from_slice(&values),
                    Use::Reduce => arrived.entry(chunks).or_default().push((from, values)),
                }
            }
            for (chunks, contributions) in arrived {
                self.combine(held.chunks(chunks), contributions);
            }
        }
        Ok(held.result(self, whole.rows))
    }

    /// Combines what this rank holds of a chunk with what arrived, in the order of ranks.
    fn combine(&self, own: &mut [f32], mut contributions: Vec<(usize, Vec<f32>)>) {
        contributions.push((self.rank, own.to_vec()));
        contributions.sort_by_key(|contribution| contribution.0);
        let mut in_order = contributions.iter().map(|contribution| &contribution.1);
        if let Some(first) = in_order.next() {
            own.copy_from_slice(first);
        }
        for values in in_order {
            match self.collective.op {
                // An average is a sum until the result is taken.
                ReduceOp::Sum | ReduceOp::Avg => each(own, values, |a, b| a + b),
                ReduceOp::Max => each(own, values, f32::max),
                ReduceOp::Min => each(own, values, f32::min),
                ReduceOp::Merge { head_dim } => softmax::merge(own, values, head_dim as usize),
            }
        }
    }
}

fn each(own: &mut [f32], values: &[f32], combined: impl Fn(f32, f32) -> f32) {
    own.iter_mut().zip(values).for_each(|(own, &value)| *own = combined(*own, value));
}

impl Collective {
    /// Whether chunks are the ranks' parts; otherwise they are near-equal runs of elements.
    fn in_parts(&self) -> bool {
        !matches!(self.kind, CollectiveKind::AllReduce | CollectiveKind::Broadcast)
    }

    /// Columns of each rank's part as they are exchanged; `None` where they are no whole heads.
    fn wide(&self) -> Option<Vec<u64>> {
        self.parts.iter().map(|&columns| self.op.operand_columns(columns)).collect()
    }

    fn reduces(&self) -> bool {
        matches!(self.kind, CollectiveKind::AllReduce | CollectiveKind::ReduceScatter)
    }
}

/// The whole buffer of one rank, chunk after chunk.
struct Held {
    values: Vec<f32>,
    ranges: Vec<Range<usize>>,
}

impl Held {
    fn new(exchange: &Exchange, Extent { rows, columns }: Extent, operand: Vec<f32>) -> Self {
        let Exchange { collective, rank, .. } = exchange;
        let all = Chunks::first(collective.group.len());
        if !collective.in_parts() {
            let chunk = |index| even_chunk(operand.len() as u64, collective.group.len(), index);
            let ranges = (0..collective.group.len()).map(chunk).map(|c| c.start as usize..c.end as usize).collect();
            return Self { values: operand, ranges };
        }
        if collective.by_rows {
            let share = |rank| RowShare::among(&collective.parts, rank).unwrap_or_default().rows(rows as u64);
            let elements = |rows: Range<u64>| rows.start as usize * columns..rows.end as usize * columns;
            let ranges = (0..collective.parts.len()).map(|rank| elements(share(rank))).collect();
            let mut held = Self { values: vec![0.0; rows * columns], ranges };
            let chunks = if collective.kind == CollectiveKind::AllGather { Chunks::one(*rank) } else { all };
            held.fill(chunks, &operand);
            return held;
        }
        let mut end = 0;
        let mut ranges = Vec::new();
        let parts = collective.wide().unwrap_or_default();
        for &columns in &parts {
            let start = end;
            end += rows * columns as usize;
            ranges.push(start..end);
        }
        let mut held = Self { values: vec![0.0; end], ranges };
        match collective.kind {
            CollectiveKind::AllGather => held.fill(Chunks::one(*rank), &operand),
            _ => held.values = transposed(&operand, rows, &parts, Direction::Pack),
        }
        held
    }

    fn fill(&mut self, chunks: Chunks, operand: &[f32]) {
        for (into, &value) in self.chunks(chunks).iter_mut().zip(operand) {
            *into = value;
        }
    }

    fn range(&self, chunks: Chunks) -> Range<usize> {
        self.ranges[chunks.start].start..self.ranges[chunks.end - 1].end
    }

    fn chunks(&mut self, chunks: Chunks) -> &mut [f32] {
        let range = self.range(chunks);
        &mut self.values[range]
    }

    fn round(&mut self, chunks: Chunks, wire: Wire) {
        self.chunks(chunks).iter_mut().for_each(|value| *value = rounded(wire, *value));
    }

    fn result(mut self, exchange: &Exchange, rows: usize) -> Vec<f32> {
        let Exchange { collective, rank, .. } = exchange;
        if collective.op == ReduceOp::Avg && collective.reduces() {
            let ranks = collective.group.len() as f32;
            self.values.iter_mut().for_each(|value| *value /= ranks);
        }
        match collective.kind {
            CollectiveKind::AllGather if !collective.by_rows => {
                transposed(&self.values, rows, &collective.parts, Direction::Unpack)
            }
            CollectiveKind::ReduceScatter => match collective.op {
                ReduceOp::Merge { head_dim } => softmax::finished(self.chunks(Chunks::one(*rank)), head_dim as usize),
                _ => self.chunks(Chunks::one(*rank)).to_vec(),
            },
            _ => self.values,
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    /// From rows of all columns to one part after the other.
    Pack,
    /// Back.
    Unpack,
}

/// The same elements with rows and parts exchanged; missing elements are zeros.
fn transposed(values: &[f32], rows: usize, parts: &[u64], direction: Direction) -> Vec<f32> {
    let width: usize = parts.iter().map(|&columns| columns as usize).sum();
    let mut out = vec![0.0; rows * width];
    let mut packed = 0;
    let mut first = 0;
    for columns in parts.iter().map(|&columns| columns as usize) {
        for row in 0..rows {
            let (by_part, by_row) = (packed..packed + columns, row * width + first..row * width + first + columns);
            let (from, into) = match direction {
                Direction::Pack => (by_row, by_part),
                Direction::Unpack => (by_part, by_row),
            };
            if let Some(from) = values.get(from) {
                out[into].copy_from_slice(from);
            }
            packed += columns;
        }
        first += columns;
    }
    out
}
