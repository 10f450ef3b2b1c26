//! Invariants of a fleet: cards exist, rates are positive, links connect all cards.

use crate::{Compute, Diagnostic, Diagnostics, Fleet, LinkState, SailKind, Verify};
use petgraph::unionfind::UnionFind;

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
        match self.size() {
            0 => problems.push(Diagnostic::new("sails: the fleet has none").hint("sails: [(kind: \"…\", count: 4)]")),
            n if n > MAX_SAILS => {
                problems.push(Diagnostic::new(format!("sails: {n} are more than the {MAX_SAILS} that are supported")))
            }
            _ => check_links(self, &mut problems),
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

fn check_links(fleet: &Fleet, problems: &mut Diagnostics) {
    let mut joined = UnionFind::<usize>::new(fleet.vertices());
    for (a, b, link) in fleet.edges() {
        if a >= fleet.vertices() || b >= fleet.vertices() || a == b {
            problems.push(Diagnostic::new(format!(
                "links: no link can join sail{a} and sail{b} in a fleet of {}",
                fleet.size()
            )));
            return;
        }
        if link.rate.0 == 0 {
            problems.push(
                Diagnostic::new("links: rate is zero").hint("give the payload rate per direction, as \"500 MB/s\""),
            );
            return;
        }
        if link.state == LinkState::Up {
            joined.union(a, b);
        }
    }
    let mut components: Vec<Vec<String>> = Vec::new();
    let mut roots: Vec<usize> = Vec::new();
    for sail in 0..fleet.size() {
        let root = joined.find(sail);
        match roots.iter().position(|known| *known == root) {
            Some(index) => components[index].push(format!("sail{sail}")),
            None => {
                roots.push(root);
                components.push(vec![format!("sail{sail}")]);
            }
        }
    }
    if components.len() > 1 {
        let parts: Vec<String> = components.iter().map(|part| format!("{{{}}}", part.join(", "))).collect();
        let message = format!("links: the Sails are not connected: {}", parts.join(" | "));
        problems.push(Diagnostic::new(message).hint("only links with state Up carry traffic"));
    }
}
