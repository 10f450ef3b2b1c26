//! The space of placements: groups of consecutive cards, the points of every class on each, and what passes between
//! stages. Equal cards with equal links collapse groups to their size.

use crate::Progress;
use crate::front::{Point, points};
use crate::saturate::Choices;
use sailplan_cost_model::{CostModel, Phase};
use sailplan_ir::{
    Algorithm, Bytes, ClassId, CollectiveKind, Form, Links, MemoryUse, Model, Picoseconds, Resources, Role, SailId,
    Verified,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

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

/// Everything the engines choose from.
pub(crate) struct Space<'a> {
    pub(crate) model: &'a Verified<Model>,
    pub(crate) costs: &'a CostModel<'a>,
    pub(crate) choices: &'a [Choices],
    /// Cards that may be used.
    pub(crate) cards: usize,
    pub(crate) largest: usize,
    /// Whether groups of one size cost the same wherever they stand.
    pub(crate) uniform: bool,
    /// Whether memory is left out of account: a relaxation, whose optimum is the optimum when it happens to fit.
    pub(crate) relaxed: bool,
    fronts: BTreeMap<Bounds, Vec<Vec<Point>>>,
}

/// An interval as an ordered key.
type Bounds = (usize, usize);

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
        choices: &'a [Choices],
        family: Family,
        relaxed: bool,
        progress: Option<&dyn Fn(Progress)>,
    ) -> Result<Self, String> {
        let cards = family.cards.unwrap_or(usize::MAX).min(costs.fleet.size());
        let largest = family.largest.unwrap_or(usize::MAX).min(cards);
        let uniform = costs.fleet.kinds.len() == 1 && !matches!(costs.fleet.links, Links::Edges(_));
        let mut space = Self { model, costs, choices, cards, largest, uniform, relaxed, fronts: BTreeMap::new() };
        space.fill(progress)?;
        Ok(space)
    }

    fn fill(&mut self, progress: Option<&dyn Fn(Progress)>) -> Result<(), String> {
        let keys: BTreeSet<Bounds> = self.groups().iter().map(|group| self.key(group)).collect();
        for (done, &key) in keys.iter().enumerate() {
            if let Some(report) = progress {
                report(Progress::Forms { done, of: keys.len() });
            }
            let group = sails(&(key.0..key.1));
            let per_class = |(index, choices): (usize, &Choices)| {
                points(choices, ClassId(index as u32), self.costs, &group, self.relaxed)
            };
            let front: Result<Vec<Vec<Point>>, String> = self.choices.iter().enumerate().map(per_class).collect();
            self.fronts.insert(key, front?);
        }
        if let Some(report) = progress {
            report(Progress::Stages);
        }
        Ok(())
    }

    /// Groups that cost the same share a key.
    fn key(&self, group: &Interval) -> Bounds {
        if self.uniform { (0, group.len()) } else { (group.start, group.end) }
    }

    /// Points of every class on a group.
    pub(crate) fn front(&self, group: &Interval) -> &[Vec<Point>] {
        &self.fronts[&self.key(group)]
    }

    /// Distinct groups, distinct forms, and points kept.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let mut forms: Vec<&Form> = Vec::new();
        let mut points = 0;
        for point in self.fronts.values().flatten().flatten() {
            points += 1;
            if !forms.contains(&&point.extracted.form) {
                forms.push(&point.extracted.form);
            }
        }
        (self.fronts.len(), forms.len(), points)
    }

    /// All intervals that may be groups, by start, then end.
    pub(crate) fn groups(&self) -> Vec<Interval> {
        let starts = 0..self.cards;
        starts.flat_map(|start| (start + 1..=self.cards.min(start + self.largest)).map(move |end| start..end)).collect()
    }

    pub(crate) fn capacity(&self, sail: SailId) -> Bytes {
        let kind = self.costs.fleet.kind(sail);
        kind.memory - kind.reserve
    }

    /// Bytes of the value between two stages on the wire, in prefill and decode.
    fn passed(&self) -> [Bytes; 2] {
        let value = self.choices.iter().find_map(|choices| {
            let graph = &choices.template.graph;
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
        let group = sails(group);
        let best =
            self.passed().map(|bytes| self.costs.links.cheapest(CollectiveKind::Broadcast, &group, bytes, bytes));
        match best {
            [Some(prefill), Some(decode)] => {
                Passing { prefill: prefill.1, decode: decode.1, algorithms: Some((prefill.0, decode.0)) }
            }
            _ => Passing { prefill: Picoseconds::NEVER, decode: Picoseconds::NEVER, algorithms: None },
        }
    }

    /// A time in both phases as a part of the objective.
    pub(crate) fn weighted(&self, prefill: Picoseconds, decode: Picoseconds) -> Picoseconds {
        let (p, d) = self.costs.request.weights();
        prefill * p.saturating_mul(self.costs.request.chunks()) + decode * d
    }

    /// As `weighted`, for resources.
    pub(crate) fn weighted_resources(&self, prefill: Resources, decode: Resources) -> Resources {
        let (p, d) = self.costs.request.weights();
        prefill * p.saturating_mul(self.costs.request.chunks()) + decode * d
    }

    /// Memory of one rank of a group with these segments: residents, and activations of the neediest class.
    pub(crate) fn memory(&self, group: &Interval, counts: &[Vec<u64>], rank: usize) -> MemoryUse {
        let front = self.front(group);
        let mut sum = MemoryUse::default();
        let mut needs = Vec::new();
        for (points, counts) in front.iter().zip(counts) {
            for (point, &count) in points.iter().zip(counts) {
                if count > 0 {
                    let one = point.resident(rank);
                    sum = sum + MemoryUse { weights: one.weights * count, kv: one.kv * count, ..one };
                    needs.extend(point.needs[rank]);
                }
            }
        }
        let alignment = self.costs.fleet.kind(SailId((group.start + rank) as u16)).granularity;
        sum.activations = sailplan_ir::stage_activations(&needs, alignment).total();
        sum
    }

    /// Whether every rank of a group holds these segments, as far as memory is taken into account.
    pub(crate) fn fits(&self, group: &Interval, counts: &[Vec<u64>]) -> bool {
        self.relaxed || self.holds(group, counts)
    }

    /// Whether every rank of a group holds these segments.
    pub(crate) fn holds(&self, group: &Interval, counts: &[Vec<u64>]) -> bool {
        let capacity = |rank: usize| self.capacity(SailId((group.start + rank) as u16));
        (0..group.len()).all(|rank| self.memory(group, counts, rank).total() <= capacity(rank))
    }
}

/// The cards of an interval.
pub(crate) fn sails(group: &Interval) -> Vec<SailId> {
    group.clone().map(|index| SailId(index as u16)).collect()
}
