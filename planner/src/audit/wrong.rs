//! Tests only: what the operator table does not say, evaluated: each would compute something else.

use super::*;

pub(super) fn drawn(random: &mut Random, axes: &[usize]) -> Dense {
    let mut made = Dense::zeros(axes);
    made.data.iter_mut().for_each(|number| *number = random.next());
    made
}

fn differs(ours: &Dense, theirs: &Dense) -> bool {
    ours.data.iter().zip(&theirs.data).any(|(a, b)| (a - b).abs() > 1e-3)
}

/// What the table does not say must be wrong: a router on slices of its logits, experts over a part of the input.
#[test]
fn rows_that_say_more_about_experts_would_be_wrong() {
    let mut random = Random(3);
    let mut dense = |axes: &[usize]| drawn(&mut random, axes);
    let logits = dense(&[3, 5]);
    for renormalise in [true, false] {
        let halves = [0..3, 3..5].map(|part| route(&logits.slice(1, part), 2, renormalise));
        assert!(differs(&joined(&halves.to_vec()), &route(&logits, 2, renormalise)));
    }
    let (x, stack, down) = (dense(&[3, 4]), dense(&[5, 6, 4]), dense(&[5, 4, 6]));
    let gates = route(&logits, 2, true);
    let part = |k: Range<usize>| {
        let (x, stack) = (x.slice(1, k.clone()), stack.slice(2, k));
        experts(&[&x, &gates, &stack, &stack, &down])
    };
    assert!(!differs(&part(0..4), &experts(&[&x, &gates, &stack, &stack, &down])));
    assert!(differs(&sum(&vec![part(0..2), part(2..4)]), &part(0..4)));
}

/// What the fused operators do not say: gate and up in the other order, two values, a sum over parts of x.
#[test]
fn other_fusions_would_be_wrong() {
    let mut random = Random(5);
    let mut dense = |axes: &[usize]| drawn(&mut random, axes);
    let (x, y, gate, up) = (dense(&[3, 4]), dense(&[3, 4]), dense(&[6, 4]), dense(&[6, 4]));
    for (fused, outer) in [(Op::LinearSwiGlu, Op::SwiGlu), (Op::LinearGeGlu, Op::GeGlu)] {
        let made = evaluate(fused, &[&x, &gate, &up], 0);
        let apart = |left: &Dense, right: &Dense| evaluate(outer, &[&product(left, &gate), &product(right, &up)], 0);
        assert!(!differs(&made, &apart(&x, &x)));
        assert!(differs(&made, &apart(&x, &y)) && differs(&made, &apart(&y, &x)));
        assert!(differs(&made, &evaluate(fused, &[&x, &up, &gate], 0)));
        let part =
            |k: Range<usize>| evaluate(fused, &[&x.slice(1, k.clone()), &gate.slice(1, k.clone()), &up.slice(1, k)], 0);
        assert!(differs(&made, &sum(&vec![part(0..2), part(2..4)])));
    }
}
