//! Every weight that stays on a card gets there once: load steps name weights of their card, and what one card hands on another takes,
//! in the same order, without waiting in a circle.

use super::holdings::{Cut, Holding, Holdings};
use super::problem;
use crate::{Load, Plan};
use sailplan_ir::{Diagnostics, SailId};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

pub(crate) fn problems(plan: &Plan, held: &[Holdings<'_>]) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut cards = Vec::new();
    for (number, held) in held.iter().enumerate() {
        match steps(plan, number, held) {
            Ok(steps) => cards.push(Card { sail: plan.sails[number].sail, steps, next: 0 }),
            Err((place, reason)) => found.push(problem(format!("{}.{place}", plan.sails[number].sail), reason)),
        }
    }
    if found.0.is_empty() { run(&cards_by_id(plan), cards) } else { found }
}

/// What is loaded: tensors of the model and the cut.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content<'a> {
    tensors: &'a [u32],
    cut: Option<Cut>,
}

struct Step<'a> {
    load: &'a Load,
    content: Content<'a>,
}

struct Card<'a> {
    sail: SailId,
    steps: Vec<Step<'a>>,
    next: usize,
}

fn cards_by_id(plan: &Plan) -> BTreeMap<SailId, usize> {
    plan.sails.iter().enumerate().map(|(number, sail)| (sail.sail, number)).collect()
}

/// The steps of one card, which load every weight once; else the place of a problem and its words.
fn steps<'a>(plan: &'a Plan, number: usize, held: &'a Holdings<'a>) -> Result<Vec<Step<'a>>, (String, String)> {
    let sail = &plan.sails[number];
    let mut left: Vec<Vec<bool>> =
        held.residents.iter().map(|one| vec![!one.cache && one.streamed.is_none(); one.tensors.len()]).collect();
    let mut steps = Vec::new();
    for (index, load) in sail.load.iter().enumerate() {
        let at = |reason: String| (format!("load[{index}]"), format!("`{}` {reason}", load.weight));
        let (resident, layers) = resident(load, held).ok_or_else(|| at("is no weight of these layers".to_owned()))?;
        let bytes = sail.weights[resident].bytes * layers.len() as u64;
        if bytes != load.bytes {
            return Err(at(format!("has {bytes:?}, not {:?}", load.bytes)));
        }
        let peers = [load.from, load.to].into_iter().flatten();
        if let Some(peer) = peers.into_iter().find(|peer| *peer == sail.sail || !has_work(plan, *peer)) {
            return Err(at(format!("comes from or goes to {peer}, which is no other Sail with work")));
        }
        if !left[resident][layers.clone()].iter_mut().all(std::mem::take) {
            return Err(at("is loaded twice".to_owned()));
        }
        let Holding { tensors, cut, .. } = &held.residents[resident];
        steps.push(Step { load, content: Content { tensors: &tensors[layers], cut: *cut } });
    }
    match left.iter().position(|layers| layers.contains(&true)) {
        Some(resident) => {
            let weight = &sail.weights[resident].name;
            Err(("load".to_owned(), format!("it does not load every weight of this Sail: `{weight}` is missing")))
        }
        None => Ok(steps),
    }
}

fn has_work(plan: &Plan, sail: SailId) -> bool {
    plan.sails.binary_search_by_key(&sail, |plan| plan.sail).is_ok()
}

/// The weight that is loaded and the places of its layers.
fn resident(load: &Load, held: &Holdings<'_>) -> Option<(usize, Range<usize>)> {
    let candidates = held.names.get(load.weight.as_str())?;
    let fitting = candidates.iter().find_map(|(layers, resident)| match (layers, &load.layers) {
        (None, None) => Some((*resident, 0..1)),
        (Some(all), Some(some)) if all.start <= some.0.start && some.0.start < some.0.end && some.0.end <= all.end => {
            Some((*resident, (some.0.start - all.start) as usize..(some.0.end - all.start) as usize))
        }
        _ => None,
    });
    fitting.filter(|(resident, _)| !held.residents[*resident].cache && held.residents[*resident].streamed.is_none())
}

/// Loads on their way from card to card, in order.
type Mail<'a> = BTreeMap<(SailId, SailId), VecDeque<&'a Step<'a>>>;

/// Runs the steps of all cards together.
fn run(index: &BTreeMap<SailId, usize>, mut cards: Vec<Card<'_>>) -> Diagnostics {
    let steps: Vec<Vec<Step<'_>>> = cards.iter_mut().map(|card| std::mem::take(&mut card.steps)).collect();
    let mut mail = Mail::new();
    let mut ready: VecDeque<usize> = (0..cards.len()).collect();
    while let Some(number) = ready.pop_front() {
        while let Some(step) = steps[number].get(cards[number].next) {
            match taken(&mut mail, cards[number].sail, step) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => return refusal(&cards[number], reason),
            }
            cards[number].next += 1;
            if let Some(to) = step.load.to {
                mail.entry((cards[number].sail, to)).or_default().push_back(step);
                ready.extend(index.get(&to));
            }
        }
    }
    let mut found = Diagnostics::default();
    for (card, steps) in cards.iter().zip(&steps) {
        if let Some(Step { load: Load { weight, from: Some(from), .. }, .. }) = steps.get(card.next) {
            found.0.extend(refusal(card, format!("waits for {from} to hand on `{weight}`, for ever")).0);
        }
    }
    for ((from, to), queue) in mail.iter().filter(|_| found.0.is_empty()) {
        if let Some(step) = queue.front() {
            let reason = format!("{to} never takes `{}`, which is handed on to it", step.load.weight);
            return problem(format!("{from}.load"), reason).into();
        }
    }
    found
}

/// Whether a step's shards are there.
fn taken(mail: &mut Mail<'_>, sail: SailId, step: &Step<'_>) -> Result<bool, String> {
    let Some(from) = step.load.from else { return Ok(true) };
    let sent = mail.get_mut(&(from, sail)).and_then(VecDeque::pop_front);
    match sent {
        Some(sent) if sent.content != step.content => Err(format!(
            "takes `{}` from {from}, which hands on another shard of `{}`",
            step.load.weight, sent.load.weight
        )),
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

fn refusal(card: &Card<'_>, reason: String) -> Diagnostics {
    problem(format!("{}.load[{}]", card.sail, card.next), reason).into()
}
