//! The instructions of one segment on one rank, and the buffers they work on.

use super::check::collective;
use super::names::unique;
use super::residents::Residents;
use super::segments::Local;
use super::stage::Rank;
use crate::{Buffer, Gated, Instruction, Product, Program, ReduceOp};
use sailplan_ir::{
    Action, Algorithm, Bytes, Choice, CollectiveKind, Diagnostic, Dim, Extents, Home, Layout, LocalBuffer, Op, Operand,
    Picoseconds, Price, Request, Role, Tensor, TensorId,
};
use std::collections::BTreeSet;
use std::ops::Range;

/// Which of a plan's programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Prefill,
    Decode,
}

impl Phase {
    pub(crate) fn pick<T>(self, prefill: T, decode: T) -> T {
        match self {
            Self::Prefill => prefill,
            Self::Decode => decode,
        }
    }

    pub(crate) fn of(self, choice: &Choice) -> (&sailplan_ir::Program, &[Price]) {
        self.pick((&choice.form.prefill, &choice.prefill), (&choice.form.decode, &choice.decode))
    }

    pub(crate) fn limit(self, request: &Request) -> Extents {
        self.pick(request.prefill_limit(), request.decode_limit())
    }

    pub(crate) fn view<'a>(self, mut local: Local<'a>, request: &Request) -> Local<'a> {
        local.view.limit = self.limit(request);
        local
    }
}

/// A program in the making.
pub(crate) struct Code {
    pub(crate) program: Program,
    /// Where the segments' own buffers start.
    base: Bytes,
    names: BTreeSet<String>,
    /// Names of the buffers in the chain region.
    chain: BTreeSet<String>,
}

impl Code {
    pub(crate) fn new(base: Bytes) -> Self {
        Self { program: Program::default(), base, names: BTreeSet::new(), chain: BTreeSet::new() }
    }

    /// The buffer of the chain region with this tensor's shape.
    pub(crate) fn chain(&mut self, tensor: &Tensor, limit: Extents) -> String {
        let rows = tensor.axes.first().copied().unwrap_or(Dim::Fixed(1));
        let columns = tensor.axes.iter().skip(1).map(|axis| axis.size(limit)).fold(1, u64::saturating_mul);
        let buffer = Buffer {
            name: "x".to_owned(),
            rows,
            columns,
            dtype: tensor.dtype,
            bytes: tensor.bytes(limit),
            offset: Bytes(0),
        };
        let known = |code: &Self, other: &Buffer| code.chain.contains(&other.name);
        let name = self.buffer(buffer, known);
        self.chain.insert(name.clone());
        name
    }

    fn internal(&mut self, name: String, local: &LocalBuffer) -> String {
        let LocalBuffer { rows, columns, dtype, bytes, .. } = *local;
        let buffer = Buffer { name, rows, columns, dtype, bytes, offset: self.base + local.offset };
        let stem = buffer.name.clone();
        self.buffer(buffer, |_, other| other.name.strip_prefix(stem.as_str()).is_some_and(numbered))
    }

    /// A known buffer with the same shape and place, else a new one.
    fn buffer(&mut self, mut wanted: Buffer, known: impl Fn(&Self, &Buffer) -> bool) -> String {
        let same = |other: &&Buffer| {
            (other.rows, other.columns, other.dtype, other.bytes, other.offset)
                == (wanted.rows, wanted.columns, wanted.dtype, wanted.bytes, wanted.offset)
        };
        if let Some(found) = self.program.buffers.iter().filter(same).find(|other| known(self, other)) {
            return found.name.clone();
        }
        wanted.name = unique(&mut self.names, wanted.name);
        self.program.buffers.push(wanted.clone());
        wanted.name
    }
}

/// What `unique` may have added to a name.
fn numbered(rest: &str) -> bool {
    rest.is_empty() || rest.strip_prefix('.').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// One segment in one phase.
pub(crate) struct Body<'a> {
    pub(crate) rank: Rank<'a>,
    pub(crate) segment: usize,
    pub(crate) phase: Phase,
    pub(crate) residents: &'a Residents,
}

impl Body<'_> {
    /// Its instructions; its buffers are added to the program.
    pub(crate) fn instructions(&self, code: &mut Code) -> Result<Vec<Instruction>, Diagnostic> {
        let local = self.phase.view(self.rank.local(self.segment), self.rank.source.request);
        let names = self.names(&local, code);
        let (program, prices) = self.phase.of(local.choice);
        let lower = Lower { local, program, prices, names: &names, group: &self.rank.stage.sails };
        let joint = program.joint(local.template(), local.view.domains);
        let mut made = self.streams(&local)?;
        for index in 0..program.instructions.len() {
            match joint.iter().find(|kernel| kernel.contains(&index)) {
                Some(kernel) if kernel[0] == index => made.push(lower.joint(kernel)?),
                Some(_) => {}
                None => lower.instruction(index, &mut made)?,
            }
        }
        lower.keep_result(code, &mut made);
        Ok(made)
    }

    /// The weights that come from the host first; a slice in two layouts comes once.
    fn streams(&self, local: &Local<'_>) -> Result<Vec<Instruction>, Diagnostic> {
        let mut made: Vec<Instruction> = Vec::new();
        for streamed in &local.choice.streams {
            let bytes = Bytes(local.needs(streamed.tensor, streamed.layout)?.bytes);
            let weight = self.residents.name(local, streamed.tensor, streamed.layout);
            let again =
                made.iter().any(|other| matches!(other, Instruction::Stream { weight: known, .. } if *known == weight));
            if bytes.0 > 0 && !again {
                made.push(Instruction::Stream { weight, bytes, time: streamed.time });
            }
        }
        Ok(made)
    }

    /// What each value is called: a buffer, a cache or a weight.
    fn names(&self, local: &Local<'_>, code: &mut Code) -> Vec<String> {
        let (program, _) = self.phase.of(local.choice);
        let placed = self.rank.placed(self.segment, self.phase);
        let name = |buffer: &LocalBuffer| {
            let made = &program.instructions[buffer.value];
            let part = match made.layout {
                Layout::Sharded(_) if matches!(buffer.rows, Dim::Part(_)) => ".rows",
                Layout::Sharded(_) => ".part",
                Layout::Dispatched | Layout::Routed => ".routed",
                Layout::Unmerged => ".softmax",
                _ => "",
            };
            format!("{}.{}{part}", local.names.class, local.names.tensors[made.tensor.index()])
        };
        let buffers: Vec<String> = placed.buffers.iter().map(|buffer| code.internal(name(buffer), buffer)).collect();
        let mut names: Vec<String> = Vec::new();
        for (made, home) in program.instructions.iter().zip(&placed.homes) {
            names.push(match (home, made.inputs.first()) {
                (Home::Chain, _) => code.chain(&local.template()[made.tensor], local.view.limit),
                (Home::Internal(buffer), _) => buffers[*buffer].clone(),
                (Home::Resident, Some(cache)) => names[cache.index()].clone(),
                (Home::Resident, None) => self.residents.name(local, made.tensor, made.layout),
                (Home::Host, _) => String::new(),
            });
        }
        names
    }
}

/// From the form's instructions to the plan's.
struct Lower<'a> {
    local: Local<'a>,
    program: &'a sailplan_ir::Program,
    prices: &'a [Price],
    names: &'a [String],
    group: &'a [sailplan_ir::SailId],
}

impl Lower<'_> {
    fn instruction(&self, index: usize, out: &mut Vec<Instruction>) -> Result<(), Diagnostic> {
        let made = &self.program.instructions[index];
        let (name, time) = (self.names[index].clone(), self.prices[index].time);
        let operand = || made.inputs.first().map(|input| self.names[input.index()].clone()).unwrap_or_default();
        match made.action {
            Action::Leaf if self.local.template()[made.tensor].role == Role::Tokens => {
                let bytes = self.local.template()[made.tensor].bytes(self.local.view.limit);
                out.push(Instruction::HostRecv { buffer: name, bytes, time });
            }
            Action::Leaf => {}
            Action::Compute(node) => out.push(self.kernel(index, self.local.template()[node].op)?),
            Action::Slice if self.local.view.rows(made.tensor, made.layout).is_some() => {
                out.push(self.copy(made.tensor, (operand(), name), time));
            }
            Action::Slice => {
                let Range { start, end } = self.share(made.tensor, made.layout);
                out.push(Instruction::Slice { buffer: operand(), start, end, out: name, time });
            }
            Action::AllReduce if operand() != name => {
                out.push(self.copy(made.tensor, (operand(), name), Picoseconds(0)));
                out.push(self.collective(index)?);
            }
            Action::AllGather
            | Action::AllReduce
            | Action::ReduceScatter
            | Action::MergeScatter
            | Action::Dispatch
            | Action::Combine => {
                out.push(self.collective(index)?);
            }
            Action::Collect => out.extend(self.collect(index)),
        }
        Ok(())
    }

    fn kernel(&self, index: usize, op: sailplan_ir::Op) -> Result<Instruction, Diagnostic> {
        let made = &self.program.instructions[index];
        let (mut inputs, mut weights) = (Vec::new(), Vec::new());
        for &input in &made.inputs {
            let value = &self.program.instructions[input.index()];
            let name = self.names[input.index()].clone();
            if self.local.template()[value.tensor].role == Role::Weight {
                weights.push(name);
            } else if weights.is_empty() {
                inputs.push(name);
            } else {
                return Err(Diagnostic::new(format!("{} takes a weight before `{name}`", op.row().name)));
            }
        }
        let (out, time) = (self.names[index].clone(), self.prices[index].time);
        Ok(Instruction::Kernel { op, skip: self.skipped(made, op), inputs, weights, out, beside: Vec::new(), time })
    }

    /// Several products in one kernel, which takes what the placement says of all of them.
    fn joint(&self, kernel: &[usize]) -> Result<Instruction, Diagnostic> {
        let mut made = self.kernel(kernel[0], Op::Linear)?;
        if let Instruction::Kernel { beside, time, .. } = &mut made {
            for &index in &kernel[1..] {
                let weight = self.program.instructions[index].inputs.last();
                let weight = weight.map(|weight| self.names[weight.index()].clone()).unwrap_or_default();
                beside.push(Product { weight, out: self.names[index].clone() });
                *time += self.prices[index].time;
            }
        }
        Ok(made)
    }

    /// How far into what covers a cut operand the cut starts, in heads.
    fn skipped(&self, made: &sailplan_ir::Instruction, op: sailplan_ir::Op) -> u64 {
        let heads = |letter: char| {
            let operands = made.inputs.iter().enumerate();
            let mut cut = operands.filter_map(|(index, &input)| {
                let value = &self.program.instructions[input.index()];
                let axis = op.row().letters(Operand::Input(index)).chars().position(|other| other == letter)?;
                let share = self.share(value.tensor, value.layout);
                (value.layout == Layout::Sharded(axis as u8) && share.start < share.end).then_some(share.start)
            });
            cut.next().map_or(0, |start| start / op.atom(letter).max(1))
        };
        let pair = op.row().covers;
        pair.map_or(0, |(cover, covered)| {
            heads(covered).saturating_sub(heads(cover).saturating_mul(op.covered_by_each()))
        })
    }

    fn collective(&self, index: usize) -> Result<Instruction, Diagnostic> {
        let made = &self.program.instructions[index];
        let from = made.inputs.first().map_or(index, |input| input.index());
        let kind = collective(made.action).ok_or_else(|| Diagnostic::new("not a collective"))?;
        let sharded = match kind {
            CollectiveKind::AllGather | CollectiveKind::Dispatch => Some(self.program.instructions[from].layout),
            CollectiveKind::ReduceScatter | CollectiveKind::Combine => Some(made.layout),
            CollectiveKind::AllReduce | CollectiveKind::Broadcast => None,
        };
        let template = self.local.template();
        let mut elements = template[made.tensor].elements(self.local.view.limit);
        let mut op = (!matches!(kind, CollectiveKind::AllGather | CollectiveKind::Dispatch)).then_some(ReduceOp::Sum);
        if made.action == Action::MergeScatter {
            elements = template.unmerged(made.tensor, elements);
            op = Some(self.merge(made.tensor)?);
        }
        let in_place = kind == CollectiveKind::AllReduce;
        Ok(Instruction::Collective {
            kind,
            op,
            group: self.group.to_vec(),
            algorithm: self.prices[index].algorithm.unwrap_or(Algorithm::Ring),
            buffer: self.names[if in_place { index } else { from }].clone(),
            into: (!in_place).then(|| self.names[index].clone()),
            parts: sharded.map_or_else(Vec::new, |layout| self.parts(made.tensor, layout)),
            by: made.inputs.get(1).and_then(|gates| self.gated(gates.index())),
            bytes: Bytes(elements.saturating_mul(self.local.view.wire.bytes())),
            time: self.prices[index].time,
        })
    }

    /// Which rows go where, by the gates that an instruction makes.
    fn gated(&self, index: usize) -> Option<Gated> {
        let gates = self.program.instructions[index].tensor;
        let used = self.local.template().routing(gates)?.used;
        let experts = self.parts(gates, Layout::Sharded(1));
        Some(Gated { gates: self.names[index].clone(), used, experts })
    }

    /// How softmaxes are merged that an operator makes.
    fn merge(&self, tensor: TensorId) -> Result<ReduceOp, Diagnostic> {
        let template = self.local.template();
        let op = template.producer(tensor).map(|node| template[node].op);
        match op.and_then(|op| Some((op, op.row().merge?.1))) {
            Some((op, letter)) => Ok(ReduceOp::Merge { head_dim: op.atom(letter) as u32 }),
            None => Err(Diagnostic::new(format!("nothing merges `{}`", template[tensor].name))),
        }
    }

    /// A whole value goes up from rank 0, a sharded one from every rank that has some of it.
    fn collect(&self, index: usize) -> Option<Instruction> {
        let made = &self.program.instructions[index];
        let from = made.inputs.first()?.index();
        let value = &self.program.instructions[from];
        let tensor = &self.local.template()[value.tensor];
        let bytes = tensor.bytes(self.local.view.limit);
        let (start, bytes) = match value.layout {
            Layout::Sharded(_) => {
                let share = self.share(value.tensor, value.layout);
                let columns = tensor.axes.last().map_or(1, |axis| axis.size(self.local.view.limit)).max(1);
                (share.start, Bytes(bytes.0 / columns).times(share.end - share.start))
            }
            _ if self.local.view.rank == 0 => (0, bytes),
            _ => return None,
        };
        let (buffer, time) = (self.names[from].clone(), self.prices[index].time);
        (bytes.0 > 0).then_some(Instruction::HostSend { buffer, start, bytes, time })
    }

    /// A result that could not be written to the chain's buffer is copied there.
    fn keep_result(&self, code: &mut Code, out: &mut Vec<Instruction>) {
        let (Some(made), Some(name)) = (self.program.output(), self.names.last()) else { return };
        let on_host = made.layout == Layout::Host;
        if !on_host && !code.chain.contains(name) {
            let into = code.chain(&self.local.template()[made.tensor], self.local.view.limit);
            out.push(self.copy(made.tensor, (name.clone(), into), Picoseconds(0)));
        }
    }

    /// All columns, of as many rows as the result has. The placement has no price for a copy of everything.
    fn copy(&self, tensor: TensorId, (buffer, out): (String, String), time: Picoseconds) -> Instruction {
        let axes = &self.local.template()[tensor].axes;
        let end = axes.iter().skip(1).map(|axis| axis.size(self.local.view.limit)).fold(1, u64::saturating_mul);
        Instruction::Slice { buffer, start: 0, end, out, time }
    }

    fn share(&self, tensor: TensorId, layout: Layout) -> Range<u64> {
        self.local.view.share(tensor, layout).map_or(0..0, |share| share.1)
    }

    fn parts(&self, tensor: TensorId, layout: Layout) -> Vec<u64> {
        let Layout::Sharded(axis) = layout else { return Vec::new() };
        if let Some(dealt) = self.local.view.row_partition(tensor, layout) {
            return dealt.parts();
        }
        let share = |rank: usize| self.local.view.share_of(tensor, axis, rank);
        (0..self.group.len()).map(share).map(|share| share.end - share.start).collect()
    }
}
