//! One card of the machine: what its buffers and caches hold, and what a step of its program makes of that.

use super::arena::Writers;
use super::fused;
use super::holdings::{Cut, Holding, Holdings};
use super::kernel;
use super::model::{Logical, Read};
use super::script::{Meeting, Operand, Out, Place, Script, Step};
use super::value::{Held, Span, Value};
use crate::SailPlan;
use sailplan_ir::{Bytes, DType, Dim, Op, SailId};

/// Where a card stands in its program.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    pub(crate) block: usize,
    pub(crate) layer: u32,
    pub(crate) step: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// For a message from a card.
    Receiving(SailId, u32),
    /// For its group.
    Meeting,
    /// For its group, at the beginning of a layer.
    Turning,
    Done,
    Failed,
}

/// One card.
pub(crate) struct Card<'a> {
    pub(crate) sail: &'a SailPlan,
    pub(crate) held: &'a Holdings<'a>,
    pub(crate) script: &'a Script<'a>,
    pub(crate) cursor: Cursor,
    pub(crate) state: State,
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) writers: Writers,
    /// The staging area: which layer's shard came to a place last.
    staged: Writers,
    /// For each resident and layer, whether the step's rows were appended.
    pub(crate) appended: Vec<Vec<bool>>,
    /// The last segment of which it made a value.
    pub(crate) reach: u32,
}

/// Rows, columns and type of a buffer.
pub(crate) type Shape = (Dim, u64, DType);

/// Columns of a value when it is whole; token ids have one.
pub(crate) fn width(logical: &Logical, value: Value) -> u64 {
    let axes = &logical.tensor(value).axes;
    axes.get(1).map_or(1, |axis| axis.fixed().unwrap_or(0))
}

fn first_layer(script: &Script<'_>, block: usize) -> u32 {
    script.blocks.get(block).and_then(|block| block.layers.as_ref()).map_or(0, |layers| layers.start)
}

impl<'a> Card<'a> {
    pub(crate) fn new(sail: &'a SailPlan, held: &'a Holdings<'a>, script: &'a Script<'a>) -> Self {
        let layers = |one: &Holding| if one.cache { vec![false; one.tensors.len()] } else { Vec::new() };
        Self {
            sail,
            held,
            script,
            cursor: Cursor { layer: first_layer(script, 0), ..Cursor::default() },
            state: State::Running,
            values: vec![None; script.buffers.len()],
            writers: Writers::default(),
            staged: Writers::default(),
            appended: held.residents.iter().map(layers).collect(),
            reach: 0,
        }
    }

    /// The instruction that the card stands before, when it is a collective.
    pub(crate) fn meeting(&self) -> Option<&'a Meeting<'a>> {
        match self.before()? {
            Step::Collective(meeting) => Some(meeting),
            _ => None,
        }
    }

    /// The instruction that the card stands before.
    pub(crate) fn before(&self) -> Option<&'a Step<'a>> {
        let script: &'a Script<'a> = self.script;
        script.blocks.get(self.cursor.block)?.steps.get(self.cursor.step)
    }

    pub(crate) fn next_layer(&mut self) {
        self.cursor.step = 0;
        self.cursor.layer = self.cursor.layer.saturating_add(1);
        let layers = self.script.blocks[self.cursor.block].layers.as_ref();
        if layers.is_none_or(|layers| self.cursor.layer >= layers.end) {
            self.cursor.block += 1;
            self.cursor.layer = first_layer(self.script, self.cursor.block);
        }
    }

    fn place(&self, buffer: usize) -> &'a Place<'a> {
        &self.script.buffers[buffer]
    }

    pub(crate) fn shape(&self, buffer: usize) -> Shape {
        let place = self.place(buffer);
        (place.rows, place.columns, place.dtype)
    }

    /// What a buffer holds.
    pub(crate) fn read(&self, buffer: usize) -> Result<Value, String> {
        let place = self.place(buffer);
        let value =
            self.values[buffer].ok_or_else(|| format!("reads `{}`, to which nothing was written", place.name))?;
        if self.writers.intact(place.extent) {
            return Ok(value);
        }
        let by = self.writers.intruder(place.extent).map_or("?", |other| self.place(other).name);
        Err(format!("reads `{}`, which `{by}` has overwritten", place.name))
    }

    /// Whether a buffer holds this already.
    pub(crate) fn holds(&self, buffer: usize, value: Value) -> bool {
        self.values[buffer] == Some(value) && self.writers.intact(self.place(buffer).extent)
    }

    /// Writes a value to a buffer of its shape that does not hold it yet.
    pub(crate) fn write(&mut self, logical: &Logical, buffer: usize, value: Value) -> Result<(), String> {
        if self.holds(buffer, value) {
            return Err(format!(
                "changes nothing: `{}` holds {} {} already",
                self.place(buffer).name,
                value.held,
                logical.name(value)
            ));
        }
        self.put(logical, buffer, value)
    }

    /// Writes a value to a buffer of its shape.
    pub(crate) fn put(&mut self, logical: &Logical, buffer: usize, value: Value) -> Result<(), String> {
        let place = self.place(buffer);
        let tensor = logical.tensor(value);
        let size = width(logical, value);
        let columns = match value.held {
            Held::Unmerged(_) => logical.unmerged(value, size),
            held => held.span(size).map_or(size, Span::len),
        };
        let rows = match (value.held, tensor.axes.first()) {
            (Held::Rows(share), Some(Dim::Tokens)) => Some(Dim::Part(share)),
            (Held::Rows(_) | Held::Positions(_), _) => None,
            (_, all) => all.copied(),
        };
        if rows != Some(place.rows) || columns != place.columns || tensor.dtype != place.dtype {
            return Err(format!("`{}` has not the shape of {} {}", place.name, value.held, logical.name(value)));
        }
        self.writers.write(place.extent);
        self.values[buffer] = Some(value);
        self.reach = self.reach.max(value.segment);
        Ok(())
    }

    pub(crate) fn slice(&mut self, logical: &Logical, from: usize, columns: Span, out: usize) -> Result<(), String> {
        let value = self.read(from)?;
        let size = width(logical, value);
        if let Dim::Part(share) = self.place(out).rows {
            return match value.held {
                Held::Whole if columns == Span::of(size) => self.write(logical, out, value.with(Held::Rows(share))),
                _ => Err(format!("cuts rows {share} out of {} {}", value.held, logical.name(value))),
            };
        }
        let held =
            value.held.span(size).ok_or("cuts a partial sum, a part of the rows, or a softmax that is not merged")?;
        if columns.start > columns.end || columns.end > held.len() {
            return Err(format!("cuts columns {}..{} of {}", columns.start, columns.end, held.len()));
        }
        let span = Span { start: held.start + columns.start, end: held.start + columns.end };
        self.write(logical, out, value.with(Held::columns(span, size)))
    }

    pub(crate) fn logits(&self, logical: &Logical, buffer: usize, start: u64) -> Result<Span, String> {
        let value = self.read(buffer)?;
        let last = logical.segments.len() as u32 - 1;
        let output = logical.classes[logical.segments[last as usize].class].output;
        let span = value
            .held
            .span(width(logical, value))
            .ok_or("gives the host a partial sum, a part of the rows, or a softmax that is not merged")?;
        if !value.same_tensor(Value::whole(last, output)) {
            return Err(format!("gives the host {}, not the logits", logical.name(value)));
        }
        if span.start != start {
            return Err(format!("gives column {start} for column {}", span.start));
        }
        Ok(span)
    }

    /// A layer's shard comes from the host to its place.
    pub(crate) fn stream(
        &mut self,
        logical: &Logical,
        weight: Operand<'a>,
        bytes: Bytes,
        layer: Option<u32>,
    ) -> Result<(), String> {
        let (resident, place) = weight.resident(layer).ok_or("names a weight of another layer")?;
        let holding = &self.held.residents[resident];
        let name = &logical.tensors[holding.tensors[place] as usize].name;
        let shard = holding.shard(place).ok_or_else(|| format!("streams `{name}`, which stays on the card"))?;
        if bytes.0 != shard.1 - shard.0 {
            return Err(format!("streams {bytes:?} of `{name}`, which has {:?}", Bytes(shard.1 - shard.0)));
        }
        if self.staged.intact(shard) {
            return Err(format!("changes nothing: `{name}` is there already"));
        }
        self.staged.write(shard);
        Ok(())
    }

    /// An operator: what it reads must be the operands of one of the model's, for each of its results. All is read before
    /// anything is written.
    pub(crate) fn kernel(
        &mut self,
        logical: &Logical,
        (op, skip): (Op, u64),
        reads: &[Operand<'a>],
        (outs, layer): (&[Out<'a>], Option<u32>),
    ) -> Result<(), String> {
        let made = |out: &Out<'a>| {
            let reads = out.reads(reads);
            let operands = reads.iter().map(|operand| self.operand(logical, operand, layer));
            fused::made(logical, (op, skip), &operands.collect::<Result<Vec<_>, String>>()?)
        };
        let values: Vec<Value> = outs.iter().map(made).collect::<Result<_, String>>()?;
        for (out, value) in outs.iter().zip(values) {
            self.result(logical, op, reads, (out.to, value, layer))?;
        }
        let intact = |out: &Out<'a>| match out.to {
            Operand::Buffer(buffer) => self.writers.intact(self.place(buffer).extent),
            Operand::Resident(..) => true,
        };
        if outs.iter().all(intact) { Ok(()) } else { Err("two results of one kernel share a place".to_owned()) }
    }

    fn result(
        &mut self,
        logical: &Logical,
        op: Op,
        reads: &[Operand<'a>],
        (out, value, layer): (Operand<'a>, Value, Option<u32>),
    ) -> Result<(), String> {
        let cache = reads.first().and_then(|first| first.resident(layer)).filter(|_| op.appends());
        match (out, cache) {
            (Operand::Buffer(buffer), None) => self.write(logical, buffer, value),
            (Operand::Resident(..), Some((resident, place))) if out.resident(layer) == cache => {
                self.appended[resident][place] = true;
                self.reach = self.reach.max(value.segment);
                Ok(())
            }
            _ => Err(format!("{} writes to the wrong place", op.row().name)),
        }
    }

    pub(crate) fn operand(
        &self,
        logical: &Logical,
        operand: &Operand<'a>,
        layer: Option<u32>,
    ) -> Result<fused::Operand, String> {
        if let Operand::Buffer(buffer) = operand {
            let value = self.read(*buffer)?;
            return Ok((Read::Value(value), fused::part(logical, value)));
        }
        let (resident, place) = operand.resident(layer).ok_or("names a weight or a cache of another layer")?;
        let holding = &self.held.residents[resident];
        let global = holding.tensors[place];
        let known = &logical.tensors[global as usize];
        let size = |axis: u8| known.dims.get(usize::from(axis)).and_then(|dim| dim.fixed());
        let part = match holding.cut {
            Some(Cut::Axis(axis, span)) if size(axis) != Some(span.len()) => kernel::Part::Cut(usize::from(axis), span),
            Some(Cut::Positions(share)) => kernel::Part::Positions(share),
            _ => kernel::Part::Whole,
        };
        if let Some(streamed) = holding.shard(place)
            && !self.staged.intact(streamed)
        {
            return Err(format!("reads `{}`, which no stream brought, or which another has overwritten", known.name));
        }
        if !holding.cache {
            return Ok((Read::Weight(global), part));
        }
        let (segment, cache) = known.owner;
        let tensor = if self.appended[resident][place] { logical.appended(segment, cache) } else { Some(cache) };
        let tensor = tensor.ok_or("a cache that nothing appends to")?;
        Ok((Read::Value(Value::whole(segment, tensor)), part))
    }
}
