//! Mistakes in descriptions: each is refused with a message, a hint and the text it stands at.

use sailplan_ir::At;
use sailplan_models::from_ron;

const GOOD: &str = r#"// A comment with hidden: 1 in it.
Decoder(
    name: "small (hidden: 2)",
    hidden: 256, layers: 4, heads: 8, kv_heads: 2, ffn: 512, vocab: 1000, context: 512,
    norm_epsilon: 1e-5, rope_base: 10000.0, /* heads: 3 */ tied: false,
    biases: [q],
    dtypes: Dtypes(default: Q4_0, attn_output: Q4_K, output: Q6_K, overrides: [
        Override(parts: [v, down], dtype: Q8_0, layers: [0, 3]),
    ]),
)
"#;

/// Replaces `from` by `to`, and expects a problem with `expected` that stands at `place`.
fn check((from, to): (&str, &str), expected: &str, place: &str) {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    let problems = from_ron("small.ron", &text).err().unwrap_or_else(|| panic!("{to}: accepted"));
    assert!(problems.0.iter().all(|problem| problem.hint.is_some()), "{to}: {problems}");
    let found = problems.0.iter().find(|problem| format!("{} {:?}", problem.message, problem.hint).contains(expected));
    let found = found.unwrap_or_else(|| panic!("{to}: expected `{expected}` in\n{problems}"));
    let at = found.place.as_ref().map(|place| place.at.clone());
    match at {
        Some(At::Span(span)) => assert_eq!(text.get(span), Some(place), "{to}: {found}"),
        at => panic!("{to}: stands at {at:?}: {found}"),
    }
}

#[test]
fn the_original_is_good() {
    let loaded = from_ron("small.ron", GOOD).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.model.classes.len(), 4);
}

#[test]
fn form() {
    check(("hidden: 256", "hiden: 256"), "did you mean `hidden`?", "hiden");
    check(("default: Q4_0", "defualt: Q4_0"), "did you mean `default`?", "defualt");
    check(("parts: [v, down]", "roles: [v, down]"), "expected one of parts, layers, dtype", "roles");
    check(("Q4_0", "Q4_O"), "did you mean `Q4_0`?", "Q4_O");
    check(("[v, down]", "[v, dwn]"), "did you mean `down`?", "dwn");
    check(("ffn: 512,", ""), "the field `ffn` of `Decoder` is missing", ")");
    check(("vocab: 1000,", "vocab: 1000, vocab: 2,"), "`vocab` is given twice", "vocab");
    check(("vocab: 1000,", "vocab: 1000"), "separate fields with commas", "c");
    check(("layers: 4,", "layers: \"4\","), "sizes are whole numbers", "\"");
    check(("layers: 4,", "layers: -4,"), "sizes are whole numbers", "4");
    check(("layers: 4,", "layers: 99999999999999999999,"), "sizes are whole numbers", "99999999999999999999");
    check(("default: Q4_0", "default: \"Q4_0\""), "types are written without quotes", "\"");
    check(("name: \"", "name: small, x: \""), "double quotes", "s");
    check(("Decoder(", "Decodr("), "`Decodr` is not a kind of model description", "Decodr");
    check(("Decoder(", "Graph("), "not supported yet", "Graph");
    check(("Decoder(", "("), "is not a kind of model description", "(");
    check(("1e-5", "small"), "expected float", "s");
}

#[test]
fn meaning() {
    check(("hidden: 256", "hidden: 0"), "the hidden size is 0", "hidden: 0");
    check(("hidden: 256", "hidden: 1152921504606846976"), "at most 16777216", "hidden: 1152921504606846976");
    check(("layers: 4", "layers: 5000"), "at most 4096", "layers: 5000");
    check(("layers: 4", "layers: 0"), "layers is 0", "layers: 0");
    check(("heads: 8", "heads: 7"), "not a multiple of 7 heads", "hidden: 256");
    check(("kv_heads: 2", "kv_heads: 3"), "cannot share 3 KV heads", "kv_heads: 3");
    check(("kv_heads: 2", "kv_heads: 2, head_dim: 33"), "cannot rotate in pairs", "head_dim: 33");
    check(("kv_heads: 2", "kv_heads: 2, rotary_dim: 64"), "cannot rotate in pairs", "rotary_dim: 64");
    check(("kv_heads: 2", "kv_heads: 2, head_dim: 16000000"), "more than 16777216", "heads: 8");
    check(("vocab: 1000", "vocab: 0"), "the vocabulary is 0", "vocab: 0");
    check(("context: 512", "context: 0"), "the context is 0", "context: 0");
    check(("1e-5", "-1e-5"), "epsilon", "norm_epsilon: -1e-5");
    check(("1e-5", "NaN"), "epsilon", "norm_epsilon: NaN");
    check(("10000.0", "inf"), "rotary frequencies", "rope_base: inf");
    check(("ffn: 512", "ffn: 500"), "rows of `down` have 500 elements", "default: Q4_0");
    check(("hidden: 256", "hidden: 128"), "rows of `output` have 128 elements", "output: Q6_K");
    check(("heads: 8", "head_dim: 8, heads: 8"), "rows of `attn_output` have 64 elements", "attn_output: Q4_K");
    check(("tied: false", "tied: true"), "a tied head has no output matrix", "output: Q6_K");
    check(("[q]", "[q, q]"), "names a matrix twice", "biases: [q, q]");
    check(("[0, 3]", "[0, 4]"), "there is no layer 4", "layers: [0, 4]");
    check(("[0, 3]", "[0, 0]"), "in layer 0 is given twice", "layers: [0, 0]");
    check(("[0, 3]", "[]"), "changes nothing", "Override(parts: [v, down], dtype: Q8_0, layers: [])");
    check(("name: \"small (hidden: 2)\"", "name: \"\""), "1 to 200 printable", "name: \"\"");
}

#[test]
fn experts() {
    check(("ffn: 512", "ffn: 512, experts: 8"), "nothing says how many a token takes", "experts: 8");
    check(("ffn: 512", "ffn: 512, experts: 0, experts_used: 1"), "the number of experts is 0", "experts: 0");
    check(("ffn: 512", "ffn: 512, experts: 1025, experts_used: 1"), "1 to 1024", "experts: 1025");
    check(("ffn: 512", "ffn: 512, experts: 8, experts_used: 9"), "cannot take 9 of 8", "experts_used: 9");
    check(("ffn: 512", "ffn: 512, experts: 8, experts_used: 0"), "cannot take 0 of 8", "experts_used: 0");
    check(("ffn: 512", "ffn: 512, experts_used: 2"), "not that it has experts", "experts_used: 2");
    check(("ffn: 512", "ffn: 512, expert_ffn: 64"), "not that it has experts", "expert_ffn: 64");
    check(("ffn: 512", "ffn: 512, renormalise: true"), "not that it has experts", "renormalise: true");
    let with = |more: &str| format!("ffn: 512, experts: 8, experts_used: 2, {more}");
    check(("ffn: 512", &with("expert_ffn: 0")), "the width of an expert is 0", "expert_ffn: 0");
    check(("ffn: 512", &with("expert_ffn: 500")), "rows of `down` have 500 elements", "default: Q4_0");
    let text = GOOD.replace("[q]", "[q, down]").replace("ffn: 512", &with("expert_ffn: 64"));
    let problems = from_ron("small.ron", &text).expect_err("a bias of experts").to_string();
    assert!(problems.contains("experts with biases"), "{problems}");
}

#[test]
fn variants() {
    let with = |more: &str| format!("ffn: 512, {more}");
    check(("ffn: 512", &with("window: 0")), "the window is 0", "window: 0");
    check(("ffn: 512", &with("window: 4294967296")), "1 to 4294967295 are accepted", "window: 4294967296");
    check(("ffn: 512", &with("global_every: 2")), "not what the others see", "global_every: 2");
    check(("ffn: 512", &with("window: 9, global_every: 1")), "every layer sees everything", "global_every: 1");
    check(("ffn: 512", &with("score_cap: 0.0")), "the cap of the scores is 0", "score_cap: 0.0");
    check(("ffn: 512", &with("logit_cap: -1.0")), "the cap of the logits is -1", "logit_cap: -1.0");
    check(("ffn: 512", &with("query_scalar: inf")), "the query scalar is inf", "query_scalar: inf");
    check(("ffn: 512", &with("parallel: true, post_norms: true")), "have no norms after them", "parallel: true");
    check(
        ("ffn: 512", &with("experts: 8, experts_used: 2, activation: gelu")),
        "experts with GELU are not supported",
        "activation: gelu",
    );
    check(("ffn: 512", &with("activation: swish")), "expected one of silu, gelu", "swish");
    check(("ffn: 512", &with("rope_pairs: halfs")), "did you mean `halves`?", "halfs");
}

#[test]
fn several_problems_come_together() {
    let text = GOOD.replace("vocab: 1000", "vocab: 0").replace("1e-5", "inf").replace("[q]", "[q, q]");
    let problems = from_ron("small.ron", &text).expect_err("three problems");
    assert_eq!(problems.0.len(), 3, "{problems}");
}

#[test]
fn texts_that_are_no_descriptions() {
    for text in [
        "",
        "   ",
        "// only a comment",
        "/* open",
        "#![enable(",
        "\"",
        "r#\"",
        "Decoder",
        "Decoder(",
        "\u{feff}Decoder()",
    ] {
        let problems = from_ron("x.ron", text).expect_err(text);
        assert!(problems.0[0].hint.is_some() && problems.0[0].place.is_some(), "{text}: {problems}");
    }
}
