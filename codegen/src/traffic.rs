//! What a plan puts on the links, counted message by message from the schedules that it names.

use crate::{Gated, Instruction, Plan, Program, SailPlan};
use sailplan_ir::{Algorithm, Bytes, Chunks, CollectiveKind, Routing, SailId, even_chunk};
use std::collections::BTreeMap;

/// Bytes that each card sends to other cards in one run of a program, by what sends them, in order of the card's id.
/// Bytes hold at the request's limits, in the wire type.
#[must_use]
pub fn sent(plan: &Plan, program: impl Fn(&SailPlan) -> &Program) -> BTreeMap<SailId, Sent> {
    let count = |sail: &SailPlan| {
        let mut sent = Sent::default();
        program(sail).instructions.iter().for_each(|instruction| sent.add(sail.sail, instruction, 1));
        (sail.sail, sent)
    };
    plan.sails.iter().map(count).collect()
}

/// Bytes sent by one card.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// In collectives of layers, by kind and algorithm.
    pub layers: BTreeMap<(CollectiveKind, Algorithm), Bytes>,
    /// In collectives outside of layers, and from stage to stage.
    pub others: Bytes,
}

impl Sent {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.others + self.layers.values().copied().sum()
    }

    fn add(&mut self, sail: SailId, instruction: &Instruction, times: u64) {
        match instruction {
            Instruction::Repeat { layers, body } => {
                let times = u64::from(layers.0.end.saturating_sub(layers.0.start));
                body.iter().for_each(|instruction| self.add(sail, instruction, times));
            }
            Instruction::Send { bytes, .. } => self.others += bytes.times(times),
            Instruction::Collective { kind, algorithm, .. } => {
                let bytes = collective(sail, instruction).times(times);
                if times > 1 {
                    *self.layers.entry((*kind, *algorithm)).or_default() += bytes;
                } else {
                    self.others += bytes;
                }
            }
            _ => {}
        }
    }
}

/// What one card sends in one collective.
fn collective(sail: SailId, instruction: &Instruction) -> Bytes {
    let Instruction::Collective { group, .. } = instruction else { return Bytes(0) };
    let own = |(from, bytes): (usize, Bytes)| (group.get(from) == Some(&sail)).then_some(bytes);
    messages(instruction).into_iter().filter_map(own).sum()
}

/// The messages of one collective, each with its sending rank and its bytes. Chunks are the parts of the ranks where the
/// instruction has any, else even. Of rows that go to experts and back they are as many as do on average.
pub(crate) fn messages(instruction: &Instruction) -> Vec<(usize, Bytes)> {
    let Instruction::Collective { kind, algorithm, group, parts, by, bytes, .. } = instruction else {
        return Vec::new();
    };
    let (ranks, columns) = (group.len(), parts.iter().sum::<u64>());
    let part = |index: usize| match parts.get(index) {
        Some(&part) if columns > 0 => Bytes((u128::from(bytes.0) * u128::from(part) / u128::from(columns)) as u64),
        _ => {
            let run = even_chunk(bytes.0, ranks, index);
            Bytes(run.end - run.start)
        }
    };
    // The block from one rank to another, of rows of the one or of the other.
    let block = |by: &Gated, index: usize| {
        let (from, to) = (index / ranks.max(1), index % ranks.max(1));
        let (own, at) = if *kind == CollectiveKind::Dispatch { (from, to) } else { (to, from) };
        let experts = by.experts.iter().fold(0, |sum: u64, &experts| sum.saturating_add(experts));
        let routing = Routing { experts: u32::try_from(experts).unwrap_or(u32::MAX), used: by.used };
        Bytes(routing.rows(part(own).0, by.experts.get(at).copied().unwrap_or(0)))
    };
    let chunk = |index: usize| match by {
        Some(by) if kind.routed() => block(by, index),
        _ => part(index),
    };
    let run = |chunks: Chunks| -> Bytes { (chunks.start..chunks.end).map(chunk).sum() };
    let steps = kind.schedule(*algorithm, ranks).unwrap_or_default();
    steps.iter().flatten().map(|message| (message.from, run(message.chunks))).collect()
}
