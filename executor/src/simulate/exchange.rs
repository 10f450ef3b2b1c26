//! What one card sends and gets in one instruction, turn by turn: of a collective, a turn is a step of the schedule that
//! was priced and that a replay runs. It knows bytes and ways, no time.

use super::network::{Network, Way};
use sailplan_codegen::ReduceOp;
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Routing, RowShare, SailId, even_chunk};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A card by its place in the plan; none is the host.
pub(crate) type End = Option<usize>;

/// By what a receiver knows a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Topic {
    /// A step of the group's collective at hand.
    Step(u32),
    /// A message between stages.
    Tagged { from: SailId, tag: u32 },
    /// From the host.
    Host,
}

/// A message that a card sends, or asks the host for.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) way: Rc<Way>,
    pub(crate) bytes: Bytes,
}

/// The card goes on when what it sends has left and what it gets has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) topic: Topic,
    pub(crate) sends: Vec<Outgoing>,
    pub(crate) gets: u32,
}

/// A collective over tensors of a certain size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Collective<'a> {
    pub(crate) kind: CollectiveKind,
    pub(crate) algorithm: Algorithm,
    pub(crate) op: Option<ReduceOp>,
    pub(crate) group: &'a [SailId],
    /// Of each rank its columns, or its share of the rows; empty when chunks are even.
    pub(crate) parts: &'a [u64],
    pub(crate) by_rows: bool,
    /// Of dispatch and combine: experts that a row takes, and those of each rank.
    pub(crate) experts: Option<(u32, &'a [u64])>,
    pub(crate) rows: u64,
    pub(crate) columns: u64,
}

/// The collectives of a plan, each made once for all its ranks.
pub(crate) struct Exchanges<'a> {
    network: &'a Network,
    /// Bytes of an element on the wire.
    element: u64,
    places: &'a BTreeMap<SailId, usize>,
    known: BTreeMap<Collective<'a>, Option<Vec<Rc<[Turn]>>>>,
}

impl<'a> Exchanges<'a> {
    pub(crate) fn new(network: &'a Network, element: u64, places: &'a BTreeMap<SailId, usize>) -> Self {
        Self { network, element, places, known: BTreeMap::new() }
    }

    /// The turns of one card; `None` when it has no part in this or this cannot be done.
    pub(crate) fn turns(&mut self, collective: Collective<'a>, card: SailId) -> Option<Rc<[Turn]>> {
        let rank = collective.group.iter().position(|&sail| sail == card)?;
        if !self.known.contains_key(&collective) {
            let made = self.made(&collective);
            self.known.insert(collective, made);
        }
        self.known.get(&collective)?.as_ref()?.get(rank).cloned()
    }

    fn made(&self, collective: &Collective<'_>) -> Option<Vec<Rc<[Turn]>>> {
        let Collective { kind, algorithm, group, .. } = *collective;
        let cards: Vec<usize> = group.iter().map(|sail| self.places.get(sail).copied()).collect::<Option<_>>()?;
        let mut ranks: Vec<Vec<Turn>> = vec![Vec::new(); group.len()];
        for (number, step) in kind.schedule(algorithm, group.len())?.iter().enumerate() {
            let topic = Topic::Step(number as u32);
            ranks.iter_mut().for_each(|turns| turns.push(Turn { topic, sends: Vec::new(), gets: 0 }));
            // Messages from one rank to the same other are parts of one.
            let mut sizes: BTreeMap<(usize, usize), Bytes> = BTreeMap::new();
            for message in step {
                let chunks = message.chunks.start..message.chunks.end;
                let bytes: Bytes = chunks.map(|chunk| self.chunk(collective, chunk)).sum();
                *sizes.entry((message.from, message.to)).or_default() += bytes;
            }
            for ((from, to), bytes) in sizes {
                let way = self.network.between(group[from], group[to]);
                let sent = Outgoing { from: Some(cards[from]), to: Some(cards[to]), way, bytes };
                ranks[from][number].sends.push(sent);
                ranks[to][number].gets += 1;
            }
        }
        Some(ranks.into_iter().map(Rc::from).collect())
    }

    /// Elements that go from one rank to another on average, of rows of the one to the experts of the other, or back.
    fn block(collective: &Collective<'_>, (used, experts): (u32, &[u64]), index: usize) -> u64 {
        let (from, to) = (index / experts.len().max(1), index % experts.len().max(1));
        let (own, at) = if collective.kind == CollectiveKind::Dispatch { (from, to) } else { (to, from) };
        let all = experts.iter().fold(0, |sum: u64, &experts| sum.saturating_add(experts));
        let routing = Routing { experts: u32::try_from(all).unwrap_or(u32::MAX), used };
        let share = RowShare::among(collective.parts, own).unwrap_or_default();
        let rows = routing.rows(share.count(collective.rows), experts.get(at).copied().unwrap_or(0));
        rows.saturating_mul(collective.columns)
    }

    fn chunk(&self, collective: &Collective<'_>, index: usize) -> Bytes {
        if let Some(experts) = collective.experts.filter(|_| collective.kind.routed()) {
            return Bytes(Self::block(collective, experts, index).saturating_mul(self.element));
        }
        let elements = match collective.parts.get(index) {
            Some(_) if collective.by_rows => {
                let share = RowShare::among(collective.parts, index).unwrap_or_default();
                share.count(collective.rows).saturating_mul(collective.columns)
            }
            Some(&columns) => {
                let wide = collective.op.map_or(Some(columns), |op| op.operand_columns(columns));
                collective.rows.saturating_mul(wide.unwrap_or(columns))
            }
            None => {
                let whole = collective.rows.saturating_mul(collective.columns);
                let even = even_chunk(whole, collective.group.len(), index);
                even.end - even.start
            }
        };
        Bytes(elements.saturating_mul(self.element))
    }
}
