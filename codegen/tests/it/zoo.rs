//! Models of real size.

use crate::forms::Style;
use crate::placements::{part, placement};
use crate::small::{fleet, request};
use sailplan_codegen::{emit, read, write};
use sailplan_ir::{Algorithm, Bytes, Fleet, Model, Request, Verified, Verify};

fn roomy(count: u16) -> Verified<Fleet> {
    let mut fleet = fleet(count).into_inner();
    fleet.kinds.values_mut().for_each(|kind| kind.memory = Bytes(1 << 40));
    fleet.verify().unwrap()
}

fn zoo(name: &str) -> Verified<Model> {
    sailplan_models::load_zoo(name).unwrap().model
}

#[test]
fn a_large_model_on_many_cards_is_sound() {
    let model = zoo("llama-3-70b-q4_k_m");
    let segments = model.segments.len() as u32;
    let sails: Vec<u16> = (0..64).collect();
    let placement = placement(&model, &[part(&sails, 0..segments, Style::Reduce, Algorithm::Ring)]);
    let request: Verified<Request> = request();
    let plan = emit(&model, &roomy(64), &request, &placement).unwrap();
    let text = write(&plan);
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
    assert_eq!(*read("plan.ron", &text).unwrap(), plan);
}

#[test]
fn an_unpatterned_model_has_a_class_for_each_segment() {
    let mut model = zoo("tinyllama-1.1b").into_inner();
    for class in &mut model.classes {
        class.patterned = false;
    }
    let model = model.verify().unwrap();
    let segments = model.segments.len() as u32;
    let parts = [
        part(&[0, 1], 0..9, Style::Scatter, Algorithm::Direct),
        part(&[2], 9..segments, Style::Whole, Algorithm::Ring),
    ];
    let plan = emit(&model, &roomy(3), &request(), &placement(&model, &parts)).unwrap();
    assert_eq!(plan.model.classes.len(), segments as usize);
    assert_eq!(plan.problems(), Default::default());
}
