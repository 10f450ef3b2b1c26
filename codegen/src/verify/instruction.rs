//! What can be said of one instruction alone: its names exist and its sizes are those of its buffers.

use super::script::{Gate, Meeting, Operand, Out, Place, Reader, Step};
use super::value::Span;
use crate::{Gated, Instruction, ReduceOp};
use sailplan_ir::{Bytes, CollectiveKind, DType, Dim, Op, RowShare, SailId, arriving, even_chunk};

/// The instruction with its names looked up.
pub(crate) fn step<'a>(
    reader: &Reader<'a, '_>,
    instruction: &'a Instruction,
    places: &[Place<'a>],
) -> Result<Step<'a>, String> {
    let look = Look { reader, places };
    match instruction {
        Instruction::Repeat { .. } => Err("a repeat inside a repeat".to_owned()),
        Instruction::Kernel { .. } => look.kernel(instruction),
        Instruction::Slice { buffer, start, end, out, .. } => {
            let columns = Span { start: *start, end: *end };
            Ok(Step::Slice { from: look.buffer(buffer)?, columns, out: look.buffer(out)? })
        }
        Instruction::Collective { .. } => look.collective(instruction).map(Step::Collective),
        Instruction::Send { peer, buffer, bytes, tag, .. } => {
            let buffer = look.message(*peer, buffer, *bytes)?;
            Ok(Step::Send { peer: *peer, buffer, tag: *tag })
        }
        Instruction::Recv { peer, buffer, bytes, tag, .. } => {
            let buffer = look.message(*peer, buffer, *bytes)?;
            Ok(Step::Recv { peer: *peer, buffer, tag: *tag })
        }
        Instruction::Stream { weight, bytes, .. } => {
            Ok(Step::Stream { weight: look.operand(weight, false)?, bytes: *bytes })
        }
        Instruction::HostRecv { buffer, bytes, .. } => Ok(Step::HostRecv { buffer: look.host(buffer, *bytes)? }),
        Instruction::HostSend { buffer, start, bytes, .. } => {
            Ok(Step::HostSend { buffer: look.host(buffer, *bytes)?, start: *start })
        }
    }
}

struct Look<'a, 'b, 'c> {
    reader: &'b Reader<'a, 'c>,
    places: &'b [Place<'a>],
}

impl<'a> Look<'a, '_, '_> {
    fn buffer(&self, name: &str) -> Result<usize, String> {
        self.reader.buffers.get(name).copied().ok_or_else(|| format!("no buffer is called `{name}`"))
    }

    /// A buffer or a cache where `active`, else a weight.
    fn operand(&self, name: &str, active: bool) -> Result<Operand<'a>, String> {
        let held = self.reader.held;
        let resident = held
            .names
            .get(name)
            .filter(|candidates| candidates.iter().all(|(_, resident)| held.residents[*resident].cache == active));
        match resident {
            Some(candidates) => Ok(Operand::Resident(candidates, name.contains("{layer}"))),
            None if active => self.buffer(name).map(Operand::Buffer),
            None => Err(format!("no weight is called `{name}`")),
        }
    }

    /// A product may have others beside it, if it has one value to multiply and one weight of its own.
    fn kernel(&self, instruction: &Instruction) -> Result<Step<'a>, String> {
        let Instruction::Kernel { op, skip, inputs, weights, out, beside, .. } = instruction else {
            return Err("not a kernel".to_owned());
        };
        if !beside.is_empty() && (*op != Op::Linear || inputs.len() != 1 || weights.len() != 1) {
            return Err(format!("{} has products beside it, which only a product has", op.row().name));
        }
        let values = inputs.iter().map(|name| self.operand(name, true));
        let held = weights.iter().map(|name| self.operand(name, false));
        let reads: Vec<Operand<'a>> = values.chain(held).collect::<Result<_, String>>()?;
        let mut outs = vec![Out { to: self.operand(out, true)?, weight: None }];
        for product in beside {
            let weight = Some(self.operand(&product.weight, false)?);
            outs.push(Out { to: self.operand(&product.out, true)?, weight });
        }
        Ok(Step::Kernel { op: *op, skip: *skip, reads, outs })
    }

    fn elements(&self, place: &Place<'_>) -> u64 {
        place.rows.most(self.reader.limit).saturating_mul(place.columns)
    }

    fn on_wire(&self, elements: u64) -> Bytes {
        Bytes(elements.saturating_mul(self.reader.plan.request.wire.bytes()))
    }

    fn message(&self, peer: SailId, buffer: &str, bytes: Bytes) -> Result<usize, String> {
        let number = self.buffer(buffer)?;
        let place = &self.places[number];
        let known = self.reader.plan.sails.binary_search_by_key(&peer, |sail| sail.sail).is_ok();
        if peer == self.reader.sail.sail || !known {
            return Err(format!("{peer} is no other Sail with work"));
        }
        if place.dtype != DType::F32 {
            return Err(format!("`{buffer}` holds no activations"));
        }
        let expected = self.on_wire(self.elements(place));
        if bytes == expected { Ok(number) } else { Err(format!("{bytes:?} are sent, `{buffer}` has {expected:?}")) }
    }

    fn host(&self, buffer: &str, bytes: Bytes) -> Result<usize, String> {
        let number = self.buffer(buffer)?;
        let (start, end, _) = self.places[number].extent;
        if bytes.0 == end - start {
            Ok(number)
        } else {
            Err(format!("{bytes:?} are sent, `{buffer}` has {:?}", Bytes(end - start)))
        }
    }

    fn collective(&self, instruction: &'a Instruction) -> Result<Meeting<'a>, String> {
        let Instruction::Collective { kind, op, group, algorithm, buffer, into, parts, by, bytes, .. } = instruction
        else {
            return Err("not a collective".to_owned());
        };
        let own = &self.reader.sail.group;
        let adds = matches!(kind, CollectiveKind::AllReduce | CollectiveKind::ReduceScatter | CollectiveKind::Combine);
        let in_parts = !matches!(kind, CollectiveKind::AllReduce | CollectiveKind::Broadcast);
        let from = self.buffer(buffer)?;
        let target = into.as_deref().map_or(Ok(from), |name| self.buffer(name))?;
        let part = if matches!(kind, CollectiveKind::AllGather | CollectiveKind::Dispatch) { from } else { target };
        let by_rows = matches!(self.places[part].rows, Dim::Part(_));
        let (op, algorithm, bytes) = (*op, *algorithm, *bytes);
        let gate = by.as_ref().map(|by| self.gate(by)).transpose()?;
        let meeting = Meeting { kind: *kind, op, algorithm, parts, by_rows, bytes, from, into: target, gate };
        if group != own {
            return Err(format!("its group is {group:?}, the stage's is {own:?}"));
        }
        if !kind.algorithms().contains(&algorithm) {
            return Err(format!("{algorithm} does no {kind}"));
        }
        let merges = matches!(op, Some(ReduceOp::Merge { .. })) && *kind == CollectiveKind::ReduceScatter && !by_rows;
        if op != adds.then_some(ReduceOp::Sum) && !merges {
            return Err(format!("{kind} with op {op:?}, where {:?} is meant", adds.then_some(ReduceOp::Sum)));
        }
        let counts = (parts.len(), gate.map_or(0, |gate| gate.experts.len()));
        let ranks = |wanted: bool| if wanted { own.len() } else { 0 };
        let gated = gate.is_some() == kind.routed() && (by_rows || !kind.routed());
        if into.is_some() != in_parts || counts != (ranks(in_parts), ranks(kind.routed())) || !gated {
            return Err(format!("{kind} with the wrong operands"));
        }
        self.sizes(&meeting)?;
        Ok(meeting)
    }

    /// The gates of all rows and experts.
    fn gate(&self, by: &'a Gated) -> Result<Gate<'a>, String> {
        let buffer = self.buffer(&by.gates)?;
        let place = &self.places[buffer];
        let all = by.experts.iter().try_fold(0_u64, |sum, experts| sum.checked_add(*experts));
        if (place.rows, place.dtype, Some(place.columns)) != (Dim::Tokens, DType::F32, all) {
            return Err(format!("`{}` has not a column for each expert", place.name));
        }
        Ok(Gate { buffer, used: by.used, experts: &by.experts })
    }

    fn sizes(&self, meeting: &Meeting<'_>) -> Result<(), String> {
        let (from, into) = (&self.places[meeting.from], &self.places[meeting.into]);
        let own = &self.reader.sail.group;
        let rank = own.iter().position(|sail| *sail == self.reader.sail.sail).ok_or("this Sail is not in the group")?;
        let gathers = matches!(meeting.kind, CollectiveKind::AllGather | CollectiveKind::Dispatch);
        let (part, whole) = if gathers { (from, into) } else { (into, from) };
        let wide = |part: u64| meeting.op.map_or(Some(part), |op| op.operand_columns(part));
        let all = meeting.parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(wide(*part)?));
        let share = |rank: usize| RowShare::among(meeting.parts, rank);
        let fits = match meeting.kind {
            CollectiveKind::AllReduce | CollectiveKind::Broadcast => from.rows == into.rows,
            _ if meeting.by_rows => {
                let own = share(rank).map(Dim::Part) == Some(part.rows);
                own && whole.rows == Dim::Tokens && part.columns == whole.columns
            }
            _ => meeting.parts.get(rank) == Some(&part.columns) && all == Some(whole.columns) && from.rows == into.rows,
        };
        if !fits || from.dtype != DType::F32 || into.dtype != DType::F32 {
            return Err(format!("`{}` and `{}` have not the shapes that its parts say", from.name, into.name));
        }
        let elements = self.elements(whole);
        if meeting.bytes != self.on_wire(elements) {
            return Err(format!(
                "{:?} are exchanged, `{}` has {:?}",
                meeting.bytes,
                whole.name,
                self.on_wire(elements)
            ));
        }
        let rows = whole.rows.size(self.reader.limit);
        let chunk = |index: usize| match meeting.parts.get(index) {
            Some(_) if meeting.by_rows => {
                share(index).map_or(0, |share| share.most(rows).saturating_mul(whole.columns))
            }
            Some(columns) => rows.saturating_mul(wide(*columns).unwrap_or(0)),
            None => {
                let even = even_chunk(elements, own.len(), index);
                even.end - even.start
            }
        };
        let size = |index: Option<usize>| index.map_or(elements, chunk);
        let scratch = self.on_wire(arriving(meeting.kind, meeting.algorithm, own.len(), rank, size));
        let room = self.reader.sail.memory.scratch;
        if scratch <= room { Ok(()) } else { Err(format!("{scratch:?} arrive at once, there is scratch for {room:?}")) }
    }
}
