//! Norms and sums on parts of a step's rows give the bits of whole ones, whatever the number of rows.

use super::model::WeightFile;
use super::tiny::{Case, Group, Share, Sizes};
use crate::cpu::Cpu;
use crate::replay::replay_on;
use crate::{Report, Session};
use sailplan_codegen::{Buffer, Instruction, Plan, Program, ReduceOp};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, DType, Dim, Op, Picoseconds, RowShare, SailId};

/// The parts of a group's rows, by which its layers add and norm.
struct ByRows<'a> {
    parts: &'a [u64],
    group: Vec<SailId>,
}

impl ByRows<'_> {
    fn collective(&self, kind: CollectiveKind, buffer: &str, into: &str) -> Instruction {
        Instruction::Collective {
            kind,
            op: (kind == CollectiveKind::ReduceScatter).then_some(ReduceOp::Sum),
            group: self.group.clone(),
            algorithm: Algorithm::Direct,
            buffer: buffer.to_owned(),
            into: Some(into.to_owned()),
            parts: self.parts.to_vec(),
            by: None,
            bytes: Bytes(0),
            time: Picoseconds(0),
        }
    }

    /// A layer's instructions, with its sums scattered by rows, its second norm on them, and both gathered.
    fn body(&self, whole: &[Instruction], width: u64) -> Vec<Instruction> {
        let part = |name: &str| format!("{name}.rows");
        let mut made = Vec::new();
        let mut scattered = false;
        for instruction in whole {
            match instruction {
                Instruction::Collective { buffer, .. } => {
                    made.push(self.collective(CollectiveKind::ReduceScatter, buffer, &part(buffer)));
                }
                Instruction::Kernel { op: Op::Add, .. } => {
                    if !scattered {
                        let (buffer, out) = ("x".to_owned(), part("x"));
                        made.push(Instruction::Slice { buffer, start: 0, end: width, out, time: Picoseconds(0) });
                    }
                    made.push(renamed(instruction, &part));
                    if scattered {
                        made.push(self.collective(CollectiveKind::AllGather, "x.rows", "x"));
                    }
                    scattered = true;
                }
                Instruction::Kernel { op: Op::RmsNorm { .. }, .. } if scattered => {
                    made.push(renamed(instruction, &part));
                    made.push(self.collective(CollectiveKind::AllGather, "h.rows", "h"));
                }
                other => made.push(other.clone()),
            }
        }
        made
    }
}

/// A kernel on the parts of its buffers.
fn renamed(kernel: &Instruction, part: &impl Fn(&str) -> String) -> Instruction {
    let mut kernel = kernel.clone();
    if let Instruction::Kernel { inputs, out, .. } = &mut kernel {
        inputs.iter_mut().chain([out]).for_each(|name| *name = part(name));
    }
    kernel
}

/// The plan with all layers by rows.
fn by_rows(case: &Case, parts: &[u64]) -> Plan {
    let mut plan = case.plan();
    let width = case.sizes.width;
    for (rank, sail) in plan.sails.iter_mut().enumerate() {
        let share = RowShare::among(parts, rank).unwrap();
        let ways = ByRows { parts, group: sail.group.clone() };
        let end = sail.memory.activations.aligned(64).0;
        let bytes = share.most(case.request.chunk) * width * 4;
        for program in [&mut sail.prefill, &mut sail.decode] {
            for (place, name) in ["x.rows", "o.rows", "h.rows"].into_iter().enumerate() {
                program.buffers.push(Buffer {
                    name: name.to_owned(),
                    rows: Dim::Part(share),
                    columns: width,
                    dtype: DType::F32,
                    bytes: Bytes(bytes),
                    offset: Bytes(end + bytes * place as u64),
                });
            }
            rewrite(program, &ways, width);
        }
        sail.memory.activations = Bytes(end + bytes * 3);
    }
    plan
}

fn rewrite(program: &mut Program, ways: &ByRows<'_>, width: u64) {
    for instruction in &mut program.instructions {
        if let Instruction::Repeat { body, .. } = instruction {
            *body = ways.body(body, width);
        }
    }
}

fn run(plan: &Plan, file: &WeightFile, prefill: usize) -> Report {
    let session = Session { prefill, ..Session::new(vec![1, 17, 42, 7, 90, 3, 64], 4) };
    replay_on::<Cpu>(plan, &file.index, &session).expect("a report")
}

/// Chunks of 1 to 4 rows over three cards, and single rows in decode: parts of one row more than others, and of none.
#[test]
fn parts_of_rows_give_the_bits_of_all() {
    let sizes = Sizes { dtype: DType::Q4_0, ..Sizes::default() };
    let file = WeightFile::new(&sizes, "rows");
    let bounds = [(0, 0, 0), (2, 160, 64), (3, 320, 96), (4, 512, 96)];
    let share = |pair: &[(u64, u64, u64)]| Share {
        kv_heads: pair[0].0..pair[1].0,
        ffn: pair[0].1..pair[1].1,
        vocabulary: pair[0].2..pair[1].2,
    };
    let shares = bounds.windows(2).map(share).collect();
    let groups = vec![Group { layers: 0..sizes.layers, shares }];
    let case = Case { groups, algorithm: Algorithm::Direct, ..Case::alone(sizes) };
    for prefill in 1..=7 {
        let whole = run(&case.plan(), &file, prefill);
        for parts in [[1, 1, 1], [2, 0, 1], [1, 3, 1], [0, 0, 1]] {
            let found = run(&by_rows(&case, &parts), &file, prefill);
            assert_eq!(found.logits, whole.logits, "{parts:?}, {prefill} tokens at first");
        }
    }
}
