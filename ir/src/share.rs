//! A part of a whole as an integer: rates, error probabilities and losses without floating point.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A part of a whole in units of 10⁻¹⁸: [`Share::ONE`] is everything. A file says `"0.12 %"`, `"1200 ppm"`, `"1e-12"`, `0.5`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(pub u64);

const PLACES: i32 = 18;

impl Share {
    /// The whole.
    pub const ONE: Self = Self(1_000_000_000_000_000_000);

    /// What is left of the whole, 0 when this is more.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(Self::ONE.0.saturating_sub(self.0))
    }

    /// This part of an amount, rounded down.
    #[must_use]
    pub fn of(self, amount: u64) -> u64 {
        let part = u128::from(amount) * u128::from(self.0) / u128::from(Self::ONE.0);
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// This share of itself of itself …, `count` times: the chance that `count` independent things all happen. Rounded down
    /// at every squaring, so at most `count` units of 10⁻¹⁸ too small.
    #[must_use]
    pub fn power(self, count: u64) -> Self {
        let (mut result, mut square, mut rest) = (Self::ONE, self.min(Self::ONE), count);
        while rest > 0 {
            if rest % 2 == 1 {
                result = Self(square.of(result.0));
            }
            square = Self(square.of(square.0));
            rest /= 2;
        }
        result
    }

    /// As a floating-point number, for display only.
    #[must_use]
    pub fn probability(self) -> f64 {
        self.0 as f64 / Self::ONE.0 as f64
    }

    /// The exact value as text; reading it gives the same value.
    #[must_use]
    pub fn exact(self) -> String {
        written(self.0)
    }
}

/// A plain decimal, or with an exponent below 0.0001.
fn written(units: u64) -> String {
    let digits = format!("{units:019}");
    let (whole, fraction) = digits.split_at(digits.len() - PLACES as usize);
    let fraction = fraction.trim_end_matches('0');
    let first = fraction.find(|digit| digit != '0').unwrap_or(0);
    if whole != "0" || first < 4 {
        let point = if fraction.is_empty() { "" } else { "." };
        return format!("{whole}{point}{fraction}");
    }
    let (leading, rest) = fraction[first..].split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{leading}{point}{rest}e-{}", first + 1)
}

/// Three significant digits, rounded to nearest.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10u64.pow(self.0.checked_ilog10().unwrap_or(0).saturating_sub(2));
        let rounded = (self.0 / unit + u64::from(self.0 % unit >= unit.div_ceil(2) && unit > 1)).saturating_mul(unit);
        f.pad(&written(rounded))
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exact())
    }
}

/// Why a share could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a share: expected a number, as in \"0.12 %\", \"1200 ppm\", \"1e-12\" or \"0.5\"")]
pub struct ShareError {
    text: String,
}

impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let trimmed = text.trim();
        let (number, scale) = match (trimmed.strip_suffix('%'), trimmed.strip_suffix("ppm")) {
            (Some(number), _) => (number.trim_end(), -2),
            (_, Some(number)) => (number.trim_end(), -6),
            _ => (trimmed, 0),
        };
        units(number, scale).map(Self).ok_or_else(|| ShareError { text: text.chars().take(60).collect() })
    }
}

/// `number × 10^scale` in units of 10⁻¹⁸; less than one unit is rounded up.
fn units(number: &str, scale: i32) -> Option<u64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| (-40..=20).contains(exponent))?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let power = PLACES + exponent + scale - i32::try_from(fraction.len()).ok()?;
    let factor = 10u128.checked_pow(power.unsigned_abs());
    let value = match (factor, power >= 0) {
        (Some(factor), true) => value.checked_mul(factor)?,
        (Some(factor), false) => value.div_ceil(factor),
        (None, true) => return (value == 0).then_some(0),
        (None, false) => u128::from(value > 0),
    };
    u64::try_from(value).ok()
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber)
    }
}

/// A number is read by its shortest decimal text, so that `1e-12` is exactly that.
struct TextOrNumber;

impl de::Visitor<'_> for TextOrNumber {
    type Value = Share;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share, as \"0.12 %\" or 1e-12")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Share, E> {
        self.visit_str(&format!("{number:e}"))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Share, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_trip_exactly() {
        for text in ["0", "1", "0.0012", "0.5", "1e-12", "2.5e-7", "18", "1e-18", "0.999999999999999999"] {
            assert_eq!(text.parse::<Share>().unwrap().exact(), text);
        }
        for value in [0, 1, 999, 123_456_789_012_345_678, u64::MAX] {
            assert_eq!(Share(value).exact().parse::<Share>().unwrap().0, value);
        }
    }

    #[test]
    fn one_value_has_many_spellings() {
        for text in ["0.12 %", "0.12%", "1200 ppm", "1.2e-3", "12E-4", " 0.0012 "] {
            assert_eq!(text.parse::<Share>().unwrap().exact(), "0.0012", "{text}");
        }
        assert_eq!("1e-40".parse::<Share>().unwrap().0, 1, "too small to say is rounded up");
    }

    #[test]
    fn bad_shares_are_refused() {
        for text in ["", "%", "-1", "1..2", ".5", "1e", "1e99", "NaN", "half", "1e20", "0x1"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    /// (1 − 10⁻¹²)^800 = 1 − 8·10⁻¹⁰ + 3.2·10⁻¹⁹ …; (1/2)^3 = 1/8.
    #[test]
    fn powers_are_probabilities() {
        let error = "1e-12".parse::<Share>().unwrap().rest().power(800).rest();
        assert!(error.0.abs_diff(800_000_000) <= 800, "{error:?}");
        assert_eq!(error.to_string(), "8e-10");
        assert_eq!("0.5".parse::<Share>().unwrap().power(3).exact(), "0.125");
        assert_eq!(Share::ONE.power(u64::MAX), Share::ONE);
        assert_eq!(Share(0).power(0), Share::ONE);
    }

    #[test]
    fn a_share_prints_three_digits() {
        for (units, text) in [(123_456_789_000_000_000, "0.123"), (799_999_999, "8e-10"), (5, "5e-18"), (0, "0")] {
            assert_eq!(Share(units).to_string(), text);
        }
    }
}
