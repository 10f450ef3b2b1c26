//! A part of the rows of a step, whose number is known at replay only: between two fractions of them, rounded down. Parts
//! that follow each other make all rows of any step, each once; a part of few rows may be empty.

use crate::domain::gcd;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Of T rows those from ⌊T · start / of⌋ to before ⌊T · end / of⌋, in lowest terms; written `"0..1 of 4"`. The rows of a step
/// are its tokens, of all sequences.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowShare {
    start: u64,
    end: u64,
    of: u64,
}

/// No rows.
impl Default for RowShare {
    fn default() -> Self {
        Self { start: 0, end: 0, of: 1 }
    }
}

impl RowShare {
    /// From one fraction to another; `None` unless `start ≤ end ≤ of` and `of > 0`.
    #[must_use]
    pub fn new(start: u64, end: u64, of: u64) -> Option<Self> {
        let common = gcd(gcd(start, end), of);
        (start <= end && end <= of && of > 0).then(|| Self {
            start: start / common,
            end: end / common,
            of: of / common,
        })
    }

    /// The part of a rank when all ranks have rows in proportion to `parts`.
    #[must_use]
    pub fn among(parts: &[u64], rank: usize) -> Option<Self> {
        let sum = |parts: &[u64]| parts.iter().try_fold(0_u64, |sum, &part| sum.checked_add(part));
        Self::new(sum(parts.get(..rank)?)?, sum(parts.get(..=rank)?)?, sum(parts)?)
    }

    /// Which of `rows` rows.
    #[must_use]
    pub fn rows(self, rows: u64) -> Range<u64> {
        let bound = |bound: u64| (u128::from(rows) * u128::from(bound) / u128::from(self.of)) as u64;
        bound(self.start)..bound(self.end)
    }

    /// How many of `rows` rows.
    #[must_use]
    pub fn count(self, rows: u64) -> u64 {
        let Range { start, end } = self.rows(rows);
        end - start
    }

    /// How many at most in any step of up to `rows` rows: a smaller step may give a part one row more than a larger one.
    #[must_use]
    pub fn most(self, rows: u64) -> u64 {
        (u128::from(rows) * u128::from(self.end - self.start)).div_ceil(u128::from(self.of)) as u64
    }
}

impl fmt::Display for RowShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{} of {}", self.start, self.end, self.of)
    }
}

/// Why a part of rows could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no part of rows in lowest terms, such as \"0..1 of 4\"")]
pub struct RowShareError {
    text: String,
}

impl FromStr for RowShare {
    type Err = RowShareError;
    fn from_str(text: &str) -> Result<Self, RowShareError> {
        let read = || {
            let (range, of) = text.split_once(" of ")?;
            let (start, end) = range.split_once("..")?;
            Self::new(start.parse().ok()?, end.parse().ok()?, of.parse().ok()?)
        };
        let known = read().filter(|share| share.to_string() == text);
        known.ok_or_else(|| RowShareError { text: text.chars().take(60).collect() })
    }
}

impl Serialize for RowShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    /// Even and uneven parts, some empty, of 0 to 40 rows.
    #[test]
    fn parts_make_every_step_in_order() {
        let lists: [&[u64]; 6] = [&[1], &[1; 4], &[1; 7], &[3, 0, 2], &[0, 5, 1, 1], &[1, 2, 3, 4, 5]];
        for parts in lists {
            for rows in 0..40 {
                let mut next = 0;
                for rank in 0..parts.len() {
                    let share = RowShare::among(parts, rank).unwrap();
                    let range = share.rows(rows);
                    assert_eq!(range.start, next, "{parts:?}, {rows} rows");
                    assert_eq!(share.count(rows), range.end - range.start);
                    assert!((rows..50).all(|more| share.count(rows) <= share.most(more)), "{parts:?}, {rows} rows");
                    next = range.end;
                }
                assert_eq!(next, rows, "{parts:?}");
            }
        }
    }

    /// ⌊3·2/5⌋ − ⌊2·2/5⌋ = 1 of 2 rows, ⌊9/5⌋ − ⌊6/5⌋ = 0 of 3.
    #[test]
    fn fewer_rows_may_be_more_for_one() {
        let share = RowShare::new(2, 3, 5).unwrap();
        assert_eq!([2, 3].map(|rows| share.count(rows)), [1, 0]);
        assert_eq!([2, 3].map(|rows| share.most(rows)), [1, 1]);
        assert_eq!(RowShare::new(0, 1, 1).unwrap().count(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_partition_has_parts_of_rows() {
        let even = Partition::balanced(360, 1, 4);
        assert_eq!(even.parts(), [1; 4]);
        let uneven = Partition::proportional(360, 1, &[2, 0, 1]);
        assert_eq!(uneven.parts(), [2, 0, 1]);
        for (partition, parts) in [(even, vec![1; 4]), (uneven, vec![2, 0, 1])] {
            let ranks = || 0..parts.len();
            let known: Vec<_> = ranks().filter_map(|rank| RowShare::among(&parts, rank)).collect();
            assert_eq!(ranks().map(|rank| partition.rows(rank)).collect::<Vec<_>>(), known);
        }
    }

    #[test]
    fn parts_are_written_in_lowest_terms() {
        let share = RowShare::new(2, 4, 8).unwrap();
        assert_eq!(share.to_string(), "1..2 of 4");
        assert_eq!("1..2 of 4".parse(), Ok(share));
        for text in ["2..4 of 8", "2..1 of 4", "0..5 of 4", "0..0 of 0", "1..2", "1 of 4", "", "+0..1 of 4"] {
            let error = text.parse::<RowShare>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is no part of rows in lowest terms, such as \"0..1 of 4\""));
        }
        assert_eq!((RowShare::among(&[0, 0], 1), RowShare::among(&[1], 1)), (None, None));
        assert_eq!(RowShare::among(&[u64::MAX, 1], 0), None);
    }
}
