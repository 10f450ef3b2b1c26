//! Plans of models with experts: how the stacks are cut, and what does not add up.

use crate::forms::Style;
use crate::placements::{part, plan, plan_of, sound};
use crate::small::square_mixture;
use sailplan_codegen::{Plan, Slice};
use sailplan_ir::{Algorithm, Bytes, Op, SailId, Verify};

/// The slice and the bytes that a card has of a stack in layer 0.
fn held(plan: &Plan, sail: u16, name: &str) -> (Slice, Bytes) {
    let sail = plan.sails.iter().find(|one| one.sail == SailId(sail)).unwrap();
    let weight = sail.weights.iter().find(|weight| weight.name == format!("blk.{{layer}}.{name}.weight")).unwrap();
    (weight.slice, weight.bytes)
}

fn cut(axis: u8, start: u64, end: u64) -> Slice {
    Slice::Cut { axis, start, end }
}

/// An expert has 96 · 64 elements in each stack: 192 blocks of 18 B. Five are dealt 3 and 2; three blocks of columns one by
/// one; 64 rows 32 and 32.
#[test]
fn stacks_are_cut_on_every_axis() {
    let stack = 192 * 18;
    let whole = plan_of("experts");
    assert_eq!(held(&whole, 0, "ffn_gate_exps"), (cut(0, 0, 3), Bytes(3 * stack)));
    assert_eq!(held(&whole, 1, "ffn_down_exps"), (cut(0, 3, 5), Bytes(2 * stack)));
    let narrow = plan_of("experts cut");
    assert_eq!(held(&narrow, 2, "ffn_up_exps"), (cut(1, 32, 64), Bytes(5 * stack / 3)));
    assert_eq!(held(&narrow, 0, "ffn_down_exps"), (cut(2, 64, 96), Bytes(5 * stack / 3)));
    let gathered = plan_of("experts gathered");
    assert_eq!(held(&gathered, 1, "ffn_down_exps"), (cut(1, 32, 64), Bytes(5 * stack / 2)));
    assert_eq!(held(&gathered, 0, "ffn_gate_exps"), (Slice::Whole, Bytes(5 * stack)));
}

/// The model that a plan carries must make sense before anything is checked against it.
#[test]
fn models_with_impossible_experts_are_refused() {
    let refused = |change: &dyn Fn(&mut Op)| {
        let mut plan = plan_of("experts");
        let nodes = plan.model.classes.iter_mut().flat_map(|class| &mut class.nodes);
        nodes.for_each(|node| change(&mut node.op));
        plan.problems().to_string()
    };
    let stacks = |said: u32, taken: u32| {
        refused(&|op| {
            if let Op::Experts { experts, used } = op {
                (*experts, *used) = (said, taken);
            }
        })
    };
    assert!(stacks(4, 2).contains("it says 4 experts, its operands have 5"));
    assert!(stacks(5, 6).contains("a token cannot take 6 of 5 experts"));
    let router = refused(&|op| {
        if let Op::Route { used, .. } = op {
            *used = 0;
        }
    });
    assert!(router.contains("a token cannot take 0 of 5 experts"), "{router}");
}

/// Half of the experts and the other half of every expert are both half of a sum, of two different sums.
#[test]
fn terms_of_different_sums_do_not_add_up() {
    let model = square_mixture();
    let plan = |style| {
        let made = plan(&model, &[part(&[0, 1], 0..5, style, Algorithm::OneShot)]);
        sound(&made);
        made
    };
    let (mut mixed, other) = (plan(Style::Experts), plan(Style::Reduce));
    mixed.sails[1] = other.sails[1].clone();
    let problems = mixed.problems().to_string();
    assert!(problems.contains("the contributions do not add up to `experts`"), "{problems}");
}
