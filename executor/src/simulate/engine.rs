//! The events: each card works through its script, messages leave and arrive, and the clock goes from one to the next.
//! Cards that wake at one time are taken in order of id, so a simulation is the same every time.

mod steady;

use super::exchange::{Outgoing, Topic, Turn};
use super::fabric::{Fabric, Sent};
use super::network::Network;
use super::script::{Act, Block, Deed, Script};
use super::timeline::{CardTime, Span, Timeline};
use super::{Progression, SimulationError};
use sailplan_ir::Picoseconds;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use steady::Histories;

/// How to run scripts.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// How often.
    pub(crate) passes: u64,
    pub(crate) progression: Progression,
    /// Whether every span is kept; else what repeats is skipped.
    pub(crate) recording: bool,
}

/// Runs every card's script.
pub(crate) fn run(scripts: &[Script], network: &Network, how: Run) -> Result<Timeline, SimulationError> {
    let mut engine = Engine::new(scripts, network, how);
    engine.drive();
    engine.finished()
}

/// What a receiver waits for: a topic of one collective, or of one pass.
type Key = (Topic, u64);

/// What a message is for.
struct Letter {
    from: Option<usize>,
    to: Option<usize>,
    key: Key,
}

struct Engine<'a> {
    now: Picoseconds,
    cards: Vec<Card<'a>>,
    wakes: BinaryHeap<Reverse<(Picoseconds, usize)>>,
    fabric: Fabric<Letter>,
    passes: u64,
    lockstep: bool,
    /// Who waits at a gate of lockstep.
    gates: BTreeMap<Gate, Vec<usize>>,
    /// When the host had the last logits.
    heard: Picoseconds,
    spans: Vec<Span>,
    recording: bool,
    /// The first card of each stage.
    leaders: Vec<usize>,
    histories: Histories,
    /// Time of what was not run because it was known.
    skipped: Picoseconds,
}

/// A turn of a stage's collective, or a pass of its cards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gate {
    Turn { stage: u32, collective: u64, turn: usize },
    Pass { stage: u32, pass: u64 },
}

struct Card<'a> {
    script: &'a Script,
    pass: u64,
    block: usize,
    round: u32,
    act: usize,
    state: State,
    /// The gate before the next turn or pass is open.
    open: bool,
    /// When the instruction began.
    began: Picoseconds,
    /// What it has spent in this instruction in time that was skipped.
    waited: Picoseconds,
    /// Collectives begun.
    collectives: u64,
    /// Own messages that have not left.
    unsent: usize,
    arrived: BTreeMap<Key, Arrived>,
    time: CardTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of the act.
    Begin,
    /// Before a turn, or after the last.
    Turn(usize),
    /// Until the messages of a turn have left and arrived.
    Waiting(usize),
    /// A kernel that is over when the card wakes.
    Spending,
    Done,
}

#[derive(Clone, Copy, Default)]
struct Arrived {
    count: u32,
    latest: Picoseconds,
}

impl<'a> Engine<'a> {
    fn new(scripts: &'a [Script], network: &Network, how: Run) -> Self {
        let stages = scripts.iter().map(|script| script.stage + 1).max().unwrap_or(0);
        let leader = |stage: u32| scripts.iter().position(|script| script.stage == stage).unwrap_or(0);
        let mut engine = Self {
            now: Picoseconds(0),
            cards: scripts.iter().map(Card::new).collect(),
            wakes: BinaryHeap::new(),
            fabric: Fabric::new(&network.media, how.recording),
            passes: how.passes,
            lockstep: how.progression == Progression::Lockstep,
            gates: BTreeMap::new(),
            heard: Picoseconds(0),
            spans: Vec::new(),
            recording: how.recording,
            leaders: (0..stages).map(leader).collect(),
            histories: Histories::new(),
            skipped: Picoseconds(0),
        };
        (0..scripts.len()).for_each(|card| engine.wake(card, Picoseconds(0)));
        engine
    }

    fn wake(&mut self, card: usize, time: Picoseconds) {
        self.wakes.push(Reverse((time, card)));
    }

    fn drive(&mut self) {
        loop {
            let sent = self.fabric.next(self.now);
            let woken = self.wakes.peek().map(|Reverse((time, _))| *time);
            let Some(next) = [sent, woken].into_iter().flatten().min() else { return };
            self.now = next;
            while let Some(&Reverse((time, card))) = self.wakes.peek()
                && time == next
            {
                self.wakes.pop();
                self.advance(card);
            }
            for letter in self.fabric.sent(next) {
                self.deliver(letter);
            }
        }
    }

    fn deliver(&mut self, Sent { what: Letter { from, to, key }, arrives }: Sent<Letter>) {
        match to {
            None => self.heard = self.heard.max(arrives),
            Some(to) => {
                let arrived = self.cards[to].arrived.entry(key).or_default();
                arrived.count += 1;
                arrived.latest = arrived.latest.max(arrives);
                self.check(to);
            }
        }
        if let Some(from) = from {
            self.cards[from].unsent -= 1;
            self.check(from);
        }
    }

    /// Lets a card go on when the messages of its turn have left, once they have arrived.
    fn check(&mut self, index: usize) {
        let card = &mut self.cards[index];
        let State::Waiting(number) = card.state else { return };
        let Some(turn) = card.turns().and_then(|turns| turns.get(number)) else { return };
        let key = card.key(turn.topic);
        let arrived = card.arrived.get(&key).copied().unwrap_or_default();
        if card.unsent > 0 || arrived.count < turn.gets {
            return;
        }
        card.arrived.remove(&key);
        card.state = State::Turn(number + 1);
        let time = self.now.max(arrived.latest);
        self.wake(index, time);
    }

    /// Takes a card as far as it gets now.
    fn advance(&mut self, index: usize) {
        loop {
            let state = self.cards[index].state;
            match state {
                State::Begin if !self.begin(index) => return,
                State::Begin => {}
                State::Spending => self.end(index),
                State::Turn(number) => {
                    if !self.passes_gate(index, number) {
                        return;
                    }
                    match self.cards[index].turns().and_then(|turns| turns.get(number)) {
                        Some(turn) => return self.take(index, number, turn),
                        None => self.end(index),
                    }
                }
                State::Waiting(_) | State::Done => return,
            }
        }
    }

    /// Begins the next act, or the next pass; false when the card is to be woken later.
    fn begin(&mut self, index: usize) -> bool {
        let Some(act) = self.cards[index].act() else { return self.next_pass(index) };
        self.skip_repeats(index);
        let (time, state) = match &act.deed {
            Deed::Spend => (act.predicted, State::Spending),
            Deed::Exchange { start_up, .. } => (*start_up, State::Turn(0)),
        };
        let collective = matches!(&act.deed, Deed::Exchange { turns, .. } if of_group(turns));
        let card = &mut self.cards[index];
        (card.began, card.state) = (self.now, state);
        card.collectives += u64::from(collective);
        if time > Picoseconds(0) {
            self.wake(index, self.now + time);
        }
        time == Picoseconds(0)
    }

    fn next_pass(&mut self, index: usize) -> bool {
        let pass = self.cards[index].pass + 1;
        let Script { stage, group, .. } = *self.cards[index].script;
        if pass < self.passes && !self.passes_gate_of(index, Gate::Pass { stage, pass }, group) {
            return false;
        }
        let card = &mut self.cards[index];
        (card.pass, card.block, card.round, card.act) = (pass, 0, 0, 0);
        card.state = if pass < self.passes { State::Begin } else { State::Done };
        pass < self.passes
    }

    fn take(&mut self, index: usize, number: usize, turn: &Turn) {
        let card = &mut self.cards[index];
        let key = card.key(turn.topic);
        card.state = State::Waiting(number);
        for &Outgoing { from, to, ref way, bytes } in &turn.sends {
            self.cards[index].unsent += usize::from(from.is_some());
            self.fabric.send(self.now, way, bytes, Letter { from, to, key });
        }
        self.check(index);
    }

    fn end(&mut self, index: usize) {
        let card = &mut self.cards[index];
        let (sail, start, end, layer) = (card.script.sail, card.began, self.now, card.layer());
        if let Some(Act { what, name, .. }) = card.act() {
            if self.recording {
                self.spans.push(Span { sail, what: *what, name: Rc::clone(name), layer, start, end });
            }
            let waited = std::mem::take(&mut card.waited);
            card.time.spend(*what, end - start + waited);
        }
        self.cards[index].step();
    }

    /// Whether a card may take a turn of its collective; in lockstep once all ranks are there.
    fn passes_gate(&mut self, index: usize, turn: usize) -> bool {
        let Card { script, collectives, .. } = self.cards[index];
        if self.cards[index].turns().is_none_or(|turns| !of_group(turns)) {
            return true;
        }
        self.passes_gate_of(index, Gate::Turn { stage: script.stage, collective: collectives, turn }, script.group)
    }

    fn passes_gate_of(&mut self, index: usize, gate: Gate, of: usize) -> bool {
        if !self.lockstep || std::mem::take(&mut self.cards[index].open) {
            return true;
        }
        let waiting = self.gates.entry(gate).or_default();
        waiting.push(index);
        if waiting.len() == of {
            for card in self.gates.remove(&gate).unwrap_or_default() {
                self.cards[card].open = true;
                self.wake(card, self.now);
            }
        }
        false
    }

    fn finished(self) -> Result<Timeline, SimulationError> {
        if let Some(card) = self.cards.iter().find(|card| card.state != State::Done) {
            let waiting = card.act().map_or_else(String::new, |act| act.name.to_string());
            return Err(SimulationError::Stuck { sail: card.script.sail, waiting });
        }
        let cards = self.cards.iter().map(|card| card.time).collect();
        Ok(Timeline {
            time: self.now.max(self.heard) + self.skipped,
            cards,
            media: self.fabric.times(),
            spans: self.spans,
        })
    }
}

/// Whether these are the turns of a collective.
fn of_group(turns: &[Turn]) -> bool {
    turns.first().is_some_and(|turn| matches!(turn.topic, Topic::Step(_)))
}

impl<'a> Card<'a> {
    fn new(script: &'a Script) -> Self {
        Self {
            script,
            pass: 0,
            block: 0,
            round: 0,
            act: 0,
            state: State::Begin,
            open: false,
            began: Picoseconds(0),
            waited: Picoseconds(0),
            collectives: 0,
            unsent: 0,
            arrived: BTreeMap::new(),
            time: CardTime::new(script.sail),
        }
    }

    fn at(&self) -> Option<&'a Block> {
        self.script.blocks.get(self.block)
    }

    fn act(&self) -> Option<&'a Act> {
        self.at()?.acts.get(self.act)
    }

    fn turns(&self) -> Option<&'a [Turn]> {
        match &self.act()?.deed {
            Deed::Spend => None,
            Deed::Exchange { turns, .. } => Some(turns),
        }
    }

    fn layer(&self) -> Option<u32> {
        self.at()?.first_layer?.checked_add(self.round)
    }

    /// Collectives are numbered by the group, all else by the pass.
    fn key(&self, topic: Topic) -> Key {
        let number = if matches!(topic, Topic::Step(_)) { self.collectives } else { self.pass };
        (topic, number)
    }

    /// To the next act, round or block.
    fn step(&mut self) {
        self.state = State::Begin;
        self.act += 1;
        let Some(block) = self.at() else { return };
        if self.act >= block.acts.len() {
            (self.act, self.round) = (0, self.round + 1);
        }
        if self.round >= block.rounds {
            (self.round, self.block) = (0, self.block + 1);
        }
    }
}
