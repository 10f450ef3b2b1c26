//! From F32 values to stored bytes: gguf-py's quantisers bit for bit, and for Q4_K, which gguf-py cannot write, a plain
//! one by smallest and largest value. Must not know which tensor the values are of.

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F16,
    Q4_0,
    Q8_0,
    Q4K,
}

impl Kind {
    /// ggml's number of the type.
    pub(super) fn code(self) -> u32 {
        match self {
            Kind::F32 => 0,
            Kind::F16 => 1,
            Kind::Q4_0 => 2,
            Kind::Q8_0 => 8,
            Kind::Q4K => 12,
        }
    }

    /// The number of a file whose matrices are mostly of this kind.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Kind::F32 => 0,
            Kind::F16 => 1,
            Kind::Q4_0 => 2,
            Kind::Q8_0 => 7,
            Kind::Q4K => 14,
        }
    }

    /// Values in a block.
    pub(super) fn block(self) -> u32 {
        match self {
            Kind::F32 | Kind::F16 => 1,
            Kind::Q4_0 | Kind::Q8_0 => 32,
            Kind::Q4K => 256,
        }
    }

    /// The bytes of whole blocks.
    pub(super) fn encode(self, values: &[f32]) -> Vec<u8> {
        let encode_block = match self {
            Kind::F32 => f32_bytes,
            Kind::F16 => f16_bytes,
            Kind::Q4_0 => q4_0,
            Kind::Q8_0 => q8_0,
            Kind::Q4K => q4_k,
        };
        let blocks = values.chunks_exact(self.block() as usize);
        assert!(blocks.remainder().is_empty(), "rows are whole blocks");
        let mut out = Vec::new();
        for block in blocks {
            encode_block(block, &mut out);
        }
        out
    }
}

fn f32_bytes(block: &[f32], out: &mut Vec<u8>) {
    out.extend(block[0].to_le_bytes());
}

fn f16_bytes(block: &[f32], out: &mut Vec<u8>) {
    out.extend(Half::nearest(block[0].into()).bits.to_le_bytes());
}

/// A scale, then 4-bit levels around 8, such that the value of largest magnitude gets level 0.
fn q4_0(block: &[f32], out: &mut Vec<u8>) {
    let first_largest = |best: f32, value: f32| if value.abs() > best.abs() { value } else { best };
    let scale = block.iter().copied().fold(block[0], first_largest) / -8.0;
    let inverse = inverse(scale);
    let levels = block.iter().map(|value| ((value * inverse + 8.5) as u8).min(15));
    out.extend(Half::nearest(scale.into()).bits.to_le_bytes());
    put_nibbles(out, &levels.collect::<Vec<u8>>());
}

/// A scale, then 8-bit levels.
fn q8_0(block: &[f32], out: &mut Vec<u8>) {
    let scale = block.iter().fold(0.0, |largest, value| value.abs().max(largest)) / 127.0;
    let inverse = inverse(scale);
    out.extend(Half::nearest(f64::from(scale)).bits.to_le_bytes());
    out.extend(block.iter().map(|value| (value * inverse).round() as i8 as u8));
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Eight sub-blocks of 32 values, each with a scale and an offset of 6 bits; a value is scale × level − offset.
fn q4_k(block: &[f32], out: &mut Vec<u8>) {
    let ranges: Vec<Range> = block.chunks_exact(32).map(Range::of).collect();
    let scales = SixBit::of(ranges.iter().map(|range| range.scale).collect());
    let offsets = SixBit::of(ranges.iter().map(|range| range.offset).collect());
    out.extend(scales.unit.bits.to_le_bytes());
    out.extend(offsets.unit.bits.to_le_bytes());
    put_six_bit(out, &scales.codes, &offsets.codes);
    let levels = block.chunks_exact(32).enumerate();
    let levels = levels.flat_map(|(sub, values)| sub_block_levels(values, scales.value(sub), offsets.value(sub)));
    for pair in levels.collect::<Vec<u8>>().chunks_exact(64) {
        put_nibbles(out, pair);
    }
}

/// The scale and offset that reach from the smallest value of a sub-block, or 0, to its largest in 15 levels.
struct Range {
    scale: f64,
    offset: f64,
}

impl Range {
    fn of(values: &[f32]) -> Self {
        let values = || values.iter().copied().map(f64::from);
        let low = values().fold(0.0, f64::min);
        let high = values().fold(low + 1e-12, f64::max);
        Range { scale: (high - low) / 15.0, offset: -low }
    }
}

fn sub_block_levels(values: &[f32], scale: f64, offset: f64) -> impl Iterator<Item = u8> {
    values.iter().map(move |&value| match scale > 0.0 {
        true => ((f64::from(value) + offset) / scale).round_ties_even().clamp(0.0, 15.0) as u8,
        false => 0,
    })
}

/// Non-negative numbers as multiples, from 0 to 63, of a unit that fits the largest.
struct SixBit {
    unit: Half,
    codes: Vec<u8>,
}

impl SixBit {
    fn of(numbers: Vec<f64>) -> Self {
        let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let unit = Half::nearest(largest / 63.0);
        let code = |number: f64| match unit.value > 0.0 {
            true => (number / unit.value).round_ties_even().clamp(0.0, 63.0) as u8,
            false => 0,
        };
        let codes = numbers.into_iter().map(code).collect();
        SixBit { unit, codes }
    }

    fn value(&self, index: usize) -> f64 {
        self.unit.value * f64::from(self.codes[index])
    }
}

/// Twice eight codes in twelve bytes: the upper two bits of the last four codes go into the spare bits of the first four.
fn put_six_bit(out: &mut Vec<u8>, scales: &[u8], offsets: &[u8]) {
    for codes in [scales, offsets] {
        out.extend((0..4).map(|index| codes[index] | codes[index + 4] >> 4 << 6));
    }
    out.extend((4..8).map(|index| scales[index] & 15 | (offsets[index] & 15) << 4));
}

/// Two levels to a byte: the first half of them low, the second half high.
fn put_nibbles(out: &mut Vec<u8>, levels: &[u8]) {
    let (low, high) = levels.split_at(levels.len() / 2);
    out.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
}

/// An F16 number.
struct Half {
    bits: u16,
    value: f64,
}

impl Half {
    /// Rounded once, ties to even: `half::f16::from_f64` goes through F32 on some processors and so rounds twice.
    fn nearest(number: f64) -> Self {
        let exponent = (number.abs().to_bits() >> 52).max(1023 - 14);
        let unit = f64::from_bits((exponent - 10) << 52);
        let units = (number.abs() / unit).round_ties_even();
        let magnitude = ((exponent - (1023 - 14)) << 10) + units as u64;
        assert!(magnitude < 0x7c00, "{number} is beyond F16");
        let sign = u16::from(number.is_sign_negative()) << 15;
        Half { bits: sign | magnitude as u16, value: (units * unit).copysign(number) }
    }
}
