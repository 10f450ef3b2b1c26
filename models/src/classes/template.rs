//! The template of one segment: its operators over tensors numbered in order of first use, without names; and the
//! pattern that gives the names back.

use sailplan_ir::{Graph, Node, NodeId, Role, TensorId};
use std::collections::BTreeMap;

/// A segment as a member of its class.
pub(crate) struct Binding {
    pub(crate) layer: Option<u32>,
    pub(crate) tensors: Vec<TensorId>,
}

/// The nameless template of some nodes and the model tensor behind each of its tensors. A value made elsewhere is
/// the input.
pub(crate) fn template(graph: &Graph, nodes: &[NodeId], first: bool) -> (Graph, Vec<TensorId>) {
    let mut shape = Graph::default();
    let mut tensors = Vec::new();
    let mut local = BTreeMap::new();
    for &id in nodes {
        let node = &graph[id];
        for &tensor in node.inputs.iter().chain([&node.output]) {
            local.entry(tensor).or_insert_with(|| {
                let outside = !first && graph[tensor].role == Role::Value && tensor != node.output;
                let role = if outside { Role::Input } else { graph[tensor].role };
                tensors.push(tensor);
                shape.tensor("", &graph[tensor].axes, graph[tensor].dtype, role)
            });
        }
        let inputs = node.inputs.iter().filter_map(|input| local.get(input).copied()).collect();
        if let Some(&output) = local.get(&node.output) {
            shape.nodes.push(Node { op: node.op, inputs, output });
        }
    }
    (shape, tensors)
}

/// A name with `{layer}` that gives the name of this tensor in every segment; values and inputs keep the first
/// segment's name, because nothing outside the segment refers to them by name.
pub(crate) fn name_pattern(graph: &Graph, shape: &Graph, bindings: &[Binding], local: usize) -> Option<String> {
    let name = |binding: &Binding| binding.tensors.get(local).map(|&id| graph[id].name.as_str());
    let first = bindings.first()?;
    let own = name(first)?;
    let role = shape.tensors.get(local)?.role;
    let Some(layer) = first.layer.filter(|_| matches!(role, Role::Weight | Role::Cache)) else {
        return Some(own.to_owned());
    };
    let fits = |pattern: &String| {
        bindings.iter().all(|binding| {
            let number = binding.layer.map_or(String::new(), |layer| layer.to_string());
            name(binding) == Some(pattern.replace("{layer}", &number).as_str())
        })
    };
    candidates(own, &layer.to_string()).into_iter().find(fits)
}

/// The name with every run of digits that reads as the layer's number replaced, with one of them replaced, and as
/// it is.
fn candidates(name: &str, number: &str) -> Vec<String> {
    let runs: Vec<usize> = digit_runs(name).filter(|&(_, run)| run == number).map(|(start, _)| start).collect();
    let replaced = |starts: &[usize]| {
        let mut pattern = String::new();
        let mut done = 0;
        for &start in starts {
            pattern.push_str(name.get(done..start).unwrap_or(""));
            pattern.push_str("{layer}");
            done = start + number.len();
        }
        pattern.push_str(name.get(done..).unwrap_or(""));
        pattern
    };
    let mut patterns = vec![replaced(&runs)];
    patterns.extend(runs.iter().map(|&start| replaced(&[start])));
    patterns.push(name.to_owned());
    patterns
}

fn digit_runs(name: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = name.get(at..)?;
        let start = at + rest.find(|c: char| c.is_ascii_digit())?;
        let tail = name.get(start..)?;
        let run = tail.get(..tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len()))?;
        at = start + run.len();
        Some((start, run))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_replace_whole_numbers_only() {
        assert_eq!(
            candidates("v1.blk.1.w11", "1"),
            ["v{layer}.blk.{layer}.w11", "v{layer}.blk.1.w11", "v1.blk.{layer}.w11", "v1.blk.1.w11"]
        );
    }
}
