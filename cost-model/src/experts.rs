//! Bytes and operations of a mixture of experts on one card. Which experts a token takes is known only when it runs, so
//! prices assume that every token takes any `k` of the `E` experts with the same chance, independent of other tokens.
//!
//! **Bytes.** `T` tokens then take `D = E · (1 − (1 − k/E)^T)` distinct experts on average: exactly `k` for one token, all of
//! them for a chunk of a prompt. A card with all experts, or a slice of every expert, reads those. A card with `n` whole
//! experts reads `n · D/E` on average, but the slowest card of a group counts, and the mean of the largest is more than
//! the largest mean. It is at most `min(n, D)`, because no card reads more than it has or than all of them read; this is
//! the price. It is exact for `n = 1` and one token (some card reads its expert) and for `n = E`.
//!
//! **Operations** are those of `T·k·n/E` pairs of a token and an expert, the mean, and of one pair at least for each expert
//! that is read. What experts make in between stays in the kernel.
//!
//! **Rows sent.** Of rows that go to the cards with an expert that they take, a card with `n` experts gets each with chance
//! 1 − C(E − n, k) / C(E, k) (`ir::Routing`); the largest block that a card sends to another one is priced for all, and the
//! kernel as if all rows were there: it reads no others, but which ones is chance.

use crate::{Local, Work};
use sailplan_ir::{Bytes, Share};

/// How tokens are dealt to experts.
#[derive(Clone, Copy)]
struct Routing {
    experts: u64,
    used: u64,
    tokens: u64,
}

/// Work of the layer's `(experts, used)` on local operands: x, gates, three stacks of matrices.
pub(crate) fn work((experts, used): (u32, u32), inputs: &[Local], output: &Local) -> Work {
    let size =
        |operand: usize, axis: usize| inputs.get(operand).and_then(|one| one.axes.get(axis)).copied().unwrap_or(0);
    let tokens = inputs.first().map_or(0, Local::outermost);
    let routing = Routing { experts: u64::from(experts.max(1)), used: u64::from(used.min(experts)), tokens };
    let (local, inner, columns, rows) = (size(2, 0), size(2, 1), size(2, 2), size(4, 1));
    let each: Bytes = inputs.iter().skip(2).map(Local::row_bytes).sum();
    let activations: Bytes = inputs.iter().take(2).chain([output]).map(Local::bytes).sum();
    let product = |a: u64, b: u64| a.saturating_mul(b);
    // Two products into the experts' width, SwiGLU, one product out of it, weighted by the gate and added.
    let into = product(inner, product(columns, 4).saturating_add(6));
    let pair = into.saturating_add(product(rows, product(inner, 2).saturating_add(2)));
    Work { bytes: activations + routing.read(each, local), flops: product(routing.pairs(local), pair) }
}

impl Routing {
    /// Bytes of `local` experts of `each` bytes that the slowest card reads, rounded up.
    fn read(self, each: Bytes, local: u64) -> Bytes {
        each.times(local).min(self.touched(each))
    }

    /// Bytes of the distinct experts that all tokens take, rounded up.
    fn touched(self, each: Bytes) -> Bytes {
        if self.tokens < 2 {
            return each.times(self.used * self.tokens);
        }
        let missed = u128::from(self.experts - self.used) * u128::from(Share::ONE.0) / u128::from(self.experts);
        let taken = Share(missed as u64).power(self.tokens).rest();
        let all = each.times(self.experts);
        let bytes = (u128::from(all.0) * u128::from(taken.0)).div_ceil(u128::from(Share::ONE.0));
        Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// Pairs of a token and one of `local` experts, rounded up.
    fn pairs(self, local: u64) -> u64 {
        let all = u128::from(self.tokens) * u128::from(self.used) * u128::from(local);
        let mean = u64::try_from(all.div_ceil(u128::from(self.experts))).unwrap_or(u64::MAX);
        mean.max(self.read(Bytes(1), local).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sailplan_ir::DType;

    const EIGHT: Routing = Routing { experts: 8, used: 2, tokens: 1 };

    /// One token takes 2 of 8: a card with all reads 2, one with four or two may be hit by both, one with one by one.
    #[test]
    fn one_token_is_priced_at_its_worst() {
        let read = |local| EIGHT.read(Bytes(1000), local).0;
        assert_eq!([8, 4, 2, 1, 0].map(read), [2000, 2000, 2000, 1000, 0]);
        assert_eq!([8, 4, 2, 1, 0].map(|local| EIGHT.pairs(local)), [2, 2, 2, 1, 0]);
    }

    /// Two tokens: 8 · (1 − (6/8)²) = 3.5 experts. 512 tokens miss one with chance 0.75^512 < 10⁻⁶³: all are read.
    #[test]
    fn several_tokens_share_experts() {
        let read = |tokens, local| Routing { tokens, ..EIGHT }.read(Bytes(1000), local).0;
        assert_eq!([read(2, 8), read(2, 4), read(2, 3)], [3500, 3500, 3000]);
        assert_eq!([read(512, 8), read(512, 4), read(512, 1)], [8000, 4000, 1000]);
        // Every expert for every token.
        assert_eq!(Routing { experts: 3, used: 3, tokens: 5 }.read(Bytes(7), 3).0, 21);
        assert_eq!(Routing { tokens: 512, ..EIGHT }.pairs(1), 128);
    }

    /// x and the result are 32 · 4 B, the gates 8 · 4 B; an expert is 3 matrices of 64 · 32 elements, 64 blocks of Q4_0 each.
    /// A pair of a token and an expert: 2 · 64 products of 32, 6 for SwiGLU of 64, 32 products of 64, weighted and added.
    #[test]
    fn work_of_a_decode_step() {
        let local = |axes: &[u64], dtype| Local { axes: axes.to_vec(), dtype };
        let (x, gates) = (local(&[1, 32], DType::F32), local(&[1, 8], DType::F32));
        let (into, back) = (local(&[8, 64, 32], DType::Q4_0), local(&[8, 32, 64], DType::Q4_0));
        let done = work((8, 2), &[x.clone(), gates, into.clone(), into, back], &x);
        let expert = 3 * 64 * 18;
        assert_eq!(done.bytes, Bytes(128 + 32 + 128 + 2 * expert));
        assert_eq!(done.flops, 2 * (64 * (4 * 32 + 6) + 32 * (2 * 64 + 2)));
    }

    /// Every choice of `used` of `experts`, as a set of bits.
    fn choices(experts: u32, used: u32) -> Vec<u32> {
        (0..1_u32 << experts).filter(|set| set.count_ones() == used).collect()
    }

    /// All routings of two tokens one by one: the mean of the fullest card is no more than the price, and the mean of all
    /// distinct experts is what the cards are priced to read in all, at most.
    #[test]
    fn the_price_is_no_less_than_the_mean_of_the_slowest_card() {
        for (experts, used) in [(5, 2), (6, 3), (6, 1)] {
            let single = choices(experts, used);
            for (tokens, sets) in [
                (1, single.clone()),
                (2, single.iter().flat_map(|a| single.iter().map(move |b| a | b)).collect::<Vec<u32>>()),
            ] {
                let routing = Routing { experts: u64::from(experts), used: u64::from(used), tokens };
                let distinct: u64 = sets.iter().map(|set| u64::from(set.count_ones())).sum();
                let priced = routing.touched(Bytes(sets.len() as u64)).0;
                assert!(priced == distinct || priced == distinct + 1, "the mean {distinct}, rounded up: {priced}");
                for share in 1..=experts {
                    let masks: Vec<u32> = (0..experts)
                        .step_by(share as usize)
                        .map(|first| ((1_u32 << share) - 1) << first & ((1 << experts) - 1))
                        .collect();
                    let fullest = |set: &u32| masks.iter().map(|mask| u64::from((set & mask).count_ones())).max();
                    let sum: u64 = sets.iter().filter_map(fullest).sum();
                    let price = routing.read(Bytes(sets.len() as u64), u64::from(share)).0;
                    assert!(sum <= price, "{used} of {experts}, {tokens} tokens, {share} a card: {sum} > {price}");
                }
            }
        }
    }
}
