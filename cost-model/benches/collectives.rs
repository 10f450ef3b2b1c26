//! Times of pricing collectives on 64 cards: `cargo bench -p sailplan-cost-model`.

use divan::{Bencher, black_box};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Bytes, CollectiveKind, Fleet, Picoseconds, Request, SailId, Verified, Verify};

fn main() {
    divan::main();
}

/// Llama-3-70B, hidden 8192 in F32: one token (32 KiB), 512 tokens (16 MiB), and the vocabulary's logits (513 kB).
const SIZES: [Bytes; 3] = [Bytes(32_768), Bytes(16_777_216), Bytes(513_024)];
const SHAPES: [&str; 3] = ["ring", "mesh", "star"];

fn fleet(shape: &str) -> Verified<Fleet> {
    let name = format!("innerjib7ea-x64-{shape}");
    parse_fleet(&name, shipped_fleet(&name).expect("a shipped fleet")).expect("a sound fleet")
}

/// All 2016 intervals of two cards or more, every collective, three sizes, from an empty cache.
#[divan::bench(args = SHAPES, sample_count = 5)]
fn all_intervals(bencher: Bencher, shape: &str) {
    let (fleet, request) = (fleet(shape), Request::default().verify().expect("a request"));
    let sails: Vec<SailId> = fleet.ids().collect();
    bencher.bench_local(|| {
        let costs = CostModel::new(&fleet, &request);
        let mut sum = Picoseconds(0);
        for group in (0..sails.len()).flat_map(|start| (start + 2..=sails.len()).map(move |end| start..end)) {
            let group = &sails[group];
            for (kind, bytes) in CollectiveKind::ALL.into_iter().flat_map(|kind| SIZES.map(|bytes| (kind, bytes))) {
                let chunk = Bytes(bytes.0.div_ceil(group.len() as u64));
                sum += costs.links.cheapest(kind, group, chunk, bytes).expect("a price").1;
            }
        }
        black_box(sum)
    });
}

/// The table of every kind, 2 to 64 cards, 1 KiB to 1 GiB in powers of two.
#[divan::bench(args = SHAPES, sample_count = 20)]
fn table(bencher: Bencher, shape: &str) {
    let (fleet, request) = (fleet(shape), Request::default().verify().expect("a request"));
    let (sails, sizes): (Vec<SailId>, Vec<Bytes>) =
        (fleet.ids().collect(), (10..=30).map(|log| Bytes(1 << log)).collect());
    bencher.bench_local(|| CostModel::new(&fleet, &request).links.table(&sails, &sizes).len());
}
