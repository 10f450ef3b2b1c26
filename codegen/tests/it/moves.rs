//! What moves between plans, and cards that are lost.

use crate::forms::Style::{Reduce, Whole};
use crate::placements::{Part, part, placement, plans};
use crate::small::{fleet, model, request};
use sailplan_codegen::{Plan, Sources, What, diff, emit, kept, moves};
use sailplan_ir::{Algorithm::OneShot, Bytes, Delivery, Fleet, SailId, Verified, Verify};
use std::collections::BTreeMap;

fn on(fleet: &Verified<Fleet>, parts: &[Part]) -> Plan {
    let model = model(false);
    emit(&model, fleet, &request(), &placement(&model, parts)).unwrap()
}

fn lost(count: u16, lost: &[u16]) -> Verified<Fleet> {
    let mut fleet = fleet(count).into_inner();
    fleet.lost = lost.iter().map(|&sail| SailId(sail)).collect();
    fleet.verify().unwrap()
}

fn sum(deliveries: &[Delivery]) -> Bytes {
    deliveries.iter().map(|one| one.bytes.times(one.to.len() as u64)).sum()
}

fn held(plan: &Plan) -> BTreeMap<SailId, Bytes> {
    let resident = |weight: &&sailplan_codegen::Resident| !weight.streamed;
    let bytes = |weight: &sailplan_codegen::Resident| {
        weight.bytes.times(weight.layers.as_ref().map_or(1, |layers| layers.0.len() as u64))
    };
    plan.sails.iter().map(|sail| (sail.sail, sail.weights.iter().filter(resident).map(bytes).sum())).collect()
}

#[test]
fn a_plan_moves_nothing_to_itself() {
    for (name, plan) in plans() {
        for sources in [Sources::Host, Sources::Cards] {
            assert_eq!(moves(&plan, &plan, sources), [], "{name}");
        }
    }
}

/// What each card gets is what it is to hold less what it keeps; wherever it comes from, the same bytes; and no card is asked
/// for what it was not given.
#[test]
fn what_is_kept_and_what_is_sent_make_the_plan() {
    let all = plans();
    for (old_name, old) in &all {
        for (name, new) in all.iter().filter(|(_, new)| new.model.digest == old.model.digest) {
            let (from_host, from_cards) = (moves(old, new, Sources::Host), moves(old, new, Sources::Cards));
            assert!(from_host.iter().all(|one| one.from.is_none()));
            let kept = kept(old, new);
            for (sail, bytes) in held(new) {
                let sent = |all: &[Delivery]| -> Bytes {
                    all.iter().filter(|one| one.to.contains(&sail)).map(|one| one.bytes).sum()
                };
                let kept = kept.get(&(sail, sail)).copied().unwrap_or_default();
                assert_eq!(sent(&from_host) + kept, bytes, "{old_name} to {name}: {sail}");
                assert_eq!(sent(&from_cards), sent(&from_host), "{old_name} to {name}: {sail}");
            }
            for one in from_cards.iter().filter(|one| one.from.is_some()) {
                let source = old.sails.iter().find(|sail| Some(sail.sail) == one.from);
                let has = source.is_some_and(|sail| sail.weights.iter().any(|weight| weight.name == one.weight));
                assert!(has, "{old_name} to {name}: {one:?}");
            }
        }
    }
}

/// A stage's card is lost; the card that takes its layers gets them from the host, and the rest stays.
#[test]
fn a_lost_card_gives_nothing() {
    let old = on(&fleet(3), &[part(&[0], 0..2, Whole, OneShot), part(&[1], 2..5, Whole, OneShot)]);
    let new = on(&lost(3, &[1]), &[part(&[0], 0..2, Whole, OneShot), part(&[2], 2..5, Whole, OneShot)]);
    assert_eq!(new.problems().0, []);
    let sent = moves(&old, &new, Sources::Cards);
    assert!(sent.iter().all(|one| one.from.is_none() && one.to == [SailId(2)]), "{sent:?}");
    assert_eq!(sum(&sent), held(&new)[&SailId(2)]);
    let kept = kept(&old, &new);
    assert_eq!(kept.get(&(SailId(0), SailId(0))), held(&new).get(&SailId(0)));
    assert_eq!(kept.get(&(SailId(2), SailId(1))), None, "a lost card cannot take a place");
}

/// Two cards need what a third has: it goes to one of them and from there to the other.
#[test]
fn cards_hand_on_what_several_need() {
    let old = on(&fleet(3), &[part(&[0], 0..5, Whole, OneShot)]);
    let new = on(&fleet(3), &[part(&[1, 2], 0..5, Reduce, OneShot)]);
    let sent = moves(&old, &new, Sources::Cards);
    assert!(sent.iter().all(|one| one.from == Some(SailId(0))), "{sent:?}");
    let norms = sent.iter().filter(|one| one.weight.contains("norm")).collect::<Vec<_>>();
    assert!(!norms.is_empty() && norms.iter().all(|one| one.to == [SailId(1), SailId(2)]), "{norms:?}");
}

/// A card with more memory than before is another card.
#[test]
fn a_replaced_card_holds_nothing() {
    let parts = [part(&[0], 0..2, Whole, OneShot), part(&[1], 2..5, Whole, OneShot)];
    let old = on(&fleet(2), &parts);
    let mut larger = fleet(2).into_inner();
    larger.kinds.get_mut("card").unwrap().memory = Bytes(1 << 21);
    let new = on(&larger.verify().unwrap(), &parts);
    assert_eq!(sum(&moves(&old, &new, Sources::Cards)), held(&new).into_values().sum());
}

#[test]
fn work_on_a_lost_card_is_refused() {
    let parts = [part(&[0], 0..2, Whole, OneShot), part(&[1], 2..5, Whole, OneShot)];
    let problems = on(&lost(3, &[1]), &parts).problems();
    assert!(problems.to_string().contains("the fleet says that it is lost"), "{problems}");
    assert_eq!(on(&lost(3, &[2]), &parts).problems().0, []);
}

#[test]
fn a_lost_card_is_a_cause() {
    let parts = [part(&[0], 0..5, Whole, OneShot)];
    let plan = |fleet: &Verified<Fleet>| on(fleet, &parts).verify().unwrap();
    let found = diff(&plan(&fleet(3)), &plan(&lost(3, &[1, 2])));
    let cause = found.changes.iter().find_map(|change| match &change.what {
        What::Input { field, old, new, .. } if field == "lost" => Some((old.clone(), new.clone())),
        _ => None,
    });
    assert_eq!(cause, Some((Some("none".to_owned()), Some("sail1, sail2".to_owned()))));
}

#[test]
fn a_lost_card_is_written_and_read() {
    let plan = on(&lost(3, &[1]), &[part(&[0, 2], 0..5, Reduce, OneShot)]);
    let text = sailplan_codegen::write(&plan);
    assert!(text.contains("lost: [\"sail1\"]"));
    assert_eq!(*sailplan_codegen::read("plan.ron", &text).unwrap(), plan);
}
