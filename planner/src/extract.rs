//! The best form for a group as an integer program over the saturated choices of a layer class: the certificate of what
//! the walk through the trellis finds. Both phases are extracted at once, because they share weights and caches; a
//! shared value is paid once; selections are acyclic.
//!
//! Rows: the root is made; a way needs its operands; of a class at most one way is used; **mandatory** rows (every
//! operator of the template is applied in some layout) and **cut-set** rows (inside a strongly connected set S of
//! classes, whatever is made in S is made at first by a way without operands in S) keep the relaxation tight and the
//! answer acyclic without level variables.

use crate::joint::{Kernels, gathered};
use crate::paths::Selection;
use crate::price::Site;
use crate::saturate::{Choices, Way, WayAction};
use crate::solver;
use crate::table::PriceTable;
use crate::trellis::Made;
use good_lp::{Constraint, Expression, ProblemVariables, Solution, Variable, constraint, variable};
use petgraph::graph::{DiGraph, NodeIndex};
use sailplan_ir::{Bytes, Instruction, Picoseconds, Program, TensorId, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// What the extraction minimises and respects.
pub(crate) struct Goal {
    /// How often a phase counts.
    pub(crate) weights: [u64; 2],
    /// Largest weights + caches on each rank, when limited.
    pub(crate) limit: Option<Bytes>,
}

/// Largest strongly connected set whose subsets are all written as rows.
const MAX_CUT_SET: usize = 6;

/// The cheapest form and its value in microseconds, or `None` when the memory limit admits none. The rows are so tight
/// that the relaxation mostly ends at a whole solution, which then is the optimum; only otherwise branch and bound is
/// needed.
pub(crate) fn extract(
    choices: &Choices,
    site: &Site<'_>,
    tables: &[PriceTable; 2],
    goal: &Goal,
) -> Result<Option<(Selection, f64)>, String> {
    match solve(choices, site, tables, goal, Kind::Relaxed)? {
        Answer::Infeasible => Ok(None),
        Answer::Whole(selection, value) => Ok(Some((selection, value))),
        Answer::Fractional => match solve(choices, site, tables, goal, Kind::Integer)? {
            Answer::Whole(selection, value) => Ok(Some((selection, value))),
            Answer::Infeasible => Ok(None),
            Answer::Fractional => Err("the solver gave a fraction for an integer".into()),
        },
    }
}

/// Whether variables may take fractions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Relaxed,
    Integer,
}

impl Kind {
    fn add(self, variables: &mut ProblemVariables) -> Variable {
        match self {
            Self::Relaxed => variables.add(variable().min(0).max(1)),
            Self::Integer => variables.add(variable().binary()),
        }
    }
}

enum Answer {
    Infeasible,
    Fractional,
    Whole(Selection, f64),
}

fn solve(
    choices: &Choices,
    site: &Site<'_>,
    tables: &[PriceTable; 2],
    goal: &Goal,
    kind: Kind,
) -> Result<Answer, String> {
    let mut variables = ProblemVariables::new();
    let used: Vec<Ways> =
        tables.iter().map(|table| declare(&mut variables, table, choices.classes.len(), kind)).collect();
    let mut rows = Vec::new();
    for ways in &used {
        program_rows(choices, ways, &mut rows);
    }
    fused_rows(choices, &used, &mut rows);
    let kernels = Kernels::of(choices);
    let joint = joint_rows(&kernels, &used, tables, (&mut variables, kind), &mut rows);
    let held = resident_rows(choices, site, &used, goal, &mut variables, kind, &mut rows);
    let objective = objective(&used, tables, goal, &held) - saved(&kernels, &joint, tables, goal);
    let Some(solution) = solver::minimise(variables, objective.clone(), rows, 0.0)? else {
        return Ok(Answer::Infeasible);
    };
    let bundles = joint.iter().flatten().map(|(_, variable)| variable);
    let all = used.iter().flatten().flatten().flatten().chain(&held).chain(bundles);
    let whole = |variable: &Variable| {
        let value = solution.value(*variable);
        (value - value.round()).abs() < WHOLE
    };
    if !all.into_iter().all(whole) {
        return Ok(Answer::Fractional);
    }
    let selection = [0, 1].map(|phase| chosen(&used[phase], &solution));
    Ok(Answer::Whole(selection, solution.eval(&objective)))
}

/// The solver's integrality tolerance.
const WHOLE: f64 = 1e-6;

/// For each class and way, its variable when the group can do it.
type Ways = Vec<Vec<Option<Variable>>>;

fn declare(variables: &mut ProblemVariables, table: &PriceTable, classes: usize, kind: Kind) -> Ways {
    let mut one = |price: &Option<Picoseconds>| price.map(|_| kind.add(variables));
    (0..classes).map(|class| table.of(class).iter().map(&mut one).collect()).collect()
}

fn made(ways: &Ways, class: usize) -> Expression {
    ways[class].iter().flatten().map(|&variable| Expression::from(variable)).sum()
}

fn program_rows(choices: &Choices, used: &Ways, rows: &mut Vec<Constraint>) {
    rows.push(constraint!(made(used, choices.root) == 1));
    for (class, entry) in choices.classes.iter().enumerate() {
        if used[class].iter().flatten().count() > 1 {
            rows.push(constraint!(made(used, class) <= 1));
        }
        for (way, variable) in entry.ways.iter().zip(&used[class]) {
            let Some(variable) = variable else { continue };
            for &input in &way.inputs {
                rows.push(constraint!(*variable - made(used, input) <= 0));
            }
        }
    }
    mandatory_rows(choices, used, rows);
    cut_set_rows(choices, used, rows);
}

/// Every operator of the template is applied in at least one layout, by itself or inside a fused one.
fn mandatory_rows(choices: &Choices, used: &Ways, rows: &mut Vec<Constraint>) {
    let mut makers: BTreeMap<TensorId, Expression> = BTreeMap::new();
    for (class, entry) in choices.classes.iter().enumerate() {
        for (way, variable) in entry.ways.iter().zip(&used[class]) {
            if let (WayAction::Compute(node), Some(variable)) = (way.action, variable) {
                let inside = choices.template.graph.inside(node);
                for &tensor in inside.iter().chain([&entry.fact.tensor]) {
                    *makers.entry(tensor).or_default() += *variable;
                }
            }
        }
    }
    rows.extend(makers.into_values().map(|sum| constraint!(sum >= 1)));
}

/// A tensor is made by fused operators in both phases or in neither, and then by them alone, as in the trellis.
fn fused_rows(choices: &Choices, used: &[Ways], rows: &mut Vec<Constraint>) {
    let is_fused = |way: &Way| match way.action {
        WayAction::Compute(node) => Some(choices.template.graph.is_fused(node)),
        _ => None,
    };
    let tensors: BTreeSet<TensorId> = choices
        .classes
        .iter()
        .filter(|class| class.ways.iter().any(|way| is_fused(way) == Some(true)))
        .map(|class| class.fact.tensor)
        .collect();
    for tensor in tensors {
        let of_kind = |ways: &Ways, kind: bool| -> Vec<Variable> {
            let classes = choices.classes.iter().zip(ways).filter(|(class, _)| class.fact.tensor == tensor);
            let all = classes.flat_map(|(class, variables)| class.ways.iter().zip(variables));
            all.filter(|(way, _)| is_fused(way) == Some(kind)).filter_map(|(_, variable)| *variable).collect()
        };
        let sum = |ways: &Ways| -> Expression { of_kind(ways, true).into_iter().map(Expression::from).sum() };
        rows.push(constraint!(sum(&used[0]) - sum(&used[1]) == 0));
        for ways in used {
            rows.extend(of_kind(ways, false).into_iter().map(|apart| constraint!(sum(ways) + apart <= 1)));
        }
    }
}

/// Joint kernels in use, by phase: numbers of bundles with their variables.
type Joint = Vec<Vec<(usize, Variable)>>;

/// A product is in one joint kernel at most, whose products are all used. That it is in the largest need not be said: it
/// saves most.
fn joint_rows(
    kernels: &Kernels,
    used: &[Ways],
    tables: &[PriceTable; 2],
    (variables, kind): (&mut ProblemVariables, Kind),
    rows: &mut Vec<Constraint>,
) -> Joint {
    let mut joint = Joint::new();
    for (ways, table) in used.iter().zip(tables) {
        let possible = (0..kernels.bundles.len()).filter(|bundle| table.time(kernels.ways() + bundle).is_some());
        let here: Vec<(usize, Variable)> = possible.map(|bundle| (bundle, kind.add(variables))).collect();
        let mut of: BTreeMap<Made, Expression> = BTreeMap::new();
        for &(bundle, variable) in &here {
            kernels.bundles[bundle].ways.iter().for_each(|&made| *of.entry(made).or_default() += variable);
        }
        for ((class, way), sum) in of {
            rows.extend(ways[class][way].map(|used| constraint!(sum - used <= 0)));
        }
        joint.push(here);
    }
    joint
}

/// What joint kernels take less than their products one by one, in the units of the objective.
fn saved(kernels: &Kernels, joint: &Joint, tables: &[PriceTable; 2], goal: &Goal) -> Expression {
    let mut sum = Expression::default();
    for ((here, table), weight) in joint.iter().zip(tables).zip(goal.weights) {
        for &(bundle, variable) in here {
            let ways = &kernels.bundles[bundle].ways;
            let apart: Picoseconds = ways.iter().filter_map(|&made| table.at(made)).sum();
            let together = table.time(kernels.ways() + bundle).unwrap_or(apart);
            let micros = (apart - together).0 as f64 / 1e6;
            sum += (micros * weight as f64 + 1e-6 * (ways.len() - 1) as f64) * variable;
        }
    }
    sum
}

fn cut_set_rows(choices: &Choices, used: &Ways, rows: &mut Vec<Constraint>) {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<NodeIndex> = choices.classes.iter().map(|_| graph.add_node(())).collect();
    for (class, entry) in choices.classes.iter().enumerate() {
        for (way, variable) in entry.ways.iter().zip(&used[class]) {
            if variable.is_some() {
                way.inputs.iter().for_each(|&input| {
                    graph.update_edge(nodes[class], nodes[input], ());
                });
            }
        }
    }
    for component in petgraph::algo::tarjan_scc(&graph) {
        let mut members: Vec<usize> = component.iter().map(|node| node.index()).collect();
        members.sort_unstable();
        if members.len() > 1 {
            subsets(&members).into_iter().for_each(|set| cut_set(choices, used, &set, rows));
        }
    }
}

/// All subsets of two and more members; of a large set only the pairs and the whole.
fn subsets(members: &[usize]) -> Vec<Vec<usize>> {
    let all = |mask: usize| -> Vec<usize> {
        members.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, &member)| member).collect()
    };
    if members.len() <= MAX_CUT_SET {
        return (1..1usize << members.len()).filter(|mask| mask.count_ones() > 1).map(all).collect();
    }
    let pairs = members.iter().enumerate().flat_map(|(i, &a)| members[i + 1..].iter().map(move |&b| vec![a, b]));
    pairs.chain([members.to_vec()]).collect()
}

fn cut_set(choices: &Choices, used: &Ways, set: &[usize], rows: &mut Vec<Constraint>) {
    let mut entering = Expression::default();
    for &class in set {
        for (way, variable) in choices.classes[class].ways.iter().zip(&used[class]) {
            if let Some(variable) = variable
                && way.inputs.iter().all(|input| !set.contains(input))
            {
                entering += *variable;
            }
        }
    }
    rows.extend(set.iter().map(|&class| constraint!(made(used, class) - entering.clone() <= 0)));
}

/// One variable for each weight or cache in one layout: it is held when either phase reads it, and only one layout of
/// each is held, because both phases share it.
fn resident_rows(
    choices: &Choices,
    site: &Site<'_>,
    used: &[Ways],
    goal: &Goal,
    variables: &mut ProblemVariables,
    kind: Kind,
    rows: &mut Vec<Constraint>,
) -> Vec<Variable> {
    let mut held = Vec::new();
    let mut layouts: BTreeMap<TensorId, Expression> = BTreeMap::new();
    let mut bytes: Vec<Expression> = vec![Expression::default(); site.group.len()];
    for (class, entry) in choices.classes.iter().enumerate() {
        if !choices.is_resident(class) || used[0][class].iter().flatten().next().is_none() {
            continue;
        }
        let resident = kind.add(variables);
        held.push(resident);
        for ways in used {
            rows.push(constraint!(made(ways, class) - resident <= 0));
        }
        *layouts.entry(entry.fact.tensor).or_default() += resident;
        for (rank, sum) in bytes.iter_mut().enumerate() {
            *sum += megabytes(site.resident(choices, class, rank).total()) * resident;
        }
    }
    rows.extend(layouts.into_values().map(|held| constraint!(held <= 1)));
    if let Some(limit) = goal.limit {
        rows.extend(bytes.into_iter().map(|sum| constraint!(sum <= megabytes(limit))));
    }
    held
}

fn megabytes(bytes: Bytes) -> f64 {
    bytes.0 as f64 / 1e6
}

/// Microseconds; each instruction and each resident costs a picosecond more, so that ties go to the shorter program.
fn objective(used: &[Ways], tables: &[PriceTable; 2], goal: &Goal, held: &[Variable]) -> Expression {
    let mut sum = Expression::default();
    for (phase, ways) in used.iter().enumerate() {
        for (class, variables) in ways.iter().enumerate() {
            for (variable, time) in variables.iter().zip(tables[phase].of(class)) {
                if let (Some(variable), Some(time)) = (variable, time) {
                    let micros = time.0 as f64 / 1e6;
                    sum += (micros * goal.weights[phase] as f64 + 1e-6) * *variable;
                }
            }
        }
    }
    held.iter().for_each(|&resident| sum += 1e-6 * resident);
    sum
}

fn chosen(used: &Ways, solution: &impl Solution) -> Vec<Made> {
    let way = |ways: &Vec<Option<Variable>>| {
        ways.iter().position(|variable| variable.is_some_and(|variable| solution.value(variable) > 0.5))
    };
    used.iter().enumerate().filter_map(|(class, ways)| way(ways).map(|way| (class, way))).collect()
}

/// The chosen ways in an order in which operands come first: leaves by tensor, then depth first from the root. Weights
/// and caches have one way, which need not be among them.
pub(crate) fn linearise(choices: &Choices, ways: &[Made]) -> Result<(Program, Vec<Made>), String> {
    let mut chosen: Vec<Option<usize>> = vec![None; choices.classes.len()];
    for &(class, way) in ways {
        chosen[class] = Some(way);
        let inputs = choices.classes[class].ways[way].inputs.iter();
        inputs.filter(|&&input| choices.is_resident(input)).for_each(|&input| chosen[input] = Some(0));
    }
    let mut program = Program::default();
    let mut values: Vec<Option<ValueId>> = vec![None; choices.classes.len()];
    let mut made = Vec::new();
    for class in gathered(choices, &order(choices, &chosen)?, &chosen) {
        let entry = &choices.classes[class];
        let way = chosen[class].ok_or("an operand was left out")?;
        let inputs: Option<Vec<ValueId>> = entry.ways[way].inputs.iter().map(|&input| values[input]).collect();
        values[class] = Some(ValueId(program.instructions.len() as u32));
        program.instructions.push(Instruction {
            action: entry.ways[way].action.action(),
            inputs: inputs.ok_or("an operand was left out")?,
            tensor: entry.fact.tensor,
            layout: entry.fact.layout,
        });
        made.push((class, way));
    }
    let problems = sailplan_ir::check_layouts(&choices.template.graph, &program);
    if problems.0.is_empty() { Ok((program, made)) } else { Err(format!("the extracted form is wrong: {problems}")) }
}

/// Depth first; classes that nothing needs are left out. Operators that nothing reads (appends of state that this phase
/// does not attend to) do not occur: every state is read.
fn order(choices: &Choices, chosen: &[Option<usize>]) -> Result<Vec<usize>, String> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; choices.classes.len()];
    let mut order = Vec::new();
    let mut stack = vec![choices.root];
    while let Some(&class) = stack.last() {
        let way = chosen[class].ok_or("the solver left an operand out")?;
        match marks[class] {
            Mark::New => {
                marks[class] = Mark::Open;
                for &input in choices.classes[class].ways[way].inputs.iter().rev() {
                    match marks[input] {
                        Mark::New => stack.push(input),
                        Mark::Open => return Err("the solver chose a cycle".into()),
                        Mark::Done => {}
                    }
                }
            }
            Mark::Open => {
                marks[class] = Mark::Done;
                order.push(class);
                stack.pop();
            }
            Mark::Done => {
                stack.pop();
            }
        }
    }
    Ok(order)
}
