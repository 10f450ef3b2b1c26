//! The link model's document, its table and its Python helper say what the Rust computes.

use sailplan_cost_model::{LinkReport, Topology, parse_fleet, shipped_fleet};
use sailplan_ir::{Bytes, Coding, Fleet, Picoseconds, Verified};
use std::process::Command;

const DOCUMENT: &str = include_str!("../../../docs/intercard/link-model.md");
const TABLE: &str = include_str!("../../../docs/intercard/link-model.csv");
const PLOTS: &[(&str, &str)] = &[
    ("coding", include_str!("../../../docs/intercard/link-coding.svg")),
    ("errors", include_str!("../../../docs/intercard/link-errors.svg")),
    ("allreduce", include_str!("../../../docs/intercard/link-allreduce.svg")),
];

fn fleet(from: &str, to: &str) -> Verified<Fleet> {
    let text = shipped_fleet("innerjib7ea-x4-mesh").unwrap();
    assert!(text.contains(from), "{from}");
    parse_fleet("innerjib7ea-x4-mesh", &text.replacen(from, to, 1)).unwrap()
}

fn report(from: &str, to: &str) -> LinkReport {
    LinkReport::new(&fleet(from, to)).unwrap()
}

fn says(line: &str) {
    assert!(DOCUMENT.lines().any(|there| there == line), "docs/intercard/link-model.md lacks the line\n{line}");
}

/// `399.52` for 399,519,994: rounded to two decimals.
fn megabytes(rate: u64) -> String {
    let hundredths = (rate + 5_000) / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[test]
fn the_document_states_the_derivation() {
    let links = [
        report("coding: B8B10", "coding: B8B10"),
        report("coding: B8B10", "coding: B64B66"),
        report("line_rate: \"1.25 Gb/s\"", "line_rate: \"3.125 Gb/s\""),
    ];
    let steps = links.map(|link| link.derivation.unwrap());
    let row = |name: &str, rates: [u64; 3]| {
        let cells: Vec<String> = rates.map(megabytes).into();
        says(&format!("| {name} | {} |", cells.join(" | ")));
    };
    row("line, all lanes", steps.map(|step| step.line.0 / 8));
    row("coding", steps.map(|step| step.coded.0));
    row("header", steps.map(|step| step.framed.0));
    row("CRC", steps.map(|step| step.checked.0));
    row("training", steps.map(|step| step.trained.0));
    row("heat", steps.map(|step| step.cooled.0));
    row("replays: **effective**", steps.map(|step| step.effective.0));
}

#[test]
fn the_document_states_the_four_numbers() {
    let (report, later) = (report("name", "name"), report("coding: B8B10", "coding: B64B66"));
    let saturation = report.saturation;
    let gigabytes = |rate: u64| format!("{}.{:04}", rate / 1_000_000_000, (rate + 50_000) / 100_000 % 10_000);
    says(&format!(
        "1. **Sustained payload: {} GB/s** in each direction (64b/66b: {} GB/s).",
        gigabytes(report.effective.0),
        gigabytes(later.effective.0)
    ));
    says(&format!(
        "2. **64-byte round trip at the MAC: {} µs** (64b/66b: {} µs).",
        decimals(report.round_trip),
        decimals(later.round_trip)
    ));
    assert!(saturation.holds());
    says(&format!(
        "3. **Saturation: the link holds {} MB/s** up to {}; above, {} MB/s are assumed to be left. 99 % are held up to {} bit errors, half up to {}.",
        megabytes(saturation.sustained.0),
        saturation.limit.unwrap(),
        megabytes(saturation.backed_off.0),
        saturation.bit_errors_at_99_percent.unwrap(),
        saturation.bit_errors_at_half.unwrap()
    ));
    let mesh = report.all_reduce.iter().find(|row| row.bytes == Bytes(1 << 20) && row.cards == 4).unwrap();
    assert_eq!(mesh.topology, Topology::Mesh);
    says(&format!(
        "4. **All-reduce of 1 MiB over 4 cards in a full mesh: {} µs** ({}); other sizes, cards and topologies below.",
        mesh.time.0.div_ceil(1_000_000),
        mesh.algorithm
    ));
}

/// Microseconds with three decimals, rounded up.
fn decimals(time: Picoseconds) -> String {
    let nanos = time.0.div_ceil(1000);
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

#[test]
fn the_document_and_the_table_hold_every_all_reduce() {
    let report = report("name", "name");
    assert!(TABLE == report.csv(), "run docs/intercard/link_model.py --write; expected\n{}", report.csv());
    for rows in report.all_reduce.chunk_by(|a, b| (a.topology, a.bytes) == (b.topology, b.bytes)) {
        let bytes = rows[0].bytes.0;
        let size =
            if bytes < 1 << 20 { format!("1/{} MiB", (1 << 20) / bytes) } else { format!("{} MiB", bytes >> 20) };
        let cells: Vec<String> =
            rows.iter().map(|row| format!("{} {}", row.time.0.div_ceil(1_000_000), row.algorithm)).collect();
        says(&format!("| {size} | {} |", cells.join(" | ")));
    }
}

/// Standard output of a Python program beside the helper; `None` without Python.
fn python(arguments: &[&str]) -> Option<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/intercard");
    let ran = Command::new("python3").arg("-B").args(arguments).current_dir(folder).output();
    let Ok(output) = ran else {
        eprintln!("skipped: python3 is not there");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_helper_prints_the_table_and_the_plots() {
    let Some(table) = python(&["link_model.py"]) else { return };
    assert!(table == TABLE, "link_model.py prints\n{table}");
    for (name, committed) in PLOTS {
        assert!(python(&["link_model.py", "--svg", name]).unwrap() == *committed, "run link_model.py --write: {name}");
    }
}

/// Edits of the fleet file and the same edit of the helper's link.
const VARIANTS: &[(&str, &str, &str)] = &[
    ("lanes: 4", "lanes: 4", ""),
    ("coding: B8B10", "coding: B64B66", "coding='64b/66b'"),
    ("coding: B8B10", "coding: Native", "coding='native'"),
    ("lanes: 4", "lanes: 3", "lanes=3"),
    ("\"1.25 Gb/s\"", "\"3.125 Gb/s\"", "line_rate=3_125_000_000"),
    ("width: 32", "width: 20", "width=20"),
    ("\"64 B\"", "\"250 B\"", "payload=250"),
    ("\"12 B\"", "\"7 B\"", "header=7"),
    ("\"4 B\"", "\"0 B\"", "crc=0"),
    ("\"0.12 %\"", "\"1 %\"", "training=ONE // 100"),
    ("\"1e-12\"", "\"1.3e-5\"", "bit_errors=13 * 10**12"),
    ("GoBack", "Selective", "replay='selective'"),
    ("pipeline: 41", "pipeline: 400", "pipeline=400"),
    ("wake: \"0 s\"", "wake: \"2 us\"", "wake=2_000_000"),
    ("latency: \"5 us\"", "latency: \"700 ns\"", "latency=700_000"),
    ("junction: 60", "junction: 99", "junction=99"),
];

#[test]
fn the_helper_computes_what_the_crate_computes() {
    let mut program = String::from("from link_model import *\n");
    let mut expected = String::new();
    for (from, to, edit) in VARIANTS {
        program += &format!(
            "l = replace(REV_A, {edit})\ns = saturation(l)\nprint([rate for _, rate in derivation(l)], frame_errors(l), \
             message_latency(l), round(rtt_us(64, l) * 10**6), [s[key] for key in sorted(s)], allreduce(1 << 20, 8, 'ring', l))\n"
        );
        expected += &line(&report(from, to));
    }
    let Some(printed) = python(&["-c", &program]) else { return };
    assert_eq!(printed, expected);
}

fn line(report: &LinkReport) -> String {
    let (steps, held) = (report.derivation.unwrap(), report.saturation);
    let row = report
        .all_reduce
        .iter()
        .find(|row| (row.topology, row.bytes, row.cards) == (Topology::Ring, Bytes(1 << 20), 8));
    let row = row.unwrap();
    let rates = [steps.coded, steps.framed, steps.checked, steps.trained, steps.cooled, steps.effective];
    let rates: Vec<u64> = std::iter::once(steps.line.0).chain(rates.map(|rate| rate.0)).collect();
    let saturation = [
        held.backed_off.0,
        held.bit_errors_at_99_percent.unwrap().0,
        held.bit_errors_at_half.unwrap().0,
        held.peak.0,
        held.sustained.0,
    ];
    format!(
        "{rates:?} {} {} {} {saturation:?} ('{}', {})\n",
        steps.frame_errors.0, report.latency.0, report.round_trip.0, row.algorithm, row.time.0
    )
}

/// 64b/66b is decided in one place: the fleet file's word.
#[test]
fn the_coding_is_the_only_change_for_64b66b() {
    let (a, b) = (fleet("name", "name"), fleet("coding: B8B10", "coding: B64B66"));
    let ratio = |fleet: &Fleet| fleet.wires()[0].rate.0;
    assert!(ratio(&b) > ratio(&a));
    assert_eq!(Coding::default(), Coding::B8B10);
}
