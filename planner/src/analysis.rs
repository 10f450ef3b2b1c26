//! What an e-class knows: the logical tensor that its families stand for, and in which layout. Both follow from the
//! typed-layout table of the IR; a term that the table rejects knows nothing and is never extracted.

use crate::language::Term;
use egg::{Analysis, DidMerge, EGraph, Id};
use sailplan_ir::{Domains, Graph, Layout, NodeId, Op, Role, TensorId, layout_after};

/// The template behind the terms.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) graph: Graph,
    pub(crate) domains: Domains,
    /// Distinct operators, in order of first use, fused ones last; terms name them by index.
    pub(crate) ops: Vec<Op>,
}

impl Template {
    pub(crate) fn new(graph: &Graph) -> Self {
        let mut ops: Vec<Op> = Vec::new();
        for node in graph.applications() {
            if !ops.contains(&node.op) {
                ops.push(node.op);
            }
        }
        Self { graph: graph.clone(), domains: Domains::of(graph), ops }
    }

    /// The node, or the fused operator, that applies an operator to these tensors.
    pub(crate) fn node(&self, op: Op, inputs: &[TensorId]) -> Option<NodeId> {
        self.graph.applied(|node| node.op == op && node.inputs == inputs)
    }

    /// Whether an axis can be cut at all: it has two units or more, or is rows that an operator may be cut along.
    pub(crate) fn cuttable(&self, tensor: TensorId, axis: u8) -> bool {
        self.domains.cuttable_axis(tensor, axis)
    }

    /// Whether a tensor is a cache or a cache with new rows: state that stays where it is.
    pub(crate) fn is_state(&self, tensor: TensorId) -> bool {
        self.graph[tensor].role == Role::Cache
            || self.graph.producer(tensor).is_some_and(|node| self.graph[node].op.appends())
    }
}

/// A logical tensor in one layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Fact {
    pub(crate) tensor: TensorId,
    pub(crate) layout: Layout,
}

/// The e-class analysis.
#[derive(Clone, Debug)]
pub(crate) struct Layouts {
    pub(crate) template: Template,
    /// Unions of families that stand for different things: proof of an unsound rule.
    pub(crate) conflicts: usize,
}

impl Analysis<Term> for Layouts {
    type Data = Option<Fact>;

    fn make(egraph: &mut EGraph<Term, Self>, term: &Term, _: Id) -> Option<Fact> {
        fact(egraph, term)
    }

    fn merge(&mut self, known: &mut Option<Fact>, other: Option<Fact>) -> DidMerge {
        match (*known, other) {
            (Some(a), Some(b)) if a != b => {
                self.conflicts += 1;
                DidMerge(false, true)
            }
            (None, Some(_)) => {
                *known = other;
                DidMerge(true, false)
            }
            (Some(_), None) => DidMerge(false, true),
            _ => DidMerge(false, false),
        }
    }
}

/// What a term stands for by itself; `None` where it means nothing.
pub(crate) fn fact(egraph: &EGraph<Term, Layouts>, term: &Term) -> Option<Fact> {
    let of = |id: Id| egraph[id].data;
    let convert = |id: Id, from: fn(Layout) -> bool, layout: Layout| {
        of(id).filter(|fact| from(fact.layout)).map(|fact| Fact { tensor: fact.tensor, layout })
    };
    match term {
        Term::Leaf(name) => Some(Fact { tensor: TensorId(name.0), layout: Layout::Whole }),
        Term::Slice(axis, [id]) => convert(*id, |from| from == Layout::Whole, Layout::Sharded(axis.0)),
        Term::Gather(axis, [id]) => {
            of(*id).filter(|fact| fact.layout == Layout::Sharded(axis.0))?;
            convert(*id, |_| true, Layout::Whole)
        }
        Term::Scatter(axis, [id]) => convert(*id, |from| from == Layout::Partial, Layout::Sharded(axis.0)),
        Term::Merge(axis, [id]) => convert(*id, |from| from == Layout::Unmerged, Layout::Sharded(axis.0)),
        Term::AllReduce([id]) => convert(*id, |from| from == Layout::Partial, Layout::Whole),
        Term::Dispatch([id, gates]) => {
            let by = of(*gates).filter(|gates| gates.layout == Layout::Whole)?.tensor;
            let sent = |fact: &Fact| egraph.analysis.template.graph.dispatched_by(fact.tensor) == Some(by);
            of(*id).filter(sent)?;
            convert(*id, |from| from == Layout::Sharded(0), Layout::Dispatched)
        }
        Term::Combine([id, gates]) => {
            let by = of(*gates).filter(|gates| gates.layout == Layout::Whole)?.tensor;
            let made = |fact: &Fact| egraph.analysis.template.graph.combined_by(fact.tensor) == Some(by);
            of(*id).filter(made)?;
            convert(*id, |from| from == Layout::Routed, Layout::Sharded(0))
        }
        Term::Collect(_, [id]) => convert(*id, |from| matches!(from, Layout::Whole | Layout::Sharded(_)), Layout::Host),
        Term::Op(name, inputs) => {
            let template = &egraph.analysis.template;
            let facts: Vec<Fact> = inputs.iter().map(|&input| of(input)).collect::<Option<_>>()?;
            let tensors: Vec<TensorId> = facts.iter().map(|fact| fact.tensor).collect();
            let node = template.node(*template.ops.get(usize::from(name.0))?, &tensors)?;
            let layouts: Vec<Layout> = facts.iter().map(|fact| fact.layout).collect();
            let layout = layout_after(&template.graph, node, &layouts)?;
            Some(Fact { tensor: template.graph[node].output, layout })
        }
    }
}
