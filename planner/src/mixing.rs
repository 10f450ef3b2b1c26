//! The cheapest mix of points for one stage whose fastest points do not fit, exactly, as far as it takes less than what is known
//! of others. Residents add up, segment by segment; activations are those of the points in use, which takes the solver far
//! longer. So they are first counted as the least that any points need: what is cheapest then and fits is the answer.

use crate::program;
use crate::solver;
use crate::space::{Bounds, Interval, Space};
use crate::stage::Counts;
use good_lp::{Expression, ProblemVariables, Solution, Variable, constraint, variable};
use sailplan_ir::Picoseconds;
use std::collections::BTreeMap;

/// What was asked for, by group and by segments of each class: below which time, and the cheapest mix, where one takes less.
pub(crate) type Mixed = BTreeMap<(Bounds, Vec<u64>), (Picoseconds, Option<Counts>)>;

/// The cheapest mix of so many segments of each class on a group that takes less than `below`; `None` where none fits that
/// does.
///
/// # Errors
/// The solver failed: a bug.
pub(crate) fn mix(
    space: &Space<'_>,
    group: &Interval,
    wanted: &[u64],
    below: Picoseconds,
) -> Result<Option<Counts>, String> {
    let takes = |counts: &Counts| space.toll(group, counts).cost;
    let key = (space.key(group), wanted.to_vec());
    if let Some((asked, known)) = space.mixed.borrow().get(&key) {
        match known {
            Some(known) => return Ok(Some(known.clone()).filter(|known| takes(known) < below)),
            None if below <= *asked => return Ok(None),
            None => {}
        }
    }
    let found = match at_least(space, group, wanted, below)? {
        Some(counts) if !space.holds(group, &counts) => program::mix(space, group, wanted, below)?,
        other => other,
    };
    let found = found.filter(|counts| takes(counts) < below && space.holds(group, counts));
    space.mixed.borrow_mut().insert(key, (below, found.clone()));
    Ok(found)
}

/// The cheapest mix if all points had the activations of the leanest.
fn at_least(space: &Space<'_>, group: &Interval, wanted: &[u64], below: Picoseconds) -> Result<Option<Counts>, String> {
    let front = space.front(group);
    let mut variables = ProblemVariables::new();
    let (mut objective, mut rows) = (Expression::default(), Vec::new());
    let mut columns: Vec<Vec<Variable>> = Vec::new();
    for (class, (points, &count)) in front.iter().zip(wanted).enumerate() {
        let dealt: Vec<Variable> =
            points.iter().map(|_| variables.add(variable().integer().min(0).max(count as f64))).collect();
        for (point, &column) in dealt.iter().enumerate() {
            objective += microseconds(space.toll_at(group, class, point).cost) * column;
        }
        let here: Expression = dealt.iter().copied().sum();
        rows.push(constraint!(here == count as f64));
        columns.push(dealt);
    }
    for (room, each) in space.room_on(group).least(space, group, wanted) {
        let classes = columns.iter().zip(&each);
        let terms = classes.flat_map(|(columns, each)| columns.iter().zip(each));
        let total: Expression = terms.map(|(&column, bytes)| bytes.0 as f64 / 1e6 * column).sum();
        rows.push(constraint!(total <= room as f64 / 1e6));
    }
    rows.extend(solver::within(&objective, microseconds(below)));
    let Some(solution) = solver::minimise(variables, objective, rows, space.mixing.gap())? else { return Ok(None) };
    let count = |&column: &Variable| solution.value(column).round() as u64;
    Ok(Some(columns.iter().map(|columns| columns.iter().map(count).collect()).collect()))
}

fn microseconds(time: Picoseconds) -> f64 {
    time.0 as f64 / 1e6
}
