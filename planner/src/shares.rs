//! How the cards of a group may share a class: for each domain the partitions worth trying.

use sailplan_cost_model::CostModel;
use sailplan_ir::{Compute, DType, DomainId, Domains, Graph, Partition, Role, SailId, block_granule, lcm};

/// For each domain, distinct partitions: as even as can be, at the memory rates and at the compute rates of the cards, in
/// whole blocks of every weight that the domain may cut, or in single units. Where no such partition gives two ranks
/// something, one that leaves the domain uncut.
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
    let coarse = coarsest(graph, domains);
    let one = |(index, &granule): (usize, &u64)| {
        let units = domains.units(DomainId(index as u32));
        let mut distinct: Vec<Partition> = Vec::new();
        for rates in rates {
            for granule in [granule, 1] {
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
    coarse.iter().enumerate().map(one).collect()
}

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
