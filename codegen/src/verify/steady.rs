//! Layers that repeat need not all be run. A group whose cards come to a layer exactly as they came to the one before, all of
//! it one segment on, does in that layer what it did in the one before, and so on through all that are its equals: of one
//! class, with their weights and caches side by side in the same residents. It goes on with the last of them, which is run.
//!
//! To find that out, cards of a group meet at the beginning of a layer. That is only done where all of them repeat the same
//! layers, in which they do nothing but compute and meet, as often as each other, and have met as often before: none of them
//! waits for another there that would not have waited in its next collective.

use super::arena::Writers;
use super::card::{Card, State};
use super::machine::Machine;
use super::model::Logical;
use super::script::{Operand, Script, Step};
use super::value::Value;
use std::ops::Range;

/// Fewer layers than this are all run.
const FEW: u32 = 6;

/// A group is watched for so many layers.
const WATCHED: usize = 4;

/// A group's way through one block.
#[derive(Default)]
pub(crate) struct Turn {
    /// Cards that stand before the next layer.
    arrived: usize,
    /// For how many more layers it is watched.
    left: usize,
    /// How each card came to the layer before.
    before: Vec<Snapshot>,
}

/// How a card comes to a layer.
struct Snapshot {
    /// What can be read.
    values: Vec<Option<Value>>,
    writers: Writers,
    /// Whether nothing was appended to the layer's caches.
    fresh: bool,
}

impl Machine<'_> {
    /// A card comes to the next layer of a block: the cards that can go on because of it, or `None` when it waits for them.
    pub(crate) fn turn(&mut self, number: usize) -> Option<Vec<usize>> {
        let (stage, block) = (self.cards[number].sail.stage, self.cards[number].cursor.block);
        let known = self.turns.remove(&(stage, block));
        let group = if known.as_ref().is_some_and(|turn| turn.left == 0) { Vec::new() } else { self.group(number) };
        let mut turn = known.unwrap_or_else(|| {
            let left = if !self.traced() && alike(&group, &self.cards, block) { WATCHED } else { 0 };
            Turn { left, ..Turn::default() }
        });
        let met = turn.left == 0 || self.met(&mut turn, &group);
        self.turns.insert((stage, block), turn);
        if !met {
            self.cards[number].state = State::Turning;
            return None;
        }
        let waiting = |&member: &usize| self.cards[member].state == State::Turning;
        let others: Vec<usize> = group.into_iter().filter(waiting).collect();
        others.iter().for_each(|&member| self.cards[member].state = State::Running);
        Some(others)
    }

    /// One more card of the group has come. The last one finds out whether they can skip layers.
    fn met(&mut self, turn: &mut Turn, group: &[usize]) -> bool {
        turn.arrived += 1;
        if turn.arrived < group.len() {
            return false;
        }
        let now: Vec<Snapshot> = group.iter().map(|&card| Snapshot::of(&self.cards[card])).collect();
        let before = std::mem::take(&mut turn.before);
        let logical = self.logical();
        let steady = |(card, (before, now)): (&usize, (&Snapshot, &Snapshot))| {
            let repeat = Repeat::of(&self.cards[*card], before);
            repeat.is_some_and(|repeat| repeat.again(before, now) && repeat.recurs(logical))
        };
        let skip = before.len() == now.len() && group.iter().zip(before.iter().zip(&now)).all(steady);
        if skip {
            group.iter().for_each(|&card| self.cards[card].skip());
        }
        *turn = Turn { arrived: 0, left: if skip { 0 } else { turn.left - 1 }, before: now };
        true
    }
}

/// Whether cards of a group can wait for each other at every layer of a block.
fn alike(group: &[usize], cards: &[Card<'_>], block: usize) -> bool {
    let shape = |script: &Script<'_>| -> Option<(Range<u32>, usize, usize)> {
        let meetings = |steps: &[Step<'_>]| steps.iter().filter(|step| matches!(step, Step::Collective(_))).count();
        let here = script.blocks.get(block)?;
        let still = |step: &Step<'_>| matches!(step, Step::Kernel { .. } | Step::Slice { .. } | Step::Collective(_));
        let times = |layers: &Option<Range<u32>>| layers.as_ref().map_or(1, ExactSizeIterator::len);
        let before = script.blocks[..block].iter().map(|block| times(&block.layers) * meetings(&block.steps));
        let layers = here.layers.clone().filter(|_| here.steps.iter().all(still))?;
        Some((layers, meetings(&here.steps), before.sum()))
    };
    let Some((first, rest)) = group.split_first() else { return false };
    let Some((layers, meetings, before)) = shape(cards[*first].script) else { return false };
    layers.end - layers.start >= FEW
        && (rest.is_empty() || meetings > 0)
        && rest.len() + 1 == cards[*first].sail.group.len()
        && rest.iter().all(|&card| shape(cards[card].script) == Some((layers.clone(), meetings, before)))
}

impl Snapshot {
    fn of(card: &Card<'_>) -> Self {
        let readable = (0..card.values.len()).map(|buffer| card.read(buffer).ok());
        let layer = Some(card.cursor.layer);
        let appended = card.operands().filter_map(|operand| operand.resident(layer));
        let mut appended = appended.filter(|&(resident, place)| card.appended[resident].get(place) == Some(&true));
        Self { values: readable.collect(), writers: card.writers.clone(), fresh: appended.next().is_none() }
    }
}

/// A card that has run a layer and may do the same in others.
struct Repeat<'a, 'b> {
    card: &'b Card<'a>,
    /// The layer that was run.
    layer: u32,
    /// How many after it are to be skipped.
    count: u32,
    /// Segments that it can have had to do with.
    segments: Range<u32>,
    /// Buffers that it can have had to do with.
    touched: Vec<bool>,
}

impl<'a, 'b> Repeat<'a, 'b> {
    fn of(card: &'b Card<'a>, before: &Snapshot) -> Option<Self> {
        let layers = card.script.blocks[card.cursor.block].layers.as_ref()?;
        let count = layers.end.checked_sub(card.cursor.layer + 1).filter(|&count| count > 0)?;
        let mut touched = vec![false; card.values.len()];
        card.buffers().for_each(|buffer| touched[buffer] = true);
        let values = before.values.iter().zip(&touched).filter_map(|(value, touched)| value.filter(|_| *touched));
        let first = values.map(|value| value.segment).min()?;
        Some(Self { card, layer: card.cursor.layer - 1, count, segments: first..card.reach + 2, touched })
    }

    /// Whether the card came to the next layer as it had come to this one.
    fn again(&self, before: &Snapshot, now: &Snapshot) -> bool {
        let values = before.values.iter().zip(&now.values).zip(&self.touched);
        before.fresh
            && before.writers == now.writers
            && values.into_iter().all(|((before, now), touched)| !touched || before.map(|value| value.later(1)) == *now)
    }

    /// Whether the segments, weights and caches of the layers to be skipped are like those of this one.
    fn recurs(&self, logical: &Logical) -> bool {
        let Range { start, end } = self.segments;
        let chain = logical.segments.get(start as usize..(end + self.count) as usize);
        chain.is_some_and(|chain| chain.windows(2).all(|pair| pair[0].class == pair[1].class))
            && self.card.operands().all(|operand| self.same(logical, operand))
    }

    /// Whether an operand stands for the same in each layer.
    fn same(&self, logical: &Logical, operand: &Operand<'_>) -> bool {
        let Operand::Resident(..) = operand else { return true };
        let Some((resident, place)) = operand.resident(Some(self.layer)) else { return false };
        let holding = &self.card.held.residents[resident];
        let one = holding.tensors[place];
        holding.streamed.is_none()
            && (1..=self.count).all(|by| {
                let then = operand.resident(Some(self.layer + by)).filter(|then| then.0 == resident);
                let Some((_, place)) = then else { return false };
                let other = holding.tensors[place];
                if holding.cache {
                    let (segment, cache) = logical.tensors[one as usize].owner;
                    return logical.tensors[other as usize].owner == (segment + by, cache)
                        && !self.card.appended[resident][place];
                }
                self.segments.clone().all(|segment| logical.stand_alike((segment, one), (segment + by, other)))
            })
    }
}

impl<'a> Card<'a> {
    fn steps(&self) -> &'a [Step<'a>] {
        let script: &'a Script<'a> = self.script;
        &script.blocks[self.cursor.block].steps
    }

    /// What the kernels of the block read and write.
    fn operands(&self) -> impl Iterator<Item = &'a Operand<'a>> + use<'a> {
        let steps = self.steps().iter().map(|step| match step {
            Step::Kernel { reads, outs, .. } => (&reads[..], &outs[..]),
            _ => (&[][..], &[][..]),
        });
        steps.flat_map(|(reads, outs)| {
            let written = outs.iter().flat_map(|out| std::iter::once(&out.to).chain(out.weight.as_ref()));
            reads.iter().chain(written)
        })
    }

    /// Buffers that the block names.
    fn buffers(&self) -> impl Iterator<Item = usize> + use<'a> {
        let moved = self.steps().iter().flat_map(|step| match step {
            Step::Slice { from, out, .. } => vec![*from, *out],
            Step::Collective(meeting) => {
                [meeting.from, meeting.into].into_iter().chain(meeting.gate.map(|gate| gate.buffer)).collect()
            }
            _ => Vec::new(),
        });
        let computed = self.operands().filter_map(|operand| match operand {
            Operand::Buffer(buffer) => Some(*buffer),
            Operand::Resident(..) => None,
        });
        moved.chain(computed)
    }

    /// Goes on with the last layer of the block, as if those before it had been run.
    fn skip(&mut self) {
        let Some(layers) = &self.script.blocks[self.cursor.block].layers else { return };
        let (layer, last) = (self.cursor.layer, layers.end - 1);
        let touched: std::collections::BTreeSet<usize> = self.buffers().collect();
        for buffer in touched {
            self.values[buffer] = self.values[buffer].map(|value| value.later(last - layer));
        }
        for step in self.steps() {
            let Step::Kernel { op, outs, .. } = step else { continue };
            let skipped = (layer..last).flat_map(|layer| outs.iter().map(move |out| out.to.resident(Some(layer))));
            for (resident, place) in skipped.flatten().filter(|_| op.appends()) {
                self.appended[resident][place] = true;
            }
        }
        self.reach += last - layer;
        self.cursor.layer = last;
    }
}
