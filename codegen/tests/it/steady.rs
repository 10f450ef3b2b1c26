//! Layers that the verifier does not run because a group would do in them what it just did: its answer must be the one that
//! it gives when it runs them all, which it does for repeats of few layers.

use crate::forms::Style;
use crate::mutate::{Numbers, corrupt};
use crate::placements::{Part, part, plan};
use sailplan_codegen::{Instruction, Layers, Plan, Program, Resident, Slice};
use sailplan_ir::{Algorithm, Bytes, Model, Verified, Verify};

/// Layers of the model.
const LAYERS: u32 = 14;

/// Repeats of no more layers than this are run as they are.
const FEW: u32 = 4;

fn model(shape: &str) -> Verified<Model> {
    let text = format!(
        "Decoder(name: \"deep\", hidden: 64, layers: {LAYERS}, heads: 4, kv_heads: 2, head_dim: 16, ffn: 96, vocab: 50,
         norm_epsilon: 1e-5, rope_base: 1e4, rope_pairs: adjacent, {shape} dtypes: Dtypes(default: Q4_0))"
    );
    sailplan_models::from_ron("deep.ron", &text).unwrap().model
}

/// What runs all layers: every repeat as several of few layers.
fn unfolded(plan: &Plan) -> Plan {
    let split = |program: &Program| {
        let mut instructions = Vec::new();
        for instruction in &program.instructions {
            let Instruction::Repeat { layers: Layers(all), body } = instruction else {
                instructions.push(instruction.clone());
                continue;
            };
            // No layers, or more than there are: refused before anything is run.
            if all.is_empty() || all.end > 2 * LAYERS {
                instructions.push(instruction.clone());
            }
            let all = all.start..all.end.min(2 * LAYERS);
            for start in all.clone().step_by(FEW as usize) {
                let layers = Layers(start..all.end.min(start.saturating_add(FEW)));
                instructions.push(Instruction::Repeat { layers, body: body.clone() });
            }
        }
        Program { instructions, buffers: program.buffers.clone() }
    };
    let mut other = plan.clone();
    for sail in &mut other.sails {
        (sail.prefill, sail.decode) = (split(&sail.prefill), split(&sail.decode));
    }
    other
}

fn parts() -> Vec<(&'static str, Vec<Part>)> {
    use Algorithm::{Direct, OneShot, Ring};
    use Style::{Fused, Gather, Reduce, Scatter, Whole};
    let all = 0..LAYERS + 2;
    vec![
        ("alone", vec![part(&[0], all.clone(), Whole, Ring)]),
        ("reduced", vec![part(&[0, 1], all.clone(), Reduce, OneShot)]),
        ("fused", vec![part(&[2, 0, 1], all.clone(), Fused, Direct)]),
        ("scattered", vec![part(&[0, 1], all.clone(), Scatter, Ring)]),
        ("two stages", vec![part(&[0, 2], 0..8, Gather, Ring), part(&[1], 8..LAYERS + 2, Whole, Ring)]),
    ]
}

fn plans() -> Vec<(String, Plan)> {
    let shapes = [("dense", "tied: true,"), ("normed", "head_norms: true, tied: false,")];
    let each = |(shape, text): (&str, &str)| {
        let model = model(text);
        let plans = parts().into_iter().map(|(name, parts)| (format!("{name}, {shape}"), plan(&model, &parts)));
        plans.collect::<Vec<_>>()
    };
    shapes.into_iter().flat_map(each).collect()
}

fn accepted(plan: &Plan) -> bool {
    plan.problems().0.is_empty()
}

#[test]
fn skipped_layers_change_no_answer() {
    let mut numbers = Numbers(0x57EAD);
    let (mut refused, mut harmless) = (0, 0);
    for (name, plan) in plans() {
        assert!(accepted(&plan) && accepted(&unfolded(&plan)), "{name}: {}", plan.problems());
        for _ in 0..400 {
            let mut other = plan.clone();
            let what = corrupt(&mut other, &mut numbers);
            let answer = accepted(&other);
            assert_eq!(answer, accepted(&unfolded(&other)), "{name}: {what}: {}", other.problems());
            if answer { harmless += 1 } else { refused += 1 }
        }
    }
    println!("{refused} corruptions refused, {harmless} accepted, either way");
    assert!(refused > 1000 && harmless > 0);
}

/// One resident as two, for the layers before `layer` and from it on.
fn parted(residents: &mut Vec<Resident>, index: usize, layer: u32) {
    let resident = &mut residents[index];
    let Layers(layers) = resident.layers.clone().unwrap();
    let mut later = resident.clone();
    later.offset = Bytes(resident.offset.0 + resident.stride.0 * u64::from(layer - layers.start));
    later.layers = Some(Layers(layer..layers.end));
    resident.layers = Some(Layers(layers.start..layer));
    residents.insert(index + 1, later);
}

/// Weights and caches that change in a layer that would not be run: what is only written otherwise is accepted, what is held
/// otherwise is refused.
#[test]
fn what_changes_in_a_later_layer_is_seen() {
    let mut changed = 0;
    for (name, plan) in plans() {
        for sail in 0..plan.sails.len() {
            let layered = |residents: &[Resident]| {
                let wide = |resident: &Resident| {
                    resident.layers.as_ref().is_some_and(|Layers(layers)| layers.start < 5 && layers.end > 7)
                };
                (0..residents.len()).filter(|&index| wide(&residents[index])).collect::<Vec<_>>()
            };
            for (caches, index) in layered(&plan.sails[sail].weights)
                .into_iter()
                .map(|index| (false, index))
                .chain(layered(&plan.sails[sail].caches).into_iter().map(|index| (true, index)))
            {
                let mut other = plan.clone();
                let residents = if caches { &mut other.sails[sail].caches } else { &mut other.sails[sail].weights };
                parted(residents, index, 5);
                assert_eq!(accepted(&other), accepted(&unfolded(&other)), "{name}: parted, {}", other.problems());
                let residents = if caches { &mut other.sails[sail].caches } else { &mut other.sails[sail].weights };
                parted(residents, index + 1, 6);
                // The part of one layer in between is another one.
                let Slice::Cut { start, end, .. } = &mut residents[index + 1].slice else { continue };
                let length = *end - *start;
                if length == 0 {
                    continue;
                }
                (*start, *end) = if *start == 0 { (length, 2 * length) } else { (0, length) };
                assert!(!accepted(&other) && !accepted(&unfolded(&other)), "{name}: resident {index} of {sail}");
                changed += 1;
            }
        }
    }
    assert!(changed > 20, "{changed}");
}
