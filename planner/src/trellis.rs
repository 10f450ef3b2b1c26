//! Every program of a saturated class, as paths through a trellis that no price has touched. Tensors are decided from the
//! last to the first; a state is the set of classes that are still demanded; an edge makes all demanded layouts of one
//! tensor in one of the ways that no other way makes superfluous. A shared value is decided once, so it is paid once;
//! what is made of one tensor is acyclic by construction and tensors are in topological order, so programs are acyclic.

use crate::analysis::Fact;
use crate::joint::{Kernels, decided_together};
use crate::saturate::{Choices, Way, WayAction};
use sailplan_ir::{Layout, Role, TensorId};
use std::collections::BTreeMap;

/// A set of classes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Classes([u64; 4]);

impl Classes {
    /// Most classes of a layer class; saturated decoder layers have about 80.
    pub(crate) const MOST: usize = 256;

    fn one(class: usize) -> Self {
        let mut set = Self::default();
        set.0[class / 64] = 1 << (class % 64);
        set
    }

    fn with(self, class: usize) -> Self {
        self.union(Self::one(class))
    }

    fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    fn common(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    fn within(self, other: Self) -> bool {
        self.without(other) == Self::default()
    }

    /// In ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::MOST).filter(move |class| self.0[class / 64] >> (class % 64) & 1 == 1)
    }
}

/// A class and one of its ways.
pub(crate) type Made = (usize, usize);

/// One way to make some layouts of a tensor.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Making {
    /// What is used, in ascending order of class.
    pub(crate) ways: Vec<Made>,
    /// Numbers of the kernels that these ways are.
    pub(crate) kernels: Vec<usize>,
    /// Index of the weights and caches that it reads in [`Step::residents`].
    pub(crate) residents: usize,
}

/// An edge: with `making`, state `from` becomes state `to` of the next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) making: usize,
    pub(crate) to: usize,
}

/// Edges that differ in their makings alone, of which only the cheapest counts in a phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sheaf {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Index of the weights and caches that all of them read in [`Step::residents`].
    pub(crate) residents: usize,
    /// Their numbers, in ascending order.
    pub(crate) edges: Vec<usize>,
}

/// The decision about one tensor, or about several whose products may be one kernel.
#[derive(Clone, Default, Debug)]
pub(crate) struct Step {
    /// Number of states before it.
    pub(crate) states: usize,
    /// Number of states after it.
    pub(crate) next: usize,
    pub(crate) makings: Vec<Making>,
    /// Distinct sets of weights and caches; both phases must choose the same.
    pub(crate) residents: Vec<Classes>,
    /// In ascending order of `from`.
    pub(crate) edges: Vec<Edge>,
    /// The same edges, in ascending order of `from`, then residents.
    pub(crate) sheaves: Vec<Sheaf>,
}

impl Step {
    /// The residents of an edge.
    pub(crate) fn kind(&self, edge: Edge) -> usize {
        self.makings[edge.making].residents
    }

    /// The sheaves that leave a state.
    pub(crate) fn leaving(&self, state: usize) -> std::ops::Range<usize> {
        let start = self.sheaves.partition_point(|sheaf| sheaf.from < state);
        start..start + self.sheaves[start..].partition_point(|sheaf| sheaf.from == state)
    }
}

/// All programs of a class, from the root (state 0 of the first step) to the one empty state after the last.
#[derive(Clone, Debug)]
pub(crate) struct Trellis {
    pub(crate) steps: Vec<Step>,
}

impl Trellis {
    /// The trellis of saturated choices, with parts of positions or without.
    ///
    /// # Errors
    /// There are more classes than a set holds, or something is demanded that nothing makes.
    pub(crate) fn new(choices: &Choices, positions: bool) -> Result<Self, String> {
        if choices.classes.len() > Classes::MOST {
            return Err(format!("a layer class has {} classes, more than {}", choices.classes.len(), Classes::MOST));
        }
        let of_positions = (0..choices.classes.len()).filter(|&class| !positions && choices.is_of_positions(class));
        let closed = of_positions.fold(Classes::default(), Classes::with);
        let open = Open { choices, kernels: Kernels::of(choices), closed };
        let mut states = vec![Classes::one(choices.root)];
        let mut steps = Vec::new();
        for layouts in decided(choices) {
            let (step, next) = step(&open, layouts, &states);
            if step.edges.iter().any(|edge| !step.makings[edge.making].ways.is_empty()) {
                steps.push(step);
                states = next;
            }
        }
        if states == [Classes::default()] { Ok(Self { steps }) } else { Err("a program has no beginning".into()) }
    }
}

/// Values from the last to the first, then what enters the class. Weights and caches are chosen by who reads them. Several
/// that are decided together stand where the first made of them does, behind all that read any of them. Rows that were
/// sent to experts are made of gates too, so they are decided before the gates are.
fn decided(choices: &Choices) -> Vec<Classes> {
    let graph = &choices.template.graph;
    let sets = decided_together(choices);
    let one = |tensor: TensorId| match sets.iter().find(|set| set.contains(&tensor)) {
        Some(set) => (set[0] == tensor).then(|| set.clone()),
        None => Some(vec![tensor]),
    };
    let held = |holds: &dyn Fn(Fact) -> bool| {
        let classes = choices.classes.iter().enumerate().filter(|(_, class)| holds(class.fact));
        classes.fold(Classes::default(), |set, (class, _)| set.with(class))
    };
    let of = |tensors: &[TensorId]| held(&|fact| tensors.contains(&fact.tensor) && fact.layout != Layout::Dispatched);
    let sent = |gates: TensorId| {
        held(&|fact| fact.layout == Layout::Dispatched && graph.dispatched_by(fact.tensor) == Some(gates))
    };
    let made = graph.nodes.iter().rev().flat_map(|node| {
        let rows = Some(sent(node.output)).filter(|rows| *rows != Classes::default());
        rows.into_iter().chain(one(node.output).map(|tensors| of(&tensors)))
    });
    let entering = (0..graph.tensors.len() as u32).map(TensorId);
    let entering = entering.filter(|&id| matches!(graph[id].role, Role::Input | Role::Tokens));
    made.chain(entering.map(|id| of(&[id]))).collect()
}

/// Choices of which some classes are left out.
struct Open<'a> {
    choices: &'a Choices,
    kernels: Kernels,
    closed: Classes,
}

/// The step for these classes, and the states after it.
fn step(open: &Open<'_>, layouts: Classes, states: &[Classes]) -> (Step, Vec<Classes>) {
    let kernels = &open.kernels;
    let mut known: BTreeMap<Classes, Vec<Raw>> = BTreeMap::new();
    let mut made = Growing { kernels, step: Step { states: states.len(), ..Step::default() }, next: Vec::new() };
    for (from, &state) in states.iter().enumerate() {
        let demanded = state.common(layouts);
        let raws = known.entry(demanded).or_insert_with(|| makings(open, demanded));
        for raw in raws.iter() {
            made.edge(from, raw, state.without(layouts).union(raw.values));
        }
    }
    made.step.next = made.next.len();
    made.step.sheaves = sheaves(&made.step);
    (made.step, made.next)
}

fn sheaves(step: &Step) -> Vec<Sheaf> {
    let mut found: BTreeMap<(usize, usize, usize), Vec<usize>> = BTreeMap::new();
    for (number, edge) in step.edges.iter().enumerate() {
        found.entry((edge.from, step.kind(*edge), edge.to)).or_default().push(number);
    }
    let sheaf = |((from, residents, to), edges)| Sheaf { from, to, residents, edges };
    found.into_iter().map(sheaf).collect()
}

struct Growing<'a> {
    kernels: &'a Kernels,
    step: Step,
    next: Vec<Classes>,
}

impl Growing<'_> {
    fn edge(&mut self, from: usize, raw: &Raw, after: Classes) {
        let residents = position(&mut self.step.residents, raw.residents);
        let (ways, kernels) = (raw.ways.clone(), self.kernels.among(&raw.ways));
        let making = position(&mut self.step.makings, Making { ways, kernels, residents });
        let to = position(&mut self.next, after);
        self.step.edges.push(Edge { from, making, to });
    }
}

/// Index of a value, which is added when it is new.
fn position<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    all.iter().position(|known| *known == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}

/// One way to make a set of layouts, before it has numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Raw {
    ways: Vec<Made>,
    /// Demanded of other tensors.
    values: Classes,
    residents: Classes,
}

/// All ways to make the demanded layouts that no other one with less of everything replaces.
fn makings(open: &Open<'_>, demanded: Classes) -> Vec<Raw> {
    let empty = Raw { ways: Vec::new(), values: Classes::default(), residents: Classes::default() };
    let mut all = Vec::new();
    complete(open, demanded, empty, &mut all);
    all.sort_by_key(|raw| (raw.ways.len(), raw.ways.clone()));
    let mut kept: Vec<Raw> = Vec::new();
    for raw in all {
        let replaces = |less: &Raw| {
            less.ways.iter().all(|made| raw.ways.contains(made))
                && less.values.within(raw.values)
                && less.residents.within(raw.residents)
        };
        if !kept.iter().any(replaces) {
            kept.push(raw);
        }
    }
    kept
}

/// Chooses a way for the first class that is demanded and not made, and goes on.
fn complete(open: &Open<'_>, demanded: Classes, partial: Raw, all: &mut Vec<Raw>) {
    let choices = open.choices;
    let made = partial.ways.iter().fold(Classes::default(), |set, &(class, _)| set.with(class));
    let Some(class) = demanded.without(made).iter().next() else {
        if acyclic(choices, &partial.ways) && single(choices, partial.residents) && one_way(choices, &partial.ways) {
            all.push(partial);
        }
        return;
    };
    let closed = |way: &Way| way.inputs.iter().any(|&input| Classes::one(input).within(open.closed));
    for (index, way) in choices.classes[class].ways.iter().enumerate().filter(|(_, way)| !closed(way)) {
        let (mut next, mut more) = (partial.clone(), demanded);
        next.ways.push((class, index));
        next.ways.sort_unstable();
        for &input in &way.inputs {
            if choices.is_resident(input) {
                next.residents = next.residents.with(input);
            } else if converts(choices, (class, way.action), input) {
                more = more.with(input);
            } else {
                next.values = next.values.with(input);
            }
        }
        complete(open, more, next, all);
    }
}

/// Whether an operand is the same tensor in another layout that is decided together with what is made of it.
fn converts(choices: &Choices, (class, action): (usize, WayAction), input: usize) -> bool {
    let tensor = |class: usize| choices.classes[class].fact.tensor;
    !matches!(action, WayAction::Compute(_) | WayAction::Dispatch) && tensor(input) == tensor(class)
}

/// Whether conversions between layouts of one tensor have a first one.
fn acyclic(choices: &Choices, ways: &[Made]) -> bool {
    let mut made = Classes::default();
    for _ in ways {
        for &(class, way) in ways {
            let way = &choices.classes[class].ways[way];
            let ready =
                |&input: &usize| !converts(choices, (class, way.action), input) || Classes::one(input).within(made);
            if way.inputs.iter().all(ready) {
                made = made.with(class);
            }
        }
    }
    ways.iter().all(|&(class, _)| Classes::one(class).within(made))
}

/// Whether each tensor is made by fused operators alone, or without: their weights are chosen here, those of what they leave
/// out in later steps.
fn one_way(choices: &Choices, ways: &[Made]) -> bool {
    let kinds = ways.iter().filter_map(|&(class, way)| match choices.classes[class].ways[way].action {
        WayAction::Compute(node) => Some((choices.classes[class].fact.tensor, choices.template.graph.is_fused(node))),
        _ => None,
    });
    let kinds: Vec<(TensorId, bool)> = kinds.collect();
    kinds.iter().all(|one| kinds.iter().all(|other| one.0 != other.0 || one.1 == other.1))
}

/// Whether every weight and cache is held in one layout.
fn single(choices: &Choices, residents: Classes) -> bool {
    let tensors: Vec<TensorId> = residents.iter().map(|class| choices.classes[class].fact.tensor).collect();
    tensors.windows(2).all(|pair| pair[0] != pair[1])
}
