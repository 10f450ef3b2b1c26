//! Which groups are looked at: all, or those that can be part of the best chain.

use crate::prospect::{Prospects, Through};
use crate::space::{Bounds, Interval, Space, sails};
use crate::stage::Mixing;
use crate::stream::unavoidable;
use crate::{Progress, assemble, dynamic};
use sailplan_ir::Picoseconds;
use std::collections::{BTreeMap, BTreeSet};

/// Which classes are looked at on which groups, and how long a segment may take there.
pub(crate) type Wanted<'a> = Option<&'a dyn Fn(Bounds, usize) -> Option<Picoseconds>>;

pub(crate) type Told<'a> = Option<&'a dyn Fn(Progress)>;

/// Chains that are tried for a short one before all others are judged by it.
const ROUNDS: usize = 12;

impl Space<'_> {
    /// Finds the points of groups that have none yet, of all classes or of those that are wanted.
    pub(crate) fn fill(&mut self, groups: &[Interval], wanted: Wanted<'_>, progress: Told<'_>) -> Result<(), String> {
        let keys: BTreeSet<Bounds> = groups.iter().map(|group| self.key(group)).collect();
        self.rooms.get_mut().clear();
        for (done, &key) in keys.iter().enumerate() {
            if let Some(report) = progress {
                report(Progress::Forms { done, of: keys.len() });
            }
            if self.fronts.contains_key(&key) {
                continue;
            }
            let group = sails(&(key.0..key.1));
            let mut front = Vec::new();
            for (class, repertoire) in self.repertoires.iter().enumerate() {
                let budget = wanted.map_or(Some(Picoseconds::NEVER), |wanted| wanted(key, class));
                let points = budget.map(|budget| self.points(repertoire, &group, budget)).transpose()?;
                front.push(points.unwrap_or_default());
            }
            self.fronts.insert(key, front);
        }
        Ok(())
    }

    /// Finds the points that can be part of the best chain. Chains that are the shortest by what is known are looked at until
    /// nothing is shorter by bounds alone, or often enough; then what bounds do not rule out.
    pub(crate) fn fill_promising(&mut self, known: Picoseconds, progress: Told<'_>) -> Result<(), String> {
        let mut prospects = Prospects::new(self);
        let mut best = known;
        for _ in 0..ROUNDS {
            let Some(chain) = prospects.shortest() else { break };
            let groups: Vec<Interval> = chain.iter().map(|cut| cut.group.clone()).collect();
            let news = groups.iter().any(|group| !self.fronts.contains_key(&self.key(group)));
            self.fill(&groups, None, None)?;
            if let Some(stages) = assemble::fill(self, &chain) {
                best = best.min(assemble::sum(self, &stages));
            }
            if !news {
                break;
            }
            prospects.learn(|group| {
                let front = self.fronts.get(&self.key(group))?;
                Some(front.iter().map(|points| points.first().map(|point| point.objective)).collect())
            });
        }
        let through = self.least_through(&prospects);
        self.fill(&self.groups(), Some(&|key, class| through[&key][class].budget(best)), progress)
    }

    /// Where memory binds: groups in the order of the least time of a chain through them, until that is more than a chain takes
    /// that was found on those before; what any chain must stream is added, and any
    /// chain is enough where no mix is improved. Each time twice as many are looked at before a chain is looked for.
    pub(crate) fn fill_in_order(&mut self, elsewhere: Picoseconds, progress: Told<'_>) -> Result<(), String> {
        let mut through = self.least_through(&Prospects::new(self));
        let streamed = if self.stream { unavoidable(self) } else { Picoseconds(0) };
        through.values_mut().flatten().for_each(|through| through.add(streamed));
        let least = |all: &[Through]| all.iter().map(|one| one.chain).min().unwrap_or(Picoseconds::NEVER);
        let mut order: Vec<(Picoseconds, Bounds)> = through.iter().map(|(&key, all)| (least(all), key)).collect();
        order.sort_unstable();
        let (mut known, mut batch, mut best) = (0, 4, elsewhere);
        while order.get(known).is_some_and(|next| next.0 <= best) {
            let next = &order[known..order.len().min(known + batch)];
            let groups: Vec<Interval> = next.iter().map(|(_, key)| key.0..key.1).collect();
            self.fill(&groups, Some(&|key, class| through[&key][class].budget(best)), progress)?;
            (known, batch) = (known + next.len(), batch * 2);
            let Some(cuts) = dynamic::shortest(self) else { continue };
            let stages = match self.mixing {
                Mixing::Searched => assemble::polished(self, &cuts)?,
                Mixing::Found => assemble::fill(self, &cuts),
                Mixing::Never => break,
            };
            if let Some(stages) = stages {
                best = best.min(assemble::sum(self, &stages));
            }
        }
        Ok(())
    }

    /// By class, the least of a chain through any of the groups that cost the same.
    fn least_through(&self, prospects: &Prospects) -> BTreeMap<Bounds, Vec<Through>> {
        let mut least: BTreeMap<Bounds, Vec<Through>> = BTreeMap::new();
        for (group, all) in prospects.through() {
            let known = least.entry(self.key(&group)).or_insert_with(|| all.clone());
            known.iter_mut().zip(all).for_each(|(known, one)| known.join(one));
        }
        least
    }
}
