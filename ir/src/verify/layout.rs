//! The typed-layout check of a sharded program: a fold that accepts exactly the legal combinations. It trusts the
//! operator table and the conversions below, and knows nothing of e-graphs or solvers.

use crate::{Action, Diagnostic, Diagnostics, Graph, Instruction, Layout, NodeId, Op, Operand, Program};

/// Checks that `program` computes the template's output: every value's layout follows from its operands, and every
/// operator is applied to the operands that the template gives it.
#[must_use]
pub fn check_layouts(template: &Graph, program: &Program) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for (index, made) in program.instructions.iter().enumerate() {
        if made.inputs.iter().any(|input| input.index() >= index) {
            problems.push(Diagnostic::new(format!("v{index} reads a value that is not made yet")));
            return problems;
        }
        if let Err(reason) = check(template, program, made) {
            problems.push(Diagnostic::new(format!("v{index} ({}): {reason}", made.action)));
        }
    }
    let result = program.output();
    if result.map(|made| Some(made.tensor)) != Some(template.output()) {
        problems.push(Diagnostic::new("the last value is not the template's output"));
    }
    problems
}

fn check(template: &Graph, program: &Program, made: &Instruction) -> Result<(), String> {
    let inputs: Vec<&Instruction> = program.inputs(made).collect();
    match (made.action, inputs.as_slice()) {
        (Action::Leaf, []) => match (template.producer(made.tensor), made.layout) {
            (None, Layout::Whole | Layout::Sharded(_)) => Ok(()),
            _ => Err("not a leaf of the template".into()),
        },
        (Action::Compute(node), _) => check_compute(template, node, made, &inputs),
        (Action::Dispatch, [input, gates]) if input.tensor == made.tensor => {
            let by = gates.layout == Layout::Whole && template.dispatched_by(made.tensor) == Some(gates.tensor);
            conversion(made, (input.layout, Layout::Sharded(0)), Layout::Dispatched, by)
        }
        (Action::Combine, [input, gates]) if input.tensor == made.tensor => {
            let by = gates.layout == Layout::Whole && template.combined_by(made.tensor) == Some(gates.tensor);
            conversion(made, (input.layout, Layout::Routed), Layout::Sharded(0), by)
        }
        (_, [input]) if input.tensor == made.tensor => {
            let legal = match made.action {
                Action::Slice => input.layout == Layout::Whole && matches!(made.layout, Layout::Sharded(_)),
                Action::AllGather => matches!(input.layout, Layout::Sharded(_)) && made.layout == Layout::Whole,
                Action::AllReduce => input.layout == Layout::Partial && made.layout == Layout::Whole,
                Action::ReduceScatter => input.layout == Layout::Partial && matches!(made.layout, Layout::Sharded(_)),
                Action::MergeScatter => input.layout == Layout::Unmerged && matches!(made.layout, Layout::Sharded(_)),
                Action::Collect => {
                    matches!(input.layout, Layout::Whole | Layout::Sharded(_)) && made.layout == Layout::Host
                }
                Action::Leaf | Action::Compute(_) | Action::Dispatch | Action::Combine => false,
            };
            if legal {
                Ok(())
            } else {
                Err(format!("{} applied to {} gives no {}", made.action, input.layout, made.layout))
            }
        }
        _ => Err("wrong operands".into()),
    }
}

/// A conversion by gates: from one layout to another, by the gates that the template's experts take.
fn conversion(made: &Instruction, (from, wanted): (Layout, Layout), to: Layout, by: bool) -> Result<(), String> {
    match () {
        () if !by => Err(format!("{} by other gates than the experts'", made.action)),
        () if from == wanted && made.layout == to => Ok(()),
        () => Err(format!("{} applied to {from} gives no {}", made.action, made.layout)),
    }
}

fn check_compute(template: &Graph, node: NodeId, made: &Instruction, inputs: &[&Instruction]) -> Result<(), String> {
    let logical = template.application(node).ok_or("no such node")?;
    if logical.output != made.tensor || !logical.inputs.iter().eq(inputs.iter().map(|input| &input.tensor)) {
        return Err("operands are not the template's".into());
    }
    let layouts: Vec<Layout> = inputs.iter().map(|input| input.layout).collect();
    match layout_after(template, node, &layouts) {
        Some(layout) if layout == made.layout => Ok(()),
        Some(layout) => Err(format!("gives {layout}, not {}", made.layout)),
        None => Err(format!("operands {layouts:?} have no common cut")),
    }
}

/// The layout of a node's result on operands in these layouts; `None` when the combination means nothing.
#[must_use]
pub fn layout_after(template: &Graph, node: NodeId, operands: &[Layout]) -> Option<Layout> {
    let row = template[node].op.row();
    if let (Op::Experts { .. }, Some((Layout::Dispatched, others))) = (template[node].op, operands.split_first()) {
        // What the experts make of the rows that were sent to them, where they are cut as the gates say.
        let alike = [&[Layout::Whole], others].concat();
        let by_gates = others.first() == Some(&Layout::Sharded(1));
        return layout_after(template, node, &alike).filter(|_| by_gates).map(|_| Layout::Routed);
    }
    if operands.iter().all(|layout| *layout == Layout::Whole) {
        return Some(Layout::Whole);
    }
    if operands.contains(&Layout::Partial) {
        let expected = |input| if row.linear.contains(&input) { Layout::Partial } else { Layout::Whole };
        let linear = operands.iter().enumerate().all(|(input, layout)| *layout == expected(input));
        return linear.then_some(Layout::Partial);
    }
    let cut = operands.iter().enumerate().find_map(|(index, layout)| match layout {
        Layout::Sharded(axis) => row.letters(Operand::Input(index)).chars().nth(usize::from(*axis)),
        _ => None,
    })?;
    let agrees = operands.iter().enumerate().all(|(index, layout)| {
        let axis = row.cut_axis(Operand::Input(index), cut);
        match (axis, layout) {
            (Some(axis), Layout::Sharded(held)) => axis == usize::from(*held),
            (None, Layout::Whole) => true,
            _ => false,
        }
    });
    if !agrees {
        None
    } else if row.contract.contains(cut) {
        Some(Layout::Partial)
    } else if row.merge.is_some_and(|(summed, _)| summed == cut) {
        Some(Layout::Unmerged)
    } else if row.split.contains(cut) || (cut == 't' && template.routes(&template[node])) {
        row.output().chars().position(|letter| letter == cut).map(|axis| Layout::Sharded(axis as u8))
    } else {
        None
    }
}
