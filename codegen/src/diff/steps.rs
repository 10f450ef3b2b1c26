//! Programs as a comparison sees them: which instructions a card runs for which layer, and what of an instruction is
//! meaning. The only file of the comparison that knows how programs are folded.

use super::Phase;
use crate::{Instruction, Plan, Program, ReduceOp, SailPlan};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Op, SailId};
use std::collections::BTreeMap;

/// What a card runs for each layer; under `None`, what it runs outside of layers.
pub(crate) type Steps<'a> = BTreeMap<Option<u32>, Bodies<'a>>;

/// Instructions in the pieces in which a program has them.
pub(crate) type Bodies<'a> = Vec<&'a [Instruction]>;

/// The program of a phase.
pub(crate) fn program(sail: &SailPlan, phase: Phase) -> &Program {
    match phase {
        Phase::Prefill => &sail.prefill,
        Phase::Decode => &sail.decode,
    }
}

/// Runs of layers with the instructions of each of them; without layers, one instruction outside of them.
pub(crate) fn bodies(program: &Program) -> impl Iterator<Item = (Option<[u32; 2]>, &[Instruction])> {
    program.instructions.iter().map(|instruction| match instruction {
        Instruction::Repeat { layers, body } => (Some([layers.0.start, layers.0.end]), body.as_slice()),
        other => (None, std::slice::from_ref(other)),
    })
}

/// Every layer's instructions.
pub(crate) fn steps(program: &Program) -> Steps<'_> {
    let mut steps = Steps::new();
    for (layers, body) in bodies(program) {
        match layers {
            Some([start, end]) => (start..end).for_each(|layer| steps.entry(Some(layer)).or_default().push(body)),
            None => steps.entry(None).or_default().push(body),
        }
    }
    steps
}

/// The programs of all cards of a plan, by card.
pub(crate) fn cards(plan: &Plan, phase: Phase) -> BTreeMap<SailId, Steps<'_>> {
    plan.sails.iter().map(|sail| (sail.sail, steps(program(sail, phase)))).collect()
}

/// What an instruction does, without names and predictions.
#[derive(PartialEq, Debug)]
pub(crate) enum Work<'a> {
    /// With so many products beside it.
    Kernel(Op, usize),
    Slice {
        columns: u64,
    },
    Collective {
        kind: CollectiveKind,
        op: Option<ReduceOp>,
        group: &'a [SailId],
        algorithm: Algorithm,
        parts: &'a [u64],
        /// Experts that a row takes, and those of each rank.
        experts: Option<(u32, &'a [u64])>,
        bytes: Bytes,
    },
    Send {
        peer: SailId,
        bytes: Bytes,
    },
    Recv {
        peer: SailId,
        bytes: Bytes,
    },
    Stream {
        bytes: Bytes,
    },
    HostRecv {
        bytes: Bytes,
    },
    HostSend {
        start: u64,
        bytes: Bytes,
    },
    Repeat,
}

pub(crate) fn work(instruction: &Instruction) -> Work<'_> {
    match instruction {
        Instruction::Kernel { op, beside, .. } => Work::Kernel(*op, beside.len()),
        Instruction::Slice { start, end, .. } => Work::Slice { columns: end.saturating_sub(*start) },
        Instruction::Collective { kind, op, group, algorithm, parts, by, bytes, .. } => Work::Collective {
            kind: *kind,
            op: *op,
            group,
            algorithm: *algorithm,
            parts,
            experts: by.as_ref().map(|by| (by.used, by.experts.as_slice())),
            bytes: *bytes,
        },
        Instruction::Send { peer, bytes, .. } => Work::Send { peer: *peer, bytes: *bytes },
        Instruction::Recv { peer, bytes, .. } => Work::Recv { peer: *peer, bytes: *bytes },
        Instruction::Stream { bytes, .. } => Work::Stream { bytes: *bytes },
        Instruction::HostRecv { bytes, .. } => Work::HostRecv { bytes: *bytes },
        Instruction::HostSend { start, bytes, .. } => Work::HostSend { start: *start, bytes: *bytes },
        // Programs are not nested; a layer's instructions hold none.
        Instruction::Repeat { .. } => Work::Repeat,
    }
}

/// The name of what computes on the card itself.
pub(crate) fn kernel(instruction: &Instruction) -> Option<&'static str> {
    match instruction {
        Instruction::Kernel { beside, .. } if !beside.is_empty() => Some("joint linear"),
        Instruction::Kernel { op, .. } => Some(op.row().name),
        Instruction::Slice { .. } => Some("slice"),
        Instruction::Stream { .. } => Some("stream"),
        _ => None,
    }
}

/// Instructions without their predicted times.
pub(crate) fn untimed(instructions: &[Instruction]) -> Vec<Instruction> {
    let mut all = instructions.to_vec();
    all.iter_mut().for_each(Instruction::forget_time);
    all
}
