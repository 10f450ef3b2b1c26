//! Invariants of a graph: references, order, arity, shapes.

use crate::{Constant, Diagnostic, Diagnostics, Dim, Graph, Node, Op, Operand, Role, Verify};

impl Verify for Graph {
    fn problems(&self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        let mut made: Vec<bool> = self.tensors.iter().map(|tensor| tensor.role != Role::Value).collect();
        for tensor in &self.tensors {
            check_tensor(tensor, &mut problems);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node.op.row().name;
            let known = node.inputs.iter().chain([&node.output]).all(|id| id.index() < self.tensors.len());
            if !known {
                problems.push(Diagnostic::new(format!("n{index} ({name}) names a tensor that does not exist")));
                continue;
            }
            if let Some(input) = node.inputs.iter().find(|input| !made[input.index()]) {
                let input = &self[*input].name;
                problems.push(Diagnostic::new(format!("n{index} ({name}) reads `{input}` before it is made")));
            }
            if std::mem::replace(&mut made[node.output.index()], true) {
                let output = &self[node.output].name;
                problems.push(Diagnostic::new(format!("n{index} ({name}) makes `{output}` a second time")));
            }
            if let Err(reason) = check_shapes(self, node)
                .and_then(|()| check_experts(self, node))
                .and_then(|()| check_attributes(self, node))
            {
                problems.push(Diagnostic::new(format!("n{index} ({name} → `{}`): {reason}", self[node.output].name)));
            }
        }
        if self.nodes.is_empty() {
            problems.push(Diagnostic::new("the graph has no operators"));
        }
        problems
    }
}

fn check_tensor(tensor: &crate::Tensor, problems: &mut Diagnostics) {
    let name = &tensor.name;
    if tensor.axes.iter().any(|axis| axis.fixed() == Some(0)) {
        problems.push(Diagnostic::new(format!("tensor `{name}` has an axis of size 0")));
    }
    if let Some(part) = tensor.axes.iter().find(|axis| matches!(axis, Dim::Part(_))) {
        problems.push(Diagnostic::new(format!("tensor `{name}` has an axis of {part}; a model has all tokens")));
    }
    let elements = tensor.axes.iter().try_fold(1u64, |product, axis| product.checked_mul(axis.fixed().unwrap_or(1)));
    if elements.is_none_or(|elements| elements > 1 << 48) {
        problems.push(Diagnostic::new(format!("tensor `{name}` has more than 2^48 elements")));
    }
    if let Some(row) = tensor.axes.last().and_then(|axis| axis.fixed())
        && !row.is_multiple_of(tensor.dtype.block())
    {
        let (dtype, block) = (tensor.dtype, tensor.dtype.block());
        problems.push(Diagnostic::new(format!(
            "rows of `{name}` have {row} elements, not whole {dtype} blocks of {block}"
        )));
    }
}

/// Equal letters have equal sizes, except where the operator relates them by its atoms (heads).
fn check_shapes(graph: &Graph, node: &Node) -> Result<(), String> {
    let row = node.op.row();
    let (least, most) = row.arity();
    if !(least..=most).contains(&node.inputs.len()) {
        return Err(format!("takes {least} to {most} operands, has {}", node.inputs.len()));
    }
    let mut units: Vec<(char, Dim, u64)> = Vec::new();
    let inputs = node.inputs.iter().enumerate().map(|(index, &tensor)| (Operand::Input(index), tensor));
    for (operand, tensor) in inputs.chain([(Operand::Output, node.output)]) {
        let (letters, axes) = (row.letters(operand), &graph[tensor].axes);
        if letters.len() != axes.len() {
            return Err(format!("`{}` has {} axes, expected {}", graph[tensor].name, axes.len(), letters.len()));
        }
        for (letter, &dim) in letters.chars().zip(axes) {
            let atom = node.op.atom(letter);
            let counted = in_atoms(dim, atom)
                .ok_or_else(|| format!("axis {dim} of `{}` is not a multiple of {atom}", graph[tensor].name))?;
            match units.iter().find(|known| known.0 == letter) {
                Some(&(_, other, _)) if other != counted => {
                    return Err(format!("`{}` has {dim} where {other} × {atom} was expected", graph[tensor].name));
                }
                Some(_) => {}
                None => units.push((letter, counted, atom)),
            }
        }
    }
    check_covers(node, &units)
}

/// A letter that covers another one has as many atoms less as the operator says.
fn check_covers(node: &Node, units: &[(char, Dim, u64)]) -> Result<(), String> {
    let count = |letter| units.iter().find(|known| known.0 == letter).and_then(|known| known.1.fixed());
    let Some((cover, covered)) = node.op.row().covers else { return Ok(()) };
    let (each, cover, covered) = (node.op.covered_by_each(), count(cover), count(covered));
    if cover.zip(covered).is_some_and(|(cover, covered)| cover.checked_mul(each) == Some(covered)) {
        return Ok(());
    }
    let said = |count: Option<u64>| count.map_or("?".to_owned(), |count| count.to_string());
    Err(format!("{each} query heads read one KV head, but there are {} and {}", said(covered), said(cover)))
}

/// A token takes at least one expert and at most all that there are; the sizes are known to fit the signature.
fn check_experts(graph: &Graph, node: &Node) -> Result<(), String> {
    let (said, used) = match node.op {
        Op::Route { used, .. } => (None, used),
        Op::Experts { experts, used } => (Some(u64::from(experts)), used),
        _ => return Ok(()),
    };
    let gates = node.inputs.get(usize::from(said.is_some())).and_then(|&gates| graph[gates].axes.get(1)?.fixed());
    let experts = gates.ok_or("the number of experts is not fixed")?;
    if said.is_some_and(|said| said != experts) {
        return Err(format!("it says {} experts, its operands have {experts}", said.unwrap_or(0)));
    }
    if used == 0 || u64::from(used) > experts {
        return Err(format!("a token cannot take {used} of {experts} experts"));
    }
    Ok(())
}

/// What shapes cannot say: a gain for each element of a head, a window of at least the token itself, and constants that
/// give numbers.
fn check_attributes(graph: &Graph, node: &Node) -> Result<(), String> {
    let positive = |what: &str, constant: Constant| match constant.0 {
        value if value.is_finite() && value > 0.0 => Ok(()),
        value => Err(format!("{what} is {value}, not a positive number")),
    };
    match node.op {
        Op::HeadNorm { head_dim, .. } => {
            let gain = node.inputs.get(1).and_then(|&gain| graph[gain].axes.first()?.fixed());
            match gain {
                Some(gain) if gain == u64::from(head_dim) => Ok(()),
                _ => Err(format!("a head has {head_dim} elements and its gain has not")),
            }
        }
        Op::Attention { scores, .. } => {
            if scores.window == Some(0) {
                return Err("no token sees anything through a window of 0".into());
            }
            scores.scale.map_or(Ok(()), |scale| positive("the scale of the scores", scale))?;
            scores.softcap.map_or(Ok(()), |cap| positive("the cap of the scores", cap))
        }
        Op::Scale { factor } => positive("the factor", factor),
        Op::SoftCap { cap } => positive("the cap", cap),
        op if op.on_products().is_some() => Err("a model has its products and what is done to them one by one".into()),
        _ => Ok(()),
    }
}

fn in_atoms(dim: Dim, atom: u64) -> Option<Dim> {
    match dim {
        Dim::Fixed(size) if atom > 0 && size.is_multiple_of(atom) => Some(Dim::Fixed(size / atom)),
        Dim::Fixed(_) => None,
        symbol => Some(symbol),
    }
}
