//! From placement to plan to text and back.

use crate::forms::Style;
use crate::placements::{part, placement, plan_of, plans, sound};
use crate::small::{fleet, model, request};
use sailplan_codegen::{Instruction, Slice, check_model, emit, read, tensor_name, write};
use sailplan_ir::{Algorithm, Bytes, SailId, Verify};

#[test]
fn every_form_is_sound_and_survives_its_text() {
    for (name, plan) in plans() {
        let problems = plan.problems();
        assert!(problems.0.is_empty(), "{name}: {problems}");
        let text = write(&plan);
        let again = read("plan.ron", &text).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(*again, plan, "{name}");
        assert_eq!(write(&again), text, "{name}");
        assert!(text.ends_with('\n') && text.lines().all(|line| line == line.trim_end()), "{name}");
    }
}

#[test]
fn a_small_plan_reads_well() {
    insta::assert_snapshot!(write(&plan_of("pipeline")));
}

#[test]
fn a_changed_time_is_a_diff_of_two_lines() {
    let plan = plan_of("pipeline");
    let mut other = plan.clone();
    let Some(Instruction::HostRecv { time, .. }) = other.sails[0].prefill.instructions.first_mut() else {
        panic!("the first instruction takes the tokens");
    };
    time.0 += 1;
    let (before, after) = (write(&plan), write(&other));
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 2, "the instruction and the digest");
}

#[test]
fn a_tied_table_is_held_once_when_the_slices_are_equal() {
    let held = |name: &str| {
        let plan = plan_of(name);
        let weights = &plan.sails[0].weights;
        let table = weights.iter().filter(|weight| tensor_name(&weight.name) == "token_embd.weight");
        table.map(|weight| (weight.name.clone(), weight.slice)).collect::<Vec<_>>()
    };
    let cut = |axis, end| Slice::Cut { axis, start: 0, end };
    assert_eq!(held("scatter"), [("token_embd.weight".to_owned(), cut(0, 25))]);
    let two = [("token_embd.weight".to_owned(), cut(1, 32)), ("token_embd.weight#2".to_owned(), cut(0, 25))];
    assert_eq!(held("tied"), two);
}

/// Four matrices of 64 columns, three of 96 rows and two norms, halved on two cards: all three layers in one place.
#[test]
fn streamed_layers_take_the_memory_of_one() {
    let (streamed, resident) = (plan_of("streamed"), plan_of("uneven"));
    let layered = |sail: &sailplan_codegen::SailPlan| {
        let all = sail.weights.iter().filter(|weight| weight.layers.is_some());
        all.map(|weight| weight.bytes.aligned(64)).sum::<Bytes>()
    };
    for sail in &streamed.sails {
        let others: Bytes = sail.weights.iter().filter(|weight| !weight.streamed).map(|weight| weight.stride).sum();
        assert_eq!(sail.memory.weights, others + layered(sail));
        assert!(sail.load.iter().all(|load| load.layers.is_none()));
    }
    for sail in &resident.sails {
        let others =
            sail.weights.iter().filter(|weight| weight.layers.is_none()).map(|weight| weight.stride).sum::<Bytes>();
        assert_eq!(sail.memory.weights, others + layered(sail) * 3);
    }
}

#[test]
fn only_trailing_numbers_are_taken_off_names() {
    for (name, tensor) in [("a#2", "a"), ("a", "a"), ("a#", "a#"), ("a#b", "a#b"), ("a#2#3", "a#2"), ("#2", "")] {
        assert_eq!(tensor_name(name), tensor);
    }
}

#[test]
fn a_card_without_a_share_takes_part_with_empty_buffers() {
    let plan = plan_of("uneven");
    let last = plan.sails.iter().find(|sail| sail.sail == SailId(1)).unwrap();
    assert!(last.caches.iter().all(|cache| cache.bytes == Bytes(0)));
    assert!(last.prefill.buffers.iter().any(|buffer| buffer.columns == 0));
}

#[test]
fn a_plan_is_for_its_model_and_no_other() {
    let plan = plan_of("one");
    assert_eq!(check_model(&plan, &model(false)), Default::default());
    let problems = check_model(&plan, &model(true));
    assert!(problems.to_string().contains("model.digest"), "{problems}");
    assert!(problems.to_string().contains("`head` is not the model's"), "{problems}");
}

#[test]
fn placements_that_fit_nothing_are_refused() {
    let (model, fleet, request) = (model(false), fleet(2), request());
    let refused = |change: &dyn Fn(&mut sailplan_ir::Placement)| {
        let mut placement = placement(&model, &[part(&[0, 1], 0..5, Style::Reduce, Algorithm::Ring)]);
        change(&mut placement);
        emit(&model, &fleet, &request, &placement).unwrap_err().to_string()
    };
    type Case<'a> = (&'a dyn Fn(&mut sailplan_ir::Placement), &'a str);
    let cases: [Case<'_>; 9] = [
        (&|placement| placement.stages.clear(), "do not cover the chain"),
        (&|placement| placement.stages[0].segments = 0..4, "not one choice for each segment"),
        (&|placement| placement.stages[0].replica = 1, "it belongs to replica 1, not to replica 0"),
        (&|placement| placement.stages[0].sails[1] = SailId(9), "not the fleet's"),
        (&|placement| placement.stages[0].sails[1] = SailId(0), "busy twice"),
        (&|placement| placement.stages[0].assignment[0] = 7, "no form of its class"),
        (&|placement| placement.stages[0].choices[0].partitions.truncate(1), "deal every domain"),
        (&|placement| placement.stages[0].choices[0].prefill.truncate(1), "one price for each"),
        (
            &|placement| placement.stages[0].choices[0].decode.iter_mut().for_each(|price| price.algorithm = None),
            "how to do",
        ),
    ];
    for (change, expected) in cases {
        let message = refused(change);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn algorithms_may_be_exchanged_on_all_cards_at_once() {
    let mut plan = plan_of("gather");
    for sail in &mut plan.sails {
        for program in [&mut sail.prefill, &mut sail.decode] {
            crate::mutate::each(program, &mut |instruction| {
                if let Instruction::Collective { algorithm, .. } = instruction {
                    *algorithm = Algorithm::Direct;
                }
            });
        }
    }
    sound(&plan);
}
