//! The four numbers asked of a link: sustained payload rate, round trip of 64 bytes, behaviour at saturation, and the
//! time of all-reduces by size, cards and topology. Figures of a fleet's link; no plan depends on what stands here.

use crate::Collectives;
use sailplan_ir::{
    Algorithm, Bytes, BytesPerSecond, Celsius, CollectiveKind, Derivation, Fleet, Link, Links, Picoseconds, SailId,
    SailRun, Share,
};
use std::fmt;

/// What a link carries and what collectives over it take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkReport {
    /// The link: the slowest of those that are up, or of all.
    pub link: Link,
    /// Step by step from the line rate, for a framed link.
    pub derivation: Option<Derivation>,
    /// Sustained payload rate in each direction: what prices use.
    pub effective: BytesPerSecond,
    /// Fixed time of one message: what prices use.
    pub latency: Picoseconds,
    /// 64 bytes there and back between neighbours: at the MAC of a framed link, as two messages over another.
    pub round_trip: Picoseconds,
    /// What happens under heat and bit errors.
    pub saturation: Saturation,
    /// All-reduces, by topology, size, cards.
    pub all_reduce: Vec<AllReduceRow>,
}

/// Does the link hold its peak?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saturation {
    /// Rate without bit errors, cool.
    pub peak: BytesPerSecond,
    /// Rate at the assumed bit errors and temperature: the effective rate.
    pub sustained: BytesPerSecond,
    /// Rate above the temperature limit; the sustained one for a link without a limit.
    pub backed_off: BytesPerSecond,
    /// The limit.
    pub limit: Option<Celsius>,
    /// Bit errors that prices assume.
    pub bit_errors: Share,
    /// The most bit errors at which 99 % of the peak is held; `None` without a frame model.
    pub bit_errors_at_99_percent: Option<Share>,
    /// The most bit errors at which half of the peak is held.
    pub bit_errors_at_half: Option<Share>,
}

impl Saturation {
    /// Whether 99 % of the peak is sustained.
    #[must_use]
    pub fn holds(&self) -> bool {
        u128::from(self.sustained.0) * 100 >= u128::from(self.peak.0) * 99
    }
}

/// Shapes that the table covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Topology {
    /// A link between every two cards.
    Mesh,
    /// Around.
    Ring,
    /// A ring with one link missing.
    Line,
    /// Every card to one switch.
    Star,
}

impl Topology {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Mesh, Self::Ring, Self::Line, Self::Star];
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mesh => "mesh",
            Self::Ring => "ring",
            Self::Line => "line",
            Self::Star => "star",
        })
    }
}

/// One all-reduce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllReduceRow {
    /// Shape of the fleet.
    pub topology: Topology,
    /// Bytes in each card's buffer.
    pub bytes: Bytes,
    /// Cards, all of the fleet.
    pub cards: u16,
    /// The cheapest algorithm.
    pub algorithm: Algorithm,
    /// Its time.
    pub time: Picoseconds,
}

/// 1/1024, 1/64, 1, 16 and 64 MiB.
const SIZES: [u64; 5] = [1 << 10, 1 << 14, 1 << 20, 1 << 24, 1 << 26];
const CARDS: [u16; 6] = [2, 4, 8, 16, 32, 64];
/// The packet whose round trip was asked for.
const PACKET: Bytes = Bytes(64);

impl LinkReport {
    /// Of a fleet's slowest link; `None` when the fleet states no link. A star's spokes are the fleet's own links if it is
    /// a star, else the way over the host's switch: the host's rate and half of its latency a hop.
    #[must_use]
    pub fn new(fleet: &Fleet) -> Option<Self> {
        let link = slowest(&fleet.links)?;
        Some(Self {
            link: link.clone(),
            derivation: link.frame.map(|frame| frame.derive(link.coding)),
            effective: link.payload_rate(),
            latency: link.message_latency(),
            round_trip: round_trip(link),
            saturation: saturation(link),
            all_reduce: Topology::ALL.into_iter().flat_map(|topology| rows(fleet, link, topology)).collect(),
        })
    }

    /// The all-reduces as CSV: `mib,cards,topology,algorithm,us`, all digits.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("mib,cards,topology,algorithm,us\n");
        for row in &self.all_reduce {
            let (mib, us) = (decimal(row.bytes.0, 1 << 20), decimal(row.time.0, 1_000_000));
            text += &format!("{mib},{},{},{},{us}\n", row.cards, row.topology, row.algorithm);
        }
        text
    }
}

fn slowest(links: &Links) -> Option<&Link> {
    match links {
        Links::Mesh(link) | Links::Ring(link) | Links::Line(link) | Links::Star(link) => Some(link),
        Links::Edges(edges) => edges.iter().map(|edge| &edge.link).min_by_key(|link| {
            let down = link.state != sailplan_ir::LinkState::Up;
            (down, link.payload_rate())
        }),
    }
}

fn round_trip(link: &Link) -> Picoseconds {
    match &link.frame {
        Some(frame) => frame.round_trip(PACKET, link.coding),
        None => (link.message_latency() + link.payload_rate().time(PACKET)).times(2),
    }
}

fn saturation(link: &Link) -> Saturation {
    let sustained = link.payload_rate();
    let Some(frame) = link.frame else {
        return Saturation {
            peak: sustained,
            sustained,
            backed_off: sustained,
            limit: None,
            bit_errors: Share(0),
            bit_errors_at_99_percent: None,
            bit_errors_at_half: None,
        };
    };
    let rate = |bit_errors: Share, hot: bool| {
        let heat = frame.heat.map(|mut heat| {
            heat.junction = if hot { Celsius(i16::MAX) } else { heat.limit };
            heat
        });
        sailplan_ir::Frame { bit_errors, heat, ..frame }.derive(link.coding).effective
    };
    let peak = rate(Share(0), false);
    let most = |percent: u128| {
        let (mut held, mut lost) = (0, Share::ONE.0);
        while lost - held > 1 {
            let middle = held + (lost - held) / 2;
            let holds = u128::from(rate(Share(middle), false).0) * 100 >= u128::from(peak.0) * percent;
            *(if holds { &mut held } else { &mut lost }) = middle;
        }
        Some(Share(held))
    };
    Saturation {
        peak,
        sustained,
        backed_off: rate(frame.bit_errors, frame.heat.is_some()),
        limit: frame.heat.map(|heat| heat.limit),
        bit_errors: frame.bit_errors,
        bit_errors_at_99_percent: most(99),
        bit_errors_at_half: most(50),
    }
}

fn rows(fleet: &Fleet, link: &Link, topology: Topology) -> Vec<AllReduceRow> {
    let mut rows = Vec::new();
    let shapes: Vec<(u16, Collectives)> =
        CARDS.iter().map(|&cards| (cards, Collectives::new(&shaped(fleet, link, topology, cards)))).collect();
    for bytes in SIZES.map(Bytes) {
        for (cards, collectives) in &shapes {
            let group: Vec<SailId> = (0..*cards).map(SailId).collect();
            let chunk = Bytes(bytes.0.div_ceil(u64::from(*cards)));
            let cheapest = collectives.cheapest(CollectiveKind::AllReduce, &group, chunk, bytes);
            rows.extend(cheapest.map(|(algorithm, time)| AllReduceRow {
                topology,
                bytes,
                cards: *cards,
                algorithm,
                time,
            }));
        }
    }
    rows
}

/// The fleet with so many cards in this shape; all links up.
fn shaped(fleet: &Fleet, link: &Link, topology: Topology, cards: u16) -> Fleet {
    let link = Link { state: sailplan_ir::LinkState::Up, ..link.clone() };
    let links = match topology {
        Topology::Mesh => Links::Mesh(link),
        Topology::Ring => Links::Ring(link),
        Topology::Line => Links::Line(link),
        Topology::Star if matches!(fleet.links, Links::Star(_)) => Links::Star(link),
        Topology::Star => Links::Star(Link::plain(fleet.host.rate, Picoseconds(fleet.host.latency.0.div_ceil(2)))),
    };
    let kind = fleet.sails.first().map(|run| run.kind.clone()).unwrap_or_default();
    let sails = vec![SailRun { kind, count: cards }];
    Fleet { sails, links, ..fleet.clone() }
}

/// `value / unit` with all its digits; the unit is a power of 2 or 10.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, mut rest) = (value / unit, value % unit);
    let mut text = whole.to_string();
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        rest *= 10;
        text += &(rest / unit).to_string();
        rest %= unit;
    }
    text
}
