//! The fleet's links and its host link as media, and the ways of messages over them. It knows no plan and no time.

use sailplan_ir::{Attachment, BytesPerSecond, Fleet, Picoseconds, Routes, SailId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Vertex {
    /// A card.
    Sail(SailId),
    /// The switch of a star.
    Switch,
    /// The host.
    Host,
    /// Every card, at the other end of a host link that all share.
    AllSails,
}

/// What a rate is shared over: one direction of a link, or both of a half-duplex one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Medium {
    /// Sending end.
    pub from: Vertex,
    /// Receiving end.
    pub to: Vertex,
    /// Whether it also carries the other direction.
    pub both_ways: bool,
    /// Payload rate.
    pub rate: BytesPerSecond,
}

/// What a message crosses, and the sum of the latencies on the way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Way {
    pub(crate) media: Vec<usize>,
    pub(crate) latency: Picoseconds,
}

pub(crate) struct Network {
    pub(crate) media: Vec<Medium>,
    routes: Routes,
    cards: usize,
    /// The first medium of the host: towards the cards; the next one leads back.
    host: usize,
    attachment: Attachment,
    host_latency: Picoseconds,
    known: RefCell<BTreeMap<(SailId, SailId), Rc<Way>>>,
}

impl Network {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let (routes, cards) = (Routes::new(fleet), fleet.size());
        let mut media = card_media(&routes, cards);
        let host = media.len();
        let ends: Vec<Vertex> = match fleet.host.attachment {
            Attachment::Shared => vec![Vertex::AllSails],
            Attachment::PerSail => fleet.ids().map(Vertex::Sail).collect(),
        };
        let rate = fleet.host.rate;
        for end in ends {
            media.push(Medium { from: Vertex::Host, to: end, both_ways: false, rate });
            media.push(Medium { from: end, to: Vertex::Host, both_ways: false, rate });
        }
        let (attachment, host_latency) = (fleet.host.attachment, fleet.host.latency);
        Self { media, routes, cards, host, attachment, host_latency, known: RefCell::default() }
    }

    /// From one card to another.
    pub(crate) fn between(&self, from: SailId, to: SailId) -> Rc<Way> {
        let make = || {
            let mut way = Way::default();
            for wire in self.routes.path(from.index(), to.index()) {
                way.media.push(wire.medium);
                way.latency += wire.latency;
            }
            Rc::new(way)
        };
        Rc::clone(self.known.borrow_mut().entry((from, to)).or_insert_with(make))
    }

    /// From the host to a card.
    pub(crate) fn down(&self, card: SailId) -> Rc<Way> {
        self.host_way(card, 0)
    }

    /// From a card to the host.
    pub(crate) fn up(&self, card: SailId) -> Rc<Way> {
        self.host_way(card, 1)
    }

    fn host_way(&self, card: SailId, direction: usize) -> Rc<Way> {
        let link = match self.attachment {
            Attachment::Shared => 0,
            Attachment::PerSail => card.index().min(self.cards.saturating_sub(1)),
        };
        Rc::new(Way { media: vec![self.host + 2 * link + direction], latency: self.host_latency })
    }
}

/// The media that wires name by number. The numbers between belong to no wire and carry nothing.
fn card_media(routes: &Routes, cards: usize) -> Vec<Medium> {
    let vertex = |index: usize| if index < cards { Vertex::Sail(SailId(index as u16)) } else { Vertex::Switch };
    let unused = Medium { from: Vertex::Switch, to: Vertex::Switch, both_ways: false, rate: BytesPerSecond(0) };
    let mut media = vec![unused; routes.wires().len()];
    for (index, wire) in routes.wires().iter().enumerate() {
        let medium = &mut media[wire.medium];
        if index == wire.medium {
            *medium = Medium { from: vertex(wire.from), to: vertex(wire.to), both_ways: false, rate: wire.rate };
        } else {
            medium.both_ways = true;
        }
    }
    media
}

impl fmt::Display for Vertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sail(sail) => sail.fmt(f),
            Self::Switch => f.pad("switch"),
            Self::Host => f.pad("host"),
            Self::AllSails => f.pad("all Sails"),
        }
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.both_ways { "↔" } else { "→" }, self.to)
    }
}
