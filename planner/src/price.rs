//! Prices of the choices on one group: time of every way in both phases, bytes of every resident, and which cuts respect
//! block borders under the group's partitions.

use crate::analysis::Template;
use crate::saturate::{Choices, Way, WayAction};
use crate::table::{JointWork, work_of};
use crate::trellis::Made;
use sailplan_cost_model::{CostModel, Local, Phase, Work};
use sailplan_ir::{
    Algorithm, Bytes, CollectiveKind, DomainId, Domains, Extents, Form, Layout, MemoryUse, Partition, Picoseconds,
    Price, Resources, Role, SailId, TensorId,
};

/// A group with one partition for every domain of a class.
pub(crate) struct Site<'a> {
    pub(crate) costs: &'a CostModel<'a>,
    pub(crate) group: &'a [SailId],
    pub(crate) partitions: &'a [Partition],
    domains: &'a Domains,
    /// One rank of each sort: ranks of a sort have cards of one kind and shares of one size in every domain.
    pub(crate) sorts: Vec<usize>,
    /// For each rank, its sort.
    pub(crate) sort_of: Vec<usize>,
}

/// Price of one way in one phase, with the resource that binds it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Priced {
    pub(crate) price: Price,
    pub(crate) resources: Resources,
}

/// A tensor as a rank holds it that has so many units, or rows, of the domain that the layout cuts; of positions, of which
/// ranks have equal parts, `units` is how many do.
pub(crate) fn local(template: &Template, (tensor, layout): (TensorId, Layout), units: u64, extents: Extents) -> Local {
    let graph = &template.graph;
    let mut axes: Vec<u64> = graph[tensor].axes.iter().map(|axis| axis.size(extents)).collect();
    match layout {
        Layout::Sharded(axis) => {
            let domain = template.domains.domain(tensor, axis);
            let size = &mut axes[usize::from(axis)];
            *size = match (template.domains.is_positions(domain), template.domains.is_rows(domain)) {
                (true, _) => size.div_ceil(units.max(1)),
                (_, true) => units,
                _ => units.saturating_mul(template.domains.elements_per_unit(graph, tensor, axis)),
            };
        }
        Layout::Unmerged => {
            axes.last_mut().into_iter().for_each(|columns| *columns = graph.unmerged(tensor, *columns));
        }
        _ => {}
    }
    Local { axes, dtype: graph[tensor].dtype }
}

/// Elements of the largest block that a card sends to another one when rows go to experts or back, on average: so many rows
/// as the fullest card has, of which as many take one of its experts as of the card with most. `None` of other ways.
pub(crate) fn block(
    choices: &Choices,
    (class, way): (usize, &Way),
    most: &dyn Fn(DomainId) -> u64,
    extents: Extents,
) -> Option<u64> {
    let Template { graph, domains, .. } = &choices.template;
    let (tensor, gates) = (choices.classes[class].fact.tensor, choices.classes[*way.inputs.get(1)?].fact.tensor);
    let rows = graph.routing(gates)?.rows(most(domains.domain(tensor, 0)), most(domains.domain(gates, 1)));
    let row = local(&choices.template, (tensor, Layout::Sharded(0)), 1, extents).elements();
    Some(row.saturating_mul(rows))
}

impl<'a> Site<'a> {
    pub(crate) fn new(
        costs: &'a CostModel<'a>,
        group: &'a [SailId],
        (domains, partitions): (&'a Domains, &'a [Partition]),
    ) -> Self {
        let alike = |a: usize, b: usize| {
            costs.kind_number(group[a]) == costs.kind_number(group[b])
                && partitions.iter().all(|partition| partition.share(a) == partition.share(b))
        };
        let (mut sorts, mut sort_of): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for rank in 0..group.len() {
            let known = sorts.iter().position(|&other| alike(other, rank));
            sort_of.push(known.unwrap_or_else(|| {
                sorts.push(rank);
                sorts.len() - 1
            }));
        }
        Self { costs, group, partitions, domains, sorts, sort_of }
    }
}

impl Site<'_> {
    fn ranks(&self) -> usize {
        self.group.len()
    }

    /// Units of a domain that a rank has; of a domain of rows, the rows of `tokens` that the fullest rank of its sort has.
    /// Those of one sort have equal parts, but not each the same rows of a step. Of positions, how many ranks have some.
    pub(crate) fn share(&self, domain: DomainId, rank: usize, tokens: u64) -> u64 {
        let partition = &self.partitions[domain.index()];
        if self.domains.is_rows(domain) {
            let alike = (0..self.ranks()).filter(|&other| self.sort_of[other] == self.sort_of[rank]);
            return alike.map(|other| partition.rows(other).count(tokens)).max().unwrap_or(0);
        }
        if self.domains.is_positions(domain) {
            return self.ranks() as u64;
        }
        partition.share(rank)
    }

    /// A tensor as a rank holds it.
    pub(crate) fn local(
        &self,
        choices: &Choices,
        tensor: TensorId,
        layout: Layout,
        rank: usize,
        extents: Extents,
    ) -> Local {
        let units = match layout {
            Layout::Sharded(axis) => self.share(self.domains.domain(tensor, axis), rank, extents.tokens),
            _ => 0,
        };
        local(&choices.template, (tensor, layout), units, extents)
    }

    /// Bytes that a rank holds of a resident, for the request's whole context.
    pub(crate) fn resident(&self, choices: &Choices, class: usize, rank: usize) -> MemoryUse {
        let fact = choices.classes[class].fact;
        let limit = self.costs.request.decode_limit();
        let bytes = self.local(choices, fact.tensor, fact.layout, rank, limit).bytes();
        let bytes = bytes.aligned(self.costs.kind(self.group[rank]).granularity);
        match choices.template.graph[fact.tensor].role {
            Role::Weight => MemoryUse { weights: bytes, ..MemoryUse::default() },
            Role::Cache => MemoryUse { kv: bytes, ..MemoryUse::default() },
            _ => MemoryUse::default(),
        }
    }

    /// Bytes that a rank holds of all residents of a form.
    pub(crate) fn held(&self, choices: &Choices, form: &Form, rank: usize) -> MemoryUse {
        let residents = form.residents();
        let classes = choices.classes.iter().enumerate();
        classes
            .filter(|(_, entry)| residents.contains(&(entry.fact.tensor, entry.fact.layout)))
            .map(|(class, _)| self.resident(choices, class, rank))
            .fold(MemoryUse::default(), |sum, one| sum + one)
    }

    /// The price of making a class in one way; the slowest rank counts.
    pub(crate) fn price(&self, choices: &Choices, class: usize, way: &Way, phase: Phase) -> Priced {
        let extents = self.costs.extents(phase);
        match way.action {
            WayAction::Leaf => self.leaf(choices, class, extents),
            WayAction::Compute(_) | WayAction::Slice => {
                slowest(self.sorts.iter().map(|&rank| self.kernel(choices, class, way, rank, phase)))
            }
            WayAction::AllReduce => self.collective(choices, class, (CollectiveKind::AllReduce, None), extents),
            WayAction::ReduceScatter | WayAction::MergeScatter => {
                let merges = way.action == WayAction::MergeScatter;
                self.collective(choices, class, (CollectiveKind::ReduceScatter, Some((class, merges))), extents)
            }
            WayAction::AllGather => {
                let sharded = Some((way.inputs[0], false));
                self.collective(choices, class, (CollectiveKind::AllGather, sharded), extents)
            }
            WayAction::Dispatch => self.routed(choices, (class, way), CollectiveKind::Dispatch, extents),
            WayAction::Combine => self.routed(choices, (class, way), CollectiveKind::Combine, extents),
            WayAction::Collect => self.collect(choices, way.inputs[0], extents),
        }
    }

    /// How a collective is done; `None` of anything else.
    pub(crate) fn algorithm(&self, choices: &Choices, class: usize, way: &Way, phase: Phase) -> Option<Algorithm> {
        use WayAction::{AllGather, AllReduce, Combine, Dispatch, MergeScatter, ReduceScatter};
        let collective =
            matches!(way.action, AllReduce | ReduceScatter | MergeScatter | AllGather | Dispatch | Combine);
        if collective { self.price(choices, class, way, phase).price.algorithm } else { None }
    }

    /// Token ids come from the host, to every rank; everything else is there already.
    fn leaf(&self, choices: &Choices, class: usize, extents: Extents) -> Priced {
        let fact = choices.classes[class].fact;
        if choices.template.graph[fact.tensor].role != Role::Tokens {
            return Priced::default();
        }
        let bytes = self.local(choices, fact.tensor, Layout::Whole, 0, extents).bytes();
        on_host(self.costs.host(&vec![bytes; self.ranks()]))
    }

    fn kernel(&self, choices: &Choices, class: usize, way: &Way, rank: usize, phase: Phase) -> Resources {
        let tokens = self.costs.extents(phase).tokens;
        let units = |domain| self.share(domain, rank, tokens);
        let (work, dtype) = work_of(choices, (class, way), &units, (self.costs, phase));
        self.costs.kernel(self.group[rank], work, dtype)
    }

    /// The price of one kernel for these products of one value; the slowest rank counts.
    pub(crate) fn joint(&self, choices: &Choices, ways: &[Made], phase: Phase) -> Priced {
        slowest(self.sorts.iter().map(|&rank| {
            let (bytes, flops): JointWork = self.joint_work(choices, ways, phase, rank);
            self.costs.joint(self.group[rank], bytes, &flops)
        }))
    }

    /// What an operator moves and computes on a rank; `None` when the way is no operator.
    pub(crate) fn work(&self, choices: &Choices, class: usize, way: usize, phase: Phase, rank: usize) -> Option<Work> {
        let way = &choices.classes[class].ways[way];
        let operator = matches!(way.action, WayAction::Compute(_));
        let tokens = self.costs.extents(phase).tokens;
        let units = |domain: DomainId| self.share(domain, rank, tokens);
        operator.then(|| work_of(choices, (class, way), &units, (self.costs, phase)).0)
    }

    /// A collective over a tensor; parts are the slices of `sharded`, or even chunks. Where it merges softmaxes, their figures go
    /// along.
    fn collective(
        &self,
        choices: &Choices,
        class: usize,
        (kind, sharded): (CollectiveKind, Option<(usize, bool)>),
        extents: Extents,
    ) -> Priced {
        let merges = sharded.is_some_and(|(_, merges)| merges);
        let sharded = sharded.map(|(class, _)| class);
        let tensor = choices.classes[class].fact.tensor;
        let cut = sharded.and_then(|class| choices.domain(class));
        if cut.is_some_and(|domain| !self.partitions[domain.index()].disjoint()) {
            let price = Price { time: Picoseconds::NEVER, algorithm: None };
            return Priced { price, resources: Resources { link: Picoseconds::NEVER, ..Resources::default() } };
        }
        let whole = self.local(choices, tensor, Layout::Whole, 0, extents).elements();
        let part = match sharded.map(|class| choices.classes[class].fact) {
            Some(fact) => {
                let ranks = self.sorts.iter();
                ranks.map(|&rank| self.local(choices, tensor, fact.layout, rank, extents).elements()).max().unwrap_or(0)
            }
            None => whole.div_ceil(self.ranks() as u64),
        };
        let wide = |elements| if merges { choices.template.graph.unmerged(tensor, elements) } else { elements };
        self.exchanged(kind, wide(part), wide(whole))
    }

    /// Rows go to experts or back.
    fn routed(&self, choices: &Choices, made: (usize, &Way), kind: CollectiveKind, extents: Extents) -> Priced {
        let most = |domain: DomainId| {
            let shares = self.sorts.iter().map(|&rank| self.share(domain, rank, extents.tokens));
            shares.max().unwrap_or(0)
        };
        let whole = self.local(choices, choices.classes[made.0].fact.tensor, Layout::Whole, 0, extents).elements();
        self.exchanged(kind, block(choices, made, &most, extents).unwrap_or(whole), whole)
    }

    /// A collective with so many elements in its largest part and in all.
    fn exchanged(&self, kind: CollectiveKind, part: u64, whole: u64) -> Priced {
        let on_wire = |elements: u64| Bytes(elements.saturating_mul(self.costs.request.wire.bytes()));
        let best = self.costs.links.cheapest(kind, self.group, on_wire(part), on_wire(whole));
        let (algorithm, time) = best.map_or((None, Picoseconds::NEVER), |(algorithm, time)| (Some(algorithm), time));
        let overhead = self.costs.overhead(self.group);
        Priced {
            price: Price { time: time + overhead, algorithm },
            resources: Resources { link: time, ddr: overhead, ..Resources::default() },
        }
    }

    fn collect(&self, choices: &Choices, from: usize, extents: Extents) -> Priced {
        let fact = choices.classes[from].fact;
        let senders = if fact.layout == Layout::Whole { 1 } else { self.ranks() };
        let shares: Vec<Bytes> =
            (0..senders).map(|rank| self.local(choices, fact.tensor, fact.layout, rank, extents).bytes()).collect();
        on_host(self.costs.host(&shares))
    }
}

fn on_host(time: Picoseconds) -> Priced {
    Priced { price: Price { time, algorithm: None }, resources: Resources { host: time, ..Resources::default() } }
}

fn slowest(ranks: impl Iterator<Item = Resources>) -> Priced {
    let resources = ranks.max_by_key(Resources::total).unwrap_or_default();
    Priced { price: Price { time: resources.total(), algorithm: None }, resources }
}
