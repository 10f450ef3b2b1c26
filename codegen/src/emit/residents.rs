//! The weights and caches of one card: which slices, under which names, at which offsets.

use super::segments::{Local, Needed};
use crate::{Layers, Resident, Slice};
use sailplan_ir::{Bytes, Layout, Role, TensorId};
use std::collections::BTreeMap;

/// Residents in the making.
#[derive(Default)]
pub(crate) struct Residents {
    pub(crate) weights: Vec<Resident>,
    pub(crate) caches: Vec<Resident>,
    /// Slices of tensors that no layer's number tells apart, in the order in which they were needed.
    shared: BTreeMap<String, Vec<Slice>>,
    /// The streamed weights of one segment at most.
    staging: Bytes,
}

impl Residents {
    /// Takes in what one segment needs; what is there already is shared.
    pub(crate) fn add(&mut self, local: &Local<'_>, needed: &[Needed]) {
        let mut numbers: BTreeMap<String, Vec<Slice>> = BTreeMap::new();
        let mut staged = Bytes(0);
        for needed in needed {
            let tensor = &local.names.tensors[needed.tensor.index()];
            let layer = local.names.layer.filter(|_| tensor.contains("{layer}"));
            let slices = if layer.is_some() { &mut numbers } else { &mut self.shared };
            let slices = slices.entry(tensor.clone()).or_default();
            if slices.contains(&needed.slice) {
                continue;
            }
            slices.push(needed.slice);
            let name = numbered(tensor, slices.len());
            let cache = local.template()[needed.tensor].role == Role::Cache;
            let residents = if cache { &mut self.caches } else { &mut self.weights };
            let mut resident = resident(name, layer, needed, local.view.alignment);
            if needed.streamed {
                resident.offset = staged;
                staged += std::mem::take(&mut resident.stride);
            }
            push(residents, resident);
        }
        self.staging = self.staging.max(staged);
    }

    /// The name by which a segment calls a weight or a cache.
    pub(crate) fn name(&self, local: &Local<'_>, tensor: TensorId, layout: Layout) -> String {
        let own = &local.names.tensors[tensor.index()];
        let slice = local.slice(tensor, layout);
        let layered = local.names.layer.is_some() && own.contains("{layer}");
        let mut known: Vec<Slice> =
            if layered { Vec::new() } else { self.shared.get(own).cloned().unwrap_or_default() };
        if layered {
            let held = local.choice.form.residents();
            for (_, layout) in held.range((tensor, Layout::Whole)..=(tensor, Layout::Host)) {
                let slice = local.slice(tensor, *layout);
                if !known.contains(&slice) {
                    known.push(slice);
                }
            }
        }
        numbered(own, known.iter().position(|other| *other == slice).map_or(1, |index| index + 1))
    }

    /// Gives every resident its place, streamed ones behind the others; returns the sizes of the weights and the KV arena.
    pub(crate) fn place(&mut self) -> (Bytes, Bytes) {
        let place = |residents: &mut Vec<Resident>| {
            let mut end = Bytes(0);
            for resident in residents.iter_mut().filter(|resident| !resident.streamed) {
                resident.offset = end;
                end += resident.stride * layer_count(resident);
            }
            residents.iter_mut().filter(|resident| resident.streamed).for_each(|resident| resident.offset += end);
            end
        };
        (place(&mut self.weights) + self.staging, place(&mut self.caches))
    }
}

/// The first slice has the tensor's own name.
fn numbered(tensor: &str, number: usize) -> String {
    if number < 2 { tensor.to_owned() } else { format!("{tensor}#{number}") }
}

fn resident(name: String, layer: Option<u32>, needed: &Needed, alignment: u64) -> Resident {
    let layers = layer.map(|layer| Layers(layer..layer.saturating_add(1)));
    let Needed { slice, dtype, streamed, .. } = *needed;
    let bytes = Bytes(needed.bytes);
    Resident { name, layers, slice, dtype, bytes, offset: Bytes(0), stride: bytes.aligned(alignment), streamed }
}

/// The next layer of the same slice extends the resident it follows; a streamed one lies where the layer before it does.
/// Others of the same slice stand and lie behind it, so that a plan's text has one line for them all.
fn push(residents: &mut Vec<Resident>, next: Resident) {
    let alike = |known: &Resident| {
        known.name == next.name
            && (known.slice, known.dtype, known.streamed) == (next.slice, next.dtype, next.streamed)
            && (!next.streamed || known.offset == next.offset)
    };
    let same = residents.iter().rposition(alike);
    if let Some(Resident { layers: Some(layers), .. }) = same.map(|same| &mut residents[same])
        && let Some(own) = &next.layers
        && layers.0.end == own.0.start
    {
        layers.0.end = own.0.end;
        return;
    }
    residents.insert(same.map_or(residents.len(), |same| same + 1), next);
}

fn layer_count(resident: &Resident) -> u64 {
    resident.layers.as_ref().map_or(1, |layers| u64::from(layers.0.end.saturating_sub(layers.0.start)))
}
