//! Tests only: programs drawn from all that a saturated class offers, each with a proof; and programs that have none.

use crate::audit::{CAPPED, DECODER, MIXTURE, WINDOWED};
use crate::extract::linearise;
use crate::proof::prove;
use crate::saturate::{Choices, saturate};
use sailplan_ir::{
    Action, DType, Dim, Graph, Instruction, LayerClass, Layout, NodeId, Op, Program, Proof, ProofStep, Role, TensorId,
    ValueId,
};
use std::collections::BTreeSet;

fn classes(description: &str) -> Vec<LayerClass> {
    sailplan_models::from_ron("audit.ron", description).unwrap().model.classes.clone()
}

/// A generator whose numbers are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// A way for every class that is demanded, drawn one by one; `None` when they go round in a circle.
fn drawn(choices: &Choices, numbers: &mut Numbers) -> Option<Program> {
    let mut made: Vec<(usize, usize)> = Vec::new();
    let (mut open, mut seen) = (vec![choices.root], BTreeSet::new());
    while let Some(class) = open.pop() {
        if choices.is_resident(class) || !seen.insert(class) {
            continue;
        }
        let ways = &choices.classes[class].ways;
        let way = numbers.below(ways.len());
        made.push((class, way));
        open.extend(&ways[way].inputs);
    }
    linearise(choices, &made).ok().map(|(program, _)| program)
}

fn steps(proof: &Proof) -> usize {
    let steps = proof.chains.iter().flat_map(|chain| &chain.steps);
    steps.filter(|step| matches!(step, ProofStep::Rule { .. })).count()
}

#[test]
fn whatever_may_be_extracted_has_a_proof() {
    let (mut proofs, mut longest) = (0, 0);
    for description in [DECODER, MIXTURE, WINDOWED, CAPPED] {
        for class in classes(description) {
            let choices = saturate(&class.template, class.name == "head").unwrap();
            let mut numbers = Numbers(7);
            let mut known = BTreeSet::new();
            for _ in 0..3000 {
                let Some(program) = drawn(&choices, &mut numbers) else { continue };
                if !known.insert(format!("{program:?}")) {
                    continue;
                }
                let proof = prove(&class.name, &class.template, &program).unwrap();
                longest = longest.max(steps(&proof));
                proofs += 1;
            }
        }
    }
    println!("{proofs} programs, up to {longest} steps");
    assert!(proofs > 1000 && longest > 35, "{proofs} proofs, {longest} steps");
}

fn chain(length: u32) -> Graph {
    let mut graph = Graph::default();
    let axes = [Dim::Tokens, Dim::Fixed(8)];
    let mut x = graph.tensor("x", &axes, DType::F32, Role::Input);
    for index in 0..length {
        x = graph.apply(Op::Add, &[x, x], format!("y{index}"), &axes);
    }
    graph
}

fn made(action: Action, inputs: &[u32], tensor: u32, layout: Layout) -> Instruction {
    let inputs = inputs.iter().map(|&input| ValueId(input)).collect();
    Instruction { action, inputs, tensor: TensorId(tensor), layout }
}

#[test]
fn what_has_no_proof_says_why() {
    let x = || made(Action::Leaf, &[], 0, Layout::Whole);
    let add = |inputs: &[u32]| made(Action::Compute(NodeId(0)), inputs, 1, Layout::Whole);
    let cut = Layout::Sharded(1);
    for (instructions, reason) in [
        (vec![x(), made(Action::AllReduce, &[0], 0, Layout::Whole)], "the rules do not lead from the layer"),
        (vec![x(), made(Action::AllGather, &[0], 0, Layout::Whole)], "a gather of what is not cut"),
        (vec![x(), made(Action::Slice, &[0], 0, Layout::Whole)], "a slice of nothing"),
        (vec![made(Action::Slice, &[], 0, cut)], "a collective of nothing"),
        (vec![add(&[1, 1]), x()], "a value is read before it is made"),
        (vec![x(), made(Action::Compute(NodeId(9)), &[0, 0], 1, cut)], "no such operator"),
    ] {
        let refused = prove("layer", &chain(1), &Program { instructions }).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
    let whole = Program { instructions: vec![x(), add(&[0, 0])] };
    assert_eq!(steps(&prove("layer", &chain(1), &whole).unwrap()), 0);
    let refused = prove("layer", &chain(401), &whole).unwrap_err();
    assert_eq!(refused, "it has 401 operators; classes of at most 400 are proven");
}

/// The longest class that is proven, cut at the first operator and gathered after the last.
#[test]
fn a_long_class_has_a_proof() {
    let graph = chain(400);
    let mut instructions =
        vec![made(Action::Leaf, &[], 0, Layout::Whole), made(Action::Slice, &[0], 0, Layout::Sharded(1))];
    for node in 0..400 {
        instructions.push(made(Action::Compute(NodeId(node)), &[node + 1, node + 1], node + 1, Layout::Sharded(1)));
    }
    instructions.push(made(Action::AllGather, &[401], 400, Layout::Whole));
    let proof = prove("layer", &graph, &Program { instructions }).unwrap();
    assert!(steps(&proof) > 400 && proof.text().len() < 200_000, "{} steps", steps(&proof));
}
