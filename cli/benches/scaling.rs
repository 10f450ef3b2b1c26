//! How the time of `sailplan compile`, a whole process with everything cold, grows with Sails and layers: a table of seconds and
//! of the exponents between neighbours (1 is linear). The best of three runs of each.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "writes the files that it compiles, and measures time"
)]

use sailplan_cost_model::shipped_fleet;
use std::process::Command;
use std::time::Instant;

const LAYERS: [u32; 6] = [16, 32, 64, 128, 256, 512];

fn main() {
    table("equal cards in a ring: one group for each size", &[8, 16, 32, 64, 128, 256], equal);
    table("four kinds of cards drawn at random, in a ring: every interval is a group", &[8, 16, 32, 64], mixed);
}

fn table(title: &str, sails: &[usize], fleet: fn(usize) -> String) {
    println!("{title}");
    println!("{:>8} {}  exponent in layers", "Sails", LAYERS.map(|layers| format!("{layers:>9}")).join(""));
    let mut before: Option<Vec<f64>> = None;
    for &count in sails {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("sailplan-scaling-{count}.ron"));
        std::fs::write(&path, fleet(count)).expect("the temporary folder takes a file");
        let times: Vec<f64> = LAYERS.iter().map(|&layers| compile(layers, &path)).collect();
        let exponent = |from: f64, to: f64, factor: f64| (to / from).ln() / factor.ln();
        let across = exponent(times[0], times[LAYERS.len() - 1], f64::from(LAYERS[LAYERS.len() - 1] / LAYERS[0]));
        let row: Vec<String> = times.iter().map(|time| format!("{time:>8.3}s")).collect();
        println!("{count:>8} {}  {across:.2}", row.join(""));
        if let Some(before) = &before {
            let growth: Vec<String> =
                before.iter().zip(&times).map(|(&from, &to)| format!("{:>9.2}", exponent(from, to, 2.0))).collect();
            println!("{:>8} {}  exponent in Sails", "", growth.join(""));
        }
        before = Some(times);
    }
}

fn compile(layers: u32, fleet: &std::path::Path) -> f64 {
    let path = std::env::temp_dir().join(format!("sailplan-scaling-{layers}-layers.ron"));
    std::fs::write(&path, model(layers)).expect("the temporary folder takes a file");
    let run = || {
        let start = Instant::now();
        let mut sailplan = Command::new(env!("CARGO_BIN_EXE_sailplan"));
        // A small context, so that caches of 512 layers fit beside the weights.
        let ended = sailplan.arg("compile").arg(&path).arg("--fleet").arg(fleet).args(["--prompt", "64"]).output();
        // 1 is an answer as well: no plan.
        assert!(ended.expect("it runs").status.code().is_some_and(|code| code < 2));
        start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// A decoder of narrow layers, so that any number of them fits on eight cards.
fn model(layers: u32) -> String {
    format!(
        "Decoder(name: \"narrow\", hidden: 1024, layers: {layers}, heads: 16, kv_heads: 8, head_dim: 64, ffn: 2816, vocab: 32000,
         context: 2048, norm_epsilon: 1e-5, rope_base: 1e4, tied: false, dtypes: Dtypes(default: Q4_0))"
    )
}

fn equal(sails: usize) -> String {
    ring().replace("count: 64", &format!("count: {sails}"))
}

/// Rev-A cards of 4 and 8 GiB at 1.5, 2 and 2.4 GB/s; the same ones at every run.
fn mixed(sails: usize) -> String {
    let ring = ring();
    let one = &ring[ring.find("\"innerjib7ea\": (").expect("a kind")..ring.find("    },\n    sails").expect("cards")];
    let kinds = [("4 GiB", "1.5 GB/s"), ("8 GiB", "2 GB/s"), ("4 GiB", "2.4 GB/s"), ("8 GiB", "1.5 GB/s")];
    let named = kinds.iter().enumerate().map(|(index, (memory, rate))| {
        let kind = one.replace("innerjib7ea", &format!("k{index}")).replace("4 GiB", memory);
        kind.replace("\"2 GB/s\"", &format!("\"{rate}\""))
    });
    let draw = |state: &mut u64, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(format!("(kind: \"k{}\"), ", *state >> 62))
    };
    let cards: String = (0..sails).scan(7, draw).collect();
    ring.replace(one, &named.collect::<String>()).replace("(kind: \"innerjib7ea\", count: 64)", &cards)
}

fn ring() -> String {
    shipped_fleet("innerjib7ea-x64-ring").expect("it is shipped").to_owned()
}
