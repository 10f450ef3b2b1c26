//! `link`: what a fleet's card link carries, step by step, and what collectives over it take.

use super::{print, print_json};
use crate::args::LinkArg;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use sailplan_cost_model::{AllReduceRow, LinkReport};
use sailplan_ir::{At, Derivation, Diagnostic, Diagnostics, Fleet, Frame};
use serde::Serialize;
use std::fmt::Write;

/// `link --json`. Rates in bytes per second and direction, times as their names say.
#[derive(Serialize)]
struct Report<'a> {
    fleet: &'a str,
    coding: String,
    effective_bytes_per_s: u64,
    latency_s: f64,
    #[serde(rename = "rtt_64B_s")]
    round_trip_s: f64,
    derivation: Option<Steps>,
    saturation: Saturated,
    allreduce_us: Vec<AllReduce>,
}

#[derive(Serialize)]
struct Steps {
    line_bits_per_s: u64,
    coded_bytes_per_s: u64,
    after_header_bytes_per_s: u64,
    after_crc_bytes_per_s: u64,
    after_training_bytes_per_s: u64,
    after_heat_bytes_per_s: u64,
    after_replays_bytes_per_s: u64,
    frame_error_probability: f64,
}

#[derive(Serialize)]
struct Saturated {
    holds_peak: bool,
    peak_bytes_per_s: u64,
    sustained_bytes_per_s: u64,
    backed_off_bytes_per_s: u64,
    backs_off_above_celsius: Option<i16>,
    bit_error_rate: f64,
    bit_error_rate_at_99_percent: Option<f64>,
    bit_error_rate_at_half: Option<f64>,
}

#[derive(Serialize)]
struct AllReduce {
    mib: f64,
    cards: u16,
    topology: String,
    algorithm: String,
    us: f64,
}

pub(crate) fn run(args: &LinkArg) -> Result<Ended, Failure> {
    let fleet = inputs::fleet(&args.fleet)?;
    let report = LinkReport::new(&fleet).ok_or_else(|| no_link(&args.fleet))?;
    if args.csv {
        print(&report.csv());
    } else if args.json {
        print_json(&object(&fleet, &report))?;
    } else {
        print(&text(&fleet, &report));
    }
    Ok(Ended::Clean)
}

fn no_link(fleet: &str) -> Failure {
    let problem = Diagnostic::new("links: the fleet has none").at(fleet, At::Whole);
    Failure::Input(Diagnostics::from(problem.hint("a fleet of one card needs no link and has no link to show")))
}

fn object<'a>(fleet: &'a Fleet, report: &LinkReport) -> Report<'a> {
    Report {
        fleet: &fleet.name,
        coding: format!("{:?}", report.link.coding),
        effective_bytes_per_s: report.effective.0,
        latency_s: report.latency.seconds(),
        round_trip_s: report.round_trip.seconds(),
        derivation: report.derivation.map(|steps| Steps {
            line_bits_per_s: steps.line.0,
            coded_bytes_per_s: steps.coded.0,
            after_header_bytes_per_s: steps.framed.0,
            after_crc_bytes_per_s: steps.checked.0,
            after_training_bytes_per_s: steps.trained.0,
            after_heat_bytes_per_s: steps.cooled.0,
            after_replays_bytes_per_s: steps.effective.0,
            frame_error_probability: steps.frame_errors.probability(),
        }),
        saturation: saturated(report),
        allreduce_us: report.all_reduce.iter().map(all_reduce).collect(),
    }
}

fn saturated(report: &LinkReport) -> Saturated {
    let saturation = &report.saturation;
    Saturated {
        holds_peak: saturation.holds(),
        peak_bytes_per_s: saturation.peak.0,
        sustained_bytes_per_s: saturation.sustained.0,
        backed_off_bytes_per_s: saturation.backed_off.0,
        backs_off_above_celsius: saturation.limit.map(|limit| limit.0),
        bit_error_rate: saturation.bit_errors.probability(),
        bit_error_rate_at_99_percent: saturation.bit_errors_at_99_percent.map(|share| share.probability()),
        bit_error_rate_at_half: saturation.bit_errors_at_half.map(|share| share.probability()),
    }
}

fn all_reduce(row: &AllReduceRow) -> AllReduce {
    AllReduce {
        mib: row.bytes.0 as f64 / f64::from(1 << 20),
        cards: row.cards,
        topology: row.topology.to_string(),
        algorithm: row.algorithm.to_string(),
        us: row.time.0 as f64 / 1e6,
    }
}

fn text(fleet: &Fleet, report: &LinkReport) -> String {
    let link = &report.link;
    let mut text = format!("{}: {:?}, {:?} duplex, {:?}\n", fleet.name, link.coding, link.duplex, link.state);
    match (&link.frame, &report.derivation) {
        (Some(frame), Some(steps)) => derivation(&mut text, frame, steps),
        _ => text += "  payload rate as the fleet file states it; no frame model\n",
    }
    let _ = writeln!(text, "  effective   {:>12}  a direction, {} a message", report.effective, report.latency);
    let at = if link.frame.is_some() { "at the MAC" } else { "as two messages" };
    let _ = writeln!(text, "  64 B there and back {} {at}", report.round_trip);
    saturation(&mut text, report);
    tables(&mut text, &report.all_reduce);
    text
}

fn derivation(text: &mut String, frame: &Frame, steps: &Derivation) {
    let payload = frame.payload;
    let mut line = |name: &str, rate: String, how: String| {
        let _ = writeln!(text, "  {name:<11} {rate:>12}  {how}");
    };
    line("line", steps.line.to_string(), format!("{} lanes × {}", frame.lanes, frame.line_rate));
    line("coding", steps.coded.to_string(), String::new());
    line("header", steps.framed.to_string(), format!("{payload} of {}", payload + frame.header));
    line("CRC", steps.checked.to_string(), format!("{payload} of {}", payload + frame.header + frame.crc));
    line("training", steps.trained.to_string(), format!("{} of the time", frame.training));
    let heat = frame.heat.map_or("not modelled".to_owned(), |heat| {
        format!("{} assumed; above {} × {}", heat.junction, heat.limit, heat.factor)
    });
    line("heat", steps.cooled.to_string(), heat);
    let errors = format!("{} bit errors, {} frames bad, {:?}", frame.bit_errors, steps.frame_errors, frame.replay);
    line("replays", steps.effective.to_string(), errors);
}

fn saturation(text: &mut String, report: &LinkReport) {
    let saturation = &report.saturation;
    let verb = if saturation.holds() { "holds its peak of" } else { "falls below its peak of" };
    let _ = writeln!(text, "  saturation  {verb} {}", saturation.peak);
    if let Some(limit) = saturation.limit {
        let _ = writeln!(text, "              above {limit}: {}", saturation.backed_off);
    }
    if let (Some(most), Some(half)) = (saturation.bit_errors_at_99_percent, saturation.bit_errors_at_half) {
        let _ = writeln!(text, "              99 % up to {most} bit errors, half up to {half}");
    }
}

/// One table a topology: sizes down, cards across, the algorithm under each time.
fn tables(text: &mut String, rows: &[AllReduceRow]) {
    let longest = rows.iter().map(|row| row.algorithm.to_string().len()).max().unwrap_or_default();
    let width = longest.max(10) + 2;
    let mut line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>width$}")).collect();
        let _ = writeln!(text, "  {name:<16}{cells}");
    };
    for table in rows.chunk_by(|a, b| a.topology == b.topology) {
        let (topology, first) = (table[0].topology, table[0].bytes);
        let cards = table.iter().take_while(|row| row.bytes == first).map(|row| format!("{} cards", row.cards));
        line("", Vec::new());
        line(&format!("all-reduce, {topology}"), cards.collect());
        for sizes in table.chunk_by(|a, b| a.bytes == b.bytes) {
            line(&sizes[0].bytes.exact(), sizes.iter().map(|row| row.time.to_string()).collect());
            line("", sizes.iter().map(|row| row.algorithm.to_string()).collect());
        }
    }
}
