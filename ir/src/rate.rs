//! How often something happens: what several that happen side by side have to add up.

use crate::Picoseconds;
use std::iter::Sum;
use std::ops::Add;

/// Times in 2^112 ps, each period's rounded up. One period below 2^56 ps (20 hours) comes back as it was, and the sum of
/// sixty thousand does not overflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Rate(u128);

const SPAN: u128 = 1 << 112;

impl Rate {
    /// Once in every period; a period of 0 counts as 1 ps.
    #[must_use]
    pub fn once_in(period: Picoseconds) -> Self {
        Self(SPAN.div_ceil(u128::from(period.0.max(1))))
    }

    /// From one time to the next, rounded up; without any, never.
    #[must_use]
    pub fn period(self) -> Picoseconds {
        let period = if self.0 == 0 { u128::MAX } else { SPAN.div_ceil(self.0) };
        u64::try_from(period).map_or(Picoseconds::NEVER, Picoseconds)
    }

    /// The period of several that happen side by side: 1 / Σ(1/period).
    #[must_use]
    pub fn together(periods: impl IntoIterator<Item = Picoseconds>) -> Picoseconds {
        periods.into_iter().map(Self::once_in).sum::<Self>().period()
    }
}

impl Add for Rate {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Rate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), Self::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_period_comes_back() {
        for period in [1, 2, 3, 999_999_937, 42_910_000_000_000, (1 << 56) - 1] {
            assert_eq!(Rate::together([Picoseconds(period)]), Picoseconds(period));
        }
        assert_eq!(Rate::together([]), Picoseconds::NEVER);
    }

    #[test]
    fn periods_side_by_side() {
        let together = |periods: &[u64]| Rate::together(periods.iter().map(|&period| Picoseconds(period))).0;
        assert_eq!(together(&[10, 10]), 5);
        assert_eq!(together(&[10, 11]), 6, "110/21, rounded up");
        assert_eq!(together(&[3, 6]), 2);
        assert_eq!(together(&[7_000_000_007; 64]), 109_375_001);
    }
}
