//! A plan's programs as what the simulation runs: kernels as times, messages as turns. Names end here.

use super::SimulationError;
use super::exchange::{Collective, End, Exchanges, Outgoing, Topic, Turn};
use super::network::{Network, Way};
use super::timeline::Occupation;
use sailplan_codegen::{Buffer, Instruction, Plan, Program, SailPlan};
use sailplan_ir::{Bytes, Dim, Extents, Picoseconds, SailId};
use std::collections::BTreeMap;
use std::rc::Rc;

/// One program of one card.
pub(crate) struct Script {
    pub(crate) sail: SailId,
    pub(crate) stage: u32,
    /// Cards of the stage.
    pub(crate) group: usize,
    pub(crate) blocks: Vec<Block>,
}

/// Acts in a row, once or once for each layer.
pub(crate) struct Block {
    pub(crate) first_layer: Option<u32>,
    pub(crate) rounds: u32,
    pub(crate) acts: Vec<Act>,
}

/// One instruction.
pub(crate) struct Act {
    pub(crate) name: Rc<str>,
    pub(crate) what: Occupation,
    /// What the plan predicts.
    pub(crate) predicted: Picoseconds,
    pub(crate) deed: Deed,
}

pub(crate) enum Deed {
    /// Takes the predicted time on the card.
    Spend,
    /// Exchanges messages after a start-up.
    Exchange { start_up: Picoseconds, turns: Rc<[Turn]> },
}

impl Act {
    /// Whether it takes a value from another stage.
    pub(crate) fn receives(&self) -> bool {
        let Deed::Exchange { turns, .. } = &self.deed else { return false };
        turns.iter().any(|turn| turn.gets > 0 && matches!(turn.topic, Topic::Tagged { .. }))
    }
}

/// Which program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Prefill,
    Decode,
}

/// The scripts of all cards, in order of id.
pub(crate) fn scripts(plan: &Plan, network: &Network, phase: Phase) -> Result<Vec<Script>, SimulationError> {
    let places: BTreeMap<SailId, usize> = plan.sails.iter().enumerate().map(|(at, sail)| (sail.sail, at)).collect();
    let extents = match phase {
        Phase::Prefill => plan.request.average_prefill(),
        Phase::Decode => plan.request.average_decode(),
    };
    let mut exchanges = Exchanges::new(network, plan.request.wire.bytes(), &places);
    let mut scripts = Vec::new();
    for sail in &plan.sails {
        let program = match phase {
            Phase::Prefill => &sail.prefill,
            Phase::Decode => &sail.decode,
        };
        let buffers = program.buffers.iter().map(|buffer| (buffer.name.as_str(), buffer)).collect();
        let mut writer = Writer { plan, sail, network, extents, buffers, places: &places, exchanges: &mut exchanges };
        scripts.push(writer.script(program)?);
    }
    Ok(scripts)
}

struct Writer<'a, 'b> {
    plan: &'a Plan,
    sail: &'a SailPlan,
    network: &'a Network,
    extents: Extents,
    buffers: BTreeMap<&'a str, &'a Buffer>,
    places: &'a BTreeMap<SailId, usize>,
    exchanges: &'b mut Exchanges<'a>,
}

impl<'a: 'b, 'b> Writer<'a, 'b> {
    fn script(&mut self, program: &'a Program) -> Result<Script, SimulationError> {
        let mut blocks = Vec::new();
        for instruction in &program.instructions {
            let (layers, body) = match instruction {
                Instruction::Repeat { layers, body } => (Some(layers.0.clone()), body.as_slice()),
                other => (None, std::slice::from_ref(other)),
            };
            let acts: Vec<Act> = body.iter().map(|inner| self.act(inner)).collect::<Result<_, _>>()?;
            let rounds = layers.as_ref().map_or(1, |layers| layers.end.saturating_sub(layers.start));
            if rounds > 0 && !acts.is_empty() {
                blocks.push(Block { first_layer: layers.map(|layers| layers.start), rounds, acts });
            }
        }
        Ok(Script { sail: self.sail.sail, stage: self.sail.stage, group: self.sail.group.len(), blocks })
    }

    fn act(&mut self, instruction: &'a Instruction) -> Result<Act, SimulationError> {
        let (own, predicted) = (self.sail.sail, instruction.time());
        let act = |name: String, what: Occupation, deed: Deed| Act { name: name.into(), what, predicted, deed };
        Ok(match instruction {
            Instruction::Repeat { .. } => return Err(self.malformed("a repeat inside a repeat")),
            Instruction::Kernel { op, out, .. } => {
                act(format!("{} {out}", op.row().name), Occupation::Kernels, Deed::Spend)
            }
            Instruction::Slice { out, .. } => act(format!("slice {out}"), Occupation::Kernels, Deed::Spend),
            Instruction::Collective { kind, algorithm, bytes, .. } => {
                act(format!("{algorithm} {kind} {bytes}"), Occupation::Links, self.collective(instruction)?)
            }
            Instruction::Send { peer, buffer, tag, .. } => {
                let way = self.network.between(own, *peer);
                let to = self.place(*peer)?;
                let bytes = self.elements(buffer)?.saturating_mul(self.plan.request.wire.bytes());
                let sent = Outgoing { from: self.place(own)?, to, way, bytes: Bytes(bytes) };
                let topic = Topic::Tagged { from: own, tag: *tag };
                act(format!("send {buffer} to {peer}"), Occupation::Links, one_turn(topic, Some(sent), 0))
            }
            Instruction::Recv { peer, buffer, tag, .. } => {
                let topic = Topic::Tagged { from: *peer, tag: *tag };
                act(format!("receive {buffer} from {peer}"), Occupation::Links, one_turn(topic, None, 1))
            }
            Instruction::Stream { weight, bytes, .. } => {
                let (to, way) = (self.place(own)?, self.network.down(own));
                let sent = Outgoing { from: None, to, way, bytes: *bytes };
                act(format!("stream {weight}"), Occupation::Host, one_turn(Topic::Host, Some(sent), 1))
            }
            Instruction::HostRecv { buffer, .. } => {
                let sent = self.hosted(buffer, None, self.place(own)?, self.network.down(own))?;
                act("tokens from the host".to_owned(), Occupation::Host, one_turn(Topic::Host, Some(sent), 1))
            }
            Instruction::HostSend { buffer, .. } => {
                let sent = self.hosted(buffer, self.place(own)?, None, self.network.up(own))?;
                act("logits to the host".to_owned(), Occupation::Host, one_turn(Topic::Host, Some(sent), 0))
            }
        })
    }

    /// A collective starts up like a kernel on each card.
    fn collective(&mut self, instruction: &'a Instruction) -> Result<Deed, SimulationError> {
        let Instruction::Collective { kind, op, group, algorithm, buffer, into, parts, by, .. } = instruction else {
            return Err(self.malformed("no collective"));
        };
        let (from, whole) = (self.buffer(buffer)?, self.buffer(into.as_ref().unwrap_or(buffer))?);
        let by_rows = [from, whole].iter().any(|buffer| matches!(buffer.rows, Dim::Part(_)));
        let rows = if by_rows { self.extents.tokens } else { whole.rows.size(self.extents) };
        let columns = whole.columns;
        let experts = by.as_ref().map(|by| (by.used, by.experts.as_slice()));
        let (kind, algorithm, op) = (*kind, *algorithm, *op);
        let collective = Collective { kind, algorithm, op, group, parts, by_rows, experts, rows, columns };
        let turns = self.exchanges.turns(collective, self.sail.sail);
        let turns = turns.ok_or_else(|| self.malformed(&format!("no part in {algorithm} {kind} over {group:?}")))?;
        Ok(Deed::Exchange { start_up: self.plan.fleet.inline.kind(self.sail.sail).overhead, turns })
    }

    fn hosted(&self, buffer: &str, from: End, to: End, way: Rc<Way>) -> Result<Outgoing, SimulationError> {
        let element = self.buffer(buffer)?.dtype.block_bytes();
        Ok(Outgoing { from, to, way, bytes: Bytes(self.elements(buffer)?.saturating_mul(element)) })
    }

    fn elements(&self, buffer: &str) -> Result<u64, SimulationError> {
        let buffer = self.buffer(buffer)?;
        Ok(buffer.rows.size(self.extents).saturating_mul(buffer.columns))
    }

    fn buffer(&self, name: &str) -> Result<&'a Buffer, SimulationError> {
        let known = self.buffers.get(name).copied();
        known.ok_or_else(|| self.malformed(&format!("no buffer is called `{name}`")))
    }

    fn place(&self, sail: SailId) -> Result<End, SimulationError> {
        let place = self.places.get(&sail).copied();
        place.map(Some).ok_or_else(|| self.malformed(&format!("{sail} has no work")))
    }

    fn malformed(&self, problem: &str) -> SimulationError {
        SimulationError::Malformed { sail: self.sail.sail, problem: problem.to_owned() }
    }
}

fn one_turn(topic: Topic, sent: Option<Outgoing>, gets: u32) -> Deed {
    let turn = Turn { topic, sends: sent.into_iter().collect(), gets };
    Deed::Exchange { start_up: Picoseconds(0), turns: Rc::from([turn]) }
}
