//! How long lists stand in the text: cards and layers as `"0..4, 6"`, columns of each rank as `"6 x 3, 5 x 5"`. A group
//! of 64 would otherwise be most of a plan.

use sailplan_ir::SailId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::cell::Cell;
use std::ops::Range;

/// No list in a plan is longer than a group can be.
const MAX_ITEMS: usize = 1 << 12;

thread_local! {
    /// Items that lists may still expand to. A derived reader has no other way to know what was read before.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Reads with a limit on the items of all lists together, so that a short text cannot fill the memory.
pub(crate) fn within<T>(items: usize, read: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(items);
    let made = read();
    LEFT.set(before);
    made
}

/// A list of cards that is no field.
pub(crate) struct Cards<'a>(pub(crate) &'a [SailId]);

impl Serialize for Cards<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        cards::serialize(self.0, serializer)
    }
}

/// Lists of cards.
pub(crate) mod cards {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(cards: &[SailId], serializer: S) -> Result<S::Ok, S::Error> {
        let follows =
            |first: &SailId, index: usize, card: &SailId| first.index().checked_add(index) == Some(card.index());
        let run = |first: &SailId, count: usize| match count {
            1 => first.0.to_string(),
            _ => format!("{}..{}", first.0, first.index() + count),
        };
        serializer.serialize_str(&joined(cards, follows, run))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SailId>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let run = |item: &str| {
            let (first, end) = match item.split_once("..") {
                Some((first, end)) => (first.parse().ok()?, end.parse().ok()?),
                None => (item.parse::<u32>().ok()?, item.parse::<u32>().ok()?.checked_add(1)?),
            };
            (first < end && end <= MAX_ITEMS as u32).then(|| (first, (end - first) as usize))
        };
        let cards = expanded(&text, run, |first, index| SailId((first + index as u32) as u16));
        cards.ok_or_else(|| de::Error::custom(format!("{} is not a list of cards such as \"0..4, 6\"", shown(&text))))
    }
}

/// Lists of numbers of columns.
pub(crate) mod columns {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(columns: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        let run = |first: &u64, count: usize| match count {
            1 => first.to_string(),
            _ => format!("{first} x {count}"),
        };
        serializer.serialize_str(&joined(columns, |first, _, next| first == next, run))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let run = |item: &str| {
            let (columns, count) = item.split_once(" x ").unwrap_or((item, "1"));
            Some((columns.parse().ok()?, count.parse().ok().filter(|count| *count > 0)?))
        };
        let columns = expanded(&text, run, |columns, _| columns);
        columns.ok_or_else(|| de::Error::custom(format!("{} is not a list such as \"6 x 3, 5 x 5\"", shown(&text))))
    }
}

/// Runs of layers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Runs(pub(crate) Vec<Range<u32>>);

impl Serialize for Runs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(layers).collect::<Vec<_>>().join(", "))
    }
}

impl<'de> Deserialize<'de> for Runs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let runs: Option<Vec<Range<u32>>> = text.split(", ").take(MAX_ITEMS + 1).map(layers_of).collect();
        let runs = runs.filter(|runs| runs.len() <= MAX_ITEMS);
        runs.map(Self).ok_or_else(|| de::Error::custom(format!("{} are not layers such as \"0..4, 6\"", shown(&text))))
    }
}

/// A run of layers; of one, its number.
pub(crate) fn layers(run: &Range<u32>) -> String {
    if Some(run.end) == run.start.checked_add(1) {
        run.start.to_string()
    } else {
        format!("{}..{}", run.start, run.end)
    }
}

/// The run that a text says.
pub(crate) fn layers_of(text: &str) -> Option<Range<u32>> {
    match text.split_once("..") {
        Some((start, end)) => Some(start.parse().ok()?..end.parse().ok()?),
        None => {
            let layer: u32 = text.parse().ok()?;
            Some(layer..layer.checked_add(1)?)
        }
    }
}

/// The columns of a buffer, as `"128..256"`.
pub(crate) mod span {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(span: &Option<(u64, u64)>, serializer: S) -> Result<S::Ok, S::Error> {
        match span {
            Some((start, end)) => serializer.serialize_str(&format!("{start}..{end}")),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<(u64, u64)>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bounds = text.split_once("..").and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
        let wrong = || de::Error::custom(format!("{} are not columns such as \"128..256\"", shown(&text)));
        bounds.map(Some).ok_or_else(wrong)
    }
}

/// Longest runs in which every item follows from the first, with commas in between.
fn joined<T>(items: &[T], follows: impl Fn(&T, usize, &T) -> bool, run: impl Fn(&T, usize) -> String) -> String {
    let mut runs = Vec::new();
    let mut rest = items;
    while let Some(first) = rest.first() {
        let count = rest.iter().enumerate().take_while(|(index, item)| follows(first, *index, item)).count().max(1);
        runs.push(run(first, count));
        rest = &rest[count..];
    }
    runs.join(", ")
}

fn expanded<F: Copy, T>(
    text: &str,
    run: impl Fn(&str) -> Option<(F, usize)>,
    item: impl Fn(F, usize) -> T,
) -> Option<Vec<T>> {
    let mut items = Vec::new();
    if text.is_empty() {
        return Some(items);
    }
    for part in text.split(", ") {
        let (first, count) = run(part)?;
        let left = LEFT.get().checked_sub(count).filter(|_| count <= MAX_ITEMS - items.len())?;
        LEFT.set(left);
        items.extend((0..count).map(|index| item(first, index)));
    }
    Some(items)
}

/// The beginning of what was read.
pub(crate) fn shown(text: &str) -> String {
    format!("`{}`", text.chars().take(60).collect::<String>())
}
