//! What each card holds: residents as parts of the model's tensors at places in their arenas, and all arenas within
//! the card.

use super::value::Span;
use super::{Logical, MAX_EXPANDED, arena, problem};
use crate::shard::shard_bytes;
use crate::{Memory, Plan, Resident, SailPlan, Slice, in_layer, tensor_name};
use sailplan_ir::{Bytes, Diagnostics, Dim, PositionShare, Role, SailKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

/// The residents of one card, weights first, then caches.
pub(crate) struct Holdings<'a> {
    pub(crate) residents: Vec<Holding>,
    /// By name as written, in order of the layers, which do not overlap.
    pub(crate) names: BTreeMap<&'a str, Vec<Candidate>>,
}

/// Layers that a name stands for, and the resident that holds them.
pub(crate) type Candidate = (Option<Range<u32>>, usize);

/// One resident.
pub(crate) struct Holding {
    pub(crate) cache: bool,
    /// For each layer, the tensor of the model.
    pub(crate) tensors: Vec<u32>,
    /// How it is cut.
    pub(crate) cut: Option<Cut>,
    /// Of a streamed weight: where its layers' shards lie, and the first one's number among all shards of the card.
    pub(crate) streamed: Option<arena::Extent>,
}

/// Which part of a tensor a resident is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Elements along an axis.
    Axis(u8, Span),
    /// Positions of a cache.
    Positions(PositionShare),
}

impl Holding {
    /// Where a streamed weight's shard of one layer lies, with its number.
    pub(crate) fn shard(&self, place: usize) -> Option<arena::Extent> {
        self.streamed.map(|(start, end, first)| (start, end, first + place))
    }
}

/// The holdings of every card.
pub(crate) fn all<'a>(
    plan: &'a Plan,
    logical: &Logical,
    kinds: &[&SailKind],
) -> Result<Vec<Holdings<'a>>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut left = MAX_EXPANDED;
    let mut all = Vec::new();
    let mut names = Names::default();
    for (sail, kind) in plan.sails.iter().zip(kinds) {
        let mut card =
            Card { plan, sail, kind, logical, found: Vec::new(), expanded: BTreeSet::new(), caches: BTreeSet::new() };
        all.push(card.holdings(&mut left, &mut names));
        card.memory();
        problems.0.extend(card.found.into_iter().map(|(place, message)| problem(place, message)));
    }
    problems.into_result(all)
}

/// Limits what one card can say about itself.
const MAX_PROBLEMS: usize = 20;

struct Card<'a, 'b> {
    plan: &'a Plan,
    sail: &'a SailPlan,
    kind: &'b SailKind,
    logical: &'b Logical,
    found: Vec<(String, String)>,
    /// Numbers of the names of all residents, layer by layer.
    expanded: BTreeSet<u32>,
    /// Caches that are held.
    caches: BTreeSet<u32>,
}

/// What residents are called layer by layer, for all cards: most hold the same.
#[derive(Default)]
struct Names<'a> {
    known: BTreeMap<Written<'a>, Rc<[Name]>>,
    numbers: BTreeMap<String, u32>,
}

/// A name as written, and its layers.
type Written<'a> = (&'a str, Option<(u32, u32)>);

/// A name in one layer: its number, and the tensor of the model, or what no tensor is called.
type Name = (u32, Result<u32, String>);

impl<'a> Names<'a> {
    fn of(&mut self, resident: &'a Resident, logical: &Logical) -> Rc<[Name]> {
        let layers = resident.layers.as_ref().map(|layers| layers.0.clone());
        let key = (resident.name.as_str(), layers.as_ref().map(|layers| (layers.start, layers.end)));
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        let expanded: Vec<String> = match layers {
            Some(layers) => layers.map(|layer| in_layer(&resident.name, layer)).collect(),
            None => vec![resident.name.clone()],
        };
        let one = |name: String| {
            let tensor = logical.find(tensor_name(&name)).ok_or_else(|| tensor_name(&name).to_owned());
            let next = self.numbers.len() as u32;
            (*self.numbers.entry(name).or_insert(next), tensor)
        };
        let names: Rc<[Name]> = expanded.into_iter().map(one).collect();
        self.known.insert(key, Rc::clone(&names));
        names
    }
}

impl<'a> Card<'a, '_> {
    fn push(&mut self, place: &str, message: impl Into<String>) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push((format!("{}.{place}", self.sail.sail), message.into()));
        }
    }

    fn holdings(&mut self, left: &mut u64, names: &mut Names<'a>) -> Holdings<'a> {
        let mut holdings = Holdings { residents: Vec::new(), names: BTreeMap::new() };
        let Memory { weights, kv, .. } = self.sail.memory;
        for (kind, residents, arena, cache) in
            [("weights", &self.sail.weights, weights, false), ("caches", &self.sail.caches, kv, true)]
        {
            let (mut extents, mut staging) = (Vec::new(), Vec::new());
            for (index, resident) in residents.iter().enumerate() {
                let place = format!("{kind}[{index}]");
                match self.holding(resident, (cache, names), left, (arena, index)) {
                    Ok((holding, mut places)) => {
                        let layers = resident.layers.as_ref().map(|layers| layers.0.clone());
                        let named = holdings.names.entry(resident.name.as_str()).or_default();
                        named.push((layers, holdings.residents.len()));
                        let streamed = holding.streamed.is_some();
                        holdings.residents.push(holding);
                        if streamed { &mut staging } else { &mut extents }.append(&mut places);
                    }
                    Err(reason) => self.push(&place, format!("`{}` {reason}", resident.name)),
                }
            }
            extents.extend(arena::united(staging));
            if let Some((a, b)) = arena::overlap(extents) {
                self.push(kind, format!("`{}` and `{}` overlap", residents[a].name, residents[b].name));
            }
        }
        for named in holdings.names.values_mut() {
            named.sort_by_key(|(layers, _)| layers.as_ref().map(|layers| layers.start));
        }
        holdings
    }

    /// The resident and the places of its layers.
    fn holding(
        &mut self,
        resident: &'a Resident,
        (cache, names): (bool, &mut Names<'a>),
        left: &mut u64,
        (arena, number): (Bytes, usize),
    ) -> Result<(Holding, Vec<arena::Extent>), String> {
        let layers = resident.layers.as_ref().map(|layers| layers.0.clone());
        let count = layers.as_ref().map_or(1, |range| u64::from(range.end.saturating_sub(range.start)));
        *left = left.checked_sub(count).filter(|_| count > 0).ok_or("stands for no layers, or for too many")?;
        if resident.streamed && (cache || resident.stride.0 > 0 || layers.is_none()) {
            return Err("is streamed, but no weight whose layers share a place".to_owned());
        }
        let first = self.expanded.len();
        let mut holding = Holding { cache, tensors: Vec::new(), cut: cut(resident.slice), streamed: None };
        let mut extents = Vec::new();
        for (place, (name, tensor)) in (0..count).zip(names.of(resident, self.logical).iter()) {
            let tensor = tensor.as_ref().map_err(|name| format!("is no part of the model: no `{name}`"));
            let tensor = *tensor?;
            self.fits(resident, tensor, cache)?;
            if !self.expanded.insert(*name) {
                return Err("is a name that another resident has".to_owned());
            }
            // Otherwise one program might fill one and the other read the other.
            if cache && !self.caches.insert(tensor) {
                return Err("is a cache that the Sail holds already".to_owned());
            }
            holding.tensors.push(tensor);
            let extent = extent(resident, place, arena).ok_or("lies outside its arena")?;
            extents.push((extent.0, extent.1, number));
        }
        if resident.streamed {
            let start = resident.offset.0;
            holding.streamed = Some((start, start.saturating_add(resident.bytes.0), first));
        }
        Ok((holding, extents))
    }

    fn fits(&self, resident: &Resident, tensor: u32, cache: bool) -> Result<(), String> {
        let known = &self.logical.tensors[tensor as usize];
        if (known.role == Role::Cache) != cache {
            return Err("lies in the wrong arena".to_owned());
        }
        if known.dtype != resident.dtype {
            return Err(format!("is {}, the model's `{}` is {}", resident.dtype, known.name, known.dtype));
        }
        if let Slice::Cut { axis, .. } = resident.slice
            && cache
            && known.dims.get(usize::from(axis)).is_none_or(|dim| *dim == Dim::Context)
        {
            return Err("is a cache cut along its positions, which are dealt in turns".to_owned());
        }
        let context = self.plan.request.decode_limit().context;
        match shard_bytes(&known.dims, known.dtype, resident.slice, context) {
            None => Err(format!("cannot be cut so: {:?}", resident.slice)),
            Some(bytes) if bytes != resident.bytes.0 => {
                Err(format!("has {:?}, its shape says {:?}", resident.bytes, Bytes(bytes)))
            }
            Some(_) => self.aligned([resident.offset, resident.stride]),
        }
    }

    fn aligned(&self, places: [Bytes; 2]) -> Result<(), String> {
        let step = self.kind.granularity.max(1);
        match places.into_iter().find(|place| !place.0.is_multiple_of(step)) {
            Some(place) => Err(format!("stands at {place:?}, which is no multiple of {step} bytes")),
            None => Ok(()),
        }
    }

    fn memory(&mut self) {
        let kind = self.kind;
        let Memory { capacity, reserve, weights, kv, activations, scratch } = self.sail.memory;
        if (capacity, reserve) != (kind.memory, kind.reserve) {
            self.push("memory", "capacity and reserve are not the fleet's");
        }
        let parts = [weights, kv, activations, scratch];
        let total = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.0));
        let room = kind.memory - kind.reserve;
        if total.is_none_or(|total| total > room.0) {
            let total =
                total.map_or_else(|| "more bytes than can be counted".to_owned(), |total| Bytes(total).to_string());
            self.push("memory", format!("the arenas take {total}, the Sail has {room} to plan with"));
        }
    }
}

fn cut(slice: Slice) -> Option<Cut> {
    match slice {
        Slice::Whole => None,
        Slice::Cut { axis, start, end } => Some(Cut::Axis(axis, Span { start, end })),
        Slice::Positions(share) => Some(Cut::Positions(share)),
    }
}

/// Where a layer's shard lies.
fn extent(resident: &Resident, place: u64, arena: Bytes) -> Option<(u64, u64)> {
    let start = resident.offset.0.checked_add(resident.stride.0.checked_mul(place)?)?;
    let end = start.checked_add(resident.bytes.0)?;
    (end <= arena.0).then_some((start, end))
}
