//! Plans of models with windows, caps and norms of heads: their text, and attributes that give no numbers.

use crate::placements::{plan_of, sound};
use sailplan_codegen::{Plan, read, write};
use sailplan_ir::{Constant, Op, Verify};

/// What is as in Llama is not written.
#[test]
fn attributes_stand_in_the_text() {
    let plan = plan_of("variant reduced");
    let text = write(&plan);
    for part in
        ["scores:(scale:0.31622776,softcap:5.0,window:4)", "scores:(scale:0.31622776,softcap:5.0)", "pairs:Halves"]
    {
        assert!(text.replace(' ', "").contains(part), "{part}");
    }
    let again = read("plan.ron", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(write(&again), text);
    let plain = write(&plan_of("reduce"));
    assert!(!plain.contains("scores") && !plain.contains("pairs"));
}

fn refused(change: &dyn Fn(&mut Op)) -> String {
    let mut plan: Plan = plan_of("variant reduced");
    sound(&plan);
    let nodes = plan.model.classes.iter_mut().flat_map(|class| &mut class.nodes);
    nodes.for_each(|node| change(&mut node.op));
    plan.problems().to_string()
}

/// The model that a plan carries must make sense before anything is checked against it.
#[test]
fn models_with_impossible_attributes_are_refused() {
    let window = refused(&|op| {
        if let Op::Attention { scores, .. } = op {
            scores.window = Some(0);
        }
    });
    assert!(window.contains("no token sees anything through a window of 0"), "{window}");
    let cap = refused(&|op| {
        if let Op::Attention { scores, .. } = op {
            scores.softcap = Some(Constant(f32::NAN));
        }
    });
    assert!(cap.contains("the cap of the scores is NaN, not a positive number"), "{cap}");
    let scale = refused(&|op| {
        if let Op::Attention { scores, .. } = op {
            scores.scale = Some(Constant(-1.0));
        }
    });
    assert!(scale.contains("the scale of the scores is -1, not a positive number"), "{scale}");
    let factor = refused(&|op| {
        if let Op::Scale { factor } = op {
            *factor = Constant(f32::INFINITY);
        }
    });
    assert!(factor.contains("the factor is inf, not a positive number"), "{factor}");
    let logits = refused(&|op| {
        if let Op::SoftCap { cap } = op {
            *cap = Constant(0.0);
        }
    });
    assert!(logits.contains("the cap is 0, not a positive number"), "{logits}");
    let gain = refused(&|op| {
        if let Op::HeadNorm { head_dim, .. } = op {
            *head_dim = 8;
        }
    });
    assert!(gain.contains("a head has 8 elements and its gain has not"), "{gain}");
}
