//! Tests only: a dense tensor.

use std::ops::Range;

/// A dense tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dense {
    pub(super) axes: Vec<usize>,
    pub(super) data: Vec<f64>,
}

impl Dense {
    pub(super) fn zeros(axes: &[usize]) -> Self {
        Self { axes: axes.to_vec(), data: vec![0.0; axes.iter().product()] }
    }

    /// Of a stack of matrices those of all.
    pub(super) fn rows(&self) -> usize {
        self.axes[..self.axes.len() - 1].iter().product()
    }

    pub(super) fn columns(&self) -> usize {
        *self.axes.last().unwrap()
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.columns() + column]
    }

    pub(super) fn slice(&self, axis: usize, range: Range<usize>) -> Self {
        let (outer, inner) = (self.axes[..axis].iter().product(), self.axes[axis + 1..].iter().product::<usize>());
        let first = |block: usize| (block * self.axes[axis] + range.start) * inner;
        let blocks = (0..outer).map(|block| &self.data[first(block)..first(block) + range.len() * inner]);
        let data = blocks.flatten().copied().collect();
        let mut axes = self.axes.clone();
        axes[axis] = range.len();
        Self { axes, data }
    }

    pub(super) fn map2(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.axes, other.axes);
        Self { axes: self.axes.clone(), data: self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect() }
    }

    pub(super) fn build(axes: &[usize], f: impl Fn(usize, usize) -> f64) -> Self {
        let mut made = Self::zeros(axes);
        let columns = made.columns().max(1);
        for index in 0..made.data.len() {
            made.data[index] = f(index / columns, index % columns);
        }
        made
    }
}
