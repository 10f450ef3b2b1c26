//! Text forms of models, forms and placements: canonical, one line an operator, for snapshots and for `dump`.

use crate::{Action, Choice, Domains, Form, Graph, Layout, Model, Placement, Program, Role, TensorId};
use std::fmt::Write;

/// The chain of segments and the operators of each class.
#[must_use]
pub fn model_text(model: &Model) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("model {} from {}", model.name, model.source));
    line(format!("weights {} in {} parameters", model.weight_bytes(), model.parameters()));
    for (class, count, first) in runs(model) {
        let layer = first.map_or(String::new(), |layer| format!(" layers {layer}..{}", layer + count));
        line(format!("segment {}{layer}", model.classes[class].name));
    }
    for class in &model.classes {
        text.push('\n');
        text.push_str(&class_text(&class.name, &class.template));
    }
    text
}

/// Consecutive segments of one class: class index, count, first layer.
fn runs(model: &Model) -> Vec<(usize, u32, Option<u32>)> {
    let mut runs: Vec<(usize, u32, Option<u32>)> = Vec::new();
    for segment in &model.segments {
        match runs.last_mut() {
            Some(run) if run.0 == segment.class.index() && segment.layer.is_some() => run.1 += 1,
            _ => runs.push((segment.class.index(), 1, segment.layer)),
        }
    }
    runs
}

/// The leaves and operators of one class.
#[must_use]
pub fn class_text(name: &str, graph: &Graph) -> String {
    let mut text = format!("class {name}\n");
    for (index, tensor) in graph.tensors.iter().enumerate() {
        if tensor.role != Role::Value {
            let role = format!("{:?}", tensor.role).to_lowercase();
            let _ = writeln!(text, "  {role} {}", typed(graph, TensorId(index as u32)));
        }
    }
    for node in &graph.nodes {
        let inputs: Vec<&str> = node.inputs.iter().map(|&input| graph[input].name.as_str()).collect();
        let _ = writeln!(text, "  {} = {}({})", typed(graph, node.output), node.op.row().name, inputs.join(", "));
    }
    text
}

fn typed(graph: &Graph, id: TensorId) -> String {
    let tensor = &graph[id];
    let axes: Vec<String> = tensor.axes.iter().map(ToString::to_string).collect();
    format!("{}: {}[{}]", tensor.name, tensor.dtype, axes.join(", "))
}

/// Both programs of a form; `{…}` after a name is its layout, `beside` the first product of a joint kernel.
#[must_use]
pub fn form_text(template: &Graph, form: &Form) -> String {
    let mut text = String::new();
    if form.prefill == form.decode {
        text.push_str("  both:\n");
        program_text(template, &form.decode, &mut text);
    } else {
        text.push_str("  prefill:\n");
        program_text(template, &form.prefill, &mut text);
        text.push_str("  decode:\n");
        program_text(template, &form.decode, &mut text);
    }
    text
}

fn program_text(template: &Graph, program: &Program, text: &mut String) {
    let name = |index: usize| {
        let made = &program.instructions[index];
        match made.layout {
            Layout::Whole => template[made.tensor].name.clone(),
            layout => format!("{}{{{layout}}}", template[made.tensor].name),
        }
    };
    let joint = program.joint(template, &Domains::of(template));
    for (index, made) in program.instructions.iter().enumerate() {
        let action = match made.action {
            Action::Leaf => continue,
            Action::Compute(node) => template[node].op.row().name.to_owned(),
            action => action.to_string(),
        };
        let inputs: Vec<String> = made.inputs.iter().map(|input| name(input.index())).collect();
        let kernel = joint.iter().find(|kernel| kernel[1..].contains(&index));
        let beside = kernel.map_or(String::new(), |kernel| format!(" beside {}", name(kernel[0])));
        let _ = writeln!(text, "    {} = {action}({}){beside}", name(index), inputs.join(", "));
    }
}

/// Stages with their groups, forms and memory, the certificate and the estimate.
#[must_use]
pub fn placement_text(model: &Model, placement: &Placement) -> String {
    let mut text = String::new();
    let several = placement.stages.iter().any(|stage| stage.replica > 0);
    for (index, stage) in placement.stages.iter().enumerate() {
        let sails: Vec<String> = stage.sails.iter().map(ToString::to_string).collect();
        let replica = if several { format!(" of replica {}", stage.replica) } else { String::new() };
        let _ = writeln!(text, "stage {index}{replica} on {}", sails.join(" "));
        if let Some(hop) = &stage.hop {
            let _ = writeln!(text, "  from {} in {} (decode)", hop.from, hop.decode.0 + hop.decode.1);
        }
        let mut start = 0;
        while start < stage.assignment.len() {
            let choice = stage.assignment[start];
            let end = start + stage.assignment[start..].iter().take_while(|other| **other == choice).count();
            let first = stage.segments.start as usize + start;
            let class = &model.classes[model.segments[first].class.index()];
            let range = format!("segments {first}..{}", first + end - start);
            let _ = writeln!(text, "  {range} {} as choice {choice}", class.name);
            start = end;
        }
        for (choice, chosen) in stage.choices.iter().enumerate() {
            choice_text(model, choice, chosen, &mut text);
        }
        for (sail, memory) in stage.sails.iter().zip(&stage.memory) {
            let parts = format!("{} weights, {} kv, {} activations", memory.weights, memory.kv, memory.activations);
            let _ = writeln!(text, "  memory {sail}: {parts}");
        }
    }
    let unused: Vec<String> = placement.unused.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "unused: {}", if unused.is_empty() { "none".to_owned() } else { unused.join(" ") });
    let (certificate, estimate) = (&placement.certificate, &placement.estimate);
    let _ =
        writeln!(text, "certificate: {:?} by {} over {}", certificate.status, certificate.method, certificate.space);
    let _ = writeln!(text, "prefill {}, decode {}, request {}", estimate.prefill, estimate.decode, estimate.request);
    let _ = writeln!(text, "objective {}, bound {}", estimate.objective, certificate.bound);
    text
}

fn choice_text(model: &Model, index: usize, choice: &Choice, text: &mut String) {
    let class = &model.classes[choice.form.class.index()];
    let prefill: crate::Picoseconds = choice.prefill.iter().map(|price| price.time).sum();
    let decode: crate::Picoseconds = choice.decode.iter().map(|price| price.time).sum();
    let _ = writeln!(text, "  choice {index} of {}: prefill {prefill}, decode {decode}", class.name);
    if !choice.streams.is_empty() {
        let time: crate::Picoseconds = choice.streams.iter().map(|streamed| streamed.time).sum();
        let _ = writeln!(text, "    its weights stay on the host: {time} more in each phase");
    }
    text.push_str(&form_text(&class.template, &choice.form));
}
