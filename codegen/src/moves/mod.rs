//! What cards have to be sent so that they hold what a plan gives them, when they hold what another plan of the same model
//! gave them. Streamed weights stay on the host and are not held.

mod block;

use crate::{Plan, Resident, tensor_name};
use block::{Block, without};
use sailplan_ir::{Bytes, DType, Delivery, Dim, Role, Routes, SailId};
use std::collections::BTreeMap;

/// Where what a card does not hold may come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sources {
    /// From the host.
    Host,
    /// From the nearest card that holds it and is in service, the first of equally near ones; else from the host.
    Cards,
}

/// Everything that has to be sent, a piece that several cards need once from outside and then from card to card in order of
/// id. A card that changed its kind or its memory is another card, and holds nothing. Nothing is kept of another model: its
/// weights may have the same names and shapes and other values.
#[must_use]
pub fn moves(old: &Plan, new: &Plan, sources: Sources) -> Vec<Delivery> {
    let same = same_cards(old, new);
    let routes = Routes::new(&new.fleet.inline);
    let mut all: BTreeMap<(&str, Piece, Vec<SailId>), Bytes> = BTreeMap::new();
    for pattern in patterns(old, new) {
        let pattern = Pattern { had: of_cards(&pattern.had, &same), ..pattern };
        for (piece, to) in pattern.pieces(&routes, sources) {
            let bytes = piece.1.bytes(pattern.dtype).times(pattern.layers);
            *all.entry((pattern.name, piece, to)).or_default() += bytes;
        }
    }
    let deliveries = all.into_iter();
    let delivery = |((weight, (from, _), to), bytes): ((&str, Piece, _), _)| Delivery {
        weight: weight.to_owned(),
        from,
        to,
        bytes,
    };
    deliveries.map(delivery).collect()
}

/// Of what the new plan gives each card, the bytes that each card holds under the old plan.
#[must_use]
pub fn kept(old: &Plan, new: &Plan) -> BTreeMap<(SailId, SailId), Bytes> {
    let same = same_cards(old, new);
    let mut kept: BTreeMap<(SailId, SailId), Bytes> = BTreeMap::new();
    for pattern in patterns(old, new) {
        for (place, wanted) in &pattern.wanted {
            for (card, missing) in pattern.missing_on(wanted, &same) {
                let all = pattern.bytes(std::slice::from_ref(wanted));
                *kept.entry((*place, card)).or_default() += all - pattern.bytes(&missing);
            }
        }
    }
    kept
}

/// Bytes that each card does not hold under the old plan, whatever became of the card.
pub(crate) fn missing(old: &Plan, new: &Plan) -> BTreeMap<SailId, Bytes> {
    let mut all: BTreeMap<SailId, Bytes> = BTreeMap::new();
    for pattern in patterns(old, new) {
        for (sail, wanted) in &pattern.wanted {
            let own = pattern.missing_on(wanted, &[*sail]).into_iter().next();
            let missing = own.map_or_else(|| vec![wanted.clone()], |(_, missing)| missing);
            *all.entry(*sail).or_default() += pattern.bytes(&missing);
        }
    }
    all
}

/// Cards of both fleets that are in service and of one kind and memory, so that they may be the same ones.
fn same_cards(old: &Plan, new: &Plan) -> Vec<SailId> {
    let (before, after) = (&old.fleet.inline, &new.fleet.inline);
    let same = |sail: &SailId| {
        before.kind_name(*sail) == after.kind_name(*sail) && before.kind(*sail).memory == after.kind(*sail).memory
    };
    let cards = after.ids().take(before.size());
    cards.filter(|sail| after.serves(sail.index())).filter(same).collect()
}

/// A tensor of the plan's model, and the layer when `{layer}` stands in its name.
type Key<'a> = (&'a str, Option<u32>);

/// Where a part of a tensor comes from, and the part.
type Piece = (Option<SailId>, Block);

/// Which cards hold which parts of a tensor.
type Held = Vec<(SailId, Block)>;

fn of_cards(held: &Held, cards: &[SailId]) -> Held {
    held.iter().filter(|(sail, _)| cards.contains(sail)).cloned().collect()
}

/// A weight, in all layers in which the same cards hold the same parts of it before and after.
struct Pattern<'a> {
    name: &'a str,
    dtype: DType,
    layers: u64,
    had: Held,
    wanted: Held,
}

fn patterns<'a>(old: &'a Plan, new: &'a Plan) -> Vec<Pattern<'a>> {
    let tensors = tensors(new);
    let wanted = held(new, &tensors);
    let had = if old.model.digest == new.model.digest { held(old, &tensors) } else { BTreeMap::new() };
    let mut patterns: BTreeMap<(&str, DType, Held, Held), u64> = BTreeMap::new();
    for (key, wanted) in wanted {
        let had = had.get(&key).cloned().unwrap_or_default();
        *patterns.entry((key.0, tensors[&key].1, had, wanted)).or_default() += 1;
    }
    let patterns = patterns.into_iter();
    patterns.map(|((name, dtype, had, wanted), layers)| Pattern { name, dtype, layers, had, wanted }).collect()
}

/// Sizes and types of all weights.
fn tensors(plan: &Plan) -> BTreeMap<Key<'_>, (&[Dim], DType)> {
    let mut all = BTreeMap::new();
    for link in &plan.model.chain {
        let class = plan.model.classes.iter().find(|class| class.name == link.class);
        let weights = class.into_iter().flat_map(|class| &class.tensors).filter(|tensor| tensor.role == Role::Weight);
        for tensor in weights {
            let about = (tensor.dims.as_slice(), tensor.dtype);
            let layers = link.layers.iter().flat_map(|layers| layers.0.clone());
            all.extend(layers.map(|layer| ((tensor.name.as_str(), Some(layer)), about)));
            all.insert((tensor.name.as_str(), None), about);
        }
    }
    all
}

fn held<'a>(plan: &'a Plan, tensors: &BTreeMap<Key<'_>, (&[Dim], DType)>) -> BTreeMap<Key<'a>, Held> {
    let mut all: BTreeMap<Key<'a>, Held> = BTreeMap::new();
    for sail in &plan.sails {
        for resident in sail.weights.iter().filter(|resident| !resident.streamed) {
            for key in keys(resident) {
                let block = tensors.get(&key).map(|(dims, _)| Block::of(resident.slice, dims));
                if let Some(block) = block.filter(|block| !block.is_empty()) {
                    all.entry(key).or_default().push((sail.sail, block));
                }
            }
        }
    }
    all
}

fn keys(resident: &Resident) -> Vec<Key<'_>> {
    let name = tensor_name(&resident.name);
    match &resident.layers {
        Some(layers) => layers.0.clone().map(|layer| (name, Some(layer))).collect(),
        None => vec![(name, None)],
    }
}

impl Pattern<'_> {
    fn bytes(&self, blocks: &[Block]) -> Bytes {
        blocks.iter().map(|block| block.bytes(self.dtype).times(self.layers)).sum()
    }

    /// What each of these cards lacks of a block, of those that held a part of the weight.
    fn missing_on(&self, wanted: &Block, cards: &[SailId]) -> Vec<(SailId, Vec<Block>)> {
        let mut all: Vec<(SailId, Vec<Block>)> = Vec::new();
        for (card, block) in self.had.iter().filter(|(card, _)| cards.contains(card)) {
            match all.last_mut().filter(|last| last.0 == *card) {
                Some((_, missing)) => *missing = without(missing, block),
                None => all.push((*card, wanted.without(block))),
            }
        }
        all
    }

    /// The parts that cards need and do not hold, by where they come from.
    fn pieces(&self, routes: &Routes, sources: Sources) -> BTreeMap<Piece, Vec<SailId>> {
        let mut pieces: BTreeMap<Piece, Vec<SailId>> = BTreeMap::new();
        for (sail, wanted) in &self.wanted {
            let own = self.missing_on(wanted, &[*sail]).into_iter().next();
            let mut missing = own.map_or_else(|| vec![wanted.clone()], |(_, missing)| missing);
            let mut from = |from: Option<SailId>, block: Block| {
                let to = pieces.entry((from, block)).or_default();
                // Two parts that a card holds may overlap; it is sent what both have once.
                if to.last() != Some(sail) {
                    to.push(*sail);
                }
            };
            for (card, block) in self.sources(routes, *sail, sources) {
                let found: Vec<Block> = missing.iter().filter_map(|missing| missing.common(block)).collect();
                found.into_iter().for_each(|block| from(Some(card), block));
                missing = without(&missing, block);
            }
            missing.into_iter().for_each(|block| from(None, block));
        }
        pieces
    }

    /// Who else has parts of the weight, nearest first.
    fn sources(&self, routes: &Routes, to: SailId, sources: Sources) -> Vec<(SailId, &Block)> {
        let hops = |card: SailId| routes.path(card.index(), to.index()).count();
        let others = self.had.iter().filter(|(card, _)| *card != to && sources == Sources::Cards);
        let mut near: Vec<(usize, SailId, &Block)> =
            others.map(|(card, block)| (hops(*card), *card, block)).filter(|(hops, ..)| *hops > 0).collect();
        near.sort();
        near.into_iter().map(|(_, card, block)| (card, block)).collect()
    }
}
