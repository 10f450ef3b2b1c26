//! From a plan to its text. Folding loses nothing: what does not follow exactly from a common line gets its own.

use super::{Body, BufferText, LoadText, OWN, Part, PlanText, ProgramText, ResidentText, SailText, Turn};
use crate::lists::Runs;
use crate::{Buffer, Instruction, Layers, Load, Plan, Program, Resident, SailPlan};
use sailplan_ir::{Bytes, Picoseconds};
use std::collections::BTreeMap;

/// The plan with its digest left out.
pub(crate) fn fold(plan: &Plan) -> PlanText {
    let mut bodies = [Bodies::new("prefill"), Bodies::new("decode")];
    let sails = plan.sails.iter().map(|sail| card(sail, &mut bodies)).collect();
    PlanText {
        version: plan.version,
        digest: String::new(),
        made_by: plan.made_by.clone(),
        model: plan.model.clone(),
        fleet: plan.fleet.clone(),
        request: plan.request,
        pins: plan.pins.clone(),
        objective: plan.objective,
        estimate: plan.estimate,
        certificate: plan.certificate.clone(),
        bodies: bodies.into_iter().flat_map(|bodies| bodies.known).map(|known| known.body).collect(),
        sails,
    }
}

fn card(card: &SailPlan, [prefill, decode]: &mut [Bodies; 2]) -> SailText {
    // Every field by name: a new one cannot be forgotten.
    let SailPlan { sail, replica, stage, group, memory, sustain, weights, caches, load, prefill: first, decode: next } =
        card;
    SailText {
        sail: *sail,
        replica: *replica,
        stage: *stage,
        group: group.clone(),
        memory: memory.clone(),
        sustain: *sustain,
        weights: residents(weights),
        caches: residents(caches),
        load: loads(load),
        prefill: program(first, prefill),
        decode: program(next, decode),
    }
}

fn count(layers: &Layers) -> u64 {
    u64::from(layers.0.end.saturating_sub(layers.0.start))
}

/// Puts the layers behind the runs there are, when they follow.
fn follow(runs: &mut Option<Runs>, next: Option<&Layers>) -> bool {
    match (runs, next) {
        (Some(Runs(runs)), Some(next)) if runs.last().is_some_and(|last| last.end <= next.0.start) => {
            runs.push(next.0.clone());
            true
        }
        _ => false,
    }
}

fn residents(residents: &[Resident]) -> Vec<ResidentText> {
    let mut folded: Vec<ResidentText> = Vec::new();
    // Where the last line's next run would lie.
    let mut end = Some(Bytes(0));
    for resident in residents {
        let Resident { name, layers, slice, dtype, bytes, offset, stride, streamed } = resident;
        let alike = |last: &&mut ResidentText| {
            last.name == *name
                && (last.slice, last.dtype, last.bytes) == (*slice, *dtype, *bytes)
                && (last.stride, last.streamed) == (*stride, *streamed)
                && end == Some(*offset)
        };
        let last = folded.last_mut().filter(alike);
        if last.is_none_or(|last| !follow(&mut last.layers, layers.as_ref())) {
            folded.push(ResidentText {
                name: name.clone(),
                layers: layers.as_ref().map(|layers| Runs(vec![layers.0.clone()])),
                slice: *slice,
                dtype: *dtype,
                bytes: *bytes,
                offset: *offset,
                stride: *stride,
                streamed: *streamed,
            });
        }
        let length = layers.as_ref().and_then(|layers| stride.0.checked_mul(count(layers)));
        end = length.and_then(|length| offset.0.checked_add(length)).map(Bytes);
    }
    folded
}

fn loads(loads: &[Load]) -> Vec<LoadText> {
    let mut folded: Vec<LoadText> = Vec::new();
    // The last line's layers.
    let mut total = 0;
    for load in loads {
        let Load { weight, layers, from, to, bytes, time } = load;
        let own = layers.as_ref().map_or(1, count);
        let in_step = |sum: u64, part: u64| u128::from(sum) * u128::from(own) == u128::from(part) * u128::from(total);
        let alike = |last: &&mut LoadText| {
            last.weight == *weight
                && (last.from, last.to) == (*from, *to)
                && in_step(last.bytes.0, bytes.0)
                && in_step(last.time.0, time.0)
                && total > 0
                && own > 0
        };
        let sums = |last: &LoadText| Some((last.bytes.0.checked_add(bytes.0)?, last.time.0.checked_add(time.0)?));
        if let Some(last) = folded.last_mut().filter(alike)
            && let Some((bytes, time)) = sums(last)
            && follow(&mut last.layers, layers.as_ref())
        {
            (last.bytes, last.time) = (Bytes(bytes), Picoseconds(time));
            total += own;
            continue;
        }
        let runs = layers.as_ref().map(|layers| Runs(vec![layers.0.clone()]));
        let (weight, from, to) = (weight.clone(), *from, *to);
        folded.push(LoadText { weight, layers: runs, from, to, bytes: *bytes, time: *time });
        total = own;
    }
    folded
}

fn program(program: &Program, bodies: &mut Bodies) -> ProgramText {
    let slices = slices(&program.instructions);
    let mut run: Vec<Part> = Vec::new();
    for instruction in &program.instructions {
        match (instruction, run.last_mut()) {
            (Instruction::Repeat { layers, body }, last) => {
                let name = bodies.name(&shared(body, &slices));
                match last {
                    Some(Part::Layers(turns)) if turns.iter().all(|turn| before(&turn.layers, layers)) => {
                        match turns.iter_mut().find(|turn| turn.body == name) {
                            Some(turn) => turn.layers.0.push(layers.0.clone()),
                            None => turns.push(Turn { layers: Runs(vec![layers.0.clone()]), body: name }),
                        }
                    }
                    _ => run.push(Part::Layers(vec![Turn { layers: Runs(vec![layers.0.clone()]), body: name }])),
                }
            }
            (other, Some(Part::Once(list))) => list.push(without_own(other, &slices)),
            (other, _) => run.push(Part::Once(vec![without_own(other, &slices)])),
        }
    }
    ProgramText { buffers: program.buffers.iter().map(|one| buffer(one, &slices)).collect(), run }
}

/// Whether the next layers come after these, so that the numbers tell the order.
fn before(runs: &Runs, next: &Layers) -> bool {
    let proper = |run: &std::ops::Range<u32>| run.start < run.end;
    proper(&next.0) && runs.0.iter().all(|run| proper(run) && run.end <= next.0.start)
}

/// The columns that the first `Slice` into each buffer takes.
type Slices<'a> = BTreeMap<&'a str, (u64, u64)>;

fn slices(instructions: &[Instruction]) -> Slices<'_> {
    let mut found = Slices::new();
    for instruction in instructions {
        let list = match instruction {
            Instruction::Repeat { body, .. } => body.as_slice(),
            other => std::slice::from_ref(other),
        };
        for instruction in list {
            if let Instruction::Slice { start, end, out, .. } = instruction {
                found.entry(out).or_insert((*start, *end));
            }
        }
    }
    found
}

fn buffer(buffer: &Buffer, slices: &Slices<'_>) -> BufferText {
    let Buffer { name, rows, columns, dtype, bytes, offset } = buffer.clone();
    let slice = slices.get(name.as_str()).copied();
    BufferText { name, rows, columns, slice, dtype, bytes, offset }
}

fn shared(body: &[Instruction], slices: &Slices<'_>) -> Vec<Instruction> {
    body.iter().map(|instruction| without_own(instruction, slices)).collect()
}

/// The instruction without columns that stand at its buffer.
fn without_own(instruction: &Instruction, slices: &Slices<'_>) -> Instruction {
    let mut made = instruction.clone();
    if let Instruction::Slice { start, end, out, .. } = &mut made
        && slices.get(out.as_str()) == Some(&(*start, *end))
    {
        (*start, *end) = (OWN, OWN);
    }
    made
}

/// Bodies of one phase, each once.
struct Bodies {
    phase: &'static str,
    known: Vec<Known>,
}

struct Known {
    body: Body,
    /// Tells most bodies apart at once.
    time: u64,
}

impl Bodies {
    fn new(phase: &'static str) -> Self {
        Self { phase, known: Vec::new() }
    }

    /// The name of this body, which is numbered when it is new.
    fn name(&mut self, body: &[Instruction]) -> String {
        let time = body.iter().fold(0_u64, |sum, instruction| sum.wrapping_add(own_time(instruction)));
        let same = |known: &&Known| known.time == time && known.body.instructions == body;
        if let Some(known) = self.known.iter().find(same) {
            return known.body.name.clone();
        }
        let name = format!("{}.{}", self.phase, self.known.len() + 1);
        self.known.push(Known { body: Body { name: name.clone(), instructions: body.to_vec() }, time });
        name
    }
}

/// Times may be anything in a plan that nobody has checked.
fn own_time(instruction: &Instruction) -> u64 {
    match instruction {
        Instruction::Repeat { .. } => 0,
        other => other.time().0,
    }
}
