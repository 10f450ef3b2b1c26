//! Where the values of a sharded program live on one rank, and how many bytes that takes. The planner sizes a card with
//! it and codegen takes its offsets from it, so that what was promised is what is emitted.
//!
//! A stage's program has one **chain** region at the bottom of the activation arena: the value that flows from segment
//! to segment stays there. Above it, every segment's own buffers share one region. The **scratch** of a collective is
//! where chunks arrive that are added to what is there; chunks that replace something arrive in their place.

use crate::schedule::Core;
use crate::{
    Action, Algorithm, Bytes, Chunks, CollectiveKind, DType, Dim, Domains, Extents, Graph, Instruction, Layout,
    Lifetime, Partition, PositionShare, Program, Role, RowShare, TensorId, Wire, assign, even_chunk,
};
use std::ops::Range;

/// One rank of a group with one partition for every domain of a class.
#[derive(Clone, Copy, Debug)]
pub struct RankView<'a> {
    /// The class's operators.
    pub template: &'a Graph,
    /// The domains of `template`.
    pub domains: &'a Domains,
    /// One for each domain, over the same ranks.
    pub partitions: &'a [Partition],
    /// Which rank.
    pub rank: usize,
    /// The largest step.
    pub limit: Extents,
    /// Buffers start at multiples of this.
    pub alignment: u64,
    /// Type of activations on the links.
    pub wire: Wire,
}

/// What one program of one segment needs on one rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ActivationNeed {
    /// The segment's own buffers, by liveness; a multiple of the alignment.
    pub internal: Bytes,
    /// The most that arrives to be added in one step of a collective; a multiple of the alignment.
    pub scratch: Bytes,
    /// The value from the segment before; 0 when there is none.
    pub input: Bytes,
    /// The value for the segment after; 0 when there is none.
    pub output: Bytes,
}

/// What a stage needs on one rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StageActivations {
    /// The chain region, at offset 0; a segment's own buffers start here.
    pub chain: Bytes,
    /// The whole arena.
    pub activations: Bytes,
    /// The receive buffers of collectives, beside the arena.
    pub scratch: Bytes,
}

/// Where one value of a program lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In the weights or the KV arena: leaves, and caches after an append.
    Resident,
    /// In the chain region.
    Chain,
    /// In the buffer with this index.
    Internal(usize),
    /// On the host.
    Host,
}

/// A buffer of `rows × columns` elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalBuffer {
    /// The value that it is named after: the first one written to it.
    pub value: usize,
    /// Rows: all of a step, or a part of its tokens.
    pub rows: Dim,
    /// Columns on this rank.
    pub columns: u64,
    /// Element type.
    pub dtype: DType,
    /// Bytes at the limit.
    pub bytes: Bytes,
    /// Offset above the chain region.
    pub offset: Bytes,
}

/// Homes of all values of one program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activations {
    /// One for each value. An all-reduce whose result has another home than its operand copies the operand first;
    /// a last value that is neither in the chain nor on the host is copied to the chain.
    pub homes: Vec<Home>,
    /// The segment's own buffers.
    pub buffers: Vec<LocalBuffer>,
    /// The sizes.
    pub need: ActivationNeed,
}

/// What a stage needs when these programs, of both phases, run on it.
#[must_use]
pub fn stage_activations<'a>(needs: impl IntoIterator<Item = &'a ActivationNeed>, alignment: u64) -> StageActivations {
    let mut stage = StageActivations::default();
    let mut internal = Bytes(0);
    for need in needs {
        stage.chain = stage.chain.max(need.input.max(need.output).aligned(alignment));
        stage.scratch = stage.scratch.max(need.scratch);
        internal = internal.max(need.internal);
    }
    stage.activations = stage.chain + internal;
    stage
}

impl StageActivations {
    /// Arena and receive buffers.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.activations + self.scratch
    }
}

/// Values that share memory, in order of their first write.
#[derive(Clone, Copy)]
struct Storage {
    value: usize,
    from: usize,
    to: usize,
}

impl RankView<'_> {
    /// The axis that a layout cuts and the elements of it that this rank holds; `None` when it cuts none.
    #[must_use]
    pub fn share(&self, tensor: TensorId, layout: Layout) -> Option<(u8, Range<u64>)> {
        let Layout::Sharded(axis) = layout else { return None };
        Some((axis, self.share_of(tensor, axis, self.rank)))
    }

    /// The rows of a layout that this rank holds; `None` when it cuts none.
    #[must_use]
    pub fn rows(&self, tensor: TensorId, layout: Layout) -> Option<RowShare> {
        self.row_partition(tensor, layout).map(|partition| partition.rows(self.rank))
    }

    /// The positions of a cache that this rank holds in a layout; `None` when it does not cut them.
    #[must_use]
    pub fn positions(&self, tensor: TensorId, layout: Layout) -> Option<PositionShare> {
        let Layout::Sharded(axis) = layout else { return None };
        let domain = self.domains.domain(tensor, axis);
        self.partitions[domain.index()].positions(self.rank).filter(|_| self.domains.is_positions(domain))
    }

    /// The partition of the rows, where a layout cuts them.
    #[must_use]
    pub fn row_partition(&self, tensor: TensorId, layout: Layout) -> Option<&Partition> {
        let Layout::Sharded(axis) = layout else { return None };
        let domain = self.domains.domain(tensor, axis);
        self.domains.is_rows(domain).then(|| &self.partitions[domain.index()])
    }

    /// The elements that a rank of the group holds of an axis.
    #[must_use]
    pub fn share_of(&self, tensor: TensorId, axis: u8, rank: usize) -> Range<u64> {
        let per_unit = self.domains.elements_per_unit(self.template, tensor, axis);
        self.partitions[self.domains.domain(tensor, axis).index()].elements(rank, per_unit)
    }

    /// Homes and sizes of a program; `algorithm` tells how the collective at an instruction is done.
    #[must_use]
    pub fn activations(&self, program: &Program, algorithm: impl Fn(usize) -> Option<Algorithm>) -> Activations {
        let (mut homes, storages) = self.homes(program);
        let (mut buffers, mut lifetimes, mut renumbered) = (Vec::new(), Vec::new(), Vec::new());
        for (index, storage) in storages.iter().enumerate() {
            renumbered.push(buffers.len());
            if homes.contains(&Home::Internal(index)) {
                let buffer = self.buffer(program, storage.value);
                lifetimes.push(Lifetime { from: storage.from, to: storage.to, bytes: buffer.bytes });
                buffers.push(buffer);
            }
        }
        for home in &mut homes {
            if let Home::Internal(index) = home {
                *index = renumbered[*index];
            }
        }
        let (offsets, internal) = assign(&lifetimes, self.alignment);
        for (buffer, offset) in buffers.iter_mut().zip(offsets) {
            buffer.offset = offset;
        }
        let need = ActivationNeed {
            internal,
            scratch: self.scratch(program, algorithm).aligned(self.alignment),
            input: self.input_bytes(program),
            output: self.output_bytes(program),
        };
        Activations { homes, buffers, need }
    }

    /// Shape and size of the buffer for one value.
    fn buffer(&self, program: &Program, value: usize) -> LocalBuffer {
        let made = &program.instructions[value];
        let tensor = &self.template[made.tensor];
        let share = self.share(made.tensor, made.layout);
        let size = |axis: usize| match &share {
            Some((cut, range)) if usize::from(*cut) == axis => range.end - range.start,
            _ => tensor.axes[axis].size(self.limit),
        };
        let all = tensor.axes.first().copied().unwrap_or(Dim::Fixed(1));
        let rows = self.rows(made.tensor, made.layout).map_or(all, Dim::Part);
        let columns = (1..tensor.axes.len()).map(size).fold(1, u64::saturating_mul);
        let columns =
            if made.layout == Layout::Unmerged { self.template.unmerged(made.tensor, columns) } else { columns };
        let blocks = rows.most(self.limit).saturating_mul(columns).div_ceil(tensor.dtype.block());
        LocalBuffer {
            value,
            rows,
            columns,
            dtype: tensor.dtype,
            bytes: Bytes(blocks.saturating_mul(tensor.dtype.block_bytes())),
            offset: Bytes(0),
        }
    }

    /// Storages are numbered in order of their first write.
    fn homes(&self, program: &Program) -> (Vec<Home>, Vec<Storage>) {
        let count = program.instructions.len();
        let mut last_use: Vec<usize> = (0..count).collect();
        for (index, made) in program.instructions.iter().enumerate() {
            for input in &made.inputs {
                last_use[input.index()] = index;
            }
        }
        let mut homes: Vec<Home> = Vec::with_capacity(count);
        let mut storages: Vec<Storage> = Vec::new();
        for (index, made) in program.instructions.iter().enumerate() {
            let home = self.home(made, index, &last_use, &homes).unwrap_or_else(|| {
                storages.push(Storage { value: index, from: index, to: index });
                Home::Internal(storages.len() - 1)
            });
            if let Home::Internal(storage) = home {
                storages[storage].to = storages[storage].to.max(last_use[index]);
            }
            homes.push(home);
        }
        self.place_result(program, &last_use, &mut homes, &mut storages);
        (homes, storages)
    }

    /// `None` for a value that needs memory of its own.
    fn home(&self, made: &Instruction, index: usize, last_use: &[usize], homes: &[Home]) -> Option<Home> {
        match made.action {
            Action::Leaf => match self.template[made.tensor].role {
                Role::Tokens => None,
                Role::Weight | Role::Cache => Some(Home::Resident),
                Role::Input | Role::Value => Some(Home::Chain),
            },
            Action::Compute(node) if self.template[node].op.appends() => Some(Home::Resident),
            Action::Collect => Some(Home::Host),
            Action::AllReduce => {
                let operand = made.inputs.first()?.index();
                (last_use[operand] == index).then(|| homes[operand])
            }
            _ => None,
        }
    }

    /// The result takes the chain region over when the old value is not read after the first write to it.
    fn place_result(&self, program: &Program, last_use: &[usize], homes: &mut [Home], storages: &mut [Storage]) {
        let Some(&Home::Internal(result)) = homes.last() else {
            return;
        };
        let last = self.buffer(program, homes.len() - 1);
        let free = (0..homes.len()).filter(|&value| homes[value] == Home::Chain).all(|old| {
            let in_place = last_use[old] == storages[result].from && self.buffer(program, old).same_shape(&last);
            last_use[old] < storages[result].from || in_place
        });
        if free {
            let shared = homes.iter_mut().filter(|home| **home == Home::Internal(result));
            shared.for_each(|home| *home = Home::Chain);
        } else {
            storages[result].to = homes.len();
        }
    }

    fn input_bytes(&self, program: &Program) -> Bytes {
        let read = |tensor: &TensorId| program.instructions.iter().any(|made| made.tensor == *tensor);
        let inputs = self.template.with_role(Role::Input).filter(read);
        let bytes = inputs.map(|tensor| self.template[tensor].bytes(self.limit));
        bytes.max().unwrap_or_default()
    }

    fn output_bytes(&self, program: &Program) -> Bytes {
        match program.output() {
            Some(made) if made.layout != Layout::Host => self.template[made.tensor].bytes(self.limit),
            _ => Bytes(0),
        }
    }

    fn scratch(&self, program: &Program, algorithm: impl Fn(usize) -> Option<Algorithm>) -> Bytes {
        let made = program.instructions.iter().enumerate();
        let arriving = made.filter_map(|(index, made)| self.arriving(made, algorithm(index)?));
        Bytes(arriving.max().unwrap_or(0).saturating_mul(self.wire.bytes()))
    }

    fn arriving(&self, made: &Instruction, algorithm: Algorithm) -> Option<u64> {
        let kind = match made.action {
            Action::AllReduce => CollectiveKind::AllReduce,
            Action::ReduceScatter | Action::MergeScatter => CollectiveKind::ReduceScatter,
            Action::Combine => CollectiveKind::Combine,
            _ => return None,
        };
        let tensor = &self.template[made.tensor];
        let whole = tensor.elements(self.limit);
        let ranks = self.partitions.first().map_or(1, Partition::ranks);
        let length = |range: Range<u64>| range.end - range.start;
        let by_rows = self.row_partition(made.tensor, made.layout);
        let part = |chunk: usize| match made.layout {
            Layout::Sharded(_) if let Some(dealt) = by_rows => {
                let row =
                    tensor.axes.iter().skip(1).fold(1, |row: u64, axis| row.saturating_mul(axis.size(self.limit)));
                row.saturating_mul(dealt.rows(chunk).most(self.limit.tokens))
            }
            Layout::Sharded(axis) => {
                let rows = whole / tensor.axes[usize::from(axis)].size(self.limit).max(1);
                rows.saturating_mul(length(self.share_of(made.tensor, axis, chunk)))
            }
            _ => length(even_chunk(whole, ranks, chunk)),
        };
        let wide = |elements: u64| match made.action {
            Action::MergeScatter => self.template.unmerged(made.tensor, elements),
            _ => elements,
        };
        let size = |chunk: Option<usize>| wide(chunk.map_or(whole, part));
        Some(arriving(kind, algorithm, ranks, self.rank, size))
    }
}

/// Elements that arrive at `rank` to be added in the fullest step of a schedule; `size` tells those of a chunk, or of
/// the whole buffer; of a combine all rows of a part may arrive from every other rank. Closed forms of [`CollectiveKind::schedule`], which is too long to be built for every group.
#[must_use]
pub fn arriving(
    kind: CollectiveKind,
    algorithm: Algorithm,
    ranks: usize,
    rank: usize,
    size: impl Fn(Option<usize>) -> u64,
) -> u64 {
    let others = ranks.saturating_sub(1) as u64;
    let core = Core::new(ranks);
    match (kind, algorithm) {
        _ if ranks < 2 => 0,
        (CollectiveKind::AllGather | CollectiveKind::Broadcast | CollectiveKind::Dispatch, _) => 0,
        (_, Algorithm::OneShot) => size(None).saturating_mul(others),
        (_, Algorithm::Direct) => size(Some(rank)).saturating_mul(others),
        (_, Algorithm::Ring) => {
            let never = (rank + ranks - 1) % ranks;
            let chunks = (0..ranks).filter(|&chunk| chunk != never);
            chunks.map(|chunk| size(Some(chunk))).max().unwrap_or(0)
        }
        (_, Algorithm::RecursiveDoubling) => core.added(rank, true).map_or(0, |_| size(None)),
        (_, Algorithm::HalvingDoubling) => {
            core.added(rank, kind == CollectiveKind::AllReduce).map_or(0, |chunks| in_all(chunks, ranks, size))
        }
        (_, Algorithm::Tree) if rank.is_multiple_of(2) && rank + 1 < ranks => size(None),
        (_, Algorithm::Tree) => 0,
    }
}

/// Elements of several chunks.
fn in_all(chunks: Chunks, ranks: usize, size: impl Fn(Option<usize>) -> u64) -> u64 {
    if chunks.count() == ranks {
        return size(None);
    }
    (chunks.start..chunks.end).fold(0, |sum: u64, chunk| sum.saturating_add(size(Some(chunk))))
}

impl LocalBuffer {
    fn same_shape(&self, other: &Self) -> bool {
        (self.rows, self.columns, self.dtype) == (other.rows, other.columns, other.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Use;

    #[test]
    fn closed_forms_agree_with_the_schedules() {
        use CollectiveKind::*;
        let size = |chunk: Option<usize>| chunk.map_or(1000, |chunk| [7, 1, 30, 0, 12][chunk % 5]);
        let ranks = || (1..=17).flat_map(|ranks| (0..ranks).map(move |rank| (ranks, rank)));
        for kind in [AllReduce, ReduceScatter, AllGather, Broadcast] {
            for &algorithm in kind.algorithms() {
                for (ranks, rank) in ranks() {
                    let steps = kind.schedule(algorithm, ranks).unwrap();
                    let added = |step: &crate::Step| -> u64 {
                        let here = step.iter().filter(|message| message.to == rank);
                        let added = here.filter(|message| message.with == Use::Reduce);
                        added.map(|message| in_all(message.chunks, ranks, size)).sum()
                    };
                    let expected = steps.iter().map(added).max().unwrap_or(0);
                    let name = format!("{kind} {algorithm} {rank}/{ranks}");
                    assert_eq!(arriving(kind, algorithm, ranks, rank, size), expected, "{name}");
                }
            }
        }
    }
}
