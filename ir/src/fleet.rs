//! A fleet as its file describes it: card kinds, cards, links, host. Prices are made from these figures by the cost
//! model; nothing here computes a time.

use crate::{Bytes, BytesPerSecond, DType, FlopsPerSecond, Frame, Picoseconds, SailId};
use petgraph::unionfind::UnionFind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Cards, links and a host, with the source of every figure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Short name.
    pub name: String,
    /// Card kinds by name.
    pub kinds: BTreeMap<String, SailKind>,
    /// The cards in link order, as runs of one kind.
    pub sails: Vec<SailRun>,
    /// How the cards are connected.
    pub links: Links,
    /// Cards out of service: they have no work, and no link of theirs carries anything. Other cards keep their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::pin::names")]
    pub lost: Vec<SailId>,
    /// The machine that holds the prompt and takes the logits.
    pub host: Host,
    /// Where each figure comes from: field → source, or `assumed: …`.
    #[serde(default)]
    pub provenance: BTreeMap<String, String>,
}

/// The figures of one kind of card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SailKind {
    /// Memory on the card.
    pub memory: Bytes,
    /// Part of the memory that plans may not use.
    #[serde(default)]
    pub reserve: Bytes,
    /// Sustained rate of the card's own memory.
    pub bandwidth: BytesPerSecond,
    /// Arithmetic rate, when known.
    #[serde(default)]
    pub compute: Compute,
    /// Fixed time to start one kernel.
    #[serde(default)]
    pub overhead: Picoseconds,
    /// Buffers start at multiples of this many bytes.
    #[serde(default = "default_granularity")]
    pub granularity: u64,
}

fn default_granularity() -> u64 {
    64
}

/// Arithmetic rate of a card.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Compute {
    /// Not known: only bytes are priced, and the report says what the card must sustain.
    #[default]
    Unknown,
    /// Operations per second by weight type; other types run at the `F32` entry, or unpriced without one.
    Rates(BTreeMap<DType, FlopsPerSecond>),
}

/// Consecutive cards of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SailRun {
    /// Name of the kind.
    pub kind: String,
    /// How many, 1 when left out.
    #[serde(default = "one")]
    pub count: u16,
}

fn one() -> u16 {
    1
}

/// How the cards are connected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Links {
    /// A link between every two cards.
    Mesh(Link),
    /// Card i to card i+1, and the last to the first.
    Ring(Link),
    /// Card i to card i+1.
    Line(Link),
    /// Every card to one switch; a message crosses two links.
    Star(Link),
    /// Links one by one.
    Edges(Vec<Edge>),
}

/// The figures of one link: either its payload rate is known, or it follows from the frame model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Payload rate in each direction, when it is known as such (Ethernet, a measurement).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<BytesPerSecond>,
    /// Lanes and frames from which the payload rate follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// Fixed time of one message over this link when it is awake (the α of the α–β model).
    pub latency: Picoseconds,
    /// Whether both directions run at once.
    #[serde(default)]
    pub duplex: Duplex,
    /// Line coding of a framed link; with a plain rate it only says how that rate was found.
    #[serde(default)]
    pub coding: Coding,
    /// Only a link that is `Up` carries traffic.
    #[serde(default)]
    pub state: LinkState,
}

/// One link of an edge list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// One end.
    pub a: SailId,
    /// The other end.
    pub b: SailId,
    /// Its figures.
    pub link: Link,
}

/// Whether a link's directions share its rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Duplex {
    /// Each direction has the full rate.
    #[default]
    Full,
    /// Both directions share it.
    Half,
}

/// Line coding of a serial link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Coding {
    /// 8 payload bits in 10 line bits.
    #[default]
    B8B10,
    /// 64 payload bits in 66 line bits.
    B64B66,
    /// The rate already is the payload rate, as on Ethernet.
    Native,
}

/// State of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LinkState {
    /// Carries traffic.
    #[default]
    Up,
    /// Switched off.
    Down,
    /// Aligning lanes.
    Training,
    /// Failed.
    Error,
}

/// The host and its link to the cards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Payload rate in each direction.
    pub rate: BytesPerSecond,
    /// Fixed time of one message.
    pub latency: Picoseconds,
    /// Whether all cards share the rate.
    #[serde(default)]
    pub attachment: Attachment,
    /// Memory of the host, when it matters.
    #[serde(default)]
    pub memory: Option<Bytes>,
}

/// How cards hang on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Attachment {
    /// One link (a switch port) for all cards.
    #[default]
    Shared,
    /// A link for each card.
    PerSail,
}

/// One direction of a physical link between two vertices of the fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wire {
    /// Sending vertex; cards come first, then switches.
    pub from: usize,
    /// Receiving vertex.
    pub to: usize,
    /// Payload rate of the medium.
    pub rate: BytesPerSecond,
    /// Fixed time of one message.
    pub latency: Picoseconds,
    /// The medium whose rate it uses; both directions of a half-duplex link have the same.
    pub medium: usize,
}

impl Compute {
    /// The rate for weights of a type, when it is known.
    #[must_use]
    pub fn rate(&self, dtype: DType) -> Option<FlopsPerSecond> {
        match self {
            Self::Unknown => None,
            Self::Rates(rates) => rates.get(&dtype).or_else(|| rates.get(&DType::F32)).copied(),
        }
    }

    /// The highest rate, where rates are known of every type: the rate for F32 stands in for those that are not named.
    #[must_use]
    pub fn fastest(&self) -> Option<FlopsPerSecond> {
        match self {
            Self::Unknown => None,
            Self::Rates(rates) => rates.get(&DType::F32).and_then(|_| rates.values().copied().max()),
        }
    }
}

impl Coding {
    /// Payload bits and the line bits that carry them.
    #[must_use]
    pub const fn bits(self) -> (u64, u64) {
        match self {
            Self::B8B10 => (8, 10),
            Self::B64B66 => (64, 66),
            Self::Native => (1, 1),
        }
    }
}

impl Link {
    /// A link whose payload rate is known.
    #[must_use]
    pub fn plain(rate: BytesPerSecond, latency: Picoseconds) -> Self {
        Self {
            rate: Some(rate),
            frame: None,
            latency,
            duplex: Duplex::Full,
            coding: Coding::Native,
            state: LinkState::Up,
        }
    }

    /// Sustained payload rate in each direction: what every price uses.
    #[must_use]
    pub fn payload_rate(&self) -> BytesPerSecond {
        let framed = self.frame.as_ref().map(|frame| frame.derive(self.coding).effective);
        framed.or(self.rate).unwrap_or_default()
    }

    /// Fixed time of one message: never less than the MACs take, plus the wake-up of a link that sleeps when idle.
    #[must_use]
    pub fn message_latency(&self) -> Picoseconds {
        match &self.frame {
            None => self.latency,
            Some(frame) => self.latency.max(frame.transit(self.coding)) + frame.wake,
        }
    }
}

impl Fleet {
    /// Number of cards.
    #[must_use]
    pub fn size(&self) -> usize {
        self.sails.iter().map(|run| usize::from(run.count)).sum()
    }

    /// All cards in link order.
    pub fn ids(&self) -> impl Iterator<Item = SailId> + use<> {
        (0..self.size()).map(|index| SailId(index as u16))
    }

    /// The kind of a card.
    ///
    /// # Panics
    /// When the card or its kind is not in the fleet; a verified fleet has both.
    #[must_use]
    pub fn kind(&self, sail: SailId) -> &SailKind {
        &self.kinds[self.kind_name(sail)]
    }

    /// The name of a card's kind.
    ///
    /// # Panics
    /// When the card is not in the fleet.
    #[must_use]
    pub fn kind_name(&self, sail: SailId) -> &str {
        let mut rest = sail.index();
        for run in &self.sails {
            let count = usize::from(run.count);
            if rest < count {
                return &run.kind;
            }
            rest -= count;
        }
        panic!("{sail} is not in fleet {}", self.name)
    }

    /// Vertices of the physical graph: the cards, then the switch of a star.
    #[must_use]
    pub fn vertices(&self) -> usize {
        self.size() + usize::from(matches!(self.links, Links::Star(_)))
    }

    /// For each card, the number of the part of the fleet that it belongs to: cards of one part reach each other over links
    /// that are up. Parts are numbered by their first card.
    #[must_use]
    pub fn parts(&self) -> Vec<usize> {
        let mut joined = UnionFind::<usize>::new(self.vertices());
        for wire in self.wires() {
            joined.union(wire.from, wire.to);
        }
        let mut roots: Vec<usize> = Vec::new();
        let part = |card: usize| {
            let root = joined.find(card);
            roots.iter().position(|known| *known == root).unwrap_or_else(|| {
                roots.push(root);
                roots.len() - 1
            })
        };
        (0..self.size()).map(part).collect()
    }

    /// Both directions of every link that is up between cards in service.
    #[must_use]
    pub fn wires(&self) -> Vec<Wire> {
        let mut wires = Vec::new();
        for (a, b, link) in self.edges() {
            if link.state != LinkState::Up || !self.serves(a) || !self.serves(b) {
                continue;
            }
            let (rate, latency) = (link.payload_rate(), link.message_latency());
            let medium = wires.len();
            let back = if link.duplex == Duplex::Full { medium + 1 } else { medium };
            let wire = |from, to, medium| Wire { from, to, rate, latency, medium };
            wires.push(wire(a, b, medium));
            wires.push(wire(b, a, back));
        }
        wires
    }

    /// Whether a vertex is in service; switches always are.
    #[must_use]
    pub fn serves(&self, vertex: usize) -> bool {
        self.lost.iter().all(|sail| sail.index() != vertex)
    }

    /// The ends and figures of every link, up or not.
    #[must_use]
    pub fn edges(&self) -> Vec<(usize, usize, &Link)> {
        let n = self.size();
        match &self.links {
            Links::Mesh(link) => (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b, link))).collect(),
            Links::Line(link) => (1..n).map(|b| (b - 1, b, link)).collect(),
            Links::Ring(link) if n > 2 => (0..n).map(|a| (a, (a + 1) % n, link)).collect(),
            Links::Ring(link) => (1..n).map(|b| (b - 1, b, link)).collect(),
            Links::Star(link) => (0..n).map(|a| (a, n, link)).collect(),
            Links::Edges(edges) => edges.iter().map(|edge| (edge.a.index(), edge.b.index(), &edge.link)).collect(),
        }
    }
}
