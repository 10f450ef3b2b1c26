//! Runs the rules over one layer class until nothing new appears, and hands the e-graph on as a plain table of choices
//! in an order that does not depend on egg's own ids.

use crate::analysis::{Fact, Layouts, Template};
use crate::language::{Collect, LeafName, OpName, Term};
use crate::rules::{FAMILIES, rules};
use egg::{EGraph, Id, Language, RecExpr, Runner, SimpleScheduler, StopReason};
use sailplan_ir::{Action, DomainId, Graph, Layout, NodeId, Role, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Far above what any class needs (a decoder layer has about 150 e-nodes); reaching it is an error, not an answer.
const NODE_LIMIT: usize = 200_000;
const ITERATION_LIMIT: usize = 200;

/// One way to make a class's families.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Way {
    /// Operands, as indices of classes.
    pub(crate) inputs: Vec<usize>,
    pub(crate) action: WayAction,
}

impl Way {
    /// Whether it makes a part of a value, or a value out of parts, by itself: no kernel.
    pub(crate) fn cuts(&self) -> bool {
        use WayAction::{AllGather, Combine, Dispatch, MergeScatter, ReduceScatter, Slice};
        matches!(self.action, Slice | AllGather | ReduceScatter | MergeScatter | Dispatch | Combine)
    }
}

/// As `ir::Action`, with an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum WayAction {
    Leaf,
    Compute(NodeId),
    AllReduce,
    ReduceScatter,
    MergeScatter,
    AllGather,
    Slice,
    Collect,
    Dispatch,
    Combine,
}

impl WayAction {
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Leaf => Action::Leaf,
            Self::Compute(node) => Action::Compute(node),
            Self::AllReduce => Action::AllReduce,
            Self::ReduceScatter => Action::ReduceScatter,
            Self::MergeScatter => Action::MergeScatter,
            Self::AllGather => Action::AllGather,
            Self::Slice => Action::Slice,
            Self::Collect => Action::Collect,
            Self::Dispatch => Action::Dispatch,
            Self::Combine => Action::Combine,
        }
    }
}

/// A logical tensor in one layout, with every way to make it.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) fact: Fact,
    pub(crate) ways: Vec<Way>,
}

/// The choices of one layer class.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) template: Template,
    /// In order of (tensor, layout).
    pub(crate) classes: Vec<Class>,
    /// The class that must be made.
    pub(crate) root: usize,
    pub(crate) stats: Saturation,
}

impl Choices {
    /// The domain that a class is cut along.
    pub(crate) fn domain(&self, class: usize) -> Option<DomainId> {
        let fact = self.classes[class].fact;
        match fact.layout {
            Layout::Sharded(axis) => Some(self.template.domains.domain(fact.tensor, axis)),
            _ => None,
        }
    }

    /// Whether a class is a part of the positions of a context, or what attention makes of one.
    pub(crate) fn is_of_positions(&self, class: usize) -> bool {
        let dealt = self.domain(class).is_some_and(|domain| self.template.domains.is_positions(domain));
        dealt || self.classes[class].fact.layout == Layout::Unmerged
    }

    /// Whether so many cards may have parts of the positions: there are more of them than KV heads, so that some would read the same
    /// rows. Where there are not, heads are cut, without a collective.
    pub(crate) fn by_positions(&self, ranks: usize) -> bool {
        let domains = &self.template.domains;
        let heads = |cache| domains.units(domains.domain(cache, 1));
        self.template.graph.with_role(Role::Cache).any(|cache| heads(cache) < ranks as u64)
    }

    /// Whether a class is a weight or a cache in some layout: memory, and no time.
    pub(crate) fn is_resident(&self, class: usize) -> bool {
        matches!(self.template.graph[self.classes[class].fact.tensor].role, Role::Weight | Role::Cache)
    }
}

/// How saturation went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Saturation {
    /// E-nodes.
    pub nodes: usize,
    /// E-classes.
    pub classes: usize,
    /// Iterations.
    pub iterations: usize,
}

/// Saturates one class. A class whose output is logits is asked for on the host, any other whole on every rank.
pub(crate) fn saturate(graph: &Graph, on_host: bool) -> Result<Choices, String> {
    let template = Template::new(graph);
    let rewrites = rules(&template).iter().map(crate::rules::Rule::rewrite).collect::<Result<Vec<_>, _>>()?;
    run(template, on_host, &rewrites)
}

/// What saturation makes of a class with the first families of the rule table, with one more, and so on to all of them: name,
/// number of rules, and the e-graph.
pub(crate) fn growth(graph: &Graph, on_host: bool) -> Result<Vec<(&'static str, usize, Saturation)>, String> {
    let template = Template::new(graph);
    let table = rules(&template);
    let with = |(last, &family): (usize, &&'static str)| {
        let known = |rule: &&crate::rules::Rule| FAMILIES[..=last].contains(&rule.family());
        let chosen = table.iter().filter(known).map(crate::rules::Rule::rewrite).collect::<Result<Vec<_>, _>>()?;
        let count = table.iter().filter(|rule| rule.family() == family).count();
        Ok((family, count, run(template.clone(), on_host, &chosen)?.stats))
    };
    FAMILIES.iter().enumerate().map(with).collect()
}

/// With further rules, given as (left, right), unguarded: how tests plant wrong ones.
#[cfg(test)]
pub(crate) fn saturate_with(graph: &Graph, on_host: bool, more: &[(String, String)]) -> Result<Choices, String> {
    let template = Template::new(graph);
    let mut rewrites = rules(&template).iter().map(crate::rules::Rule::rewrite).collect::<Result<Vec<_>, _>>()?;
    for (index, (left, right)) in more.iter().enumerate() {
        let parse = |side: &str| side.parse::<egg::Pattern<Term>>().map_err(|error| error.to_string());
        rewrites.push(egg::Rewrite::new(format!("planted {index}"), parse(left)?, parse(right)?)?);
    }
    run(template, on_host, &rewrites)
}

/// Why two terms are equal, by the rules. Saturates with explanations, which nothing else pays for.
pub(crate) fn explained(
    template: Template,
    from: &RecExpr<Term>,
    to: &RecExpr<Term>,
) -> Result<egg::Explanation<Term>, String> {
    let rewrites = rules(&template).iter().map(crate::rules::Rule::rewrite).collect::<Result<Vec<_>, _>>()?;
    let runner = Runner::new(Layouts { template, conflicts: 0 }).with_explanations_enabled();
    let mut runner = saturated(runner.with_expr(from).with_expr(to), &rewrites)?;
    if runner.egraph.find(runner.roots[0]) != runner.egraph.find(runner.roots[1]) {
        return Err("the rules do not lead from the layer to the program".into());
    }
    Ok(runner.explain_equivalence(from, to))
}

fn run(template: Template, on_host: bool, rewrites: &[egg::Rewrite<Term, Layouts>]) -> Result<Choices, String> {
    let expression = encode(&template, on_host)?;
    let runner = Runner::new(Layouts { template: template.clone(), conflicts: 0 }).with_expr(&expression);
    let runner = saturated(runner, rewrites)?;
    let stats = Saturation {
        nodes: runner.egraph.total_size(),
        classes: runner.egraph.number_of_classes(),
        iterations: runner.iterations.len(),
    };
    tabulate(template, &runner.egraph, runner.roots[0], stats)
}

/// Runs the rules until nothing is new.
fn saturated(
    runner: Runner<Term, Layouts>,
    rewrites: &[egg::Rewrite<Term, Layouts>],
) -> Result<Runner<Term, Layouts>, String> {
    let runner = runner
        .with_scheduler(SimpleScheduler)
        .with_node_limit(NODE_LIMIT)
        .with_iter_limit(ITERATION_LIMIT)
        .with_time_limit(Duration::MAX)
        .run(rewrites);
    if runner.egraph.analysis.conflicts > 0 {
        return Err("two layouts were found equal: a rule is unsound".into());
    }
    match runner.stop_reason {
        Some(StopReason::Saturated) => Ok(runner),
        reason => Err(format!("the rules did not saturate: {reason:?}")),
    }
}

/// The layer as a term over whole leaves.
pub(crate) fn encode(template: &Template, on_host: bool) -> Result<RecExpr<Term>, String> {
    let mut expression = RecExpr::default();
    let mut made: BTreeMap<TensorId, Id> = BTreeMap::new();
    for (index, tensor) in template.graph.tensors.iter().enumerate() {
        if tensor.role != Role::Value {
            made.insert(TensorId(index as u32), expression.add(Term::Leaf(LeafName(index as u32))));
        }
    }
    for node in &template.graph.nodes {
        let op = template.ops.iter().position(|op| *op == node.op).unwrap_or(0) as u16;
        let inputs: Option<Vec<Id>> = node.inputs.iter().map(|input| made.get(input).copied()).collect();
        let term = Term::Op(OpName(op), inputs.ok_or("a node reads a tensor that is not made yet")?);
        made.insert(node.output, expression.add(term));
    }
    if on_host {
        let output = template.graph.output().and_then(|output| made.get(&output).copied()).ok_or("no output")?;
        expression.add(Term::Collect(Collect(None), [output]));
    }
    Ok(expression)
}

/// The part of the e-graph that is typed, as a table. E-classes with the same fact are interchangeable (each stands for
/// the same tensor in the same layout, whether or not a rule has joined them), so they are one class here.
fn tabulate(
    template: Template,
    egraph: &EGraph<Term, Layouts>,
    root: Id,
    stats: Saturation,
) -> Result<Choices, String> {
    let facts: BTreeSet<Fact> = egraph.classes().filter_map(|class| class.data).collect();
    let index: BTreeMap<Fact, usize> = facts.iter().enumerate().map(|(index, &fact)| (fact, index)).collect();
    let mut classes: Vec<Class> = facts.iter().map(|&fact| Class { fact, ways: Vec::new() }).collect();
    for class in egraph.classes() {
        if let Some(fact) = class.data {
            classes[index[&fact]].ways.extend(ways(&template, egraph, &index, fact, class.id));
        }
    }
    for class in &mut classes {
        class.ways.sort_unstable();
        class.ways.dedup();
    }
    let root = egraph[root].data.and_then(|fact| index.get(&fact).copied()).ok_or("the root is not typed")?;
    Ok(Choices { template, classes, root, stats })
}

/// The typed e-nodes of a class. Weights and caches are held in whatever layout is wanted; new state is computed where
/// its old state is.
fn ways(
    template: &Template,
    egraph: &EGraph<Term, Layouts>,
    index: &BTreeMap<Fact, usize>,
    fact: Fact,
    id: Id,
) -> Vec<Way> {
    if matches!(template.graph[fact.tensor].role, Role::Weight | Role::Cache) {
        return vec![Way { inputs: Vec::new(), action: WayAction::Leaf }];
    }
    let state = template.is_state(fact.tensor);
    let way = |term: &Term| {
        crate::analysis::fact(egraph, term).filter(|own| *own == fact)?;
        let facts: Option<Vec<Fact>> = term.children().iter().map(|&child| egraph[child].data).collect();
        let inputs: Vec<usize> = facts?.iter().map(|fact| index[fact]).collect();
        let action = way_action(template, egraph, term)?;
        let allowed = !state || matches!(action, WayAction::Compute(_));
        allowed.then_some(Way { inputs, action })
    };
    egraph[id].nodes.iter().filter_map(way).collect()
}

fn way_action(template: &Template, egraph: &EGraph<Term, Layouts>, term: &Term) -> Option<WayAction> {
    Some(match term {
        Term::Leaf(_) => WayAction::Leaf,
        Term::Slice(..) => WayAction::Slice,
        Term::Gather(..) => WayAction::AllGather,
        Term::Scatter(..) => WayAction::ReduceScatter,
        Term::Merge(..) => WayAction::MergeScatter,
        Term::AllReduce(_) => WayAction::AllReduce,
        Term::Collect(..) => WayAction::Collect,
        Term::Dispatch(_) => WayAction::Dispatch,
        Term::Combine(_) => WayAction::Combine,
        Term::Op(name, inputs) => {
            let tensor = |&input: &Id| egraph[input].data.map(|fact| fact.tensor);
            let tensors: Vec<TensorId> = inputs.iter().map(tensor).collect::<Option<_>>()?;
            WayAction::Compute(template.node(template.ops[usize::from(name.0)], &tensors)?)
        }
    })
}
