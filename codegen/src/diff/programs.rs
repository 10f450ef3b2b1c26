//! What cards compute and exchange in a step: kernels, collectives and messages, layer by layer.

use super::layers::{by_sail, runs};
use super::steps::{Bodies, Steps, bodies, cards, kernel, program, work};
use super::{Class, Found, Kernels, Part, Phase, Tally, What};
use crate::{Instruction, Plan, traffic};
use sailplan_ir::{Algorithm, CollectiveKind, SailId};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn compare(old: &Plan, new: &Plan, found: &mut Found) {
    let mut predictions = (0, BTreeSet::new());
    for phase in [Phase::Prefill, Phase::Decode] {
        exchanged(old, new, phase, found);
        computed(old, new, phase, (found, &mut predictions));
    }
    loading(old, new, &mut predictions);
    let (count, sails) = predictions;
    if count > 0 {
        let sails = sails.into_iter().collect();
        found.push(Class::EstimateOnly, What::Predictions { count, sails });
    }
}

/// Collectives by what they do and how.
type Tallies = BTreeMap<(CollectiveKind, Algorithm), Tally>;

/// Tallies of each layer and of what stands outside, and of everything that crosses links.
#[derive(Default)]
struct Exchanges {
    parts: BTreeMap<Option<u32>, Tallies>,
    all: Tally,
}

impl Tally {
    fn add(&mut self, other: Self, times: u64) {
        self.count = self.count.saturating_add(other.count.saturating_mul(times));
        self.bytes = self.bytes.saturating_add(other.bytes.saturating_mul(times));
    }
}

fn exchanged(old: &Plan, new: &Plan, phase: Phase, found: &mut Found) {
    let (before, after) = (exchanges(old, phase), exchanges(new, phase));
    if before.all != after.all {
        found.push(Class::Traffic, What::Sent { phase, old: before.all, new: after.all });
    }
    let kinds = before.parts.values().chain(after.parts.values()).flat_map(BTreeMap::keys);
    for (kind, algorithm) in kinds.copied().collect::<BTreeSet<_>>() {
        let of = |exchanges: &Exchanges, part: &Option<u32>| {
            let tallies = exchanges.parts.get(part);
            tallies.and_then(|tallies| tallies.get(&(kind, algorithm))).copied().unwrap_or_default()
        };
        let parts: BTreeSet<Option<u32>> = before.parts.keys().chain(after.parts.keys()).copied().collect();
        let pairs = parts.iter().map(|part| (part, (of(&before, part), of(&after, part))));
        let unlike: Vec<_> = pairs.filter(|(_, (old, new))| old != new).collect();
        let mut push = |part, old, new| {
            found.push(Class::Traffic, What::Collectives { phase, part, kind, algorithm, old, new });
        };
        for &(_, (old, new)) in unlike.iter().filter(|(part, _)| part.is_none()) {
            push(outside(), old, new);
        }
        let layers = unlike.iter().filter_map(|&(part, pair)| Some(((*part)?, pair))).collect();
        for (layers, (old, new)) in runs(layers) {
            let count = u64::from(layers[1] - layers[0]) + 1;
            let [mut before, mut after] = [Tally::default(); 2];
            before.add(old, count);
            after.add(new, count);
            push(Part::Layers(layers), before, after);
        }
    }
}

fn outside() -> Part {
    Part::Named("outside of layers".to_owned())
}

/// Counted once for each group, at its first card; messages from stage to stage at the sender.
fn exchanges(plan: &Plan, phase: Phase) -> Exchanges {
    let mut exchanges = Exchanges::default();
    for sail in &plan.sails {
        for (layers, body) in bodies(program(sail, phase)) {
            let [start, end] = layers.unwrap_or([0, 1]);
            let (mut tallies, mut messages) = (Tallies::new(), Tally::default());
            body.iter().for_each(|instruction| tally(sail.sail, instruction, (&mut tallies, &mut messages)));
            exchanges.all.add(messages, u64::from(end.saturating_sub(start)));
            if tallies.is_empty() {
                continue;
            }
            let parts: Vec<Option<u32>> = layers.map_or(vec![None], |_| (start..end).map(Some).collect());
            for part in parts {
                let there = exchanges.parts.entry(part).or_default();
                tallies.iter().for_each(|(key, tally)| there.entry(*key).or_default().add(*tally, 1));
            }
        }
    }
    exchanges
}

fn tally(sail: SailId, instruction: &Instruction, (tallies, messages): (&mut Tallies, &mut Tally)) {
    match instruction {
        Instruction::Send { bytes, .. } => messages.add(Tally { count: 1, bytes: bytes.0 }, 1),
        Instruction::Collective { kind, algorithm, group, .. } if group.first() == Some(&sail) => {
            let sent = traffic::messages(instruction);
            let bytes = sent.iter().map(|message| message.1.0).fold(0, u64::saturating_add);
            tallies.entry((*kind, *algorithm)).or_default().add(Tally { count: 1, bytes }, 1);
            messages.add(Tally { count: sent.len() as u64, bytes }, 1);
        }
        _ => {}
    }
}

/// How a card's instructions for one layer differ.
#[derive(Clone, PartialEq)]
struct Unlike {
    /// Kernels more or fewer, when the work is not the same.
    work: Option<Vec<Kernels>>,
    /// Other predictions of the same work.
    times: u64,
}

fn computed(old: &Plan, new: &Plan, phase: Phase, (found, predictions): (&mut Found, &mut (u64, BTreeSet<SailId>))) {
    let (before, after) = (cards(old, phase), cards(new, phase));
    let mut works: BTreeMap<Option<u32>, Vec<(SailId, Vec<Kernels>)>> = BTreeMap::new();
    for (&sail, steps) in &after {
        let Some(earlier) = before.get(&sail) else { continue };
        for (layer, Unlike { work, times }) in of_card(earlier, steps) {
            if times > 0 {
                predictions.0 += times;
                predictions.1.insert(sail);
            }
            if let Some(kernels) = work {
                works.entry(layer).or_default().push((sail, kernels));
            }
        }
    }
    let mut grouped: BTreeMap<Option<u32>, _> =
        works.into_iter().map(|(layer, sails)| (layer, by_sail(sails))).collect();
    let alone = grouped.remove(&None).map(|groups| (outside(), groups));
    let layered = grouped.into_iter().filter_map(|(layer, groups)| Some((layer?, groups))).collect();
    let layered = runs(layered).into_iter().map(|(layers, groups)| (Part::Layers(layers), groups));
    for (part, groups) in alone.into_iter().chain(layered) {
        for (sails, kernels) in groups {
            found.push(Class::Traffic, What::Program { phase, part: part.clone(), sails, kernels });
        }
    }
}

/// The layers that one card runs before and after, where they differ. What is only on one side has another home, which
/// is said elsewhere.
fn of_card(old: &Steps<'_>, new: &Steps<'_>) -> Vec<(Option<u32>, Unlike)> {
    let mut all: Vec<(Option<u32>, Unlike)> = Vec::new();
    let mut last: Option<(&Bodies<'_>, &Bodies<'_>, Unlike)> = None;
    for (layer, after) in new {
        let Some(before) = old.get(layer) else { continue };
        // Layers of one run have the very same instructions on both sides: compared once.
        let found = match &last {
            Some((one, other, found)) if identical(one, before) && identical(other, after) => found.clone(),
            _ => unlike(before, after),
        };
        if found.work.is_some() || found.times > 0 {
            all.push((*layer, found.clone()));
        }
        last = Some((before, after, found));
    }
    all
}

fn identical(one: &[&[Instruction]], other: &[&[Instruction]]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| std::ptr::eq(*one, *other))
}

fn unlike(old: &[&[Instruction]], new: &[&[Instruction]]) -> Unlike {
    let [before, after] = [old, new].map(|bodies| bodies.iter().copied().flatten().collect::<Vec<_>>());
    let pairs = || before.iter().zip(&after);
    if before.len() == after.len() && pairs().all(|(old, new)| work(old) == work(new)) {
        let times = pairs().filter(|(old, new)| old.time() != new.time()).count() as u64;
        return Unlike { work: None, times };
    }
    let mut counts: BTreeMap<&'static str, [u64; 2]> = BTreeMap::new();
    for (side, instructions) in [&before, &after].into_iter().enumerate() {
        let names = instructions.iter().filter_map(|instruction| kernel(instruction));
        names.for_each(|name| counts.entry(name).or_default()[side] += 1);
    }
    let differing = counts.into_iter().filter(|(_, [old, new])| old != new);
    let kernels = differing.map(|(op, [old, new])| Kernels { op: op.to_owned(), old, new }).collect();
    Unlike { work: Some(kernels), times: 0 }
}

/// Predicted times of loads that are otherwise the same.
fn loading(old: &Plan, new: &Plan, predictions: &mut (u64, BTreeSet<SailId>)) {
    for sail in &new.sails {
        let Some(earlier) = old.sails.iter().find(|other| other.sail == sail.sail) else { continue };
        let pairs = earlier.load.iter().zip(&sail.load);
        let count = pairs.filter(|(old, new)| old.weight == new.weight && old.time != new.time).count() as u64;
        if count > 0 {
            predictions.0 += count;
            predictions.1.insert(sail.sail);
        }
    }
}
