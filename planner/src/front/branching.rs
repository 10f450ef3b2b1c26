//! The fastest point of a class on a group over all its shares, by branching over the shares of each domain.

use super::{Point, Station};
use crate::paths::{Ahead, Cost, Selection, Walk};
use crate::table::PriceTable;
use sailplan_ir::{DomainId, Picoseconds};

/// A kernel in use by its number, with its phase.
type Used = (usize, usize);

/// The search over shares.
struct Branching {
    /// With the least price of everything.
    ahead: Option<Ahead>,
    best: Option<Found>,
    /// What an answer must cost less than.
    most: Cost,
}

/// An answer of the search over shares.
struct Found {
    shares: Vec<usize>,
    selection: Selection,
    cost: Cost,
}

impl Station<'_> {
    /// The fastest point: exact over all forms and all combinations of shares. Every way is first priced with whichever
    /// share suits it; where the ways of a domain then disagree, each of its shares is tried. `None` where nothing keeps to the
    /// budget.
    pub(crate) fn fastest(&self, budget: Picoseconds) -> Result<Option<Point>, String> {
        let domains = &self.repertoire.choices.template.domains;
        // What covers a domain goes with it.
        let led = |index: usize| domains.lead(DomainId(index as u32)).is_some();
        let one = |index: usize| if led(index) { vec![0] } else { self.undominated(index) };
        let allowed = (0..self.options.len()).map(one).collect();
        let mut search = Branching { ahead: None, best: None, most: Cost::most(budget.0) };
        self.branch(allowed, &mut search);
        let partition = |shares: &[usize], index: usize| {
            let domain = DomainId(index as u32);
            self.options[index][shares[domains.lead(domain).unwrap_or(domain).index()]].clone()
        };
        let partitions = |shares: &[usize]| (0..shares.len()).map(|index| partition(shares, index)).collect();
        search.best.map(|found| self.point(partitions(&found.shares), found.selection, found.cost)).transpose()
    }

    /// The shares of a domain but for those that are slower in no way than another's, or as fast in all and later.
    fn undominated(&self, domain: usize) -> Vec<usize> {
        let ways = self.repertoire.domains.iter().enumerate().filter(|(_, other)| **other == Some(domain));
        let ways: Vec<usize> = ways.map(|(way, _)| way).collect();
        let times = |share: usize| {
            let tables = [&self.rounds[share][0], &self.rounds[share][1]];
            ways.iter().flat_map(move |&way| tables.map(|table| table.time(way).unwrap_or(Picoseconds::NEVER)))
        };
        let slower = |share: usize, other: usize| {
            let later = share > other;
            let pairs = || times(share).zip(times(other));
            pairs().all(|(ours, theirs)| ours >= theirs) && (later || pairs().any(|(ours, theirs)| ours > theirs))
        };
        let shares = 0..self.options[domain].len();
        shares.clone().filter(|&share| !shares.clone().any(|other| other != share && slower(share, other))).collect()
    }

    fn branch(&self, allowed: Vec<Vec<usize>>, search: &mut Branching) {
        let tables = self.optimistic(&allowed);
        let walk = Walk { trellis: self.repertoire.trellis(self.group.len()), tables: &tables, weights: self.weights };
        // At the root what is ahead is exact, so that only the path to the answer is looked at.
        let root = search.ahead.is_none();
        let ahead = search.ahead.get_or_insert_with(|| walk.ahead());
        let most = if root { Cost::most(ahead.whole()).min(search.most) } else { search.most };
        let Some((selection, bound)) = walk.fastest(ahead, most) else { return };
        let used = self.by_domain(&selection);
        let pick = |(domain, options): (usize, &Vec<usize>)| {
            let costs = options.iter().map(|&share| (self.cost(&used[domain], share), share));
            costs.min().unwrap_or((Cost::NEVER, 0))
        };
        let picked: Vec<(Cost, usize)> = allowed.iter().enumerate().map(pick).collect();
        let free = self.cost(&used[allowed.len()], 0);
        let cost = picked.iter().fold(free, |sum, &(cost, _)| sum.plus(cost));
        if cost.possible() && cost < search.most {
            let shares = picked.iter().map(|&(_, share)| share).collect();
            (search.best, search.most) = (Some(Found { shares, selection, cost }), cost);
        }
        if cost == bound {
            return;
        }
        let gap = |domain: usize| picked[domain].0.objective - self.sum(&used[domain], &tables).objective;
        let open = (0..allowed.len()).filter(|&domain| allowed[domain].len() > 1);
        let Some(domain) = open.max_by_key(|&domain| (gap(domain), allowed[domain].len())) else { return };
        // The share that suits these ways first, so that the others can be left out for their bound.
        let (first, rest): (Vec<usize>, Vec<usize>) =
            allowed[domain].iter().partition(|&&share| share == picked[domain].1);
        for share in first.into_iter().chain(rest) {
            let mut one = allowed.clone();
            one[domain] = vec![share];
            self.branch(one, search);
        }
    }

    fn sum(&self, used: &[Used], tables: &[PriceTable; 2]) -> Cost {
        let one = |&(phase, kernel): &Used| Cost::of(tables[phase].time(kernel), self.weights[phase]);
        used.iter().map(one).fold(Cost::default(), Cost::plus)
    }

    /// For every way the least price over the shares that are allowed.
    fn optimistic(&self, allowed: &[Vec<usize>]) -> [PriceTable; 2] {
        let table = |phase: usize| {
            let all = |share: usize| &self.rounds[share][phase];
            PriceTable::least(&self.repertoire.domains, all(0), |domain| &allowed[domain], all)
        };
        [table(0), table(1)]
    }

    /// The kernels of a selection by domain, those of none last.
    fn by_domain(&self, selection: &Selection) -> Vec<Vec<Used>> {
        let mut used = vec![Vec::new(); self.options.len() + 1];
        for (phase, ways) in selection.iter().enumerate() {
            for kernel in self.repertoire.rates.joint.among(ways) {
                let domain = self.repertoire.domains[kernel].unwrap_or(self.options.len());
                used[domain].push((phase, kernel));
            }
        }
        used
    }

    fn cost(&self, used: &[Used], share: usize) -> Cost {
        self.sum(used, &self.rounds[share])
    }
}
