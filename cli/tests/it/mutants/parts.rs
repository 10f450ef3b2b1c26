//! One field changed of what instructions work on: buffers, residents, loads, cards, and the head of the plan.

use super::change::Words;
use super::numbers::Numbers;
use sailplan_codegen::{Load, Plan, Program, Resident, SailPlan, Slice};
use sailplan_ir::{Bytes, Constant, DType, Dim, Op, Picoseconds, PositionShare, Role, RowShare, Wire};

/// Changes, drops, copies or exchanges one of a list; `fields` changes one thing inside.
fn item<T: Clone + std::fmt::Debug>(
    items: &mut Vec<T>,
    numbers: &mut Numbers,
    fields: impl Fn(&mut T, &mut Numbers),
) -> String {
    let (index, other) = (numbers.below(items.len()), numbers.below(items.len()));
    if items.is_empty() {
        return "nothing".to_owned();
    }
    let shown = format!("{:?}", items[index]);
    match numbers.below(12) {
        0 => drop(items.remove(index)),
        1 => items.insert(other, items[index].clone()),
        2 => items.swap(index, other),
        _ => fields(&mut items[index], numbers),
    }
    format!("{shown} made {:?}", items.get(index))
}

pub(crate) fn buffer(program: &mut Program, words: &Words, numbers: &mut Numbers) -> String {
    item(&mut program.buffers, numbers, |buffer, numbers| match numbers.below(6) {
        0 => buffer.name = numbers.pick(&words.names).cloned().unwrap_or_default(),
        1 => {
            buffer.rows = match buffer.rows {
                Dim::Tokens => Dim::Outputs,
                Dim::Part(_) if numbers.below(2) == 0 => {
                    RowShare::among(&[1, 2, 1], numbers.below(3)).map_or(Dim::Tokens, Dim::Part)
                }
                _ => Dim::Tokens,
            }
        }
        2 => buffer.columns = numbers.near(buffer.columns),
        3 => buffer.dtype = *numbers.pick(&[DType::F32, DType::I32, DType::F16]).unwrap(),
        4 => buffer.bytes = Bytes(numbers.near(buffer.bytes.0)),
        _ => buffer.offset = Bytes(numbers.near(buffer.offset.0)),
    })
}

pub(crate) fn resident(sail: &mut SailPlan, numbers: &mut Numbers) -> String {
    let caches = numbers.below(3) == 0;
    let names: Vec<String> = sail.weights.iter().chain(&sail.caches).map(|one| one.name.clone()).collect();
    let residents = if caches { &mut sail.caches } else { &mut sail.weights };
    item(residents, numbers, |resident, numbers| match numbers.below(8) {
        0 => resident.name = numbers.pick(&names).cloned().unwrap_or_default(),
        1 => layers(resident, numbers),
        2 => resident.slice = slice(resident.slice, numbers),
        3 => resident.dtype = *numbers.pick(&[DType::F32, DType::F16, DType::Q4_0, DType::Q8_0]).unwrap(),
        4 => resident.bytes = Bytes(numbers.near(resident.bytes.0)),
        5 => resident.offset = Bytes(numbers.near(resident.offset.0)),
        6 => resident.stride = Bytes(numbers.near(resident.stride.0)),
        _ => resident.streamed ^= true,
    })
}

fn layers(resident: &mut Resident, numbers: &mut Numbers) {
    match &mut resident.layers {
        Some(layers) if numbers.below(2) == 0 => layers.0.start = numbers.near_u32(layers.0.start),
        Some(layers) => layers.0.end = numbers.near_u32(layers.0.end),
        None => resident.slice = slice(resident.slice, numbers),
    }
}

fn slice(slice: Slice, numbers: &mut Numbers) -> Slice {
    match slice {
        Slice::Whole => Slice::Cut { axis: numbers.below(2) as u8, start: 0, end: numbers.near(64) },
        Slice::Cut { axis, start, end } => match numbers.below(5) {
            0 => Slice::Whole,
            1 => Slice::Cut { axis: axis ^ 1, start, end },
            2 => Slice::Cut { axis, start: numbers.near(start), end },
            3 => Slice::Cut { axis, start, end: numbers.near(end) },
            _ => Slice::Cut { axis, start: start + (end - start), end: end + (end - start) },
        },
        Slice::Positions(share) => match numbers.below(4) {
            0 => Slice::Whole,
            1 => Slice::Cut { axis: 0, start: 0, end: numbers.near(16) },
            2 => positions((share.first() + 1) % share.of(), share.of()),
            _ => positions(share.first(), share.of() + 1),
        },
    }
}

fn positions(first: u64, of: u64) -> Slice {
    PositionShare::new(first, of).map_or(Slice::Whole, Slice::Positions)
}

pub(crate) fn load(loads: &mut Vec<Load>, words: &Words, numbers: &mut Numbers) -> String {
    let names = loads.iter().map(|load| load.weight.clone()).collect::<Vec<_>>();
    item(loads, numbers, |load, numbers| {
        let sail = numbers.pick(&words.sails).copied();
        match numbers.below(7) {
            0 => load.weight = numbers.pick(&names).cloned().unwrap_or_default(),
            1 => load.layers = None,
            2 => {
                if let Some(layers) = &mut load.layers {
                    layers.0.end = numbers.near_u32(layers.0.end);
                }
            }
            3 => load.from = if load.from.is_some() && numbers.below(2) == 0 { None } else { sail },
            4 => load.to = if load.to.is_some() && numbers.below(2) == 0 { None } else { sail },
            5 => load.bytes = Bytes(numbers.near(load.bytes.0)),
            _ => load.time = Picoseconds(numbers.near(load.time.0)),
        }
    })
}

pub(crate) fn card(sail: &mut SailPlan, words: &Words, numbers: &mut Numbers) -> String {
    let before = (sail.memory.clone(), sail.group.clone(), sail.stage, sail.replica);
    let memory = &mut sail.memory;
    match numbers.below(11) {
        0 => memory.capacity = Bytes(numbers.near(memory.capacity.0)),
        1 => memory.reserve = Bytes(numbers.near(memory.reserve.0)),
        2 => memory.weights = Bytes(numbers.near(memory.weights.0)),
        3 => memory.kv = Bytes(numbers.near(memory.kv.0)),
        4 => memory.activations = Bytes(numbers.near(memory.activations.0)),
        5 => memory.scratch = Bytes(numbers.near(memory.scratch.0)),
        6 => sail.stage = numbers.near_u32(sail.stage),
        7 => sail.group.reverse(),
        8 => sail.group.extend(numbers.pick(&words.sails)),
        9 => sail.replica = numbers.near_u32(sail.replica),
        _ => std::mem::swap(&mut sail.prefill, &mut sail.decode),
    }
    format!("{before:?} made {:?}", (&sail.memory, &sail.group, sail.stage, sail.replica))
}

/// The head: the request, the fleet, the logical model, the list of cards.
pub(crate) fn head(plan: &mut Plan, numbers: &mut Numbers) -> String {
    let request = &mut plan.request;
    match numbers.below(15) {
        0 => request.prompt = numbers.near(request.prompt),
        1 => request.context = numbers.near(request.context),
        2 => request.chunk = numbers.near(request.chunk),
        3 => request.batch = numbers.near(request.batch),
        4 => request.wire = if request.wire == Wire::F32 { Wire::Bf16 } else { Wire::F32 },
        5 => request.cache = if request.cache == DType::F32 { DType::F16 } else { DType::F32 },
        6 => plan.version = numbers.near_u32(plan.version),
        7 => plan.fleet.digest.push('0'),
        8 => {
            numbers.pick_mut(&mut plan.fleet.inline.sails).unwrap().count += 1;
        }
        9 => {
            let sail = numbers.below(plan.sails.len());
            plan.sails.remove(sail);
        }
        10 => {
            let (one, other) = (numbers.below(plan.sails.len()), numbers.below(plan.sails.len()));
            plan.sails.swap(one, other);
        }
        11 => {
            let sail = numbers.below(plan.sails.len());
            plan.fleet.inline.lost.push(plan.sails[sail].sail);
        }
        _ => return model(plan, numbers),
    }
    format!("head: {:?} {:?} {:?}", plan.request, plan.sails.len(), plan.fleet.inline.lost)
}

/// The logical model: the verifier holds the programs to it, so a change there must show as a contradiction.
fn model(plan: &mut Plan, numbers: &mut Numbers) -> String {
    if numbers.below(4) == 0 {
        let link = numbers.pick_mut(&mut plan.model.chain).unwrap();
        if let Some(layers) = &mut link.layers {
            layers.0.end = numbers.near_u32(layers.0.end);
        }
        return format!("chain: {link:?}");
    }
    let class = numbers.pick_mut(&mut plan.model.classes).unwrap();
    if numbers.below(2) == 0 {
        let tensor = numbers.pick_mut(&mut class.tensors).unwrap();
        match numbers.below(3) {
            0 => tensor.dtype = DType::F16,
            1 => tensor.role = *numbers.pick(&[Role::Weight, Role::Value, Role::Cache, Role::Input]).unwrap(),
            _ => {
                for dim in &mut tensor.dims {
                    if let Dim::Fixed(size) = dim {
                        *size = numbers.near(*size);
                    }
                }
            }
        }
        return format!("model: {tensor:?}");
    }
    let node = numbers.pick_mut(&mut class.nodes).unwrap();
    match (&mut node.op, numbers.below(2)) {
        (Op::RmsNorm { epsilon }, 0) => *epsilon = Constant(epsilon.0 * 2.0),
        (Op::Rope { base, .. }, 0) => *base = Constant(base.0 * 2.0),
        _ => node.inputs.reverse(),
    }
    format!("model: {node:?}")
}
