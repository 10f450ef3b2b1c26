//! What a card can do, whatever it is made of: hold arenas, take bytes of weights, run one kernel, give and take
//! buffers. A device decides nothing and does not know that there are other cards.

use crate::Fault;
use sailplan_ir::{Bytes, DType, Dim, Extents, Op, PositionShare};

/// Sizes of a card's arenas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arenas {
    /// Weight shards.
    pub weights: Bytes,
    /// Cache shards.
    pub kv: Bytes,
    /// Buffers of both programs.
    pub activations: Bytes,
}

/// A buffer in the activation arena, row by row, 4 bytes an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// First byte.
    pub offset: u64,
    /// How many rows a step has.
    pub rows: Dim,
    /// Elements of a row.
    pub columns: u64,
}

/// A weight shard in the weights arena, row by row in whole blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weight {
    /// First byte.
    pub offset: u64,
    /// Rows; 1 for a vector, those of all matrices for a stack of matrices.
    pub rows: u64,
    /// Elements of a row.
    pub columns: u64,
    /// Row of the whole tensor that the shard starts with.
    pub first_row: u64,
    /// Element type.
    pub dtype: DType,
}

/// A cache shard in the KV arena, one row for each position that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cache {
    /// First byte.
    pub offset: u64,
    /// Positions that there is room for.
    pub rows: u64,
    /// Which positions they are: of one card that has all, `0 of 1`.
    pub share: PositionShare,
    /// Elements of a row.
    pub columns: u64,
    /// `F32`, `F16` or `BF16`.
    pub dtype: DType,
}

/// An operand that is no weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// In the activation arena.
    Buffer(Buffer),
    /// In the KV arena.
    Cache(Cache),
}

/// One operator application, all names resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// The operator, with the attributes of the unsharded layer.
    pub op: Op,
    /// Of attention: query heads of the first KV head that lie on other cards, before this card's first.
    pub skip: u64,
    /// Buffers and caches.
    pub inputs: Vec<Operand>,
    /// Weights.
    pub weights: Vec<Weight>,
    /// The result.
    pub output: Operand,
    /// Of a product: further products of the same operand, and where their results go.
    pub beside: Vec<(Weight, Buffer)>,
}

/// What the symbols of a program stand for in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Position of the first token.
    pub start: u64,
    /// Tokens in the step.
    pub tokens: u64,
}

impl Step {
    /// Sizes of the symbolic axes; one sequence, so one row of logits.
    #[must_use]
    pub fn extents(self) -> Extents {
        Extents { tokens: self.tokens, context: self.start.saturating_add(self.tokens), outputs: 1 }
    }

    /// Rows of a buffer.
    #[must_use]
    pub fn rows(self, buffer: Buffer) -> u64 {
        buffer.rows.size(self.extents())
    }

    /// Elements of a buffer, saturating.
    #[must_use]
    pub fn elements(self, buffer: Buffer) -> u64 {
        self.rows(buffer).saturating_mul(buffer.columns)
    }
}

/// A card.
pub trait Device {
    /// Name in messages.
    const NAME: &'static str;

    /// Whether there are kernels for weights of this type.
    fn computes(dtype: DType) -> bool;

    /// Makes zeroed arenas.
    ///
    /// # Errors
    /// There is no memory for them.
    fn allocate(&mut self, arenas: Arenas) -> Result<(), Fault>;

    /// Puts bytes of a weight file into the weights arena.
    ///
    /// # Errors
    /// They do not lie in the arena.
    fn load(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Runs a kernel; it reads all operands before it writes.
    ///
    /// # Errors
    /// The operands do not fit the operator or their arenas.
    fn run(&mut self, kernel: &Kernel, step: Step) -> Result<(), Fault>;

    /// The values of a buffer.
    ///
    /// # Errors
    /// It does not lie in the arena.
    fn read(&self, buffer: Buffer, step: Step) -> Result<Vec<f32>, Fault>;

    /// Sets the values of a buffer.
    ///
    /// # Errors
    /// It does not lie in the arena or has another size.
    fn write(&mut self, buffer: Buffer, step: Step, values: &[f32]) -> Result<(), Fault>;

    /// Sets a buffer to token ids.
    ///
    /// # Errors
    /// It does not lie in the arena or has another size.
    fn write_tokens(&mut self, buffer: Buffer, step: Step, tokens: &[u32]) -> Result<(), Fault>;
}
