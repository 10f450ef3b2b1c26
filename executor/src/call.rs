//! One kernel on the `cpu` device: its operands are looked up in the arenas and checked, then the operator's function
//! computes. It writes nothing, so all operands are read before the result is written.

use crate::Fault;
use crate::arena::{Arena, Plain};
use crate::device::{Buffer, Cache, Kernel, Operand, Step, Weight};
use crate::experts;
use crate::kernels::{self, Heads, Rotary};
use crate::linear::{self, Product};
use crate::softmax;
use candle_core::quantized::GgmlType;
use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K, BlockQ8_0,
};
use half::{bf16, f16};
use sailplan_ir::{DType, Op, PositionShare, Scores};
use std::borrow::Cow;

/// A card's arenas.
pub(crate) struct Memory {
    pub(crate) weights: Arena,
    pub(crate) kv: Arena,
    pub(crate) activations: Arena,
}

/// `$body` with `$block` standing for candle's type of `$dtype`'s blocks; `None` for a type without kernels.
macro_rules! with_blocks {
    ($dtype:expr, $block:ident => $body:expr) => {
        with_blocks!(@ $dtype, $block, $body,
            F32 f32, F16 f16, BF16 bf16, Q4_0 BlockQ4_0, Q4_1 BlockQ4_1, Q5_0 BlockQ5_0, Q5_1 BlockQ5_1,
            Q8_0 BlockQ8_0, Q2_K BlockQ2K, Q3_K BlockQ3K, Q4_K BlockQ4K, Q5_K BlockQ5K, Q6_K BlockQ6K)
    };
    (@ $dtype:expr, $block:ident, $body:expr, $($name:ident $type:ty),*) => {
        match $dtype {
            $(DType::$name => { type $block = $type; Some($body) })*
            _ => None,
        }
    };
}

/// A kernel with what it reads.
pub(crate) struct Call<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) kernel: &'a Kernel,
    pub(crate) step: Step,
}

impl<'a> Call<'a> {
    /// The result's values.
    pub(crate) fn compute(&self) -> Result<Vec<f32>, Fault> {
        Ok(match self.kernel.op {
            Op::Embed => self.embed()?,
            Op::RmsNorm { epsilon } => kernels::rms_norm(self.input(0)?, &self.row_vector()?, epsilon.0),
            Op::HeadNorm { epsilon, .. } => kernels::rms_norm(self.input(0)?, &self.head_vector()?, epsilon.0),
            Op::Linear => self.linear()?,
            Op::Bias => kernels::bias(self.input(0)?, &self.row_vector()?),
            Op::Rope { head_dim, rotary_dim, base, pairs } => self.rope(Rotary {
                head_dim: head_dim as usize,
                rotary_dim: rotary_dim as usize,
                base: base.0,
                start: self.step.start,
                pairs,
            })?,
            Op::KvAppend { .. } => self.input(1)?.to_vec(),
            Op::Attention { heads, kv_heads, head_dim, scores } => {
                self.attention((heads, kv_heads), head_dim, scores)?
            }
            Op::SwiGlu => kernels::pairwise(self.input(0)?, self.input(1)?, kernels::swiglu),
            Op::GeGlu => kernels::pairwise(self.input(0)?, self.input(1)?, kernels::geglu),
            Op::LinearSwiGlu => self.joined(kernels::swiglu)?,
            Op::LinearGeGlu => self.joined(kernels::geglu)?,
            Op::Scale { factor } => self.input(0)?.iter().map(|value| value * factor.0).collect(),
            Op::SoftCap { cap } => self.input(0)?.iter().map(|&value| kernels::soft_cap(value, cap.0)).collect(),
            Op::Add => kernels::add(self.input(0)?, self.input(1)?),
            Op::LastToken => self.last_row()?,
            Op::Route { used, renormalise } => {
                experts::route(self.input(0)?, self.buffer(0)?.columns as usize, used as usize, renormalise)
            }
            Op::Experts { .. } => self.experts()?,
        })
    }

    fn embed(&self) -> Result<Vec<f32>, Fault> {
        let (from, table) = (self.buffer(0)?, self.weight(0)?);
        let tokens = self.memory.activations.view::<u32>(from.offset, self.step.elements(from))?;
        let (first, columns) = (table.first_row, table.columns as usize);
        with_blocks!(table.dtype, Block => linear::embed(tokens, self.blocks::<Block>(table)?, first, columns))
            .ok_or_else(|| self.misfit("no kernel for this type of table"))
    }

    fn linear(&self) -> Result<Vec<f32>, Fault> {
        let (buffer, weight, x) = (self.buffer(0)?, self.weight(0)?, self.input(0)?);
        if buffer.columns != weight.columns {
            return Err(self.misfit("the rows of the weight and of the input differ in length"));
        }
        self.product(x, self.step.rows(buffer) as usize, weight)
    }

    /// Several products of one value, with the bits that each has by itself. Tokens go through all of them tile by tile, so
    /// that the value comes from memory once.
    pub(crate) fn products(&self) -> Result<Vec<Vec<f32>>, Fault> {
        let (buffer, x) = (self.buffer(0)?, self.input(0)?);
        if self.kernel.op != Op::Linear {
            return Err(self.misfit("only a product has others beside it"));
        }
        let beside = self.kernel.beside.iter().map(|product| product.0);
        let weights: Vec<Weight> = std::iter::once(self.weight(0)?).chain(beside).collect();
        if weights.iter().any(|weight| weight.columns != buffer.columns) {
            return Err(self.misfit("the rows of the weight and of the input differ in length"));
        }
        let (tokens, columns) = (self.step.rows(buffer) as usize, buffer.columns as usize);
        let mut made = vec![Vec::new(); weights.len()];
        for first in (0..tokens).step_by(linear::TILE) {
            let tile = first..tokens.min(first + linear::TILE);
            for (made, &weight) in made.iter_mut().zip(&weights) {
                made.extend(self.product(&x[tile.start * columns..tile.end * columns], tile.len(), weight)?);
            }
        }
        Ok(made)
    }

    /// One value of each pair of elements of two products of x.
    fn joined(&self, join: fn(f32, f32) -> f32) -> Result<Vec<f32>, Fault> {
        let (buffer, x, weights) = (self.buffer(0)?, self.input(0)?, [self.weight(0)?, self.weight(1)?]);
        let [one, other] = weights;
        if buffer.columns != one.columns {
            return Err(self.misfit("the rows of the weight and of the input differ in length"));
        }
        if (one.rows, one.columns, one.dtype) != (other.rows, other.columns, other.dtype) {
            return Err(self.misfit("the two weights differ in shape or type"));
        }
        let tokens = self.step.rows(buffer) as usize;
        let product = Product { tokens, rows: one.rows as usize, columns: one.columns as usize };
        let out = match one.dtype {
            DType::F32 => Some(linear::joined_widened(x, self.both::<f32>(weights)?, product, join)),
            DType::F16 => Some(linear::joined_widened(x, self.both::<f16>(weights)?, product, join)),
            DType::BF16 => Some(linear::joined_widened(x, self.both::<bf16>(weights)?, product, join)),
            dtype => with_blocks!(dtype, Block => linear::joined(x, self.both::<Block>(weights)?, product, join)),
        };
        out.ok_or_else(|| self.misfit("no kernel for this type of weight"))
    }

    fn both<T: GgmlType + Plain>(&self, [one, other]: [Weight; 2]) -> Result<[&'a [T]; 2], Fault> {
        Ok([self.blocks(one)?, self.blocks(other)?])
    }

    /// `tokens` rows of x times a weight.
    pub(crate) fn product(&self, x: &[f32], tokens: usize, weight: Weight) -> Result<Vec<f32>, Fault> {
        let product = Product { tokens, rows: weight.rows as usize, columns: weight.columns as usize };
        let out = match weight.dtype {
            DType::F32 => Some(linear::linear_widened(x, self.blocks::<f32>(weight)?, product)),
            DType::F16 => Some(linear::linear_widened(x, self.blocks::<f16>(weight)?, product)),
            DType::BF16 => Some(linear::linear_widened(x, self.blocks::<bf16>(weight)?, product)),
            dtype => with_blocks!(dtype, Block => linear::linear(x, self.blocks::<Block>(weight)?, product)),
        };
        out.ok_or_else(|| self.misfit("no kernel for this type of weight"))
    }

    fn rope(&self, rotary: Rotary) -> Result<Vec<f32>, Fault> {
        let columns = self.buffer(0)?.columns as usize;
        let whole = rotary.head_dim > 0 && columns.is_multiple_of(rotary.head_dim);
        if !whole || rotary.rotary_dim > rotary.head_dim {
            return Err(self.misfit("the columns are no whole heads"));
        }
        let divisors = if self.kernel.weights.is_empty() { None } else { Some(self.vector(0)?) };
        Ok(kernels::rope(self.input(0)?, columns, rotary, divisors.as_deref()))
    }

    fn attention(&self, (heads, kv_heads): (u32, u32), head_dim: u32, scores: Scores) -> Result<Vec<f32>, Fault> {
        let (query, key, value) = (self.buffer(0)?, self.cache(1)?, self.cache(2)?);
        let (width, group) = (u64::from(head_dim.max(1)), u64::from(heads / kv_heads.max(1)).max(1));
        let whole = [key.columns, query.columns].iter().all(|columns| columns.is_multiple_of(width));
        if !whole || (key.columns, key.share) != (value.columns, value.share) {
            return Err(self.misfit("the columns are no whole heads"));
        }
        let read = self.kernel.skip.saturating_add(query.columns / width);
        if query.columns > 0 && read > (key.columns / width).saturating_mul(group) {
            return Err(self.misfit("query heads read KV heads that are not here"));
        }
        let seen = self.step.start.saturating_add(self.step.tokens);
        let local = Heads {
            queries: (query.columns / width) as usize,
            keys: (key.columns / width) as usize,
            group: group as usize,
            skip: self.kernel.skip as usize,
            head_dim: width as usize,
            start: self.step.start as usize,
            share: key.share,
            scores,
        };
        let (keys, values) = (self.rows(key, seen)?, self.rows(value, seen)?);
        let attention = if key.share == PositionShare::ALL { kernels::attention } else { softmax::over_part };
        Ok(attention(self.input(0)?, &keys, &values, local))
    }

    fn last_row(&self) -> Result<Vec<f32>, Fault> {
        let (x, columns) = (self.input(0)?, self.buffer(0)?.columns as usize);
        Ok(x.len().checked_sub(columns).map_or_else(Vec::new, |first| x[first..].to_vec()))
    }

    pub(crate) fn buffer(&self, index: usize) -> Result<Buffer, Fault> {
        match self.kernel.inputs.get(index) {
            Some(&Operand::Buffer(buffer)) => Ok(buffer),
            _ => Err(self.misfit("a buffer is missing")),
        }
    }

    fn cache(&self, index: usize) -> Result<Cache, Fault> {
        match self.kernel.inputs.get(index) {
            Some(&Operand::Cache(cache)) => Ok(cache),
            _ => Err(self.misfit("a cache is missing")),
        }
    }

    pub(crate) fn weight(&self, index: usize) -> Result<Weight, Fault> {
        self.kernel.weights.get(index).copied().ok_or_else(|| self.misfit("a weight is missing"))
    }

    pub(crate) fn input(&self, index: usize) -> Result<&'a [f32], Fault> {
        let buffer = self.buffer(index)?;
        self.memory.activations.view(buffer.offset, self.step.elements(buffer))
    }

    fn blocks<T: GgmlType + Plain>(&self, weight: Weight) -> Result<&'a [T], Fault> {
        let elements = weight.rows.saturating_mul(weight.columns);
        self.memory.weights.view(weight.offset, elements / T::BLCK_SIZE as u64)
    }

    /// A small weight as F32.
    fn vector(&self, index: usize) -> Result<Vec<f32>, Fault> {
        let weight = self.weight(index)?;
        with_blocks!(weight.dtype, Block => linear::widen(self.blocks::<Block>(weight)?))
            .ok_or_else(|| self.misfit("no kernel for this type of weight"))
    }

    /// A weight as long as a row of the input.
    fn row_vector(&self) -> Result<Vec<f32>, Fault> {
        if self.weight(0)?.columns != self.buffer(0)?.columns {
            return Err(self.misfit("the vector and the rows of the input differ in length"));
        }
        self.vector(0)
    }

    /// A weight as long as a head, of which a row of the input has a whole number.
    fn head_vector(&self) -> Result<Vec<f32>, Fault> {
        let size = self.weight(0)?.columns;
        if size == 0 || !self.buffer(0)?.columns.is_multiple_of(size) {
            return Err(self.misfit("the columns are no whole heads"));
        }
        self.vector(0)
    }

    /// The rows of a cache for the first so many positions, as F32.
    fn rows(&self, cache: Cache, positions: u64) -> Result<Cow<'a, [f32]>, Fault> {
        let rows = cache.share.count(positions).min(cache.rows);
        let (kv, elements) = (&self.memory.kv, rows.saturating_mul(cache.columns));
        Ok(match cache.dtype {
            DType::F32 => Cow::Borrowed(kv.view(cache.offset, elements)?),
            DType::F16 => Cow::Owned(linear::widen(kv.view::<f16>(cache.offset, elements)?)),
            DType::BF16 => Cow::Owned(linear::widen(kv.view::<bf16>(cache.offset, elements)?)),
            _ => return Err(self.misfit("no kernel for this type of cache")),
        })
    }

    pub(crate) fn misfit(&self, problem: &'static str) -> Fault {
        misfit(self.kernel, problem)
    }
}

/// Whether there are kernels for weights of this type.
pub(crate) fn computes(dtype: DType) -> bool {
    with_blocks!(dtype, Block => size_of::<Block>()).is_some()
}

/// The operands do not fit the operator.
pub(crate) fn misfit(kernel: &Kernel, problem: &'static str) -> Fault {
    Fault::Operands { operator: kernel.op.row().name, problem }
}
