//! What a card makes of what, step by step: a run of the machine as values with their operands, for those who ask what a plan
//! computes and not only whether it does.

use super::card::Card;
use super::kernel::Part;
use super::model::{Logical, Read};
use super::script::{Operand, Out, Step};
use super::value::{Held, Value};
use crate::ReduceOp;
use sailplan_ir::{Action, CollectiveKind, Layout, Node, Op};
use std::collections::BTreeMap;

/// Values of one card in one phase; a deep model has some five thousand.
const MOST_EVENTS: usize = 1 << 16;

/// Where an operand comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The card made it: the event's number.
    Made(u32),
    /// It came from the host or from another stage.
    Arrived,
    /// A weight, or a cache before the step's rows are in it.
    Held,
}

/// An operand: a tensor of a segment as this card holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) source: Source,
    /// Segment and tensor; of a weight, those of the operator that reads it.
    pub(crate) of: (u32, u32),
    pub(crate) layout: Layout,
}

/// One value that a card made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) action: Action,
    pub(crate) reads: Vec<Known>,
    /// Segment and tensor.
    pub(crate) of: (u32, u32),
    pub(crate) layout: Layout,
}

/// All that one card made in one phase, and what of it left its group.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
    /// What went to the host or to another stage.
    pub(crate) leaves: Vec<(Known, Target)>,
    buffers: BTreeMap<usize, Known>,
    /// By resident and layer: what the step's rows made of a cache.
    caches: BTreeMap<(usize, usize), Known>,
}

/// Where a value goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Target {
    Host,
    Stage,
}

impl Trace {
    /// The card has just done this step.
    ///
    /// # Errors
    /// A step that no form of a layer has.
    pub(crate) fn note(
        &mut self,
        logical: &Logical,
        card: &Card<'_>,
        (step, layer): (&Step<'_>, Option<u32>),
    ) -> Result<(), String> {
        match step {
            Step::Kernel { op, reads, outs, .. } => self.results(logical, card, (*op, reads), (outs, layer))?,
            Step::Slice { from, out, .. } => self.converted(logical, card, (Action::Slice, &[*from], *out))?,
            Step::Collective(meeting) => {
                let action = match meeting.kind {
                    CollectiveKind::AllReduce => Action::AllReduce,
                    CollectiveKind::AllGather => Action::AllGather,
                    CollectiveKind::ReduceScatter if matches!(meeting.op, Some(ReduceOp::Merge { .. })) => {
                        Action::MergeScatter
                    }
                    CollectiveKind::ReduceScatter => Action::ReduceScatter,
                    CollectiveKind::Dispatch => Action::Dispatch,
                    CollectiveKind::Combine => Action::Combine,
                    CollectiveKind::Broadcast => return self.arrived(logical, card, meeting.into),
                };
                let reads = std::iter::once(meeting.from).chain(meeting.gate.map(|gate| gate.buffer));
                self.converted(logical, card, (action, &reads.collect::<Vec<_>>(), meeting.into))?;
            }
            Step::Send { buffer, .. } => self.leaves.push((self.known(*buffer)?, Target::Stage)),
            Step::HostSend { buffer, .. } => self.leaves.push((self.known(*buffer)?, Target::Host)),
            Step::Recv { buffer, .. } | Step::HostRecv { buffer } => self.arrived(logical, card, *buffer)?,
            Step::Stream { .. } => {}
        }
        Ok(())
    }

    fn known(&self, buffer: usize) -> Result<Known, String> {
        self.buffers.get(&buffer).copied().ok_or_else(|| "reads what nothing made".to_owned())
    }

    fn arrived(&mut self, logical: &Logical, card: &Card<'_>, buffer: usize) -> Result<(), String> {
        let of = written(logical, card, buffer)?;
        if self.buffers.get(&buffer).is_some_and(|known| known.of == of.0 && matches!(known.source, Source::Made(_))) {
            return Err("takes from another card what it made itself".to_owned());
        }
        self.buffers.insert(buffer, Known { source: Source::Arrived, of: of.0, layout: of.1 });
        Ok(())
    }

    fn converted(
        &mut self,
        logical: &Logical,
        card: &Card<'_>,
        (action, from, out): (Action, &[usize], usize),
    ) -> Result<(), String> {
        let reads = from.iter().map(|&buffer| self.known(buffer)).collect::<Result<_, _>>()?;
        let (of, layout) = written(logical, card, out)?;
        let known = self.event(Event { action, reads, of, layout })?;
        self.buffers.insert(out, known);
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<Known, String> {
        if self.events.len() >= MOST_EVENTS {
            return Err(format!("makes more than {MOST_EVENTS} values, too many for proofs"));
        }
        let known = Known { source: Source::Made(self.events.len() as u32), of: event.of, layout: event.layout };
        self.events.push(event);
        Ok(known)
    }

    /// One event for each result: what is written to a buffer is noted when all are known.
    fn results(
        &mut self,
        logical: &Logical,
        card: &Card<'_>,
        (op, reads): (Op, &[Operand<'_>]),
        (outs, layer): (&[Out<'_>], Option<u32>),
    ) -> Result<(), String> {
        let mut made = Vec::new();
        for out in outs {
            made.push((out.to, self.kernel(logical, card, (op, &out.reads(reads)), (out.to, layer))?));
        }
        for (out, known) in made {
            match (out, out.resident(layer)) {
                (Operand::Buffer(buffer), _) => drop(self.buffers.insert(buffer, known)),
                (_, Some(place)) => drop(self.caches.insert(place, known)),
                _ => return Err("writes to no place".to_owned()),
            }
        }
        Ok(())
    }

    fn kernel(
        &mut self,
        logical: &Logical,
        card: &Card<'_>,
        (op, reads): (Op, &[Operand<'_>]),
        (out, layer): (Operand<'_>, Option<u32>),
    ) -> Result<Known, String> {
        let (of, layout) = match out {
            Operand::Buffer(buffer) => written(logical, card, buffer)?,
            Operand::Resident(..) => match card.operand(logical, &out, layer)? {
                (Read::Value(value), part) => ((value.segment, value.tensor), in_part(part)),
                (Read::Weight(_), _) => return Err("writes to a weight".to_owned()),
            },
        };
        let class = &logical.classes[logical.segments[of.0 as usize].class];
        let makes = |node: &Node| node.op == op && node.output.0 == of.1;
        let node = class.graph.applied(makes).ok_or("makes what no operator makes")?;
        let inputs = &class.graph[node].inputs;
        let mut operands = Vec::new();
        for (operand, input) in reads.iter().zip(inputs) {
            operands.push(match operand {
                Operand::Buffer(buffer) => self.known(*buffer)?,
                Operand::Resident(..) => {
                    let made = operand.resident(layer).and_then(|place| self.caches.get(&place).copied());
                    let (_, part) = card.operand(logical, operand, layer)?;
                    let of = (of.0, input.0);
                    made.unwrap_or(Known { source: Source::Held, of, layout: in_part(part) })
                }
            });
        }
        self.event(Event { action: Action::Compute(node), reads: operands, of, layout })
    }
}

/// What a buffer holds now.
fn written(logical: &Logical, card: &Card<'_>, buffer: usize) -> Result<((u32, u32), Layout), String> {
    let value: Value = card.read(buffer)?;
    let last = logical.tensor(value).axes.len().saturating_sub(1) as u8;
    let layout = match value.held {
        Held::Whole => Layout::Whole,
        Held::Cut(_) => Layout::Sharded(last),
        Held::Rows(_) => Layout::Sharded(0),
        Held::Partial(_) => Layout::Partial,
        Held::Dispatched(_) => Layout::Dispatched,
        Held::Routed(_) => Layout::Routed,
        Held::Unmerged(_) => Layout::Unmerged,
        Held::Positions(_) => Layout::Sharded(0),
    };
    Ok(((value.segment, value.tensor), layout))
}

fn in_part(part: Part) -> Layout {
    match part {
        Part::Whole => Layout::Whole,
        Part::Cut(axis, _) => Layout::Sharded(axis as u8),
        Part::Rows(_) => Layout::Sharded(0),
        Part::Partial(_) => Layout::Partial,
        Part::Dispatched(_) => Layout::Dispatched,
        Part::Routed => Layout::Routed,
        Part::Unmerged => Layout::Unmerged,
        Part::Positions(_) => Layout::Sharded(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_bounded() {
        let mut trace = Trace::default();
        let mut event =
            || trace.event(Event { action: Action::Leaf, reads: Vec::new(), of: (0, 0), layout: Layout::Whole });
        assert!((0..MOST_EVENTS).all(|_| event().is_ok()));
        assert_eq!(event().unwrap_err(), "makes more than 65536 values, too many for proofs");
    }
}
