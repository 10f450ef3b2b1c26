//! Tests only: programs of segments out of families made by hand, of which some are what no layer is.

use super::family::{Families, Family, From, Read};
use super::lift::Stage;
use crate::verify::{Logical, Target};
use crate::{Link, PlanClass, PlanModel, PlanNode, PlanTensor};
use sailplan_ir::{Action, Constant, DType, Dim, Layout, NodeId, Op, Role};
use std::collections::BTreeSet;

fn class(name: &str, tensors: &[(&str, Dim, Role)], nodes: &[(Op, &[&str], &str)]) -> PlanClass {
    let tensor = |&(name, rows, role): &(&str, Dim, Role)| PlanTensor {
        name: name.to_owned(),
        dims: if role == Role::Tokens { vec![rows] } else { vec![rows, Dim::Fixed(8)] },
        dtype: if role == Role::Tokens { DType::I32 } else { DType::F32 },
        role,
    };
    let node = |(op, inputs, out): &(Op, &[&str], &str)| PlanNode {
        op: *op,
        inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        out: (*out).to_owned(),
    };
    PlanClass {
        name: name.to_owned(),
        tensors: tensors.iter().map(tensor).collect(),
        nodes: nodes.iter().map(node).collect(),
    }
}

/// An embedding, two scales, the last token.
fn logical() -> Logical {
    let scale = Op::Scale { factor: Constant(2.0) };
    let classes = vec![
        class(
            "first",
            &[
                ("tokens", Dim::Tokens, Role::Tokens),
                ("table", Dim::Fixed(9), Role::Weight),
                ("x", Dim::Tokens, Role::Value),
            ],
            &[(Op::Embed, &["tokens", "table"], "x")],
        ),
        class(
            "middle",
            &[("x", Dim::Tokens, Role::Input), ("y", Dim::Tokens, Role::Value), ("z", Dim::Tokens, Role::Value)],
            &[(scale, &["x"], "y"), (scale, &["y"], "z")],
        ),
        class(
            "last",
            &[("z", Dim::Tokens, Role::Input), ("out", Dim::Outputs, Role::Value)],
            &[(Op::LastToken, &["z"], "out")],
        ),
    ];
    let chain = classes.iter().map(|class| Link { class: class.name.clone(), layers: None }).collect();
    let (name, digest, source) = ("m".to_owned(), String::new(), String::new());
    Logical::new(&PlanModel { name, digest, source, chain, classes }, DType::F32).unwrap()
}

fn read(from: From, of: (u32, u32), layout: Layout) -> Read {
    Read { from, of, layout }
}

/// Families that each compute a tensor, whole, from the one before; the last one leaves.
fn lifted(made: Vec<Family>, leaves: (Read, Target)) -> Result<Vec<(u32, String)>, String> {
    let families = Families { made, leaves: BTreeSet::from([leaves]) };
    let logical = logical();
    let programs = Stage { logical: &logical, families: &families }.programs()?;
    let shown = |program: &sailplan_ir::Program| {
        let line = |made: &sailplan_ir::Instruction| {
            format!("{}{:?} {} {}", made.action, made.inputs, made.tensor, made.layout)
        };
        program.instructions.iter().map(line).collect::<Vec<_>>().join("; ")
    };
    Ok(programs.iter().map(|(segment, program)| (*segment, shown(program))).collect())
}

fn compute(node: u32, reads: Vec<Read>, of: (u32, u32), layout: Layout) -> Family {
    Family { action: Action::Compute(NodeId(node)), reads, of, layout }
}

const WHOLE: Layout = Layout::Whole;
const CUT: Layout = Layout::Sharded(1);

/// x arrived; y, z and the logits are made.
fn sound() -> Vec<Family> {
    vec![
        compute(0, vec![read(From::Arrived, (0, 2), WHOLE)], (1, 1), WHOLE),
        compute(1, vec![read(From::Made(0), (1, 1), WHOLE)], (1, 2), WHOLE),
        compute(0, vec![read(From::Made(1), (1, 2), WHOLE)], (2, 1), WHOLE),
    ]
}

#[test]
fn segments_are_followed_back() {
    let found = lifted(sound(), (read(From::Made(2), (2, 1), WHOLE), Target::Host)).unwrap();
    let [(last, one), (middle, other)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((*last, one.as_str()), (2, "leaf[] %0 whole; n0[v0] %1 whole; collect[v1] %1 host"));
    assert_eq!((*middle, other.as_str()), (1, "leaf[] %0 whole; n0[v0] %1 whole; n1[v1] %2 whole"));
}

#[track_caller]
fn refused(made: Vec<Family>, leaves: (Read, Target), reason: &str) {
    assert_eq!(lifted(made, leaves).unwrap_err(), reason);
}

#[test]
fn what_no_layer_is_is_refused() {
    let host = (read(From::Made(2), (2, 1), WHOLE), Target::Host);
    refused(sound(), (read(From::Arrived, (0, 2), WHOLE), Target::Stage), "hands on what it did not make");
    let inner = (read(From::Made(0), (1, 1), WHOLE), Target::Stage);
    refused(sound(), inner, "a value that leaves a segment is not its result");
    let mut made = sound();
    made[1].layout = CUT;
    let part = (read(From::Made(1), (1, 2), CUT), Target::Stage);
    refused(made, part, "a segment's result is sharded(1), not whole, where another segment begins");
    let mut made = sound();
    (made[1].layout, made[2].reads[0].layout, made[2].layout) = (CUT, CUT, CUT);
    refused(made, host, "a segment takes a value that is not whole from the one before");
    let mut made = sound();
    made[2].reads[0] = read(From::Made(0), (1, 1), WHOLE);
    refused(made, host, "a segment reads a value of another one that is not its input");
    let mut made = sound();
    made[2].reads[0] = read(From::Made(2), (2, 1), WHOLE);
    refused(made, host, "a value is read before it is made");
}
