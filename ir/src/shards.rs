//! The weight slices that a placement keeps on cards: each distinct slice once, with the cards that hold it. What is
//! loaded is decided over these; where they lie in memory is not known here.

use crate::{
    Bytes, Choice, DType, Dim, Domains, Extents, Graph, LayerClass, Layout, Model, Role, SailId, Segment, Stage,
    Tensor, TensorId,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// A slice of a weight, the same one in consecutive layers, and who holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// The first segment that reads it, as an index into the model's chain.
    pub segment: u32,
    /// The weight in the template of that segment's class.
    pub tensor: TensorId,
    /// Layers from that segment's on; 1 for a weight that no layer's number tells apart.
    pub layers: u32,
    /// Elements along one axis; `None` is the whole tensor.
    pub part: Option<(u8, Range<u64>)>,
    /// Over all its layers.
    pub bytes: Bytes,
    /// Cards in order of id.
    pub holders: Vec<SailId>,
}

/// All weight slices of these stages, in order of first use; slices of one weight of several runs of layers stand
/// together when they are alike.
///
/// # Panics
/// When the stages do not fit the model.
#[must_use]
pub fn shards(model: &Model, stages: &[Stage]) -> Vec<Shard> {
    let domains: Vec<Domains> = model.classes.iter().map(|class| Domains::of(&class.template)).collect();
    let mut all = Shards { model, found: Vec::new(), last: BTreeMap::new(), first: BTreeMap::new() };
    for stage in stages {
        for run in runs(model, stage) {
            let choice = choice(stage, run.start);
            let slices = slices(&model.classes[choice.form.class.index()], &domains, choice, &stage.sails);
            slices.into_iter().for_each(|slice| all.add(slice, &run));
        }
    }
    // Stable: runs of layers keep their order.
    all.found.sort_by_key(|found| found.first);
    all.found.into_iter().map(|found| found.shard).collect()
}

fn choice(stage: &Stage, segment: usize) -> &Choice {
    &stage.choices[stage.assignment[segment - stage.segments.start as usize] as usize]
}

/// Segments in a row with one choice whose weights have one name but for the layer's number.
fn runs(model: &Model, stage: &Stage) -> Vec<Range<usize>> {
    let first = stage.segments.start as usize;
    let follows = |one: &Segment, next: &Segment| {
        one.class == next.class
            && model.class(one.class).patterned
            && one.layer.is_some()
            && one.layer.and_then(|layer| layer.checked_add(1)) == next.layer
    };
    let mut runs: Vec<Range<usize>> = Vec::new();
    for segment in first..stage.segments.end as usize {
        match runs.last_mut() {
            Some(run)
                if follows(&model.segments[segment - 1], &model.segments[segment])
                    && stage.assignment[segment - 1 - first] == stage.assignment[segment - first] =>
            {
                run.end += 1;
            }
            _ => runs.push(segment..segment + 1),
        }
    }
    runs
}

/// One slice that some ranks hold of each segment of a run.
struct Slice<'a> {
    tensor: TensorId,
    name: &'a str,
    dtype: DType,
    part: Option<(u8, Range<u64>)>,
    bytes: Bytes,
    holders: Vec<SailId>,
    /// Whether the form holds the weight in no other layout.
    alone: bool,
}

fn slices<'a>(class: &'a LayerClass, domains: &[Domains], choice: &Choice, sails: &[SailId]) -> Vec<Slice<'a>> {
    let template = &class.template;
    let residents = choice.form.residents();
    let mut all: Vec<Slice<'a>> = Vec::new();
    let loaded = |&&(tensor, layout): &&(TensorId, Layout)| {
        template[tensor].role == Role::Weight && !choice.streams(tensor, layout)
    };
    for &(tensor, layout) in residents.iter().filter(loaded) {
        let first = all.iter().position(|slice| slice.tensor == tensor).unwrap_or(all.len());
        let alone = residents.range((tensor, Layout::Whole)..=(tensor, Layout::Host)).count() == 1;
        for (rank, &sail) in sails.iter().enumerate() {
            let part = part(template, &domains[choice.form.class.index()], choice, (tensor, layout, rank));
            match all[first..].iter_mut().find(|known| known.part == part) {
                Some(known) => hold(&mut known.holders, sail),
                None => {
                    let bytes = bytes(&template[tensor], part.as_ref());
                    let (name, dtype) = (template[tensor].name.as_str(), template[tensor].dtype);
                    all.push(Slice { tensor, name, dtype, part, bytes, holders: vec![sail], alone });
                }
            }
        }
    }
    all
}

/// A cut that leaves everything is no cut.
fn part(
    template: &Graph,
    domains: &Domains,
    choice: &Choice,
    (tensor, layout, rank): (TensorId, Layout, usize),
) -> Option<(u8, Range<u64>)> {
    let Layout::Sharded(axis) = layout else { return None };
    let per_unit = domains.elements_per_unit(template, tensor, axis);
    let share = choice.partitions[domains.domain(tensor, axis).index()].elements(rank, per_unit);
    (template[tensor].axes[usize::from(axis)] != Dim::Fixed(share.end - share.start)).then_some((axis, share))
}

fn bytes(tensor: &Tensor, part: Option<&(u8, Range<u64>)>) -> Bytes {
    let whole = Extents { tokens: 0, context: 0, outputs: 0 };
    let size = |(axis, dim): (usize, &Dim)| match part {
        Some((cut, share)) if usize::from(*cut) == axis => share.end - share.start,
        _ => dim.size(whole),
    };
    let elements = tensor.axes.iter().enumerate().map(size).fold(1, u64::saturating_mul);
    Bytes(elements.div_ceil(tensor.dtype.block()).saturating_mul(tensor.dtype.block_bytes()))
}

/// Adds a card in order of id, once.
fn hold(holders: &mut Vec<SailId>, sail: SailId) {
    if let Err(place) = holders.binary_search(&sail) {
        holders.insert(place, sail);
    }
}

/// Slices in the making.
struct Shards<'a> {
    model: &'a Model,
    found: Vec<Found<'a>>,
    /// The last slice of a weight with this name, or of a weight that no layer's number tells apart.
    last: BTreeMap<Key<'a>, usize>,
    /// The first slice of a weight with this name and type.
    first: BTreeMap<(Named<'a>, DType, Option<Cut>), usize>,
}

struct Found<'a> {
    shard: Shard,
    slice: Slice<'a>,
    /// The layer after the last.
    end: Option<u32>,
    /// The number of the first slice that is like it but for its layers.
    first: usize,
}

/// A weight and the part of it.
type Key<'a> = (Named<'a>, Option<Cut>);

/// An axis, and the elements along it.
type Cut = (u8, u64, u64);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Named<'a> {
    Layered(&'a str),
    Single(TensorId),
}

impl<'a> Shards<'a> {
    /// Takes in what the segments of a run hold.
    fn add(&mut self, slice: Slice<'a>, run: &Range<usize>) {
        let first = &self.model.segments[run.start];
        let patterned = self.model.class(first.class).patterned && slice.name.contains("{layer}");
        let layer = first.layer.filter(|_| patterned);
        let layers = if layer.is_some() { run.len() as u32 } else { 1 };
        let own = || Named::Single(first.tensors[slice.tensor.index()]);
        let cut = slice.part.as_ref().map(|(axis, share)| (*axis, share.start, share.end));
        let key = (layer.map_or_else(own, |_| Named::Layered(slice.name)), cut);
        if let Some(&known) = self.last.get(&key)
            && self.found[known].extend(&slice, layer, layers)
        {
            return;
        }
        let alike = (key.0.clone(), slice.dtype, cut);
        let first = *self.first.entry(alike).or_insert(self.found.len());
        self.last.insert(key, self.found.len());
        let (segment, tensor, part) = (run.start as u32, slice.tensor, slice.part.clone());
        let (bytes, holders) = (slice.bytes.times(u64::from(layers)), slice.holders.clone());
        let shard = Shard { segment, tensor, layers, part, bytes, holders };
        let end = layer.map(|layer| layer.saturating_add(layers));
        self.found.push(Found { shard, slice, end, first });
    }
}

impl Found<'_> {
    /// A single weight has more holders; a weight of layers goes on when the next ones have it in the same place.
    fn extend(&mut self, next: &Slice<'_>, layer: Option<u32>, layers: u32) -> bool {
        if layer.is_none() {
            next.holders.iter().for_each(|&sail| hold(&mut self.shard.holders, sail));
            return true;
        }
        let same = self.slice.alone && next.alone && self.slice.dtype == next.dtype && self.slice.bytes == next.bytes;
        if self.end != layer || !same || self.shard.holders != next.holders {
            return false;
        }
        self.end = layer.map(|layer| layer.saturating_add(layers));
        self.shard.layers += layers;
        self.shard.bytes += next.bytes.times(u64::from(layers));
        true
    }
}
