//! One random thing done to a plan.

use super::numbers::Numbers;
use super::{instructions, parts};
use sailplan_codegen::{Instruction, Plan, Program};
use sailplan_ir::SailId;

/// Names and cards that a mutation may put in the place of others.
pub(crate) struct Words {
    pub(crate) names: Vec<String>,
    pub(crate) sails: Vec<SailId>,
}

/// Does it; says what.
pub(crate) fn change(plan: &mut Plan, numbers: &mut Numbers) -> String {
    if numbers.below(20) == 0 {
        return parts::head(plan, numbers);
    }
    let sails: Vec<SailId> = plan.sails.iter().map(|sail| sail.sail).collect();
    let sail = numbers.below(sails.len());
    let entry = &mut plan.sails[sail];
    let decode = numbers.below(2) == 1;
    let residents = entry.weights.iter().chain(&entry.caches).map(|resident| resident.name.clone());
    let residents: Vec<String> = residents.collect();
    let program = if decode { &mut entry.decode } else { &mut entry.prefill };
    let names = program.buffers.iter().map(|buffer| buffer.name.clone()).chain(residents).collect();
    let words = Words { names, sails };
    let what = match numbers.below(12) {
        0 => parts::buffer(program, &words, numbers),
        1 => parts::resident(entry, numbers),
        2 => parts::load(&mut entry.load, &words, numbers),
        3 => parts::card(entry, &words, numbers),
        _ => self::program(program, &words, numbers),
    };
    format!("{} {}: {what}", plan.sails.get(sail).map_or("?".to_owned(), |sail| sail.sail.to_string()), phase(decode))
}

fn phase(decode: bool) -> &'static str {
    if decode { "decode" } else { "prefill" }
}

fn program(program: &mut Program, words: &Words, numbers: &mut Numbers) -> String {
    let list = list(&mut program.instructions, numbers);
    let (index, other) = (numbers.below(list.len()), numbers.below(list.len()));
    if list.is_empty() {
        return "nothing".to_owned();
    }
    let shown = format!("{:?}", list[index]);
    match numbers.below(9) {
        0 => {
            list.remove(index);
            format!("dropped {shown}")
        }
        1 => {
            let copy = list[index].clone();
            list.insert(other, copy);
            format!("copied to {other} {shown}")
        }
        2 => {
            list.swap(index, other);
            format!("exchanged with {:?}: {shown}", list[index])
        }
        3 => {
            let moved = list.remove(index);
            list.insert(other, moved);
            format!("moved from {index} to {other} {shown}")
        }
        _ => {
            instructions::change(&mut list[index], words, numbers);
            format!("{shown} made {:?}", list[index])
        }
    }
}

/// The program's own list or the body of a repeat.
fn list<'a>(instructions: &'a mut Vec<Instruction>, numbers: &mut Numbers) -> &'a mut Vec<Instruction> {
    let repeat = |instruction: &Instruction| matches!(instruction, Instruction::Repeat { .. });
    let repeats: Vec<usize> = (0..instructions.len()).filter(|&index| repeat(&instructions[index])).collect();
    let inside = numbers.pick(&repeats).copied().filter(|_| numbers.below(3) > 0);
    match inside {
        Some(index) => match &mut instructions[index] {
            Instruction::Repeat { body, .. } => body,
            _ => unreachable!("only repeats were listed"),
        },
        None => instructions,
    }
}
