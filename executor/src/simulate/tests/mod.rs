//! Examples that can be worked by hand: links of 500 MB/s, on which a megabyte takes 2 ms, and 5 µs a message.

mod cards;
mod messages;

use sailplan_ir::{
    Attachment, Bytes, BytesPerSecond, Compute, Duplex, Edge, Fleet, Host, Link, Links, Picoseconds, SailId, SailKind,
    SailRun,
};
use std::collections::BTreeMap;

const MEGABYTE: Bytes = Bytes(1_000_000);

fn micros(time: u64) -> Picoseconds {
    Picoseconds::from_micros(time)
}

fn link(megabytes: u64) -> Link {
    Link::plain(BytesPerSecond(megabytes * 1_000_000), micros(5))
}

fn half_duplex(megabytes: u64) -> Link {
    Link { duplex: Duplex::Half, ..link(megabytes) }
}

/// A host link of 100 MB/s and 100 µs.
fn fleet(cards: u16, links: Links, attachment: Attachment) -> Fleet {
    let kind = SailKind {
        memory: Bytes(1 << 32),
        reserve: Bytes(0),
        bandwidth: BytesPerSecond(2_000_000_000),
        compute: Compute::Unknown,
        overhead: micros(1),
        granularity: 64,
    };
    Fleet {
        name: "by hand".to_owned(),
        kinds: BTreeMap::from([("card".to_owned(), kind)]),
        sails: vec![SailRun { kind: "card".to_owned(), count: cards }],
        links,
        lost: Vec::new(),
        host: Host { rate: BytesPerSecond(100_000_000), latency: micros(100), attachment, memory: None },
        provenance: BTreeMap::new(),
    }
}

/// A line of three cards: 0 — 1 — 2.
fn line(first: Link, second: Link) -> Fleet {
    let edge = |a, link| Edge { a: SailId(a), b: SailId(a + 1), link };
    fleet(3, Links::Edges(vec![edge(0, first), edge(1, second)]), Attachment::Shared)
}
