//! Offsets for buffers with lifetimes: the planner sizes a card's activations with it and codegen lays them out with
//! it, so that what was promised is what is emitted.

use crate::Bytes;

/// A buffer that is live from instruction `from` to instruction `to`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// First instruction that needs it.
    pub from: usize,
    /// Last instruction that needs it.
    pub to: usize,
    /// Its size.
    pub bytes: Bytes,
}

/// First-fit offsets in order of `buffers`, each a multiple of `alignment`; buffers that live at the same time do not
/// overlap. Returns the offsets and the bytes the arena needs.
#[must_use]
pub fn assign(buffers: &[Lifetime], alignment: u64) -> (Vec<Bytes>, Bytes) {
    let mut offsets: Vec<Bytes> = Vec::with_capacity(buffers.len());
    let mut total = Bytes(0);
    for (index, buffer) in buffers.iter().enumerate() {
        let mut taken: Vec<(u64, u64)> = (0..index)
            .filter(|&other| overlaps(buffers[other], *buffer))
            .map(|other| (offsets[other].0, (offsets[other] + buffers[other].bytes).0))
            .collect();
        taken.sort_unstable();
        let mut start = Bytes(0);
        for (from, to) in taken {
            if (start + buffer.bytes).0 <= from {
                break;
            }
            start = start.max(Bytes(to).aligned(alignment));
        }
        total = total.max(start + buffer.bytes);
        offsets.push(start);
    }
    (offsets, total.aligned(alignment))
}

fn overlaps(a: Lifetime, b: Lifetime) -> bool {
    a.bytes.0 > 0 && b.bytes.0 > 0 && a.from <= b.to && b.from <= a.to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_buffer_makes_room() {
        let at = |from, to, bytes| Lifetime { from, to, bytes: Bytes(bytes) };
        let (offsets, total) = assign(&[at(0, 1, 100), at(1, 2, 50), at(2, 3, 80), at(3, 3, 10)], 64);
        assert_eq!(offsets, [Bytes(0), Bytes(128), Bytes(0), Bytes(128)]);
        assert_eq!(total, Bytes(192));
    }
}
