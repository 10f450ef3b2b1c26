//! The best form for a group: an integer program over the saturated choices of a layer class. Both phases are extracted
//! at once, because they share weights and caches; a shared value is paid once; selections are acyclic.
//!
//! Rows: the root is made; a way needs its operands; of a class at most one way is used; **mandatory** rows (every
//! operator of the template is applied in some layout) and **cut-set** rows (inside a strongly connected set S of
//! classes, whatever is made in S is made at first by a way without operands in S) keep the relaxation tight and the
//! answer acyclic without level variables.

use crate::price::{Priced, Site};
use crate::saturate::{Choices, WayAction};
use crate::solver;
use good_lp::{Constraint, Expression, ProblemVariables, Solution, Variable, constraint, variable};
use petgraph::graph::{DiGraph, NodeIndex};
use sailplan_cost_model::Phase;
use sailplan_ir::{Bytes, ClassId, Form, Instruction, MemoryUse, Program, Role, TensorId, ValueId};
use std::collections::BTreeMap;

/// Prices of all ways of all classes in one phase; `None` where the group cannot do it.
pub(crate) type PriceTable = Vec<Vec<Option<Priced>>>;

/// What the extraction minimises and respects.
pub(crate) struct Goal {
    /// How often a phase counts.
    pub(crate) weights: [f64; 2],
    /// Largest weights + caches on each rank, when limited.
    pub(crate) limit: Option<Bytes>,
    /// Only a form with a smaller value is of interest.
    pub(crate) beat: Option<f64>,
}

/// A form and what it costs on the group it was made for.
#[derive(Clone, Debug)]
pub(crate) struct Extracted {
    pub(crate) form: Form,
    pub(crate) prefill: Vec<Priced>,
    pub(crate) decode: Vec<Priced>,
    pub(crate) residents: Vec<MemoryUse>,
    /// The value that was minimised: weighted microseconds.
    pub(crate) value: f64,
}

pub(crate) const PHASES: [Phase; 2] = [Phase::Prefill, Phase::Decode];

/// Largest strongly connected set whose subsets are all written as rows.
const MAX_CUT_SET: usize = 6;

/// The prices of a group, with what it cannot do left out.
pub(crate) fn price_table(choices: &Choices, site: &Site<'_>, phase: Phase) -> PriceTable {
    let legal: Vec<bool> = (0..choices.classes.len()).map(|class| site.legal(choices, class)).collect();
    let priced = |class: usize, way: &crate::saturate::Way| {
        let possible = legal[class] && way.inputs.iter().all(|&input| legal[input]);
        possible.then(|| site.price(choices, class, way, phase))
    };
    (0..choices.classes.len())
        .map(|class| choices.classes[class].ways.iter().map(|way| priced(class, way)).collect())
        .collect()
}

/// The cheapest form, or `None` when the memory limit admits none. The rows are so tight that the relaxation mostly ends
/// at a whole solution, which then is the optimum; only otherwise branch and bound is needed.
pub(crate) fn extract(
    choices: &Choices,
    class: ClassId,
    site: &Site<'_>,
    tables: &[PriceTable; 2],
    goal: &Goal,
) -> Result<Option<Extracted>, String> {
    let beaten = |value: f64| goal.beat.is_some_and(|known| value >= known);
    let (selection, value) = match solve(choices, site, tables, goal, Kind::Relaxed)? {
        Answer::Infeasible => return Ok(None),
        Answer::Whole(_, value) | Answer::Fractional(value) if beaten(value) => return Ok(None),
        Answer::Whole(selection, value) => (selection, value),
        Answer::Fractional(_) => match solve(choices, site, tables, goal, Kind::Integer)? {
            Answer::Whole(selection, value) => (selection, value),
            Answer::Infeasible => return Ok(None),
            Answer::Fractional(_) => return Err("the solver gave a fraction for an integer".into()),
        },
    };
    let [prefill, decode] = selection;
    let (prefill, prefill_prices) = linearise(choices, &prefill, &tables[0])?;
    let (decode, decode_prices) = linearise(choices, &decode, &tables[1])?;
    let form = Form { class, prefill, decode };
    let residents = (0..site.group.len()).map(|rank| held_by(choices, site, &form, rank)).collect();
    Ok(Some(Extracted { form, prefill: prefill_prices, decode: decode_prices, residents, value }))
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

/// For each phase and class, the way that was chosen.
type Selection = [Vec<Option<usize>>; 2];

/// Values are what was minimised; a fractional one is a bound.
enum Answer {
    Infeasible,
    Fractional(f64),
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
    let used: Vec<Ways> = tables.iter().map(|table| declare(&mut variables, table, kind)).collect();
    let mut rows = Vec::new();
    for ways in &used {
        program_rows(choices, ways, &mut rows);
    }
    let held = resident_rows(choices, site, &used, goal, &mut variables, kind, &mut rows);
    let objective = objective(&used, tables, goal, &held);
    let Some(solution) = solver::minimise(variables, objective.clone(), rows)? else { return Ok(Answer::Infeasible) };
    let all = used.iter().flatten().flatten().flatten().chain(&held);
    let whole = |variable: &Variable| {
        let value = solution.value(*variable);
        (value - value.round()).abs() < WHOLE
    };
    if !all.into_iter().all(whole) {
        return Ok(Answer::Fractional(solution.eval(&objective)));
    }
    let selection = [0, 1].map(|phase| decode_selection(choices, &used[phase], &solution));
    Ok(Answer::Whole(selection, solution.eval(&objective)))
}

/// The solver's integrality tolerance.
const WHOLE: f64 = 1e-6;

/// For each class and way, its variable when the group can do it.
type Ways = Vec<Vec<Option<Variable>>>;

fn declare(variables: &mut ProblemVariables, table: &PriceTable, kind: Kind) -> Ways {
    let mut one = |price: &Option<Priced>| price.map(|_| kind.add(variables));
    table.iter().map(|ways| ways.iter().map(&mut one).collect()).collect()
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

/// Every operator of the template is applied in at least one layout.
fn mandatory_rows(choices: &Choices, used: &Ways, rows: &mut Vec<Constraint>) {
    let mut makers: BTreeMap<TensorId, Expression> = BTreeMap::new();
    for (class, entry) in choices.classes.iter().enumerate() {
        for (way, variable) in entry.ways.iter().zip(&used[class]) {
            if let (WayAction::Compute(_), Some(variable)) = (way.action, variable) {
                *makers.entry(entry.fact.tensor).or_default() += *variable;
            }
        }
    }
    rows.extend(makers.into_values().map(|sum| constraint!(sum >= 1)));
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
        let role = choices.template.graph[entry.fact.tensor].role;
        if !matches!(role, Role::Weight | Role::Cache) || used[0][class].iter().flatten().next().is_none() {
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
        for (variables, prices) in ways.iter().zip(&tables[phase]) {
            for (variable, priced) in variables.iter().zip(prices) {
                if let (Some(variable), Some(priced)) = (variable, priced) {
                    let micros = priced.price.time.0 as f64 / 1e6;
                    sum += (micros * goal.weights[phase] + 1e-6) * *variable;
                }
            }
        }
    }
    held.iter().for_each(|&resident| sum += 1e-6 * resident);
    sum
}

/// For each class, the way that was chosen.
fn decode_selection(choices: &Choices, used: &Ways, solution: &impl Solution) -> Vec<Option<usize>> {
    let chosen = |class: usize| {
        used[class].iter().position(|variable| variable.is_some_and(|variable| solution.value(variable) > 0.5))
    };
    (0..choices.classes.len()).map(chosen).collect()
}

/// The chosen ways in an order in which operands come first: leaves by tensor, then depth first from the root.
fn linearise(
    choices: &Choices,
    chosen: &[Option<usize>],
    table: &PriceTable,
) -> Result<(Program, Vec<Priced>), String> {
    let mut program = Program::default();
    let mut prices = Vec::new();
    let mut values: Vec<Option<ValueId>> = vec![None; choices.classes.len()];
    let order = order(choices, chosen)?;
    for class in order {
        let entry = &choices.classes[class];
        let way = chosen[class].ok_or("the solver left an operand out")?;
        let inputs: Option<Vec<ValueId>> = entry.ways[way].inputs.iter().map(|&input| values[input]).collect();
        values[class] = Some(ValueId(program.instructions.len() as u32));
        program.instructions.push(Instruction {
            action: entry.ways[way].action.action(),
            inputs: inputs.ok_or("the solver left an operand out")?,
            tensor: entry.fact.tensor,
            layout: entry.fact.layout,
        });
        prices.push(table[class][way].ok_or("the solver chose what the group cannot do")?);
    }
    let problems = sailplan_ir::check_layouts(&choices.template.graph, &program);
    if problems.0.is_empty() { Ok((program, prices)) } else { Err(format!("the extracted form is wrong: {problems}")) }
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

fn held_by(choices: &Choices, site: &Site<'_>, form: &Form, rank: usize) -> MemoryUse {
    let classes = choices.classes.iter().enumerate();
    let residents = form.residents();
    classes
        .filter(|(_, entry)| residents.contains(&(entry.fact.tensor, entry.fact.layout)))
        .map(|(class, _)| site.resident(choices, class, rank))
        .fold(MemoryUse::default(), |sum, one| sum + one)
}
