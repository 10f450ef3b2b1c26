//! Single corruptions of a plan, chosen by numbers.

use sailplan_codegen::{Instruction, Plan, Product, Program, ReduceOp};
use sailplan_ir::{Algorithm, CollectiveKind, Constant, Op, Pairs, SailId, Scores};

/// Numbers from a seed (xorshift64*, Vigna 2016).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// A neighbour of a number, or a wild one.
    fn near(&mut self, value: u64) -> u64 {
        match self.below(5) {
            0 => value.wrapping_add(1),
            1 => value.wrapping_sub(1),
            2 => value.wrapping_add(32),
            3 => value / 2,
            _ => u64::MAX,
        }
    }
}

/// Every instruction, also inside repeats.
pub(crate) fn each(program: &mut Program, change: &mut dyn FnMut(&mut Instruction)) {
    for instruction in &mut program.instructions {
        if let Instruction::Repeat { body, .. } = instruction {
            body.iter_mut().for_each(&mut *change);
        }
        change(instruction);
    }
}

/// Does one random thing to one random instruction; says what.
pub(crate) fn corrupt(plan: &mut Plan, numbers: &mut Numbers) -> String {
    let sail = numbers.below(plan.sails.len());
    let sails: Vec<SailId> = plan.sails.iter().map(|sail| sail.sail).collect();
    let entry = &mut plan.sails[sail];
    let residents = entry.weights.iter().chain(&entry.caches).map(|resident| resident.name.clone());
    let residents: Vec<String> = residents.collect();
    let decode = numbers.below(2) == 1;
    let program = if decode { &mut entry.decode } else { &mut entry.prefill };
    let names: Vec<String> = program.buffers.iter().map(|buffer| buffer.name.clone()).chain(residents).collect();
    let list = list(&mut program.instructions, numbers);
    let index = numbers.below(list.len());
    let what = match numbers.below(8) {
        0 => {
            list.remove(index);
            "dropped".to_owned()
        }
        1 => {
            list.insert(index, list[index].clone());
            "duplicated".to_owned()
        }
        _ => change(&mut list[index], &names, &sails, numbers),
    };
    format!("{}.{} instruction {index} {what}", sails[sail], if decode { "decode" } else { "prefill" })
}

/// The program's own list or the body of a repeat.
fn list<'a>(instructions: &'a mut Vec<Instruction>, numbers: &mut Numbers) -> &'a mut Vec<Instruction> {
    let repeats: Vec<usize> =
        (0..instructions.len()).filter(|&index| matches!(instructions[index], Instruction::Repeat { .. })).collect();
    match numbers.pick(&repeats) {
        Some(&repeat) if numbers.below(3) > 0 => match &mut instructions[repeat] {
            Instruction::Repeat { body, .. } => body,
            _ => unreachable!(),
        },
        _ => instructions,
    }
}

fn change(instruction: &mut Instruction, names: &[String], sails: &[SailId], numbers: &mut Numbers) -> String {
    let before = format!("{instruction:?}");
    match instruction {
        Instruction::Repeat { layers, body } => match numbers.below(3) {
            0 => layers.0.start = numbers.near(u64::from(layers.0.start)) as u32,
            1 => layers.0.end = numbers.near(u64::from(layers.0.end)) as u32,
            _ => body.clear(),
        },
        Instruction::Kernel { beside, .. } if !beside.is_empty() && numbers.below(2) == 0 => {
            products(beside, names, numbers);
        }
        Instruction::Kernel { op, skip, inputs, weights, out, .. } => match numbers.below(6) {
            5 => *skip = numbers.near(*skip),
            0 => *op = other_op(*op, numbers),
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
        Instruction::Collective { .. } => collective(instruction, names, sails, numbers),
        Instruction::Send { peer, buffer, bytes, tag, .. } | Instruction::Recv { peer, buffer, bytes, tag, .. } => {
            match numbers.below(4) {
                0 => *peer = numbers.pick(sails).copied().unwrap_or(*peer),
                1 => rename(std::slice::from_mut(buffer), names, numbers),
                2 => bytes.0 = numbers.near(bytes.0),
                _ => *tag = numbers.near(u64::from(*tag)) as u32,
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
    format!("{before} made {instruction:?}")
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

fn rename(slots: &mut [String], names: &[String], numbers: &mut Numbers) {
    let slot = numbers.below(slots.len());
    if let (Some(slot), Some(name)) = (slots.get_mut(slot), numbers.pick(names)) {
        *slot = name.clone();
    }
}

fn collective(instruction: &mut Instruction, names: &[String], sails: &[SailId], numbers: &mut Numbers) {
    let Instruction::Collective { kind, op, group, algorithm, buffer, into, parts, by, bytes, .. } = instruction else {
        return;
    };
    if let Some(by) = by.as_mut().filter(|_| numbers.below(3) == 0) {
        match numbers.below(4) {
            0 => rename(std::slice::from_mut(&mut by.gates), names, numbers),
            1 => by.used = numbers.near(u64::from(by.used)) as u32,
            2 => by.experts.rotate_left(1),
            _ => by.experts[0] = numbers.near(by.experts[0]),
        }
        return;
    }
    match numbers.below(10) {
        0 => *kind = *numbers.pick(&[CollectiveKind::ALL.as_slice(), &CollectiveKind::ROUTED].concat()).unwrap(),
        1 => *op = other_reduce(*op, numbers),
        2 => group.reverse(),
        3 => drop(group.pop()),
        4 => group.push(numbers.pick(sails).copied().unwrap()),
        5 => *algorithm = *numbers.pick(&[Algorithm::Ring, Algorithm::Direct, Algorithm::OneShot]).unwrap(),
        6 => rename(std::slice::from_mut(buffer), names, numbers),
        7 => *into = numbers.pick(names).filter(|name| into.as_ref() != Some(name)).cloned(),
        8 if !parts.is_empty() => parts.rotate_left(1),
        _ => bytes.0 = numbers.near(bytes.0),
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

fn other_op(op: Op, numbers: &mut Numbers) -> Op {
    let by = numbers.below(3) as u32 + 1;
    match op {
        Op::RmsNorm { epsilon } => Op::RmsNorm { epsilon: Constant(epsilon.0 * 2.0) },
        Op::HeadNorm { head_dim, epsilon } if by > 1 => {
            Op::HeadNorm { head_dim, epsilon: Constant(epsilon.0 * 2.0 + 1e-6) }
        }
        Op::HeadNorm { head_dim, epsilon } => Op::HeadNorm { head_dim: head_dim * 2, epsilon },
        Op::Rope { head_dim, rotary_dim, base, pairs } => match numbers.below(4) {
            0 => Op::Rope { head_dim: head_dim / 2, rotary_dim, base, pairs },
            1 => Op::Rope { head_dim, rotary_dim: rotary_dim / 2, base, pairs },
            2 => Op::Rope { head_dim, rotary_dim, base: Constant(base.0 + 1.0), pairs },
            _ if pairs.adjacent() => Op::Rope { head_dim, rotary_dim, base, pairs: Pairs::Halves },
            _ => Op::Rope { head_dim, rotary_dim, base, pairs: Pairs::Adjacent },
        },
        Op::KvAppend { head_dim } => Op::KvAppend { head_dim: head_dim + by },
        Op::Attention { heads, kv_heads, head_dim, scores } => match numbers.below(4) {
            0 => Op::Attention { heads: heads + by, kv_heads, head_dim, scores },
            other => Op::Attention { heads, kv_heads, head_dim, scores: other_scores(scores, other) },
        },
        Op::Scale { factor } => Op::Scale { factor: Constant(factor.0 * 2.0) },
        Op::SoftCap { cap } => Op::SoftCap { cap: Constant(cap.0 * 2.0) },
        Op::GeGlu => Op::SwiGlu,
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

fn other_scores(scores: Scores, which: usize) -> Scores {
    let other = |constant: Option<Constant>| Some(Constant(constant.map_or(0.25, |constant| constant.0 * 2.0)));
    match which {
        1 => Scores { scale: other(scores.scale), ..scores },
        2 => Scores { softcap: other(scores.softcap), ..scores },
        _ => Scores { window: Some(scores.window.map_or(2, |window| window + 1)), ..scores },
    }
}
