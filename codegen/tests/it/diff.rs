//! Comparisons of plans: nothing is reported of equal plans, everything of unlike ones.

use crate::mutate::Numbers;
use crate::placements::{part, placement, plan_of, plans};
use crate::small::{fleet, model, request};
use sailplan_codegen::{Class, Diff, Instruction, Plan, What, diff, diff_refused, emit, read, write};
use sailplan_ir::{Diagnostic, Diagnostics, Fleet, Picoseconds, Verified, Verify};
use sha2::{Digest, Sha256};

fn sound(plan: Plan) -> Verified<Plan> {
    plan.verify().unwrap()
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
    options.from_str(text).ok()
}

/// The text with the digest that it should have.
fn signed(text: &str) -> String {
    let start = text.find("digest: \"").unwrap() + "digest: \"".len();
    let end = start + text[start..].find('"').unwrap();
    let (before, after) = (&text[..start], &text[end..]);
    let digest = Sha256::digest(format!("{before}{after}"));
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{before}sha256:{digits}{after}")
}

/// The text with one digit exchanged for another.
fn edited(text: &str, numbers: &mut Numbers) -> String {
    let digits: Vec<usize> =
        text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|one| one.0).collect();
    let at = digits[numbers.below(digits.len())];
    let digit = char::from(b'0' + numbers.below(10) as u8).to_string();
    let mut text = text.to_owned();
    text.replace_range(at..=at, &digit);
    text
}

#[test]
fn a_plan_is_the_same_as_itself() {
    for (name, plan) in plans() {
        let plan = sound(plan);
        assert_eq!(diff(&plan, &plan), Diff::default(), "{name}");
    }
}

#[test]
fn unlike_plans_differ_both_ways_in_the_same_places() {
    let plans: Vec<_> = plans().into_iter().map(|(name, plan)| (name, sound(plan))).collect();
    for (name, one) in &plans {
        for (other_name, other) in plans.iter().filter(|other| other.0 != *name) {
            let (there, back) = (diff(one, other), diff(other, one));
            assert!(!there.same(), "{name} and {other_name}");
            let kinds = |diff: &Diff| {
                let mut kinds: Vec<_> = diff.changes.iter().filter_map(|change| mirrored(&change.what)).collect();
                kinds.sort();
                kinds
            };
            assert_eq!(kinds(&there), kinds(&back), "{name} and {other_name}");
        }
    }
}

/// Changes that are there both ways. What is sent again and which cards hold it depends on the way.
fn mirrored(what: &What) -> Option<String> {
    match what {
        What::Resend { .. } | What::Memory { .. } | What::Sustain { .. } | What::Program { .. } => None,
        What::Arrangement { .. } | What::Predictions { .. } => None,
        What::Input { field, .. } => Some(field.clone()),
        What::Time { figure, .. } => Some((*figure).to_owned()),
        What::Dealt { layers, .. } => Some(format!("dealt {layers:?}")),
        What::Home { part, .. } => Some(format!("home {part:?}")),
        What::Collectives { phase, part, kind, .. } => Some(format!("{phase} {part:?} {kind}")),
        other => Some(format!("{:?}", std::mem::discriminant(other))),
    }
}

/// Any edit of a plan that the verifier accepts is in some change, and not only as other text.
#[test]
fn every_accepted_edit_is_reported() {
    let (mut numbers, mut accepted) = (Numbers(0xD1FF), 0);
    for (name, plan) in plans() {
        let (text, plan) = (write(&plan), sound(plan));
        // The model's and the fleet's part is read with every edit and seldom accepted: edits are made behind it.
        let start = text.find("\n  request:").unwrap();
        for _ in 0..200 {
            let changed = format!("{}{}", &text[..start], edited(&text[start..], &mut numbers));
            let Ok(other) = read("edited", &signed(&changed)) else { continue };
            let mut other = other.into_inner();
            other.digest.clone_from(&plan.digest);
            if other == *plan {
                continue;
            }
            let found = diff(&plan, &sound(other));
            assert!(!found.same(), "{name}: nothing is said of\n{}", lines(&text, &changed));
            accepted += 1;
        }
    }
    assert!(accepted > 250, "only {accepted} edits were accepted");
}

fn lines(old: &str, new: &str) -> String {
    old.lines().zip(new.lines()).filter(|(old, new)| old != new).map(|(old, new)| format!("{old}\n{new}\n")).collect()
}

/// Any other figure of a fleet is a cause by name.
#[test]
fn every_figure_of_a_fleet_is_a_cause() {
    let parts = [part(&[0, 1], 0..5, crate::forms::Style::Reduce, sailplan_ir::Algorithm::OneShot)];
    let (model, request, fleet) = (model(false), request(), fleet(3));
    let placement = placement(&model, &parts);
    let plan = |fleet: &Verified<Fleet>| sound(emit(&model, fleet, &request, &placement).unwrap());
    let (before, text) = (plan(&fleet), ron::to_string(&*fleet).unwrap());
    let (mut numbers, mut causes) = (Numbers(0xF1EE7), std::collections::BTreeSet::new());
    for _ in 0..400 {
        let Some(Ok(other)) = parsed::<Fleet>(&edited(&text, &mut numbers)).map(Fleet::verify) else { continue };
        let Ok(Ok(after)) = emit(&model, &other, &request, &placement).map(Plan::verify) else { continue };
        if *other == *fleet {
            continue;
        }
        let found = diff(&before, &after);
        let fields: Vec<&String> = found
            .changes
            .iter()
            .filter_map(|change| match &change.what {
                What::Input { field, .. } => Some(field),
                _ => None,
            })
            .collect();
        assert!(!fields.is_empty(), "no cause is named: {found:?}");
        causes.extend(fields.into_iter().cloned());
    }
    for cause in ["sail.memory", "sail.bandwidth", "link.rate", "link.latency", "host.rate", "host.latency"] {
        assert!(causes.contains(cause), "{causes:?} lack {cause}");
    }
}

/// The smallest plans of which all is known: one with another estimate, one with another writer.
#[test]
fn slower_one_way_is_faster_the_other_way() {
    let base = plans().remove(0).1;
    let timed = |prefill: u64, decode: u64| {
        let mut plan = base.clone();
        plan.estimate.prefill = Picoseconds(prefill);
        plan.estimate.decode = Picoseconds(decode);
        sound(plan)
    };
    let mut numbers = Numbers(7);
    for _ in 0..100 {
        let [a, b, c, d] = [0; 4].map(|_| 1 + numbers.below(1000) as u64);
        let (there, back) = (diff(&timed(a, b), &timed(c, d)), diff(&timed(c, d), &timed(a, b)));
        assert_eq!(there.classes().contains(&Class::Slower), c > a || d > b);
        assert_eq!(back.classes().contains(&Class::Slower), a > c || b > d);
        let worst = (c as f64 / a as f64).max(d as f64 / b as f64).max(1.0);
        assert!((there.slowdown() - (worst - 1.0) * 100.0).abs() < 1e-6);
    }
    assert!(diff(&timed(0, 1), &timed(1, 1)).slowdown().is_infinite());
}

/// Products of one value in a kernel each: as sound as the joint kernel, and another program.
#[test]
fn products_apart_are_another_program() {
    let joint = plan_of("one");
    let mut apart = joint.clone();
    let alone = |instruction: Instruction| match instruction {
        Instruction::Kernel { op, skip, inputs, weights, out, beside, time } => {
            let first = (weights, out);
            let others = beside.into_iter().map(|product| (vec![product.weight], product.out));
            let kernel = |(weights, out)| {
                let (inputs, beside) = (inputs.clone(), Vec::new());
                Instruction::Kernel { op, skip, inputs, weights, out, beside, time }
            };
            std::iter::once(first).chain(others).map(kernel).collect()
        }
        other => vec![other],
    };
    for program in apart.sails.iter_mut().flat_map(|sail| [&mut sail.prefill, &mut sail.decode]) {
        for instruction in &mut program.instructions {
            if let Instruction::Repeat { body, .. } = instruction {
                *body = std::mem::take(body).into_iter().flat_map(alone).collect();
            }
        }
    }
    let found = format!("{:?}", diff(&sound(apart), &sound(joint)).changes);
    assert!(found.contains("Kernels { op: \"joint linear\", old: 0, new: 2 }"), "{found}");
}

#[test]
fn another_writer_alone_is_cosmetic() {
    let base = plans().remove(0).1;
    let other = Plan { made_by: "another 9.9.9".to_owned(), ..base.clone() };
    let found = diff(&sound(base), &sound(other));
    assert_eq!(found.classes().into_iter().collect::<Vec<_>>(), [Class::Cosmetic]);
}

/// Moving layers sends their weights, and only those.
#[test]
fn what_is_sent_again_is_what_was_not_there() {
    use crate::forms::Style::Whole;
    use sailplan_ir::Algorithm::Ring;
    let model = model(false);
    let on = |cut: u32| {
        let parts = [part(&[0], 0..cut, Whole, Ring), part(&[1], cut..5, Whole, Ring)];
        sound(emit(&model, &fleet(2), &request(), &placement(&model, &parts)).unwrap())
    };
    let (before, after) = (on(2), on(3));
    let layer: u64 = model.weight_bytes().0;
    let sent: Vec<(usize, u64)> = diff(&before, &after)
        .changes
        .iter()
        .filter_map(|change| match &change.what {
            What::Resend { sails, bytes } => Some((sails[0].index(), *bytes)),
            _ => None,
        })
        .collect();
    let grown = |plan: &Plan| -> u64 {
        let residents = plan.sails[0].weights.iter();
        residents.map(|weight| weight.bytes.0 * weight.layers.as_ref().map_or(1, |layers| layers.0.len() as u64)).sum()
    };
    assert_eq!(sent, [(0, grown(&after) - grown(&before))]);
    assert!(sent[0].1 < layer / 3, "more than a layer: {sent:?}");
}

#[test]
fn a_refused_plan_is_unfit_and_a_mended_one_is_sent_anew() {
    let problem = Diagnostics(vec![Diagnostic::new("it does not fit")]);
    let classes =
        |old: &Diagnostics, new: &Diagnostics| diff_refused(old, new).classes().into_iter().collect::<Vec<_>>();
    let sound = Diagnostics::default();
    assert_eq!(classes(&sound, &problem), [Class::Unfit]);
    assert_eq!(classes(&problem, &problem), [Class::Unfit]);
    assert_eq!(classes(&problem, &sound), [Class::Moved]);
}
