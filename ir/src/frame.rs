//! A serial link as frames: what of its line rate is left for payload, and how long its MACs take. Integer arithmetic;
//! rates are rounded down, times up. Prices of messages and collectives are the cost model's.

use crate::{BitsPerSecond, Bytes, BytesPerSecond, Coding, Picoseconds, Share};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Lanes, frames and losses of a serial link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Lanes in each direction.
    pub lanes: u16,
    /// Bits per second on the line of one lane.
    pub line_rate: BitsPerSecond,
    /// Bits a lane takes from the bus in one beat; lanes × width is the bus.
    #[serde(default = "default_width")]
    pub width: u16,
    /// Payload of a full frame.
    pub payload: Bytes,
    /// Header and delimiters of a frame.
    pub header: Bytes,
    /// Check sum of a frame.
    pub crc: Bytes,
    /// Share of time for clock compensation, alignment and re-training.
    #[serde(default)]
    pub training: Share,
    /// Chance that one line bit arrives wrong.
    #[serde(default)]
    pub bit_errors: Share,
    /// What is sent again after a bad frame.
    #[serde(default)]
    pub replay: Replay,
    /// Beats from the sending to the receiving MAC.
    #[serde(default)]
    pub pipeline: u32,
    /// Time to wake an idle link, paid by every message; 0 for a link that never sleeps.
    #[serde(default)]
    pub wake: Picoseconds,
    /// How heat slows the link, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat: Option<Heat>,
}

fn default_width() -> u16 {
    32
}

/// What is sent again after a bad frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Replay {
    /// The bad frame and all that were sent until the sender knew.
    #[default]
    GoBack,
    /// The bad frame alone.
    Selective,
}

/// Throttling: above the limit, `factor` of the rate is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heat {
    /// Temperature of the junction that prices assume.
    pub junction: Celsius,
    /// Highest temperature at the full rate.
    pub limit: Celsius,
    /// Share of the rate that is left above it.
    pub factor: Share,
}

/// A temperature in whole degrees Celsius.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Celsius(pub i16);

/// From line rate to payload rate, in the order of [`Frame::derive`]; each figure includes those above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Derivation {
    /// All lanes, line bits.
    pub line: BitsPerSecond,
    /// After line coding.
    pub coded: BytesPerSecond,
    /// After headers and delimiters.
    pub framed: BytesPerSecond,
    /// After check sums.
    pub checked: BytesPerSecond,
    /// After training and clock compensation.
    pub trained: BytesPerSecond,
    /// At the assumed temperature.
    pub cooled: BytesPerSecond,
    /// After replays: the sustained payload rate.
    pub effective: BytesPerSecond,
    /// Chance that a full frame arrives wrong.
    pub frame_errors: Share,
}

const PS_PER_S: u128 = 1_000_000_000_000;

impl Frame {
    /// The payload rate, step by step: lanes × line rate, × payload bits / line bits of the coding, × payload / (payload +
    /// header), × payload / (payload + header + CRC), × (1 − training), × the heat factor when the junction is above the
    /// limit, and replays: with frame error p = 1 − (1 − bit errors)^(line bits of a frame), frame time T and round trip R,
    /// a good frame takes (T + p·R) / (1 − p) with go-back and T / (1 − p) with selective replay (Bertsekas & Gallager,
    /// Data Networks, §2.4).
    ///
    /// Rev-A: 4 × 1.25 Gb/s = 5 Gb/s; × 8/10 / 8 = 500 MB/s; × 64/76 = 421.05; × 64/80 = 400; × 0.9988 = 399.52 MB/s.
    #[must_use]
    pub fn derive(&self, coding: Coding) -> Derivation {
        let line = BitsPerSecond(self.line_rate.0.saturating_mul(u64::from(self.lanes)));
        let (payload_bits, line_bits) = coding.bits();
        let coded = scaled(line.0, payload_bits, line_bits * 8);
        let (payload, full) = (self.payload.0, self.payload + self.header + self.crc);
        let framed = scaled(coded, payload, (self.payload + self.header).0);
        let checked = scaled(coded, payload, full.0);
        let trained = self.training.rest().of(checked);
        let cooled =
            self.heat.filter(|heat| heat.junction > heat.limit).map_or(trained, |heat| heat.factor.of(trained));
        let frame_errors = self.frame_errors(coding);
        Derivation {
            line,
            coded: BytesPerSecond(coded),
            framed: BytesPerSecond(framed),
            checked: BytesPerSecond(checked),
            trained: BytesPerSecond(trained),
            cooled: BytesPerSecond(cooled),
            effective: BytesPerSecond(self.replayed(cooled, frame_errors, self.transit(coding))),
            frame_errors,
        }
    }

    /// 1 − (1 − bit errors)^(line bits of a full frame).
    fn frame_errors(&self, coding: Coding) -> Share {
        let (payload_bits, line_bits) = coding.bits();
        let full = (self.payload + self.header + self.crc).times(8).times(line_bits);
        self.bit_errors.rest().power(full.0.div_ceil(payload_bits)).rest()
    }

    /// rate · (1 − p) / (1 + p · frames sent in a round trip), where the frames are rate / payload · 2 · transit.
    fn replayed(&self, rate: u64, frame_errors: Share, transit: Picoseconds) -> u64 {
        let lost = match self.replay {
            Replay::Selective => 0,
            Replay::GoBack => {
                let per_second =
                    (u128::from(rate) * u128::from(frame_errors.0)).div_ceil(u128::from(self.payload.0.max(1)));
                per_second.saturating_mul(2 * u128::from(transit.0)).div_ceil(PS_PER_S)
            }
        };
        let good = u128::from(rate) * u128::from(frame_errors.rest().0);
        u64::try_from(good / u128::from(Share::ONE.0).saturating_add(lost)).unwrap_or(u64::MAX)
    }

    /// Time of beats: width × line bits / payload bits of the coding, at the line rate of a lane. 32 × 10/8 = 40 bits at
    /// 1.25 Gb/s are 32 ns.
    #[must_use]
    pub fn beats(&self, count: u64, coding: Coding) -> Picoseconds {
        let (payload_bits, line_bits) = coding.bits();
        let bits = u128::from(count) * u128::from(self.width) * u128::from(line_bits);
        let rate = u128::from(payload_bits) * u128::from(self.line_rate.0);
        match (bits, rate) {
            (0, _) => Picoseconds(0),
            (_, 0) => Picoseconds::NEVER,
            _ => u64::try_from(bits.saturating_mul(PS_PER_S).div_ceil(rate)).map_or(Picoseconds::NEVER, Picoseconds),
        }
    }

    /// Time from the sending to the receiving MAC, one way, without the frame's own length. 41 beats of 32 ns are 1.312 µs.
    #[must_use]
    pub fn transit(&self, coding: Coding) -> Picoseconds {
        self.beats(u64::from(self.pipeline), coding)
    }

    /// There and back at the MAC for a packet of `bytes` on an idle, awake link: each way the transit and the packet with
    /// its headers and check sums, padded to whole beats. 64 B: (64 + 16) / 16 = 5 beats, 2 · (41 + 5) · 32 ns = 2.944 µs.
    #[must_use]
    pub fn round_trip(&self, bytes: Bytes, coding: Coding) -> Picoseconds {
        let frames = bytes.0.div_ceil(self.payload.0.max(1));
        let packet = bytes + (self.header + self.crc).times(frames);
        let bus = u64::from(self.lanes) * u64::from(self.width);
        let beats = packet.times(8).0.div_ceil(bus.max(1)).saturating_add(u64::from(self.pipeline));
        self.beats(beats.saturating_mul(2), coding)
    }
}

/// `rate × part / whole`, rounded down; 0 of nothing.
fn scaled(rate: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(rate) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

impl fmt::Display for Celsius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} °C", self.0)
    }
}
