//! Tests only: rules that must not hold, planted one by one, so that it is known that the checks would find them.

use crate::audit::{CAPPED, DECODER, MIXTURE, WINDOWED};
use crate::saturate::{Choices, saturate};
use sailplan_ir::{DType, Dim, Graph, Op, Role};

/// The typed layouts or the saturation check catch each.
#[test]
fn planted_wrong_rules_are_caught() {
    check_planted(
        DECODER,
        &[
            ("a whole value added into a partial sum", "(op@ADD ?a (all-reduce ?p))", "(all-reduce (op@ADD ?a ?p))"),
            ("gather without a slice", "(op@LINEAR ?a ?b)", "(all-gather.1 (op@LINEAR ?a ?b))"),
            ("a norm cut along its width", "(op@NORM ?a ?b)", "(all-gather.1 (op@NORM (slice.1 ?a) (slice.0 ?b)))"),
            ("a partial sum taken for the sum", "(all-reduce ?p)", "?p"),
            ("rotation of half a cut", "(op@ROPE ?a)", "(all-gather.0 (op@ROPE (slice.0 ?a)))"),
            ("silu through a sum", "(op@SWIGLU (all-reduce ?a) (all-reduce ?b))", "(all-reduce (op@SWIGLU ?a ?b))"),
            ("attention cut on one side", "(op@ATT ?q ?k ?v)", "(all-gather.1 (op@ATT (slice.1 ?q) ?k ?v))"),
            ("rotation of tokens", "(op@ROPE ?a)", "(all-gather.0 (op@ROPE (slice.0 ?a)))"),
            ("attention of tokens", "(op@ATT ?q ?k ?v)", "(all-gather.0 (op@ATT (slice.0 ?q) ?k ?v))"),
            ("keys of tokens", "(op@APPEND ?c ?k)", "(all-gather.0 (op@APPEND (slice.0 ?c) (slice.0 ?k)))"),
            ("softmaxes added up", "(op@ATT ?q ?k ?v)", "(all-reduce (op@ATT ?q (slice.0 ?k) (slice.0 ?v)))"),
            ("softmaxes scattered as sums", "(op@ATT ?q ?k ?v)", SCATTERED),
            ("softmaxes gathered", "(op@ATT ?q ?k ?v)", "(all-gather.0 (op@ATT ?q (slice.0 ?k) (slice.0 ?v)))"),
            ("a softmax over a part taken for all", "(op@ATT ?q ?k ?v)", "(op@ATT ?q (slice.0 ?k) (slice.0 ?v))"),
            ("keys of some positions, values of all", "(op@ATT ?q ?k ?v)", KEYS_ALONE),
            ("heads and positions cut at once", "(op@ATT ?q ?k ?v)", CUT_TWICE),
            ("a product of softmaxes", "(op@LINEAR (all-gather.1 (merge-scatter.1 ?p)) ?w)", LATE_MERGE),
            ("sums merged", "(reduce-scatter.1 ?p)", "(merge-scatter.1 ?p)"),
            (
                "keys of tokens kept by positions",
                "(op@APPEND ?c ?k)",
                "(all-gather.0 (op@APPEND (slice.0 ?c) (slice.1 ?k)))",
            ),
            ("a product of tokens", "(op@LINEAR ?a ?b)", "(all-gather.0 (op@LINEAR (slice.0 ?a) ?b))"),
            ("a norm of tokens with part of its gain", "(op@NORM ?a ?b)", NORM_CUT_TWICE),
            ("a norm of tokens through a sum", "(op@NORM (all-reduce ?a) ?b)", "(all-reduce (op@NORM ?a ?b))"),
            ("tokens and columns added", "(op@ADD ?a ?b)", "(all-gather.0 (op@ADD (slice.0 ?a) (slice.1 ?b)))"),
            ("a fused kernel cut in one matrix", "(op@FUSED ?x ?a ?b)", "(all-gather.1 (op@FUSED ?x (slice.0 ?a) ?b))"),
            ("a fused kernel that sums", "(op@FUSED ?x ?a ?b)", FUSED_SUM),
            ("gate and up exchanged", "(op@SWIGLU (op@LINEAR ?x ?a) (op@LINEAR ?x ?b))", "(op@FUSED ?x ?b ?a)"),
            ("a fused kernel without activation", "(op@LINEAR ?x ?a)", "(op@FUSED ?x ?a ?a)"),
        ],
    );
    check_planted(
        WINDOWED,
        &[
            (
                "norms of heads cut with their gain",
                "(op@HEADNORM ?a ?b)",
                "(all-gather.1 (op@HEADNORM (slice.1 ?a) (slice.0 ?b)))",
            ),
            ("norms of heads through a sum", "(op@HEADNORM (all-reduce ?a) ?b)", "(all-reduce (op@HEADNORM ?a ?b))"),
        ],
    );
    check_planted(
        CAPPED,
        &[("gelu through a sum", "(op@GEGLU (all-reduce ?a) (all-reduce ?b))", "(all-reduce (op@GEGLU ?a ?b))")],
    );
    check_planted(
        MIXTURE,
        &[
            ("a router on a slice", "(op@ROUTE ?a)", "(all-gather.1 (op@ROUTE (slice.1 ?a)))"),
            ("a router through a sum", "(op@ROUTE (all-reduce ?a))", "(all-reduce (op@ROUTE ?a))"),
            ("gates cut alone", "(op@EXPERTS ?x ?g ?a ?b ?c)", "(all-reduce (op@EXPERTS ?x (slice.1 ?g) ?a ?b ?c))"),
            (
                "experts over a part of the input",
                "(op@EXPERTS ?x ?g ?a ?b ?c)",
                "(all-reduce (op@EXPERTS (slice.1 ?x) ?g (slice.2 ?a) (slice.2 ?b) ?c))",
            ),
            (
                "experts that are gathered",
                "(op@EXPERTS ?x ?g ?a ?b ?c)",
                "(all-gather.1 (op@EXPERTS ?x (slice.1 ?g) (slice.0 ?a) (slice.0 ?b) (slice.0 ?c)))",
            ),
            ("rows sent that nothing was made of", "(op@EXPERTS ?x ?g ?a ?b ?c)", NOTHING_MADE),
            ("a sum over columns combined", "(op@EXPERTS ?x ?g ?a ?b ?c)", COLUMNS_COMBINED),
            ("rows sent to experts that are whole", "(op@EXPERTS (all-gather.0 ?x) ?g ?a ?b ?c)", SENT_TO_ALL),
            ("rows sent to a product", "(op@ROUTE (op@LINEAR ?x ?w))", SENT_TO_PRODUCT),
            (
                "any sum combined",
                "(reduce-scatter.0 (op@EXPERTS ?x ?g ?a ?b ?c))",
                "(combine (op@EXPERTS ?x ?g ?a ?b ?c) ?g)",
            ),
            ("any product of tokens", "(op@LINEAR ?a ?b)", "(all-gather.0 (op@LINEAR (slice.0 ?a) ?b))"),
        ],
    );
}

/// Softmaxes as if they were sums.
const SCATTERED: &str = "(all-gather.1 (reduce-scatter.1 (op@ATT ?q (slice.0 ?k) (slice.0 ?v))))";

/// One cache cut along its positions.
const KEYS_ALONE: &str = "(all-gather.1 (merge-scatter.1 (op@ATT ?q (slice.0 ?k) ?v)))";

/// A part of the query heads over a part of the positions.
const CUT_TWICE: &str = "(all-gather.1 (merge-scatter.1 (op@ATT (slice.1 ?q) (slice.0 ?k) (slice.0 ?v))))";

/// Merged after the product instead of before.
const LATE_MERGE: &str = "(all-gather.1 (merge-scatter.1 (op@LINEAR ?p ?w)))";

/// Rows of one operand and columns of the other.
const NORM_CUT_TWICE: &str = "(all-gather.0 (op@NORM (slice.0 ?a) (slice.0 ?b)))";

/// Every card has a part of every expert, so every card contributes to every row.
const COLUMNS_COMBINED: &str =
    "(all-gather.0 (combine (op@EXPERTS (dispatch (slice.0 ?x) ?g) ?g (slice.1 ?a) (slice.1 ?b) (slice.2 ?c)) ?g))";

/// What came back would be the rows themselves, once for each card that they went to.
const NOTHING_MADE: &str = "(all-gather.0 (combine (dispatch (slice.0 ?x) ?g) ?g))";

/// Of rows that did not come.
const SENT_TO_PRODUCT: &str =
    "(op@ROUTE (all-gather.0 (op@LINEAR (dispatch (slice.0 ?x) (op@ROUTE (op@LINEAR ?x ?w))) ?w)))";

/// Every card has all experts, and not all rows.
const SENT_TO_ALL: &str = "(op@EXPERTS (dispatch ?x ?g) ?g ?a ?b ?c)";

/// Cut along what is summed, through what is not linear.
const FUSED_SUM: &str = "(all-reduce (op@FUSED (slice.1 ?x) (slice.1 ?a) (slice.1 ?b)))";

/// `swiglu(x·a, x·b)` is fused, and `swiglu(y·c, x·d)` must not be: neither with one x taken for the other, nor as the first one,
/// which reads other weights.
#[test]
fn products_of_two_values_are_not_fused() {
    let rows = [Dim::Tokens, Dim::Fixed(4)];
    let mut graph = Graph::default();
    let x = graph.tensor("x", &rows, DType::F32, Role::Input);
    let weights = ["a", "b", "c", "d"].map(|name| graph.tensor(name, &[Dim::Fixed(4); 2], DType::F32, Role::Weight));
    let product = |graph: &mut Graph, of, weight: usize| graph.apply(Op::Linear, &[of, weights[weight]], "", &rows);
    let pair = [product(&mut graph, x, 0), product(&mut graph, x, 1)];
    let y = graph.apply(Op::SwiGlu, &pair, "y", &rows);
    let pair = [product(&mut graph, y, 2), product(&mut graph, x, 3)];
    graph.apply(Op::SwiGlu, &pair, "z", &rows);
    let graph = graph.fuse();
    assert_eq!(graph.applications().count(), 7, "one is fused");
    let two = "(op@SWIGLU (op@LINEAR ?x ?a) (op@LINEAR ?y ?b))";
    planted_in(
        &graph,
        &[
            ("the first x for both", two, "(op@FUSED ?x ?a ?b)"),
            ("the second x for both", two, "(op@FUSED ?y ?a ?b)"),
            ("other weights", two, &format!("(op@FUSED %{} %{} %{})", x.0, weights[0].0, weights[1].0)),
        ],
    );
}

/// Name, left side, right side.
type Planted<'a> = (&'a str, &'a str, &'a str);

fn check_planted(description: &str, wrong: &[Planted<'_>]) {
    let model = sailplan_models::from_ron("audit.ron", description).unwrap().model;
    planted_in(&model.classes.iter().find(|class| class.name == "layer").unwrap().template, wrong);
}

fn planted_in(template: &Graph, wrong: &[Planted<'_>]) {
    let clean = saturate(template, false).unwrap();
    for &(name, left, right) in wrong {
        let named = |side: &str| {
            let mut side = side.to_owned();
            for (index, op) in clean.template.ops.iter().enumerate() {
                let tag = match op {
                    Op::Add => "ADD",
                    Op::Linear => "LINEAR",
                    Op::RmsNorm { .. } => "NORM",
                    Op::HeadNorm { .. } => "HEADNORM",
                    Op::GeGlu => "GEGLU",
                    Op::Rope { .. } => "ROPE",
                    Op::SwiGlu => "SWIGLU",
                    Op::LinearSwiGlu => "FUSED",
                    Op::Attention { .. } => "ATT",
                    Op::KvAppend { .. } => "APPEND",
                    Op::Route { .. } => "ROUTE",
                    Op::Experts { .. } => "EXPERTS",
                    _ => continue,
                };
                side = side.replace(&format!("op@{tag}"), &format!("op@{index}"));
            }
            side
        };
        let planted = crate::saturate::saturate_with(template, false, &[(named(left), named(right))]);
        match planted {
            Err(reason) => assert!(reason.contains("unsound") || reason.contains("saturate"), "{name}: {reason}"),
            // Not an equation of typed families: nothing new may become extractable.
            Ok(choices) => {
                let count = |choices: &Choices| choices.classes.iter().map(|class| class.ways.len()).sum::<usize>();
                assert_eq!(count(&choices), count(&clean), "{name} made something extractable");
            }
        }
    }
}
