//! Any single corrupted instruction is refused. What is accepted by right: another `time`; an algorithm exchanged on
//! all cards at once; two instructions exchanged that touch no memory in common; a result that its card never reads, put
//! elsewhere.

use crate::mutate::{Numbers, corrupt};
use crate::placements::plans;
use sailplan_codegen::{Instruction, Plan, Program};
use sailplan_ir::{CollectiveKind, SailId, Verify};
use std::collections::BTreeSet;

#[test]
fn corrupted_instructions_are_refused() {
    let mut numbers = Numbers(0x5EED);
    let (mut refused, mut accepted) = (0, Vec::new());
    for (name, plan) in plans() {
        for _ in 0..600 {
            let mut other = plan.clone();
            let what = corrupt(&mut other, &mut numbers);
            if other == plan {
                continue;
            }
            if !other.problems().0.is_empty() {
                refused += 1;
            } else if !only_unread_results_moved(&plan, &other) {
                accepted.push(format!("{name}: {what}"));
            }
        }
    }
    assert!(accepted.is_empty(), "{} accepted:\n{}", accepted.len(), accepted.join("\n"));
    assert!(refused > 1000, "only {refused} were corruptions");
}

/// Whether all that differs is where results go that their card never reads: after a stage's last collective, only the
/// card that sends the value on needs it.
fn only_unread_results_moved(before: &Plan, after: &Plan) -> bool {
    (0..before.sails.len()).flat_map(|sail| [(sail, false), (sail, true)]).all(|(sail, decode)| {
        let id = before.sails[sail].sail;
        let (old, new) = (flat(program(before, sail, decode)), flat(program(after, sail, decode)));
        let unread = |at: usize| {
            let ((reads, writes), (other_reads, _)) = (touches(old[at], id), touches(new[at], id));
            let later = old[at + 1..].iter().map(|later| touches(later, id));
            let mut uses = later.filter_map(|(reads, writes_later)| {
                let reads = reads.iter().any(|name| writes.contains(name));
                (reads || writes_later.iter().any(|name| writes.contains(name))).then_some(reads)
            });
            reads == other_reads && uses.next() != Some(true)
        };
        old.len() == new.len() && (0..old.len()).filter(|&at| old[at] != new[at]).all(unread)
    })
}

/// Instructions in the order in which they run.
fn flat(program: &Program) -> Vec<&Instruction> {
    let mut all = Vec::new();
    for instruction in &program.instructions {
        match instruction {
            Instruction::Repeat { layers, body } => layers.0.clone().for_each(|_| all.extend(body)),
            other => all.push(other),
        }
    }
    all
}

#[test]
fn exchanged_neighbours_are_refused_unless_they_are_independent() {
    let (mut refused, mut accepted) = (0, 0);
    for (name, plan) in plans() {
        for (sail, decode) in (0..plan.sails.len()).flat_map(|sail| [(sail, false), (sail, true)]) {
            for path in neighbours(program(&plan, sail, decode)) {
                let mut other = plan.clone();
                let (a, b) = exchange(program_mut(&mut other, sail, decode), path);
                if other.problems().0.is_empty() {
                    let at = format!("{name} {sail} {decode} {path:?}");
                    let touched = [&a, &b].map(|one| touches(one, plan.sails[sail].sail));
                    assert!(independent(program(&plan, sail, decode), &touched), "{at}: {a:?} and {b:?}");
                    accepted += 1;
                } else {
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 300 && accepted > 50, "{refused} refused, {accepted} accepted");
}

/// A place in a program: the repeat, when inside one, and the first of two neighbours.
type Path = (Option<usize>, usize);

fn program(plan: &Plan, sail: usize, decode: bool) -> &Program {
    if decode { &plan.sails[sail].decode } else { &plan.sails[sail].prefill }
}

fn program_mut(plan: &mut Plan, sail: usize, decode: bool) -> &mut Program {
    if decode { &mut plan.sails[sail].decode } else { &mut plan.sails[sail].prefill }
}

fn neighbours(program: &Program) -> Vec<Path> {
    let pairs = |count: usize| 0..count.saturating_sub(1);
    let mut paths: Vec<Path> = pairs(program.instructions.len()).map(|index| (None, index)).collect();
    for (index, instruction) in program.instructions.iter().enumerate() {
        if let Instruction::Repeat { body, .. } = instruction {
            paths.extend(pairs(body.len()).map(|inner| (Some(index), inner)));
        }
    }
    paths
}

fn exchange(program: &mut Program, (repeat, index): Path) -> (Instruction, Instruction) {
    let list = match repeat.map(|repeat| &mut program.instructions[repeat]) {
        Some(Instruction::Repeat { body, .. }) => body,
        _ => &mut program.instructions,
    };
    list.swap(index, index + 1);
    (list[index].clone(), list[index + 1].clone())
}

/// What an instruction of a card reads and writes, by name.
type Touched<'a> = (Vec<&'a String>, Vec<&'a String>);

fn touches(instruction: &Instruction, sail: SailId) -> Touched<'_> {
    match instruction {
        Instruction::Collective { kind: CollectiveKind::Broadcast, group, buffer, .. } if group[0] == sail => {
            (vec![buffer], Vec::new())
        }
        Instruction::Repeat { .. } => (Vec::new(), Vec::new()),
        Instruction::Kernel { inputs, weights, out, beside, .. } => {
            let held = weights.iter().chain(beside.iter().map(|product| &product.weight));
            let outs = std::iter::once(out).chain(beside.iter().map(|product| &product.out));
            (inputs.iter().chain(held).collect(), outs.collect())
        }
        Instruction::Slice { buffer, out, .. } => (vec![buffer], vec![out]),
        Instruction::Collective { buffer, into, .. } => (vec![buffer], vec![into.as_ref().unwrap_or(buffer)]),
        Instruction::Stream { weight, .. } => (Vec::new(), vec![weight]),
        Instruction::Send { buffer, .. } | Instruction::HostSend { buffer, .. } => (vec![buffer], Vec::new()),
        Instruction::Recv { buffer, .. } | Instruction::HostRecv { buffer, .. } => (Vec::new(), vec![buffer]),
    }
}

fn independent(program: &Program, [(reads_a, writes_a), (reads_b, writes_b)]: &[Touched<'_>; 2]) -> bool {
    let place = |name: &String| program.buffers.iter().find(|buffer| buffer.name == *name);
    let meet = |one: &&String, other: &&String| match (place(one), place(other)) {
        (Some(one), Some(other)) => {
            one.bytes.0 > 0
                && other.bytes.0 > 0
                && one.offset < other.offset + other.bytes
                && other.offset < one.offset + one.bytes
        }
        _ => one == other,
    };
    let apart = |one: &[&String], other: &[&String]| !one.iter().any(|one| other.iter().any(|other| meet(one, other)));
    apart(writes_a, writes_b) && apart(writes_a, reads_b) && apart(reads_a, writes_b)
}

#[test]
fn corrupted_residents_and_buffers_are_refused() {
    let mut accepted = BTreeSet::new();
    for (name, plan) in plans() {
        for sail in 0..plan.sails.len() {
            for (what, change) in changes() {
                let mut other = plan.clone();
                change(&mut other, sail);
                if other != plan && other.problems().0.is_empty() {
                    accepted.insert(format!("{name} {sail}: {what}"));
                }
            }
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
}

type Change = fn(&mut Plan, usize);

fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("weight dropped", |plan, sail| drop(plan.sails[sail].weights.pop())),
        ("weight twice", |plan, sail| {
            let weight = plan.sails[sail].weights[0].clone();
            plan.sails[sail].weights.push(weight);
        }),
        ("load dropped", |plan, sail| drop(plan.sails[sail].load.pop())),
        ("load twice", |plan, sail| {
            let load = plan.sails[sail].load[0].clone();
            plan.sails[sail].load.push(load);
        }),
        ("load of other bytes", |plan, sail| plan.sails[sail].load[0].bytes.0 += 1),
        ("load of another layer", |plan, sail| {
            let layers = plan.sails[sail].load.iter_mut().find_map(|load| load.layers.as_mut());
            layers.into_iter().for_each(|layers| layers.0.end += 1);
        }),
        ("load from the host", |plan, sail| plan.sails[sail].load.iter_mut().for_each(|load| load.from = None)),
        ("load kept", |plan, sail| plan.sails[sail].load.iter_mut().for_each(|load| load.to = None)),
        ("load from elsewhere", |plan, sail| plan.sails[sail].load[1].from = Some(sailplan_ir::SailId(1))),
        ("load to elsewhere", |plan, sail| plan.sails[sail].load[1].to = Some(sailplan_ir::SailId(0))),
        ("streamed weights resident", |plan, sail| {
            plan.sails[sail].weights.iter_mut().for_each(|weight| weight.streamed = false);
        }),
        ("resident weight streamed", |plan, sail| plan.sails[sail].weights[0].streamed ^= true),
        ("cache dropped", |plan, sail| drop(plan.sails[sail].caches.pop())),
        ("weight of other bytes", |plan, sail| plan.sails[sail].weights[0].bytes.0 += 18),
        ("weight elsewhere", |plan, sail| plan.sails[sail].weights[0].offset.0 += 1),
        ("weight outside", |plan, sail| plan.sails[sail].weights[0].offset.0 = u64::MAX - 63),
        ("weight of another type", |plan, sail| plan.sails[sail].weights[0].dtype = sailplan_ir::DType::Q8_0),
        ("weight of another name", |plan, sail| plan.sails[sail].weights[0].name.push('x')),
        ("arena too small", |plan, sail| plan.sails[sail].memory.activations.0 -= 64),
        ("more than the card has", |plan, sail| plan.sails[sail].memory.kv.0 = u64::MAX),
        ("another card's memory", |plan, sail| plan.sails[sail].memory.capacity.0 += 1),
        ("buffer of other bytes", |plan, sail| plan.sails[sail].prefill.buffers[0].bytes.0 += 4),
        ("buffer of other columns", |plan, sail| plan.sails[sail].decode.buffers[0].columns += 1),
        ("buffer of other rows", |plan, sail| plan.sails[sail].decode.buffers[0].rows = sailplan_ir::Dim::Context),
        ("buffer of a part of other rows", |plan, sail| {
            let mut rows = plan.sails[sail].prefill.buffers.iter_mut().map(|buffer| &mut buffer.rows);
            let part = rows.rfind(|rows| matches!(rows, sailplan_ir::Dim::Part(_)));
            part.into_iter().for_each(|rows| *rows = sailplan_ir::Dim::Part("1..3 of 4".parse().unwrap()));
        }),
        ("buffer of all rows", |plan, sail| {
            let mut rows = plan.sails[sail].decode.buffers.iter_mut().map(|buffer| &mut buffer.rows);
            let part = rows.rfind(|rows| matches!(rows, sailplan_ir::Dim::Part(_)));
            part.into_iter().for_each(|rows| *rows = sailplan_ir::Dim::Tokens);
        }),
        ("buffer dropped", |plan, sail| drop(plan.sails[sail].prefill.buffers.pop())),
        ("another stage", |plan, sail| plan.sails[sail].stage += 1),
        ("another replica", |plan, sail| plan.sails[sail].replica += 1),
        ("another group", |plan, sail| plan.sails[sail].group.push(sailplan_ir::SailId(7))),
        ("program dropped", |plan, sail| plan.sails[sail].decode.instructions.clear()),
        ("card dropped", |plan, sail| drop(plan.sails.remove(sail))),
    ]
}
