//! Non-negative least squares for a handful of unknowns: Lawson & Hanson, Solving Least Squares Problems, 1974, ch. 23,
//! over least squares by modified Gram–Schmidt (Björck, BIT 7, 1967). It knows numbers, no fleets.

/// A column whose rest after projection is this much shorter than itself depends on the others.
const DEPENDENT: f64 = 1e-10;

/// The x ≥ 0 with the least Σ(columns · x − values)². Columns have the length of `values`; a column that depends on
/// others gets 0. The order of the columns decides among equal answers.
pub(super) fn solve(columns: &[Vec<f64>], values: &[f64]) -> Vec<f64> {
    let scales: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    let unit = |(column, &scale): (&Vec<f64>, &f64)| {
        column.iter().map(|x| if scale > 0.0 { x / scale } else { 0.0 }).collect()
    };
    let columns: Vec<Vec<f64>> = columns.iter().zip(&scales).map(unit).collect();
    let mut x = vec![0.0; columns.len()];
    let mut free = vec![false; columns.len()];
    // Each pass frees one unknown and the sum of squares falls, so no set of free unknowns returns; 2^n bounds them.
    for _ in 0..1usize << columns.len().min(16) {
        let Some(next) = steepest(&columns, values, &x, &free) else { break };
        free[next] = true;
        descend(&columns, values, &mut x, &mut free);
        if !free[next] {
            break;
        }
    }
    x.iter().zip(&scales).map(|(x, &scale)| if scale > 0.0 { x / scale } else { 0.0 }).collect()
}

/// The unknown at its bound along which the sum of squares falls fastest.
fn steepest(columns: &[Vec<f64>], values: &[f64], x: &[f64], free: &[bool]) -> Option<usize> {
    let rest: Vec<f64> = values.iter().enumerate().map(|(row, value)| value - row_of(columns, x, row)).collect();
    let least = dot(values, values).sqrt() * 1e-12;
    let slopes = (0..columns.len()).filter(|&k| !free[k]).map(|k| (k, dot(&columns[k], &rest)));
    slopes.filter(|&(_, slope)| slope > least).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(k, _)| k)
}

/// Moves to the least squares of the free unknowns; those that would become negative on the way are bound again.
fn descend(columns: &[Vec<f64>], values: &[f64], x: &mut [f64], free: &mut [bool]) {
    loop {
        let target = least_squares(columns, values, free);
        let blocking = (0..x.len()).filter(|&k| free[k] && target[k] <= 0.0);
        let Some(step) = blocking.map(|k| x[k] / (x[k] - target[k]).max(f64::MIN_POSITIVE)).min_by(f64::total_cmp)
        else {
            x.copy_from_slice(&target);
            return;
        };
        for k in 0..x.len() {
            x[k] += step.min(1.0) * (target[k] - x[k]);
            if free[k] && target[k] <= 0.0 && x[k] <= 1e-14 {
                (x[k], free[k]) = (0.0, false);
            }
        }
    }
}

/// Least squares over the free columns; the others get 0.
fn least_squares(columns: &[Vec<f64>], values: &[f64], free: &[bool]) -> Vec<f64> {
    let mut rest = values.to_vec();
    let mut basis: Vec<(usize, Vec<f64>, Vec<f64>, f64)> = Vec::new();
    for k in (0..columns.len()).filter(|&k| free[k]) {
        let (mut column, mut along) = (columns[k].clone(), Vec::new());
        for (_, unit, ..) in &basis {
            along.push(dot(unit, &column));
            subtract(&mut column, unit, along[along.len() - 1]);
        }
        let length = dot(&column, &column).sqrt();
        if length > DEPENDENT {
            column.iter_mut().for_each(|value| *value /= length);
            let part = dot(&column, &rest);
            subtract(&mut rest, &column, part);
            along.push(length);
            basis.push((k, column, along, part));
        }
    }
    let mut x = vec![0.0; columns.len()];
    for row in (0..basis.len()).rev() {
        let known: f64 = basis[row + 1..].iter().map(|(k, _, along, _)| along[row] * x[*k]).sum();
        x[basis[row].0] = (basis[row].3 - known) / basis[row].2[row];
    }
    x
}

fn row_of(columns: &[Vec<f64>], x: &[f64], row: usize) -> f64 {
    columns.iter().zip(x).map(|(column, x)| column[row] * x).sum()
}

fn subtract(from: &mut [f64], what: &[f64], times: f64) {
    from.iter_mut().zip(what).for_each(|(from, what)| *from -= times * what);
}

/// The scalar product, added in order.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn squares(columns: &[Vec<f64>], values: &[f64], x: &[f64]) -> f64 {
        (0..values.len()).map(|row| (values[row] - row_of(columns, x, row)).powi(2)).sum()
    }

    /// The best over all sets of free unknowns: what the active-set method must find.
    fn oracle(columns: &[Vec<f64>], values: &[f64]) -> f64 {
        let sets = (0..1u32 << columns.len()).map(|set| (0..columns.len()).map(|k| set >> k & 1 == 1).collect());
        let tried = sets.map(|free: Vec<bool>| least_squares(columns, values, &free));
        let allowed = tried.filter(|x| x.iter().all(|&x| x >= 0.0));
        allowed.map(|x| squares(columns, values, &x)).min_by(f64::total_cmp).unwrap()
    }

    #[test]
    fn a_negative_unknown_stays_at_zero() {
        let x = solve(&[vec![1.0, 1.0, 1.0], vec![1.0, 2.0, 3.0]], &[1.0, 2.5, 4.0]);
        assert_eq!(x[0], 0.0);
        assert!((x[1] - 18.0 / 14.0).abs() < 1e-12);
    }

    #[test]
    fn columns_of_nothing_and_equal_columns_do_no_harm() {
        assert_eq!(solve(&[vec![0.0, 0.0]], &[1.0, 1.0]), [0.0]);
        let x = solve(&[vec![1.0, 2.0], vec![1.0, 2.0]], &[1.0, 2.0]);
        assert!((x[0] + x[1] - 1.0).abs() < 1e-12);
        assert_eq!(solve(&[], &[1.0]), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn no_choice_of_free_unknowns_is_better(
            cells in prop::collection::vec(-4.0f64..4.0, 6 * 5),
            unknowns in 1usize..=5,
        ) {
            let columns: Vec<Vec<f64>> = cells.chunks(6).take(unknowns).map(<[f64]>::to_vec).collect();
            let values = [1.0, -0.5, 2.0, 0.25, 1.5, -1.0];
            let x = solve(&columns, &values);
            prop_assert!(x.iter().all(|&x| x >= 0.0), "{:?}", x);
            let (found, best) = (squares(&columns, &values, &x), oracle(&columns, &values));
            prop_assert!(found <= best + 1e-7, "{found} is more than {best}");
        }
    }
}
