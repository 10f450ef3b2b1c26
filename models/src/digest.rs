//! The digest of a model: SHA-256 over what planning depends on, in a form of its own, so that neither the layout of
//! a struct nor how a value is printed can change it.

use sailplan_ir::{Constant, Dim, Graph, Node, Op, Role, Scores, Tensor};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// `sha256:` and the hash, in hexadecimal, of names, shapes, types and operators.
pub(crate) fn digest(graph: &Graph) -> String {
    let mut hash = Sha256::new();
    hash.update(b"sailplan model 1\n");
    for tensor in &graph.tensors {
        hash.update(tensor_line(tensor));
    }
    for node in &graph.nodes {
        hash.update(node_line(node));
    }
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The name's length comes first: no name can be read as the rest of another line.
fn tensor_line(tensor: &Tensor) -> String {
    let role = match tensor.role {
        Role::Tokens => "tokens",
        Role::Weight => "weight",
        Role::Cache => "cache",
        Role::Input => "input",
        Role::Value => "value",
    };
    let mut line = format!("{role} {} {} {}", tensor.name.len(), tensor.name, tensor.dtype.ggml());
    for axis in &tensor.axes {
        let _ = match axis {
            Dim::Fixed(size) => write!(line, " {size}"),
            Dim::Tokens => write!(line, " t"),
            Dim::Context => write!(line, " c"),
            Dim::Outputs => write!(line, " o"),
            Dim::Part(share) => write!(line, " t {share}"),
        };
    }
    line.push('\n');
    line
}

fn node_line(node: &Node) -> String {
    let mut line = format!("{} {:?} <-", node.op.row().name, attributes(node.op));
    for input in &node.inputs {
        let _ = write!(line, " {}", input.index());
    }
    let _ = writeln!(line, " -> {}", node.output.index());
    line
}

fn attributes(op: Op) -> Vec<u32> {
    match op {
        Op::RmsNorm { epsilon } => vec![epsilon.0.to_bits()],
        Op::HeadNorm { head_dim, epsilon } => vec![head_dim, epsilon.0.to_bits()],
        Op::Rope { head_dim, rotary_dim, base, pairs } => {
            let plain = vec![head_dim, rotary_dim, base.0.to_bits()];
            if pairs.adjacent() { plain } else { [plain, vec![1]].concat() }
        }
        Op::KvAppend { head_dim } => vec![head_dim],
        Op::Attention { heads, kv_heads, head_dim, scores } => {
            let plain = vec![heads, kv_heads, head_dim];
            if scores.plain() { plain } else { [plain, score_attributes(scores)].concat() }
        }
        Op::Scale { factor: constant } | Op::SoftCap { cap: constant } => vec![constant.0.to_bits()],
        Op::Route { used, renormalise } => vec![used, u32::from(renormalise)],
        Op::Experts { experts, used } => vec![experts, used],
        Op::Embed | Op::Linear | Op::Bias | Op::SwiGlu | Op::GeGlu | Op::Add | Op::LastToken => Vec::new(),
        Op::LinearSwiGlu | Op::LinearGeGlu => Vec::new(),
    }
}

/// For each attribute whether it is there, and what it is.
fn score_attributes(scores: Scores) -> Vec<u32> {
    let bits = |constant: Option<Constant>| constant.map(|constant| constant.0.to_bits());
    let all = [bits(scores.scale), bits(scores.softcap), scores.window];
    all.into_iter().flat_map(|attribute| [u32::from(attribute.is_some()), attribute.unwrap_or(0)]).collect()
}
