//! Rows that are sent to experts: what a plan says of them, and what is refused: rows that go by other gates or to other
//! experts, that anything else reads, and sums of what experts did not make of them.

use crate::forms::Style;
use crate::placements::{part, plan, plan_of, sound};
use crate::small::two_mixtures;
use sailplan_codegen::{Gated, Instruction, Plan};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Op, Verify};

/// The prefill body of the first repeat of every card.
fn bodies(plan: &mut Plan) -> impl Iterator<Item = &mut Vec<Instruction>> {
    plan.sails.iter_mut().filter_map(|sail| {
        sail.prefill.instructions.iter_mut().find_map(|instruction| match instruction {
            Instruction::Repeat { body, .. } => Some(body),
            _ => None,
        })
    })
}

fn is(instruction: &Instruction, wanted: CollectiveKind) -> bool {
    matches!(instruction, Instruction::Collective { kind, .. } if *kind == wanted)
}

/// Changes every card's instructions alike; the first problem must say this.
#[track_caller]
fn refused_on_all(mut plan: Plan, change: impl Fn(&mut Vec<Instruction>), words: &str) {
    sound(&plan);
    bodies(&mut plan).for_each(change);
    let problems = plan.problems();
    let first = problems.0.first().expect("the plan must be refused");
    assert!(first.message.contains(words), "{problems}");
}

fn sent() -> Plan {
    plan_of("experts sent rows")
}

fn find(body: &[Instruction], wanted: CollectiveKind) -> usize {
    body.iter().position(|instruction| is(instruction, wanted)).unwrap()
}

fn by(instruction: &mut Instruction) -> &mut Gated {
    match instruction {
        Instruction::Collective { by: Some(by), .. } => by,
        other => panic!("{other:?}"),
    }
}

/// Five experts on three cards, of which a row takes two; rows by thirds.
#[test]
fn a_plan_says_which_rows_go_where() {
    let mut plan = sent();
    let body = bodies(&mut plan).next().unwrap();
    for kind in [CollectiveKind::Dispatch, CollectiveKind::Combine] {
        let at = find(body, kind);
        let Instruction::Collective { parts, op, algorithm, .. } = &body[at] else { unreachable!() };
        assert_eq!((parts.as_slice(), *algorithm), ([1, 1, 1].as_slice(), Algorithm::Direct));
        assert_eq!(op.is_some(), kind == CollectiveKind::Combine);
        let Gated { gates, used, experts } = by(&mut body[at]);
        assert_eq!((gates.as_str(), *used, experts.as_slice()), ("layer.gates", 2, [2, 2, 1].as_slice()));
    }
}

/// The expected bytes of messages: a row goes to a card with two of five experts with chance 1 − 3/10, to one with one
/// with 2/5.
#[test]
fn traffic_is_that_of_uniform_routing() {
    let one = |kind: CollectiveKind| {
        let mut plan = sent();
        bodies(&mut plan).for_each(|body| body.retain(|instruction| is(instruction, kind)));
        let sent = sailplan_codegen::sent(&plan, |sail| &sail.prefill);
        let all = |sent: &sailplan_codegen::Sent| sent.layers.values().copied().sum::<Bytes>();
        sent.values().map(all).collect::<Vec<_>>()
    };
    // 4 rows of 64 columns in BF16, a third of them for each card, over three layers.
    let (third, layers) = (512 / 3, 3);
    let rows = |parts: [u64; 2]| parts.iter().map(|tenths| (third * tenths).div_ceil(10)).sum::<u64>() * layers;
    // Cards in order of id; the group is 1, 0, 2.
    let wanted = [rows([7, 4]), rows([7, 4]), rows([7, 7])].map(Bytes);
    assert_eq!(one(CollectiveKind::Dispatch), wanted);
    let back = [rows([7, 7]), rows([7, 7]), rows([4, 4])].map(Bytes);
    assert_eq!(one(CollectiveKind::Combine), back);
}

#[test]
fn rows_by_other_experts_are_refused() {
    let dealt = |body: &mut Vec<Instruction>, kinds: &[CollectiveKind]| {
        for &kind in kinds {
            let at = find(body, kind);
            by(&mut body[at]).experts = vec![1, 2, 2];
        }
    };
    let both = [CollectiveKind::Dispatch, CollectiveKind::Combine];
    let rows = "experts reads rows that were sent to experts 1..3 of 5";
    refused_on_all(sent(), |body| dealt(body, &both), rows);
    refused_on_all(sent(), |body| dealt(body, &both[..1]), rows);
    refused_on_all(sent(), |body| dealt(body, &both[1..]), "which is not what these gates' experts made of rows");
    let fewer = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        by(&mut body[at]).used = 1;
    };
    refused_on_all(sent(), fewer, "are no gates by which a row takes 1 of 5 experts");
    let logits = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        by(&mut body[at]).gates = "layer.ffn_gate_inp".to_owned();
    };
    refused_on_all(sent(), logits, "are no gates by which a row takes 2 of 5 experts");
    let none = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Combine);
        if let Instruction::Collective { by, .. } = &mut body[at] {
            *by = None;
        }
    };
    refused_on_all(sent(), none, "combine with the wrong operands");
    let too_many = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        by(&mut body[at]).experts.push(0);
    };
    refused_on_all(sent(), too_many, "dispatch with the wrong operands");
    let columns = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        by(&mut body[at]).experts[0] = 9;
    };
    refused_on_all(sent(), columns, "has not a column for each expert");
}

/// Gates of the first mixture for the second; both have as many experts and take as many.
#[test]
fn rows_by_the_gates_of_another_router_are_refused() {
    let model = two_mixtures();
    let mut plan = plan(&model, &[part(&[1, 0, 2], 0..5, Style::Sent, Algorithm::Direct)]);
    sound(&plan);
    let mut gates = Vec::new();
    for instruction in bodies(&mut plan).next().unwrap() {
        if let Instruction::Collective { kind: CollectiveKind::Dispatch, by: Some(by), .. } = instruction {
            gates.push(by.gates.clone());
        }
    }
    let [first, second] = gates.as_slice() else { panic!("{gates:?}") };
    // The first gates are kept where nothing overwrites them.
    for sail in &mut plan.sails {
        let kept = sail.prefill.buffers.iter_mut().find(|buffer| buffer.name == *first).unwrap();
        kept.offset = sail.memory.activations.aligned(64);
        sail.memory.activations = kept.offset + kept.bytes.aligned(64);
    }
    sound(&plan);
    let exchanged = |kinds: &'static [CollectiveKind], words: &str| {
        let other = |body: &mut Vec<Instruction>| {
            for instruction in body.iter_mut().filter(|one| kinds.iter().any(|kind| is(one, *kind))) {
                if by(instruction).gates == *second {
                    by(instruction).gates = first.clone();
                }
            }
        };
        refused_on_all(plan.clone(), other, words);
    };
    exchanged(&[CollectiveKind::Dispatch, CollectiveKind::Combine], "experts reads rows that were sent by other gates");
    exchanged(&[CollectiveKind::Combine], "which is not what these gates' experts made of rows sent to them");
}

#[test]
fn other_readers_and_other_sums_are_refused() {
    let read = |op: fn(&Op) -> bool, from: CollectiveKind| {
        move |body: &mut Vec<Instruction>| {
            let at = find(body, from);
            let Instruction::Collective { buffer, into, .. } = &body[at] else { unreachable!() };
            let name = if from == CollectiveKind::Dispatch { into.clone().unwrap() } else { buffer.clone() };
            let later = body[at..].iter_mut().find_map(|instruction| match instruction {
                Instruction::Kernel { op: other, inputs, .. } if op(other) => Some(inputs),
                _ => None,
            });
            later.unwrap()[1] = name;
        }
    };
    let add: fn(&Op) -> bool = |op| matches!(op, Op::Add);
    refused_on_all(sent(), read(add, CollectiveKind::Dispatch), "add");
    // What the experts made, scattered as any sum, gathered and sent on.
    let combine_as = |kind: CollectiveKind| {
        move |body: &mut Vec<Instruction>| {
            let at = find(body, CollectiveKind::Combine);
            if let Instruction::Collective { kind: own, by, .. } = &mut body[at] {
                (*own, *by) = (kind, None);
            }
        }
    };
    refused_on_all(sent(), combine_as(CollectiveKind::ReduceScatter), "which is no partial sum");
    // Rows that nothing was made of.
    let skipped = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        let Instruction::Collective { into, .. } = body[at].clone() else { unreachable!() };
        let combine = find(body, CollectiveKind::Combine);
        if let Instruction::Collective { buffer, .. } = &mut body[combine] {
            *buffer = into.unwrap();
        }
    };
    refused_on_all(sent(), skipped, "which is not what these gates' experts made of rows sent to them");
    // Sums of what experts made of rows that nobody sent them.
    let gathered = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        if let Instruction::Collective { kind, by, .. } = &mut body[at] {
            (*kind, *by) = (CollectiveKind::AllGather, None);
        }
    };
    refused_on_all(sent(), gathered, "which is not what these gates' experts made of rows sent to them");
}

#[test]
fn other_groups_and_algorithms_are_refused() {
    let change = |change: fn(&mut Instruction)| {
        move |body: &mut Vec<Instruction>| {
            let at = find(body, CollectiveKind::Dispatch);
            change(&mut body[at]);
        }
    };
    let group = change(|one| {
        if let Instruction::Collective { group, .. } = one {
            group.reverse();
        }
    });
    refused_on_all(sent(), group, "its group is");
    let ring = change(|one| {
        if let Instruction::Collective { algorithm, .. } = one {
            *algorithm = Algorithm::Ring;
        }
    });
    refused_on_all(sent(), ring, "ring does no dispatch");
    let twice = |body: &mut Vec<Instruction>| {
        let at = find(body, CollectiveKind::Dispatch);
        body.insert(at, body[at].clone());
    };
    refused_on_all(sent(), twice, "changes nothing");
    // One card alone says that others have other experts.
    let mut plan = sent();
    let body = bodies(&mut plan).next().unwrap();
    let at = find(body, CollectiveKind::Dispatch);
    by(&mut body[at]).experts = vec![1, 2, 2];
    let problems = plan.problems().to_string();
    assert!(problems.contains("does another collective at this point"), "{problems}");
}
