//! The space of placements: groups of consecutive cards, the points of every class on each, and what passes between
//! stages. Where links are alike, groups with the same kinds of cards in the same order are one.

use crate::Progress;
use crate::front::{Detail, Point, Station};
use crate::mixing::Mixed;
use crate::pace::Pace;
use crate::pins::Limits;
use crate::prospect;
use crate::repertoire::Repertoire;
use crate::room::Room;
use crate::saturate::Choices;
use crate::stage::Mixing;
use crate::stream::twins;
use crate::table::PriceTable;
use crate::useful::Free;
use sailplan_cost_model::{CostModel, Phase};
use sailplan_ir::{
    ActivationNeed, Algorithm, Bytes, CollectiveKind, Links, MemoryUse, Model, Picoseconds, Request, Role, SailId,
    Verified,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

/// Consecutive cards `start..end` of the link order.
pub(crate) type Interval = Range<usize>;

/// Limits on the groups that are considered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Family {
    /// Largest group; none is the whole fleet.
    pub largest: Option<usize>,
    /// Only so many cards from the first on; none is the whole fleet.
    pub cards: Option<usize>,
}

/// Which forms and shares are considered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Manner {
    /// All of them.
    #[default]
    Any,
    /// Even shares, and sums that an all-reduce makes whole; values are never kept in slices. For a baseline.
    AllReduce,
}

impl Manner {
    /// Prices without what is left out.
    pub(crate) fn restrict(self, table: PriceTable, choices: &Choices) -> PriceTable {
        table.without(choices, |way| self == Self::AllReduce && way.cuts())
    }
}

/// The part of the space that is opened.
#[derive(Clone, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) family: Family,
    pub(crate) manner: Manner,
    /// Leave memory out of account.
    pub(crate) relaxed: bool,
    /// What is known with memory left out of account.
    pub(crate) free: Option<Free>,
    /// Let weights of layers stay on the host.
    pub(crate) stream: bool,
    /// Only these groups.
    pub(crate) groups: Option<Vec<Interval>>,
    /// What pins demand.
    pub(crate) limits: Option<&'a Limits>,
    /// No more stages of a replica than this; none is any number.
    pub(crate) stages: Option<usize>,
    /// Let several replicas share the fleet.
    pub(crate) replicas: bool,
    /// Look at every group, hopeless or not.
    pub(crate) exhaustive: bool,
    /// Which mixes of points are improved.
    pub(crate) mixing: Mixing,
    /// What is known to be possible elsewhere: groups through which nothing takes less may be left out.
    pub(crate) known: Option<Picoseconds>,
}

/// Everything the engines choose from.
pub(crate) struct Space<'a> {
    pub(crate) model: &'a Verified<Model>,
    pub(crate) costs: &'a CostModel<'a>,
    /// By layer class.
    pub(crate) repertoires: &'a [Repertoire],
    /// Cards that may be used.
    pub(crate) cards: usize,
    pub(crate) largest: usize,
    /// Whether groups of one size cost the same wherever they stand.
    pub(crate) uniform: bool,
    /// For each group the first one with the same kinds of cards, where links are alike.
    twins: BTreeMap<Bounds, Bounds>,
    /// Whether moreover no card is told apart from another, so that no card between two stages need be left out.
    pub(crate) alike: bool,
    /// Whether several replicas may share the fleet.
    pub(crate) replicas: bool,
    /// What pins demand.
    pub(crate) limits: Option<&'a Limits>,
    /// No more stages of a replica than this, beside what pins demand.
    pub(crate) stages: usize,
    /// By card, the number of the part of the fleet that links join.
    parts: Vec<usize>,
    /// Whether memory is left out of account: a relaxation, whose optimum is the optimum when it happens to fit.
    pub(crate) relaxed: bool,
    /// Whether weights of layers may stay on the host.
    pub(crate) stream: bool,
    /// Which mixes of points are improved.
    pub(crate) mixing: Mixing,
    /// Whether points are missing that no best chain has.
    pub(crate) pruned: bool,
    /// Whether the fronts hold every point that is worth having.
    pub(crate) complete: bool,
    /// Bytes of all weights and caches.
    pub(crate) whole: Bytes,
    manner: Manner,
    /// Only these groups.
    pub(crate) only: Option<BTreeSet<Bounds>>,
    pub(crate) fronts: BTreeMap<Bounds, Vec<Vec<Point>>>,
    /// What a group has that was not looked at.
    nothing: Vec<Vec<Point>>,
    /// Exact mixes that were asked for, by group and by segments of each class.
    pub(crate) mixed: RefCell<Mixed>,
    /// Spreading a value over groups that were asked about.
    broadcasts: RefCell<BTreeMap<Bounds, Passing>>,
    /// What fits groups that were asked about since the last points were found.
    pub(crate) rooms: RefCell<BTreeMap<Bounds, Rc<Room>>>,
}

/// An interval as an ordered key.
pub(crate) type Bounds = (usize, usize);

/// Prices of the value between two stages, in prefill and decode.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passing {
    pub(crate) prefill: Picoseconds,
    pub(crate) decode: Picoseconds,
    pub(crate) algorithms: Option<(Algorithm, Algorithm)>,
}

impl<'a> Space<'a> {
    pub(crate) fn new(
        model: &'a Verified<Model>,
        costs: &'a CostModel<'a>,
        repertoires: &'a [Repertoire],
        scope: Scope<'a>,
        progress: Option<&dyn Fn(Progress)>,
    ) -> Result<Self, String> {
        let Scope { family, manner, relaxed, stream, groups: only, limits, stages, replicas, exhaustive, .. } = scope;
        let (mixing, known) = (scope.mixing, scope.known.unwrap_or(Picoseconds::NEVER));
        let cards = family.cards.unwrap_or(usize::MAX).min(costs.fleet.size());
        let uniform = costs.fleet.kinds.len() == 1 && !matches!(costs.fleet.links, Links::Edges(_));
        let parts = costs.fleet.parts();
        let named = limits.is_some_and(Limits::names_cards) || only.is_some() || parts.contains(&1);
        let alike = uniform && !named;
        let most = limits.map_or(usize::MAX, |limits| limits.sails);
        let cards = if alike { cards.min(most) } else { cards };
        let largest = family.largest.unwrap_or(usize::MAX).min(cards).min(most);
        let (complete, fronts, twins) = (true, BTreeMap::new(), BTreeMap::new());
        let whole = whole(model, costs.request);
        // Streams share the host's link, cards that no links join have no plan together, and each replica has all weights.
        let one =
            only.is_some() || parts.contains(&1) || limits.is_some_and(Limits::place_a_chain) || stream && !relaxed;
        let replicas = replicas && !one && cards > 1;
        let mut space = Self {
            model,
            costs,
            repertoires,
            cards,
            largest,
            uniform,
            twins,
            alike,
            replicas,
            limits,
            stages: stages.unwrap_or(usize::MAX),
            parts,
            relaxed,
            stream,
            mixing,
            pruned: false,
            complete,
            whole,
            manner,
            only: only.map(|only| only.into_iter().map(|group| (group.start, group.end)).collect()),
            fronts,
            nothing: repertoires.iter().map(|_| Vec::new()).collect(),
            mixed: RefCell::default(),
            rooms: RefCell::default(),
            broadcasts: RefCell::default(),
        };
        space.replicas &= whole.times(2) <= space.room(&(0..cards));
        space.twins = space.same_kinds();
        let groups = space.groups();
        let unpinned = space.limits.is_none_or(Limits::is_empty);
        let sums = unpinned && space.stages == usize::MAX && space.pace() == Pace::Sum;
        let free = scope.free.filter(|_| unpinned && space.pace() == Pace::Period && !space.replicas && !stream);
        space.pruned = (sums || free.is_some()) && !exhaustive && prospect::worthwhile(&space, groups.len());
        match (space.pruned, relaxed, free) {
            (true, false, Some(free)) => space.fill_useful(&free, known, progress)?,
            (true, true, _) => space.fill_promising(known, progress)?,
            (true, false, None) => space.fill_in_order(known, progress)?,
            (false, _, _) => space.fill(&groups, None, progress)?,
        }
        if space.pruned {
            let kept = groups.iter().filter(|group| space.fronts.contains_key(&space.key(group)));
            space.only = Some(kept.map(|group| (group.start, group.end)).collect());
        }
        if let Some(report) = progress {
            report(Progress::Stages);
        }
        Ok(space)
    }

    fn same_kinds(&self) -> BTreeMap<Bounds, Bounds> {
        if self.uniform || matches!(self.costs.fleet.links, Links::Edges(_)) {
            return BTreeMap::new();
        }
        let mut first: BTreeMap<Vec<u16>, Bounds> = BTreeMap::new();
        let first_alike = |group: Interval| {
            let kinds = sails(&group).into_iter().map(|sail| self.costs.kind_number(sail)).collect();
            let bounds = (group.start, group.end);
            (bounds, *first.entry(kinds).or_insert(bounds))
        };
        self.groups().into_iter().map(first_alike).collect()
    }

    /// Points of a class on a group, but for those that take longer than the budget.
    pub(crate) fn points(
        &mut self,
        repertoire: &Repertoire,
        group: &[SailId],
        budget: Picoseconds,
    ) -> Result<Vec<Point>, String> {
        let station = Station::new(repertoire, self.costs, group, self.manner);
        if self.relaxed {
            return Ok(station.fastest(budget)?.into_iter().collect());
        }
        let (mut points, complete) = station.front(self.whole, budget)?;
        self.complete &= complete;
        if self.stream {
            let class = self.model.class(repertoire.class);
            points.extend(twins(&repertoire.choices, class, (self.costs, group), &points));
        }
        Ok(points)
    }

    /// Checks the fastest form of a class on a group by an integer program.
    pub(crate) fn certify(&self, group: &Interval, class: usize) -> Result<(), String> {
        let cards = sails(group);
        let station = Station::new(&self.repertoires[class], self.costs, &cards, self.manner);
        self.front(group)[class].first().map_or(Ok(()), |point| station.certify(point))
    }

    /// Prices of a point.
    pub(crate) fn detail(&self, group: &Interval, class: usize, point: usize) -> &Detail {
        let key = self.key(group);
        self.fronts[&key][class][point].detail(&self.repertoires[class], self.costs, &sails(&(key.0..key.1)))
    }

    /// What a point's activations need on a rank.
    pub(crate) fn needs(&self, group: &Interval, (class, point): (usize, usize), rank: usize) -> [ActivationNeed; 2] {
        let key = self.key(group);
        let cards = sails(&(key.0..key.1));
        self.fronts[&key][class][point].needs(&self.repertoires[class], (self.costs, &cards), rank)
    }

    /// Groups that cost the same share a key.
    pub(crate) fn key(&self, group: &Interval) -> Bounds {
        let bounds = (group.start, group.end);
        if self.uniform { (0, group.len()) } else { self.twins.get(&bounds).copied().unwrap_or(bounds) }
    }

    /// Points of every class on a group.
    pub(crate) fn front(&self, group: &Interval) -> &[Vec<Point>] {
        self.fronts.get(&self.key(group)).unwrap_or(&self.nothing)
    }

    /// Distinct groups, distinct forms, and points kept.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let points = self.fronts.values().flatten().map(Vec::len).sum();
        let groups = self.fronts.values().filter(|front| front.iter().any(|points| !points.is_empty())).count();
        (groups, self.repertoires.iter().map(Repertoire::forms).sum(), points)
    }

    /// All intervals that may be groups, by start, then end.
    pub(crate) fn groups(&self) -> Vec<Interval> {
        let starts = 0..self.cards;
        let from = |start: usize| (start + 1..=self.cards.min(start + self.largest)).map(move |end| start..end);
        starts.flat_map(from).filter(|group| self.open(group)).collect()
    }

    /// Whether a group may have work: its cards reach each other and no pin keeps one of them free.
    pub(crate) fn open(&self, group: &Interval) -> bool {
        let chosen = self.only.as_ref().is_none_or(|only| only.contains(&(group.start, group.end)));
        chosen
            && group.clone().all(|card| self.parts[card] == self.parts[group.start])
            && self.limits.is_none_or(|limits| limits.open(group))
    }

    /// Whether some groups are not offered parts of the positions of a context.
    pub(crate) fn heads_first(&self) -> bool {
        let caches = |one: &Repertoire| one.choices.by_positions(usize::MAX) && !one.choices.by_positions(2);
        self.largest > 1 && self.repertoires.iter().any(caches)
    }

    /// Whether pins demand anything.
    pub(crate) fn pinned(&self) -> bool {
        self.limits.is_some_and(|limits| !limits.is_empty())
    }

    /// Whether a value can go from one card to another.
    pub(crate) fn joined(&self, from: usize, to: usize) -> bool {
        self.parts[from] == self.parts[to]
    }

    /// For each segment, whether it may run on a group.
    pub(crate) fn allowed(&self, group: &Interval) -> Vec<bool> {
        let one = |segment: usize| self.limits.is_none_or(|limits| limits.allows(group, segment));
        (0..self.model.segments.len()).map(one).collect()
    }

    /// Memory of the cards of a run.
    pub(crate) fn room(&self, run: &Interval) -> Bytes {
        run.clone().map(|card| self.capacity(SailId(card as u16))).sum()
    }

    pub(crate) fn capacity(&self, sail: SailId) -> Bytes {
        let kind = self.costs.kind(sail);
        kind.memory - kind.reserve
    }

    /// Bytes of the value between two stages on the wire, in prefill and decode.
    fn passed(&self) -> [Bytes; 2] {
        let value = self.repertoires.iter().find_map(|repertoire| {
            let graph = &repertoire.choices.template.graph;
            graph.with_role(Role::Input).next().map(|id| &graph[id])
        });
        [Phase::Prefill, Phase::Decode].map(|phase| {
            let elements = value.map_or(0, |value| value.elements(self.costs.extents(phase)));
            Bytes(elements.saturating_mul(self.costs.request.wire.bytes()))
        })
    }

    /// The message from one card to another.
    pub(crate) fn message(&self, from: SailId, to: SailId) -> Passing {
        let [prefill, decode] = self.passed().map(|bytes| self.costs.links.message(from, to, bytes));
        Passing { prefill, decode, algorithms: None }
    }

    /// Spreading a received value over a group.
    pub(crate) fn broadcast(&self, group: &Interval) -> Passing {
        if group.len() < 2 {
            return Passing::default();
        }
        *self.broadcasts.borrow_mut().entry(self.key(group)).or_insert_with(|| self.spreading(group))
    }

    fn spreading(&self, group: &Interval) -> Passing {
        let group = sails(group);
        let best =
            self.passed().map(|bytes| self.costs.links.cheapest(CollectiveKind::Broadcast, &group, bytes, bytes));
        match best {
            [Some(prefill), Some(decode)] => {
                let start = self.costs.overhead(&group);
                let algorithms = Some((prefill.0, decode.0));
                Passing { prefill: prefill.1 + start, decode: decode.1 + start, algorithms }
            }
            _ => Passing { prefill: Picoseconds::NEVER, decode: Picoseconds::NEVER, algorithms: None },
        }
    }

    /// A time in both phases as a part of the objective.
    pub(crate) fn weighted(&self, prefill: Picoseconds, decode: Picoseconds) -> Picoseconds {
        let (p, d) = self.costs.request.weights();
        prefill * p.saturating_mul(self.costs.request.chunks()) + decode * d
    }

    /// Memory of one rank of a group with these segments: residents, staging of the largest streamed segment, and
    /// activations of the neediest class.
    pub(crate) fn memory(&self, group: &Interval, counts: &[Vec<u64>], rank: usize) -> MemoryUse {
        let front = self.front(group);
        let mut sum = MemoryUse::default();
        let (mut needs, mut staging) = (Vec::new(), Bytes(0));
        for (class, (points, counts)) in front.iter().zip(counts).enumerate() {
            for (index, (point, &count)) in points.iter().zip(counts).enumerate().filter(|(_, (_, count))| **count > 0)
            {
                let one = point.resident(rank);
                sum = sum + MemoryUse { weights: one.weights * count, kv: one.kv * count, ..one };
                needs.extend(self.needs(group, (class, index), rank));
                staging = staging.max(point.staging(rank));
            }
        }
        sum.weights += staging;
        let alignment = self.costs.kind(SailId((group.start + rank) as u16)).granularity;
        sum.activations = sailplan_ir::stage_activations(&needs, alignment).total();
        sum
    }

    /// Whether every rank of a group holds these segments.
    pub(crate) fn holds(&self, group: &Interval, counts: &[Vec<u64>]) -> bool {
        self.room_on(group).holds(self, group, counts)
    }

    /// What fits a group.
    pub(crate) fn room_on(&self, group: &Interval) -> Rc<Room> {
        let mut rooms = self.rooms.borrow_mut();
        Rc::clone(rooms.entry(self.key(group)).or_insert_with(|| Rc::new(Room::new(self, group))))
    }
}

/// Bytes of all weights and caches, each once.
pub(crate) fn whole(model: &Model, request: &Request) -> Bytes {
    let caches = model.graph.with_role(Role::Cache).map(|id| model.graph[id].bytes(request.decode_limit()));
    model.weight_bytes() + caches.sum()
}

/// The cards of an interval.
pub(crate) fn sails(group: &Interval) -> Vec<SailId> {
    group.clone().map(|index| SailId(index as u16)).collect()
}
