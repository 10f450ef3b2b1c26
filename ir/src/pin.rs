//! Pins: demands on a placement that a user names. What they mean for a model and a fleet is the planner's to say; that a
//! plan keeps them, the plan verifier's.

use crate::{Place, SailId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::ops::Range;

/// A named demand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What a refusal calls it.
    pub name: String,
    /// What is demanded.
    pub demand: Demand,
    /// Where it was read; a plan does not keep it.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// What can be demanded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Demand {
    /// These layers run on these Sails and on no others; not all of them need work.
    Layers {
        /// Which.
        layers: Part,
        /// Where.
        #[serde(with = "names")]
        on: Vec<SailId>,
    },
    /// Each of these layers is shared by exactly these Sails.
    Group {
        /// Which.
        layers: Part,
        /// Who shares them.
        #[serde(with = "names")]
        sails: Vec<SailId>,
    },
    /// Each of these layers is shared by so many Sails.
    Degree {
        /// Which.
        layers: Part,
        /// How many ranks.
        ranks: u32,
    },
    /// This Sail has no work.
    Never(#[serde(with = "name")] SailId),
    /// The pipeline has no more stages.
    AtMostStages(u32),
    /// The pipeline has no fewer stages.
    AtLeastStages(u32),
    /// No more Sails have work.
    AtMostSails(u32),
    /// Every Sail of a group holds these weights whole; `*` stands for any characters.
    Replicated(String),
    /// These weights are cut along an axis (0 is outermost) at these elements: one more rank than cuts.
    Cut {
        /// Names of weights; `*` stands for any characters.
        tensor: String,
        /// The axis.
        axis: u8,
        /// Where each rank's share ends, but the last one's.
        at: Vec<u64>,
    },
}

/// A part of the chain; written `"0..8"`, `"3"`, `"all"`, `"embedding"` or `"head"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Every segment.
    All,
    /// What stands before the layers.
    Embedding,
    /// What stands after them.
    Head,
    /// Layers `first..end`.
    Layers(Range<u32>),
}

impl Part {
    /// Whether a segment belongs to it: its number among the layers, and whether a layer stands before it.
    #[must_use]
    pub fn contains(&self, layer: Option<u32>, after_layers: bool) -> bool {
        match self {
            Self::All => true,
            Self::Embedding => layer.is_none() && !after_layers,
            Self::Head => layer.is_none() && after_layers,
            Self::Layers(range) => layer.is_some_and(|layer| range.contains(&layer)),
        }
    }

    /// For each segment, given by its number among the layers, whether it belongs to it.
    #[must_use]
    pub fn of(&self, chain: impl Iterator<Item = Option<u32>>) -> Vec<bool> {
        let mut after_layers = false;
        let one = |layer: Option<u32>| {
            after_layers |= layer.is_some();
            self.contains(layer, after_layers)
        };
        chain.map(one).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "all" => Self::All,
            "embedding" => Self::Embedding,
            "head" => Self::Head,
            _ => match text.split_once("..") {
                Some((first, end)) => Self::Layers(first.parse().ok()?..end.parse().ok()?),
                None => {
                    let layer: u32 = text.parse().ok()?;
                    Self::Layers(layer..layer.checked_add(1)?)
                }
            },
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Embedding => f.write_str("embedding"),
            Self::Head => f.write_str("head"),
            Self::Layers(range) => write!(f, "{}..{}", range.start, range.end),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is none of \"0..8\", \"3\", \"all\", \"embedding\", \"head\""))
        })
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |sails: &[SailId]| sails.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let what = |part: &Part| match part {
            Part::All => "everything".to_owned(),
            Part::Embedding | Part::Head => format!("the {part}"),
            Part::Layers(_) => format!("layers {part}"),
        };
        match self {
            Self::Layers { layers, on } => write!(f, "{} on {} only", what(layers), list(on)),
            Self::Group { layers, sails } => write!(f, "{} shared by exactly {}", what(layers), list(sails)),
            Self::Degree { layers, ranks } => write!(f, "{} shared by {ranks} Sails", what(layers)),
            Self::Never(sail) => write!(f, "no work on {sail}"),
            Self::AtMostStages(count) => write!(f, "at most {count} stages"),
            Self::AtLeastStages(count) => write!(f, "at least {count} stages"),
            Self::AtMostSails(count) => write!(f, "at most {count} Sails"),
            Self::Replicated(tensor) => write!(f, "{tensor} whole on every Sail of its group"),
            Self::Cut { tensor, axis, at } => write!(f, "{tensor} cut along axis {axis} at {at:?}"),
        }
    }
}

/// Whether a name is of a pattern in which `*` stands for any characters.
#[must_use]
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A Sail as `"sail3"`.
mod name {
    use super::{Deserialize, Deserializer, SailId, Serializer, de};

    pub(super) fn parse<E: de::Error>(text: &str) -> Result<SailId, E> {
        let number = text.strip_prefix("sail").and_then(|digits| digits.parse().ok());
        number.map(SailId).ok_or_else(|| E::custom(format!("`{text}` is not a Sail such as \"sail3\"")))
    }

    pub(super) fn serialize<S: Serializer>(sail: &SailId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(sail)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SailId, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }
}

/// Sails as `["sail0", "sail1"]`.
pub(crate) mod names {
    use super::{Deserialize, Deserializer, SailId, Serializer, name};

    pub(crate) fn serialize<S: Serializer>(sails: &[SailId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(sails.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SailId>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| name::parse(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, expected) in [
            ("blk.*.ffn_down.weight", "blk.17.ffn_down.weight", true),
            ("blk.*.ffn_down.weight", "blk.17.ffn_up.weight", false),
            ("output.weight", "output.weight", true),
            ("output", "output.weight", false),
            ("*", "", true),
            ("*.weight", "output.weight", true),
            ("a*a", "a", false),
            ("*b*b*", "abcb", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn parts_are_read_as_they_print() {
        for text in ["all", "embedding", "head", "0..8"] {
            assert_eq!(Part::parse(text).map(|part| part.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Part::parse("3"), Some(Part::Layers(3..4)));
        assert_eq!(Part::parse("3..x"), None);
        let chain = || [None, Some(0), Some(1), None].into_iter();
        assert_eq!(Part::Embedding.of(chain()), [true, false, false, false]);
        assert_eq!(Part::Head.of(chain()), [false, false, false, true]);
        assert_eq!(Part::Layers(1..2).of(chain()), [false, false, true, false]);
    }
}
