//! How the cards of a group may share a class: for each domain the partitions worth trying.

use sailplan_cost_model::CostModel;
use sailplan_ir::{Bytes, Compute, DType, DomainId, Domains, Graph, Partition, Role, SailId, block_granule, lcm};

/// For each domain, distinct partitions: as even as can be, at the memory rates and at the compute rates of the cards, in
/// whole blocks of every weight that the domain may cut, in whole units of what covers it, or in single units. Where no such
/// partition gives two ranks something, one that leaves the domain uncut. Rows and positions are dealt evenly. What covers a domain has as many, in its order.
pub(crate) fn options(
    graph: &Graph,
    domains: &Domains,
    costs: &CostModel<'_>,
    group: &[SailId],
) -> Vec<Vec<Partition>> {
    dealt(graph, domains, group.len(), &rates(costs, group))
}

/// As `options`, with even shares only.
pub(crate) fn even(graph: &Graph, domains: &Domains, ranks: usize) -> Vec<Vec<Partition>> {
    dealt(graph, domains, ranks, &[vec![1; ranks]])
}

fn dealt(graph: &Graph, domains: &Domains, ranks: usize, rates: &[Vec<u64>]) -> Vec<Vec<Partition>> {
    let (coarse, even) = (coarsest(graph, domains), [vec![1; ranks]]);
    let dealt = |domain: DomainId| {
        let units = domains.units(domain);
        let mut distinct: Vec<Partition> = Vec::new();
        // Rows are only cut between two collectives over them, which want them even; positions are dealt in turns.
        let rates: &[Vec<u64>] = if domains.is_open(domain) { &even } else { rates };
        for rates in rates {
            for granule in granules(domains, domain, coarse[domain.index()]) {
                let dealt = Partition::proportional(units, granule, rates);
                if dealt.divides() && !distinct.contains(&dealt) {
                    distinct.push(dealt);
                }
            }
        }
        if distinct.is_empty() {
            distinct.push(Partition::balanced(units, 1, ranks));
        }
        distinct
    };
    let all = || (0..domains.count()).map(|index| DomainId(index as u32));
    let led = |domain: DomainId| domains.lead(domain).is_some();
    let mut options: Vec<Vec<Partition>> =
        all().map(|domain| if led(domain) { Vec::new() } else { dealt(domain) }).collect();
    for (domain, lead) in all().filter_map(|domain| Some((domain, domains.lead(domain)?))) {
        let cover = |dealt: &Partition| dealt.covering(domains.units(lead), domains.units(domain));
        options[domain.index()] = options[lead.index()].iter().map(cover).collect();
    }
    options
}

/// Granules to deal a domain in: whole blocks, whole units of what covers it, single units.
fn granules(domains: &Domains, domain: DomainId, coarse: u64) -> Vec<u64> {
    let units = domains.units(domain);
    let covers = domains.covers(domain).map(|cover| units / domains.units(cover).max(1));
    let mut granules = vec![coarse];
    granules.extend(covers.map(|each| lcm(each, coarse)));
    granules.push(1);
    granules.dedup();
    granules
}

/// Where memory counts: one deal for all domains at once, each as one partition for every domain. Even, at the cards' rates,
/// and at their rates as far as their memory goes when the group holds a part of a model of `whole` bytes.
pub(crate) fn deals(
    graph: &Graph,
    domains: &Domains,
    costs: &CostModel<'_>,
    group: &[SailId],
    whole: Bytes,
) -> Vec<Vec<Partition>> {
    let (rates, coarse) = (rates(costs, group), coarsest(graph, domains));
    let room = |&sail: &SailId| (costs.kind(sail).memory - costs.kind(sail).reserve).0 as f64;
    let room: Vec<f64> = group.iter().map(room).collect();
    let capped = |part: &f64| {
        let most: Vec<f64> = room.iter().map(|room| room / (part * whole.0.max(1) as f64)).collect();
        capped(&rates[0], &most)
    };
    let limited: Vec<Vec<u64>> = PARTS.iter().filter_map(capped).collect();
    let mut distinct: Vec<Vec<Partition>> = Vec::new();
    for rates in rates.iter().chain(&limited) {
        for round in 0..3 {
            let dealt = |domain: DomainId| {
                let granules = granules(domains, domain, coarse[domain.index()]);
                let granule = granules[round.min(granules.len() - 1)];
                let dealt = Partition::proportional(domains.units(domain), granule, rates);
                if dealt.divides() && !domains.is_open(domain) {
                    dealt
                } else {
                    Partition::balanced(domains.units(domain), 1, group.len())
                }
            };
            let deal = domains.partitions(dealt);
            if !distinct.contains(&deal) {
                distinct.push(deal);
            }
        }
    }
    distinct
}

/// Parts of the model that a group may hold when its deal is limited by memory; more than all of it leaves room for
/// activations.
const PARTS: [f64; 14] = [2.0, 1.6, 1.4, 1.25, 1.17, 1.1, 1.05, 1.02, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1];

/// Shares in proportion to rates, none above its limit (a fraction of the whole): cards that would be above it get the limit,
/// and the others share the rest. `None` when all limits together are less than the whole.
fn capped(rates: &[u64], most: &[f64]) -> Option<Vec<u64>> {
    let mut shares = vec![0.0; rates.len()];
    let mut open: Vec<usize> = (0..rates.len()).collect();
    let mut rest = 1.0;
    while !open.is_empty() {
        let total: f64 = open.iter().map(|&rank| rates[rank] as f64).sum();
        let share = |rank: usize| rest * rates[rank] as f64 / total;
        let (full, free): (Vec<usize>, Vec<usize>) = open.iter().partition(|&&rank| share(rank) > most[rank]);
        if full.is_empty() {
            free.iter().for_each(|&rank| shares[rank] = share(rank));
            return Some(shares.iter().map(|share| (share * UNIT).round() as u64).collect());
        }
        full.iter().for_each(|&rank| shares[rank] = most[rank]);
        rest -= full.iter().map(|&rank| most[rank]).sum::<f64>();
        open = free;
    }
    None
}

/// Fractions as integers.
const UNIT: f64 = (1u64 << 40) as f64;

/// Rates to deal by, the memory's first. Only their ratios matter.
fn rates(costs: &CostModel<'_>, group: &[SailId]) -> Vec<Vec<u64>> {
    let kinds = || group.iter().map(|&sail| costs.kind(sail));
    let memory = kinds().map(|kind| kind.bandwidth.0).collect();
    let compute: Option<Vec<u64>> = kinds()
        .map(|kind| match &kind.compute {
            Compute::Unknown => None,
            Compute::Rates(rates) => rates.get(&DType::F32).or_else(|| rates.values().next()).map(|rate| rate.0),
        })
        .collect();
    [Some(memory), compute, Some(vec![1; group.len()])].into_iter().flatten().collect()
}

/// Per domain, the granule that suits every weight with a contiguous axis in it.
pub(crate) fn coarsest(graph: &Graph, domains: &Domains) -> Vec<u64> {
    let mut granules = vec![1; domains.count()];
    for tensor in graph.with_role(Role::Weight) {
        for axis in 0..graph[tensor].axes.len() as u8 {
            let domain = domains.domain(tensor, axis).index();
            granules[domain] = lcm(granules[domain], block_granule(graph, domains, tensor, axis));
        }
    }
    granules
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1/4 and 3/4 by rate; at most 1/2 for the second leaves 1/2 for the first. At most 1/4 each is not enough.
    #[test]
    fn limits_move_shares_to_cards_with_room() {
        let fractions = |shares: Vec<u64>| shares.iter().map(|&share| share as f64 / UNIT).collect::<Vec<_>>();
        assert_eq!(capped(&[1, 3], &[1.0, 1.0]).map(fractions), Some(vec![0.25, 0.75]));
        assert_eq!(capped(&[1, 3], &[1.0, 0.5]).map(fractions), Some(vec![0.5, 0.5]));
        assert_eq!(capped(&[1, 1, 2], &[0.125, 1.0, 0.5]).map(fractions), Some(vec![0.125, 0.375, 0.5]));
        assert_eq!(capped(&[1, 3], &[0.25, 0.25]), None);
    }
}
