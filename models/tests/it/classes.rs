//! Layer classes are found by structure: names do not matter, types and shapes do.

use sailplan_ir::{Graph, Model, Role, Verified};
use sailplan_models::{from_graph, load_zoo};

fn zoo(name: &str) -> Verified<Model> {
    load_zoo(name).unwrap_or_else(|problems| panic!("{problems}")).model
}

fn renamed(graph: &Graph, name: impl Fn(usize, &str) -> String) -> Verified<Model> {
    let mut graph = graph.clone();
    for (index, tensor) in graph.tensors.iter_mut().enumerate() {
        tensor.name = name(index, &tensor.name);
    }
    from_graph("renamed", graph).unwrap_or_else(|problems| panic!("{problems}"))
}

fn names(model: &Model) -> Vec<&str> {
    model.classes.iter().map(|class| class.name.as_str()).collect()
}

#[test]
fn one_class_of_equal_layers() {
    let model = zoo("tinyllama-1.1b");
    assert_eq!(names(&model), ["embed", "layer", "head"]);
    assert_eq!(model.layers(), 22);
    assert_eq!(
        model.segments.iter().filter_map(|segment| segment.layer).collect::<Vec<_>>(),
        (0..22).collect::<Vec<_>>()
    );
    assert!(model.classes.iter().all(|class| class.patterned));
    let nodes: Vec<usize> = model.classes.iter().map(|class| class.template.nodes.len()).collect();
    assert_eq!(nodes, [1, 17, 3]);
    let inputs = |class: usize| model.classes[class].template.with_role(Role::Input).count();
    assert_eq!((inputs(0), inputs(1), inputs(2)), (0, 1, 1));
}

#[test]
fn a_mixed_quantisation_has_two_classes() {
    for (name, better) in [("tinyllama-1.1b-q4_k_m", 10), ("llama-2-7b-q4_k_m", 16), ("llama-3-70b-q4_k_m", 40)] {
        let model = zoo(name);
        assert_eq!(names(&model), ["embed", "layer.a", "layer.b", "head"], "{name}");
        let first = model.segments.iter().filter(|segment| model.class(segment.class).name == "layer.a").count();
        assert_eq!(first, better, "{name}");
        assert!(model.classes.iter().all(|class| class.patterned), "{name}");
    }
}

#[test]
fn names_give_way_to_structure() {
    let model = zoo("tinyllama-1.1b-q4_k_m");
    let other = renamed(&model.graph, |index, _| format!("tensor with index {}", index * 7 % 1009));
    assert_eq!(names(&other), names(&model));
    assert_eq!(other.segments, model.segments);
    let patterned: Vec<bool> = other.classes.iter().map(|class| class.patterned).collect();
    assert_eq!(patterned, [true, false, false, true]);
    assert_eq!(other.classes[1].template.tensors[1].name, other.graph[other.segments[1].tensors[1]].name);
}

#[test]
fn other_patterns_are_found() {
    let model = zoo("tinyllama-1.1b");
    let other = renamed(&model.graph, |_, name| match name.strip_prefix("blk.") {
        Some(rest) => format!("v1.model.layers.{}", rest.replace('.', "_")),
        None => name.to_owned(),
    });
    let layer = &other.classes[1];
    assert!(layer.patterned);
    let weights = layer.template.with_role(Role::Weight).map(|id| layer.template[id].name.clone());
    assert!(weights.into_iter().all(|name| name.starts_with("v1.model.layers.{layer}_")));
}

#[test]
fn patterns_give_the_names_back() {
    for shipped in sailplan_models::zoo() {
        let model = zoo(shipped.name);
        for segment in &model.segments {
            let template = &model.class(segment.class).template;
            for (local, &global) in segment.tensors.iter().enumerate() {
                let pattern = &template.tensors[local];
                if matches!(pattern.role, Role::Weight | Role::Cache) {
                    let number = segment.layer.map_or(String::new(), |layer| layer.to_string());
                    assert_eq!(pattern.name.replace("{layer}", &number), model.graph[global].name);
                }
            }
        }
    }
}

#[test]
fn a_tied_head_binds_the_table() {
    let text = crate::zoo::text("tinyllama-1.1b").replace("tied: false", "tied: true").replace(", output: Q6_K", "");
    let model = sailplan_models::from_ron("tied.ron", &text).unwrap_or_else(|problems| panic!("{problems}")).model;
    let (embed, head) = (&model.segments[0], &model.segments[23]);
    assert!(head.tensors.iter().any(|id| embed.tensors.contains(id) && model.graph[*id].name == "token_embd.weight"));
}

#[test]
fn a_node_that_serves_nothing_is_named() {
    let mut graph = zoo("tinyllama-1.1b").graph.clone();
    let (last, x) = (graph.nodes.pop().expect("a head"), graph.nodes[0].output);
    let axes = graph[x].axes.clone();
    graph.apply(sailplan_ir::Op::Add, &[x, x], "stray", &axes);
    graph.nodes.push(last);
    let problems = from_graph("stray", graph).expect_err("a stray node").to_string();
    assert!(problems.contains("`stray`) is not needed for the output"), "{problems}");
}
