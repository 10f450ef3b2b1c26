//! One segment's choice as one rank sees it: the slices it holds and the names they have.

use super::Source;
use super::names::SegmentNames;
use crate::Slice;
use crate::shard::shard_bytes;
use sailplan_ir::{Choice, DType, Diagnostic, Dim, Graph, Layout, RankView, Role, Stage, TensorId};

/// A segment on one rank of its stage's group.
#[derive(Clone, Copy)]
pub(crate) struct Local<'a> {
    pub(crate) names: &'a SegmentNames,
    pub(crate) choice: &'a Choice,
    pub(crate) view: RankView<'a>,
}

/// A weight or a cache that a segment needs.
pub(crate) struct Needed {
    pub(crate) tensor: TensorId,
    pub(crate) slice: Slice,
    pub(crate) dtype: DType,
    pub(crate) bytes: u64,
    /// Whether it stays on the host.
    pub(crate) streamed: bool,
}

impl<'a> Local<'a> {
    /// The segment with this index in the model's chain, at the limits of the prefill program.
    pub(crate) fn new(source: Source<'a>, stage: &'a Stage, rank: usize, segment: usize) -> Self {
        let class = source.model.segments[segment].class.index();
        let choice = stage.assignment[segment - stage.segments.start as usize] as usize;
        let choice = &stage.choices[choice];
        let view = RankView {
            template: &source.model.classes[class].template,
            domains: &source.domains[class],
            partitions: &choice.partitions,
            rank,
            limit: source.request.prefill_limit(),
            alignment: source.fleet.kind(stage.sails[rank]).granularity,
            wire: source.request.wire,
        };
        Self { names: source.names.segment(segment), choice, view }
    }

    pub(crate) fn template(&self) -> &'a Graph {
        self.view.template
    }

    /// Weights and caches, in order of the template.
    pub(crate) fn needed(&self) -> Result<Vec<Needed>, Diagnostic> {
        let residents = self.choice.form.residents().into_iter();
        let held = residents.filter(|(tensor, _)| matches!(self.template()[*tensor].role, Role::Weight | Role::Cache));
        held.map(|(tensor, layout)| self.needs(tensor, layout)).collect()
    }

    pub(crate) fn needs(&self, tensor: TensorId, layout: Layout) -> Result<Needed, Diagnostic> {
        let (slice, dtype) = (self.slice(tensor, layout), self.template()[tensor].dtype);
        let bytes = shard_bytes(&self.template()[tensor].axes, dtype, slice, self.view.limit.context);
        let bytes = bytes.ok_or_else(|| {
            let name = &self.names.tensors[tensor.index()];
            Diagnostic::new(format!("{slice:?} of `{name}` is no whole number of {dtype} blocks"))
        })?;
        Ok(Needed { tensor, slice, dtype, bytes, streamed: self.choice.streams(tensor, layout) })
    }

    /// A cut that leaves everything is no cut.
    pub(crate) fn slice(&self, tensor: TensorId, layout: Layout) -> Slice {
        if let Some(share) = self.view.positions(tensor, layout) {
            return Slice::Positions(share);
        }
        match self.view.share(tensor, layout) {
            Some((axis, share))
                if self.template()[tensor].axes[usize::from(axis)] != Dim::Fixed(share.end - share.start) =>
            {
                Slice::Cut { axis, start: share.start, end: share.end }
            }
            _ => Slice::Whole,
        }
    }
}
