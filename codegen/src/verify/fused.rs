//! What a kernel makes. One that does the work of several is followed operator by operator: the model must have each of them,
//! of what the kernel reads and of what the others make. No row of the operator table is believed for it.

use super::kernel::{self, Part};
use super::model::{Logical, Read};
use super::value::{Held, Value};
use sailplan_ir::Op;

/// An operand: which tensor it is, and how it is held.
pub(crate) type Operand = (Read, Part);

/// The value that a kernel makes of its operands.
pub(crate) fn made(logical: &Logical, (op, skip): (Op, u64), operands: &[Operand]) -> Result<Value, String> {
    match (op.on_products(), operands) {
        (Some(outer), &[x, one, other]) => {
            let product = |weight: Operand| {
                let made = applied(logical, (Op::Linear, 0), &[x, weight])?;
                Ok((Read::Value(made), part(logical, made)))
            };
            let products: Result<Vec<Operand>, String> = [one, other].into_iter().map(product).collect();
            let value = applied(logical, (outer, skip), &products?)?;
            let graph = &logical.classes[logical.segments[value.segment as usize].class].graph;
            // Right, but perhaps with weights that no one kernel takes.
            match graph.applied(|node| node.op == op && node.output.0 == value.tensor) {
                Some(_) => Ok(value),
                None => Err(format!("no {} makes {}", op.row().name, logical.name(value))),
            }
        }
        _ => applied(logical, (op, skip), operands),
    }
}

/// What one operator of the model makes.
fn applied(logical: &Logical, (op, skip): (Op, u64), operands: &[Operand]) -> Result<Value, String> {
    let (reads, parts): (Vec<Read>, Vec<Part>) = operands.iter().copied().unzip();
    let (segment, node) = logical
        .application(op, &reads)
        .ok_or_else(|| format!("the model has no {} of {}", op.row().name, named(logical, &reads)))?;
    let graph = &logical.classes[logical.segments[segment as usize].class].graph;
    let held = kernel::result(graph, (node, (segment, node.output.0)), skip, &parts)?;
    Ok(Value { segment, tensor: node.output.0, held })
}

/// How a value is held; cuts of columns are along its last axis.
pub(crate) fn part(logical: &Logical, value: Value) -> Part {
    let axis = logical.tensor(value).axes.len().saturating_sub(1);
    match value.held {
        Held::Whole => Part::Whole,
        Held::Cut(span) => Part::Cut(axis, span),
        Held::Rows(share) => Part::Rows(share),
        Held::Partial(sums) => Part::Partial(sums),
        Held::Dispatched(taken) => Part::Dispatched(taken),
        Held::Routed(_) => Part::Routed,
        Held::Positions(share) => Part::Positions(share),
        Held::Unmerged(_) => Part::Unmerged,
    }
}

fn named(logical: &Logical, reads: &[Read]) -> String {
    let name = |read: &Read| match read {
        Read::Value(value) => logical.name(*value),
        Read::Weight(global) => format!("`{}`", logical.tensors[*global as usize].name),
    };
    reads.iter().map(name).collect::<Vec<_>>().join(", ")
}
