//! The cards of a fleet that are in service, and the fleet that they are by themselves.

use crate::{Edge, Fleet, Link, Links, SailId, SailRun};
use std::collections::BTreeMap;

impl Fleet {
    /// The cards in service, in link order. A ring that lost a card is a line, whose order starts behind the first gap.
    #[must_use]
    pub fn in_service(&self) -> Vec<SailId> {
        let gap = self.lost.iter().min().filter(|_| matches!(self.links, Links::Ring(_)) && self.size() > 2);
        let all: Vec<SailId> = self.ids().collect();
        let start = gap.map_or(0, |gap| gap.index() + 1).min(all.len());
        let around = all[start..].iter().chain(&all[..start]);
        around.copied().filter(|sail| self.serves(sail.index())).collect()
    }

    /// The cards in service as a fleet of their own: card i is the i-th of [`Self::in_service`], joined by the links that
    /// are left. What a message takes between two of its cards is what it takes on this fleet.
    #[must_use]
    pub fn only_in_service(&self) -> Self {
        let order = self.in_service();
        let mut sails: Vec<SailRun> = Vec::new();
        for &sail in &order {
            let kind = self.kind_name(sail);
            match sails.last_mut().filter(|run| run.kind == kind) {
                Some(run) => run.count += 1,
                None => sails.push(SailRun { kind: kind.to_owned(), count: 1 }),
            }
        }
        let used = |name: &String| sails.iter().any(|run| run.kind == *name);
        let kinds = self.kinds.iter().filter(|(name, _)| used(name));
        let kinds: BTreeMap<_, _> = kinds.map(|(name, kind)| (name.clone(), kind.clone())).collect();
        Self { kinds, sails, links: self.links_among(&order), lost: Vec::new(), ..self.clone() }
    }

    /// The links between these cards, under their numbers in this order.
    fn links_among(&self, order: &[SailId]) -> Links {
        let place: BTreeMap<usize, usize> =
            order.iter().enumerate().map(|(place, sail)| (sail.index(), place)).collect();
        let edges = self.edges().into_iter();
        let kept = edges.filter_map(|(a, b, link)| Some((*place.get(&a)?, *place.get(&b)?, link)));
        let kept: Vec<(usize, usize, &Link)> = kept.collect();
        match &self.links {
            Links::Mesh(_) | Links::Star(_) => self.links.clone(),
            Links::Ring(link) if order.len() == self.size() => Links::Ring(link.clone()),
            Links::Ring(link) | Links::Line(link) if chained(&kept, order.len()) => Links::Line(link.clone()),
            _ => Links::Edges(kept.into_iter().map(edge).collect()),
        }
    }
}

/// Whether links join each of so many cards to the next one.
fn chained(kept: &[(usize, usize, &Link)], cards: usize) -> bool {
    kept.len() + 1 == cards && kept.iter().all(|(a, b, _)| a.abs_diff(*b) == 1)
}

fn edge((a, b, link): (usize, usize, &Link)) -> Edge {
    Edge { a: SailId(a as u16), b: SailId(b as u16), link: link.clone() }
}

#[cfg(test)]
mod tests {
    use crate::{
        Attachment, Bytes, BytesPerSecond, Compute, Edge, Fleet, Host, Link, Links, Picoseconds, Routes, SailId,
        SailKind, SailRun,
    };
    use std::collections::BTreeMap;

    fn link() -> Link {
        Link::plain(BytesPerSecond(200_000_000), Picoseconds(10))
    }

    fn fleet(count: u16, links: Links, lost: &[u16]) -> Fleet {
        let rate = BytesPerSecond(100_000_000);
        let kind = SailKind {
            memory: Bytes(1 << 30),
            reserve: Bytes(0),
            bandwidth: rate,
            compute: Compute::Unknown,
            overhead: Picoseconds(0),
            granularity: 64,
        };
        Fleet {
            name: "test".to_owned(),
            kinds: ["a", "b"].into_iter().map(|name| (name.to_owned(), kind.clone())).collect(),
            sails: vec![SailRun { kind: "a".to_owned(), count: count - 1 }, SailRun { kind: "b".to_owned(), count: 1 }],
            links,
            lost: lost.iter().map(|&sail| SailId(sail)).collect(),
            host: Host { rate, latency: Picoseconds(1), attachment: Attachment::Shared, memory: None },
            provenance: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_left_of_each_shape() {
        let line = Links::Line(link());
        let pairs = |pairs: &[(u16, u16)]| {
            Links::Edges(pairs.iter().map(|&(a, b)| Edge { a: SailId(a), b: SailId(b), link: link() }).collect())
        };
        for (links, lost, order, left) in [
            (Links::Ring(link()), &[1][..], &[2, 3, 0][..], line.clone()),
            (Links::Ring(link()), &[1, 2], &[3, 0], line.clone()),
            (Links::Ring(link()), &[3, 0], &[1, 2], line.clone()),
            (Links::Ring(link()), &[0, 2], &[1, 3], pairs(&[])),
            (Links::Line(link()), &[3], &[0, 1, 2], line.clone()),
            (Links::Line(link()), &[1], &[0, 2, 3], pairs(&[(1, 2)])),
            (Links::Mesh(link()), &[1], &[0, 2, 3], Links::Mesh(link())),
            (Links::Star(link()), &[1, 2], &[0, 3], Links::Star(link())),
            (pairs(&[(0, 1), (3, 2), (0, 3)]), &[1], &[0, 2, 3], pairs(&[(2, 1), (0, 2)])),
        ] {
            let fleet = fleet(4, links, lost);
            let order: Vec<SailId> = order.iter().map(|&sail| SailId(sail)).collect();
            assert_eq!(fleet.in_service(), order, "{:?} without {lost:?}", fleet.links);
            assert_eq!(fleet.only_in_service().links, left, "{:?} without {lost:?}", fleet.links);
        }
    }

    #[test]
    fn kinds_without_cards_go() {
        let left = fleet(4, Links::Mesh(link()), &[3]).only_in_service();
        assert_eq!(left.kinds.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(left.sails, [SailRun { kind: "a".to_owned(), count: 3 }]);
    }

    /// Every message crosses as many links on both, and none crosses a lost card.
    #[test]
    fn messages_take_the_same_ways() {
        for size in 3..7 {
            for links in [Links::Ring(link()), Links::Line(link()), Links::Mesh(link()), Links::Star(link())] {
                for lost in 0..size {
                    let fleet = fleet(size, links.clone(), &[lost]);
                    let (order, left) = (fleet.in_service(), fleet.only_in_service());
                    let (all, few) = (Routes::new(&fleet), Routes::new(&left));
                    for (a, from) in order.iter().enumerate() {
                        for (b, to) in order.iter().enumerate() {
                            let way: Vec<_> = all.path(from.index(), to.index()).collect();
                            assert!(way.iter().all(|wire| wire.to != usize::from(lost)));
                            assert_eq!(way.len(), few.path(a, b).count(), "{from} to {to} of {size} without {lost}");
                        }
                    }
                }
            }
        }
    }
}
