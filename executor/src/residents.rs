//! What a card holds: each weight shard with its place in the file and in the arena, each cache. Here the plan's
//! tensors meet the file's; every difference is an error with both sides. It knows no programs and no threads.

use crate::ReplayError;
use crate::device::{Cache, Device, Weight};
use crate::shards::Cut;
use sailplan_codegen::{Layers, Plan, PlanTensor, Resident, SailPlan, Slice, in_layer, tensor_name};
use sailplan_ir::{DType, PositionShare, SailId, WeightEntry, WeightIndex};
use std::collections::BTreeMap;

/// One shard to load.
pub(crate) struct Shard {
    /// As instructions say it.
    pub(crate) name: String,
    /// As files say it.
    pub(crate) tensor: String,
    pub(crate) entry: WeightEntry,
    pub(crate) cut: Cut,
    pub(crate) weight: Weight,
}

/// The tensors of a plan's model beside those of the files.
pub(crate) struct Tensors<'a> {
    logical: BTreeMap<String, &'a PlanTensor>,
    index: &'a WeightIndex,
    /// Positions of a cache, those of all requests on their way.
    positions: u64,
}

/// One layer's shard of a resident.
struct Held<'a> {
    sail: SailId,
    resident: &'a Resident,
    /// As instructions say it.
    name: String,
    /// As the model and the files say it.
    tensor: String,
    /// First byte in its arena.
    offset: u64,
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(plan: &'a Plan, index: &'a WeightIndex) -> Self {
        let mut logical = BTreeMap::new();
        for link in &plan.model.chain {
            let classes = plan.model.classes.iter().filter(|class| class.name == link.class);
            for tensor in classes.flat_map(|class| &class.tensors) {
                logical.extend(expanded(&tensor.name, link.layers.as_ref()).map(|(_, name)| (name, tensor)));
            }
        }
        let positions = plan.request.decode_limit().context;
        Self { logical, index, positions }
    }

    /// All weight shards of a card.
    pub(crate) fn shards<D: Device>(&self, sail: &SailPlan) -> Result<Vec<Shard>, ReplayError> {
        held(sail.sail, &sail.weights).map(|held| self.shard::<D>(held)).collect()
    }

    /// All caches of a card, by name.
    pub(crate) fn caches<D: Device>(&self, sail: &SailPlan) -> Result<BTreeMap<String, Cache>, ReplayError> {
        let caches = held(sail.sail, &sail.caches);
        caches.map(|held| Ok((held.name.clone(), self.cache::<D>(held)?))).collect()
    }

    fn shard<D: Device>(&self, held: Held<'_>) -> Result<Shard, ReplayError> {
        let dims = self.logical.get(&held.tensor);
        let dims: Option<Vec<u64>> = dims.and_then(|tensor| tensor.dims.iter().map(|dim| dim.fixed()).collect());
        let dims = dims.ok_or_else(|| held.malformed(&"the model has no such weight"))?;
        let dtype = held.resident.dtype;
        let entry = self.entry(&held, &dims)?;
        if !D::computes(dtype) {
            return Err(ReplayError::UnsupportedDType { tensor: held.tensor, dtype, device: D::NAME });
        }
        let cut = held.cut(&dims, &entry)?;
        let Cut { rows, columns, first_row, .. } = cut;
        let weight = Weight { offset: held.offset, rows, columns, first_row, dtype };
        Ok(Shard { name: held.name, tensor: held.tensor, entry, cut, weight })
    }

    /// The file's tensor, which must be the plan's.
    fn entry(&self, held: &Held<'_>, dims: &[u64]) -> Result<WeightEntry, ReplayError> {
        let (tensor, dtype) = (held.tensor.clone(), held.resident.dtype);
        let found = self.index.tensors.get(&tensor).filter(|entry| entry.file < self.index.files.len());
        match found.cloned() {
            None => Err(ReplayError::MissingWeight { tensor, files: self.index.files.join(", ") }),
            Some(entry) if entry.dims != dims => {
                Err(ReplayError::WrongShape { tensor, expected: dims.to_vec(), found: entry.dims })
            }
            Some(entry) if entry.dtype != dtype => {
                Err(ReplayError::WrongDType { tensor, expected: dtype, found: entry.dtype })
            }
            Some(entry) => Ok(entry),
        }
    }

    fn cache<D: Device>(&self, held: Held<'_>) -> Result<Cache, ReplayError> {
        let tensor = self.logical.get(&held.tensor).ok_or_else(|| held.malformed(&"the model has no such cache"))?;
        let width = tensor.dims.get(1).and_then(|dim| dim.fixed()).unwrap_or(0);
        let (columns, share) = match held.resident.slice {
            Slice::Whole => (width, PositionShare::ALL),
            Slice::Positions(share) => (width, share),
            Slice::Cut { axis: 1, start, end } if end <= width => (end.saturating_sub(start), PositionShare::ALL),
            Slice::Cut { .. } => {
                return Err(held.malformed(&"a cache can only be cut along its heads or its positions"));
            }
        };
        let rows = share.most(self.positions);
        let dtype = held.resident.dtype;
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(ReplayError::UnsupportedDType { tensor: held.tensor, dtype, device: D::NAME });
        }
        if dtype.bytes(rows.saturating_mul(columns)) != Some(held.resident.bytes) {
            return Err(held.malformed(&format!("its shard does not have {}", held.resident.bytes)));
        }
        Ok(Cache { offset: held.offset, rows, share, columns, dtype })
    }
}

impl Held<'_> {
    /// Which bytes of the file's tensor the shard is.
    fn cut(&self, dims: &[u64], entry: &WeightEntry) -> Result<Cut, ReplayError> {
        let dtype = self.resident.dtype;
        let whole = Cut::new(dims, dtype, Slice::Whole).and_then(|cut| cut.bytes());
        if whole != Some(entry.bytes.0) {
            return Err(self.malformed(&format!("{} in the file are not {dims:?} of {dtype}", entry.bytes)));
        }
        let slice = self.resident.slice;
        let cut = Cut::new(dims, dtype, slice).ok_or_else(|| self.malformed(&format!("no such part: {slice:?}")))?;
        if cut.bytes() != Some(self.resident.bytes.0) {
            return Err(self.malformed(&format!("its shard does not have {}", self.resident.bytes)));
        }
        Ok(cut)
    }

    fn malformed(&self, problem: &dyn std::fmt::Display) -> ReplayError {
        ReplayError::Malformed { sail: self.sail, problem: format!("`{}`: {problem}", self.name) }
    }
}

/// Each layer's shard of each resident.
fn held(sail: SailId, residents: &[Resident]) -> impl Iterator<Item = Held<'_>> {
    residents.iter().flat_map(move |resident| {
        expanded(&resident.name, resident.layers.as_ref()).map(move |(place, name)| {
            let skipped = resident.stride.0.saturating_mul(place);
            Held {
                sail,
                resident,
                tensor: tensor_name(&name).to_owned(),
                name,
                offset: resident.offset.0.saturating_add(skipped),
            }
        })
    })
}

/// A name once for each layer, with the layer's place in the range.
pub(crate) fn expanded<'a>(name: &'a str, layers: Option<&Layers>) -> impl Iterator<Item = (u64, String)> + use<'a> {
    let (range, layered) = layers.map_or((0..1, false), |layers| (layers.0.clone(), true));
    let named = move |layer| {
        if layered { in_layer(name, layer) } else { name.to_owned() }
    };
    (0..).zip(range.map(named))
}
