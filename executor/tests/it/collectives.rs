//! Every kind and schedule over threads, against sums without a schedule.

use crate::noise;
use sailplan_codegen::ReduceOp;
use sailplan_executor::{Collective, Exchange, Extent, Pulse, Threads};
use sailplan_ir::{Algorithm, CollectiveKind, RowShare, SailId, Wire};
use std::time::Duration;

const ROWS: usize = 3;
/// Columns, or shares of the rows, of up to seven ranks; some have none.
const PARTS: [u64; 7] = [3, 0, 1, 5, 0, 2, 4];

struct Case {
    kind: CollectiveKind,
    algorithm: Algorithm,
    op: ReduceOp,
    wire: Wire,
    ranks: usize,
    by_rows: bool,
}

impl Case {
    fn columns(&self) -> usize {
        PARTS[..self.ranks].iter().sum::<u64>() as usize
    }

    /// The rows of a rank.
    fn rows(&self, rank: usize) -> std::ops::Range<usize> {
        let rows = RowShare::among(&PARTS[..self.ranks], rank).expect("a rank").rows(ROWS as u64);
        rows.start as usize..rows.end as usize
    }

    /// What a rank brings: all of it, or its own part for a gather.
    fn operand(&self, rank: usize) -> Vec<f32> {
        if self.by_rows && self.kind == CollectiveKind::AllGather {
            return noise(self.rows(rank).len() * self.columns(), rank as u64);
        }
        let columns = if self.kind == CollectiveKind::AllGather { PARTS[rank] as usize } else { self.columns() };
        noise(ROWS * columns, rank as u64).iter().map(|value| (value * 64.0).round()).collect()
    }

    fn run(&self, operand: impl Fn(usize) -> Vec<f32> + Sync) -> Vec<Vec<f32>> {
        let group: Vec<SailId> = (0..self.ranks).map(|rank| SailId(10 + 3 * rank as u16)).collect();
        let ends = Threads::connect(&group, self.wire, Duration::from_secs(20), &Pulse::default());
        let parts = PARTS[..self.ranks].to_vec();
        let (kind, algorithm, op) = (self.kind, self.algorithm, self.op);
        let by_rows = self.by_rows;
        let experts = Vec::new();
        let collective = Collective { kind, algorithm, op, group: group.clone(), parts, by_rows, experts };
        let whole = Extent { rows: ROWS, columns: self.columns() };
        std::thread::scope(|scope| {
            let start = |(rank, mut end): (usize, Threads)| {
                let exchange = Exchange::new(collective.clone(), group[rank]).expect("a rank of the group");
                let operand = operand(rank);
                scope.spawn(move || exchange.run(whole, operand, &mut end).expect("a result"))
            };
            let threads: Vec<_> = ends.into_iter().enumerate().map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    fn expected(&self, rank: usize) -> Vec<f32> {
        let all: Vec<Vec<f32>> = (0..self.ranks).map(|rank| self.operand(rank)).collect();
        let first = |rank: usize| PARTS[..rank].iter().sum::<u64>() as usize;
        let own = |row: usize| row * self.columns() + first(rank)..row * self.columns() + first(rank + 1);
        match self.kind {
            CollectiveKind::Broadcast => all[0].clone(),
            CollectiveKind::AllReduce => self.reduced(&all),
            CollectiveKind::ReduceScatter if self.by_rows => {
                let rows = self.rows(rank);
                self.reduced(&all)[rows.start * self.columns()..rows.end * self.columns()].to_vec()
            }
            CollectiveKind::AllGather if self.by_rows => all.concat(),
            CollectiveKind::ReduceScatter => {
                let sum = self.reduced(&all);
                (0..ROWS).flat_map(|row| sum[own(row)].to_vec()).collect()
            }
            CollectiveKind::AllGather => {
                let piece = |row: usize, rank: usize| {
                    let width = PARTS[rank] as usize;
                    all[rank][row * width..(row + 1) * width].to_vec()
                };
                (0..ROWS).flat_map(|row| (0..self.ranks).flat_map(move |rank| piece(row, rank))).collect()
            }
            CollectiveKind::Dispatch | CollectiveKind::Combine => unreachable!("they have tests of their own"),
        }
    }

    fn reduced(&self, all: &[Vec<f32>]) -> Vec<f32> {
        let column = |index: usize| all.iter().map(move |values| values[index]);
        let each = |index: usize| match self.op {
            ReduceOp::Sum => column(index).sum::<f32>(),
            ReduceOp::Avg => column(index).sum::<f32>() / all.len() as f32,
            ReduceOp::Max => column(index).fold(f32::NEG_INFINITY, f32::max),
            ReduceOp::Min => column(index).fold(f32::INFINITY, f32::min),
            ReduceOp::Merge { .. } => unreachable!("merged by heads, in a test of its own"),
        };
        (0..all[0].len()).map(each).collect()
    }
}

fn all_cases(wire: Wire) -> impl Iterator<Item = Case> {
    use CollectiveKind::{AllGather, AllReduce, Broadcast, ReduceScatter};
    let kinds = [AllReduce, ReduceScatter, AllGather, Broadcast];
    let schedules =
        kinds.into_iter().flat_map(|kind| kind.algorithms().iter().map(move |&algorithm| (kind, algorithm)));
    let ops = [ReduceOp::Sum, ReduceOp::Avg, ReduceOp::Max, ReduceOp::Min];
    schedules.flat_map(move |(kind, algorithm)| {
        let case = move |op, ranks, by_rows| Case { kind, algorithm, op, wire, ranks, by_rows };
        let both = move |op, ranks| [false, true].map(move |by_rows| case(op, ranks, by_rows));
        ops.into_iter().flat_map(move |op| (1..=7).flat_map(move |ranks| both(op, ranks)))
    })
}

/// Whole numbers are added exactly in any order, so every schedule must give the same.
#[test]
fn every_schedule_gives_what_it_says() {
    for case in all_cases(Wire::F32) {
        for (rank, found) in case.run(|rank| case.operand(rank)).into_iter().enumerate() {
            assert_eq!(found, case.expected(rank), "{} {} {:?} {}", case.algorithm, case.kind, case.op, case.ranks);
        }
    }
}

#[test]
fn all_ranks_end_with_the_same_bits() {
    for case in [Wire::F32, Wire::Bf16].into_iter().flat_map(all_cases) {
        if case.kind == CollectiveKind::ReduceScatter {
            continue;
        }
        let operand = |rank| noise(case.operand(rank).len(), 90 + rank as u64);
        let found = case.run(operand);
        assert_eq!(case.run(operand), found, "timing must not matter");
        for other in &found {
            assert_eq!(other, &found[0], "{} {} {:?} {}", case.algorithm, case.kind, case.wire, case.ranks);
        }
    }
}

#[test]
fn a_narrow_wire_rounds_to_nearest_even() {
    let algorithm = Algorithm::Direct;
    let (kind, wire) = (CollectiveKind::Broadcast, Wire::Bf16);
    let case = Case { kind, algorithm, op: ReduceOp::Sum, wire, ranks: 3, by_rows: false };
    // 1 + 2⁻⁸ lies between 1 and 1 + 2⁻⁷; 1 + 3·2⁻⁸ between 1 + 2⁻⁷ and 1 + 2⁻⁶.
    let operand = |_| [1.0 + 0.5_f32.powi(8), 1.0 + 3.0 * 0.5_f32.powi(8)].repeat(6);
    for found in case.run(operand) {
        assert_eq!(found[..2], [1.0, 1.0 + 0.5_f32.powi(6)]);
    }
}
