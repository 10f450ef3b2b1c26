//! Quantities with their unit in the type: bytes, picoseconds, bytes per second. All rounding is up; arithmetic
//! saturates, so that an absurd size is priced as "for ever" and never as something small.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// A duration in integer picoseconds; `u64::MAX` (213 days) stands for "never".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Picoseconds(pub u64);

/// A rate in bytes per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BytesPerSecond(pub u64);

/// A line rate in bits per second, before coding and framing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BitsPerSecond(pub u64);

/// A rate in floating-point operations per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlopsPerSecond(pub u64);

const PS_PER_S: u128 = 1_000_000_000_000;

impl BytesPerSecond {
    /// Time to move `bytes` at this rate, rounded up; a zero rate takes for ever.
    #[must_use]
    pub fn time(self, bytes: Bytes) -> Picoseconds {
        Picoseconds(rounded_up(bytes.0, self.0))
    }
}

impl FlopsPerSecond {
    /// Time to do `flops` operations at this rate, rounded up; a zero rate takes for ever.
    #[must_use]
    pub fn time(self, flops: u64) -> Picoseconds {
        Picoseconds(rounded_up(flops, self.0))
    }
}

fn rounded_up(amount: u64, per_second: u64) -> u64 {
    match (amount, per_second) {
        (0, _) => 0,
        (_, 0) => u64::MAX,
        _ => u64::try_from((u128::from(amount) * PS_PER_S).div_ceil(u128::from(per_second))).unwrap_or(u64::MAX),
    }
}

impl Bytes {
    /// Saturating product with a count.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Rounded up to a multiple of `alignment` (0 counts as 1).
    #[must_use]
    pub fn aligned(self, alignment: u64) -> Self {
        let step = alignment.max(1);
        Self(self.0.div_ceil(step).saturating_mul(step))
    }
}

impl Picoseconds {
    /// No finite time.
    pub const NEVER: Self = Self(u64::MAX);

    /// From whole microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000_000))
    }

    /// As floating-point seconds, for display and for solver coefficients.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / PS_PER_S as f64
    }

    /// Saturating product with a count.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

macro_rules! saturating {
    ($type:ident) => {
        impl Add for $type {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl AddAssign for $type {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl Sub for $type {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
        impl Mul<u64> for $type {
            type Output = Self;
            fn mul(self, count: u64) -> Self {
                self.times(count)
            }
        }
        impl Sum for $type {
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self(0), Add::add)
            }
        }
    };
}
saturating!(Bytes);
saturating!(Picoseconds);

/// Unit names with their size in the base unit, largest first.
type Units = [(&'static str, u64)];

const TIME: &Units =
    &[("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("µs", 1_000_000), ("ns", 1000), ("ps", 1)];
const SIZE: &Units = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];
const RATE: &Units = &[
    ("TB/s", 1_000_000_000_000),
    ("GB/s", 1_000_000_000),
    ("MB/s", 1_000_000),
    ("kB/s", 1000),
    ("KB/s", 1000),
    ("B/s", 1),
];
const BITS: &Units =
    &[("Tb/s", 1_000_000_000_000), ("Gb/s", 1_000_000_000), ("Mb/s", 1_000_000), ("kb/s", 1000), ("b/s", 1)];
const FLOPS: &Units = &[
    ("TFLOP/s", 1_000_000_000_000),
    ("GFLOP/s", 1_000_000_000),
    ("MFLOP/s", 1_000_000),
    ("kFLOP/s", 1000),
    ("FLOP/s", 1),
];
/// Units used when printing: one per magnitude.
const TIME_OUT: &Units = &[("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1000), ("ps", 1)];
const SIZE_OUT: &Units = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Why a quantity such as `"2.0 GB/s"` could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a quantity: expected a number and one of {units}, as in {example}")]
pub struct QuantityError {
    text: String,
    units: String,
    example: &'static str,
}

fn parse(text: &str, units: &Units, example: &'static str) -> Result<u64, QuantityError> {
    let names: Vec<&str> = units.iter().map(|unit| unit.0).collect();
    let error = || QuantityError { text: text.chars().take(60).collect(), units: names.join(", "), example };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(digits);
    let scale = units.iter().find(|known| known.0 == unit.trim()).ok_or_else(error)?.1;
    scaled(number, scale).ok_or_else(error)
}

/// `number × scale` in integers; digits below one base unit are rounded up.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 18 || fraction.contains('.') || (number.ends_with('.')) {
        return None;
    }
    let unit = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from(mantissa.checked_mul(u128::from(scale))?.div_ceil(unit)).ok()
}

/// Four significant digits in the largest unit that keeps the number at 1 or more.
fn rounded(value: u64, units: &Units) -> String {
    let (name, scale) = units.iter().find(|unit| value >= unit.1).copied().unwrap_or(units[units.len() - 1]);
    if scale == 1 {
        return format!("{value} {name}");
    }
    let number = value as f64 / scale as f64;
    let decimals = match number {
        n if n >= 1000.0 => 0,
        n if n >= 100.0 => 1,
        n if n >= 10.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$} {name}")
}

/// The exact value in the largest unit that can say it: decimal units with a fraction, binary ones only whole.
fn exact(value: u64, units: &Units) -> String {
    for &(name, scale) in units {
        if value < scale || (scale.is_power_of_two() && scale > 1 && !value.is_multiple_of(scale)) {
            continue;
        }
        let (whole, rest) = (value / scale, value % scale);
        if rest == 0 {
            return format!("{whole} {name}");
        }
        let places = scale.ilog10() as usize;
        let fraction = format!("{rest:0places$}");
        return format!("{whole}.{} {name}", fraction.trim_end_matches('0'));
    }
    format!("{value} {}", units[units.len() - 1].0)
}

macro_rules! quantity {
    ($type:ident, $read:expr, $write:expr, $example:literal) => {
        impl FromStr for $type {
            type Err = QuantityError;
            fn from_str(text: &str) -> Result<Self, QuantityError> {
                parse(text, $read, $example).map(Self)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&rounded(self.0, $write))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.exact())
            }
        }
        impl $type {
            /// The exact value as text; reading it gives the same value.
            #[must_use]
            pub fn exact(self) -> String {
                exact(self.0, $write)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.exact())
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
quantity!(Picoseconds, TIME, TIME_OUT, "\"20 us\"");
quantity!(Bytes, SIZE, SIZE_OUT, "\"4 GiB\"");
quantity!(BytesPerSecond, RATE, RATE_OUT, "\"2.0 GB/s\"");
quantity!(BitsPerSecond, BITS, BITS, "\"1.25 Gb/s\"");
quantity!(FlopsPerSecond, FLOPS, FLOPS, "\"32 TFLOP/s\"");

const RATE_OUT: &Units = &[("GB/s", 1_000_000_000), ("MB/s", 1_000_000), ("kB/s", 1000), ("B/s", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_round_trip_exactly() {
        for text in ["2 GB/s", "1.25 GB/s", "999 B/s", "0 B/s"] {
            assert_eq!(text.parse::<BytesPerSecond>().unwrap().exact(), text);
        }
        for text in ["1.25 Gb/s", "3.125 Gb/s", "270 Mb/s", "0 b/s"] {
            assert_eq!(text.parse::<BitsPerSecond>().unwrap().exact(), text);
        }
        for value in [0, 1, 999, 1000, 1001, 53_200_000, 80_123_456_789_012, u64::MAX] {
            assert_eq!(Picoseconds(value).exact().parse::<Picoseconds>().unwrap().0, value);
            assert_eq!(Bytes(value).exact().parse::<Bytes>().unwrap().0, value);
        }
    }

    #[test]
    fn bad_quantities_are_refused() {
        for text in
            ["", "GB/s", "2", "2 parsecs", "-1 GB/s", "1..2 GB/s", "1. GB/s", "99999999999999999999 GB/s", "NaN GB/s"]
        {
            assert!(text.parse::<BytesPerSecond>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_round_up_and_saturate() {
        assert_eq!(BytesPerSecond(3).time(Bytes(1)).0, 333_333_333_334);
        assert_eq!(BytesPerSecond(0).time(Bytes(1)), Picoseconds::NEVER);
        assert_eq!(BytesPerSecond(0).time(Bytes(0)).0, 0);
        assert_eq!(BytesPerSecond(1).time(Bytes(u64::MAX)), Picoseconds::NEVER);
        assert_eq!(Picoseconds(83_214_999_999).to_string(), "83.21 ms");
    }
}
