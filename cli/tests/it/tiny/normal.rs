//! The stream of `numpy.random.default_rng(seed).standard_normal()`, bit for bit: a seed sequence, PCG64, and the
//! ziggurat method. Must not know what the numbers are for.

/// numpy's tables (`ziggurat_constants.h`), a [`Layer`] per 24 bytes. Stored, not computed: most entries are some units in
/// the last place off the true value, and these errors are part of the stream.
const ZIGGURAT: &[u8; 256 * 24] = include_bytes!("../../data/ziggurat.bin");
/// Where the tail begins, and its inverse as numpy writes it.
const TAIL: f64 = 3.654_152_885_361_009;
const TAIL_INVERSE: f64 = 0.273_661_237_329_758_3;

/// Standard normal numbers from a seed.
pub(super) struct Normals {
    layers: Vec<Layer>,
    bits: Pcg64,
}

/// A horizontal strip under the bell curve.
struct Layer {
    /// Below this many steps a point lies under the curve at any height in the layer.
    inside: u64,
    /// The width of a step, of which 2^52 span the layer.
    step: f64,
    /// The density at the layer's edge, 1 at the middle of the curve.
    density: f64,
}

impl Layer {
    fn read(record: &[u8]) -> Self {
        let field = |index: usize| {
            let bytes = record[8 * index..8 * index + 8].try_into();
            u64::from_le_bytes(bytes.expect("eight bytes"))
        };
        Layer { inside: field(0), step: f64::from_bits(field(1)), density: f64::from_bits(field(2)) }
    }
}

impl Normals {
    pub(super) fn new(seed: u64) -> Self {
        Normals { layers: ZIGGURAT.chunks_exact(24).map(Layer::read).collect(), bits: Pcg64::new(seed) }
    }

    /// The next number. The low byte of a draw picks the layer, the next bit the sign, the 52 bits above the place.
    pub(super) fn draw(&mut self) -> f64 {
        loop {
            let bits = self.bits.draw();
            let layer = (bits & 0xff) as usize;
            let steps = (bits >> 9) & ((1 << 52) - 1);
            let size = steps as f64 * self.layers[layer].step;
            if steps < self.layers[layer].inside {
                return signed(size, bits >> 8);
            }
            if layer == 0 {
                return signed(self.tail(), bits >> 17);
            }
            if self.is_under_curve(layer, size) {
                return signed(size, bits >> 8);
            }
        }
    }

    fn is_under_curve(&mut self, layer: usize, size: f64) -> bool {
        let (upper, lower) = (self.layers[layer - 1].density, self.layers[layer].density);
        (upper - lower) * self.bits.unit() + lower < (-0.5 * size * size).exp()
    }

    /// A size beyond `TAIL`, by Marsaglia's method.
    fn tail(&mut self) -> f64 {
        loop {
            let beyond = -TAIL_INVERSE * (-self.bits.unit()).ln_1p();
            let height = -(-self.bits.unit()).ln_1p();
            if height + height > beyond * beyond {
                return TAIL + beyond;
            }
        }
    }
}

/// Negative if the lowest bit of `sign` is set.
fn signed(size: f64, sign: u64) -> f64 {
    if sign & 1 == 1 { -size } else { size }
}

/// A 128-bit linear congruential generator with the output function XSL-RR.
struct Pcg64 {
    state: u128,
    increment: u128,
}

impl Pcg64 {
    const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

    fn new(seed: u64) -> Self {
        let [state, stream] = seed_sequence(seed);
        let increment = stream << 1 | 1;
        let mut generator = Pcg64 { state: increment.wrapping_add(state), increment };
        generator.advance();
        generator
    }

    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(Self::MULTIPLIER).wrapping_add(self.increment);
    }

    fn draw(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// A number from 0 to below 1, a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// 256 bits from a seed: numpy's `SeedSequence(seed).generate_state(4, uint64)`, the first of two words being the high.
fn seed_sequence(seed: u64) -> [u128; 2] {
    let pool = seed_pool(seed);
    let mut hash = Hash::new(0x8b51_f9dd, 0x58f3_8ded);
    let mut long = |index: usize| {
        let low = hash.of(pool[index % 4]);
        let high = hash.of(pool[(index + 1) % 4]);
        u128::from(high) << 32 | u128::from(low)
    };
    let [first, second, third, fourth] = [0, 2, 4, 6].map(&mut long);
    [first << 64 | second, third << 64 | fourth]
}

/// Every word of the seed, hashed into every word of the pool.
fn seed_pool(seed: u64) -> [u32; 4] {
    let mut hash = Hash::new(0x43b0_d7e5, 0x931e_8875);
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.of(word));
    for source in 0..4 {
        for target in (0..4).filter(|&target| target != source) {
            pool[target] = mixed(pool[target], hash.of(pool[source]));
        }
    }
    pool
}

/// A hash of words whose constant moves on with each.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn new(constant: u32, multiplier: u32) -> Self {
        Hash { constant, multiplier }
    }

    fn of(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        folded(word.wrapping_mul(self.constant))
    }
}

fn mixed(left: u32, right: u32) -> u32 {
    folded(left.wrapping_mul(0xca01_f9dd).wrapping_sub(right.wrapping_mul(0x4973_f715)))
}

fn folded(word: u32) -> u32 {
    word ^ word >> 16
}
