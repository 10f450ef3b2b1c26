//! The placement's loads as steps of each card, in the placement's order.

use super::Source;
use crate::names::tensor_name;
use crate::{Layers, Load, Resident, SailPlan, Slice};
use sailplan_ir::{Diagnostic, SailId, Shard};
use std::collections::BTreeMap;

/// Gives every card its load steps; `sails` are in order of id.
pub(crate) fn load(source: Source<'_>, sails: &mut [SailPlan]) -> Result<(), Diagnostic> {
    let steps = steps(source, sails)?;
    for (sail, load) in sails.iter_mut().zip(steps) {
        sail.load = load;
    }
    Ok(())
}

/// A tensor of the files, and which part of it.
type Part<'a> = (&'a str, Slice);

fn steps(source: Source<'_>, sails: &[SailPlan]) -> Result<Vec<Vec<Load>>, Diagnostic> {
    let held: Vec<BTreeMap<Part<'_>, Vec<&Resident>>> = sails.iter().map(held).collect();
    let place: BTreeMap<SailId, usize> = sails.iter().enumerate().map(|(place, sail)| (sail.sail, place)).collect();
    let mut steps: Vec<Vec<Load>> = vec![Vec::new(); sails.len()];
    for load in &source.placement.loads {
        let wanted = Wanted::new(source, &load.shard)?;
        let taken: Vec<_> = load.steps().collect();
        for (index, &(sail, from, time)) in taken.iter().enumerate() {
            let place = *place.get(&sail).ok_or_else(|| wanted.missing(sail))?;
            let resident = wanted.find(&held[place]).ok_or_else(|| wanted.missing(sail))?;
            let to = taken.get(index + 1).filter(|next| next.1.is_some()).map(|next| next.0);
            let (weight, layers, bytes) = (resident.name.clone(), wanted.layers.clone(), load.shard.bytes);
            steps[place].push(Load { weight, layers, from, to, bytes, time });
        }
    }
    Ok(steps)
}

fn held(sail: &SailPlan) -> BTreeMap<Part<'_>, Vec<&Resident>> {
    let mut held: BTreeMap<Part<'_>, Vec<&Resident>> = BTreeMap::new();
    for resident in &sail.weights {
        held.entry((tensor_name(&resident.name), resident.slice)).or_default().push(resident);
    }
    held
}

/// A slice in the plan's words.
struct Wanted<'a> {
    name: &'a str,
    slice: Slice,
    layers: Option<Layers>,
}

impl<'a> Wanted<'a> {
    fn new(source: Source<'a>, shard: &Shard) -> Result<Self, Diagnostic> {
        let segment = shard.segment as usize;
        let names = (segment < source.model.segments.len()).then(|| source.names.segment(segment));
        let unknown = || Diagnostic::new(format!("the model has no {} in segment {segment} to load", shard.tensor));
        let names = names.ok_or_else(unknown)?;
        let name = names.tensors.get(shard.tensor.index()).ok_or_else(unknown)?;
        let layer = names.layer.filter(|_| name.contains("{layer}"));
        let layers = layer.map(|layer| Layers(layer..layer.saturating_add(shard.layers)));
        let slice = match &shard.part {
            Some((axis, share)) => Slice::Cut { axis: *axis, start: share.start, end: share.end },
            None => Slice::Whole,
        };
        Ok(Self { name, slice, layers })
    }

    /// The resident that has all these layers.
    fn find<'b>(&self, held: &BTreeMap<Part<'_>, Vec<&'b Resident>>) -> Option<&'b Resident> {
        let covers = |resident: &&&Resident| match (&resident.layers, &self.layers) {
            (Some(all), Some(some)) => all.0.start <= some.0.start && some.0.end <= all.0.end,
            (None, None) => true,
            _ => false,
        };
        held.get(&(self.name, self.slice))?.iter().find(covers).copied()
    }

    fn missing(&self, sail: SailId) -> Diagnostic {
        Diagnostic::new(format!("{sail} does not hold what it is to load: {:?} of `{}`", self.slice, self.name))
    }
}
