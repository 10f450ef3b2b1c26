//! Rows sent to experts and back over threads, against rows picked by hand, the collectives that send all rows, and a count
//! of what went over the links.

use crate::noise;
use sailplan_codegen::ReduceOp;
use sailplan_executor::{Collective, Exchange, Extent, Pulse, ReplayError, Tag, Threads, Transport, rounded};
use sailplan_ir::{Algorithm, CollectiveKind, Dim, RowShare, SailId, Wire};
use std::ops::Range;
use std::time::Duration;

const COLUMNS: usize = 3;

/// Shares of the rows, and experts; some ranks have none of one or the other.
const SHARES: [u64; 7] = [2, 0, 1, 3, 1, 2, 1];
const EXPERTS: [u64; 7] = [1, 2, 0, 1, 3, 1, 2];

/// Counts what it sends.
struct Counting {
    end: Threads,
    sent: usize,
}

impl Transport for Counting {
    fn wire(&self) -> Wire {
        self.end.wire()
    }

    fn send(&mut self, to: SailId, tag: Tag, values: &[f32]) -> Result<(), ReplayError> {
        let routed = matches!(tag, Tag::Step { kind, .. } if kind.routed());
        assert!(!routed || !values.is_empty(), "nothing is sent for nothing");
        self.sent += values.len();
        self.end.send(to, tag, values)
    }

    fn receive(&mut self, from: SailId, tag: Tag, elements: usize) -> Result<Vec<f32>, ReplayError> {
        self.end.receive(from, tag, elements)
    }

    fn send_shard(&mut self, to: SailId, bytes: &[u8]) -> Result<(), ReplayError> {
        self.end.send_shard(to, bytes)
    }

    fn receive_shard(&mut self, from: SailId, bytes: usize) -> Result<Vec<u8>, ReplayError> {
        self.end.receive_shard(from, bytes)
    }
}

#[derive(Clone, Copy)]
struct Case {
    ranks: usize,
    rows: usize,
    used: usize,
    wire: Wire,
}

impl Case {
    fn experts(self) -> usize {
        EXPERTS[..self.ranks].iter().sum::<u64>() as usize
    }

    fn own(self, rank: usize) -> Range<usize> {
        let rows = RowShare::among(&SHARES[..self.ranks], rank).expect("a rank").rows(self.rows as u64);
        rows.start as usize..rows.end as usize
    }

    /// Which experts each row takes: `used` of them, by numbers without order.
    fn gates(self) -> Vec<f32> {
        let experts = self.experts();
        let mut gates = vec![0.0; self.rows * experts];
        for (row, gates) in gates.chunks_mut(experts).enumerate() {
            let order = noise(experts, 5 + row as u64);
            let mut all: Vec<usize> = (0..experts).collect();
            all.sort_by(|&a, &b| order[a].total_cmp(&order[b]));
            all.iter().take(self.used).for_each(|&expert| gates[expert] = 0.5);
        }
        gates
    }

    fn takes(self, row: usize, rank: usize) -> bool {
        let first = EXPERTS[..rank].iter().sum::<u64>() as usize;
        let experts = first..first + EXPERTS[rank] as usize;
        experts.into_iter().any(|expert| self.gates()[row * self.experts() + expert] != 0.0)
    }

    /// What every rank gets and how many elements it sends.
    fn run(self, kind: CollectiveKind, operand: impl Fn(usize) -> Vec<f32> + Sync) -> Vec<(Vec<f32>, usize)> {
        let group: Vec<SailId> = (0..self.ranks).map(|rank| SailId(10 + 3 * rank as u16)).collect();
        let ends = Threads::connect(&group, self.wire, Duration::from_secs(20), &Pulse::default());
        let routed = kind.routed();
        let collective = Collective {
            kind,
            algorithm: Algorithm::Direct,
            op: ReduceOp::Sum,
            group: group.clone(),
            parts: SHARES[..self.ranks].to_vec(),
            by_rows: true,
            experts: if routed { EXPERTS[..self.ranks].to_vec() } else { Vec::new() },
        };
        let whole = Extent { rows: self.rows, columns: COLUMNS };
        std::thread::scope(|scope| {
            let start = |(rank, end): (usize, Threads)| {
                let exchange = Exchange::new(collective.clone(), group[rank]).expect("a rank of the group");
                let (operand, gates, mut end) = (operand(rank), self.gates(), Counting { end, sent: 0 });
                scope.spawn(move || {
                    let made = match routed {
                        true => exchange.run_by(whole, &operand, &gates, &mut end),
                        false => exchange.run(whole, operand, &mut end),
                    };
                    (made.expect("a result"), end.sent)
                })
            };
            let threads: Vec<_> = ends.into_iter().enumerate().map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let sizes = [(1, 4, 1), (2, 5, 1), (3, 9, 2), (4, 3, 2), (5, 1, 1), (7, 16, 3), (7, 0, 2), (4, 8, 4)];
    let on = move |wire| sizes.map(|(ranks, rows, used)| Case { ranks, rows, used, wire });
    [Wire::F32, Wire::Bf16].into_iter().flat_map(on)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A row that a rank gets has the bits that an all-gather gives; the others are no numbers. Nothing else is sent.
#[test]
fn rows_go_to_the_ranks_whose_experts_they_take() {
    for case in cases() {
        let operand = |rank: usize| noise(case.own(rank).len() * COLUMNS, 40 + rank as u64);
        let gathered = case.run(CollectiveKind::AllGather, operand).swap_remove(0).0;
        for (rank, (made, sent)) in case.run(CollectiveKind::Dispatch, operand).into_iter().enumerate() {
            for row in 0..case.rows {
                let (ours, theirs) = (&made[row * COLUMNS..][..COLUMNS], &gathered[row * COLUMNS..][..COLUMNS]);
                if case.takes(row, rank) {
                    assert_eq!(bits(ours), bits(theirs), "row {row} on rank {rank} of {}", case.ranks);
                } else {
                    assert!(ours.iter().all(|value| value.is_nan()), "row {row} on rank {rank} of {}", case.ranks);
                }
            }
            let others = |row: usize| (0..case.ranks).filter(|&other| other != rank && case.takes(row, other)).count();
            assert_eq!(sent, case.own(rank).map(others).sum::<usize>() * COLUMNS);
        }
    }
}

/// What comes back has the bits of a reduce-scatter of the same contributions; nothing else is sent.
#[test]
fn what_experts_made_comes_back_with_the_bits_of_a_sum_of_all() {
    let (mut routed, mut everywhere) = (0, 0);
    for case in cases() {
        let operand = |rank: usize| -> Vec<f32> {
            let made = noise(case.rows * COLUMNS, 70 + rank as u64).into_iter().enumerate();
            made.map(|(at, value)| if case.takes(at / COLUMNS, rank) { value } else { 0.0 }).collect()
        };
        let summed = case.run(CollectiveKind::ReduceScatter, operand);
        for (rank, (made, sent)) in case.run(CollectiveKind::Combine, operand).into_iter().enumerate() {
            assert_eq!(bits(&made), bits(&summed[rank].0), "rank {rank} of {}", case.ranks);
            let others = (0..case.rows).filter(|row| !case.own(rank).contains(row) && case.takes(*row, rank));
            assert_eq!(sent, others.count() * COLUMNS);
            routed += sent;
            everywhere += summed[rank].1;
        }
    }
    assert!(routed * 4 < everywhere * 3, "{routed} of {everywhere} elements are sent");
}

#[test]
fn buffers_of_other_shapes_are_no_operands() {
    let exchange = |kind, experts: &[u64]| {
        let group = vec![SailId(0), SailId(1)];
        let (parts, experts) = (vec![1, 1], experts.to_vec());
        let (algorithm, op, by_rows) = (Algorithm::Direct, ReduceOp::Sum, true);
        Exchange::new(Collective { kind, algorithm, op, group, parts, by_rows, experts }, SailId(1))
    };
    let half = Dim::Part(RowShare::new(1, 2, 2).unwrap());
    let dispatch = exchange(CollectiveKind::Dispatch, &[2, 3]).unwrap();
    assert!(dispatch.fits((half, 8), (Dim::Tokens, 8)) && !dispatch.fits((Dim::Tokens, 8), (half, 8)));
    assert!(dispatch.fits_gates(Some((Dim::Tokens, 5))));
    assert!(!dispatch.fits_gates(Some((Dim::Tokens, 4))) && !dispatch.fits_gates(Some((half, 5))));
    assert!(!dispatch.fits_gates(None));
    let combine = exchange(CollectiveKind::Combine, &[2, 3]).unwrap();
    assert!(combine.fits((Dim::Tokens, 8), (half, 8)) && !combine.fits((half, 8), (Dim::Tokens, 8)));
    assert!(exchange(CollectiveKind::Combine, &[5]).is_none(), "experts of one rank, parts of two");
    assert!(!exchange(CollectiveKind::AllGather, &[]).unwrap().fits_gates(Some((Dim::Tokens, 5))));
}

/// Every rank has the same of a row, though only some are sent it.
#[test]
fn a_narrow_wire_rounds_a_rank_s_own_rows_too() {
    let case = Case { ranks: 2, rows: 6, used: 2, wire: Wire::Bf16 };
    let operand = |rank: usize| noise(case.own(rank).len() * COLUMNS, 3 + rank as u64);
    let own = operand(0);
    let made = case.run(CollectiveKind::Dispatch, operand).swap_remove(0).0;
    let taken: Vec<usize> = case.own(0).filter(|&row| case.takes(row, 0)).collect();
    assert!(!taken.is_empty() && own.iter().any(|&value| rounded(Wire::Bf16, value) != value));
    for row in taken {
        let wanted: Vec<f32> = own[row * COLUMNS..][..COLUMNS].iter().map(|&v| rounded(Wire::Bf16, v)).collect();
        assert_eq!(bits(&made[row * COLUMNS..][..COLUMNS]), bits(&wanted));
    }
}
