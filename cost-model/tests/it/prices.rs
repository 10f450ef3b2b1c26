//! Kernels, the host and the decode context against worked examples.

use sailplan_cost_model::{CostModel, Phase, Work, parse_fleet, shipped_fleet};
use sailplan_ir::{Bytes, DType, Fleet, Picoseconds, Request, SailId, Verified, Verify};

fn fleet(text: &str) -> Verified<Fleet> {
    parse_fleet("fleet", text).unwrap()
}

/// 2,375,680 B at 2 GB/s = 1187.84 µs, plus 1 µs overhead.
#[test]
fn a_kernel_takes_its_bytes_and_its_overhead() {
    let (fleet, request) = (fleet(shipped_fleet("innerjib7ea-x1").unwrap()), Request::default().verify().unwrap());
    let costs = CostModel::new(&fleet, &request);
    let took = costs.kernel(SailId(0), Work { bytes: Bytes(2_375_680), flops: u64::MAX }, DType::Q4_0);
    assert_eq!(took.ddr, Picoseconds(1_188_840_000));
    assert_eq!(took.total(), took.ddr, "unknown compute is not priced");
}

/// 1 MB at 2 GB/s = 500 µs; 2 MFLOP at 1 GFLOP/s = 2 ms binds.
#[test]
fn known_compute_binds_when_it_is_slower() {
    let text = shipped_fleet("innerjib7ea-x1").unwrap();
    let fleet = fleet(&text.replace("compute: Unknown", "compute: Rates({F32: \"1 GFLOP/s\"})"));
    let request = Request::default().verify().unwrap();
    let costs = CostModel::new(&fleet, &request);
    let took = costs.kernel(SailId(0), Work { bytes: Bytes(1_000_000), flops: 2_000_000 }, DType::Q4_0);
    assert_eq!((took.compute, took.ddr), (Picoseconds::from_micros(2000), Picoseconds::from_micros(1)));
}

/// 32000 logits × 4 B / 100 MB/s = 1280 µs, plus 100 µs, whether from one card or in four parts.
#[test]
fn the_host_link_is_shared() {
    let (fleet, request) = (fleet(shipped_fleet("innerjib7ea-x4-ring").unwrap()), Request::default().verify().unwrap());
    let costs = CostModel::new(&fleet, &request);
    assert_eq!(costs.host(&[Bytes(128_000)]), Picoseconds::from_micros(1380));
    assert_eq!(costs.host(&[Bytes(32_000); 4]), Picoseconds::from_micros(1380));
}

/// P = 512, G = 128: positions 513 … 640, mean 576.5, rounded up. Prefill of 512 in one chunk ends at 512.
#[test]
fn decode_sees_the_mean_context() {
    let (fleet, request) = (fleet(shipped_fleet("innerjib7ea-x1").unwrap()), Request::default().verify().unwrap());
    let costs = CostModel::new(&fleet, &request);
    assert_eq!(costs.extents(Phase::Decode).context, 577);
    assert_eq!((costs.extents(Phase::Prefill).context, costs.extents(Phase::Prefill).tokens), (512, 512));
}

/// P = 1000 in chunks of 512 at most: two chunks of 500 that end at 500 and 1000, mean 750.
#[test]
fn chunks_are_balanced() {
    let request = Request { prompt: 1000, ..Request::default() }.verify().unwrap();
    let fleet = fleet(shipped_fleet("innerjib7ea-x1").unwrap());
    let extents = CostModel::new(&fleet, &request).extents(Phase::Prefill);
    assert_eq!((extents.tokens, extents.context), (500, 750));
}
