//! Messages alone, and messages that meet.

use super::*;
use crate::simulate::fabric::Fabric;
use crate::simulate::network::{Network, Way};
use std::rc::Rc;

/// What is sent when: microseconds, way, bytes.
type Posted = (u64, Rc<Way>, Bytes);

/// When each message arrives, in the order in which they are given.
fn arrivals(network: &Network, posted: &[Posted]) -> Vec<Picoseconds> {
    let mut fabric = Fabric::new(&network.media, true);
    let mut arrived = vec![Picoseconds::NEVER; posted.len()];
    let mut left: Vec<usize> = (0..posted.len()).collect();
    left.sort_by_key(|&index| posted[index].0);
    let mut now = Picoseconds(0);
    loop {
        let sent = fabric.next(now);
        let due = left.first().map(|&index| micros(posted[index].0));
        let Some(next) = sent.into_iter().chain(due).min() else { return arrived };
        now = next;
        while let Some(&index) = left.first()
            && micros(posted[index].0) == now
        {
            fabric.send(now, &posted[index].1, posted[index].2, left.remove(0));
        }
        fabric.sent(now).into_iter().for_each(|sent| arrived[sent.what] = sent.arrives);
    }
}

fn between(network: &Network, from: u16, to: u16) -> Rc<Way> {
    network.between(SailId(from), SailId(to))
}

/// One link: 5 µs + 2 ms. Two links, cut through: 10 µs + 2 ms, not twice 2 ms.
#[test]
fn a_message_alone_takes_its_hops_and_its_bytes() {
    let network = Network::new(&line(link(500), link(500)));
    for (to, time) in [(1, 2005), (2, 2010)] {
        assert_eq!(arrivals(&network, &[(0, between(&network, 0, to), MEGABYTE)]), [micros(time)]);
    }
    assert_eq!(arrivals(&network, &[(7, between(&network, 0, 2), Bytes(0))]), [micros(17)], "only the latencies");
}

/// 1 MB at 250 MB/s is 4 ms, whichever of the two links is the slow one.
#[test]
fn the_slowest_link_counts() {
    for (first, second) in [(500, 250), (250, 500)] {
        let network = Network::new(&line(link(first), link(second)));
        assert_eq!(arrivals(&network, &[(0, between(&network, 0, 2), MEGABYTE)]), [micros(4010)]);
    }
}

/// Two megabytes over one wire of 500 MB/s: both take 4 ms. When the second comes 1 ms later, the first is half done, then
/// goes at half the rate: it ends at 3 ms. Of the second, half is left then, which takes 1 ms alone.
#[test]
fn messages_that_meet_share_a_wire() {
    let network = Network::new(&line(link(500), link(500)));
    let way = || between(&network, 0, 1);
    assert_eq!(arrivals(&network, &[(0, way(), MEGABYTE), (0, way(), MEGABYTE)]), [micros(4005); 2]);
    let staggered = [(0, way(), MEGABYTE), (1000, way(), MEGABYTE)];
    assert_eq!(arrivals(&network, &staggered), [micros(3005), micros(4005)]);
}

/// A message over both links and one over the second: they share the second, so both take 4 ms.
#[test]
fn a_message_goes_at_its_smallest_share() {
    let network = Network::new(&line(link(500), link(500)));
    let posted = [(0, between(&network, 0, 2), MEGABYTE), (0, between(&network, 1, 2), MEGABYTE)];
    assert_eq!(arrivals(&network, &posted), [micros(4010), micros(4005)]);
}

#[test]
fn opposite_directions_share_a_half_duplex_link_only() {
    for (link, time) in [(link(500), 2005), (half_duplex(500), 4005)] {
        let network = Network::new(&line(link.clone(), link));
        let posted = [(0, between(&network, 0, 1), MEGABYTE), (0, between(&network, 1, 0), MEGABYTE)];
        assert_eq!(arrivals(&network, &posted), [micros(time); 2]);
    }
}

/// 1 MB at 100 MB/s is 10 ms; four of them on one shared link are 40 ms; the way back is another direction.
#[test]
fn cards_share_the_host_link_or_have_one_each() {
    for (attachment, time) in [(Attachment::Shared, 40_100), (Attachment::PerSail, 10_100)] {
        let network = Network::new(&fleet(4, Links::Ring(link(500)), attachment));
        let mut posted: Vec<Posted> = (0..4).map(|card| (0, network.down(SailId(card)), MEGABYTE)).collect();
        posted.push((0, network.up(SailId(3)), MEGABYTE));
        let expected = [[micros(time); 4].as_slice(), &[micros(10_100)]].concat();
        assert_eq!(arrivals(&network, &posted), expected);
    }
}
