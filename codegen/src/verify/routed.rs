//! Rows on their way to experts and back: what a dispatch gives each card, what its experts make of that, and what a combine
//! adds up. Rows that a card was not sent are nothing, so that only the experts that they were sent for may read the others.

use super::kernel::{self, Part};
use super::machine::Machine;
use super::script::{Gate, Meeting};
use super::value::{Held, Span, Sums, Taken, Terms, Value, tile_in_order};
use sailplan_ir::{Graph, Node, Op, Routing, RowShare, TensorId};

/// How the result of an operator is held that reads rows which were sent to experts.
pub(crate) fn result(
    graph: &Graph,
    (node, of): (&Node, (u32, u32)),
    skip: u64,
    parts: &[Part],
) -> Result<Held, String> {
    let name = node.op.row().name;
    let (Op::Experts { .. }, [Part::Dispatched(taken), others @ ..]) = (node.op, parts) else {
        return Err(format!("{name} reads rows that were sent to experts"));
    };
    if taken.gates != (of.0, node.inputs[1].0) {
        return Err(format!("{name} reads rows that were sent by other gates"));
    }
    let all = [&[Part::Whole], others].concat();
    let Taken { span, size, .. } = *taken;
    match kernel::result(graph, (node, of), skip, &all)? {
        Held::Partial(sums) if sums == Sums::one(Terms { of, letter: 'e', span, size }) => Ok(Held::Routed(*taken)),
        _ => Err(format!("{name} reads rows that were sent to experts {}..{} of {size}", span.start, span.end)),
    }
}

impl Machine<'_> {
    /// Every card's rows go to the cards with an expert that they take.
    pub(crate) fn dispatch(&mut self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<(), String> {
        let values = self.values(group, meetings)?;
        let own = |(rank, value): (usize, &Value)| {
            RowShare::among(meetings[0].parts, rank).map(Held::Rows) == Some(value.held)
        };
        if !values.iter().enumerate().all(own) {
            return Err(format!("the parts do not make {}", self.logical().name(values[0])));
        }
        let taken = self.taken(group, meetings)?;
        self.put_new(group, meetings, |rank| values[0].with(Held::Dispatched(taken[rank])))
    }

    /// What experts made of the rows that were sent to them goes back to the cards whose rows they are.
    pub(crate) fn combine(&mut self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<(), String> {
        let values = self.values(group, meetings)?;
        let taken = self.taken(group, meetings)?;
        if !values.iter().zip(&taken).all(|(value, taken)| value.held == Held::Routed(*taken)) {
            let name = self.logical().name(values[0]);
            return Err(format!("combines {name}, which is not what these gates' experts made of rows sent to them"));
        }
        let share = |rank: usize| RowShare::among(meetings[0].parts, rank).map_or(Held::Whole, Held::Rows);
        self.put_new(group, meetings, |rank| values[0].with(share(rank)))
    }

    /// The rows that each card of a group is sent: all of the group must hold the gates of one mixture whole, and the cards
    /// have its experts one after the other.
    fn taken(&self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<Vec<Taken>, String> {
        let gates = meetings.iter().map(|meeting| meeting.gate).collect::<Option<Vec<Gate<'_>>>>();
        let gates = gates.ok_or("no gates say which rows go where")?;
        let read = |(&card, gate): (&usize, &Gate<'_>)| self.cards[card].read(gate.buffer);
        let values: Vec<Value> = group.iter().zip(&gates).map(read).collect::<Result<_, _>>()?;
        let first = values[0];
        if values.iter().any(|value| *value != first) || first.held != Held::Whole {
            return Err(format!("not all cards of the group hold all of {}", self.logical().name(first)));
        }
        let size: u64 = gates[0].experts.iter().fold(0, |sum, &experts| sum.saturating_add(experts));
        let logical = self.logical();
        let graph = &logical.classes[logical.segments[first.segment as usize].class].graph;
        let says = Some(Routing { experts: u32::try_from(size).unwrap_or(u32::MAX), used: gates[0].used });
        if graph.routing(TensorId(first.tensor)) != says {
            let used = gates[0].used;
            return Err(format!("{} are no gates by which a row takes {used} of {size} experts", logical.name(first)));
        }
        let mut end = 0_u64;
        let spans = gates[0].experts.iter().map(|&experts| {
            let start = end;
            end += experts;
            Span { start, end }
        });
        let spans: Vec<Span> = spans.collect();
        if !tile_in_order(spans.iter().copied(), size) || spans.len() != group.len() {
            return Err("the experts are not dealt to the cards of the group".to_owned());
        }
        Ok(spans.into_iter().map(|span| Taken { gates: (first.segment, first.tensor), span, size }).collect())
    }

    /// Writes what no card of the group may hold already.
    fn put_new(
        &mut self,
        group: &[usize],
        meetings: &[&Meeting<'_>],
        value: impl Fn(usize) -> Value,
    ) -> Result<(), String> {
        let mut all = group.iter().zip(meetings).enumerate();
        if all.all(|(rank, (&card, meeting))| self.cards[card].holds(meeting.into, value(rank))) {
            return Err("changes nothing: all hold the value already".to_owned());
        }
        self.put_each(group, meetings, value)
    }
}
