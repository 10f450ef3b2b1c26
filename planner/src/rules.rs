//! The rule table. Every rule is an equation between two families of local tensors, valid for any number of ranks and
//! any partition, and has one direction. `split`, `contract`, `merge`, `linear` and `fuse` are generated from the operator table;
//! `router` and `dispatch` are for mixtures of experts; the others are identities of slices and collectives.
//!
//! | kind | equation | guard |
//! |---|---|---|
//! | split | `op(a…)` = `all-gather.j(op(slice.j a…))` for an output letter j | every operand whole |
//! | contract | `op(a…)` = `all-reduce(op(slice.k a…))` for a summed letter k | every operand whole |
//! | merge | `op(a…)` = `all-gather.h(merge-scatter.h(op(slice.s a…)))` for letters s that merge for each h | every operand whole |
//! | linear | `op(all-reduce p…, a…)` = `all-reduce(op(p…, a…))` for the inputs in which `op` is linear | every other operand whole |
//! | cancel | `slice.a(all-gather.a p)` = `p` | none |
//! | scatter | `slice.a(all-reduce p)` = `reduce-scatter.a p` | none |
//! | reduce | `all-reduce p` = `all-gather.a(reduce-scatter.a p)` | the axis can be cut |
//! | collect | `collect(all-gather.a p)` = `collect.a p` | none |
//! | fuse | `f(linear(x, a), linear(x, b))` = `linear_f(x, a, b)` | none |
//! | router | `route(linear(x, w))` = `route(all-gather.0(linear(slice.0 x, w)))` | x and w whole |
//! | dispatch | `reduce-scatter.0(experts(all-gather.0 p, slice.e g, slice.e…))` = `combine(experts(dispatch(p, g), slice.e g, slice.e…), g)` | none |
//!
//! Why saturation ends: a slice is only introduced on a whole family, of which each logical tensor has one, and every
//! other rule makes terms over families that exist; tensors × layouts are finitely many.

use crate::analysis::{Layouts, Template};
use crate::language::Term;
use egg::{ConditionalApplier, EGraph, Id, Pattern, Rewrite, Subst, Var};
use sailplan_ir::{Layout, Op, Operand};

/// One line of the table, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kind, operator and letter: `split linear n`.
    pub name: String,
    /// Left side.
    pub left: String,
    /// Right side.
    pub right: String,
    guard: Guard,
}

/// The condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Guard {
    None,
    /// Operands `?a0…` are whole, and each of `cuts`, an operand with an axis, can be made.
    Whole {
        operands: usize,
        cuts: Vec<(usize, u8)>,
    },
    /// These operands are whole.
    Beside {
        whole: Vec<usize>,
    },
    /// The tensor of `?p` can be cut along `axis` and is no cache.
    Cuttable {
        axis: u8,
    },
}

/// All rules for one layer class.
#[must_use]
pub(crate) fn rules(template: &Template) -> Vec<Rule> {
    let mut table = Vec::new();
    for (index, &op) in template.ops.iter().enumerate() {
        let arities: std::collections::BTreeSet<usize> =
            template.graph.applications().filter(|node| node.op == op).map(|node| node.inputs.len()).collect();
        for arity in arities {
            let row = op.row();
            let of = |letter, kind| operator_rule(op, (index, arity), letter, kind);
            table.extend(row.split.chars().filter_map(|letter| of(letter, Kind::Split)));
            table.extend(row.contract.chars().filter_map(|letter| of(letter, Kind::Contract)));
            table.extend(row.merge.and_then(|(letter, each)| of(letter, Kind::Merge(each))));
            table.extend(linear_rule(op, index, arity));
        }
    }
    let axes = template.graph.tensors.iter().map(|tensor| tensor.axes.len()).max().unwrap_or(0) as u8;
    for axis in 0..axes {
        table.extend(layout_rules(axis));
    }
    table.extend((0..template.ops.len()).filter_map(|index| fuse_rule(&template.ops, index)));
    table.extend((0..template.ops.len()).filter_map(|index| router_rule(&template.ops, index)));
    table.extend((0..template.ops.len()).filter_map(|index| dispatch_rule(&template.ops, index)));
    table
}

/// An operator over two products in one kernel. It needs no guard: on operands held so that the left side stands for
/// something, both weights whole or both cut by rows, the right side stands for the same.
fn fuse_rule(ops: &[Op], index: usize) -> Option<Rule> {
    let place = |op: Op| ops.iter().position(|known| *known == op);
    let (outer, product) = (place(ops[index].on_products()?)?, place(Op::Linear)?);
    Some(Rule {
        name: format!("fuse {} @{index}/3", ops[index].row().name),
        left: format!("(op@{outer} (op@{product} ?a0 ?a1) (op@{product} ?a0 ?a2))"),
        right: format!("(op@{index} ?a0 ?a1 ?a2)"),
        guard: Guard::None,
    })
}

/// The product that a router reads, of each card's rows. Gates of other rows are then gathered as logits: few bytes.
fn router_rule(ops: &[Op], index: usize) -> Option<Rule> {
    let product = ops.iter().position(|known| *known == Op::Linear)?;
    matches!(ops[index], Op::Route { .. }).then(|| Rule {
        name: format!("router route @{index}/1"),
        left: format!("(op@{index} (op@{product} ?a0 ?a1))"),
        right: format!("(op@{index} (all-gather.0 (op@{product} (slice.0 ?a0) ?a1)))"),
        guard: Guard::Whole { operands: 2, cuts: vec![(0, 0)] },
    })
}

/// Rows go to the cards with an expert that they take, and back. Its left side says of the experts what the right side needs:
/// they are cut one by one, as the gates are. By which gates rows may go is the typed layouts' to say.
fn dispatch_rule(ops: &[Op], index: usize) -> Option<Rule> {
    let made = |x: &str| format!("(op@{index} {x} (slice.1 ?a1) (slice.0 ?a2) (slice.0 ?a3) (slice.0 ?a4))");
    matches!(ops[index], Op::Experts { .. }).then(|| Rule {
        name: format!("dispatch experts @{index}/5"),
        left: format!("(reduce-scatter.0 {})", made("(all-gather.0 ?a0)")),
        right: format!("(combine {} ?a1)", made("(dispatch ?a0 ?a1)")),
        guard: Guard::None,
    })
}

/// What an operator on slices makes.
enum Kind {
    Split,
    Contract,
    /// Softmaxes for each of this letter.
    Merge(char),
}

fn operator_rule(op: Op, (index, arity): (usize, usize), letter: char, kind: Kind) -> Option<Rule> {
    let row = op.row();
    let position = |operand, letter| row.cut_axis(operand, letter).map(|axis| axis as u8);
    let axes_of = |letter| (0..arity).map(move |operand| position(Operand::Input(operand), letter));
    let first = |letter| axes_of(letter).enumerate().find_map(|(operand, axis)| axis.map(|axis| (operand, axis)));
    let axes: Vec<Option<u8>> = axes_of(letter).collect();
    let mut cuts = vec![first(letter)?];
    let whole: Vec<String> = (0..arity).map(|operand| format!("?a{operand}")).collect();
    let sliced: Vec<String> = axes
        .iter()
        .zip(&whole)
        .map(|(axis, variable)| axis.map_or(variable.clone(), |axis| format!("(slice.{axis} {variable})")))
        .collect();
    let local = format!("(op@{index} {})", sliced.join(" "));
    let (name, right) = match kind {
        Kind::Split => ("split", format!("(all-gather.{} {local})", position(Operand::Output, letter)?)),
        Kind::Contract => ("contract", format!("(all-reduce {local})")),
        Kind::Merge(each) => {
            cuts.push(first(each)?);
            let axis = position(Operand::Output, each)?;
            ("merge", format!("(all-gather.{axis} (merge-scatter.{axis} {local}))"))
        }
    };
    Some(Rule {
        name: format!("{name} {} {letter} @{index}/{arity}", row.name),
        left: format!("(op@{index} {})", whole.join(" ")),
        right,
        guard: Guard::Whole { operands: arity, cuts },
    })
}

fn linear_rule(op: Op, index: usize, arity: usize) -> Option<Rule> {
    let row = op.row();
    let side = |partial: &dyn Fn(usize) -> String| {
        let operand = |input: usize| if row.linear.contains(&input) { partial(input) } else { format!("?a{input}") };
        format!("(op@{index} {})", (0..arity).map(operand).collect::<Vec<_>>().join(" "))
    };
    (!row.linear.is_empty()).then(|| Rule {
        name: format!("linear {} @{index}/{arity}", row.name),
        left: side(&|input| format!("(all-reduce ?a{input})")),
        right: format!("(all-reduce {})", side(&|input| format!("?a{input}"))),
        guard: Guard::Beside { whole: (0..arity).filter(|input| !row.linear.contains(input)).collect() },
    })
}

fn layout_rules(axis: u8) -> [Rule; 4] {
    let rule = |name: &str, left: &str, right: &str, guard| Rule {
        name: format!("{name} {axis}"),
        left: left.replace('A', &axis.to_string()),
        right: right.replace('A', &axis.to_string()),
        guard,
    };
    [
        rule("cancel", "(slice.A (all-gather.A ?p))", "?p", Guard::None),
        rule("scatter", "(slice.A (all-reduce ?p))", "(reduce-scatter.A ?p)", Guard::None),
        rule("reduce", "(all-reduce ?p)", "(all-gather.A (reduce-scatter.A ?p))", Guard::Cuttable { axis }),
        rule("collect", "(collect (all-gather.A ?p))", "(collect.A ?p)", Guard::None),
    ]
}

/// The families in the order of the table above, which is the order they are told apart in by a rule's first word.
pub(crate) const FAMILIES: [&str; 11] =
    ["split", "contract", "merge", "linear", "cancel", "scatter", "reduce", "collect", "fuse", "router", "dispatch"];

impl Rule {
    /// What kind of rule it is.
    #[must_use]
    pub fn family(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }

    /// When it may be applied, from left to right, in words.
    #[must_use]
    pub fn condition(&self) -> String {
        match &self.guard {
            Guard::None => "always".to_owned(),
            Guard::Whole { operands: 1, cuts } => format!("if ?a0 is whole and its axis {} can be cut", cuts[0].1),
            Guard::Whole { operands, cuts } => {
                let cuts: Vec<String> = cuts.iter().map(|(cut, axis)| format!("axis {axis} of ?a{cut}")).collect();
                format!("if ?a0 to ?a{} are whole and {} can be cut", operands - 1, cuts.join(" and "))
            }
            Guard::Beside { whole } if whole.is_empty() => "always".to_owned(),
            Guard::Beside { whole } => {
                let whole: Vec<String> = whole.iter().map(|operand| format!("?a{operand}")).collect();
                format!("if whole: {}", whole.join(", "))
            }
            Guard::Cuttable { axis } => format!("if axis {axis} of ?p can be cut"),
        }
    }

    /// The rule as egg runs it.
    pub(crate) fn rewrite(&self) -> Result<Rewrite<Term, Layouts>, String> {
        let parse = |side: &str| side.parse::<Pattern<Term>>().map_err(|error| format!("{}: {error}", self.name));
        let (left, right) = (parse(&self.left)?, parse(&self.right)?);
        let guard = self.guard.clone();
        let condition = move |egraph: &mut EGraph<Term, Layouts>, _: Id, found: &Subst| guard.holds(egraph, found);
        Rewrite::new(self.name.as_str(), left, ConditionalApplier { condition, applier: right })
    }
}

impl Guard {
    fn holds(&self, egraph: &EGraph<Term, Layouts>, found: &Subst) -> bool {
        let fact = |name: String| {
            let variable: Var = name.parse().ok()?;
            found.get(variable).and_then(|&id| egraph[id].data)
        };
        let template = &egraph.analysis.template;
        match *self {
            Self::None => true,
            Self::Beside { ref whole } => whole
                .iter()
                .all(|operand| fact(format!("?a{operand}")).is_some_and(|fact| fact.layout == Layout::Whole)),
            Self::Whole { operands, ref cuts } => {
                let whole = |operand| fact(format!("?a{operand}")).filter(|fact| fact.layout == Layout::Whole);
                let cuttable = |&(cut, axis)| whole(cut).is_some_and(|fact| template.cuttable(fact.tensor, axis));
                (0..operands).all(|operand| whole(operand).is_some()) && cuts.iter().all(cuttable)
            }
            Self::Cuttable { axis } => fact("?p".to_owned()).is_some_and(|fact| {
                usize::from(axis) < template.graph[fact.tensor].axes.len() && template.cuttable(fact.tensor, axis)
            }),
        }
    }
}
