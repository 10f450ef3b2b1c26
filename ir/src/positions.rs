//! A part of the positions of a context, whose number is known at replay only. They are dealt in turns, so that shares are even
//! at every length and a position is held by the same rank in prefill and in decode.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Of the rows of a cache those from `first` on, every `of`-th; written `"1 of 4"`. The rows of several sequences stand one behind
/// the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PositionShare {
    first: u64,
    of: u64,
}

impl PositionShare {
    /// All positions.
    pub const ALL: Self = Self { first: 0, of: 1 };

    /// `None` unless `first < of`.
    #[must_use]
    pub fn new(first: u64, of: u64) -> Option<Self> {
        (first < of).then_some(Self { first, of })
    }

    /// The first position, when all have it.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// How many parts there are.
    #[must_use]
    pub const fn of(self) -> u64 {
        self.of
    }

    /// Which of the first `positions` positions it has: so many of its own.
    #[must_use]
    pub const fn count(self, positions: u64) -> u64 {
        positions.saturating_sub(self.first).div_ceil(self.of)
    }

    /// How many rows there is room for, the same in every part: those of the first of them.
    #[must_use]
    pub const fn most(self, positions: u64) -> u64 {
        positions.div_ceil(self.of)
    }
}

impl fmt::Display for PositionShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.first, self.of)
    }
}

/// Why a part of positions could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no part of positions, such as \"1 of 4\"")]
pub struct PositionShareError {
    text: String,
}

impl FromStr for PositionShare {
    type Err = PositionShareError;
    fn from_str(text: &str) -> Result<Self, PositionShareError> {
        let read = || {
            let (first, of) = text.split_once(" of ")?;
            Self::new(first.parse().ok()?, of.parse().ok()?)
        };
        let known = read().filter(|share| share.to_string() == text);
        known.ok_or_else(|| PositionShareError { text: text.chars().take(60).collect() })
    }
}

impl Serialize for PositionShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PositionShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every position has one holder, which does not change as the context grows, and no part is more than one ahead.
    #[test]
    fn positions_are_dealt_in_turns() {
        for of in 1..8 {
            let shares: Vec<_> = (0..of).map(|first| PositionShare::new(first, of).unwrap()).collect();
            for positions in 0..40_u64 {
                let counts: Vec<u64> = shares.iter().map(|share| share.count(positions)).collect();
                assert_eq!(counts.iter().sum::<u64>(), positions);
                assert!(
                    shares.iter().zip(&counts).all(|(share, count)| (0..=1).contains(&(share.most(positions) - count)))
                );
                let grown = shares.iter().position(|share| share.count(positions + 1) > share.count(positions));
                assert_eq!(grown, Some((positions % of) as usize));
            }
        }
    }

    #[test]
    fn parts_of_positions_are_written() {
        let share = PositionShare::new(1, 4).unwrap();
        assert_eq!((share.first(), share.of(), share.to_string()), (1, 4, "1 of 4".to_owned()));
        assert_eq!("1 of 4".parse(), Ok(share));
        for text in ["4 of 4", "0 of 0", "1", "", "+1 of 4", "01 of 4"] {
            let error = text.parse::<PositionShare>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is no part of positions, such as \"1 of 4\""));
        }
    }
}
