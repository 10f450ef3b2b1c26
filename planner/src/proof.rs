//! Why a sharded program equals its layer: the e-graph's explanation, as a proof that others can check. Explanations are kept
//! only here; a compilation saturates without them.

use crate::analysis::Template;
use crate::language::{Collect, Gather, LeafName, Merge, OpName, Scatter, Slice, Term};
use crate::saturate::{encode, explained};
use egg::{Id, RecExpr, TreeTerm};
use sailplan_ir::{Action, Chain, Graph, Head, Instruction, Layout, Program, Proof, ProofStep, Term as ProofTerm};
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
        let id = if instruction.action == Action::Leaf {
            let leaf = expression.add(Term::Leaf(LeafName(instruction.tensor.0)));
            axis(instruction.layout).map_or(leaf, |axis| expression.add(Term::Slice(Slice(axis), [leaf])))
        } else {
            let from = instruction.inputs.first().and_then(|input| axis(program.instructions[input.index()].layout));
            expression.add(applied(template, instruction, (inputs, from))?)
        };
        made.push(id);
    }
    Ok(expression)
}

/// What is no leaf, on inputs of which the first is cut along an axis or not.
fn applied(
    template: &Template,
    instruction: &Instruction,
    (inputs, from): (Vec<Id>, Option<u8>),
) -> Result<Term, String> {
    let one = || inputs.first().copied().ok_or("a collective of nothing");
    let two = || <[Id; 2]>::try_from(&inputs[..]).map_err(|_| "rows that go nowhere");
    let to = axis(instruction.layout).ok_or("a slice of nothing");
    Ok(match instruction.action {
        Action::Compute(node) => {
            let node = template.graph.application(node).ok_or("no such operator")?;
            let index = template.ops.iter().position(|op| *op == node.op).ok_or("no such operator")?;
            Term::Op(OpName(index as u16), inputs)
        }
        Action::Slice | Action::Leaf => Term::Slice(Slice(to?), [one()?]),
        Action::AllGather => Term::Gather(Gather(from.ok_or("a gather of what is not cut")?), [one()?]),
        Action::AllReduce => Term::AllReduce([one()?]),
        Action::ReduceScatter => Term::Scatter(Scatter(to?), [one()?]),
        Action::Dispatch => Term::Dispatch(two()?),
        Action::Combine => Term::Combine(two()?),
        Action::MergeScatter => Term::Merge(Merge(to?), [one()?]),
        Action::Collect => Term::Collect(Collect(from), [one()?]),
    })
}

/// The axis that a layout cuts.
const fn axis(layout: Layout) -> Option<u8> {
    match layout {
        Layout::Sharded(axis) => Some(axis),
        _ => None,
    }
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
            Term::Merge(axis, _) => Head::MergeScatter(axis.0),
            Term::Collect(axis, _) => Head::Collect(axis.0),
            Term::AllReduce(_) => Head::AllReduce,
            Term::Dispatch(_) => Head::Dispatch,
            Term::Combine(_) => Head::Combine,
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
    let (terms, chains) = (in_order(&writer.terms), in_order(&writer.chains));
    let (term_used, chain_used) = marked(&terms, &chains, last as usize);
    let (term_at, chain_at) = (numbers(&term_used), numbers(&chain_used));
    let term = |number: u32| term_at[number as usize];
    let step = |step: &ProofStep| match step {
        ProofStep::Rule { name, forward, gives } => {
            ProofStep::Rule { name: name.clone(), forward: *forward, gives: term(*gives) }
        }
        ProofStep::Inside { operand, chain, gives } => {
            ProofStep::Inside { operand: *operand, chain: chain_at[*chain as usize], gives: term(*gives) }
        }
    };
    let renumbered = |known: &ProofTerm| ProofTerm {
        head: known.head.clone(),
        operands: known.operands.iter().map(|&operand| term(operand)).collect(),
    };
    let rechained = |chain: &Chain| Chain { from: term(chain.from), steps: chain.steps.iter().map(step).collect() };
    Proof {
        class: String::new(),
        terms: terms.iter().zip(&term_used).filter(|term| *term.1).map(|(term, _)| renumbered(term)).collect(),
        chains: chains.iter().zip(&chain_used).filter(|chain| *chain.1).map(|(chain, _)| rechained(chain)).collect(),
    }
}

/// What is numbered, by number.
fn in_order<T>(known: &BTreeMap<T, u32>) -> Vec<&T> {
    let mut all: Vec<(u32, &T)> = known.iter().map(|(one, &number)| (number, one)).collect();
    all.sort_unstable_by_key(|one| one.0);
    all.into_iter().map(|one| one.1).collect()
}

/// The terms and the chains that one chain needs. What needs another one stands after it.
fn marked(terms: &[&ProofTerm], chains: &[&Chain], last: usize) -> (Vec<bool>, Vec<bool>) {
    let (mut term_used, mut chain_used) = (vec![false; terms.len()], vec![false; chains.len()]);
    chain_used[last] = true;
    for number in (0..=last).rev() {
        if !chain_used[number] {
            continue;
        }
        term_used[chains[number].from as usize] = true;
        for step in &chains[number].steps {
            term_used[step.gives() as usize] = true;
            if let ProofStep::Inside { chain, .. } = step {
                chain_used[*chain as usize] = true;
            }
        }
    }
    for number in (0..terms.len()).rev() {
        if term_used[number] {
            terms[number].operands.iter().for_each(|&operand| term_used[operand as usize] = true);
        }
    }
    (term_used, chain_used)
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
