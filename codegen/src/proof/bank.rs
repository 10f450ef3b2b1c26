//! The terms that a proof speaks of, each once, with what each stands for: a logical tensor of the class in one layout. What
//! stands for nothing is no term.

use super::equation::{Key, operators};
use sailplan_ir::{
    Action, Domains, Graph, Head, Instruction, Layout, Node, NodeId, Op, Program, Role, TensorId, Term, layout_after,
};
use std::collections::BTreeMap;

/// What a term stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fact {
    pub(super) tensor: TensorId,
    pub(super) layout: Layout,
}

/// What a term does; the names of operators are gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Does {
    Leaf(TensorId),
    Key(Key),
}

/// The number of a term; equal terms have equal numbers.
pub(super) type Id = usize;

/// All terms so far.
pub(super) struct Bank<'a> {
    template: &'a Graph,
    domains: Domains,
    /// The class's distinct operators.
    ops: Vec<Op>,
    /// By operator and operands.
    nodes: BTreeMap<(u16, &'a [TensorId]), NodeId>,
    numbers: BTreeMap<(Does, Vec<Id>), Id>,
    terms: Vec<(Does, Vec<Id>)>,
    facts: Vec<Fact>,
}

impl<'a> Bank<'a> {
    pub(super) fn new(template: &'a Graph) -> Self {
        let ops = operators(template);
        let mut nodes = BTreeMap::new();
        for (index, node) in template.applications().enumerate() {
            let op = ops.iter().position(|op| *op == node.op).unwrap_or_default() as u16;
            nodes.entry((op, node.inputs.as_slice())).or_insert(NodeId(index as u32));
        }
        Self {
            template,
            domains: Domains::of(template),
            ops,
            nodes,
            numbers: BTreeMap::new(),
            terms: Vec::new(),
            facts: Vec::new(),
        }
    }

    pub(super) fn term(&self, id: Id) -> (Does, &[Id]) {
        let (does, operands) = &self.terms[id];
        (*does, operands)
    }

    pub(super) fn fact(&self, id: Id) -> Fact {
        self.facts[id]
    }

    /// Whether the axis of what a term stands for can be cut.
    pub(super) fn can_be_cut(&self, id: Id, axis: u8) -> bool {
        let tensor = self.facts[id].tensor;
        usize::from(axis) < self.template[tensor].axes.len() && self.domains.cuttable_axis(tensor, axis)
    }

    /// A term of the text over terms that are known.
    ///
    /// # Errors
    /// It stands for nothing.
    pub(super) fn read(&mut self, term: &Term, known: &[Id]) -> Result<Id, String> {
        let does = match &term.head {
            Head::Leaf(tensor) => Does::Leaf(*tensor),
            Head::Op { name, index } => {
                if self.ops.get(usize::from(*index)).map(|op| op.row().name) != Some(name.as_str()) {
                    return Err(format!("the class has no operator `{name}@{index}`"));
                }
                Does::Key(Key::Op(*index))
            }
            Head::Slice(axis) => Does::Key(Key::Slice(*axis)),
            Head::AllGather(axis) => Does::Key(Key::AllGather(*axis)),
            Head::AllReduce => Does::Key(Key::AllReduce),
            Head::ReduceScatter(axis) => Does::Key(Key::ReduceScatter(*axis)),
            Head::Dispatch => Does::Key(Key::Dispatch),
            Head::Combine => Does::Key(Key::Combine),
            Head::MergeScatter(axis) => Does::Key(Key::MergeScatter(*axis)),
            Head::Collect(axis) => Does::Key(Key::Collect(*axis)),
        };
        self.add(does, term.operands.iter().map(|&operand| known[operand as usize]).collect())
    }

    /// Any term.
    ///
    /// # Errors
    /// It stands for nothing.
    pub(super) fn add(&mut self, does: Does, operands: Vec<Id>) -> Result<Id, String> {
        if let Some(&known) = self.numbers.get(&(does, operands.clone())) {
            return Ok(known);
        }
        let fact = self.typed(does, &operands)?;
        self.facts.push(fact);
        self.terms.push((does, operands.clone()));
        self.numbers.insert((does, operands), self.terms.len() - 1);
        Ok(self.terms.len() - 1)
    }

    fn typed(&self, does: Does, operands: &[Id]) -> Result<Fact, String> {
        let facts: Vec<Fact> = operands.iter().map(|&operand| self.facts[operand]).collect();
        match (does, facts.as_slice()) {
            (Does::Leaf(tensor), []) => match self.template.tensors.get(tensor.index()) {
                Some(known) if known.role != Role::Value => Ok(Fact { tensor, layout: Layout::Whole }),
                _ => Err(format!("{tensor} is no leaf of the class")),
            },
            (Does::Key(Key::Op(op)), _) => self.applied(op, &facts),
            (Does::Key(key @ (Key::Dispatch | Key::Combine)), [fact, gates]) => self.sent(key, *fact, *gates),
            (Does::Key(key), [fact]) => self.converted(key, *fact, operands[0]),
            _ => Err("an operator of the wrong number of operands".to_owned()),
        }
    }

    fn applied(&self, op: u16, facts: &[Fact]) -> Result<Fact, String> {
        let tensors: Vec<TensorId> = facts.iter().map(|fact| fact.tensor).collect();
        let layouts: Vec<Layout> = facts.iter().map(|fact| fact.layout).collect();
        let name = self.ops[usize::from(op)].row().name;
        let node = self.nodes.get(&(op, tensors.as_slice()));
        let node = *node.ok_or_else(|| format!("the class has no {name} of these operands"))?;
        let layout = layout_after(self.template, node, &layouts);
        let layout = layout.ok_or_else(|| format!("{name} of operands held so makes nothing"))?;
        Ok(Fact { tensor: self.template[node].output, layout })
    }

    fn converted(&self, key: Key, fact: Fact, operand: Id) -> Result<Fact, String> {
        let layout = match (key, fact.layout) {
            (Key::Slice(axis), Layout::Whole) if self.can_be_cut(operand, axis) => Layout::Sharded(axis),
            (Key::AllGather(axis), Layout::Sharded(cut)) if axis == cut => Layout::Whole,
            (Key::AllReduce, Layout::Partial) => Layout::Whole,
            (Key::ReduceScatter(axis), Layout::Partial) if self.can_be_cut(operand, axis) => Layout::Sharded(axis),
            (Key::MergeScatter(axis), Layout::Unmerged) if self.can_be_cut(operand, axis) => Layout::Sharded(axis),
            (Key::Collect(None), Layout::Whole) => Layout::Host,
            (Key::Collect(Some(axis)), Layout::Sharded(cut)) if axis == cut => Layout::Host,
            (key, layout) => return Err(format!("{key} of what is {layout} makes nothing")),
        };
        Ok(Fact { tensor: fact.tensor, layout })
    }

    /// Rows go to the experts that read them by their gates, and what these make of them comes back by the same.
    fn sent(&self, key: Key, fact: Fact, gates: Fact) -> Result<Fact, String> {
        let mixtures = || self.template.nodes.iter().filter(|node| matches!(node.op, Op::Experts { .. }));
        let (mut by, from, layout): (Box<dyn Iterator<Item = &Node>>, Layout, Layout) = match key {
            Key::Dispatch => {
                let read = mixtures().filter(|node| node.inputs.first() == Some(&fact.tensor));
                (Box::new(read), Layout::Sharded(0), Layout::Dispatched)
            }
            _ => {
                let made = mixtures().filter(|node| node.output == fact.tensor);
                (Box::new(made), Layout::Routed, Layout::Sharded(0))
            }
        };
        let gated = |node: &Node| node.inputs.get(1) == Some(&gates.tensor);
        let alike = by.next().is_some_and(gated) && by.all(gated);
        if alike && gates.layout == Layout::Whole && fact.layout == from {
            return Ok(Fact { tensor: fact.tensor, layout });
        }
        Err(format!("{key} of what is {} by {} makes nothing", fact.layout, gates.tensor))
    }

    fn operator(&self, node: &Node) -> Does {
        let index = self.ops.iter().position(|op| *op == node.op).unwrap_or_default();
        Does::Key(Key::Op(index as u16))
    }

    /// The class's result from its leaves, all whole.
    pub(super) fn layer(&mut self, on_host: bool) -> Result<Id, String> {
        let template = self.template;
        let mut made: BTreeMap<TensorId, Id> = BTreeMap::new();
        let mut last = None;
        for node in &template.nodes {
            let mut operands = Vec::new();
            for &input in &node.inputs {
                operands.push(match made.get(&input) {
                    Some(&known) => known,
                    None => self.add(Does::Leaf(input), Vec::new())?,
                });
            }
            let id = self.add(self.operator(node), operands)?;
            made.insert(node.output, id);
            last = Some(id);
        }
        let last = last.ok_or("the class makes nothing")?;
        if on_host { self.add(Does::Key(Key::Collect(None)), vec![last]) } else { Ok(last) }
    }

    /// A sharded program's result from its leaves.
    ///
    /// # Errors
    /// The program is not what it says of itself.
    pub(super) fn program(&mut self, program: &Program) -> Result<Id, String> {
        let mut made: Vec<Id> = Vec::new();
        for instruction in &program.instructions {
            let inputs = instruction.inputs.iter().map(|input| made.get(input.index()).copied());
            let inputs: Vec<Id> = inputs.collect::<Option<_>>().ok_or("a value is read before it is made")?;
            let id = match (self.action(instruction, &inputs)?, cut(instruction.layout)) {
                (Some(does), _) => self.add(does, inputs)?,
                (None, None) => self.add(Does::Leaf(instruction.tensor), Vec::new())?,
                (None, Some(axis)) => {
                    let leaf = self.add(Does::Leaf(instruction.tensor), Vec::new())?;
                    self.add(Does::Key(Key::Slice(axis)), vec![leaf])?
                }
            };
            if self.facts[id] != (Fact { tensor: instruction.tensor, layout: instruction.layout }) {
                return Err(format!("{} is not {}", instruction.tensor, instruction.layout));
            }
            made.push(id);
        }
        made.last().copied().ok_or_else(|| "a program that makes nothing".to_owned())
    }

    /// What an instruction does; `None` is a leaf.
    fn action(&self, instruction: &Instruction, inputs: &[Id]) -> Result<Option<Does>, String> {
        let from = inputs.first().and_then(|&input| cut(self.facts[input].layout));
        let to = cut(instruction.layout).ok_or("a slice that is none");
        let key = match instruction.action {
            Action::Leaf => return Ok(None),
            Action::Compute(node) => {
                let node = self.template.application(node).ok_or("no such operator")?;
                return Ok(Some(self.operator(node)));
            }
            Action::Slice => Key::Slice(to?),
            Action::AllGather => Key::AllGather(from.ok_or("a gather of what is not cut")?),
            Action::AllReduce => Key::AllReduce,
            Action::ReduceScatter => Key::ReduceScatter(to?),
            Action::Dispatch => Key::Dispatch,
            Action::Combine => Key::Combine,
            Action::MergeScatter => Key::MergeScatter(to?),
            Action::Collect => Key::Collect(from),
        };
        Ok(Some(Does::Key(key)))
    }
}

/// The axis that a layout cuts.
const fn cut(layout: Layout) -> Option<u8> {
    match layout {
        Layout::Sharded(axis) => Some(axis),
        _ => None,
    }
}
