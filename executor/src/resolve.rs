//! From a plan's names to offsets, once before the first step: repeats are unrolled, so that a step does no work on
//! strings. It knows programs and what a card holds, no threads.

use crate::ReplayError;
use crate::collectives::{Collective, Exchange};
use crate::device::{Arenas, Buffer, Cache, Device, Kernel, Operand, Weight};
use crate::residents::{Shard, Tensors, expanded};
use sailplan_codegen::{Instruction, Memory, Plan, Product, Program, ReduceOp, SailPlan, in_layer};
use sailplan_ir::{Dim, SailId, WeightIndex};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that one card does, without names.
pub(crate) struct Script {
    pub(crate) sail: SailId,
    pub(crate) arenas: Arenas,
    pub(crate) shards: Vec<Shard>,
    /// In order.
    pub(crate) loads: Vec<Load>,
    pub(crate) prefill: Arc<[Action]>,
    pub(crate) decode: Arc<[Action]>,
}

/// One shard's way into the arena.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Place in the script's shards.
    pub(crate) shard: usize,
    /// The card that hands it on; none is the files.
    pub(crate) from: Option<SailId>,
    /// The card that it is handed on to.
    pub(crate) to: Option<SailId>,
}

/// One instruction.
pub(crate) enum Action {
    Kernel(Kernel),
    Slice {
        from: Buffer,
        first: usize,
        into: Buffer,
    },
    Collective {
        exchange: Arc<Exchange>,
        from: Buffer,
        into: Buffer,
        /// By which rows go to experts and back.
        gates: Option<Buffer>,
    },
    Send {
        peer: SailId,
        tag: u32,
        from: Buffer,
    },
    Receive {
        peer: SailId,
        tag: u32,
        into: Buffer,
    },
    /// The shard in this place of the script's shards comes from the files.
    Stream {
        shard: usize,
    },
    TakeTokens {
        into: Buffer,
    },
    GiveLogits {
        from: Buffer,
        first: u64,
    },
}

/// The scripts of all cards, in order of id.
pub(crate) fn resolve<D: Device>(plan: &Plan, weights: &WeightIndex) -> Result<Vec<Script>, ReplayError> {
    let tensors = Tensors::new(plan, weights);
    plan.sails.iter().map(|sail| script::<D>(sail, &tensors)).collect()
}

fn script<D: Device>(sail: &SailPlan, tensors: &Tensors<'_>) -> Result<Script, ReplayError> {
    let (shards, caches) = (tensors.shards::<D>(sail)?, tensors.caches::<D>(sail)?);
    let resolver = Resolver { sail: sail.sail, exchanges: RefCell::default() };
    let named = |(place, shard): (usize, &Shard)| (shard.name.clone(), (place, shard.weight));
    let weights: BTreeMap<String, (usize, Weight)> = shards.iter().enumerate().map(named).collect();
    if weights.len() != shards.len() {
        return Err(resolver.malformed("two shards have one name".to_owned()));
    }
    let program = |program: &Program| {
        let buffers = program.buffers.iter().map(|buffer| (buffer.name.clone(), placed(buffer))).collect();
        resolver.program(&program.instructions, &Names { buffers, caches: &caches, weights: &weights })
    };
    let Memory { weights: weight_bytes, kv, activations, .. } = sail.memory;
    let arenas = Arenas { weights: weight_bytes, kv, activations };
    let (prefill, decode) = (program(&sail.prefill)?, program(&sail.decode)?);
    let loads = resolver.loads(&sail.load, &weights)?;
    Ok(Script { sail: sail.sail, arenas, shards, loads, prefill, decode })
}

fn placed(buffer: &sailplan_codegen::Buffer) -> Buffer {
    Buffer { offset: buffer.offset.0, rows: buffer.rows, columns: buffer.columns }
}

/// What the names of a program stand for.
struct Names<'a> {
    buffers: BTreeMap<String, Buffer>,
    caches: &'a BTreeMap<String, Cache>,
    /// With their places in the script's shards.
    weights: &'a BTreeMap<String, (usize, Weight)>,
}

struct Resolver {
    sail: SailId,
    /// The schedules of large groups are long, and every layer has the same.
    exchanges: RefCell<Vec<Arc<Exchange>>>,
}

impl Resolver {
    /// Load steps, layer by layer.
    fn loads(
        &self,
        steps: &[sailplan_codegen::Load],
        weights: &BTreeMap<String, (usize, Weight)>,
    ) -> Result<Vec<Load>, ReplayError> {
        let mut loads = Vec::new();
        for step in steps {
            for (_, name) in expanded(&step.weight, step.layers.as_ref()) {
                let unknown = || self.malformed(format!("it is to load `{name}`, which it does not hold"));
                let (shard, _) = *weights.get(&name).ok_or_else(unknown)?;
                loads.push(Load { shard, from: step.from, to: step.to });
            }
        }
        Ok(loads)
    }

    fn program(&self, instructions: &[Instruction], names: &Names<'_>) -> Result<Arc<[Action]>, ReplayError> {
        let mut actions = Vec::new();
        for instruction in instructions {
            match instruction {
                Instruction::Repeat { layers, body } => {
                    for (layer, inner) in
                        layers.0.clone().flat_map(|layer| body.iter().map(move |inner| (layer, inner)))
                    {
                        actions.push(self.action(inner, names, Some(layer))?);
                    }
                }
                other => actions.push(self.action(other, names, None)?),
            }
        }
        Ok(actions.into())
    }

    fn action(&self, from: &Instruction, names: &Names<'_>, layer: Option<u32>) -> Result<Action, ReplayError> {
        let unknown = |name: &str| self.malformed(format!("nothing is called `{name}`"));
        let named = |name: &str| layer.map_or_else(|| name.to_owned(), |layer| in_layer(name, layer));
        let buffer = |name: &String| names.buffers.get(named(name).as_str()).copied().ok_or_else(|| unknown(name));
        let operand = |name: &String| match names.caches.get(&named(name)) {
            Some(&cache) => Ok(Operand::Cache(cache)),
            None => buffer(name).map(Operand::Buffer),
        };
        let shard = |name: &String| names.weights.get(&named(name)).copied().ok_or_else(|| unknown(name));
        let weight = |name: &String| shard(name).map(|(_, weight)| weight);
        Ok(match from {
            Instruction::Repeat { .. } => return Err(self.malformed("a repeat inside a repeat".to_owned())),
            Instruction::Kernel { op, skip, inputs, weights, out, beside, .. } => {
                let inputs = inputs.iter().map(operand).collect::<Result<_, _>>()?;
                let weights = weights.iter().map(weight).collect::<Result<_, _>>()?;
                let product = |one: &Product| Ok((weight(&one.weight)?, buffer(&one.out)?));
                let beside = beside.iter().map(product).collect::<Result<_, ReplayError>>()?;
                Action::Kernel(Kernel { op: *op, skip: *skip, inputs, weights, output: operand(out)?, beside })
            }
            Instruction::Slice { buffer: whole, start, end, out, .. } => {
                self.slice(buffer(whole)?, *start..*end, buffer(out)?)?
            }
            Instruction::Collective { buffer: operand, into, by, .. } => {
                let operand = buffer(operand)?;
                let gates = by.as_ref().map(|by| buffer(&by.gates)).transpose()?;
                self.collective(from, (operand, into.as_ref().map_or(Ok(operand), buffer)?), gates)?
            }
            Instruction::Send { peer, buffer: from, tag, .. } => {
                Action::Send { peer: *peer, tag: *tag, from: buffer(from)? }
            }
            Instruction::Recv { peer, buffer: into, tag, .. } => {
                Action::Receive { peer: *peer, tag: *tag, into: buffer(into)? }
            }
            Instruction::Stream { weight, .. } => Action::Stream { shard: shard(weight)?.0 },
            Instruction::HostRecv { buffer: into, .. } => Action::TakeTokens { into: buffer(into)? },
            Instruction::HostSend { buffer: from, start, .. } => {
                Action::GiveLogits { from: buffer(from)?, first: *start }
            }
        })
    }

    fn slice(&self, from: Buffer, columns: std::ops::Range<u64>, into: Buffer) -> Result<Action, ReplayError> {
        let fits = columns.end <= from.columns && columns.end.checked_sub(columns.start) == Some(into.columns);
        let rows = from.rows == into.rows || (from.rows == Dim::Tokens && matches!(into.rows, Dim::Part(_)));
        if !fits || !rows {
            return Err(self.malformed(format!("columns {columns:?} of {from:?} are not {into:?}")));
        }
        Ok(Action::Slice { from, first: columns.start as usize, into })
    }

    fn collective(
        &self,
        instruction: &Instruction,
        (from, into): (Buffer, Buffer),
        gates: Option<Buffer>,
    ) -> Result<Action, ReplayError> {
        let Instruction::Collective { kind, op, group, algorithm, parts, by, .. } = instruction else {
            return Err(self.malformed("no collective".to_owned()));
        };
        let (op, group, parts) = (op.unwrap_or(ReduceOp::Sum), group.clone(), parts.clone());
        let by_rows = [from, into].iter().any(|buffer| matches!(buffer.rows, Dim::Part(_)));
        let experts = by.as_ref().map_or_else(Vec::new, |by| by.experts.clone());
        let exchange =
            self.exchange(Collective { kind: *kind, algorithm: *algorithm, op, group, parts, by_rows, experts })?;
        let fits = exchange.fits((from.rows, from.columns), (into.rows, into.columns));
        if !fits || !exchange.fits_gates(gates.map(|gates| (gates.rows, gates.columns))) {
            return Err(self.malformed(format!("{algorithm} {kind} cannot make {into:?} of {from:?}")));
        }
        Ok(Action::Collective { exchange, from, into, gates })
    }

    fn exchange(&self, collective: Collective) -> Result<Arc<Exchange>, ReplayError> {
        let mut known = self.exchanges.borrow_mut();
        if let Some(exchange) = known.iter().find(|known| *known.collective() == collective) {
            return Ok(Arc::clone(exchange));
        }
        let Collective { kind, algorithm, group, .. } = &collective;
        let impossible = self.malformed(format!("cannot take part in {algorithm} {kind} over {group:?}"));
        let exchange = Arc::new(Exchange::new(collective, self.sail).ok_or(impossible)?);
        known.push(Arc::clone(&exchange));
        Ok(exchange)
    }

    fn malformed(&self, problem: String) -> ReplayError {
        ReplayError::Malformed { sail: self.sail, problem }
    }
}
