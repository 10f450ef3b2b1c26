//! The shipped models: their sizes against published files, and their text form.

use sailplan_ir::{DType, Role};
use sailplan_models::{load_zoo, zoo};

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
    ] {
        assert_eq!(load_zoo(name).expect("shipped").model.parameters(), parameters, "{name}");
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
