//! The points of a layer class on a group: the fastest form over all shares, and, where memory counts, every form that is
//! smaller and slower.

mod branching;

use crate::extract::{Goal, extract};
use crate::paths::{Cost, Selection, Walk};
use crate::price::{Priced, Site};
use crate::repertoire::{Formed, Repertoire};
use crate::saturate::Choices;
use crate::shares;
use crate::space::Manner;
use crate::table::{Exchanges, PHASES, PriceTable, price_tables, prices_of};
use crate::trellis::Made;
use sailplan_cost_model::{CostModel, Phase, Work, must_sustain};
use sailplan_ir::{
    ActivationNeed, Algorithm, Bytes, FlopsPerSecond, MemoryUse, Partition, Picoseconds, RankView, Resources, SailId,
    Streamed, Sustain, stage_activations,
};
use std::cell::OnceCell;
use std::rc::Rc;

/// One form with one set of partitions on one group.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) formed: Rc<Formed>,
    pub(crate) partitions: Vec<Partition>,
    /// The value that is minimised, for one segment.
    pub(crate) objective: Picoseconds,
    /// For each rank, its sort.
    sort_of: Vec<usize>,
    /// By sort.
    residents: Vec<MemoryUse>,
    /// Weights that stay on the host.
    pub(crate) streams: Vec<Streamed>,
    /// By sort, where the streamed weights of one segment are put.
    staging: Vec<Bytes>,
    detail: Rc<OnceCell<Detail>>,
    needs: Rc<OnceCell<Needs>>,
}

/// By sort, what activations need in both phases.
type Needs = Vec<[ActivationNeed; 2]>;

/// What only points need that are used.
#[derive(Debug)]
pub(crate) struct Detail {
    /// Prices of the instructions in both phases.
    pub(crate) prices: [Vec<Priced>; 2],
    /// By sort, what cards of unknown compute rate must sustain in both phases.
    sustain: Vec<[FlopsPerSecond; 2]>,
}

impl Point {
    pub(crate) fn resident(&self, rank: usize) -> MemoryUse {
        self.residents[self.sort_of[rank]]
    }

    /// Ranks of one sort hold parts of equal size.
    pub(crate) fn sort(&self, rank: usize) -> usize {
        self.sort_of[rank]
    }

    /// Room for the streamed weights of one segment.
    pub(crate) fn staging(&self, rank: usize) -> Bytes {
        self.staging[self.sort_of[rank]]
    }

    /// The most that a rank gives to one segment.
    pub(crate) fn fullest(&self) -> Bytes {
        let sorts = self.residents.iter().zip(&self.staging);
        sorts.map(|(resident, &staging)| resident.total() + staging).max().unwrap_or_default()
    }

    /// The same form with some weights on the host; `staging` is by sort.
    pub(crate) fn twin(&self, costs: &CostModel<'_>, streams: Vec<Streamed>, staging: Vec<Bytes>) -> Self {
        let (prefill, decode) = costs.request.weights();
        let uses = prefill.saturating_mul(costs.request.chunks()).saturating_add(decode);
        let time: Picoseconds = streams.iter().map(|streamed| streamed.time).sum();
        let off = |(one, &staged): (&MemoryUse, &Bytes)| MemoryUse { weights: one.weights - staged, ..*one };
        let residents = self.residents.iter().zip(&staging).map(off).collect();
        Self {
            formed: Rc::clone(&self.formed),
            partitions: self.partitions.clone(),
            objective: self.objective + time * uses,
            sort_of: self.sort_of.clone(),
            residents,
            streams,
            staging,
            detail: Rc::clone(&self.detail),
            needs: Rc::clone(&self.needs),
        }
    }

    /// Sums over one segment in both phases.
    pub(crate) fn totals(&self, detail: &Detail) -> [Resources; 2] {
        let host = self.streams.iter().map(|streamed| streamed.time).sum();
        detail.totals().map(|sum| sum + Resources { host, ..Resources::default() })
    }

    /// Prices, computed when they are first asked for.
    pub(crate) fn detail(&self, repertoire: &Repertoire, costs: &CostModel<'_>, group: &[SailId]) -> &Detail {
        self.detail.get_or_init(|| {
            let site = Site::new(costs, group, (&repertoire.choices.template.domains, &self.partitions));
            let choices = &repertoire.choices;
            let prices = [0, 1].map(|phase| self.prices(choices, &site, phase));
            let sustain = |&rank: &usize| PHASES.map(|phase| self.sustain(repertoire, &site, phase, rank));
            let sustain = site.sorts.iter().map(sustain).collect();
            Detail { prices, sustain }
        })
    }

    /// What activations need on a rank in both phases, computed when it is first asked for.
    pub(crate) fn needs(
        &self,
        repertoire: &Repertoire,
        (costs, group): (&CostModel<'_>, &[SailId]),
        rank: usize,
    ) -> [ActivationNeed; 2] {
        let needs = self.needs.get_or_init(|| {
            let site = Site::new(costs, group, (&repertoire.choices.template.domains, &self.partitions));
            let choices = &repertoire.choices;
            let algorithms = [0, 1].map(|phase| -> Vec<Option<Algorithm>> {
                let ways = self.formed.kernels(phase).flatten();
                ways.map(|&(class, way)| {
                    site.algorithm(choices, class, &choices.classes[class].ways[way], PHASES[phase])
                })
                .collect()
            });
            site.sorts.iter().map(|&rank| self.needs_of(repertoire, &site, &algorithms, rank)).collect()
        });
        needs[self.sort_of[rank]]
    }

    /// The largest rate that a kernel of one phase needs on a rank to be bound by memory.
    fn sustain(&self, repertoire: &Repertoire, site: &Site<'_>, phase: Phase, rank: usize) -> FlopsPerSecond {
        let choices = &repertoire.choices;
        let work = |ways: &[Made]| match *ways {
            [(class, way)] => site.work(choices, class, way, phase, rank),
            _ => {
                let (bytes, flops) = site.joint_work(choices, ways, phase, rank);
                Some(Work { bytes, flops: flops.iter().fold(0, |sum: u64, one| sum.saturating_add(one.0)) })
            }
        };
        let kernels = self.formed.kernels(usize::from(phase == Phase::Decode));
        let memory = site.costs.kind(site.group[rank]).bandwidth;
        kernels.filter_map(work).map(|work| must_sustain(work, memory)).max().unwrap_or_default()
    }

    /// By instruction. The time of a joint kernel stands at its first product.
    fn prices(&self, choices: &Choices, site: &Site<'_>, phase: usize) -> Vec<Priced> {
        let price = |ways: &[Made]| {
            let first = match *ways {
                [(class, way)] => site.price(choices, class, &choices.classes[class].ways[way], PHASES[phase]),
                _ => site.joint(choices, ways, PHASES[phase]),
            };
            std::iter::once(first).chain(std::iter::repeat_n(Priced::default(), ways.len() - 1)).collect::<Vec<_>>()
        };
        self.formed.kernels(phase).flat_map(price).collect()
    }

    fn needs_of(
        &self,
        repertoire: &Repertoire,
        site: &Site<'_>,
        algorithms: &[Vec<Option<Algorithm>>; 2],
        rank: usize,
    ) -> [ActivationNeed; 2] {
        let request = site.costs.request;
        let view = |limit| RankView {
            template: &repertoire.choices.template.graph,
            domains: &repertoire.choices.template.domains,
            partitions: site.partitions,
            rank,
            limit,
            alignment: site.costs.kind(site.group[rank]).granularity,
            wire: request.wire,
        };
        let of = |view: RankView<'_>, program, algorithms: &[Option<Algorithm>]| {
            view.activations(program, |index| algorithms[index]).need
        };
        let form = &self.formed.form;
        [
            of(view(request.prefill_limit()), &form.prefill, &algorithms[0]),
            of(view(request.decode_limit()), &form.decode, &algorithms[1]),
        ]
    }

    /// Whether this point is as fast as another one and holds as little on every rank.
    fn covers(&self, other: &Self) -> bool {
        let smaller = |rank: usize| self.resident(rank).total() <= other.resident(rank).total();
        self.objective <= other.objective && (0..self.sort_of.len()).all(smaller)
    }
}

impl Detail {
    /// What a card of unknown compute rate must sustain on a rank, in both phases.
    pub(crate) fn sustain(&self, point: &Point, rank: usize) -> Sustain {
        let [prefill, decode] = self.sustain[point.sort_of[rank]];
        Sustain { prefill, decode }
    }

    /// Sums over one segment.
    fn totals(&self) -> [Resources; 2] {
        let sum = |prices: &[Priced]| prices.iter().fold(Resources::default(), |sum, one| sum + one.resources);
        [sum(&self.prices[0]), sum(&self.prices[1])]
    }
}

/// More points than this are thinned.
const MAX_POINTS: usize = 24;

/// A class on a group, with the shares that come into question.
pub(crate) struct Station<'a> {
    pub(crate) repertoire: &'a Repertoire,
    pub(crate) costs: &'a CostModel<'a>,
    pub(crate) group: &'a [SailId],
    /// Partitions by domain.
    options: Vec<Vec<Partition>>,
    /// Prices with the first partition of every domain, with the second, and so on.
    rounds: Vec<[PriceTable; 2]>,
    weights: [u64; 2],
    manner: Manner,
}

impl<'a> Station<'a> {
    pub(crate) fn new(
        repertoire: &'a Repertoire,
        costs: &'a CostModel<'a>,
        group: &'a [SailId],
        manner: Manner,
    ) -> Self {
        let template = &repertoire.choices.template;
        let options = match manner {
            Manner::Any => shares::options(&template.graph, &template.domains, costs, group),
            Manner::AllReduce => shares::even(&template.graph, &template.domains, group.len()),
        };
        let first: Vec<Partition> = options.iter().map(|options| options[0].clone()).collect();
        let pinned = repertoire.pinned(&first, group.len()).into_iter().zip(options).enumerate();
        let chosen = |(domain, (pinned, options)): (usize, (Partition, Vec<Partition>))| {
            if repertoire.is_pinned(domain, group.len()) { vec![pinned] } else { options }
        };
        let options: Vec<Vec<Partition>> = pinned.map(chosen).collect();
        let most = options.iter().map(Vec::len).max().unwrap_or(1);
        let mut exchanges = Exchanges::default();
        let round = |round: usize| {
            let partitions: Vec<Partition> =
                options.iter().map(|options| options[round.min(options.len() - 1)].clone()).collect();
            let site = Site::new(costs, group, (&template.domains, &partitions));
            let options = |way: usize| repertoire.domains[way].map_or(1, |domain| options[domain].len());
            let wanted = |way: usize| round < options(way);
            let tables = prices_of(&repertoire.choices, &repertoire.rates, (&site, &wanted), &mut exchanges);
            tables.map(|table| manner.restrict(table, &repertoire.choices))
        };
        let rounds = (0..most).map(round).collect();
        let (prefill, decode) = costs.request.weights();
        let weights = [prefill.saturating_mul(costs.request.chunks()), decode];
        Self { repertoire, costs, group, options, rounds, weights, manner }
    }

    fn site<'b>(&'b self, partitions: &'b [Partition]) -> Site<'b> {
        Site::new(self.costs, self.group, (&self.repertoire.choices.template.domains, partitions))
    }

    fn point(&self, partitions: Vec<Partition>, selection: Selection, cost: Cost) -> Result<Point, String> {
        let formed = self.repertoire.form(&selection)?;
        let site = self.site(&partitions);
        let residents =
            site.sorts.iter().map(|&rank| site.held(&self.repertoire.choices, &formed.form, rank)).collect();
        let (objective, sort_of) = (Picoseconds(cost.objective), site.sort_of);
        let (streams, staging) = (Vec::new(), vec![Bytes(0); site.sorts.len()]);
        let (detail, needs) = Default::default();
        Ok(Point { formed, partitions, objective, sort_of, residents, streams, staging, detail, needs })
    }

    /// The fastest form with the shares of a point, once more as an integer program.
    ///
    /// # Errors
    /// The two disagree, or the solver fails: a bug.
    pub(crate) fn certify(&self, point: &Point) -> Result<(), String> {
        let site = self.site(&point.partitions);
        let Repertoire { choices, rates, .. } = self.repertoire;
        let trellis = self.repertoire.trellis(self.group.len());
        let tables = price_tables(choices, rates, &site, &mut Exchanges::default());
        let walked = Walk { trellis, tables: &tables, weights: self.weights }.ahead().whole() as f64 / 1e6;
        let goal = Goal { weights: self.weights, limit: None };
        let program = extract(choices, &site, &tables, &goal)?.map(|(_, value)| value);
        match program {
            Some(program) if (program - walked).abs() <= 1e-6 * walked + 1e-3 => Ok(()),
            other => Err(format!("the fastest form takes {walked} µs, as an integer program {other:?} µs")),
        }
    }

    /// All points that are not covered by another, fastest first, and whether these are all: forms over deals of shares when
    /// the group may hold a part of a model of `whole` bytes, and the fastest point over all shares. A form that holds as
    /// much and takes longer is only looked for where it keeps no slices, which is what saves activations.
    pub(crate) fn front(&self, whole: Bytes, budget: Picoseconds) -> Result<(Vec<Point>, bool), String> {
        let template = &self.repertoire.choices.template;
        let (deals, manners) = match self.manner {
            Manner::Any => {
                let deals = shares::deals(&template.graph, &template.domains, self.costs, self.group, whole);
                let deals = deals.iter().map(|deal| self.repertoire.pinned(deal, self.group.len())).collect();
                (deals, &[Manner::Any, Manner::AllReduce][..])
            }
            Manner::AllReduce => {
                (vec![self.options.iter().map(|options| options[0].clone()).collect()], &[Manner::AllReduce][..])
            }
        };
        let mut all: Vec<Point> = self.fastest(budget)?.into_iter().collect();
        for deal in &deals {
            for &manner in manners {
                all.extend(self.sweep(deal, manner, budget)?);
            }
        }
        all.sort_by_key(|point| (point.objective, point.residents.iter().map(MemoryUse::total).max()));
        let mut kept: Vec<Point> = Vec::new();
        for point in all {
            if !kept.iter().any(|known| self.covers(known, &point)) {
                kept.push(point);
            }
        }
        let complete = kept.len() <= MAX_POINTS;
        Ok((if complete { kept } else { self.thinned(kept) }, complete))
    }

    /// Of points in order of their objective those that fill memory less than all before them: by residents, by activations,
    /// or by both together, on the card that they fill most.
    fn thinned(&self, points: Vec<Point>) -> Vec<Point> {
        let mut least = [f64::INFINITY; 3];
        let mut kept = Vec::new();
        for point in points {
            let fills = self.fills(&point);
            if fills.iter().zip(&least).any(|(fill, least)| fill < least) {
                least = std::array::from_fn(|measure| least[measure].min(fills[measure]));
                kept.push(point);
            }
        }
        kept
    }

    /// How far a point fills the card that it fills most: with residents, with activations, with both.
    fn fills(&self, point: &Point) -> [f64; 3] {
        let card = |rank: usize| {
            let kind = self.costs.kind(self.group[rank]);
            let room = (kind.memory - kind.reserve).0.max(1) as f64;
            let residents = point.resident(rank).total().0 as f64 / room;
            let needs = stage_activations(&point.needs(self.repertoire, (self.costs, self.group), rank), 1).total().0
                as f64
                / room;
            [residents, needs, residents + needs]
        };
        let more = |a: [f64; 3], b: [f64; 3]| std::array::from_fn(|measure| a[measure].max(b[measure]));
        (0..self.group.len()).map(card).fold([0.0; 3], more)
    }

    /// Whether a point is as fast as another one and holds as little on every rank, activations included.
    fn covers(&self, one: &Point, other: &Point) -> bool {
        let needs = |point: &Point, rank: usize| {
            let needs = point.needs(self.repertoire, (self.costs, self.group), rank);
            let stage = stage_activations(&needs, 1);
            [stage.chain, stage.activations - stage.chain, stage.scratch]
        };
        let less = |rank: usize| needs(one, rank).iter().zip(needs(other, rank)).all(|(&ours, theirs)| ours <= theirs);
        let apart = |rank: &usize| one.sort_of[..*rank].iter().all(|&sort| sort != one.sort_of[*rank]);
        let ranks = one.sort_of.len();
        one.covers(other) && (0..ranks).filter(|rank| apart(rank) || one.sort_of != other.sort_of).all(less)
    }

    fn sweep(&self, partitions: &[Partition], manner: Manner, budget: Picoseconds) -> Result<Vec<Point>, String> {
        let site = self.site(partitions);
        let Repertoire { choices, rates, .. } = self.repertoire;
        let trellis = self.repertoire.trellis(self.group.len());
        let tables = price_tables(choices, rates, &site, &mut Exchanges::default());
        let tables = tables.map(|table| manner.restrict(table, choices));
        let walk = Walk { trellis, tables: &tables, weights: self.weights };
        let bytes = |class: usize| -> Vec<Bytes> {
            site.sorts.iter().map(|&rank| site.resident(choices, class, rank).total()).collect()
        };
        let held: Vec<Vec<Bytes>> = (0..choices.classes.len()).map(bytes).collect();
        let room = |&rank: &usize| {
            let kind = self.costs.kind(self.group[rank]);
            kind.memory - kind.reserve
        };
        let most: Vec<Bytes> = site.sorts.iter().map(room).collect();
        let found = walk.front(&held, &most, budget).into_iter();
        found.map(|(selection, cost)| self.point(partitions.to_vec(), selection, cost)).collect()
    }
}
