//! Figures of a fleet or a request that can be given other values, by name.

use crate::outcome::Failure;
use sailplan_ir::{Bytes, BytesPerSecond, Diagnostic, Fleet, Link, Links, Picoseconds, Request, Verified, Verify};

/// What can be varied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Figure {
    LinkRate,
    LinkLatency,
    Bandwidth,
    Memory,
    HostRate,
    HostLatency,
    Sails,
    Prompt,
    Generate,
    Context,
    Batch,
}

/// Every figure by the name that a user gives it.
pub(crate) const FIGURES: &[(&str, Figure)] = &[
    ("link.rate", Figure::LinkRate),
    ("link.latency", Figure::LinkLatency),
    ("sail.bandwidth", Figure::Bandwidth),
    ("sail.memory", Figure::Memory),
    ("host.rate", Figure::HostRate),
    ("host.latency", Figure::HostLatency),
    ("sails", Figure::Sails),
    ("prompt", Figure::Prompt),
    ("generate", Figure::Generate),
    ("context", Figure::Context),
    ("batch", Figure::Batch),
];

impl Figure {
    pub(crate) fn parse(self, text: &str) -> Result<u64, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        match self {
            Self::LinkRate | Self::Bandwidth | Self::HostRate => {
                text.parse().map(|rate: BytesPerSecond| rate.0).map_err(|error| said(&error))
            }
            Self::LinkLatency | Self::HostLatency => {
                text.parse().map(|time: Picoseconds| time.0).map_err(|error| said(&error))
            }
            Self::Memory => text.parse().map(|bytes: Bytes| bytes.0).map_err(|error| said(&error)),
            _ => text.parse().map_err(|_| format!("`{text}` is not a whole number")),
        }
    }

    pub(crate) fn show(self, value: u64) -> String {
        match self {
            Self::LinkRate | Self::Bandwidth | Self::HostRate => BytesPerSecond(value).to_string(),
            Self::LinkLatency | Self::HostLatency => Picoseconds(value).to_string(),
            Self::Memory => Bytes(value).to_string(),
            _ => value.to_string(),
        }
    }

    /// The value of today; none where the fleet has several.
    pub(crate) fn current(self, fleet: &Fleet, request: &Request) -> Option<u64> {
        let links = |figure: fn(&Link) -> u64| one(fleet.edges().iter().map(|edge| figure(edge.2)));
        match self {
            Self::LinkRate => links(|link| link.payload_rate().0),
            Self::LinkLatency => links(|link| link.latency.0),
            Self::Bandwidth => one(fleet.kinds.values().map(|kind| kind.bandwidth.0)),
            Self::Memory => one(fleet.kinds.values().map(|kind| kind.memory.0)),
            Self::HostRate => Some(fleet.host.rate.0),
            Self::HostLatency => Some(fleet.host.latency.0),
            Self::Sails => u64::try_from(fleet.size()).ok(),
            Self::Prompt => Some(request.prompt),
            Self::Generate => Some(request.generate),
            Self::Context => Some(request.context),
            Self::Batch => Some(request.batch),
        }
    }

    /// The fleet and the request with this value, checked again.
    pub(crate) fn apply(
        self,
        fleet: &Fleet,
        request: &Request,
        value: u64,
    ) -> Result<(Verified<Fleet>, Verified<Request>), Failure> {
        let (mut fleet, mut request) = (fleet.clone(), *request);
        match self {
            Self::LinkRate => each_link(&mut fleet, |link| plain(link, BytesPerSecond(value), link.message_latency())),
            Self::LinkLatency => each_link(&mut fleet, |link| link.latency = Picoseconds(value)),
            Self::Bandwidth => fleet.kinds.values_mut().for_each(|kind| kind.bandwidth = BytesPerSecond(value)),
            Self::Memory => fleet.kinds.values_mut().for_each(|kind| kind.memory = Bytes(value)),
            Self::HostRate => fleet.host.rate = BytesPerSecond(value),
            Self::HostLatency => fleet.host.latency = Picoseconds(value),
            Self::Sails => resize(&mut fleet, value)?,
            Self::Prompt => request.prompt = value,
            Self::Generate => request.generate = value,
            Self::Context => request.context = value,
            Self::Batch => request.batch = value,
        }
        if matches!(self, Self::Prompt | Self::Generate) {
            request.context = request.context.max(request.prompt.saturating_add(request.generate));
        }
        Ok((fleet.verify()?, request.verify()?))
    }
}

/// A link of a known payload rate: without frames, a message's time has to stand as such.
pub(crate) fn plain(link: &mut Link, rate: BytesPerSecond, latency: Picoseconds) {
    (link.rate, link.latency, link.frame) = (Some(rate), latency, None);
}

/// Changes every link.
pub(crate) fn each_link(fleet: &mut Fleet, change: impl Fn(&mut Link)) {
    match &mut fleet.links {
        Links::Mesh(link) | Links::Ring(link) | Links::Line(link) | Links::Star(link) => change(link),
        Links::Edges(edges) => edges.iter_mut().for_each(|edge| change(&mut edge.link)),
    }
}

/// What all values are.
fn one(mut values: impl Iterator<Item = u64>) -> Option<u64> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// A fleet of one kind and one shape has any number of cards.
fn resize(fleet: &mut Fleet, count: u64) -> Result<(), Failure> {
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    match (&mut fleet.sails[..], &fleet.links) {
        (_, Links::Edges(_)) => {
            Err(Diagnostic::new("the links of this fleet are given one by one: give it more cards in its file").into())
        }
        ([run], _) => {
            run.count = count;
            Ok(())
        }
        _ => Err(Diagnostic::new("this fleet has several kinds of cards: give it more cards in its file").into()),
    }
}
