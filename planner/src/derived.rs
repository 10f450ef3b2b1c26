//! Tests only: the ways of cutting a decoder that the rules must find, each looked up in the saturated classes.

use crate::analysis::Fact;
use crate::saturate::{Choices, WayAction, saturate};
use sailplan_ir::Layout::{Dispatched, Host, Partial, Routed, Sharded, Unmerged, Whole};
use sailplan_ir::{DType, Dim, Graph, Layout, Node, Op, Role, layout_after};

/// Choices of one class of a small grouped-query decoder.
fn choices(class: &str) -> Choices {
    saturated(class, "")
}

/// Choices of its layer with four experts instead of one feed-forward part.
fn mixture() -> Choices {
    saturated("layer", "experts: 4, experts_used: 2,")
}

/// Choices of a class with norms of heads, a window, caps and norms after its parts.
fn variant(class: &str) -> Choices {
    saturated(
        class,
        "head_norms: true, rope_pairs: halves, window: 4, score_cap: 5.0, logit_cap: 3.0, activation: gelu,
         post_norms: true, scaled_embedding: true,",
    )
}

fn saturated(class: &str, more: &str) -> Choices {
    let text = format!(
        "Decoder(name: \"d\", hidden: 64, layers: 2, heads: 4, kv_heads: 2, ffn: 96, vocab: 50, context: 16, {more}
         norm_epsilon: 1e-5, rope_base: 1e4, tied: false, dtypes: Dtypes(default: Q4_0))"
    );
    let model = sailplan_models::from_ron("d.ron", &text).unwrap().model;
    let found = model.classes.iter().find(|found| found.name == class).unwrap();
    saturate(&found.template, class == "head").unwrap()
}

/// Whether `tensor` in `layout` can be made by `action` from operands in these layouts.
fn can(choices: &Choices, tensor: &str, layout: Layout, action: &str, operands: &[Layout]) -> bool {
    let graph = &choices.template.graph;
    choices.classes.iter().any(|class| {
        let named = &graph[class.fact.tensor];
        named.name == tensor
            && named.role == Role::Value
            && class.fact.layout == layout
            && class.ways.iter().any(|way| {
                let name = match way.action {
                    WayAction::Compute(_) => "compute".to_owned(),
                    other => other.action().to_string(),
                };
                let from: Vec<Layout> = way.inputs.iter().map(|&input| choices.classes[input].fact.layout).collect();
                name == action && from == operands
            })
    })
}

#[test]
fn columns_are_split() {
    let layer = choices("layer");
    for tensor in ["q", "k", "v", "gate", "up", "attn_out", "ffn_out"] {
        assert!(can(&layer, tensor, Sharded(1), "compute", &[Whole, Sharded(0)]), "{tensor}");
    }
}

#[test]
fn rows_are_split_with_an_all_reduce() {
    let layer = choices("layer");
    for tensor in ["attn_out", "ffn_out"] {
        assert!(can(&layer, tensor, Partial, "compute", &[Sharded(1), Sharded(1)]), "{tensor}");
        assert!(can(&layer, tensor, Whole, "all-reduce", &[Partial]), "{tensor}");
    }
}

#[test]
fn attention_is_split_by_heads_with_its_caches() {
    let layer = choices("layer");
    for cache in ["k_all", "v_all"] {
        assert!(can(&layer, cache, Sharded(1), "compute", &[Sharded(1), Sharded(1)]), "{cache}");
    }
    assert!(can(&layer, "q_rope", Sharded(1), "compute", &[Sharded(1)]));
    assert!(can(&layer, "attn", Sharded(1), "compute", &[Sharded(1), Sharded(1), Sharded(1)]));
}

/// Flash-decoding (Dao et al. 2023) over cards: each attends to the positions that it keeps, and softmaxes merge.
#[test]
fn attention_is_split_by_positions_with_its_caches() {
    for layer in [choices("layer"), variant("layer"), mixture()] {
        for cache in ["k_all", "v_all"] {
            assert!(can(&layer, cache, Sharded(0), "compute", &[Sharded(0), Whole]), "{cache}");
        }
        assert!(can(&layer, "attn", Unmerged, "compute", &[Whole, Sharded(0), Sharded(0)]));
        assert!(can(&layer, "attn", Sharded(1), "merge-scatter", &[Unmerged]));
        assert!(!can(&layer, "attn", Whole, "all-reduce", &[Unmerged]));
        assert!(!can(&layer, "attn_out", Unmerged, "compute", &[Unmerged, Whole]));
    }
}

#[test]
fn everything_is_replicated() {
    let layer = choices("layer");
    for node in &layer.template.graph.nodes {
        let operands = vec![Whole; node.inputs.len()];
        let tensor = &layer.template.graph[node.output].name;
        assert!(can(&layer, tensor, Whole, "compute", &operands), "{tensor}");
    }
}

#[test]
fn an_all_reduce_is_a_reduce_scatter_and_an_all_gather() {
    let layer = choices("layer");
    for tensor in ["attn_out", "ffn_out"] {
        assert!(can(&layer, tensor, Sharded(1), "reduce-scatter", &[Partial]), "{tensor}");
        assert!(can(&layer, tensor, Whole, "all-gather", &[Sharded(1)]), "{tensor}");
    }
    assert!(can(&layer, "x_attn", Sharded(1), "compute", &[Sharded(1), Sharded(1)]), "the sum in between is sliced");
}

/// Sequence parallelism (Korthikanti et al. 2023): sums are scattered by tokens, the residual is added and normed on each
/// rank's tokens, and what comes out is gathered.
#[test]
fn norms_and_sums_are_split_by_tokens() {
    for (layer, out) in [(choices("layer"), "ffn_out"), (variant("layer"), "ffn_out"), (mixture(), "ffn_out")] {
        assert!(can(&layer, "attn_out", Sharded(0), "reduce-scatter", &[Partial]));
        assert!(can(&layer, "ffn_norm", Sharded(0), "compute", &[Sharded(0), Whole]));
        assert!(can(&layer, "ffn_norm", Whole, "all-gather", &[Sharded(0)]));
        assert!(can(&layer, "x_attn", Sharded(0), "compute", &[Sharded(0), Sharded(0)]));
        assert!(can(&layer, out, Sharded(0), "reduce-scatter", &[Partial]));
    }
    assert!(can(&variant("layer"), "attn_post_norm", Sharded(0), "compute", &[Sharded(0), Whole]));
}

/// Positions are not carried along, and products would read all weights for a part of the tokens, but for a router's, which
/// are small.
#[test]
fn nothing_else_is_split_by_tokens() {
    for layer in [choices("layer"), variant("layer"), mixture()] {
        let graph = &layer.template.graph;
        let domains = &layer.template.domains;
        let by_rows = |fact: Fact| fact.layout == Sharded(0) && !domains.is_positions(domains.domain(fact.tensor, 0));
        for class in layer.classes.iter().filter(|class| by_rows(class.fact)) {
            let tensor = &graph[class.fact.tensor];
            let by_norms = |node: &&Node| matches!(node.op, Op::RmsNorm { .. } | Op::Add | Op::Route { .. });
            let touches = |node: &Node| node.output == class.fact.tensor || node.inputs.contains(&class.fact.tensor);
            let around = graph.nodes.iter().filter(by_norms).any(touches);
            assert!(tensor.role == Role::Weight || around, "{}", tensor.name);
        }
    }
    for class in [choices("embed"), choices("head")] {
        let values = class.classes.iter().filter(|found| class.template.graph[found.fact.tensor].role == Role::Value);
        assert!(values.clone().all(|found| found.fact.layout != Sharded(0)));
    }
}

#[test]
fn the_vocabulary_is_split_in_embedding_and_head() {
    let embed = choices("embed");
    assert!(can(&embed, "x", Partial, "compute", &[Whole, Sharded(0)]));
    assert!(can(&embed, "x", Whole, "all-reduce", &[Partial]));
    let head = choices("head");
    assert!(can(&head, "logits", Sharded(1), "compute", &[Whole, Sharded(0)]));
    assert!(can(&head, "logits", Host, "collect", &[Sharded(1)]));
}

#[test]
fn caches_are_never_moved() {
    let layer = choices("layer");
    for class in &layer.classes {
        if layer.template.is_state(class.fact.tensor) {
            let moved =
                |action| matches!(action, WayAction::AllGather | WayAction::AllReduce | WayAction::ReduceScatter);
            assert!(!class.ways.iter().any(|way| moved(way.action)), "{:?}", class.fact);
        }
    }
}

/// Whole and column-parallel; a cut of one matrix alone, of x, or of x and both would compute something else.
#[test]
fn gate_up_and_activation_are_one_kernel() {
    for layer in [choices("layer"), variant("layer")] {
        let graph = &layer.template.graph;
        let fused = |class: &crate::saturate::Class| {
            let found = class.ways.iter().filter(|way| match way.action {
                WayAction::Compute(node) => graph.is_fused(node),
                _ => false,
            });
            let layouts = |way: &crate::saturate::Way| -> Vec<Layout> {
                way.inputs.iter().map(|&input| layer.classes[input].fact.layout).collect()
            };
            found.map(|way| (class.fact.layout, layouts(way))).collect::<Vec<_>>()
        };
        let all: Vec<_> = layer.classes.iter().flat_map(fused).collect();
        let (whole, cut) = ((Whole, vec![Whole; 3]), (Sharded(1), vec![Whole, Sharded(0), Sharded(0)]));
        assert_eq!(all, [whole, cut]);
    }
    assert!(mixture().template.graph.applications().all(|node| node.op.on_products().is_none()));
}

/// The rule that fuses needs no guard: in whatever layouts, both of its sides stand for the same or neither for anything.
#[test]
fn both_sides_of_fuse_have_one_layout() {
    let template = choices("layer").template;
    let graph = &template.graph;
    let fused = graph.applied(|node| node.op == Op::LinearSwiGlu).unwrap();
    let [gate, up] = [0, 1].map(|place| graph.producer(graph.inside(fused)[place]).unwrap());
    let outer = graph.producer(graph[fused].output).unwrap();
    let layouts = [Whole, Sharded(0), Sharded(1), Partial];
    let mut typed = 0;
    for x in layouts {
        for (one, other) in layouts.iter().flat_map(|one| layouts.iter().map(move |other| (*one, *other))) {
            let product = |node, weight| layout_after(graph, node, &[x, weight]);
            let pair = product(gate, one).zip(product(up, other));
            let left = pair.and_then(|(gate, up)| layout_after(graph, outer, &[gate, up]));
            assert_eq!(left, layout_after(graph, fused, &[x, one, other]), "{x} {one} {other}");
            typed += usize::from(left.is_some());
        }
    }
    assert_eq!(typed, 2);
}

#[test]
fn norms_of_heads_are_cut_by_heads() {
    let layer = variant("layer");
    for tensor in ["q_norm", "k_norm"] {
        assert!(can(&layer, tensor, Sharded(1), "compute", &[Sharded(1), Whole]), "{tensor}");
    }
    assert!(can(&layer, "k_rope", Sharded(1), "compute", &[Sharded(1)]));
    assert!(can(&layer, "attn", Sharded(1), "compute", &[Sharded(1), Sharded(1), Sharded(1)]));
    assert!(can(&layer, "ffn_act", Sharded(1), "compute", &[Sharded(1), Sharded(1)]));
    assert!(!can(&layer, "attn_post_norm", Sharded(1), "compute", &[Sharded(1), Sharded(0)]));
}

#[test]
fn constants_follow_any_cut() {
    let embed = variant("embed");
    assert!(can(&embed, "embedded", Partial, "compute", &[Whole, Sharded(0)]));
    assert!(can(&embed, "x", Sharded(1), "compute", &[Sharded(1)]));
    let head = variant("head");
    assert!(can(&head, "logits", Sharded(1), "compute", &[Sharded(1)]));
    assert!(!can(&head, "logits", Partial, "compute", &[Partial]));
    assert!(can(&head, "logits", Host, "collect", &[Sharded(1)]));
}

/// Expert parallelism: each rank has some experts and their columns of the gates (Lepikhin et al. 2020).
#[test]
fn experts_are_split_with_an_all_reduce() {
    let layer = mixture();
    let cut = [Whole, Sharded(1), Sharded(0), Sharded(0), Sharded(0)];
    assert!(can(&layer, "ffn_out", Partial, "compute", &cut));
    assert!(can(&layer, "gates", Sharded(1), "slice", &[Whole]));
    assert!(can(&layer, "ffn_out", Whole, "all-reduce", &[Partial]));
    assert!(can(&layer, "ffn_out", Sharded(1), "reduce-scatter", &[Partial]));
}

/// Tensor parallelism inside every expert: each rank has some columns of all of them.
#[test]
fn the_width_of_every_expert_is_split_with_an_all_reduce() {
    let layer = mixture();
    assert!(can(&layer, "ffn_out", Partial, "compute", &[Whole, Whole, Sharded(1), Sharded(1), Sharded(2)]));
}

#[test]
fn rows_of_every_expert_are_split() {
    let layer = mixture();
    assert!(can(&layer, "ffn_out", Sharded(1), "compute", &[Whole, Whole, Whole, Whole, Sharded(1)]));
    assert!(can(&layer, "ffn_out", Whole, "all-gather", &[Sharded(1)]));
}

#[test]
fn a_router_sees_all_logits_wherever_they_were_made() {
    let layer = mixture();
    assert!(can(&layer, "router", Sharded(1), "compute", &[Whole, Sharded(0)]));
    assert!(can(&layer, "router", Partial, "compute", &[Sharded(1), Sharded(1)]));
    assert!(can(&layer, "gates", Whole, "compute", &[Whole]));
    for layout in [Whole, Sharded(1), Partial] {
        for operand in [Sharded(1), Partial] {
            assert!(!can(&layer, "gates", layout, "compute", &[operand]), "{layout} from {operand}");
        }
    }
}

/// Expert parallelism as in GShard (Lepikhin et al. 2020): each rank's rows are normed, routed and sent to the ranks with their
/// experts, and what these make of them comes back.
#[test]
fn rows_are_sent_to_their_experts() {
    let layer = mixture();
    assert!(can(&layer, "router", Sharded(0), "compute", &[Sharded(0), Whole]));
    assert!(can(&layer, "router", Whole, "all-gather", &[Sharded(0)]));
    assert!(can(&layer, "ffn_norm", Dispatched, "dispatch", &[Sharded(0), Whole]));
    assert!(can(&layer, "ffn_out", Routed, "compute", &[Dispatched, Sharded(1), Sharded(0), Sharded(0), Sharded(0)]));
    assert!(can(&layer, "ffn_out", Sharded(0), "combine", &[Routed, Whole]));
    let others = layer.classes.iter().filter(|class| matches!(class.fact.layout, Dispatched | Routed));
    assert_eq!(others.map(|class| class.ways.len()).collect::<Vec<_>>(), [1, 1], "and in no other way");
}

/// The size of the saturated classes: a change here is a change of the rule table.
#[test]
fn saturation_stays_small() {
    let sizes = ["embed", "layer", "head"].map(|class| {
        let stats = choices(class).stats;
        (stats.nodes, stats.classes, stats.iterations)
    });
    assert_eq!(sizes, [(11, 8, 3), (160, 82, 4), (21, 15, 4)]);
    let stats = mixture().stats;
    assert_eq!((stats.nodes, stats.classes, stats.iterations), (161, 89, 4));
}

/// `x + (w2·(w1·x) + w4·(w3·x))`: the two products over cut sums are added before they are reduced, once.
#[test]
fn partial_sums_are_added_before_one_all_reduce() {
    let mut graph = Graph::default();
    let hidden = [Dim::Tokens, Dim::Fixed(64)];
    let x = graph.tensor("x", &hidden, DType::F32, Role::Input);
    let weight = |graph: &mut Graph, name: &str, rows, columns| {
        graph.tensor(name, &[Dim::Fixed(rows), Dim::Fixed(columns)], DType::F32, Role::Weight)
    };
    let node = |graph: &mut Graph, op, inputs: Vec<_>, name: &str, width| {
        let output = graph.tensor(name, &[Dim::Tokens, Dim::Fixed(width)], DType::F32, Role::Value);
        graph.nodes.push(Node { op, inputs, output });
        output
    };
    let mut branches = Vec::new();
    for (up, down) in [("w1", "w2"), ("w3", "w4")] {
        let weights = [weight(&mut graph, up, 128, 64), weight(&mut graph, down, 64, 128)];
        let inner = node(&mut graph, Op::Linear, vec![x, weights[0]], &format!("{up}.x"), 128);
        branches.push(node(&mut graph, Op::Linear, vec![inner, weights[1]], &format!("{down}.x"), 64));
    }
    let both = node(&mut graph, Op::Add, branches, "both", 64);
    node(&mut graph, Op::Add, vec![x, both], "out", 64);
    let choices = saturate(&graph, false).unwrap();
    assert!(can(&choices, "both", Partial, "compute", &[Partial, Partial]));
    assert!(can(&choices, "both", Whole, "all-reduce", &[Partial]));
    assert!(can(&choices, "both", Sharded(1), "reduce-scatter", &[Partial]));
    assert!(!can(&choices, "out", Partial, "compute", &[Whole, Partial]), "x would be added by every rank");
}
