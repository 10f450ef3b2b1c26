//! The shipped models: their sizes against published files, and their text form.

use sailplan_ir::{DType, Role};
use sailplan_models::{load_zoo, zoo};

/// The description of a shipped model.
pub(crate) fn text(name: &str) -> &'static str {
    zoo().iter().find(|model| model.name == name).expect("shipped").text
}

/// Bytes of the tensors: file sizes on Hugging Face less some MB of tokenizer.
#[test]
fn sizes_are_those_of_published_files() {
    for (name, file) in [
        ("tinyllama-1.1b", 637_699_456_u64),
        ("tinyllama-1.1b-q4_k_m", 668_788_096),
        ("llama-2-7b", 3_825_807_040),
        ("llama-2-7b-q4_k_m", 4_081_004_224),
        ("llama-3-8b", 4_661_211_808),
        ("llama-3-8b-q4_k_m", 4_920_733_888),
    ] {
        let weights = load_zoo(name).expect("shipped").model.weight_bytes().0;
        assert!(weights < file && file - weights < file / 300, "{name}: {weights} of {file}");
    }
}

/// Parameters as their makers give them; Llama 3.1 adds 64 factors of the rotary frequencies, which are no parameters.
#[test]
fn parameters_are_those_of_published_models() {
    for (name, parameters) in [
        ("llama-3-8b", 8_030_261_248_u64),
        ("llama-3-70b", 70_553_706_496),
        ("mixtral-8x7b", 46_702_792_704),
        ("llama-3-405b", 405_853_388_800 + 64),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-4b", 4_022_468_096),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-14b", 14_768_307_200),
        ("qwen3-32b", 32_762_123_264),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("qwen3-235b-a22b", 235_093_634_560),
        ("gemma-2-2b", 2_614_341_888),
        ("gemma-2-9b", 9_241_705_984),
        ("gemma-2-27b", 27_227_128_320),
        ("phi-3-mini", 3_821_079_552),
    ] {
        assert_eq!(load_zoo(name).expect("shipped").model.parameters(), parameters, "{name}");
    }
}

/// Bytes of the safetensors files, as their index gives them: two for each parameter.
#[test]
fn bytes_in_bf16_are_those_of_published_files() {
    for (name, bytes) in [
        ("qwen3-8b", 16_381_470_720_u64),
        ("qwen3-30b-a3b", 61_064_245_248),
        ("gemma-2-9b", 18_483_411_968),
        ("phi-3-mini", 7_642_159_104),
    ] {
        let wide = text(name).replace("Q4_0, embed: Q6_K", "BF16").replace("Q4_0, output: Q6_K", "BF16");
        let model = sailplan_models::from_ron("wide.ron", &wide).expect("valid").model;
        // Norms and routers are F32 here and BF16 there.
        let none = sailplan_ir::Extents { tokens: 0, context: 0, outputs: 0 };
        let weights = model.graph.with_role(Role::Weight).map(|id| &model.graph[id]);
        let small =
            weights.filter(|tensor| tensor.dtype == DType::F32).map(|tensor| tensor.elements(none)).sum::<u64>();
        assert_eq!(model.weight_bytes().0 - 2 * small, bytes, "{name}");
    }
}

/// Of 30.5 B parameters a token takes 3.3 B (model card of Qwen3-30B-A3B); of 235 B, 22 B.
#[test]
fn active_parameters_are_those_of_the_model_cards() {
    for (name, active) in [("qwen3-30b-a3b", 3_353_032_704_u64), ("qwen3-235b-a22b", 22_190_763_520)] {
        let model = load_zoo(name).expect("shipped").model;
        let none = sailplan_ir::Extents { tokens: 0, context: 0, outputs: 0 };
        let weights = model.graph.with_role(Role::Weight).map(|id| &model.graph[id]);
        let experts = weights.filter(|tensor| tensor.name.contains("_exps")).map(|tensor| tensor.elements(none));
        assert_eq!(model.parameters() - experts.sum::<u64>() / 128 * 120, active, "{name}");
    }
}

/// Tensors of each type as llama.cpp lists them when it loads the published Q4_K_M files.
#[test]
fn mixtures_are_those_of_published_files() {
    for (name, counts) in [
        ("tinyllama-1.1b-q4_k_m", [45, 135, 0, 21]),
        ("llama-2-7b-q4_k_m", [65, 193, 0, 33]),
        ("llama-3-8b-q4_k_m", [65, 193, 0, 33]),
        ("llama-3-70b-q4_k_m", [161, 441, 40, 81]),
    ] {
        let model = load_zoo(name).expect("shipped").model;
        let count = |dtype| model.graph.with_role(Role::Weight).filter(|&id| model.graph[id].dtype == dtype).count();
        assert_eq!([DType::F32, DType::Q4_K, DType::Q5_K, DType::Q6_K].map(count), counts, "{name}");
    }
}

#[test]
fn names_are_those_of_the_descriptions() {
    for model in zoo() {
        assert_eq!(load_zoo(model.name).expect("shipped").model.name, model.name);
        assert!(model.text.starts_with("// Sizes: https://"), "{}", model.name);
    }
    let problems = load_zoo("llama-4").expect_err("not shipped");
    assert!(problems.0[0].hint.as_ref().is_some_and(|hint| hint.contains("llama-3-8b-q4_k_m")));
}

#[test]
fn text_forms() {
    for name in ["tinyllama-1.1b", "tinyllama-1.1b-q4_k_m"] {
        let text = sailplan_ir::model_text(&load_zoo(name).expect("shipped").model);
        insta::with_settings!({ snapshot_path => "../../../snapshots/models", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text);
        });
    }
}
