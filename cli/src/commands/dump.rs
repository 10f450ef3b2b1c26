//! `dump`: any stage of the compiler as text.

use super::print;
use crate::args::{Dump, StageArg};
use crate::inputs;
use crate::outcome::{Ended, Failure};
use sailplan_cost_model::CostModel;
use sailplan_ir::{ClassId, Diagnostic, Request, Verify, form_text, model_text, placement_text};
use sailplan_planner::{Config, Saturation, growth, place, rule_table};
use std::fmt::Write;

pub(crate) fn run(args: &Dump) -> Result<Ended, Failure> {
    let model = inputs::model(&args.model)?.model;
    let text = match args.stage {
        StageArg::Graph => model_text(&model),
        StageArg::Rules => rules(&model)?,
        stage => placed(&model, stage, args)?,
    };
    print(&text);
    Ok(Ended::Clean)
}

fn rules(model: &sailplan_ir::Model) -> Result<String, Failure> {
    let mut text = String::new();
    for (index, class) in model.classes.iter().enumerate() {
        let _ = writeln!(text, "class {}", class.name);
        for rule in rule_table(class) {
            let _ = writeln!(text, "  {:<26} {} => {}  {}", rule.name, rule.left, rule.right, rule.condition());
        }
        let _ = writeln!(text, "  saturated   rules  e-nodes  e-classes  iterations");
        for (family, rules, Saturation { nodes, classes, iterations }) in growth(model, ClassId(index as u32))? {
            let _ = writeln!(text, "  {family:<10} {rules:>6} {nodes:>8} {classes:>10} {iterations:>11}");
        }
    }
    Ok(text)
}

fn placed(model: &sailplan_ir::Verified<sailplan_ir::Model>, stage: StageArg, args: &Dump) -> Result<String, Failure> {
    let missing = || Diagnostic::new("this stage needs a fleet").hint("--fleet innerjib7ea-x4-ring");
    let fleet = inputs::fleet(args.fleet.as_deref().ok_or_else(|| Failure::Input(missing().into()))?)?;
    let request = Request::default().verify()?;
    let pins = inputs::pins(args.pin.as_deref())?;
    let costs = CostModel::new(&fleet, &request);
    let placement = place(model, &costs, Config { pins: &pins, ..Config::default() })?.placement;
    match stage {
        StageArg::Forms => {
            let mut text = String::new();
            for choice in placement.stages.iter().flat_map(|stage| &stage.choices) {
                let class = model.class(choice.form.class);
                let _ = writeln!(text, "class {}", class.name);
                text.push_str(&form_text(&class.template, &choice.form));
            }
            Ok(text)
        }
        StageArg::Placement => Ok(placement_text(model, &placement)),
        _ => {
            let plan = sailplan_codegen::emit(model, &fleet, &request, &placement)
                .map_err(|problems| Failure::Bug(format!("the placement cannot be emitted:\n{problems}")))?;
            Ok(sailplan_codegen::write(&sailplan_codegen::with_pins(plan, &pins)))
        }
    }
}
