//! Memory ranges: whether they lie in an arena without overlap, and who wrote a place last.

use std::collections::BTreeMap;

/// `start..end` in bytes, with the number of what lies there.
pub(crate) type Extent = (u64, u64, usize);

/// The first two that overlap.
pub(crate) fn overlap(mut extents: Vec<Extent>) -> Option<(usize, usize)> {
    extents.retain(|extent| extent.0 < extent.1);
    extents.sort_unstable();
    extents.windows(2).find(|pair| pair[1].0 < pair[0].1).map(|pair| (pair[0].2, pair[1].2))
}

/// Places that may overlap each other, as places that do not.
pub(crate) fn united(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.retain(|extent| extent.0 < extent.1);
    extents.sort_unstable();
    let mut united: Vec<Extent> = Vec::new();
    for extent in extents {
        match united.last_mut() {
            Some(last) if extent.0 < last.1 => last.1 = last.1.max(extent.1),
            _ => united.push(extent),
        }
    }
    united
}

/// Who wrote each place of an arena last.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Writers(BTreeMap<u64, (u64, usize)>);

impl Writers {
    /// Buffer `number` is written over `start..end`.
    pub(crate) fn write(&mut self, (start, end, number): Extent) {
        if start >= end {
            return;
        }
        let touched = self.0.range(..end).rev().take_while(|(_, (until, _))| *until > start);
        let touched: Vec<Extent> = touched.map(|(&from, &(until, number))| (from, until, number)).collect();
        for (from, until, other) in touched {
            self.0.remove(&from);
            if from < start {
                self.0.insert(from, (start, other));
            }
            if until > end {
                self.0.insert(end, (until, other));
            }
        }
        self.0.insert(start, (end, number));
    }

    /// Whether nothing was written there since the buffer was.
    pub(crate) fn intact(&self, (start, end, number): Extent) -> bool {
        start >= end || self.0.get(&start) == Some(&(end, number))
    }

    /// Who wrote to a place within `start..end` last, other than the buffer itself.
    pub(crate) fn intruder(&self, (start, end, number): Extent) -> Option<usize> {
        let touched = self.0.range(..end).rev().take_while(|(_, (until, _))| *until > start);
        touched.map(|(_, (_, other))| *other).find(|other| *other != number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_write_spoils_an_earlier_one() {
        let mut writers = Writers::default();
        writers.write((0, 100, 1));
        writers.write((100, 200, 2));
        assert!(writers.intact((0, 100, 1)) && writers.intact((100, 200, 2)));
        writers.write((50, 60, 3));
        assert!(!writers.intact((0, 100, 1)) && writers.intact((50, 60, 3)) && writers.intact((100, 200, 2)));
        assert_eq!(writers.intruder((0, 100, 1)), Some(3));
        writers.write((0, 100, 1));
        assert!(writers.intact((0, 100, 1)) && !writers.intact((50, 60, 3)));
    }

    #[test]
    fn touching_is_not_overlapping() {
        assert_eq!(overlap(vec![(0, 10, 0), (10, 20, 1), (5, 5, 2)]), None);
        assert_eq!(overlap(vec![(10, 20, 1), (0, 11, 0)]), Some((0, 1)));
        assert_eq!(united(vec![(10, 20, 1), (0, 11, 0), (20, 30, 2), (5, 5, 3)]), [(0, 20, 0), (20, 30, 2)]);
    }
}
