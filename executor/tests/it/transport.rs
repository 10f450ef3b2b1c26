//! Messages keep their order and waits end.
#![expect(clippy::disallowed_types, reason = "time limits are tested")]

use sailplan_codegen::ReduceOp;
use sailplan_executor::{Collective, Exchange, Extent, Pulse, ReplayError, Tag, Threads, Transport};
use sailplan_ir::{Algorithm, CollectiveKind, SailId, Wire};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(200);

fn pair() -> (Threads, Threads) {
    let mut ends = Threads::connect(&[SailId(0), SailId(1)], Wire::F32, LIMIT, &Pulse::default());
    let second = ends.pop().expect("two ends");
    (ends.pop().expect("two ends"), second)
}

#[test]
fn tags_choose_and_equal_tags_queue() {
    let (mut a, mut b) = pair();
    for (tag, value) in [(7, 1.0), (8, 2.0), (7, 3.0)] {
        a.send(SailId(1), Tag::Send(tag), &[value]).unwrap();
    }
    let mut next = |tag| b.receive(SailId(0), Tag::Send(tag), 1).unwrap()[0];
    assert_eq!([next(8), next(7), next(7)], [2.0, 1.0, 3.0]);
}

#[test]
fn a_message_of_another_size_is_an_error() {
    let (mut a, mut b) = pair();
    a.send(SailId(1), Tag::Send(0), &[1.0, 2.0]).unwrap();
    let error = b.receive(SailId(0), Tag::Send(0), 3).unwrap_err();
    assert_eq!(error.to_string(), "sail1 expected 3 elements from sail0 in message 0 and got 2");
}

/// What rank 0 of an all-reduce says when rank 1 does nothing.
fn alone(mut end: Threads) -> ReplayError {
    let collective = Collective {
        kind: CollectiveKind::AllReduce,
        algorithm: Algorithm::Ring,
        op: ReduceOp::Sum,
        group: vec![SailId(0), SailId(1)],
        parts: Vec::new(),
        by_rows: false,
        experts: Vec::new(),
    };
    let exchange = Exchange::new(collective, SailId(0)).expect("a rank of the group");
    let began = Instant::now();
    let error = exchange.run(Extent { rows: 1, columns: 2 }, vec![1.0, 2.0], &mut end).unwrap_err();
    assert!(began.elapsed() < 5 * LIMIT);
    error
}

#[test]
fn a_dead_peer_is_named() {
    let (a, b) = pair();
    drop(b);
    assert!(matches!(alone(a), ReplayError::PeerDied { sail: SailId(0), peer: SailId(1), .. }));
}

#[test]
fn a_silent_peer_is_named_in_time() {
    let (a, _b) = pair();
    let error = alone(a);
    assert!(matches!(error, ReplayError::PeerTimedOut { sail: SailId(0), peer: SailId(1), .. }));
    assert!(error.to_string().starts_with("sail0 waited for sail1 in step 0 of all-reduce"), "{error}");
}
