//! The parts of a replay against references that are too simple to be wrong.

mod collectives;
mod experts;
mod kernels;
mod linear;
mod positions;
mod routed;
mod transport;
mod variants;

/// Reproducible values in −1..1.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
