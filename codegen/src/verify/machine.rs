//! All cards' programs at once, over abstract values. A send is buffered, a receive waits for it; a collective waits
//! for its group. When no card can go on and not all are done, they wait for each other.

use super::card::{Card, Cursor, Shape, State, width};
use super::holdings::Holdings;
use super::model::Logical;
use super::problem;
use super::script::{Scripts, Step};
use super::steady::Turn;
use super::trace::Trace;
use super::value::{Span, Value, tile};
use crate::Plan;
use sailplan_ir::{Diagnostics, SailId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which program is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Prefill,
    Decode,
}

/// All that the machine reads.
pub(crate) struct Setting<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) logical: &'a Logical,
    pub(crate) held: &'a [Holdings<'a>],
    pub(crate) scripts: &'a [Scripts<'a>],
}

/// Runs one program of every card to its end.
pub(crate) fn run(setting: &Setting<'_>, phase: Phase) -> Diagnostics {
    let mut machine = Machine::new(setting, phase);
    machine.work();
    machine.finish().0
}

/// The same, with what each card made of what.
pub(crate) fn traced(setting: &Setting<'_>, phase: Phase) -> Result<Vec<Trace>, Diagnostics> {
    let mut machine = Machine::new(setting, phase);
    machine.traces = Some(machine.cards.iter().map(|_| Trace::default()).collect());
    machine.work();
    let (found, traces) = machine.finish();
    found.into_result(traces.unwrap_or_default())
}

/// A value on its way from card to card.
type Mail = BTreeMap<(SailId, SailId, u32), (Value, Shape)>;

pub(crate) struct Machine<'a> {
    setting: &'a Setting<'a>,
    phase: Phase,
    pub(crate) cards: Vec<Card<'a>>,
    /// Place in `cards` by id.
    index: BTreeMap<SailId, usize>,
    mail: Mail,
    /// Tags in use between two cards.
    tags: BTreeSet<(SailId, SailId, u32)>,
    /// Cards of each stage that wait for their group.
    waiting: BTreeMap<u32, usize>,
    /// Groups on their way through the layers of a block, by stage and block.
    pub(crate) turns: BTreeMap<(u32, usize), Turn>,
    /// Columns of the logits that the host has of each replica.
    logits: BTreeMap<u32, Vec<Span>>,
    found: Diagnostics,
    /// For each card, where they are asked for.
    traces: Option<Vec<Trace>>,
}

impl<'a> Machine<'a> {
    fn new(setting: &'a Setting<'a>, phase: Phase) -> Self {
        let sails = setting.plan.sails.iter().zip(setting.held).zip(setting.scripts);
        let cards: Vec<Card<'a>> = sails
            .map(|((sail, held), scripts)| {
                let script = if phase == Phase::Prefill { &scripts.prefill } else { &scripts.decode };
                Card::new(sail, held, script)
            })
            .collect();
        let index = cards.iter().enumerate().map(|(index, card)| (card.sail.sail, index)).collect();
        Self {
            setting,
            phase,
            cards,
            index,
            mail: Mail::new(),
            tags: BTreeSet::new(),
            waiting: BTreeMap::new(),
            turns: BTreeMap::new(),
            logits: BTreeMap::new(),
            found: Diagnostics::default(),
            traces: None,
        }
    }

    fn work(&mut self) {
        let mut ready: VecDeque<usize> = (0..self.cards.len()).collect();
        while let Some(card) = ready.pop_front() {
            let woken = self.advance(card);
            ready.extend(woken);
        }
    }

    fn note(&mut self, number: usize, step: &Step<'a>, layer: Option<u32>) -> Result<(), String> {
        match &mut self.traces {
            Some(traces) => traces[number].note(self.setting.logical, &self.cards[number], (step, layer)),
            None => Ok(()),
        }
    }

    /// Runs a card until it waits, fails or is done; returns the cards that can go on because of it.
    fn advance(&mut self, number: usize) -> Vec<usize> {
        let mut woken = Vec::new();
        if self.cards[number].state != State::Running {
            return woken;
        }
        loop {
            let card = &self.cards[number];
            let script = card.script;
            let Some(block) = script.blocks.get(card.cursor.block) else {
                self.cards[number].state = State::Done;
                return woken;
            };
            let Some(step) = block.steps.get(card.cursor.step) else {
                let block = card.cursor.block;
                self.cards[number].next_layer();
                if self.cards[number].cursor.block == block {
                    match self.turn(number) {
                        Some(wakes) => woken.extend(wakes),
                        None => return woken,
                    }
                }
                continue;
            };
            let layer = block.layers.as_ref().map(|_| card.cursor.layer);
            match self.step(number, step, layer) {
                Ok(Some(wakes)) => woken.extend(wakes),
                Ok(None) => return woken,
                Err(reason) => {
                    self.fail(number, reason);
                    return woken;
                }
            }
        }
    }

    /// One step: the cards it wakes, or `None` when the card has to wait.
    fn step(&mut self, number: usize, step: &Step<'a>, layer: Option<u32>) -> Result<Option<Vec<usize>>, String> {
        let logical = self.setting.logical;
        let card = &mut self.cards[number];
        let mut wakes = Vec::new();
        match step {
            Step::Kernel { op, skip, reads, outs } => card.kernel(logical, (*op, *skip), reads, (outs, layer))?,
            Step::Slice { from, columns, out } => card.slice(logical, *from, *columns, *out)?,
            Step::Collective(_) => return self.arrive(number),
            Step::Send { peer, buffer, tag } => {
                let value = (card.read(*buffer)?, card.shape(*buffer));
                if !value.0.held.stands_alone() {
                    return Err("sends a partial sum, or a softmax that is not merged".to_owned());
                }
                let (key, replica) = ((card.sail.sail, *peer, *tag), card.sail.replica);
                if self.index.get(peer).is_some_and(|&other| self.cards[other].sail.replica != replica) {
                    return Err(format!("sends to {peer}, which belongs to another replica"));
                }
                if !self.tags.insert(key) {
                    return Err(format!("sends to {peer} with tag {tag} a second time"));
                }
                self.mail.insert(key, value);
                wakes.extend(self.wake(*peer, key));
            }
            Step::Recv { peer, buffer, tag } => {
                let Some((value, shape)) = self.mail.remove(&(*peer, card.sail.sail, *tag)) else {
                    card.state = State::Receiving(*peer, *tag);
                    return Ok(None);
                };
                if shape != card.shape(*buffer) {
                    return Err(format!("receives from {peer} what has another shape than its buffer"));
                }
                card.write(logical, *buffer, value)?;
            }
            Step::Stream { weight, bytes } => card.stream(logical, *weight, *bytes, layer)?,
            Step::HostRecv { buffer } => {
                let tokens = logical.tokens().ok_or("the model takes no token ids")?;
                card.write(logical, *buffer, tokens)?;
            }
            Step::HostSend { buffer, start } => {
                let span = card.logits(logical, *buffer, *start)?;
                self.logits.entry(card.sail.replica).or_default().push(span);
            }
        }
        self.note(number, step, layer)?;
        self.cards[number].cursor.step += 1;
        Ok(Some(wakes))
    }

    fn wake(&mut self, peer: SailId, (from, _, tag): (SailId, SailId, u32)) -> Option<usize> {
        let index = *self.index.get(&peer)?;
        let card = &mut self.cards[index];
        (card.state == State::Receiving(from, tag)).then(|| card.state = State::Running).map(|()| index)
    }

    /// The card stands before a collective; the last of the group carries it out.
    fn arrive(&mut self, number: usize) -> Result<Option<Vec<usize>>, String> {
        let (stage, ranks) = (self.cards[number].sail.stage, self.cards[number].sail.group.len());
        let waiting = self.waiting.entry(stage).or_default();
        *waiting += 1;
        if *waiting < ranks {
            self.cards[number].state = State::Meeting;
            return Ok(None);
        }
        *waiting = 0;
        let group = self.group(number);
        self.meet(&group)?;
        for &member in &group {
            if let Some(step) = self.cards[member].before() {
                self.note(member, step, None)?;
            }
            self.cards[member].state = State::Running;
            self.cards[member].cursor.step += 1;
        }
        Ok(Some(group.into_iter().filter(|&member| member != number).collect()))
    }

    /// The cards of a card's group.
    pub(crate) fn group(&self, number: usize) -> Vec<usize> {
        self.cards[number].sail.group.iter().filter_map(|sail| self.index.get(sail).copied()).collect()
    }

    /// Whether what each card does is written down.
    pub(crate) fn traced(&self) -> bool {
        self.traces.is_some()
    }

    pub(crate) fn logical(&self) -> &'a Logical {
        self.setting.logical
    }

    fn name(&self) -> &'static str {
        if self.phase == Phase::Prefill { "prefill" } else { "decode" }
    }

    fn fail(&mut self, number: usize, reason: String) {
        let place = self.place(number);
        self.found.push(problem(place, reason));
        self.cards[number].state = State::Failed;
    }

    fn place(&self, number: usize) -> String {
        let card = &self.cards[number];
        let Cursor { block, layer, step } = card.cursor;
        let inside = match card.script.blocks.get(block).and_then(|block| block.layers.as_ref()) {
            Some(_) => format!(".body[{step}] in layer {layer}"),
            None => String::new(),
        };
        format!("{}.{}[{block}]{inside}", card.sail.sail, self.name())
    }

    /// What is wrong at the end; a card that failed explains the others that wait.
    fn finish(mut self) -> (Diagnostics, Option<Vec<Trace>>) {
        self.conclude();
        (self.found, self.traces)
    }

    fn conclude(&mut self) {
        if !self.found.0.is_empty() {
            return;
        }
        for number in 0..self.cards.len() {
            if let Some(reason) = self.stuck(number) {
                let place = self.place(number);
                self.found.push(problem(place, reason));
            }
        }
        if !self.found.0.is_empty() {
            return;
        }
        for (from, to, tag) in self.mail.keys() {
            let place = format!("{from}.{}", self.name());
            self.found.push(problem(place, format!("{to} never receives what is sent with tag {tag}")));
        }
        for card in &self.cards {
            if card.appended.iter().flatten().any(|appended| !appended) {
                let place = format!("{}.{}", card.sail.sail, self.name());
                self.found.push(problem(place, "a cache gets no rows for the step"));
            }
        }
        let replicas = self.setting.plan.replicas().max(1);
        let covered = |replica| tile(self.logits.get(&replica).into_iter().flatten().copied(), self.logits_width());
        if let Some(replica) = (0..replicas).find(|&replica| !covered(replica)) {
            let from = if replicas > 1 { format!(" from replica {replica}") } else { String::new() };
            let message = format!("the host does not get every column of the logits once{from}");
            self.found.push(problem(self.name(), message));
        }
    }

    fn stuck(&self, number: usize) -> Option<String> {
        let card = &self.cards[number];
        match card.state {
            State::Receiving(peer, tag) => Some(format!("waits for {peer} to send with tag {tag}, for ever")),
            State::Meeting | State::Turning => {
                let elsewhere =
                    |sail: &&SailId| self.index.get(sail).is_none_or(|&other| self.cards[other].state != card.state);
                let missing: Vec<String> = card.sail.group.iter().filter(elsewhere).map(ToString::to_string).collect();
                Some(format!("waits for {} to take part, for ever", missing.join(", ")))
            }
            _ => None,
        }
    }

    fn logits_width(&self) -> u64 {
        let logical = self.setting.logical;
        let last = logical.segments.len() as u32 - 1;
        let output = logical.classes[logical.segments[last as usize].class].output;
        width(logical, Value::whole(last, output))
    }
}
