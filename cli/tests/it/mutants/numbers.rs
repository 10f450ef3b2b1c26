//! Numbers from a seed: the same mutations on every machine.

/// xorshift64* (Vigna 2016).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED_5EED)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = self.below(items.len());
        items.get(index)
    }

    pub(crate) fn pick_mut<'a, T>(&mut self, items: &'a mut [T]) -> Option<&'a mut T> {
        let index = self.below(items.len());
        items.get_mut(index)
    }

    /// A number near another, a part or a multiple of it, or a wild one.
    pub(crate) fn near(&mut self, value: u64) -> u64 {
        match self.below(9) {
            0 => value.wrapping_add(1),
            1 => value.wrapping_sub(1),
            2 => value.wrapping_add(32),
            3 => value.wrapping_add(64),
            4 => value.wrapping_sub(64),
            5 => value / 2,
            6 => value.wrapping_mul(2),
            7 => 0,
            _ => u64::MAX >> self.below(40),
        }
    }

    pub(crate) fn near_u32(&mut self, value: u32) -> u32 {
        self.near(u64::from(value)) as u32
    }
}
