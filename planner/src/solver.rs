//! The only file that names a solver: HiGHS through good_lp, one thread, default seed, gap 0, no clock.

use good_lp::solvers::highs::highs;
use good_lp::{Constraint, Expression, ProblemVariables, ResolutionError, Solution, SolverModel};

/// Solves `minimise objective` over `variables` under `rows`; `None` when no solution exists.
///
/// # Errors
/// What the solver says when it fails for another reason.
pub(crate) fn minimise(
    variables: ProblemVariables,
    objective: Expression,
    rows: Vec<Constraint>,
) -> Result<Option<impl Solution>, String> {
    let mut model = variables.minimise(objective).using(highs);
    model.set_verbose(false);
    let mut model = model.set_threads(1).set_mip_rel_gap(0.0).map_err(|error| format!("{error:?}"))?;
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
