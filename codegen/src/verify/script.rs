//! A program with its names looked up: what the machine runs. Each instruction is checked as far as it stands for
//! itself.

use super::arena::Extent;
use super::holdings::{Candidate, Holdings};
use super::value::Span;
use super::{MAX_EXPANDED, instruction, problem};
use crate::{Buffer, Instruction, Plan, Program, ReduceOp, SailPlan};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, DType, Diagnostics, Dim, Extents, Op, SailId, SailKind};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Both programs of one card.
pub(crate) struct Scripts<'a> {
    pub(crate) prefill: Script<'a>,
    pub(crate) decode: Script<'a>,
}

/// One program.
#[derive(Default)]
pub(crate) struct Script<'a> {
    pub(crate) buffers: Vec<Place<'a>>,
    pub(crate) blocks: Vec<Block<'a>>,
}

/// A buffer in the activation arena.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) rows: Dim,
    pub(crate) columns: u64,
    pub(crate) dtype: DType,
    pub(crate) extent: Extent,
}

/// One instruction, or a repeat.
pub(crate) struct Block<'a> {
    pub(crate) layers: Option<Range<u32>>,
    pub(crate) steps: Vec<Step<'a>>,
}

/// One instruction.
pub(crate) enum Step<'a> {
    Kernel { op: Op, skip: u64, reads: Vec<Operand<'a>>, outs: Vec<Out<'a>> },
    Slice { from: usize, columns: Span, out: usize },
    Collective(Meeting<'a>),
    Send { peer: SailId, buffer: usize, tag: u32 },
    Recv { peer: SailId, buffer: usize, tag: u32 },
    Stream { weight: Operand<'a>, bytes: Bytes },
    HostRecv { buffer: usize },
    HostSend { buffer: usize, start: u64 },
}

/// What a kernel writes. Of a joint kernel, each result with its own weight in place of the first one's.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a> {
    pub(crate) to: Operand<'a>,
    pub(crate) weight: Option<Operand<'a>>,
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    Buffer(usize),
    /// One of these, by layer; whether the name has a `{layer}` to replace.
    Resident(&'a [Candidate], bool),
}

/// One card's part in a collective.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meeting<'a> {
    pub(crate) kind: CollectiveKind,
    pub(crate) op: Option<ReduceOp>,
    pub(crate) algorithm: Algorithm,
    pub(crate) parts: &'a [u64],
    /// Whether parts are shares of the rows.
    pub(crate) by_rows: bool,
    pub(crate) bytes: Bytes,
    pub(crate) from: usize,
    pub(crate) into: usize,
    /// Which rows go where, of dispatch and combine.
    pub(crate) gate: Option<Gate<'a>>,
}

/// The gates by which rows go to the ranks that have so many experts each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate<'a> {
    pub(crate) buffer: usize,
    pub(crate) used: u32,
    pub(crate) experts: &'a [u64],
}

impl<'a> Out<'a> {
    /// What this result is made of, where the kernel's first is made of `reads`.
    pub(crate) fn reads<'b>(&self, reads: &'b [Operand<'a>]) -> Cow<'b, [Operand<'a>]> {
        match (self.weight, reads.first()) {
            (Some(weight), Some(&x)) => Cow::Owned(vec![x, weight]),
            _ => Cow::Borrowed(reads),
        }
    }
}

impl Operand<'_> {
    /// The resident in a layer, with the layer's place in it.
    pub(crate) fn resident(&self, layer: Option<u32>) -> Option<(usize, usize)> {
        let Self::Resident(candidates, layered) = self else { return None };
        let after = |(layers, _): &Candidate| layers.as_ref().map(|layers| layers.start) <= layer;
        let (layers, resident) = candidates.get(candidates.partition_point(after).checked_sub(1)?)?;
        match (layers, layer) {
            (Some(layers), Some(layer)) => {
                layers.contains(&layer).then(|| (*resident, (layer - layers.start) as usize))
            }
            (None, None) => Some((*resident, 0)),
            (None, Some(_)) => (!layered).then_some((*resident, 0)),
            (Some(_), None) => None,
        }
    }
}

/// The scripts of every card.
pub(crate) fn all<'a>(
    plan: &'a Plan,
    held: &'a [Holdings<'a>],
    kinds: &[&SailKind],
) -> Result<Vec<Scripts<'a>>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut left = MAX_EXPANDED;
    let mut all = Vec::new();
    for ((sail, held), kind) in plan.sails.iter().zip(held).zip(kinds) {
        let alignment = kind.granularity.max(1);
        let mut script = |program: &'a Program, name: &'static str, limit: Extents| {
            let mut reader =
                Reader { plan, sail, alignment, held, name, limit, buffers: BTreeMap::new(), found: &mut problems };
            reader.script(program, &mut left)
        };
        let prefill = script(&sail.prefill, "prefill", plan.request.prefill_limit());
        let decode = script(&sail.decode, "decode", plan.request.decode_limit());
        all.push(Scripts { prefill, decode });
    }
    problems.into_result(all)
}

/// Reads one program of one card.
pub(crate) struct Reader<'a, 'b> {
    pub(crate) plan: &'a Plan,
    pub(crate) sail: &'a SailPlan,
    alignment: u64,
    pub(crate) held: &'a Holdings<'a>,
    name: &'static str,
    pub(crate) limit: Extents,
    pub(crate) buffers: BTreeMap<&'a str, usize>,
    found: &'b mut Diagnostics,
}

impl<'a> Reader<'a, '_> {
    fn push(&mut self, place: &str, message: impl Into<String>) {
        self.found.push(problem(format!("{}.{}{place}", self.sail.sail, self.name), message));
    }

    fn script(&mut self, program: &'a Program, left: &mut u64) -> Script<'a> {
        let mut script = Script::default();
        for (index, buffer) in program.buffers.iter().enumerate() {
            match self.place(buffer, index) {
                Ok(place) => script.buffers.push(place),
                Err(reason) => self.push(&format!(".buffers[{index}]"), format!("`{}` {reason}", buffer.name)),
            }
        }
        // Numbers of buffers count only when each has its place.
        if script.buffers.len() < program.buffers.len() {
            return Script::default();
        }
        for (index, instruction) in program.instructions.iter().enumerate() {
            let (layers, body) = match instruction {
                Instruction::Repeat { layers, body } => (Some(layers.0.clone()), body.as_slice()),
                other => (None, std::slice::from_ref(other)),
            };
            let count = layers.as_ref().map_or(1, |range| u64::from(range.end.saturating_sub(range.start)));
            match left.checked_sub(count.saturating_mul(body.len() as u64)).filter(|_| count > 0) {
                Some(rest) => *left = rest,
                None => {
                    self.push(&format!("[{index}]"), "repeats nothing, or too much");
                    break;
                }
            }
            let block = self.block(index, layers, body, &script.buffers);
            script.blocks.push(block);
        }
        script
    }

    fn block(
        &mut self,
        index: usize,
        layers: Option<Range<u32>>,
        body: &'a [Instruction],
        places: &[Place<'a>],
    ) -> Block<'a> {
        let mut steps = Vec::new();
        for (inner, instruction) in body.iter().enumerate() {
            match instruction::step(self, instruction, places) {
                Ok(step) => steps.push(step),
                Err(reason) if layers.is_some() => self.push(&format!("[{index}].body[{inner}]"), reason),
                Err(reason) => self.push(&format!("[{index}]"), reason),
            }
        }
        Block { layers, steps }
    }

    fn place(&mut self, buffer: &'a Buffer, number: usize) -> Result<Place<'a>, String> {
        let Buffer { name, rows, columns, dtype, bytes, offset } = buffer;
        if self.buffers.insert(name, number).is_some() || self.held.names.contains_key(name.as_str()) {
            return Err("is a name of something else too".to_owned());
        }
        if name.contains("{layer}") {
            return Err("is one buffer for all layers, but names one".to_owned());
        }
        if !matches!(rows, Dim::Tokens | Dim::Outputs | Dim::Part(_)) || !matches!(dtype, DType::F32 | DType::I32) {
            return Err("has no rows of tokens or outputs, or no such type".to_owned());
        }
        let size = rows.most(self.limit).checked_mul(*columns).and_then(|elements| dtype.bytes(elements));
        if size != Some(*bytes) {
            return Err(format!("has {bytes:?}, its shape says {size:?}"));
        }
        let end = offset.0.checked_add(bytes.0).filter(|end| *end <= self.sail.memory.activations.0);
        let end = end.ok_or("lies outside the activation arena")?;
        if !offset.0.is_multiple_of(self.alignment) {
            return Err(format!("stands at {offset:?}, which is no multiple of {} bytes", self.alignment));
        }
        Ok(Place { name, rows: *rows, columns: *columns, dtype: *dtype, extent: (offset.0, end, number) })
    }
}
