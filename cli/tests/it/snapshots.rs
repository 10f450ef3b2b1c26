//! One file per stage for named cases, under `snapshots/`. A changed file is a change of behaviour: review it with
//! `git diff` after `INSTA_UPDATE=always cargo test`.

use crate::mixture::mixture;
use crate::pipeline::{OnDisk, fleet, on_disk, small_request};
use crate::tiny::{Kind, golden};
use sailplan_cost_model::CostModel;
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
