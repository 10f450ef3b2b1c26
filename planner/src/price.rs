//! Prices of the choices on one group: time of every way in both phases, bytes of every resident, and which cuts respect
//! block borders under the group's partitions.

use crate::saturate::{Choices, Way, WayAction};
use sailplan_cost_model::{CostModel, Local, Phase, work};
use sailplan_ir::{
    Bytes, CollectiveKind, DType, Domains, Extents, Graph, Layout, MemoryUse, Partition, Picoseconds, Price, Resources,
    Role, SailId, TensorId, block_granule,
};

/// A group with one partition for every domain of a class.
pub(crate) struct Site<'a> {
    pub(crate) costs: &'a CostModel<'a>,
    pub(crate) group: &'a [SailId],
    pub(crate) partitions: &'a [Partition],
}

/// Price of one way in one phase, with the resource that binds it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Priced {
    pub(crate) price: Price,
    pub(crate) resources: Resources,
}

/// The partitions worth trying on a group: each domain in whole blocks of every weight it may cut, or, where that deals
/// differently, in single units. Domains that only one rank would have are left uncut.
pub(crate) fn partitions(choices: &Choices, ranks: usize) -> Vec<Vec<Partition>> {
    let (graph, domains) = (&choices.template.graph, &choices.template.domains);
    let coarse = coarsest(graph, domains);
    let mut all: Vec<Vec<Partition>> = vec![Vec::new()];
    for (index, &granule) in coarse.iter().enumerate() {
        let units = domains.units(sailplan_ir::DomainId(index as u32));
        let (blocks, single) = (Partition::balanced(units, granule, ranks), Partition::balanced(units, 1, ranks));
        let both = blocks != single && blocks.divides() && all.len() < MAX_COMBINATIONS;
        let options = if both {
            vec![blocks, single]
        } else if blocks.divides() {
            vec![blocks]
        } else {
            vec![single]
        };
        all = all.iter().flat_map(|known| options.iter().map(|one| extended(known, one))).collect();
    }
    all
}

/// Beyond this many combinations further domains are cut in whole blocks only.
const MAX_COMBINATIONS: usize = 8;

fn extended(known: &[Partition], one: &Partition) -> Vec<Partition> {
    known.iter().chain([one]).cloned().collect()
}

/// Per domain, the granule that suits every weight with a contiguous axis in it.
fn coarsest(graph: &Graph, domains: &Domains) -> Vec<u64> {
    let mut granules = vec![1; domains.count()];
    for tensor in graph.with_role(Role::Weight) {
        for axis in 0..graph[tensor].axes.len() as u8 {
            let domain = domains.domain(tensor, axis).index();
            granules[domain] = sailplan_ir::lcm(granules[domain], block_granule(graph, domains, tensor, axis));
        }
    }
    granules
}

impl Site<'_> {
    fn ranks(&self) -> usize {
        self.group.len()
    }

    /// Elements of an axis that a rank has.
    fn share(&self, choices: &Choices, tensor: TensorId, axis: u8, rank: usize) -> std::ops::Range<u64> {
        let (graph, domains) = (&choices.template.graph, &choices.template.domains);
        let per_unit = domains.elements_per_unit(graph, tensor, axis);
        self.partitions[domains.domain(tensor, axis).index()].elements(rank, per_unit)
    }

    /// A tensor as a rank holds it.
    fn local(&self, choices: &Choices, tensor: TensorId, layout: Layout, rank: usize, extents: Extents) -> Local {
        let graph = &choices.template.graph;
        let mut axes: Vec<u64> = graph[tensor].axes.iter().map(|axis| axis.size(extents)).collect();
        if let Layout::Sharded(axis) = layout {
            let share = self.share(choices, tensor, axis, rank);
            axes[usize::from(axis)] = share.end - share.start;
        }
        Local { axes, dtype: graph[tensor].dtype }
    }

    /// Whether a class can be held: a cut must divide its domain and, on a weight, fall on block borders.
    pub(crate) fn legal(&self, choices: &Choices, class: usize) -> bool {
        let fact = choices.classes[class].fact;
        let Layout::Sharded(axis) = fact.layout else {
            return fact.layout != Layout::Partial || self.ranks() > 1;
        };
        let (graph, domains) = (&choices.template.graph, &choices.template.domains);
        let partition = &self.partitions[domains.domain(fact.tensor, axis).index()];
        if self.ranks() < 2 || !partition.divides() {
            return false;
        }
        let contiguous = usize::from(axis) + 1 == graph[fact.tensor].axes.len();
        let block = if contiguous { graph[fact.tensor].dtype.block() } else { 1 };
        (0..self.ranks()).all(|rank| self.share(choices, fact.tensor, axis, rank).end.is_multiple_of(block))
    }

    /// Bytes that a rank holds of a resident, for the request's whole context.
    pub(crate) fn resident(&self, choices: &Choices, class: usize, rank: usize) -> MemoryUse {
        let fact = choices.classes[class].fact;
        let limit = self.costs.request.decode_limit();
        let bytes = self.local(choices, fact.tensor, fact.layout, rank, limit).bytes();
        let bytes = bytes.aligned(self.costs.fleet.kind(self.group[rank]).granularity);
        match choices.template.graph[fact.tensor].role {
            Role::Weight => MemoryUse { weights: bytes, ..MemoryUse::default() },
            Role::Cache => MemoryUse { kv: bytes, ..MemoryUse::default() },
            _ => MemoryUse::default(),
        }
    }

    /// The price of making a class in one way; the slowest rank counts.
    pub(crate) fn price(&self, choices: &Choices, class: usize, way: &Way, phase: Phase) -> Priced {
        let extents = self.costs.extents(phase);
        match way.action {
            WayAction::Leaf => self.leaf(choices, class, extents),
            WayAction::Compute(node) => {
                let ranks = (0..self.ranks()).map(|rank| self.compute(choices, class, way, node, rank, extents));
                slowest(ranks)
            }
            WayAction::Slice => slowest((0..self.ranks()).map(|rank| self.slice(choices, class, rank, extents))),
            WayAction::AllReduce => self.collective(choices, class, CollectiveKind::AllReduce, None, extents),
            WayAction::ReduceScatter => {
                self.collective(choices, class, CollectiveKind::ReduceScatter, Some(class), extents)
            }
            WayAction::AllGather => {
                self.collective(choices, class, CollectiveKind::AllGather, Some(way.inputs[0]), extents)
            }
            WayAction::Collect => self.collect(choices, way.inputs[0], extents),
        }
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

    fn compute(
        &self,
        choices: &Choices,
        class: usize,
        way: &Way,
        node: sailplan_ir::NodeId,
        rank: usize,
        extents: Extents,
    ) -> Resources {
        let local = |class: usize| {
            let fact = choices.classes[class].fact;
            self.local(choices, fact.tensor, fact.layout, rank, extents)
        };
        let inputs: Vec<Local> = way.inputs.iter().map(|&input| local(input)).collect();
        let done = work(choices.template.graph[node].op, &inputs, &local(class));
        let dtype = inputs.last().map_or(DType::F32, |input| input.dtype);
        self.costs.kernel(self.group[rank], done, dtype)
    }

    fn slice(&self, choices: &Choices, class: usize, rank: usize, extents: Extents) -> Resources {
        let fact = choices.classes[class].fact;
        let bytes = self.local(choices, fact.tensor, fact.layout, rank, extents).bytes();
        let done = sailplan_cost_model::Work { bytes: bytes + bytes, flops: 0 };
        self.costs.kernel(self.group[rank], done, DType::F32)
    }

    /// A collective over a tensor; parts are the slices of `sharded`, or even chunks.
    fn collective(
        &self,
        choices: &Choices,
        class: usize,
        kind: CollectiveKind,
        sharded: Option<usize>,
        extents: Extents,
    ) -> Priced {
        let on_wire = |elements: u64| Bytes(elements.saturating_mul(self.costs.request.wire.bytes()));
        let tensor = choices.classes[class].fact.tensor;
        let whole = self.local(choices, tensor, Layout::Whole, 0, extents).elements();
        let part = match sharded.map(|class| choices.classes[class].fact) {
            Some(fact) => {
                let parts =
                    (0..self.ranks()).map(|rank| self.local(choices, tensor, fact.layout, rank, extents).elements());
                parts.max().unwrap_or(0)
            }
            None => whole.div_ceil(self.ranks() as u64),
        };
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
