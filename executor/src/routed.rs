//! Rows on their way to experts and back, replayed: a row goes only to the cards with an expert that it takes, and comes back
//! only from those. Every card has all gates, so that both ends of a message know its rows, and what would be empty is
//! not sent. Rows that do not come are no numbers, so that whatever reads one shows.

use crate::ReplayError;
use crate::collectives::{Exchange, Extent};
use crate::transport::{Tag, Transport, rounded};
use sailplan_ir::{CollectiveKind, RowShare};
use std::ops::Range;

/// Which rows go from which rank to which.
struct Rows<'a> {
    exchange: &'a Exchange,
    whole: Extent,
    gates: &'a [f32],
}

impl Exchange {
    /// This rank's result of a dispatch or a combine from this rank's operand and the gates of all rows and experts, all
    /// row by row; `whole` is what all ranks have together. What a combine adds up has the bits of a reduce-scatter that
    /// sends everything straight.
    ///
    /// # Errors
    /// A peer is gone or silent, or sends another size.
    pub fn run_by(
        &self,
        whole: Extent,
        operand: &[f32],
        gates: &[f32],
        transport: &mut impl Transport,
    ) -> Result<Vec<f32>, ReplayError> {
        let rows = Rows { exchange: self, whole, gates };
        let (kind, group) = (self.collective().kind, &self.collective().group);
        let tag = Tag::Step { kind, step: 0 };
        let others = || (0..group.len()).filter(|&rank| rank != self.rank());
        for to in others() {
            let block = rows.picked(operand, &rows.block(self.rank(), to));
            if !block.is_empty() {
                transport.send(group[to], tag, &block)?;
            }
        }
        let mut arrived: Vec<Vec<f32>> = vec![Vec::new(); group.len()];
        for from in others() {
            let elements = rows.block(from, self.rank()).len() * whole.columns;
            if elements > 0 {
                arrived[from] = transport.receive(group[from], tag, elements)?;
            }
        }
        let own = rows.picked(operand, &rows.block(self.rank(), self.rank()));
        arrived[self.rank()] = match kind {
            // Every rank has the same of a row.
            CollectiveKind::Dispatch if group.len() > 1 => {
                own.into_iter().map(|value| rounded(transport.wire(), value)).collect()
            }
            _ => own,
        };
        Ok(if kind == CollectiveKind::Dispatch { rows.gathered(&arrived) } else { rows.added(&arrived) })
    }
}

impl Rows<'_> {
    /// The rows of a rank.
    fn of(&self, rank: usize) -> Range<usize> {
        let share = RowShare::among(&self.exchange.collective().parts, rank).unwrap_or_default();
        let rows = share.rows(self.whole.rows as u64);
        rows.start as usize..rows.end as usize
    }

    /// Whether a row takes an expert that a rank has.
    fn takes(&self, row: usize, rank: usize) -> bool {
        let experts = &self.exchange.collective().experts;
        let sum = |experts: &[u64]| experts.iter().sum::<u64>() as usize;
        let (width, first) = (sum(experts), row * sum(experts) + sum(&experts[..rank]));
        let gates = self.gates.get(first..first + experts[rank] as usize);
        width > 0 && gates.is_some_and(|gates| gates.iter().any(|gate| *gate != 0.0))
    }

    /// The rows that go from one rank to another: of the first to the experts of the second, or back from those of the first.
    fn block(&self, from: usize, to: usize) -> Vec<usize> {
        match self.exchange.collective().kind {
            CollectiveKind::Dispatch => self.of(from).filter(|&row| self.takes(row, to)).collect(),
            _ => self.of(to).filter(|&row| self.takes(row, from)).collect(),
        }
    }

    /// These rows of this rank's operand, which a dispatch has without those of others.
    fn picked(&self, operand: &[f32], rows: &[usize]) -> Vec<f32> {
        let dispatch = self.exchange.collective().kind == CollectiveKind::Dispatch;
        let first = if dispatch { self.of(self.exchange.rank()).start } else { 0 };
        let row = |&row: &usize| {
            let start = (row - first) * self.whole.columns;
            operand.get(start..start + self.whole.columns).unwrap_or_default()
        };
        rows.iter().flat_map(row).copied().collect()
    }

    /// Rows at their places.
    fn put(&self, into: &mut [f32], rows: impl Iterator<Item = usize>, values: &[f32]) {
        let width = self.whole.columns;
        for (row, values) in rows.zip(values.chunks_exact(width.max(1))) {
            into[row * width..(row + 1) * width].copy_from_slice(values);
        }
    }

    fn gathered(&self, arrived: &[Vec<f32>]) -> Vec<f32> {
        let mut all = vec![f32::NAN; self.whole.rows * self.whole.columns];
        for (from, values) in arrived.iter().enumerate() {
            self.put(&mut all, self.block(from, self.exchange.rank()).into_iter(), values);
        }
        all
    }

    /// Contributions of all ranks in the order of ranks; a rank without an expert that a row takes adds zero.
    fn added(&self, arrived: &[Vec<f32>]) -> Vec<f32> {
        let own = self.of(self.exchange.rank());
        let contribution = |from: usize| {
            let mut part = vec![0.0; own.len() * self.whole.columns];
            let rows = self.block(from, self.exchange.rank()).into_iter().map(|row| row - own.start);
            self.put(&mut part, rows, &arrived[from]);
            part
        };
        let mut sum = contribution(0);
        for from in 1..arrived.len() {
            sum.iter_mut().zip(contribution(from)).for_each(|(sum, value)| *sum += value);
        }
        sum
    }
}
