//! How a collective combines what the cards of a group contribute.

use sailplan_ir::SOFTMAX_FIGURES;
use serde::{Deserialize, Serialize};

/// How contributions are combined.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ReduceOp {
    /// Their sum, added in the order of ranks.
    Sum,
    /// Their sum divided by the group's size.
    Avg,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The softmax over all positions, from softmaxes over some: of each head so many elements weighted by `exp(score − highest)` and
    /// added up, then the sum of these weights, then the highest score. Those of lower scores are scaled down and added in
    /// the order of ranks; in the end elements are divided by the sum of weights (Milakov & Gimelshein 2018).
    Merge {
        /// Elements of a head.
        head_dim: u32,
    },
}

impl ReduceOp {
    /// Columns of an operand that make so many columns of the result; `None` where they are no whole heads.
    #[must_use]
    pub fn operand_columns(self, columns: u64) -> Option<u64> {
        match self {
            Self::Merge { head_dim: 0 } => None,
            Self::Merge { head_dim } if !columns.is_multiple_of(u64::from(head_dim)) => None,
            Self::Merge { head_dim } => {
                let heads = columns / u64::from(head_dim);
                heads.checked_mul(u64::from(head_dim).checked_add(SOFTMAX_FIGURES)?)
            }
            _ => Some(columns),
        }
    }
}
