//! One field of one instruction changed.

use super::change::Words;
use super::numbers::Numbers;
use sailplan_codegen::{Gated, Instruction, Product, ReduceOp};
use sailplan_ir::{Algorithm, CollectiveKind, Constant, Op, Picoseconds};

/// Changes it, most often so that it means something else.
pub(crate) fn change(instruction: &mut Instruction, words: &Words, numbers: &mut Numbers) {
    let Words { names, sails } = words;
    if numbers.below(40) == 0 {
        return retime(instruction, numbers);
    }
    match instruction {
        Instruction::Repeat { layers, body } => match numbers.below(3) {
            0 => layers.0.start = numbers.near_u32(layers.0.start),
            1 => layers.0.end = numbers.near_u32(layers.0.end),
            _ => body.clear(),
        },
        Instruction::Kernel { beside, .. } if !beside.is_empty() && numbers.below(2) == 0 => {
            products(beside, names, numbers);
        }
        Instruction::Kernel { op, skip, inputs, weights, out, .. } => match numbers.below(6) {
            5 => *skip = numbers.near(*skip),
            0 => *op = other_op(*op, numbers),
            1 if numbers.below(3) == 0 => drop(inputs.pop()),
            1 => rename(inputs, names, numbers),
            2 => rename(weights, names, numbers),
            3 => inputs.reverse(),
            _ => rename(std::slice::from_mut(out), names, numbers),
        },
        Instruction::Slice { buffer, start, end, out, .. } => match numbers.below(4) {
            0 => *start = numbers.near(*start),
            1 => *end = numbers.near(*end),
            2 => rename(std::slice::from_mut(buffer), names, numbers),
            _ => rename(std::slice::from_mut(out), names, numbers),
        },
        Instruction::Collective { .. } => collective(instruction, words, numbers),
        Instruction::Send { peer, buffer, bytes, tag, .. } | Instruction::Recv { peer, buffer, bytes, tag, .. } => {
            match numbers.below(4) {
                0 => *peer = numbers.pick(sails).copied().unwrap_or(*peer),
                1 => rename(std::slice::from_mut(buffer), names, numbers),
                2 => bytes.0 = numbers.near(bytes.0),
                _ => *tag = numbers.near_u32(*tag),
            }
        }
        Instruction::Stream { weight, bytes, .. } => match numbers.below(2) {
            0 => rename(std::slice::from_mut(weight), names, numbers),
            _ => bytes.0 = numbers.near(bytes.0),
        },
        Instruction::HostRecv { buffer, bytes, .. } => match numbers.below(2) {
            0 => rename(std::slice::from_mut(buffer), names, numbers),
            _ => bytes.0 = numbers.near(bytes.0),
        },
        Instruction::HostSend { buffer, start, bytes, .. } => match numbers.below(3) {
            0 => rename(std::slice::from_mut(buffer), names, numbers),
            1 => *start = numbers.near(*start),
            _ => bytes.0 = numbers.near(bytes.0),
        },
    }
}

/// One product of a joint kernel, or the list of them.
fn products(beside: &mut Vec<Product>, names: &[String], numbers: &mut Numbers) {
    let place = numbers.below(beside.len());
    match numbers.below(5) {
        0 => drop(beside.remove(place)),
        1 => beside.push(beside[place].clone()),
        2 => rename(std::slice::from_mut(&mut beside[place].weight), names, numbers),
        3 => rename(std::slice::from_mut(&mut beside[place].out), names, numbers),
        _ if beside.len() > 1 => {
            let weight = std::mem::take(&mut beside[0].weight);
            beside[0].weight = std::mem::replace(&mut beside[1].weight, weight);
        }
        _ => beside.clear(),
    }
}

fn retime(instruction: &mut Instruction, numbers: &mut Numbers) {
    if let Some(time) = instruction.time_mut() {
        *time = Picoseconds(numbers.near(time.0));
    }
}

fn rename(slots: &mut [String], names: &[String], numbers: &mut Numbers) {
    let slot = numbers.below(slots.len());
    if let (Some(slot), Some(name)) = (slots.get_mut(slot), numbers.pick(names)) {
        *slot = name.clone();
    }
}

fn collective(instruction: &mut Instruction, Words { names, sails }: &Words, numbers: &mut Numbers) {
    let Instruction::Collective { kind, op, group, algorithm, buffer, into, parts, by, bytes, .. } = instruction else {
        return;
    };
    if by.is_some() && numbers.below(3) == 0 {
        return gated(by, names, numbers);
    }
    match numbers.below(10) {
        0 => *kind = *numbers.pick(&[CollectiveKind::ALL.as_slice(), &CollectiveKind::ROUTED].concat()).unwrap(),
        1 => *op = other_reduce(*op, numbers),
        2 => group.reverse(),
        3 => drop(group.pop()),
        4 if group.len() > 2 => group.swap(0, 2),
        4 => group.push(numbers.pick(sails).copied().unwrap()),
        5 => *algorithm = *numbers.pick(&ALGORITHMS).unwrap(),
        6 => rename(std::slice::from_mut(buffer), names, numbers),
        7 => *into = numbers.pick(names).filter(|name| into.as_ref() != Some(name)).cloned(),
        8 if numbers.below(2) == 0 && !parts.is_empty() => parts.rotate_left(1),
        8 => nudge(parts, numbers),
        _ => bytes.0 = numbers.near(bytes.0),
    }
}

/// Which rows go where.
fn gated(by: &mut Option<Gated>, names: &[String], numbers: &mut Numbers) {
    let Some(said) = by else { return };
    match numbers.below(6) {
        0 => *by = None,
        1 => said.used = numbers.near_u32(said.used),
        2 => said.experts.rotate_left(1),
        3 => nudge(&mut said.experts, numbers),
        _ => rename(std::slice::from_mut(&mut said.gates), names, numbers),
    }
}

fn other_reduce(op: Option<ReduceOp>, numbers: &mut Numbers) -> Option<ReduceOp> {
    let other = match op {
        Some(ReduceOp::Merge { head_dim }) => {
            [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Merge { head_dim: head_dim * 2 }]
        }
        _ => [ReduceOp::Avg, ReduceOp::Max, ReduceOp::Min],
    };
    numbers.pick(&[None, Some(other[0]), Some(other[1]), Some(other[2])]).copied().flatten()
}

fn nudge(parts: &mut [u64], numbers: &mut Numbers) {
    let index = numbers.below(parts.len());
    if let Some(part) = parts.get_mut(index) {
        *part = numbers.near(*part);
    }
}

fn other_op(op: Op, numbers: &mut Numbers) -> Op {
    let by = numbers.below(3) as u32 + 1;
    match op {
        Op::RmsNorm { epsilon } => Op::RmsNorm { epsilon: Constant(epsilon.0 * 2.0) },
        Op::HeadNorm { head_dim, epsilon } => Op::HeadNorm { head_dim: head_dim * 2, epsilon },
        Op::Scale { factor } => Op::Scale { factor: Constant(factor.0 * 2.0) },
        Op::SoftCap { cap } => Op::SoftCap { cap: Constant(cap.0 * 2.0) },
        Op::GeGlu => Op::SwiGlu,
        Op::Rope { head_dim, rotary_dim, base, pairs } => match by {
            1 => Op::Rope { head_dim: head_dim / 2, rotary_dim, base, pairs },
            2 => Op::Rope { head_dim, rotary_dim: rotary_dim / 2, base, pairs },
            _ => Op::Rope { head_dim, rotary_dim, base: Constant(base.0 + 1.0), pairs },
        },
        Op::KvAppend { head_dim } => Op::KvAppend { head_dim: head_dim + by },
        Op::Attention { heads, kv_heads, head_dim, scores } => {
            Op::Attention { heads: heads + by, kv_heads, head_dim, scores }
        }
        Op::Add => Op::SwiGlu,
        Op::SwiGlu => Op::Add,
        Op::LinearSwiGlu => Op::LinearGeGlu,
        Op::LinearGeGlu => Op::LinearSwiGlu,
        Op::Route { used, renormalise } if by > 1 => Op::Route { used, renormalise: !renormalise },
        Op::Route { used, renormalise } => Op::Route { used: used + by, renormalise },
        Op::Experts { experts, used } if by > 1 => Op::Experts { experts, used: used - 1 },
        Op::Experts { experts, used } => Op::Experts { experts: experts + by, used },
        Op::Linear => Op::Bias,
        Op::Embed => Op::Linear,
        Op::Bias | Op::LastToken => Op::Add,
    }
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ring,
    Algorithm::Direct,
    Algorithm::OneShot,
    Algorithm::RecursiveDoubling,
    Algorithm::HalvingDoubling,
    Algorithm::Tree,
];
