//! Compares the tensor table with the weights that the graph reads, and makes the weight index of it.

use super::tensors::TensorInfo;
use crate::report::shown;
use sailplan_ir::{At, Bytes, DType, Diagnostic, Diagnostics, Extents, Graph, Role, WeightEntry, WeightIndex};
use std::collections::BTreeMap;

/// The type of every tensor, by name.
pub(crate) fn dtypes(tensors: &[TensorInfo<'_>]) -> BTreeMap<String, DType> {
    tensors.iter().filter_map(|tensor| Some((tensor.name.clone().into_owned(), tensor.dtype?))).collect()
}

/// Every weight is in the file with its shape, and every tensor of the file is used or known to be harmless.
pub(crate) fn check(file: &str, graph: &Graph, tensors: &[TensorInfo<'_>]) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    if let Some(tensor) = tensors.iter().find(|tensor| is_single_expert(&tensor.name)) {
        let message =
            format!("tensor `{}` is one expert by itself; only stacked experts are supported", shown(&tensor.name));
        let hint = "the file was made before April 2024; convert the model again with a current llama.cpp";
        return Err(Diagnostic::new(message).hint(hint).at(file, At::Name(shown(&tensor.name))).into());
    }
    let mut wanted = shapes(graph);
    for tensor in tensors {
        let expected = wanted.remove(tensor.name.as_ref());
        if let Some((message, hint)) = misfit(tensor, expected.as_deref()) {
            problems.push(Diagnostic::new(message).hint(hint).at(file, At::Name(shown(&tensor.name))));
        }
    }
    for (name, expected) in wanted {
        let problem = Diagnostic::new(format!("tensor `{name}` {expected:?} is missing"));
        let hint = "the file is no complete model; convert it again";
        problems.push(problem.hint(hint).at(file, At::Name(name.to_owned())));
    }
    problems.into_result(())
}

/// What is wrong with a tensor of the file, and a hint.
fn misfit(tensor: &TensorInfo<'_>, expected: Option<&[u64]>) -> Option<(String, &'static str)> {
    let (name, found) = (shown(&tensor.name), &tensor.dims);
    match expected {
        Some(expected) if same_shape(found, expected) => None,
        Some(expected) => {
            let message = format!("tensor `{name}` has shape {found:?}, expected {expected:?}");
            Some((message, "shapes are rows first; the metadata and the tensors do not fit together"))
        }
        None if harmless(&tensor.name) => None,
        None => {
            let message = format!("tensor `{name}` {found:?} has no place in this model");
            Some((message, "leaving it out would compute another model; this variant is not supported"))
        }
    }
}

/// Where each tensor lies; shapes as the graph has them where it uses the tensor.
pub(crate) fn index(file: &str, graph: &Graph, tensors: &[TensorInfo<'_>]) -> WeightIndex {
    let mut shapes = shapes(graph);
    let entry = |tensor: &TensorInfo<'_>| {
        let dims = shapes.remove(tensor.name.as_ref()).unwrap_or_else(|| tensor.dims.clone());
        let dtype = tensor.dtype?;
        let entry = WeightEntry { file: 0, offset: tensor.offset, bytes: Bytes(tensor.bytes), dims, dtype };
        Some((tensor.name.clone().into_owned(), entry))
    };
    WeightIndex { files: vec![file.to_owned()], tensors: tensors.iter().filter_map(entry).collect() }
}

fn shapes(graph: &Graph) -> BTreeMap<&str, Vec<u64>> {
    let none = Extents { tokens: 0, context: 0, outputs: 0 };
    let shape = |id| {
        let tensor: &sailplan_ir::Tensor = &graph[id];
        (tensor.name.as_str(), tensor.axes.iter().map(|axis| axis.size(none)).collect())
    };
    graph.with_role(Role::Weight).map(shape).collect()
}

/// Outer extents of 1 are not always written.
fn same_shape(found: &[u64], expected: &[u64]) -> bool {
    let significant = |dims: &[u64]| -> Vec<u64> { dims.iter().copied().skip_while(|&dim| dim == 1).collect() };
    significant(found) == significant(expected)
}

/// `blk.N.ffn_gate.E.weight` and its like, one tensor for each expert, as early mixtures were written.
fn is_single_expert(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    matches!(parts[..], ["blk", layer, "ffn_gate" | "ffn_up" | "ffn_down", expert, "weight"] if number(layer) && number(expert))
}

/// Tables of rotary frequencies that old converters wrote and that llama.cpp ignores too.
fn harmless(name: &str) -> bool {
    name.ends_with(".attn_rot_embd")
        || name.ends_with(".attn_rot_embd.weight")
        || name.ends_with(".rotary_emb.inv_freq")
}
