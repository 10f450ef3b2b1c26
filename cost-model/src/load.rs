//! Time until every card has its weights, for given ways to get them there. It does not choose the ways.

use crate::CostModel;
use sailplan_ir::{Attachment, Bytes, Delivery, Load, Picoseconds, SailId, Shard};

/// A card, where it takes a slice from (the host without one), and what that takes.
type Taken = (SailId, Option<SailId>, Picoseconds);

impl CostModel<'_> {
    /// One slice for all its holders: from the host each, or from the host once and from holder to holder.
    #[must_use]
    pub fn load(&self, shard: Shard, handed_on: bool) -> Load {
        let host = self.fleet.host.rate.time(shard.bytes);
        let pairs = shard.holders.windows(2).filter(|_| handed_on);
        let hops = pairs.map(|pair| self.links.message(pair[0], pair[1], shard.bytes)).collect();
        Load { shard, host, hops }
    }

    /// When the last card has its last weight, after a cold start.
    ///
    /// The host's link is served load after load in the order given, without pauses after one latency; with a link for
    /// each card, each of them so. With h(i) the time of load i on it:
    ///
    /// > served(i) = served(i − 1) + h(i), served(0) = α of the host
    ///
    /// A hop from holder j to j + 1 begins when holder j has the slice and every wire on the way is free of the loads
    /// before it, and takes α · wires + bytes / rate, as any message:
    ///
    /// > has(i, 1) = served(i)
    /// > has(i, j + 1) = max(has(i, j), last time a wire between j and j + 1 was used) + hop(i, j)
    ///
    /// The answer is the largest of all has(i, j). Cards are taken to receive, store and send at once; storing is not
    /// priced, as their memory is an order faster than the host.
    #[must_use]
    pub fn ready(&self, loads: &[Load]) -> Picoseconds {
        self.scheduled(loads.iter().map(Load::steps))
    }

    /// When the last card has its last piece of what is sent to cards at rest, in the order given: as [`Self::ready`], but
    /// that a piece may begin at a card that has it from the start, with has(i, 0) = 0.
    #[must_use]
    pub fn delivered(&self, deliveries: &[Delivery]) -> Picoseconds {
        let steps = |delivery: &Delivery| -> Vec<Taken> {
            let bytes = delivery.bytes;
            delivery.steps().map(|(to, from)| (to, from, self.sent(from, to, bytes))).collect()
        };
        self.scheduled(deliveries.iter().map(steps))
    }

    /// Time that bytes keep the links between a card, or the host, and another card.
    #[must_use]
    pub fn sent(&self, from: Option<SailId>, to: SailId, bytes: Bytes) -> Picoseconds {
        from.map_or_else(|| self.fleet.host.rate.time(bytes), |from| self.links.message(from, to, bytes))
    }

    fn scheduled(&self, loads: impl Iterator<Item = impl IntoIterator<Item = Taken>>) -> Picoseconds {
        let shared = self.fleet.host.attachment == Attachment::Shared;
        let port = |sail: SailId| if shared { 0 } else { sail.index() };
        let mut served = vec![self.fleet.host.latency; if shared { 1 } else { self.fleet.size() }];
        let mut busy = vec![Picoseconds(0); self.links.media()];
        let mut ready = Picoseconds(0);
        for load in loads {
            let mut has = Picoseconds(0);
            for (sail, from, time) in load {
                has = match from {
                    Some(from) => self.links.carried(&mut busy, (from, sail), has, time),
                    None => {
                        served[port(sail)] += time;
                        served[port(sail)]
                    }
                };
                ready = ready.max(has);
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sailplan_ir::{Bytes, Fleet, Link, Links, Request, TensorId, Verified, Verify};

    /// 100 MB/s and 50 us from the host, 200 MB/s and 10 us between neighbours of a line of three.
    fn fleet(attachment: Attachment) -> Verified<Fleet> {
        let text = crate::shipped_fleet("innerjib7ea-x4-ring").unwrap().replace("count: 4", "count: 3");
        let mut fleet = crate::parse_fleet("fleet.ron", &text).unwrap().into_inner();
        fleet.links = Links::Line(Link::plain(rate(200), Picoseconds::from_micros(10)));
        (fleet.host.rate, fleet.host.latency) = (rate(100), Picoseconds::from_micros(50));
        fleet.host.attachment = attachment;
        fleet.verify().unwrap()
    }

    fn rate(megabytes: u64) -> sailplan_ir::BytesPerSecond {
        sailplan_ir::BytesPerSecond(megabytes * 1_000_000)
    }

    fn shard(megabytes: u64, holders: &[u16]) -> Shard {
        let holders = holders.iter().map(|&sail| SailId(sail)).collect();
        let bytes = Bytes(megabytes * 1_000_000);
        Shard { segment: 0, tensor: TensorId(0), layers: 1, part: None, bytes, holders }
    }

    fn ready(attachment: Attachment, loads: &[(u64, &[u16], bool)]) -> Picoseconds {
        let (fleet, request) = (fleet(attachment), Request::default().verify().unwrap());
        let costs = CostModel::new(&fleet, &request);
        let loads: Vec<Load> = loads.iter().map(|&(size, on, fan)| costs.load(shard(size, on), fan)).collect();
        costs.ready(&loads)
    }

    const ALL: &[u16] = &[0, 1, 2];

    /// Two slices of 2 MB and 1 MB on all three cards: 20 ms and 10 ms on the host's link, 10.01 ms and 5.01 ms a hop.
    ///
    /// | | host | sail0 → 1 | sail1 → 2 |
    /// |---|---|---|---|
    /// | 2 MB | 0.05 + 20 = 20.05 | + 10.01 = 30.06 | + 10.01 = 40.07 |
    /// | 1 MB | 20.05 + 10 = 30.05 | max(30.05, 30.06) + 5.01 = 35.07 | max(35.07, 40.07) + 5.01 = 45.08 |
    /// | 4 MB of sail2 | 30.05 + 40 = 70.05 | | |
    #[test]
    fn a_chain_is_timed_by_hand() {
        let chains = [(2, ALL, true), (1, ALL, true)];
        assert_eq!(ready(Attachment::Shared, &chains), Picoseconds::from_micros(45_080));
        let more = [chains[0], chains[1], (4, &ALL[2..], false)];
        assert_eq!(ready(Attachment::Shared, &more), Picoseconds::from_micros(70_050));
    }

    /// From the host, 2 MB and 1 MB for three: 0.05 + 3 · 20 + 3 · 10 = 90.05 ms; over a link each 0.05 + 20 + 10.
    #[test]
    fn without_hops_the_host_s_link_is_all() {
        let stars = [(2, ALL, false), (1, ALL, false)];
        assert_eq!(ready(Attachment::Shared, &stars), Picoseconds::from_micros(90_050));
        assert_eq!(ready(Attachment::PerSail, &stars), Picoseconds::from_micros(30_050));
    }

    /// 2 MB that sail0 has go to sail2 and on to sail1, as 4 MB come from the host for sail1: 10.02 + 10.01 = 20.03 on links,
    /// 0.05 + 40 = 40.05 on the host's. Without the host, nothing waits for it.
    #[test]
    fn deliveries_begin_at_cards_or_at_the_host() {
        let (fleet, request) = (fleet(Attachment::Shared), Request::default().verify().unwrap());
        let costs = CostModel::new(&fleet, &request);
        let delivery = |from: Option<u16>, to: &[u16], megabytes: u64| Delivery {
            weight: "w".to_owned(),
            from: from.map(SailId),
            to: to.iter().map(|&sail| SailId(sail)).collect(),
            bytes: Bytes(megabytes * 1_000_000),
        };
        let (links, host) = (delivery(Some(0), &[2, 1], 2), delivery(None, &[1], 4));
        assert_eq!(costs.delivered(std::slice::from_ref(&links)), Picoseconds::from_micros(20_030));
        assert_eq!(costs.delivered(&[links, host]), Picoseconds::from_micros(40_050));
        let chain = delivery(None, &[0, 1], 2);
        assert_eq!(costs.delivered(&[chain]), Picoseconds::from_micros(50 + 20_000 + 10_010));
    }

    /// sail0 to sail2 crosses both wires of the line: 0.05 + 20, + 0.02 + 10 = 30.07; the next slice, at sail0 after
    /// 30.05, waits for the wire until then: + 5.01 = 35.08.
    #[test]
    fn a_wire_carries_one_load_at_a_time() {
        let loads: [(u64, &[u16], bool); 2] = [(2, &[0, 2], true), (1, &[0, 1], true)];
        assert_eq!(ready(Attachment::Shared, &loads), Picoseconds::from_micros(35_080));
    }
}
