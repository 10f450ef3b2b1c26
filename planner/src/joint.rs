//! Joint kernels among the choices: ways of one layer class that are one kernel wherever a program uses them together. Such a
//! kernel is priced as one, so whatever adds up prices does so over kernels, which have numbers: those of the ways, class
//! after class, and behind them one for each set of ways that may be joint.

use crate::saturate::{Choices, WayAction};
use crate::trellis::Made;
use sailplan_ir::TensorId;
use std::collections::BTreeMap;

/// Ways that are one kernel: products of one value in one layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bundle {
    /// In ascending order.
    pub(crate) ways: Vec<Made>,
    /// The class that all of them read.
    pub(crate) read: usize,
}

/// All kernels of a layer class.
pub(crate) struct Kernels {
    /// Where the ways of each class start; the last one is where they end.
    starts: Vec<usize>,
    pub(crate) bundles: Vec<Bundle>,
    /// The products that may be joint, with their set and the class that they read.
    sets: BTreeMap<Made, (usize, usize)>,
    numbers: BTreeMap<Vec<Made>, usize>,
}

impl Kernels {
    pub(crate) fn of(choices: &Choices) -> Self {
        let mut starts = vec![0];
        for class in &choices.classes {
            starts.push(starts[starts.len() - 1] + class.ways.len());
        }
        let found = products(choices);
        let all = starts[starts.len() - 1];
        let bundles: Vec<Bundle> = found.iter().flat_map(|((_, read), nodes)| bundles(*read, nodes)).collect();
        let numbers = bundles.iter().enumerate().map(|(index, bundle)| (bundle.ways.clone(), all + index)).collect();
        let sets =
            found.iter().flat_map(|(&key, nodes)| nodes.iter().flatten().map(move |&made| (made, key))).collect();
        Self { starts, bundles, sets, numbers }
    }

    /// The number of a way's own kernel.
    pub(crate) fn number(&self, (class, way): Made) -> usize {
        self.starts[class] + way
    }

    /// How many ways there are, and so the number of the first bundle.
    pub(crate) fn ways(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// The ways of one program as kernels.
    pub(crate) fn among(&self, ways: &[Made]) -> Vec<usize> {
        let mut together: BTreeMap<(usize, usize), Vec<Made>> = BTreeMap::new();
        let mut kernels = Vec::new();
        for &made in ways {
            match self.sets.get(&made) {
                Some(&key) => together.entry(key).or_default().push(made),
                None => kernels.push(self.number(made)),
            }
        }
        for mut products in together.into_values() {
            products.sort_unstable();
            match self.numbers.get(&products) {
                Some(&number) => kernels.push(number),
                None => kernels.extend(products.into_iter().map(|made| self.number(made))),
            }
        }
        kernels
    }
}

/// Products that may be joint, by set and by the class that they read, each node's ways by themselves.
fn products(choices: &Choices) -> BTreeMap<(usize, usize), Vec<Vec<Made>>> {
    let mut found: BTreeMap<(usize, usize), Vec<Vec<Made>>> = BTreeMap::new();
    let template = &choices.template;
    for (set, nodes) in template.graph.companions(&template.domains).iter().enumerate() {
        for (class, entry) in choices.classes.iter().enumerate() {
            for (index, way) in entry.ways.iter().enumerate() {
                let WayAction::Compute(node) = way.action else { continue };
                let Some(place) = nodes.iter().position(|known| *known == node) else { continue };
                let ways = found.entry((set, way.inputs[0])).or_insert_with(|| vec![Vec::new(); nodes.len()]);
                ways[place].push((class, index));
            }
        }
    }
    found
}

/// All sets of ways of two and more nodes, one of each.
fn bundles(read: usize, nodes: &[Vec<Made>]) -> Vec<Bundle> {
    let mut all: Vec<Vec<Made>> = vec![Vec::new()];
    for ways in nodes {
        let with = all.iter().flat_map(|known| ways.iter().map(|&made| [&known[..], &[made]].concat()));
        let with: Vec<Vec<Made>> = with.collect();
        all.extend(with);
    }
    let joint = all.into_iter().filter(|ways| ways.len() > 1);
    joint
        .map(|mut ways| {
            ways.sort_unstable();
            Bundle { ways, read }
        })
        .collect()
}

/// The tensors of a template in sets that are decided together: those whose products may be joint.
pub(crate) fn decided_together(choices: &Choices) -> Vec<Vec<TensorId>> {
    let graph = &choices.template.graph;
    let sets = graph.companions(&choices.template.domains).into_iter();
    sets.map(|set| set.into_iter().map(|node| graph[node].output).collect()).collect()
}

/// Classes in an order in which operands come first, with the products of every joint kernel behind each other. They come
/// where the first of them stands: what they read is made by then, their weights need not be made.
pub(crate) fn gathered(choices: &Choices, order: &[usize], chosen: &[Option<usize>]) -> Vec<usize> {
    let template = &choices.template;
    let sets = template.graph.companions(&template.domains);
    let key = |class: usize| {
        let way = choices.classes[class].ways.get(chosen[class]?)?;
        let WayAction::Compute(node) = way.action else { return None };
        let set = sets.iter().position(|set| set.contains(&node))?;
        Some(((set, way.inputs[0]), node))
    };
    let mut all = Vec::with_capacity(order.len());
    let mut placed = vec![false; choices.classes.len()];
    let mut place = |class: usize, all: &mut Vec<usize>| {
        if !std::mem::replace(&mut placed[class], true) {
            all.push(class);
        }
    };
    for &class in order {
        let Some((joint, _)) = key(class) else {
            place(class, &mut all);
            continue;
        };
        let with = order.iter().filter_map(|&other| key(other).map(|(key, node)| (node, key, other)));
        let mut members: Vec<_> = with.filter(|&(_, key, _)| key == joint).collect();
        members.sort_unstable_by_key(|&(node, ..)| node);
        for &(.., member) in &members {
            let way = chosen[member].map(|way| &choices.classes[member].ways[way]);
            way.iter().flat_map(|way| &way.inputs).for_each(|&input| place(input, &mut all));
        }
        members.iter().for_each(|&(.., member)| place(member, &mut all));
    }
    all
}
