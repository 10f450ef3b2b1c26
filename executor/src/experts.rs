//! Mixtures of experts: which experts a token takes, and what these make of it. A token's result depends on no other
//! token, and an element of it on no other element, so that chunks and slices of rows give the same bits.

use crate::Fault;
use crate::call::Call;
use crate::device::{Operand, Weight};
use crate::kernels;

/// For each row of logits the softmax over all experts, of which the `used` largest stay, the lower expert of equals.
/// Exponentials and sums are F64, rounded once.
pub(crate) fn route(logits: &[f32], experts: usize, used: usize, renormalise: bool) -> Vec<f32> {
    let mut out = vec![0.0; logits.len()];
    let width = experts.max(1);
    for (row, into) in logits.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let parts: Vec<f64> = row.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order.truncate(used);
        let total: f64 = if renormalise { order.iter().map(|&expert| parts[expert]).sum() } else { parts.iter().sum() };
        for expert in order {
            into[expert] = (parts[expert] / total) as f32;
        }
    }
    out
}

/// The tokens that take one expert, and how much of it.
struct Takers {
    tokens: Vec<usize>,
    gates: Vec<f32>,
}

impl Takers {
    fn of(gates: &[f32], experts: usize, expert: usize) -> Self {
        let column = gates.chunks_exact(experts).map(|row| row[expert]).enumerate();
        let (tokens, gates) = column.filter(|&(_, gate)| gate != 0.0).unzip();
        Self { tokens, gates }
    }

    /// Their rows, one after the other.
    fn rows(&self, x: &[f32], columns: usize) -> Vec<f32> {
        self.tokens.iter().flat_map(|&token| &x[token * columns..(token + 1) * columns]).copied().collect()
    }
}

/// The sizes of a card's part of the experts.
#[derive(Clone, Copy)]
struct Sizes {
    experts: usize,
    columns: usize,
    out: usize,
}

impl Call<'_> {
    /// The gated feed-forward part of every expert that this card holds, for the tokens that take it. Contributions are
    /// added in F64 in the order of the experts and rounded once.
    pub(crate) fn experts(&self) -> Result<Vec<f32>, Fault> {
        let (x, gates, sizes) = (self.input(0)?, self.input(1)?, self.sizes()?);
        let tokens = self.step.rows(self.buffer(0)?) as usize;
        let mut sums = vec![0.0_f64; tokens * sizes.out];
        for expert in 0..sizes.experts {
            let takers = Takers::of(gates, sizes.experts, expert);
            if takers.tokens.is_empty() {
                continue;
            }
            let made = self.expert(expert, &takers.rows(x, sizes.columns), takers.tokens.len())?;
            for (place, (&token, &gate)) in takers.tokens.iter().zip(&takers.gates).enumerate() {
                let from = &made[place * sizes.out..(place + 1) * sizes.out];
                let into = &mut sums[token * sizes.out..(token + 1) * sizes.out];
                into.iter_mut().zip(from).for_each(|(sum, &part)| *sum += f64::from(gate) * f64::from(part));
            }
        }
        Ok(sums.into_iter().map(|sum| sum as f32).collect())
    }

    fn expert(&self, expert: usize, x: &[f32], tokens: usize) -> Result<Vec<f32>, Fault> {
        let gate = self.product(x, tokens, self.matrix(0, expert)?)?;
        let up = self.product(x, tokens, self.matrix(1, expert)?)?;
        self.product(&kernels::pairwise(&gate, &up, kernels::swiglu), tokens, self.matrix(2, expert)?)
    }

    /// One expert's matrix of a stack. A slice of a row is whole blocks, so every matrix starts at a block.
    fn matrix(&self, index: usize, expert: usize) -> Result<Weight, Fault> {
        let (stack, experts) = (self.weight(index)?, self.buffer(1)?.columns);
        let rows = stack.rows.checked_div(experts).unwrap_or(0);
        let bytes = stack.dtype.bytes(rows.saturating_mul(stack.columns)).unwrap_or_default();
        Ok(Weight { offset: stack.offset.saturating_add(bytes.times(expert as u64).0), rows, ..stack })
    }

    /// The card's sizes, if its operands have them in common.
    fn sizes(&self) -> Result<Sizes, Fault> {
        let (x, gates) = (self.buffer(0)?, self.buffer(1)?);
        let (gate, up, down) = (self.weight(0)?, self.weight(1)?, self.weight(2)?);
        let (experts, out) = (gates.columns, self.columns_out()?);
        let into = |stack: Weight| stack.columns == x.columns && stack.rows == experts.saturating_mul(down.columns);
        let fits = into(gate) && into(up) && down.rows == experts.saturating_mul(out);
        if !fits || self.step.rows(gates) != self.step.rows(x) {
            return Err(self.misfit("the experts, the gates and the input differ in size"));
        }
        Ok(Sizes { experts: experts as usize, columns: x.columns as usize, out: out as usize })
    }

    fn columns_out(&self) -> Result<u64, Fault> {
        match self.kernel.output {
            Operand::Buffer(buffer) => Ok(buffer.columns),
            Operand::Cache(_) => Err(self.misfit("a buffer is missing")),
        }
    }
}
