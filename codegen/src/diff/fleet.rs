//! Fleets figure by figure: the causes that lie in cards, links and host. What is there (cards, their memory, links) makes
//! another target; what is known of it (rates, latencies, overheads) makes other estimates.

use super::layers::by_sail;
use super::{Class, Found, What};
use crate::{PlanFleet, write};
use sailplan_ir::{Attachment, Bytes, Compute, Fleet, Frame, Host, Link, Links, SailId, SailKind};
use std::collections::BTreeMap;

/// A figure: its name, how serious another value is, and its value.
type Figure = (&'static str, Class, String);

/// A figure with its values before and after.
type Unlike = (&'static str, Class, String, String);

/// The figures with other values, and those that only one side has.
fn unlike(old: Vec<Figure>, new: Vec<Figure>) -> Vec<Unlike> {
    let find =
        |all: &[Figure], name| all.iter().find(|one| one.0 == name).map_or("none".to_owned(), |one| one.2.clone());
    let mut all: Vec<Unlike> =
        old.iter().map(|(name, class, value)| (*name, *class, value.clone(), find(&new, *name))).collect();
    let only_new = new.iter().filter(|one| old.iter().all(|other| other.0 != one.0));
    all.extend(only_new.map(|(name, class, value)| (*name, *class, "none".to_owned(), value.clone())));
    all.retain(|one| one.2 != one.3);
    all
}

pub(crate) fn compare(old: &PlanFleet, new: &PlanFleet, found: &mut Found) {
    let before = found.0.len();
    let PlanFleet { name, digest, inline } = new;
    cards(&old.inline, inline, found);
    links(&old.inline, inline, found);
    for (name, class, old, new) in unlike(host(&old.inline.host), host(&inline.host)) {
        found.push(class, input(format!("host.{name}"), Some(old), Some(new), Vec::new()));
    }
    super::inputs::field(found, Class::WrongTarget, "lost", [lost(&old.inline), lost(inline)]);
    sources(&old.inline, inline, found);
    super::inputs::field(found, Class::Cosmetic, "fleet.name", [&old.name, name]);
    super::inputs::field(found, Class::Cosmetic, "fleet.inline.name", [&old.inline.name, &inline.name]);
    if found.0.len() == before {
        // Kinds without cards, runs of cards written otherwise.
        super::inputs::field(found, Class::Cosmetic, "fleet.digest", [&old.digest, digest]);
        if old.digest == *digest && old.inline != *inline {
            let texts = [&old.inline, inline].map(write::leaf);
            super::inputs::field(found, Class::Cosmetic, "fleet.inline", texts);
        }
    }
}

fn lost(fleet: &Fleet) -> String {
    let named: Vec<String> = fleet.lost.iter().map(ToString::to_string).collect();
    if named.is_empty() { "none".to_owned() } else { named.join(", ") }
}

fn input(field: String, old: Option<String>, new: Option<String>, sails: Vec<SailId>) -> What {
    What::Input { field, old, new, sails }
}

fn cards(old: &Fleet, new: &Fleet, found: &mut Found) {
    let (before, after) = (old.size(), new.size());
    if before != after {
        let unlike = (before.min(after)..before.max(after)).map(|index| SailId(index as u16)).collect();
        found
            .push(Class::WrongTarget, input("sails".into(), Some(before.to_string()), Some(after.to_string()), unlike));
    }
    let both: Vec<SailId> = old.ids().take(after).collect();
    let differing = |&sail: &SailId| unlike(card(old, sail), card(new, sail)).into_iter().map(move |one| (sail, one));
    for (sails, (name, class, old, new)) in by_sail(both.iter().flat_map(differing)) {
        let about = if sails.len() == both.len() && before == after { Vec::new() } else { sails };
        found.push(class, input(format!("sail.{name}"), Some(old), Some(new), about));
    }
}

fn card(fleet: &Fleet, sail: SailId) -> Vec<Figure> {
    // Every field by name: a new one cannot be forgotten.
    let SailKind { memory, reserve, bandwidth, compute, overhead, granularity } = fleet.kind(sail);
    let rates = match compute {
        Compute::Unknown => "unknown".to_owned(),
        Compute::Rates(rates) => {
            rates.iter().map(|(dtype, rate)| format!("{dtype} {}", rate.exact())).collect::<Vec<_>>().join(", ")
        }
    };
    vec![
        ("memory", Class::WrongTarget, memory.exact()),
        ("reserve", Class::EstimateOnly, reserve.exact()),
        ("bandwidth", Class::EstimateOnly, bandwidth.exact()),
        ("compute", Class::EstimateOnly, rates),
        ("overhead", Class::EstimateOnly, overhead.exact()),
        ("granularity", Class::EstimateOnly, granularity.to_string()),
        ("kind", Class::Cosmetic, fleet.kind_name(sail).to_owned()),
    ]
}

fn host(host: &Host) -> Vec<Figure> {
    let Host { rate, latency, attachment, memory } = host;
    let attached = match attachment {
        Attachment::Shared => "shared",
        Attachment::PerSail => "per sail",
    };
    vec![
        ("rate", Class::EstimateOnly, rate.exact()),
        ("latency", Class::EstimateOnly, latency.exact()),
        ("attachment", Class::WrongTarget, attached.to_owned()),
        ("memory", Class::EstimateOnly, memory.map_or("unknown".to_owned(), Bytes::exact)),
    ]
}

/// How the cards are connected, in a word.
fn shape(fleet: &Fleet) -> String {
    let name = match &fleet.links {
        Links::Mesh(_) => "mesh",
        Links::Ring(_) => "ring",
        Links::Line(_) => "line",
        Links::Star(_) => "star",
        Links::Edges(_) => "listed",
    };
    format!("{name} of {}, {} links", fleet.size(), fleet.edges().len())
}

fn links(old: &Fleet, new: &Fleet, found: &mut Found) {
    super::inputs::field(found, Class::WrongTarget, "links", [shape(old), shape(new)]);
    let ends = |fleet: &Fleet, (a, b): (usize, usize)| {
        // The switch of a star is no card: its number says only how many there are.
        let end = |end: usize| if end < fleet.size() { end } else { usize::MAX };
        (end(a).min(end(b)), end(a).max(end(b)))
    };
    let table = |fleet: &Fleet| -> BTreeMap<(usize, usize), Link> {
        fleet.edges().into_iter().map(|(a, b, link)| (ends(fleet, (a, b)), link.clone())).collect()
    };
    let (before, after) = (table(old), table(new));
    let common = before.iter().filter_map(|(ends, old)| Some((ends, (old, after.get(ends)?))));
    let mut figures: BTreeMap<Unlike, Vec<(usize, usize)>> = BTreeMap::new();
    let mut count = 0;
    for (&ends, (old, new)) in common {
        count += 1;
        for figure in unlike(link(old), link(new)) {
            figures.entry(figure).or_default().push(ends);
        }
    }
    for ((name, class, old, new), edges) in figures {
        let field = if edges.len() == count { format!("link.{name}") } else { format!("link.{name} {}", some(&edges)) };
        found.push(class, input(field, Some(old), Some(new), Vec::new()));
    }
    if shape(old) == shape(new) && before.keys().ne(after.keys()) {
        let all = |table: &BTreeMap<(usize, usize), Link>| some(&table.keys().copied().collect::<Vec<_>>());
        super::inputs::field(found, Class::WrongTarget, "links between", [all(&before), all(&after)]);
    }
}

/// Which links, the first few by name.
fn some(edges: &[(usize, usize)]) -> String {
    let name = |end: usize| if end == usize::MAX { "switch".to_owned() } else { end.to_string() };
    let named: Vec<String> = edges.iter().take(4).map(|&(a, b)| format!("{}-{}", name(a), name(b))).collect();
    let more = edges.len().saturating_sub(named.len());
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

fn link(link: &Link) -> Vec<Figure> {
    // Every field by name: a new one cannot be forgotten.
    let Link { rate, frame, latency, duplex, coding, state } = link;
    let class = Class::EstimateOnly;
    let mut all = vec![
        ("rate", class, link.payload_rate().exact()),
        ("latency", class, latency.exact()),
        ("duplex", class, format!("{duplex:?}")),
        ("coding", class, format!("{coding:?}")),
        ("state", Class::WrongTarget, format!("{state:?}")),
    ];
    if let Some(frame) = frame {
        all.extend(framed(frame));
        // What the file gives beside the frame is not the rate that counts.
        all.extend(rate.map(|rate| ("rate beside the frame", class, rate.exact())));
    }
    all
}

fn framed(frame: &Frame) -> Vec<Figure> {
    // Every field by name: a new one cannot be forgotten.
    let Frame { lanes, line_rate, width, payload, header, crc, training, bit_errors, replay, pipeline, wake, heat } =
        frame;
    let class = Class::EstimateOnly;
    vec![
        ("frame.lanes", class, lanes.to_string()),
        ("frame.line_rate", class, line_rate.exact()),
        ("frame.width", class, width.to_string()),
        ("frame.payload", class, payload.exact()),
        ("frame.header", class, header.exact()),
        ("frame.crc", class, crc.exact()),
        ("frame.training", class, training.exact()),
        ("frame.bit_errors", class, bit_errors.exact()),
        ("frame.replay", class, format!("{replay:?}")),
        ("frame.pipeline", class, pipeline.to_string()),
        ("frame.wake", class, wake.exact()),
        ("frame.heat", class, heat.as_ref().map_or("none".to_owned(), write::leaf)),
    ]
}

/// Where figures come from.
fn sources(old: &Fleet, new: &Fleet, found: &mut Found) {
    let changed = old.provenance.iter().filter(|(field, source)| new.provenance.get(*field) != Some(source)).count();
    let added = new.provenance.keys().filter(|field| !old.provenance.contains_key(*field)).count();
    if changed + added > 0 {
        let count = format!("{} of them", changed + added);
        found.push(Class::Cosmetic, input("sources of figures".into(), None, Some(count), Vec::new()));
    }
}
