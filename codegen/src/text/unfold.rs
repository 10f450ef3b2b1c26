//! From the text to a plan. A line may stand for many; how many all of them may be together is bounded before any
//! of them is made.

use super::{Body, BufferText, LoadText, OWN, Part, PlanText, ProgramText, ResidentText, SailText, Turn};
use crate::lists::Runs;
use crate::verify::problem;
use crate::{Buffer, Instruction, Layers, Load, Plan, Product, Program, Resident, SailPlan};
use sailplan_ir::{Bytes, Diagnostic, Picoseconds, SailId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Memory for all that lines stand for. A plan for 64 cards and 80 layers of two classes in turn takes 60 MiB.
const MAX_UNFOLDED: usize = 1 << 29;

/// The plan that a text says.
pub(crate) fn unfold(text: PlanText) -> Result<Plan, Diagnostic> {
    let PlanText { version, digest, made_by, model, fleet, request, pins, .. } = text;
    let PlanText { objective, estimate, certificate, bodies, sails, .. } = text;
    let mut unfold = Unfold { bodies: index(&bodies)?, used: BTreeSet::new(), left: Budget(MAX_UNFOLDED) };
    let sails = sails.into_iter().map(|sail| unfold.card(sail)).collect::<Result<_, _>>()?;
    if let Some(name) = unfold.bodies.keys().find(|name| !unfold.used.contains(*name)) {
        return Err(problem("bodies", format!("no card runs `{name}`")));
    }
    Ok(Plan { version, digest, made_by, model, fleet, request, pins, objective, estimate, certificate, sails })
}

fn index(bodies: &[Body]) -> Result<BTreeMap<&str, &[Instruction]>, Diagnostic> {
    let mut index = BTreeMap::new();
    for body in bodies {
        if index.insert(body.name.as_str(), body.instructions.as_slice()).is_some() {
            return Err(problem("bodies", format!("two bodies are called `{}`", body.name)));
        }
    }
    Ok(index)
}

struct Unfold<'a> {
    bodies: BTreeMap<&'a str, &'a [Instruction]>,
    used: BTreeSet<&'a str>,
    left: Budget,
}

/// Bytes that may still be made.
struct Budget(usize);

impl Budget {
    /// `count` copies of something of that size.
    fn take(&mut self, count: usize, size: usize) -> Result<(), String> {
        let left = count.checked_mul(size).and_then(|bytes| self.0.checked_sub(bytes));
        self.0 = left.ok_or_else(|| format!("the lines that stand for many make more than {MAX_UNFOLDED} bytes"))?;
        Ok(())
    }
}

/// Bytes of an instruction, near enough.
fn size(instruction: &Instruction) -> usize {
    let strings = |names: &[String]| names.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>();
    let inside = match instruction {
        Instruction::Kernel { inputs, weights, out, beside, .. } => {
            let product = |one: &Product| size_of::<Product>() + one.weight.len() + one.out.len();
            strings(inputs) + strings(weights) + out.len() + beside.iter().map(product).sum::<usize>()
        }
        Instruction::Slice { buffer, out, .. } => buffer.len() + out.len(),
        Instruction::Collective { group, buffer, into, parts, by, .. } => {
            let lists = size_of_val(group.as_slice()) + size_of_val(parts.as_slice());
            let by = by.as_ref().map_or(0, |by| by.gates.len() + size_of_val(by.experts.as_slice()));
            lists + by + buffer.len() + into.as_ref().map_or(0, String::len)
        }
        Instruction::Send { buffer, .. }
        | Instruction::Recv { buffer, .. }
        | Instruction::HostRecv { buffer, .. }
        | Instruction::HostSend { buffer, .. } => buffer.len(),
        Instruction::Stream { weight, .. } => weight.len(),
        Instruction::Repeat { .. } => 0,
    };
    size_of::<Instruction>() + inside
}

impl Unfold<'_> {
    fn card(&mut self, card: SailText) -> Result<SailPlan, Diagnostic> {
        let SailText { sail, replica, stage, group, memory, sustain, weights, caches, load, prefill, decode } = card;
        let at = |place: &str, reason: String| problem(format!("{sail}.{place}"), reason);
        Ok(SailPlan {
            sail,
            replica,
            stage,
            group,
            memory,
            sustain,
            weights: residents(weights, &mut self.left).map_err(|reason| at("weights", reason))?,
            caches: residents(caches, &mut self.left).map_err(|reason| at("caches", reason))?,
            load: loads(load, &mut self.left).map_err(|reason| at("load", reason))?,
            prefill: self.program(prefill, (sail, "prefill"))?,
            decode: self.program(decode, (sail, "decode"))?,
        })
    }

    fn program(&mut self, program: ProgramText, (sail, name): (SailId, &str)) -> Result<Program, Diagnostic> {
        let slices = program.buffers.iter().filter_map(|buffer| Some((buffer.name.clone(), buffer.slice?)));
        let slices: BTreeMap<String, (u64, u64)> = slices.collect();
        let at = |part: usize, reason: String| problem(format!("{sail}.{name}.run[{part}]"), reason);
        let mut instructions = Vec::new();
        for (number, part) in program.run.into_iter().enumerate() {
            match part {
                Part::Once(list) => instructions.extend(list),
                Part::Layers(turns) => self.layers(turns, &mut instructions).map_err(|reason| at(number, reason))?,
            }
        }
        for instruction in &mut instructions {
            let list = match instruction {
                Instruction::Repeat { body, .. } => body.as_mut_slice(),
                other => std::slice::from_mut(other),
            };
            list.iter_mut()
                .try_for_each(|one| own(one, &slices))
                .map_err(|reason| problem(format!("{sail}.{name}"), reason))?;
        }
        Ok(Program { buffers: program.buffers.into_iter().map(buffer).collect(), instructions })
    }

    /// Layers in order of their numbers, each with its own copy of its body.
    fn layers(&mut self, turns: Vec<Turn>, made: &mut Vec<Instruction>) -> Result<(), String> {
        let mut order: Vec<(Range<u32>, &[Instruction])> = Vec::new();
        for turn in &turns {
            let known = self.bodies.get_key_value(turn.body.as_str());
            let (&name, &body) = known.ok_or_else(|| format!("no body is called `{}`", turn.body))?;
            self.used.insert(name);
            let cost: usize = body.iter().map(size).sum();
            self.left.take(turn.layers.0.len(), size_of::<Instruction>() + cost)?;
            order.extend(turn.layers.0.iter().map(|run| (run.clone(), body)));
        }
        order.sort_by_key(|(run, _)| run.start);
        if let Some(pair) = order.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
            return Err(format!("layer {} stands twice", pair[1].0.start));
        }
        made.extend(
            order.into_iter().map(|(run, body)| Instruction::Repeat { layers: Layers(run), body: body.to_vec() }),
        );
        Ok(())
    }
}

/// Puts in the columns that stand at the buffer.
fn own(instruction: &mut Instruction, slices: &BTreeMap<String, (u64, u64)>) -> Result<(), String> {
    if let Instruction::Slice { start, end, out, .. } = instruction
        && (*start, *end) == (OWN, OWN)
    {
        let named = slices.get(out.as_str());
        (*start, *end) =
            *named.ok_or_else(|| format!("neither the slice into `{out}` nor that buffer names columns"))?;
    }
    Ok(())
}

fn buffer(text: BufferText) -> Buffer {
    let BufferText { name, rows, columns, slice: _, dtype, bytes, offset } = text;
    Buffer { name, rows, columns, dtype, bytes, offset }
}

/// One for each run of layers.
fn runs(layers: Option<Runs>) -> Vec<Option<Layers>> {
    match layers {
        Some(Runs(runs)) => runs.into_iter().map(|run| Some(Layers(run))).collect(),
        None => vec![None],
    }
}

fn count(layers: Option<&Layers>) -> u64 {
    layers.map_or(1, |layers| u64::from(layers.0.end.saturating_sub(layers.0.start)))
}

fn residents(texts: Vec<ResidentText>, left: &mut Budget) -> Result<Vec<Resident>, String> {
    let mut made = Vec::new();
    for text in texts {
        let ResidentText { name, layers, slice, dtype, bytes, offset, stride, streamed } = text;
        let mut next = Some(offset.0);
        let runs = runs(layers);
        left.take(runs.len(), size_of::<Resident>() + name.len())?;
        for layers in runs {
            let offset = Bytes(next.ok_or_else(|| format!("`{name}` lies beyond all bounds"))?);
            let length = stride.0.checked_mul(count(layers.as_ref()));
            next = length.and_then(|length| offset.0.checked_add(length));
            made.push(Resident { name: name.clone(), layers, slice, dtype, bytes, offset, stride, streamed });
        }
    }
    Ok(made)
}

fn loads(texts: Vec<LoadText>, left: &mut Budget) -> Result<Vec<Load>, String> {
    let mut made = Vec::new();
    for text in texts {
        let LoadText { weight, layers, from, to, bytes, time } = text;
        let runs = runs(layers);
        left.take(runs.len(), size_of::<Load>() + weight.len())?;
        let total: u64 = runs.iter().map(|run| count(run.as_ref())).fold(0, u64::saturating_add);
        if runs.len() > 1 && (total == 0 || !bytes.0.is_multiple_of(total)) {
            return Err(format!("`{weight}` has {bytes:?}, which {total} layers do not share equally"));
        }
        let part = |sum: u64, own: u64| match runs.len() {
            1 => sum,
            _ => (u128::from(sum) * u128::from(own) / u128::from(total)) as u64,
        };
        for layers in &runs {
            let own = count(layers.as_ref());
            let (bytes, time) = (Bytes(part(bytes.0, own)), Picoseconds(part(time.0, own)));
            made.push(Load { weight: weight.clone(), layers: layers.clone(), from, to, bytes, time });
        }
    }
    Ok(made)
}
