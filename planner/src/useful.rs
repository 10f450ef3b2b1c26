//! Where the largest load of a chain is looked for and memory binds: which groups and points can be part of a chain whose loads all
//! stay within a limit. Segments have an order, so what a run of cards can hold is a number of them, and the most that the
//! cards before a group can hold and the fewest that must be left to those behind it say what the group must hold.

use crate::dynamic;
use crate::fill::Told;
use crate::space::{Bounds, Interval, Space};
use sailplan_ir::Picoseconds;
use std::collections::BTreeMap;

/// The largest load that is tried before all groups are looked at, in hundredths of the least with memory left out of account:
/// most chains that fit are not much slower.
const LIMIT: u128 = 115;

/// What is known with memory left out of account.
#[derive(Clone)]
pub(crate) struct Free {
    /// By group and class, the least time of a segment.
    least: BTreeMap<Bounds, Vec<Option<Picoseconds>>>,
    /// The smallest largest load of a chain.
    bound: Picoseconds,
}

impl Free {
    /// What a space with memory left out of account says, in which no chain has a smaller largest load.
    pub(crate) fn of(space: &Space<'_>, bound: Picoseconds) -> Self {
        let least = |front: &Vec<Vec<crate::front::Point>>| {
            front.iter().map(|points| points.first().map(|point| point.objective)).collect()
        };
        Self { least: space.fronts.iter().map(|(&key, front)| (key, least(front))).collect(), bound }
    }
}

impl Space<'_> {
    /// Finds the points that a chain within a limit can have, and where none is found that keeps to it, all. What takes no less than
    /// `known` is of no use.
    pub(crate) fn fill_useful(&mut self, free: &Free, known: Picoseconds, progress: Told<'_>) -> Result<(), String> {
        let near = Picoseconds((u128::from(free.bound.0) * LIMIT / 100).try_into().unwrap_or(u64::MAX));
        for limit in [near.min(known), known] {
            if limit == Picoseconds::NEVER {
                break;
            }
            let budgets = self.useful(free, limit);
            let groups: Vec<Interval> = budgets.keys().map(|&(start, end)| start..end).collect();
            self.fronts.clear();
            self.fill(&groups, Some(&|key, class| budgets[&key][class]), progress)?;
            if limit == known || dynamic::least(self).is_some_and(|found| found <= limit) {
                return Ok(());
            }
        }
        self.fronts.clear();
        self.fill(&self.groups(), None, progress)
    }

    /// By group, where one is useful, and class, how long a segment may take.
    fn useful(&self, free: &Free, limit: Picoseconds) -> BTreeMap<Bounds, Vec<Option<Picoseconds>>> {
        let loads = Loads::new(self, free, limit);
        let mut budgets: BTreeMap<Bounds, Vec<Option<Picoseconds>>> = BTreeMap::new();
        for (group, least) in &loads.groups {
            let Some(own) = loads.budgets(group, least) else { continue };
            let known = budgets.entry(self.key(group)).or_insert_with(|| own.clone());
            known.iter_mut().zip(own).for_each(|(known, own)| *known = (*known).max(own));
        }
        budgets
    }
}

/// What groups can hold within a limit.
struct Loads<'a> {
    limit: Picoseconds,
    /// By segment, its class.
    classes: Vec<usize>,
    /// With the least time of a segment of each class.
    groups: Vec<(Interval, &'a [Option<Picoseconds>])>,
    /// By card, the most segments that cards before it can hold.
    before: Vec<usize>,
    /// By card, how many segments must be placed before it at least.
    needed: Vec<usize>,
}

impl<'a> Loads<'a> {
    fn new(space: &Space<'_>, free: &'a Free, limit: Picoseconds) -> Self {
        let least = |group: Interval| Some((group.clone(), free.least.get(&space.key(&group))?.as_slice()));
        let groups = space.groups().into_iter().filter_map(least).collect();
        let classes = space.model.segments.iter().map(|segment| segment.class.index()).collect();
        let mut loads = Self { limit, classes, groups, before: Vec::new(), needed: Vec::new() };
        loads.before = loads.most_before(space.cards);
        loads.needed = loads.least_before(space.cards);
        loads
    }

    /// Groups stand in the order of their first cards.
    fn most_before(&self, cards: usize) -> Vec<usize> {
        let mut before = vec![0; cards + 1];
        let mut card = 0;
        for (group, least) in &self.groups {
            for card in std::mem::replace(&mut card, group.start)..group.start {
                before[card + 1] = before[card + 1].max(before[card]);
            }
            let first = before[group.start];
            let held = self.held(self.classes[first..].iter(), least);
            before[group.end] = before[group.end].max(first + held);
        }
        for card in card..cards {
            before[card + 1] = before[card + 1].max(before[card]);
        }
        before
    }

    fn least_before(&self, cards: usize) -> Vec<usize> {
        let mut needed = vec![self.classes.len(); cards + 1];
        let mut groups: Vec<&(Interval, &[Option<Picoseconds>])> = self.groups.iter().collect();
        groups.sort_by_key(|(group, _)| std::cmp::Reverse(group.end));
        let mut card = cards;
        for (group, least) in groups {
            for card in (group.end..std::mem::replace(&mut card, group.end)).rev() {
                needed[card] = needed[card].min(needed[card + 1]);
            }
            let last = needed[group.end];
            let held = self.held(self.classes[..last].iter().rev(), least);
            needed[group.start] = needed[group.start].min(last - held);
        }
        for card in (0..card).rev() {
            needed[card] = needed[card].min(needed[card + 1]);
        }
        needed
    }

    /// How many of these segments, from the first on, a group can hold.
    fn held<'b>(&self, classes: impl Iterator<Item = &'b usize>, least: &[Option<Picoseconds>]) -> usize {
        let times = classes.scan(Picoseconds(0), |sum, &class| {
            *sum += least[class]?;
            Some(*sum)
        });
        times.take_while(|&sum| sum <= self.limit).count()
    }

    /// By class, how long a segment on a group may take; `None` where a chain through the group is never within the limit.
    fn budgets(&self, group: &Interval, least: &[Option<Picoseconds>]) -> Option<Vec<Option<Picoseconds>>> {
        let (first, last) = (self.before[group.start], self.needed[group.end]);
        let must = if first < last { &self.classes[first..last] } else { &[] };
        let load = must.iter().map(|&class| least[class]).sum::<Option<Picoseconds>>()?;
        let left = (load <= self.limit).then(|| Picoseconds(self.limit.0 - load.0))?;
        let budget = |(class, least): (usize, &Option<Picoseconds>)| {
            let least = (*least)?;
            let own = if must.contains(&class) { least } else { Picoseconds(0) };
            Some(left + own).filter(|&budget| budget >= least)
        };
        Some(least.iter().enumerate().map(budget).collect())
    }
}
