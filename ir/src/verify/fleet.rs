//! Invariants of a fleet: cards exist, rates are positive, frames leave a payload rate, links join cards that exist. Cards
//! that no link joins are no error: a placement then keeps to cards that reach each other.

use crate::{Compute, Diagnostic, Diagnostics, Fleet, Frame, Link, Links, SailKind, Share, Verify};

/// More cards than this are refused before anything is allocated for them.
const MAX_SAILS: usize = 4096;

impl Verify for Fleet {
    fn problems(&self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        for run in &self.sails {
            if !self.kinds.contains_key(&run.kind) {
                let known: Vec<&str> = self.kinds.keys().map(String::as_str).collect();
                let message = format!("sails: kind `{}` is not defined", run.kind);
                problems.push(Diagnostic::new(message).hint(format!("defined kinds: {}", known.join(", "))));
            }
        }
        for (name, kind) in &self.kinds {
            check_kind(name, kind, &mut problems);
        }
        if self.host.rate.0 == 0 {
            problems
                .push(Diagnostic::new("host.rate is zero").hint("give the host link's payload rate, as \"100 MB/s\""));
        }
        match &self.links {
            Links::Mesh(link) | Links::Ring(link) | Links::Line(link) | Links::Star(link) => {
                check_link("links", link, &mut problems);
            }
            Links::Edges(edges) => edges.iter().enumerate().for_each(|(index, edge)| {
                check_link(&format!("links.link[{index}]"), &edge.link, &mut problems);
            }),
        }
        match self.size() {
            0 => problems.push(Diagnostic::new("sails: the fleet has none").hint("sails: [(kind: \"…\", count: 4)]")),
            n if n > MAX_SAILS => {
                problems.push(Diagnostic::new(format!("sails: {n} are more than the {MAX_SAILS} that are supported")))
            }
            _ => {
                check_links(self, &mut problems);
                check_service(self, &mut problems);
            }
        }
        problems
    }
}

fn check_kind(name: &str, kind: &SailKind, problems: &mut Diagnostics) {
    let mut push = |field: &str, problem: &str, hint: &str| {
        problems.push(Diagnostic::new(format!("kinds.{name}.{field} {problem}")).hint(hint));
    };
    if kind.bandwidth.0 == 0 {
        push("bandwidth", "is zero", "give the sustained memory rate, as \"2.0 GB/s\"");
    }
    if kind.memory.0 == 0 {
        push("memory", "is zero", "give the card's memory, as \"4 GiB\"");
    }
    if kind.reserve > kind.memory {
        push("reserve", "is larger than the memory", "leave some memory to plan with");
    }
    if kind.granularity == 0 || kind.granularity > 1 << 30 {
        push("granularity", "must be 1 to 2^30 bytes", "64 is usual");
    }
    if let Compute::Rates(rates) = &kind.compute
        && (rates.is_empty() || rates.values().any(|rate| rate.0 == 0))
    {
        push("compute", "has no rate or a zero rate", "give rates by type, or Unknown");
    }
}

/// Exactly one of a payload rate and a frame, with figures that leave something to send. `path` is the link's place.
fn check_link(path: &str, link: &Link, problems: &mut Diagnostics) {
    let before = problems.0.len();
    let mut push = |field: &str, problem: &str, hint: &str| {
        problems.push(Diagnostic::new(format!("{path}{field} {problem}")).hint(hint));
    };
    match (&link.rate, &link.frame) {
        (Some(rate), None) if rate.0 == 0 => {
            push(".rate", "is zero", "give the payload rate per direction, as \"500 MB/s\"");
        }
        (Some(_), None) => {}
        (None, Some(frame)) => check_frame(frame, &mut push),
        (Some(_), Some(_)) => {
            push(".frame", "stands beside a rate", "the rate follows from the frame: give one of them")
        }
        (None, None) => push("", "has neither a rate nor a frame", "give `rate: \"500 MB/s\"` or `frame: (lanes: …)`"),
    }
    if problems.0.len() == before && link.payload_rate().0 == 0 {
        let problem = Diagnostic::new(format!("{path}.frame leaves less than one byte per second of payload"));
        problems.push(problem.hint("line rate, training share, bit errors or heat cannot be as stated"));
    }
}

/// Longer frames and more lanes than these are typing errors.
const MAX_FRAME_BYTES: u64 = 1 << 24;
const MAX_LANES: u16 = 1024;

fn check_frame(frame: &Frame, push: &mut impl FnMut(&str, &str, &str)) {
    if frame.lanes == 0 || frame.lanes > MAX_LANES {
        push(".frame.lanes", "must be 1 to 1024", "rev-A has 4");
    }
    if frame.width == 0 {
        push(".frame.width", "is zero", "give the bits a lane takes in one beat; 32 is usual");
    }
    if frame.line_rate.0 == 0 {
        push(".frame.line_rate", "is zero", "give the line rate of one lane, as \"1.25 Gb/s\"");
    }
    if frame.payload.0 == 0 || frame.payload.0 > MAX_FRAME_BYTES {
        push(".frame.payload", "must be 1 byte to 16 MiB", "give the payload bytes of a full frame, as \"64 B\"");
    }
    for (field, bytes) in [(".frame.header", frame.header), (".frame.crc", frame.crc)] {
        if bytes.0 > MAX_FRAME_BYTES {
            push(field, "is more than 16 MiB", "give bytes per frame, as \"12 B\"");
        }
    }
    for (field, share) in [(".frame.training", frame.training), (".frame.bit_errors", frame.bit_errors)] {
        if share >= Share::ONE {
            push(field, "must be less than 1", "give a share, as \"0.12 %\" or \"1e-12\"");
        }
    }
    if let Some(heat) = frame.heat
        && (heat.factor > Share::ONE || heat.factor == Share(0))
    {
        push(".frame.heat.factor", "must be more than 0 and at most 1", "give the part of the rate that is left");
    }
}

fn check_links(fleet: &Fleet, problems: &mut Diagnostics) {
    for (a, b, _) in fleet.edges() {
        if a >= fleet.vertices() || b >= fleet.vertices() || a == b {
            problems.push(Diagnostic::new(format!(
                "links: no link can join sail{a} and sail{b} in a fleet of {}",
                fleet.size()
            )));
            return;
        }
    }
}

fn check_service(fleet: &Fleet, problems: &mut Diagnostics) {
    let size = fleet.size();
    if let Some(sail) = fleet.lost.iter().find(|sail| sail.index() >= size) {
        let problem = Diagnostic::new(format!("lost: {sail} is not in the fleet of {size}"));
        problems.push(problem.hint(format!("its Sails are sail0 to sail{}", size - 1)));
    } else if fleet.lost.windows(2).any(|pair| pair[0] >= pair[1]) {
        let problem = Diagnostic::new("lost: the Sails do not stand in order, each once");
        problems.push(problem.hint("lost: [\"sail1\", \"sail3\"]"));
    } else if fleet.lost.len() == size {
        problems
            .push(Diagnostic::new(format!("lost: all {size} Sails are out of service")).hint("leave one in service"));
    }
}
