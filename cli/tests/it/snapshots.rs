//! One file per stage for named cases, under `snapshots/`. A changed file is a change of behaviour: review it with
//! `git diff` after `INSTA_UPDATE=always cargo test`.

use crate::mixture::mixture;
use crate::pipeline::{OnDisk, fleet, on_disk, small_request};
use crate::tiny::{Kind, golden};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{ClassId, Fleet, Model, Request, Verified, Verify, form_text, model_text, placement_text};
use sailplan_planner::{Config, Saturation, growth, place};

fn check(case: &str, model: &Verified<Model>, fleet: &Verified<Fleet>, request: &Verified<Request>) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(format!("../../../snapshots/{case}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    let placement = place(model, &CostModel::new(fleet, request), Config::default()).unwrap().placement;
    let mut forms = String::new();
    for choice in placement.stages.iter().flat_map(|stage| &stage.choices) {
        let class = model.class(choice.form.class);
        forms.push_str(&format!("class {}\n{}", class.name, form_text(&class.template, &choice.form)));
    }
    let plan = sailplan_codegen::emit(model, fleet, request, &placement).unwrap();
    insta::assert_snapshot!("graph", model_text(model));
    insta::assert_snapshot!("forms", forms);
    insta::assert_snapshot!("placement", placement_text(model, &placement));
    insta::assert_snapshot!("plan", sailplan_codegen::write(&plan));
}

/// E-nodes and e-classes of every layer class of every shipped model, family by family. That of the document is among them.
#[test]
fn rules_saturate_and_stay_small() {
    let mut text = String::new();
    for shipped in sailplan_models::zoo() {
        let model = sailplan_models::load_zoo(shipped.name).unwrap().model;
        for (index, class) in model.classes.iter().enumerate() {
            text.push_str(&format!("{} {}\n", shipped.name, class.name));
            for (family, rules, stats) in growth(&model, ClassId(index as u32)).unwrap() {
                let Saturation { nodes, classes, iterations } = stats;
                let line = format!("  {family:<10} {rules:>6} {nodes:>8} {classes:>10} {iterations:>11}\n");
                text.push_str(&line);
                assert!(nodes < 400, "{} {}", shipped.name, class.name);
                if ["llama-3-70b", "mixtral-8x7b"].contains(&shipped.name) && class.name == "layer" {
                    assert!(include_str!("../../../docs/rules.md").contains(&line), "docs/rules.md lacks {line}");
                }
            }
        }
    }
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../../../snapshots/models");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("rules", text));
}

#[test]
fn tinyllama_on_the_four_card_ring() {
    let model = sailplan_models::load_zoo("tinyllama-1.1b").unwrap().model;
    check("tinyllama-1.1b-x4-ring", &model, &fleet(4, "ring"), &Request::default().verify().unwrap());
}

/// A shipped model on a shipped fleet, with the default request.
#[test]
fn shipped_models_on_shipped_fleets() {
    for (model, fleet) in [
        ("tinyllama-1.1b-q4_k_m", "innerjib7ea-mixed-x4-ring"),
        ("llama-2-7b", "innerjib7ea-x8-mesh"),
        ("llama-2-7b", "home-cluster-x5"),
        ("llama-3-8b", "innerjib7ea-mixed-x8-ring"),
        ("phi-3-mini", "innerjib7ea-x2-star"),
        ("gemma-2-2b", "innerjib7ea-x4-mesh"),
        ("qwen3-4b", "popc-16a-x4"),
        ("qwen3-30b-a3b", "innerjib7ea-x8-ring"),
        ("mixtral-8x7b", "maintopsail7ea-x8"),
    ] {
        let loaded = sailplan_models::load_zoo(model).unwrap().model;
        let text = shipped_fleet(fleet).unwrap();
        let case = format!("{model}-{}", fleet.trim_start_matches("innerjib7ea-"));
        check(&case, &loaded, &parse_fleet(fleet, text).unwrap(), &Request::default().verify().unwrap());
    }
}

#[test]
fn a_tiny_model_on_three_cards() {
    let OnDisk { model, .. } = on_disk("tiny-gqa-q4_0", &golden("tiny-gqa-q4_0").unwrap());
    check("tiny-gqa-q4_0-x3-mesh", &model, &fleet(3, "mesh"), &small_request());
}

#[test]
fn a_tiny_mixture_on_three_cards() {
    let OnDisk { model, .. } = on_disk("mixture-q4_0", &mixture(Kind::Q4_0));
    check("mixture-q4_0-x3-ring", &model, &fleet(3, "ring"), &small_request());
}
