//! `fleet`: cards, links, host, and the source of every figure.

use super::{print, print_json};
use crate::args::FleetArg;
use crate::inputs;
use crate::outcome::{Ended, Failure};
use crate::summary::names;
use sailplan_ir::{Compute, Fleet, Link, Links};
use std::fmt::Write;

pub(crate) fn run(args: &FleetArg) -> Result<Ended, Failure> {
    let fleet = inputs::fleet(&args.fleet)?;
    if args.json {
        print_json(&*fleet)?;
    } else {
        print(&text(&fleet));
    }
    Ok(Ended::Clean)
}

fn text(fleet: &Fleet) -> String {
    let mut text = format!("{}: {} Sails\n", fleet.name, fleet.size());
    for run in &fleet.sails {
        let kind = fleet.kinds.get(&run.kind);
        let Some(kind) = kind else { continue };
        let compute = match &kind.compute {
            Compute::Unknown => "unknown".to_owned(),
            Compute::Rates(rates) => {
                rates.iter().map(|(dtype, rate)| format!("{dtype} {rate}")).collect::<Vec<_>>().join(", ")
            }
        };
        let _ = writeln!(text, "  {} × {}", run.count, run.kind);
        let _ = writeln!(text, "    memory    {} (reserve {})", kind.memory, kind.reserve);
        let _ = writeln!(text, "    DDR       {}", kind.bandwidth);
        let _ = writeln!(text, "    compute   {compute}");
        let _ = writeln!(text, "    overhead  {} a kernel", kind.overhead);
    }
    if !fleet.lost.is_empty() {
        let _ = writeln!(text, "  lost        {}", names(&fleet.lost));
    }
    let _ = writeln!(text, "  links       {}", links(&fleet.links));
    let host = &fleet.host;
    let _ = writeln!(text, "  host        {}, {} a message, {:?}", host.rate, host.latency, host.attachment);
    if !fleet.provenance.is_empty() {
        let _ = writeln!(text, "  sources");
    }
    for (figure, source) in &fleet.provenance {
        let _ = writeln!(text, "    {figure}: {source}");
    }
    text
}

fn links(links: &Links) -> String {
    let one = |shape: &str, link: &Link| {
        format!(
            "{shape}, {} a direction, {} a message, {:?} duplex, {:?}, {:?}",
            link.payload_rate(),
            link.message_latency(),
            link.duplex,
            link.coding,
            link.state
        )
    };
    match links {
        Links::Mesh(link) => one("mesh", link),
        Links::Ring(link) => one("ring", link),
        Links::Line(link) => one("line", link),
        Links::Star(link) => one("star", link),
        Links::Edges(edges) => {
            let ends = edges.iter().map(|edge| one(&format!("{}–{}", edge.a, edge.b), &edge.link));
            ends.collect::<Vec<_>>().join("; ")
        }
    }
}
