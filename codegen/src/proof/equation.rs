//! The equations that a proof may use on one layer class, made from the operator table. The planner has a table of its own; a
//! test compares the two.

use sailplan_ir::{Graph, Op, Operand, Row};
use std::collections::BTreeSet;
use std::fmt;

/// An equation between two terms, with the condition under which it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Equation {
    /// Kind, operator and letter, or kind and axis.
    pub(super) name: String,
    /// One side; every variable of the other stands in it.
    pub(super) left: Pattern,
    /// The other.
    pub(super) right: Pattern,
    /// When it holds.
    pub(super) condition: Condition,
}

/// A term with variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pattern {
    /// Any term, the same wherever the variable stands.
    Variable(Variable),
    /// A term with this head.
    Term(Key, Vec<Self>),
}

/// A variable of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Variable {
    /// An operand of the operator at hand.
    Operand(usize),
    /// The one operand of a collective.
    Only,
}

/// A head of a pattern: as `ir::Head`, without names and leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    /// An operator by its place among the class's distinct ones.
    Op(u16),
    /// Slice along an axis.
    Slice(u8),
    /// All-gather along an axis.
    AllGather(u8),
    /// All-reduce.
    AllReduce,
    /// Reduce-scatter along an axis.
    ReduceScatter(u8),
    /// Rows to their experts.
    Dispatch,
    /// And back.
    Combine,
    /// Merge-scatter along an axis.
    MergeScatter(u8),
    /// Collect, from one rank or along an axis.
    Collect(Option<u8>),
}

/// What must be so for an equation to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Condition {
    /// Operands that are whole.
    pub(super) whole: Vec<usize>,
    /// Variables whose axes can be cut.
    pub(super) cuts: Vec<(Variable, u8)>,
}

/// The distinct operators of a class, in order of first use, fused ones last.
pub(super) fn operators(graph: &Graph) -> Vec<Op> {
    let mut known: Vec<Op> = Vec::new();
    graph.applications().for_each(|node| {
        if !known.contains(&node.op) {
            known.push(node.op);
        }
    });
    known
}

/// All equations for one class.
pub(super) fn equations(graph: &Graph) -> Vec<Equation> {
    let mut all = Vec::new();
    let ops = operators(graph);
    for (index, &op) in ops.iter().enumerate() {
        let uses = graph.applications().filter(|node| node.op == op);
        let arities: BTreeSet<usize> = uses.map(|node| node.inputs.len()).collect();
        for arity in arities {
            let applied = Applied { row: op.row(), index: index as u16, arity };
            all.extend(op.row().split.chars().filter_map(|letter| applied.split(letter)));
            all.extend(op.row().contract.chars().filter_map(|letter| applied.contract(letter)));
            all.extend(op.row().merge.and_then(|(letter, each)| applied.merge(letter, each)));
            all.extend(applied.linear());
        }
    }
    let axes = graph.tensors.iter().map(|tensor| tensor.axes.len()).max().unwrap_or(0);
    all.extend((0..axes as u8).flat_map(of_axis));
    all.extend(ops.iter().filter_map(|&op| fused(&ops, op)));
    all.extend((0..ops.len()).filter_map(|place| router(&ops, place)));
    all.extend((0..ops.len()).filter_map(|place| sent(&ops, place)));
    all
}

/// The equations as text: name, left side, right side, condition.
#[must_use]
pub fn equation_table(template: &Graph) -> Vec<[String; 4]> {
    let text = |equation: Equation| {
        let Equation { name, left, right, condition } = equation;
        [name, left.to_string(), right.to_string(), condition.to_string()]
    };
    equations(template).into_iter().map(text).collect()
}

/// An operator with so many operands.
struct Applied {
    row: Row,
    index: u16,
    arity: usize,
}

impl Applied {
    fn term(&self, operand: impl Fn(usize) -> Pattern) -> Pattern {
        Pattern::Term(Key::Op(self.index), (0..self.arity).map(operand).collect())
    }

    fn named(&self, kind: &str, letter: Option<char>) -> String {
        let letter = letter.map_or_else(String::new, |letter| format!(" {letter}"));
        format!("{kind} {}{letter} @{}/{}", self.row.name, self.index, self.arity)
    }

    /// The axis of an operand that is cut with a letter.
    fn axis(&self, operand: usize, letter: char) -> Option<u8> {
        self.row.cut_axis(Operand::Input(operand), letter).map(|axis| axis as u8)
    }

    /// The operator on slices of all operands that have the letter; the condition on the whole ones.
    fn sliced(&self, letter: char) -> Option<(Pattern, Condition)> {
        let cuts = vec![self.cut(letter)?];
        let operand = |place: usize| match self.axis(place, letter) {
            Some(axis) => Pattern::of(Key::Slice(axis), Pattern::operand(place)),
            None => Pattern::operand(place),
        };
        Some((self.term(operand), Condition { whole: (0..self.arity).collect(), cuts }))
    }

    /// The first operand with a letter, and the axis.
    fn cut(&self, letter: char) -> Option<(Variable, u8)> {
        (0..self.arity).find_map(|place| Some((Variable::Operand(place), self.axis(place, letter)?)))
    }

    fn split(&self, letter: char) -> Option<Equation> {
        let (sliced, condition) = self.sliced(letter)?;
        let axis = self.row.cut_axis(Operand::Output, letter)? as u8;
        let right = Pattern::of(Key::AllGather(axis), sliced);
        let name = self.named("split", Some(letter));
        Some(Equation { name, left: self.term(Pattern::operand), right, condition })
    }

    fn contract(&self, letter: char) -> Option<Equation> {
        let (sliced, condition) = self.sliced(letter)?;
        let name = self.named("contract", Some(letter));
        let right = Pattern::of(Key::AllReduce, sliced);
        Some(Equation { name, left: self.term(Pattern::operand), right, condition })
    }

    fn merge(&self, letter: char, each: char) -> Option<Equation> {
        let (sliced, mut condition) = self.sliced(letter)?;
        condition.cuts.push(self.cut(each)?);
        let axis = self.row.cut_axis(Operand::Output, each)? as u8;
        let right = Pattern::of(Key::AllGather(axis), Pattern::of(Key::MergeScatter(axis), sliced));
        let name = self.named("merge", Some(letter));
        Some(Equation { name, left: self.term(Pattern::operand), right, condition })
    }

    fn linear(&self) -> Option<Equation> {
        let in_sum = |place: usize| self.row.linear.contains(&place);
        let summed = |place: usize| match in_sum(place) {
            true => Pattern::of(Key::AllReduce, Pattern::operand(place)),
            false => Pattern::operand(place),
        };
        let whole: Vec<usize> = (0..self.arity).filter(|&place| !in_sum(place)).collect();
        (!self.row.linear.is_empty()).then(|| Equation {
            name: self.named("linear", None),
            left: self.term(summed),
            right: Pattern::of(Key::AllReduce, self.term(Pattern::operand)),
            condition: Condition { whole, cuts: Vec::new() },
        })
    }
}

/// One operator for two products of one operand and what is done to them.
fn fused(ops: &[Op], op: Op) -> Option<Equation> {
    let key = |op: Op| ops.iter().position(|known| *known == op).map(|place| Key::Op(place as u16));
    let (whole, outer, product) = (key(op)?, key(op.on_products()?)?, key(Op::Linear)?);
    let made = |weight| Pattern::Term(product, vec![Pattern::operand(0), Pattern::operand(weight)]);
    Some(Equation {
        name: format!("fuse {} @{}/3", op.row().name, ops.iter().position(|known| *known == op)?),
        left: Pattern::Term(outer, vec![made(1), made(2)]),
        right: Pattern::Term(whole, (0..3).map(Pattern::operand).collect()),
        condition: Condition::default(),
    })
}

/// A router may read logits that each rank made of its rows.
fn router(ops: &[Op], place: usize) -> Option<Equation> {
    let (Op::Route { .. }, product) = (ops[place], ops.iter().position(|known| *known == Op::Linear)?) else {
        return None;
    };
    let routed = |logits| Pattern::of(Key::Op(place as u16), logits);
    let logits = |x| Pattern::Term(Key::Op(product as u16), vec![x, Pattern::operand(1)]);
    let own = Pattern::of(Key::Slice(0), Pattern::operand(0));
    Some(Equation {
        name: format!("router route @{place}/1"),
        left: routed(logits(Pattern::operand(0))),
        right: routed(Pattern::of(Key::AllGather(0), logits(own))),
        condition: Condition { whole: vec![0, 1], cuts: vec![(Variable::Operand(0), 0)] },
    })
}

/// Rows that only go to the ranks with an expert that they take, and come back from there: other ranks add zeros to them.
fn sent(ops: &[Op], place: usize) -> Option<Equation> {
    let Op::Experts { .. } = ops[place] else { return None };
    let made = |x| {
        let gates = Pattern::of(Key::Slice(1), Pattern::operand(1));
        let stacks = (2..5).map(|stack| Pattern::of(Key::Slice(0), Pattern::operand(stack)));
        Pattern::Term(Key::Op(place as u16), [x, gates].into_iter().chain(stacks).collect())
    };
    let by_gates = |key, of| Pattern::Term(key, vec![of, Pattern::operand(1)]);
    let everywhere = Pattern::of(Key::AllGather(0), Pattern::operand(0));
    Some(Equation {
        name: format!("dispatch experts @{place}/5"),
        left: Pattern::of(Key::ReduceScatter(0), made(everywhere)),
        right: by_gates(Key::Combine, made(by_gates(Key::Dispatch, Pattern::operand(0)))),
        condition: Condition::default(),
    })
}

/// What slices and collectives along one axis are to each other.
fn of_axis(axis: u8) -> [Equation; 4] {
    let any = || Pattern::Variable(Variable::Only);
    let cut = Condition { whole: Vec::new(), cuts: vec![(Variable::Only, axis)] };
    let equation =
        |kind: &str, left, right, condition| Equation { name: format!("{kind} {axis}"), left, right, condition };
    let (slice, gather, scatter) = (Key::Slice(axis), Key::AllGather(axis), Key::ReduceScatter(axis));
    let reduced = || Pattern::of(Key::AllReduce, any());
    let gathered = |inner| Pattern::of(gather, inner);
    let (collect, part) = (Key::Collect(None), Key::Collect(Some(axis)));
    [
        equation("cancel", Pattern::of(slice, gathered(any())), any(), Condition::default()),
        equation("scatter", Pattern::of(slice, reduced()), Pattern::of(scatter, any()), Condition::default()),
        equation("reduce", reduced(), gathered(Pattern::of(scatter, any())), cut),
        equation("collect", Pattern::of(collect, gathered(any())), Pattern::of(part, any()), Condition::default()),
    ]
}

impl Pattern {
    fn of(key: Key, inner: Self) -> Self {
        Self::Term(key, vec![inner])
    }

    fn operand(place: usize) -> Self {
        Self::Variable(Variable::Operand(place))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operand(place) => write!(f, "?a{place}"),
            Self::Only => f.write_str("?p"),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(index) => write!(f, "op@{index}"),
            Self::Slice(axis) => write!(f, "slice.{axis}"),
            Self::AllGather(axis) => write!(f, "all-gather.{axis}"),
            Self::AllReduce => f.write_str("all-reduce"),
            Self::ReduceScatter(axis) => write!(f, "reduce-scatter.{axis}"),
            Self::Dispatch => f.write_str("dispatch"),
            Self::Combine => f.write_str("combine"),
            Self::MergeScatter(axis) => write!(f, "merge-scatter.{axis}"),
            Self::Collect(None) => f.write_str("collect"),
            Self::Collect(Some(axis)) => write!(f, "collect.{axis}"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(variable) => variable.fmt(f),
            Self::Term(key, operands) => {
                write!(f, "({key}")?;
                operands.iter().try_for_each(|operand| write!(f, " {operand}"))?;
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole: Vec<String> = self.whole.iter().map(|place| Variable::Operand(*place).to_string()).collect();
        let cuts: Vec<String> = self.cuts.iter().map(|(variable, axis)| format!("axis {axis} of {variable}")).collect();
        let cuts = cuts.join(" and ");
        match (whole.as_slice(), self.cuts.as_slice()) {
            ([], []) => f.write_str("always"),
            ([], _) => write!(f, "if {cuts} can be cut"),
            (_, []) => write!(f, "if whole: {}", whole.join(", ")),
            ([one], [(_, axis), ..]) => write!(f, "if {one} is whole and its axis {axis} can be cut"),
            ([first, .., last], _) => write!(f, "if {first} to {last} are whole and {cuts} can be cut"),
        }
    }
}
