//! The tile heuristic's published answers, and the compute rate that prices take for granted.

use proptest::prelude::*;
use sailplan_cost_model::{
    CostModel, Counting, MustSustain, Tile, TileFleet, TileStrategy, Work, must_sustain, parse_fleet, pick_strategy,
    shipped_fleet, tile_costs,
};
use sailplan_ir::{Bytes, BytesPerSecond, DType, FlopsPerSecond, Picoseconds, Request, SailId, Verify};

const FOUR: TileFleet = fleet(4, 2_000_000_000, 500_000_000);
/// TinyLlama's FFN in decode: one token, 2048 to 5632, BF16.
const DECODE: Tile = tile(1, 5632, 2048, 2);

const fn fleet(sails: u64, ddr: u64, link: u64) -> TileFleet {
    TileFleet { sails, ddr: BytesPerSecond(ddr), link: BytesPerSecond(link) }
}

const fn tile(m: u64, n: u64, k: u64, element: u64) -> Tile {
    Tile { m, n, k, element: Bytes(element) }
}

#[test]
fn one_sail_or_none_is_tensor_parallel() {
    for sails in [0, 1] {
        let alone = TileFleet { sails, ..FOUR };
        assert_eq!(pick_strategy(DECODE, Counting::Published, alone), TileStrategy::TensorParallel);
    }
}

/// m · k = m · n and equal rates: w/(n d) + a/l = w/d + a/(n l).
#[test]
fn ties_are_tensor_parallel() {
    let (tile, equal) = (tile(8, 64, 64, 2), fleet(4, 1_000_000, 1_000_000));
    let (tensor, model) = tile_costs(tile, Counting::Published, equal);
    assert_eq!(tensor, model);
    assert_eq!(pick_strategy(tile, Counting::Published, equal), TileStrategy::TensorParallel);
}

#[test]
fn zero_bandwidth_takes_for_ever() {
    for (ddr, link) in [(0, 1), (1, 0), (0, 0)] {
        let costs = tile_costs(DECODE, Counting::Published, fleet(4, ddr, link));
        assert_eq!(costs, (Picoseconds::NEVER, Picoseconds::NEVER));
        assert_eq!(pick_strategy(DECODE, Counting::Published, fleet(4, ddr, link)), TileStrategy::TensorParallel);
    }
}

#[test]
fn sizes_saturate() {
    let huge = tile(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    let costs = tile_costs(huge, Counting::Published, fleet(u64::MAX, u64::MAX, 1));
    assert_eq!(costs.0, Picoseconds::NEVER);
    assert_eq!(pick_strategy(huge, Counting::Matrix, fleet(u64::MAX, 1, 1)), TileStrategy::TensorParallel);
}

/// 4096 B of "weights" and 11,264 B of activations: 0.512 + 22.528 µs against 2.048 + 5.632 µs.
#[test]
fn the_published_answer_for_a_decode_tile_is_model_parallel() {
    let expected = (Picoseconds(23_040_000), Picoseconds(7_680_000));
    assert_eq!(tile_costs(DECODE, Counting::Published, FOUR), expected);
    assert_eq!(pick_strategy(DECODE, Counting::Published, FOUR), TileStrategy::ModelParallel);
}

/// The matrix is 5632 × 2048 × 2 B = 23,068,672 B: 2883.584 + 22.528 µs against 11,534.336 + 5.632 µs.
#[test]
fn counted_as_it_is_read_tensor_parallel_wins_by_far() {
    let expected = (Picoseconds(2_906_112_000), Picoseconds(11_539_968_000));
    assert_eq!(tile_costs(DECODE, Counting::Matrix, FOUR), expected);
    assert_eq!(pick_strategy(DECODE, Counting::Matrix, FOUR), TileStrategy::TensorParallel);
}

/// 8,388,608 operations over 2,375,680 B at 2 GB/s: 7.06 GFLOP/s.
#[test]
fn a_matrix_vector_product_needs_seven_gigaflops() {
    let work = Work { bytes: Bytes(2_375_680), flops: 2 * 2048 * 2048 };
    assert_eq!(must_sustain(work, BytesPerSecond(2_000_000_000)), FlopsPerSecond(7_062_068_966));
}

#[test]
fn no_operations_need_no_rate_and_no_bytes_any() {
    let memory = BytesPerSecond(2_000_000_000);
    assert_eq!(must_sustain(Work { bytes: Bytes(5), flops: 0 }, memory).0, 0);
    assert_eq!(must_sustain(Work { bytes: Bytes(0), flops: 5 }, memory).0, u64::MAX);
    assert_eq!(must_sustain(Work { bytes: Bytes(1), flops: u64::MAX }, memory).0, u64::MAX);
}

/// 1000 B with 8000 operations and 3000 B with none at 2 GB/s: 16 GFLOP/s while the first runs, 4 in all.
#[test]
fn a_program_needs_less_than_its_densest_kernel() {
    let fleet = parse_fleet("one", shipped_fleet("innerjib7ea-x1").unwrap()).unwrap();
    let request = Request::default().verify().unwrap();
    let costs = CostModel::new(&fleet, &request);
    let kernels = [Work { bytes: Bytes(1000), flops: 8000 }, Work { bytes: Bytes(3000), flops: 0 }];
    let expected = MustSustain { every_kernel: FlopsPerSecond(16_000_000_000), in_all: FlopsPerSecond(4_000_000_000) };
    assert_eq!(costs.must_sustain(SailId(0), &kernels), expected);
    assert_eq!(costs.must_sustain(SailId(0), &[]), MustSustain::default());
}

proptest! {
    /// A card with just that rate is bound by its memory, at any size.
    #[test]
    fn at_that_rate_memory_binds(bytes in 1u64..1 << 40, flops in 1u64..1 << 50, memory in 1u64..1 << 40) {
        let work = Work { bytes: Bytes(bytes), flops };
        let rate = must_sustain(work, BytesPerSecond(memory));
        prop_assert!(rate.time(flops) <= BytesPerSecond(memory).time(work.bytes));
        let text = shipped_fleet("innerjib7ea-x1").unwrap();
        let text = text.replace("bandwidth: \"2 GB/s\"", &format!("bandwidth: \"{memory} B/s\""));
        let rates = format!("compute: Rates({{F32: \"{} FLOP/s\"}})", rate.0);
        let fleet = parse_fleet("known", &text.replace("compute: Unknown", &rates)).unwrap();
        let request = Request::default().verify().unwrap();
        let took = CostModel::new(&fleet, &request).kernel(SailId(0), work, DType::F32);
        prop_assert_eq!(took.compute, Picoseconds(0));
    }
}
