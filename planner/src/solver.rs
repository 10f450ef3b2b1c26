//! The only file that names a solver: HiGHS through good_lp, one thread, default seed, no clock.

use good_lp::solvers::highs::highs;
use good_lp::{Constraint, Expression, ProblemVariables, ResolutionError, Solution, SolverModel, constraint};

/// A row that keeps an objective within a limit, scaled so that the solver's tolerance is a part of the limit. No row where there
/// is no limit.
pub(crate) fn within(objective: &Expression, most: f64) -> Option<Constraint> {
    let limited = most > 0.0 && most < 1e15;
    limited.then(|| constraint!(objective.clone() * (1.0 / most) <= 1.0))
}

/// Solves `minimise objective` over `variables` under `rows` to within `gap`, a part of the objective; `None` when no solution
/// exists.
///
/// # Errors
/// What the solver says when it fails for another reason.
pub(crate) fn minimise(
    variables: ProblemVariables,
    objective: Expression,
    rows: Vec<Constraint>,
    gap: f32,
) -> Result<Option<impl Solution>, String> {
    let mut model = variables.minimise(objective).using(highs);
    model.set_verbose(false);
    let mut model = model.set_threads(1).set_mip_rel_gap(gap).map_err(|error| format!("{error:?}"))?;
    model = model.set_mip_abs_gap(0.0).map_err(|error| format!("{error:?}"))?;
    for row in rows {
        model.add_constraint(row);
    }
    match model.solve() {
        Ok(solution) => Ok(Some(solution)),
        Err(ResolutionError::Infeasible) => Ok(None),
        Err(error) => Err(format!("the solver failed: {error}")),
    }
}
