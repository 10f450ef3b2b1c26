//! Placement as an integer program over the same space as the engine, with mixes of points inside a stage: the
//! certificate. Groups form a path along the link order; each run of equal segments is dealt to groups; segments keep
//! their order; memory is a row per card.

use crate::dynamic::Cut;
use crate::front::Point;
use crate::pace::{Pace, Toll};
use crate::solver;
use crate::space::{Interval, Space};
use crate::stage::Counts;
use good_lp::{Constraint, Expression, ProblemVariables, Solution, Variable, constraint, variable};
use sailplan_ir::{Bytes, Picoseconds, SailId};
use std::ops::Range;

/// Above this many columns the program is only solved on demand.
const SMALL: usize = 1500;

/// The same where layers may be streamed: what fills the last byte of every card takes the solver much longer.
const SMALL_STREAMED: usize = 500;

/// The same where stages work side by side: what holds for the slowest says little about the others.
const SMALL_PACED: usize = 150;

/// Whether the program is solved without being asked for.
pub(crate) fn small(space: &Space<'_>) -> bool {
    !(space.pruned && space.relaxed) && columns(space) <= most(space)
}

/// Whether the program of so many groups would not be solved unasked, with the fastest points alone, or with as many as is common
/// where memory binds.
pub(crate) fn large(space: &Space<'_>, groups: usize) -> bool {
    let runs = runs(space).len();
    let points = if space.relaxed { 1 } else { 8 };
    groups * (runs * points + 2) + (space.cards + 1) * runs > most(space)
}

/// Columns of the largest program that is solved unasked.
fn most(space: &Space<'_>) -> usize {
    match (space.pace(), space.stream && !space.relaxed) {
        (Pace::Sum, false) => SMALL,
        (Pace::Sum, true) => SMALL_STREAMED,
        (Pace::Overlap { .. } | Pace::Period, _) => SMALL_PACED,
    }
}

/// Consecutive segments of one class.
struct Run {
    class: usize,
    segments: Range<usize>,
}

/// Columns and rows, and the stages of the optimum with their mixes; `None` when nothing fits.
pub(crate) struct Solved {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) stages: Option<Vec<(Cut, Counts)>>,
}

/// Variables of one group.
struct GroupVariables {
    group: Interval,
    /// 1 when the group is a stage.
    used: Variable,
    /// 1 when it is the first stage.
    first: Variable,
    /// For each run, for each point, how many segments.
    dealt: Vec<Vec<Variable>>,
    /// For each run and point, 1 when any of it is here; only where memory matters.
    present: Vec<Vec<Variable>>,
}

struct Builder<'a> {
    space: &'a Space<'a>,
    runs: Vec<Run>,
    variables: ProblemVariables,
    columns: usize,
    rows: Vec<Constraint>,
    objective: Expression,
    /// By card, the load of the stage that ends there, where loads count.
    loads: Vec<Expression>,
    /// Picoseconds of one unit of time in the program.
    unit: f64,
}

/// The unit of time: a microsecond; where the largest load is looked for, a thousandth of the slowest segment, because rows
/// that bound one variable by sums from microseconds to minutes made the solver call the second best the best.
fn unit(space: &Space<'_>) -> f64 {
    if space.pace() == Pace::Sum {
        return 1e6;
    }
    let groups = space.groups();
    let fastest = |group: &Interval| -> Vec<Picoseconds> {
        let classes = (0..space.repertoires.len()).filter(|&class| !space.front(group)[class].is_empty());
        classes.map(|class| space.toll_at(group, class, 0).load).collect()
    };
    let slowest = groups.iter().flat_map(fastest).max().unwrap_or_default();
    (slowest.0 as f64 / 1e3).max(1.0)
}

/// Number of columns the program would have.
fn columns(space: &Space<'_>) -> usize {
    let runs = runs(space);
    let points = |group: &Interval| -> usize {
        let front = space.front(group);
        let each = if space.relaxed { 1 } else { 2 };
        runs.iter().map(|run| front[run.class].len() * each).sum::<usize>() + 2
    };
    space.groups().iter().map(points).sum::<usize>() + (space.cards + 1) * runs.len()
}

/// Solves it.
pub(crate) fn solve(space: &Space<'_>) -> Result<Solved, String> {
    if space.groups().is_empty() {
        return Ok(Solved { columns: 0, rows: 0, stages: None });
    }
    let mut builder = Builder::new(space, runs(space));
    let groups: Vec<GroupVariables> = space.groups().into_iter().map(|group| builder.group(group)).collect();
    builder.path(&groups);
    builder.limits(&groups);
    builder.deal(&groups);
    builder.order(&groups);
    builder.slowest();
    if !space.relaxed {
        groups.iter().for_each(|group| builder.memory(group));
    }
    let Builder { runs, variables, columns, rows, objective, .. } = builder;
    let count = rows.len();
    let solution = solver::minimise(variables, objective, rows, 0.0)?;
    let stages = solution.map(|solution| decode(space, &runs, &groups, &solution)).transpose()?;
    Ok(Solved { columns, rows: count, stages })
}

/// The cheapest points for so many segments of each class on one group, where a mix takes less than this; activations and
/// staging are those of the points in use.
pub(crate) fn mix(
    space: &Space<'_>,
    group: &Interval,
    wanted: &[u64],
    below: Picoseconds,
) -> Result<Option<Counts>, String> {
    let first = |class: usize| space.model.segments.iter().position(|segment| segment.class.index() == class);
    let run = |(class, &count): (usize, &u64)| {
        let start = first(class)?;
        (count > 0).then(|| Run { class, segments: start..start + count as usize })
    };
    let mut builder = Builder::new(space, wanted.iter().enumerate().filter_map(run).collect());
    let made = builder.group(group.clone());
    for (run, columns) in builder.runs.iter().zip(&made.dealt) {
        let here: Expression = columns.iter().copied().sum();
        builder.rows.push(constraint!(here == run.segments.len() as f64));
    }
    builder.memory(&made);
    let Builder { runs, variables, mut rows, objective, unit, .. } = builder;
    rows.extend(solver::within(&objective, below.0 as f64 / unit));
    let Some(solution) = solver::minimise(variables, objective, rows, space.mixing.gap())? else { return Ok(None) };
    let mut counts: Counts = space.front(group).iter().map(|points| vec![0; points.len()]).collect();
    for (run, columns) in runs.iter().zip(&made.dealt) {
        for (count, &column) in counts[run.class].iter_mut().zip(columns) {
            *count = solution.value(column).round() as u64;
        }
    }
    Ok(Some(counts))
}

fn runs(space: &Space<'_>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, segment) in space.model.segments.iter().enumerate() {
        match runs.last_mut() {
            // The first segment is a run of its own: it tells which group is first.
            Some(run) if index > 1 && run.class == segment.class.index() && alike(space, index) => {
                run.segments.end += 1;
            }
            _ => runs.push(Run { class: segment.class.index(), segments: index..index + 1 }),
        }
    }
    runs
}

/// Whether a segment may run where the one before it may.
fn alike(space: &Space<'_>, segment: usize) -> bool {
    space.limits.is_none_or(|limits| limits.alike(segment - 1, segment))
}

fn megabytes(bytes: Bytes) -> f64 {
    bytes.0 as f64 / 1e6
}

impl<'a> Builder<'a> {
    fn new(space: &'a Space<'a>, runs: Vec<Run>) -> Self {
        Self {
            space,
            runs,
            variables: ProblemVariables::new(),
            columns: 0,
            rows: Vec::new(),
            objective: Expression::default(),
            loads: vec![Expression::default(); space.cards],
            unit: unit(space),
        }
    }

    fn binary(&mut self) -> Variable {
        self.columns += 1;
        self.variables.add(variable().binary())
    }

    fn binaries(&mut self, count: usize) -> Vec<Variable> {
        (0..count).map(|_| self.binary()).collect()
    }

    fn group(&mut self, group: Interval) -> GroupVariables {
        let (used, first) = (self.binary(), self.binary());
        let front = self.space.front(&group);
        let allowed = self.space.allowed(&group);
        let mut dealt = Vec::new();
        for index in 0..self.runs.len() {
            let run = &self.runs[index];
            let most = if allowed[run.segments.start] { run.segments.len() as f64 } else { 0.0 };
            let mut columns = Vec::new();
            for point in 0..front[run.class].len() {
                self.columns += 1;
                let column = self.variables.add(variable().integer().min(0).max(most));
                let toll = self.space.toll_at(&group, self.runs[index].class, point);
                self.count(toll, group.end, column.into());
                columns.push(column);
            }
            dealt.push(columns);
        }
        let present = if self.space.relaxed {
            Vec::new()
        } else {
            dealt.iter().map(|points| self.binaries(points.len())).collect()
        };
        let spread = self.space.toll_of(&self.space.broadcast(&group));
        self.count(spread, group.end, used - first);
        self.rows.push(constraint!(first - used <= 0));
        GroupVariables { group, used, first, dealt, present }
    }

    /// Used groups form one path: one is first, one is last, and each other one follows a group that ends at or before
    /// its start, with the message between them.
    fn path(&mut self, groups: &[GroupVariables]) {
        let cards = self.space.cards;
        let sum = |select: &dyn Fn(&GroupVariables) -> Option<Expression>| -> Expression {
            groups.iter().filter_map(select).sum()
        };
        self.rows.push(constraint!(sum(&|group| Some(group.first.into())) == 1));
        let mut arriving: Vec<Expression> = vec![Expression::default(); cards + 1];
        let mut leaving: Vec<Expression> = vec![Expression::default(); cards + 1];
        let space = self.space;
        let hops = (1..=cards).flat_map(|end| (end..cards).map(move |start| (end, start)));
        let hops = hops.filter(|&(end, start)| !space.alike || start == end);
        for (end, start) in hops.filter(|&(end, start)| space.joined(end - 1, start)) {
            self.columns += 1;
            let link = self.variables.add(variable().min(0).max(1));
            let hop = self.space.message(SailId(end as u16 - 1), SailId(start as u16));
            self.count(self.space.toll_of(&hop), end, link.into());
            arriving[start] += link;
            leaving[end] += link;
        }
        let mut last = Expression::default();
        for position in 0..=cards {
            let starting = sum(&|group| (group.group.start == position).then(|| group.used - group.first));
            self.rows.push(constraint!(starting - arriving[position].clone() == 0));
            let ending = sum(&|group| (group.group.end == position).then(|| group.used.into()));
            if position > 0 {
                self.columns += 1;
                let stop = self.variables.add(variable().min(0).max(1));
                last += stop;
                self.rows.push(constraint!(ending - leaving[position].clone() - stop == 0));
            }
        }
        self.rows.push(constraint!(last == 1));
    }

    /// Adds a toll, so many times, to the stage that ends before a card.
    fn count(&mut self, toll: Toll, end: usize, times: Expression) {
        let [cost, load] = [toll.cost, toll.load].map(|time| time.0 as f64 / self.unit);
        match self.space.pace() {
            Pace::Sum => self.objective += cost * times,
            Pace::Overlap { .. } => {
                self.loads[end - 1] += load * times.clone();
                self.objective += cost * times;
            }
            Pace::Period => self.loads[end - 1] += load * times,
        }
    }

    /// The largest load, as often as it counts. At most one stage ends on a card, so its load is a sum.
    fn slowest(&mut self) {
        let times = match self.space.pace() {
            Pace::Sum => return,
            Pace::Overlap { further } => further as f64,
            Pace::Period => 1.0,
        };
        self.columns += 1;
        let slowest = self.variables.add(variable().min(0));
        let rows = std::mem::take(&mut self.loads).into_iter().map(|load| constraint!(load - slowest <= 0));
        self.rows.extend(rows);
        self.objective += times * slowest;
    }

    /// Numbers of stages and of cards that are allowed.
    fn limits(&mut self, groups: &[GroupVariables]) {
        let space = self.space;
        let (least, most) = space.limits.map_or((0, usize::MAX), |limits| limits.stages.clone().into_inner());
        let (most, sails) = (most.min(space.stages), space.limits.map_or(usize::MAX, |limits| limits.sails));
        let stages = || -> Expression { groups.iter().map(|group| Expression::from(group.used)).sum() };
        if most < space.cards {
            self.rows.push(constraint!(stages() <= most as f64));
        }
        if least > 1 {
            self.rows.push(constraint!(stages() >= least as f64));
        }
        // A group without segments is no stage. Where costs are summed it only costs time, so that no row need forbid it;
        // where they are not, it would carry a part of a message for nothing.
        if least > 1 || space.pace() != Pace::Sum {
            for group in groups {
                let here: Expression = group.dealt.iter().flatten().copied().sum();
                self.rows.push(constraint!(group.used - here <= 0));
            }
        }
        if sails < space.cards {
            let cards: Expression = groups.iter().map(|group| group.group.len() as f64 * group.used).sum();
            self.rows.push(constraint!(cards <= sails as f64));
        }
    }

    /// Every segment is on one group, and only on groups that are used.
    fn deal(&mut self, groups: &[GroupVariables]) {
        for (index, run) in self.runs.iter().enumerate() {
            let most = run.segments.len() as f64;
            let here = |group: &GroupVariables| -> Expression { group.dealt[index].iter().copied().sum() };
            let everywhere: Expression = groups.iter().map(here).sum();
            self.rows.push(constraint!(everywhere == most));
            for group in groups {
                self.rows.push(constraint!(here(group) - most * group.used <= 0));
            }
        }
        for group in groups {
            let first: Expression = group.dealt[0].iter().copied().sum();
            self.rows.push(constraint!(first - group.first == 0));
        }
    }

    /// `done[i][r]`: run r is complete on groups that start before card i. A group may not hold a run that is complete
    /// before it, nor a run whose predecessor is incomplete at its end.
    fn order(&mut self, groups: &[GroupVariables]) {
        let runs = self.runs.len();
        let done: Vec<Vec<Variable>> =
            (0..=self.space.cards).map(|_| (0..runs).map(|_| self.binary()).collect()).collect();
        for pair in done.windows(2) {
            for (&earlier, &later) in pair[0].iter().zip(&pair[1]) {
                self.rows.push(constraint!(earlier - later <= 0));
            }
        }
        for group in groups {
            for (index, run) in self.runs.iter().enumerate() {
                let most = run.segments.len() as f64;
                let here: Expression = group.dealt[index].iter().copied().sum();
                self.rows.push(constraint!(here.clone() + most * done[group.group.start][index] <= most));
                if index > 0 {
                    self.rows.push(constraint!(here - most * done[group.group.end][index - 1] <= 0));
                }
            }
        }
    }

    /// Residents add up; staging is the largest in use; of activations each part is the largest that any point in use needs.
    fn memory(&mut self, group: &GroupVariables) {
        let front = self.space.front(&group.group);
        for (index, run) in self.runs.iter().enumerate() {
            for (&column, &present) in group.dealt[index].iter().zip(&group.present[index]) {
                self.rows.push(constraint!(column - run.segments.len() as f64 * present <= 0));
            }
        }
        for rank in 0..group.group.len() {
            let sail = SailId((group.group.start + rank) as u16);
            let alignment = self.space.costs.kind(sail).granularity;
            self.columns += 3;
            let parts = [(); 3].map(|()| self.variables.add(variable().min(0)));
            let mut total: Expression = parts.iter().copied().sum();
            for (index, run) in self.runs.iter().enumerate() {
                for (number, point) in front[run.class].iter().enumerate() {
                    total += megabytes(point.resident(rank).total()) * group.dealt[index][number];
                    let needs = self.space.needs(&group.group, (run.class, number), rank);
                    let stage = sailplan_ir::stage_activations(&needs, alignment);
                    let needed = [stage.chain, stage.activations - stage.chain, stage.scratch];
                    for (&part, bytes) in parts.iter().zip(needed) {
                        self.rows.push(constraint!(part - megabytes(bytes) * group.present[index][number] >= 0));
                    }
                }
            }
            total += self.staging(group, rank);
            self.rows.push(constraint!(total <= megabytes(self.space.capacity(sail))));
        }
    }

    /// The staging area of a rank: as large as that of any streamed point in use.
    fn staging(&mut self, group: &GroupVariables, rank: usize) -> Expression {
        let front = self.space.front(&group.group);
        let points =
            self.runs.iter().zip(&group.present).flat_map(|(run, present)| front[run.class].iter().zip(present));
        let streamed: Vec<(&Point, &Variable)> = points.filter(|(point, _)| !point.streams.is_empty()).collect();
        if streamed.is_empty() {
            return Expression::default();
        }
        self.columns += 1;
        let staging = self.variables.add(variable().min(0));
        for (point, &present) in streamed {
            self.rows.push(constraint!(staging - megabytes(point.staging(rank)) * present >= 0));
        }
        staging.into()
    }
}

/// Stages in order; each run's segments go to its groups in order of the cards.
fn decode(
    space: &Space<'_>,
    runs: &[Run],
    groups: &[GroupVariables],
    solution: &impl Solution,
) -> Result<Vec<(Cut, Counts)>, String> {
    let mut stages: Vec<(Cut, Counts)> = Vec::new();
    let mut placed = 0;
    for group in groups {
        let mut counts: Counts = space.front(&group.group).iter().map(|points| vec![0; points.len()]).collect();
        let mut here = 0;
        for (run, columns) in runs.iter().zip(&group.dealt) {
            for (point, &column) in columns.iter().enumerate() {
                let count = solution.value(column).round() as u64;
                counts[run.class][point] += count;
                here += count as usize;
            }
        }
        if here > 0 {
            stages.push((Cut { group: group.group.clone(), segments: placed..placed + here }, counts));
            placed += here;
        }
    }
    if placed == space.model.segments.len() { Ok(stages) } else { Err("the solver lost a segment".into()) }
}
