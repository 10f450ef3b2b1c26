//! Why a sharded program equals its layer: the e-graph's explanation, as a proof that others can check. Explanations are kept
//! only here; a compilation saturates without them.

use crate::analysis::Template;
use crate::language::{Collect, Gather, LeafName, OpName, Scatter, Slice, Term};
use crate::saturate::{encode, explained};
use egg::{Id, RecExpr, TreeTerm};
use sailplan_ir::{Action, Chain, Graph, Head, Layout, Program, Proof, ProofStep, Term as ProofTerm};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Operators of a class that is proven, more than any layer has: explanations go as deep as a class has operators in a row.
const MOST_OPERATORS: usize = 400;

/// A proof that a sharded program computes what its template does; of a program whose result is on the host, that it
/// collects what the template computes.
///
/// # Errors
/// The program is none of the template, or the rules do not lead to it.
pub fn prove(class: &str, template: &Graph, program: &Program) -> Result<Proof, String> {
    let (operators, most) = (template.nodes.len(), MOST_OPERATORS);
    if operators > most {
        return Err(format!("it has {operators} operators; classes of at most {most} are proven"));
    }
    let on_host = program.output().is_some_and(|made| made.layout == Layout::Host);
    let template = Template::new(template);
    let (whole, sharded) = (encode(&template, on_host)?, sharded(&template, program)?);
    let explanation = explained(template.clone(), &whole, &sharded)?;
    let mut writer = Writer::new(&template);
    let ends = writer.chain(&explanation.explanation_trees);
    let last = match ends.chain {
        Some(chain) => chain,
        None => writer.number(Chain { from: ends.from, steps: Vec::new() }),
    };
    Ok(Proof { class: class.to_owned(), ..used(&writer, last) })
}

/// A program as a term over whole leaves.
fn sharded(template: &Template, program: &Program) -> Result<RecExpr<Term>, String> {
    let mut expression = RecExpr::default();
    let mut made: Vec<Id> = Vec::new();
    for instruction in &program.instructions {
        let inputs: Option<Vec<Id>> = instruction.inputs.iter().map(|input| made.get(input.index()).copied()).collect();
        let inputs = inputs.ok_or("a value is read before it is made")?;
        let one = || inputs.first().copied().ok_or("a collective of nothing");
        let axis = || match instruction.layout {
            Layout::Sharded(axis) => Ok(axis),
            _ => Err("a slice of nothing"),
        };
        let from = instruction.inputs.first().map(|input| program.instructions[input.index()].layout);
        let cut = match from {
            Some(Layout::Sharded(axis)) => Some(axis),
            _ => None,
        };
        let term = match instruction.action {
            Action::Leaf => {
                let leaf = expression.add(Term::Leaf(LeafName(instruction.tensor.0)));
                let held = match instruction.layout {
                    Layout::Sharded(axis) => expression.add(Term::Slice(Slice(axis), [leaf])),
                    _ => leaf,
                };
                made.push(held);
                continue;
            }
            Action::Compute(node) => {
                let node = template.graph.nodes.get(node.index()).ok_or("no such operator")?;
                let index = template.ops.iter().position(|op| *op == node.op).ok_or("no such operator")?;
                Term::Op(OpName(index as u16), inputs)
            }
            Action::Slice => Term::Slice(Slice(axis()?), [one()?]),
            Action::AllGather => Term::Gather(Gather(cut.ok_or("a gather of what is not cut")?), [one()?]),
            Action::AllReduce => Term::AllReduce([one()?]),
            Action::ReduceScatter => Term::Scatter(Scatter(axis()?), [one()?]),
            Action::Collect => Term::Collect(Collect(cut), [one()?]),
        };
        made.push(expression.add(term));
    }
    Ok(expression)
}

/// Where a chain starts and ends, and its number where it has steps.
#[derive(Clone, Copy)]
struct Ends {
    from: u32,
    to: u32,
    chain: Option<u32>,
}

/// One element of an explanation: the term before and after its operands were rewritten, and how they were.
#[derive(Clone)]
struct Rewritten {
    first: u32,
    steps: Vec<ProofStep>,
}

/// Terms and chains, each once.
struct Writer<'a> {
    template: &'a Template,
    terms: BTreeMap<ProofTerm, u32>,
    chains: BTreeMap<Chain, u32>,
    /// By address: the explanation shares its elements.
    known: BTreeMap<*const TreeTerm<Term>, Rewritten>,
}

impl<'a> Writer<'a> {
    fn new(template: &'a Template) -> Self {
        Self { template, terms: BTreeMap::new(), chains: BTreeMap::new(), known: BTreeMap::new() }
    }

    fn term(&mut self, head: Head, operands: Vec<u32>) -> u32 {
        let next = self.terms.len() as u32;
        *self.terms.entry(ProofTerm { head, operands }).or_insert(next)
    }

    fn number(&mut self, chain: Chain) -> u32 {
        let next = self.chains.len() as u32;
        *self.chains.entry(chain).or_insert(next)
    }

    /// A chain that comes back to a term it had is cut short.
    fn chain(&mut self, trees: &[Rc<TreeTerm<Term>>]) -> Ends {
        let mut chain: Option<Chain> = None;
        for tree in trees {
            let Rewritten { first, steps } = self.rewritten(tree);
            let chain = chain.get_or_insert(Chain { from: first, steps: Vec::new() });
            let rule = |name: &egg::Symbol, forward| ProofStep::Rule { name: name.to_string(), forward, gives: first };
            let forward = tree.forward_rule.as_ref().map(|name| rule(name, true));
            let backward = tree.backward_rule.as_ref().map(|name| rule(name, false));
            for step in forward.into_iter().chain(backward).chain(steps) {
                push(chain, step);
            }
        }
        let chain = chain.unwrap_or(Chain { from: 0, steps: Vec::new() });
        let (from, to) = (chain.from, chain.to());
        Ends { from, to, chain: (!chain.steps.is_empty()).then(|| self.number(chain)) }
    }

    fn rewritten(&mut self, tree: &Rc<TreeTerm<Term>>) -> Rewritten {
        if let Some(known) = self.known.get(&Rc::as_ptr(tree)) {
            return known.clone();
        }
        let ends: Vec<Ends> = tree.child_proofs.iter().map(|proof| self.chain(proof)).collect();
        let head = self.head(&tree.node);
        let mut operands: Vec<u32> = ends.iter().map(|ends| ends.from).collect();
        let first = self.term(head.clone(), operands.clone());
        let mut steps = Vec::new();
        for (operand, ends) in ends.iter().enumerate() {
            if let Some(chain) = ends.chain {
                operands[operand] = ends.to;
                let gives = self.term(head.clone(), operands.clone());
                steps.push(ProofStep::Inside { operand: operand as u32, chain, gives });
            }
        }
        let made = Rewritten { first, steps };
        self.known.insert(Rc::as_ptr(tree), made.clone());
        made
    }

    fn head(&self, term: &Term) -> Head {
        match term {
            Term::Leaf(name) => Head::Leaf(sailplan_ir::TensorId(name.0)),
            Term::Slice(axis, _) => Head::Slice(axis.0),
            Term::Gather(axis, _) => Head::AllGather(axis.0),
            Term::Scatter(axis, _) => Head::ReduceScatter(axis.0),
            Term::Collect(axis, _) => Head::Collect(axis.0),
            Term::AllReduce(_) => Head::AllReduce,
            Term::Op(name, _) => {
                let name_of = self.template.ops.get(usize::from(name.0)).map_or("?", |op| op.row().name);
                Head::Op { name: name_of.to_owned(), index: name.0 }
            }
        }
    }
}

fn push(chain: &mut Chain, step: ProofStep) {
    if step.gives() == chain.from {
        chain.steps.clear();
        return;
    }
    match chain.steps.iter().position(|known| known.gives() == step.gives()) {
        Some(known) => chain.steps.truncate(known + 1),
        None => chain.steps.push(step),
    }
}

/// What one chain needs, numbered anew: chains and terms after those they need.
fn used(writer: &Writer<'_>, last: u32) -> Proof {
    let mut terms: Vec<(&ProofTerm, u32)> = writer.terms.iter().map(|(term, &number)| (term, number)).collect();
    let mut chains: Vec<(&Chain, u32)> = writer.chains.iter().map(|(chain, &number)| (chain, number)).collect();
    terms.sort_unstable_by_key(|term| term.1);
    chains.sort_unstable_by_key(|chain| chain.1);
    let (mut term_used, mut chain_used) = (vec![false; terms.len()], vec![false; chains.len()]);
    chain_used[last as usize] = true;
    for (chain, number) in chains.iter().rev().filter(|chain| chain.1 <= last) {
        if !chain_used[*number as usize] {
            continue;
        }
        term_used[chain.from as usize] = true;
        for step in &chain.steps {
            term_used[step.gives() as usize] = true;
            if let ProofStep::Inside { chain, .. } = step {
                chain_used[*chain as usize] = true;
            }
        }
    }
    for (term, number) in terms.iter().rev() {
        if term_used[*number as usize] {
            term.operands.iter().for_each(|&operand| term_used[operand as usize] = true);
        }
    }
    let (term_at, chain_at) = (numbers(&term_used), numbers(&chain_used));
    let term = |number: u32| term_at[number as usize];
    let renumbered = |step: &ProofStep| match step {
        ProofStep::Rule { name, forward, gives } => {
            ProofStep::Rule { name: name.clone(), forward: *forward, gives: term(*gives) }
        }
        ProofStep::Inside { operand, chain, gives } => {
            ProofStep::Inside { operand: *operand, chain: chain_at[*chain as usize], gives: term(*gives) }
        }
    };
    let kept = terms.iter().filter(|(_, number)| term_used[*number as usize]);
    let terms = kept.map(|(known, _)| ProofTerm {
        head: known.head.clone(),
        operands: known.operands.iter().map(|&operand| term(operand)).collect(),
    });
    let kept = chains.iter().filter(|(_, number)| chain_used[*number as usize]);
    let chains =
        kept.map(|(chain, _)| Chain { from: term(chain.from), steps: chain.steps.iter().map(renumbered).collect() });
    Proof { class: String::new(), terms: terms.collect(), chains: chains.collect() }
}

/// For each one in use, how many in use stand before it.
fn numbers(used: &[bool]) -> Vec<u32> {
    let count = |before: &mut u32, used: &bool| {
        let number = *before;
        *before += u32::from(*used);
        Some(number)
    };
    used.iter().scan(0, count).collect()
}
