//! The points of a layer class on a group: forms from the fastest to the smallest, over the partitions worth trying.

use crate::extract::{Extracted, Goal, PHASES, extract, price_table};
use crate::price::{Site, partitions};
use crate::saturate::Choices;
use sailplan_cost_model::CostModel;
use sailplan_ir::{
    ActivationNeed, Bytes, ClassId, MemoryUse, Partition, Picoseconds, RankView, Request, Resources, SailId,
};

/// One form with one set of partitions on one group.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) extracted: Extracted,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) prefill: Resources,
    pub(crate) decode: Resources,
    /// What each rank needs for activations: [prefill, decode].
    pub(crate) needs: Vec<[ActivationNeed; 2]>,
}

impl Point {
    /// The value that is minimised, for one segment.
    pub(crate) fn objective(&self, request: &Request) -> Picoseconds {
        let (prefill, decode) = request.weights();
        self.prefill.total() * prefill.saturating_mul(request.chunks()) + self.decode.total() * decode
    }

    pub(crate) fn resident(&self, rank: usize) -> MemoryUse {
        self.extracted.residents[rank]
    }

    fn fullest(&self) -> Bytes {
        self.extracted.residents.iter().map(MemoryUse::total).max().unwrap_or_default()
    }
}

/// More points than this are not kept; the sweep goes from the fastest down.
const MAX_POINTS: usize = 8;

/// The points of a class on a group, fastest first; each later one is smaller. With `fastest` only the first.
pub(crate) fn points(
    choices: &Choices,
    class: ClassId,
    costs: &CostModel<'_>,
    group: &[SailId],
    fastest: bool,
) -> Result<Vec<Point>, String> {
    let mut all: Vec<Point> = Vec::new();
    for partitions in partitions(choices, group.len()) {
        let site = Site { costs, group, partitions: &partitions };
        sweep(choices, class, &site, fastest, &mut all)?;
    }
    all.sort_by_key(|point| (point.objective(costs.request), point.fullest()));
    let mut kept: Vec<Point> = Vec::new();
    for point in all {
        if kept.last().is_none_or(|last| !fastest && point.fullest() < last.fullest()) {
            kept.push(point);
        }
    }
    kept.truncate(MAX_POINTS);
    Ok(kept)
}

fn sweep(
    choices: &Choices,
    class: ClassId,
    site: &Site<'_>,
    fastest: bool,
    all: &mut Vec<Point>,
) -> Result<(), String> {
    let tables = PHASES.map(|phase| price_table(choices, site, phase));
    let (prefill, decode) = site.costs.request.weights();
    let weights = [(prefill * site.costs.request.chunks()) as f64, decode as f64].map(|weight| weight.max(1e-6));
    let known = all.iter().map(|point| point.extracted.value).min_by(f64::total_cmp);
    let beat = known.filter(|_| fastest);
    let mut limit = None;
    for _ in 0..MAX_POINTS {
        let Some(found) = extract(choices, class, site, &tables, &Goal { weights, limit, beat })? else {
            break;
        };
        let point = point(choices, site, found);
        limit = Some(point.fullest() - Bytes(1));
        all.push(point);
        if fastest || site.group.len() < 2 {
            break;
        }
    }
    Ok(())
}

fn point(choices: &Choices, site: &Site<'_>, extracted: Extracted) -> Point {
    let sum =
        |prices: &[crate::price::Priced]| prices.iter().fold(Resources::default(), |sum, one| sum + one.resources);
    let (prefill, decode) = (sum(&extracted.prefill), sum(&extracted.decode));
    let request = site.costs.request;
    let (graph, domains) = (&choices.template.graph, &choices.template.domains);
    let need = |rank: usize| {
        let view = |limit| RankView {
            template: graph,
            domains,
            partitions: site.partitions,
            rank,
            limit,
            alignment: site.costs.fleet.kind(site.group[rank]).granularity,
            wire: request.wire,
        };
        let of = |view: RankView<'_>, program, prices: &[crate::price::Priced]| {
            view.activations(program, |index| prices[index].price.algorithm).need
        };
        [
            of(view(request.prefill_limit()), &extracted.form.prefill, &extracted.prefill),
            of(view(request.decode_limit()), &extracted.form.decode, &extracted.decode),
        ]
    };
    let needs = (0..site.group.len()).map(need).collect();
    Point { extracted, partitions: site.partitions.to_vec(), prefill, decode, needs }
}
