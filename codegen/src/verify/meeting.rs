//! What a collective makes of the values of a group.

use super::card::width;
use super::machine::Machine;
use super::positions;
use super::script::Meeting;
use super::value::{Held, Span, Sums, Value, tile_in_order};
use crate::ReduceOp;
use sailplan_ir::{CollectiveKind, PositionShare, RowShare};

impl Machine<'_> {
    /// Carries out the collective that all cards of a group stand before.
    pub(crate) fn meet(&mut self, group: &[usize]) -> Result<(), String> {
        let meetings: Option<Vec<&Meeting<'_>>> = group.iter().map(|&card| self.cards[card].meeting()).collect();
        let meetings = meetings.ok_or("a card of the group is elsewhere")?;
        let first = *meetings.first().ok_or("the group is empty")?;
        for (&card, meeting) in group.iter().zip(&meetings) {
            let agrees = (meeting.kind, meeting.op, meeting.algorithm) == (first.kind, first.op, first.algorithm);
            let alike = (meeting.parts, meeting.by_rows, meeting.bytes) == (first.parts, first.by_rows, first.bytes);
            let deals = |meeting: &Meeting<'_>| meeting.gate.map(|gate| (gate.used, gate.experts.to_vec()));
            if !agrees || !alike || deals(meeting) != deals(first) {
                let (sail, kind, algorithm) = (self.cards[card].sail.sail, meeting.kind, meeting.algorithm);
                return Err(format!(
                    "{sail} does another collective at this point: {algorithm} {kind} of {:?}",
                    meeting.bytes
                ));
            }
        }
        match first.kind {
            CollectiveKind::Broadcast => self.broadcast(group, &meetings),
            CollectiveKind::AllGather => self.gather(group, &meetings),
            CollectiveKind::AllReduce | CollectiveKind::ReduceScatter => self.reduce(group, &meetings),
            CollectiveKind::Dispatch => self.dispatch(group, &meetings),
            CollectiveKind::Combine => self.combine(group, &meetings),
        }
    }

    fn broadcast(&mut self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<(), String> {
        let value = self.cards[group[0]].read(meetings[0].from)?;
        if !value.held.stands_alone() {
            return Err("broadcasts a partial sum, or a softmax that is not merged".to_owned());
        }
        if group.iter().zip(meetings).all(|(&card, meeting)| self.cards[card].holds(meeting.from, value)) {
            return Err("changes nothing: all hold the value already".to_owned());
        }
        self.put_each(group, meetings, |_| value)
    }

    /// The values of the group, which must be parts of one tensor.
    pub(crate) fn values(&self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<Vec<Value>, String> {
        let values = group.iter().zip(meetings).map(|(&card, meeting)| self.cards[card].read(meeting.from));
        let values: Vec<Value> = values.collect::<Result<_, _>>()?;
        match values.iter().find(|value| !value.same_tensor(values[0])) {
            Some(other) => {
                let (one, other) = (self.logical().name(values[0]), self.logical().name(*other));
                Err(format!("the group holds parts of {one} and of {other}"))
            }
            None => Ok(values),
        }
    }

    fn gather(&mut self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<(), String> {
        let values = self.values(group, meetings)?;
        let size = width(self.logical(), values[0]);
        let spans: Option<Vec<Span>> = values.iter().map(|value| value.held.span(size)).collect();
        let in_order = |(rank, value): (usize, &Value)| {
            RowShare::among(meetings[0].parts, rank).map(Held::Rows) == Some(value.held)
        };
        let complete = match meetings[0].by_rows {
            true => values.iter().enumerate().all(in_order),
            false => spans.is_some_and(|spans| tile_in_order(spans, size)),
        };
        if !complete {
            return Err(format!("the parts do not make {}", self.logical().name(values[0])));
        }
        let whole = values[0].with(Held::Whole);
        if group.iter().zip(meetings).all(|(&card, meeting)| self.cards[card].holds(meeting.into, whole)) {
            return Err("changes nothing: all hold the value already".to_owned());
        }
        self.put_each(group, meetings, |_| whole)
    }

    fn reduce(&mut self, group: &[usize], meetings: &[&Meeting<'_>]) -> Result<(), String> {
        let values = self.values(group, meetings)?;
        if let Some(ReduceOp::Merge { head_dim }) = meetings[0].op {
            self.merged(&values, head_dim)?;
            return self.scatter(group, meetings, values[0]);
        }
        let sums = |value: &Value| match value.held {
            Held::Partial(sums) => Some(sums),
            _ => None,
        };
        let all: Option<Vec<Sums>> = values.iter().map(sums).collect();
        let name = || self.logical().name(values[0]);
        let all = all.ok_or_else(|| format!("adds up {}, which is no partial sum", name()))?;
        if !Sums::complete(&all) {
            return Err(format!("the contributions do not add up to {}", name()));
        }
        if meetings[0].kind == CollectiveKind::AllReduce {
            return self.put_each(group, meetings, |_| values[0].with(Held::Whole));
        }
        if meetings[0].by_rows {
            let kept = |rank| RowShare::among(meetings[0].parts, rank).map_or(Held::Whole, Held::Rows);
            return self.put_each(group, meetings, |rank| values[0].with(kept(rank)));
        }
        self.scatter(group, meetings, values[0])
    }

    /// Whether these are softmaxes over all positions, each once, of heads of this size.
    fn merged(&self, values: &[Value], head_dim: u32) -> Result<(), String> {
        let share = |value: &Value| if let Held::Unmerged(share) = value.held { Some(share) } else { None };
        let name = || self.logical().name(values[0]);
        let shares: Option<Vec<PositionShare>> = values.iter().map(share).collect();
        let shares = shares.ok_or_else(|| format!("merges {}, which is no softmax over some positions", name()))?;
        let width = width(self.logical(), values[0]);
        if !positions::complete(shares) {
            return Err(format!("the group has not all positions of {} once", name()));
        }
        let merge = ReduceOp::Merge { head_dim };
        if merge.operand_columns(width) != Some(self.logical().unmerged(values[0], width)) {
            return Err(format!("merges heads of {head_dim} elements, which are not those of {}", name()));
        }
        Ok(())
    }

    /// Each card keeps its columns of the result.
    fn scatter(&mut self, group: &[usize], meetings: &[&Meeting<'_>], value: Value) -> Result<(), String> {
        let width = width(self.logical(), value);
        let mut end = 0_u64;
        let mut kept = Vec::new();
        for &part in meetings[0].parts {
            let start = end;
            end = start.saturating_add(part);
            kept.push(Held::columns(Span { start, end }, width));
        }
        self.put_each(group, meetings, |rank| value.with(kept[rank]))
    }

    pub(crate) fn put_each(
        &mut self,
        group: &[usize],
        meetings: &[&Meeting<'_>],
        value: impl Fn(usize) -> Value,
    ) -> Result<(), String> {
        let logical = self.logical();
        for (rank, (&card, meeting)) in group.iter().zip(meetings).enumerate() {
            self.cards[card].put(logical, meeting.into, value(rank))?;
        }
        Ok(())
    }
}
