//! Plain arithmetic on rows of F64, for references that share no code with the kernels.

/// One token's values.
pub(crate) type Row = Vec<f64>;

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn sum(a: &[f64], b: &[f64]) -> Row {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub(crate) fn softmax(scores: &[f64]) -> Row {
    let total: f64 = scores.iter().map(|score| score.exp()).sum();
    scores.iter().map(|score| score.exp() / total).collect()
}
