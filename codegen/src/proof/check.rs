//! Whether a proof holds: every term stands for something, every step is one equation of the class's table at one place, and
//! the steps lead from the layer to the program that the plan runs. It knows no e-graph and believes nothing it reads.

use super::bank::{Bank, Does, Id};
use super::equation::{Condition, Equation, Pattern, Variable, equations};
use super::lift::Lifted;
use super::read::{Entry, Placed, Proofs};
use sailplan_ir::{At, Diagnostic, Diagnostics, Layout, ProofStep};
use std::collections::{BTreeMap, BTreeSet};

/// A proof that holds, in figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// Applications of an equation.
    pub steps: usize,
    /// Distinct equations used.
    pub rules: usize,
    /// Distinct terms.
    pub terms: usize,
    /// Bytes of text.
    pub bytes: usize,
}

/// Checks proofs against the programs that a plan runs: one for each.
///
/// # Errors
/// A proof does not hold, a program has none, or a proof is of a program that the plan does not run.
pub fn check_proofs(proofs: &Proofs, lifted: &[Lifted]) -> Result<Vec<Proven>, Diagnostics> {
    let Proofs { file, entries } = proofs;
    let mut problems = Diagnostics::default();
    let mut proven: Vec<Option<Proven>> = vec![None; lifted.len()];
    for entry in entries {
        match check(entry, lifted, &proven) {
            Ok((index, figures)) => proven[index] = Some(figures),
            Err((message, place)) => problems.push(Diagnostic::new(message).at(file.as_str(), At::Span(place))),
        }
    }
    for lifted in lifted.iter().zip(&proven).filter(|(_, proven)| proven.is_none()).map(|(lifted, _)| lifted) {
        let message = format!("there is no proof of what the plan runs as `{}` in {}", lifted.class, lifted.phases());
        problems.push(
            Diagnostic::new(message).at(file.as_str(), At::Whole).hint("write proofs of this plan with --proof-out"),
        );
    }
    problems.into_result(proven.into_iter().flatten().collect())
}

/// Which program an entry proves.
fn check(entry: &Entry, lifted: &[Lifted], proven: &[Option<Proven>]) -> Result<(usize, Proven), Placed<String>> {
    let (class, place) = &entry.class;
    let of_class = |lifted: &&Lifted| format!("{:?}", lifted.class) == *class;
    let template = lifted.iter().find(of_class).map(|lifted| &lifted.template);
    let at_class = |message: String| (message, place.clone());
    let template = template.ok_or_else(|| at_class(format!("the plan runs no class {class}")))?;
    let mut proof = Proof { bank: Bank::new(template), equations: BTreeMap::new(), used: BTreeSet::new(), steps: 0 };
    let equations = equations(template);
    proof.equations = equations.iter().map(|equation| (equation.name.as_str(), equation)).collect();
    let (from, to) = proof.run(entry)?;
    let on_host = proof.bank.fact(to).layout == Layout::Host;
    if proof.bank.layer(on_host).map_err(at_class)? != from {
        return Err(at_class("the proof does not begin with the layer".to_owned()));
    }
    let figures =
        Proven { steps: proof.steps, rules: proof.used.len(), terms: entry.terms.len(), bytes: entry.bytes() };
    for (index, program) in lifted.iter().enumerate().filter(|(_, program)| of_class(program)) {
        if proof.bank.program(&program.program).map_err(at_class)? == to {
            let known = proven[index].is_some();
            let twice = || at_class("the same program is proven a second time".to_owned());
            return if known { Err(twice()) } else { Ok((index, figures)) };
        }
    }
    Err(at_class("the proof does not end with a program that the plan runs".to_owned()))
}

/// A proof being followed.
struct Proof<'a> {
    bank: Bank<'a>,
    equations: BTreeMap<&'a str, &'a Equation>,
    used: BTreeSet<&'a str>,
    steps: usize,
}

impl Proof<'_> {
    /// From which term it leads to which.
    fn run(&mut self, entry: &Entry) -> Result<(Id, Id), Placed<String>> {
        let mut terms: Vec<Id> = Vec::new();
        for (term, place) in &entry.terms {
            let id = self.bank.read(term, &terms).map_err(|message| (message, place.clone()))?;
            terms.push(id);
        }
        let mut chains: Vec<(Id, Id)> = Vec::new();
        for chain in &entry.chains {
            let from = terms[chain.from.0 as usize];
            let mut now = from;
            for (step, place) in &chain.steps {
                let next = terms[step.gives() as usize];
                self.step(step, (now, next), &chains).map_err(|message| (message, place.clone()))?;
                now = next;
            }
            chains.push((from, now));
        }
        chains.last().copied().ok_or_else(|| ("there is no chain".to_owned(), entry.class.1.clone()))
    }

    fn step(&mut self, step: &ProofStep, (now, next): (Id, Id), chains: &[(Id, Id)]) -> Result<(), String> {
        if self.bank.fact(now) != self.bank.fact(next) {
            return Err("the terms before and after stand for different things".to_owned());
        }
        match step {
            ProofStep::Rule { name, forward, .. } => {
                let known = self.equations.get_key_value(name.as_str());
                let (name, equation) = known.ok_or_else(|| format!("no rule is called `{name}`"))?;
                let (left, right) = if *forward { (now, next) } else { (next, now) };
                holds(&self.bank, equation, left, right)?;
                self.used.insert(name);
                self.steps += 1;
                Ok(())
            }
            ProofStep::Inside { operand, chain, .. } => {
                let (from, to) = chains[*chain as usize];
                let ((does, before), (still, after)) = (self.bank.term(now), self.bank.term(next));
                let place = *operand as usize;
                if before.get(place) != Some(&from) {
                    return Err(format!("c{chain} does not begin with operand {place}"));
                }
                let mut expected = before.to_vec();
                expected[place] = to;
                if (does, expected.as_slice()) == (still, after) {
                    return Ok(());
                }
                Err(format!("more or other than operand {place} was replaced"))
            }
        }
    }
}

type Bound = BTreeMap<Variable, Id>;

fn holds(bank: &Bank<'_>, equation: &Equation, left: Id, right: Id) -> Result<(), String> {
    let mut bound = Bound::new();
    for (side, pattern, term) in [("left", &equation.left, left), ("right", &equation.right, right)] {
        if !matches(bank, pattern, term, &mut bound) {
            return Err(format!("the term is not the {side} side of `{}`: {pattern}", equation.name));
        }
    }
    let Condition { whole, cuts } = &equation.condition;
    let is_whole = |place: &usize| {
        bound.get(&Variable::Operand(*place)).is_some_and(|&term| bank.fact(term).layout == Layout::Whole)
    };
    let is_cut =
        |(variable, axis): &(Variable, u8)| bound.get(variable).is_some_and(|&term| bank.can_be_cut(term, *axis));
    if whole.iter().all(is_whole) && cuts.iter().all(is_cut) {
        return Ok(());
    }
    Err(format!("`{}` holds only {}", equation.name, equation.condition))
}

/// Patterns are three terms deep.
fn matches(bank: &Bank<'_>, pattern: &Pattern, term: Id, bound: &mut Bound) -> bool {
    match pattern {
        Pattern::Variable(variable) => *bound.entry(*variable).or_insert(term) == term,
        Pattern::Term(key, inner) => {
            let (does, operands) = bank.term(term);
            does == Does::Key(*key)
                && operands.len() == inner.len()
                && inner.iter().zip(operands).all(|(pattern, &operand)| matches(bank, pattern, operand, bound))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::equation::Key;
    use sailplan_ir::{DType, Dim, Graph, Op, Role, TensorId};

    /// Typed terms keep every condition of today's table by themselves; a condition that they do not keep is looked at.
    #[test]
    fn conditions_are_looked_at() {
        let mut graph = Graph::default();
        let axes = [Dim::Tokens, Dim::Fixed(8)];
        let x = graph.tensor("x", &axes, DType::F32, Role::Input);
        graph.apply(Op::Add, &[x, x], "y", &axes);
        let mut bank = Bank::new(&graph);
        let leaf = bank.add(Does::Leaf(TensorId(0)), Vec::new()).unwrap();
        let slice = bank.add(Does::Key(Key::Slice(1)), vec![leaf]).unwrap();
        let sum = bank.add(Does::Key(Key::Op(0)), vec![slice, slice]).unwrap();
        let variable = |place| Pattern::Variable(Variable::Operand(place));
        let side = Pattern::Term(Key::Op(0), vec![variable(0), variable(1)]);
        let with = |whole: &[usize], cut: Option<(Variable, u8)>| {
            let condition = Condition { whole: whole.to_vec(), cuts: cut.into_iter().collect() };
            let name = "test".to_owned();
            holds(&bank, &Equation { name, left: side.clone(), right: side.clone(), condition }, sum, sum)
        };
        assert_eq!(with(&[], None), Ok(()));
        assert_eq!(with(&[], Some((Variable::Operand(0), 1))), Ok(()));
        assert_eq!(with(&[0], None).unwrap_err(), "`test` holds only if whole: ?a0");
        assert_eq!(
            with(&[], Some((Variable::Operand(1), 2))).unwrap_err(),
            "`test` holds only if axis 2 of ?a1 can be cut"
        );
        let both = "`test` holds only if ?a0 to ?a1 are whole and axis 1 of ?a0 can be cut";
        assert_eq!(with(&[0, 1], Some((Variable::Operand(0), 1))).unwrap_err(), both);
    }
}
