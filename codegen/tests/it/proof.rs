//! What a plan runs, read out of it, against the forms it was made from; and one test for each thing a proof may be refused for.

use crate::forms::{Style, form};
use crate::placements::{part, plan, plan_of, plans};
use crate::small::{mixture, model, two_mixtures, variant};
use sailplan_codegen::{Lifted, Plan, Proven, check_proofs, lift, read_proofs};
use sailplan_ir::{
    Action, Algorithm, ClassId, Instruction, Layout, PROOF_HEADER, Program, TensorId, ValueId, Verified, Verify,
};
use std::collections::BTreeMap;

fn lifted(plan: Plan) -> Vec<Lifted> {
    let plan: Verified<Plan> = plan.verify().unwrap();
    lift(&plan).unwrap()
}

/// A program as text that does not depend on the order of its instructions.
fn canonical(program: &Program) -> String {
    fn visit(program: &Program, value: ValueId, known: &mut BTreeMap<u32, usize>, text: &mut String) -> usize {
        if let Some(&number) = known.get(&value.0) {
            return number;
        }
        let made = &program.instructions[value.index()];
        let inputs: Vec<usize> = made.inputs.iter().map(|&input| visit(program, input, known, text)).collect();
        let number = known.len();
        known.insert(value.0, number);
        text.push_str(&format!("{number} = {} {inputs:?} {} {}\n", made.action, made.tensor, made.layout));
        number
    }
    let mut text = String::new();
    visit(program, ValueId(program.instructions.len() as u32 - 1), &mut BTreeMap::new(), &mut text);
    text
}

/// Class by class and phase by phase, whatever the stages.
#[test]
fn programs_come_out_of_a_plan_as_they_went_in() {
    let styles = vec![Style::Whole, Style::Reduce, Style::Scatter, Style::Gather];
    let of_experts = vec![Style::Experts, Style::Sent];
    let all = [model(false), model(true), variant()].into_iter().map(|model| (model, styles.clone()));
    for (model, styles) in all.chain([(mixture(), of_experts.clone()), (two_mixtures(), of_experts)]) {
        for (prefill, decode) in styles.iter().flat_map(|one| styles.iter().map(move |other| (*one, *other))) {
            let cards: &[u16] = if (prefill, decode) == (Style::Whole, Style::Whole) { &[1] } else { &[2, 0, 1] };
            let algorithm = if styles.contains(&Style::Sent) { Algorithm::Direct } else { Algorithm::Ring };
            let mut whole = part(cards, 0..5, prefill, algorithm);
            whole.styles = (prefill, decode);
            let Ok(plan) = plan(&model, &[whole]).verify() else { continue };
            let out = lift(&plan).unwrap();
            for (index, class) in model.classes.iter().enumerate() {
                let form = form(ClassId(index as u32), class, (prefill, decode));
                for (prefill, program) in [(true, &form.prefill), (false, &form.decode)] {
                    let runs =
                        |one: &&Lifted| one.class == class.name && if prefill { one.prefill } else { one.decode };
                    let found: Vec<String> = out.iter().filter(runs).map(|one| canonical(&one.program)).collect();
                    assert_eq!(found, [canonical(program)], "{} {prefill}", class.name);
                }
            }
        }
    }
}

#[test]
fn every_segment_of_every_plan_has_a_program() {
    for (name, plan) in plans() {
        let classes = plan.model.classes.len();
        let out = lifted(plan);
        assert!(out.len() >= classes, "{name}");
        for one in &out {
            let problems = sailplan_ir::check_layouts(&one.template, &one.program);
            assert_eq!(problems, Default::default(), "{name} {}", one.class);
        }
    }
}

#[test]
fn stages_layers_and_phases_are_told() {
    let out = lifted(plan_of("pipeline"));
    let told = |one: &Lifted| {
        let layers: Vec<String> = one.layers.iter().map(|layers| format!("{:?}", layers.0)).collect();
        format!("{} {:?} {} in {}", one.class, one.stages, layers.join(" "), one.phases())
    };
    assert_eq!(
        out.iter().map(told).collect::<Vec<_>>(),
        [
            "embed {0}  in prefill and decode",
            "layer {0} 0..1 in prefill and decode",
            "layer {1} 1..3 in prefill and decode",
            "head {1}  in prefill and decode",
        ]
    );
}

/// The classes of a plan on one card, which runs the layers as they are.
fn plain() -> Vec<Lifted> {
    lifted(plan_of("one"))
}

fn checked(text: &str, lifted: &[Lifted]) -> Result<Vec<Proven>, String> {
    let read = read_proofs("a.proof", text).map_err(|problems| problems.to_string())?;
    check_proofs(&read, lifted).map_err(|problems| problems.to_string())
}

const EMBED: &str = "class \"embed\"\nt0 = %0\nt1 = %1\nt2 = embed@0 t0 t1\n";

/// `embed` by itself, from these lines on.
fn embed(lines: &str) -> Result<Vec<Proven>, String> {
    checked(&format!("{PROOF_HEADER}\n{EMBED}{lines}"), &plain()[..1])
}

/// The same, cut along its columns and gathered.
fn gathered(lines: &str) -> Result<Vec<Proven>, String> {
    let mut out = plain();
    out.truncate(1);
    let made = |action, inputs: &[u32], tensor: u32, layout| Instruction {
        action,
        inputs: inputs.iter().map(|&input| ValueId(input)).collect(),
        tensor: TensorId(tensor),
        layout,
    };
    let compute = out[0].program.instructions.last().unwrap().action;
    let cut = Layout::Sharded(1);
    out[0].program.instructions = vec![
        made(Action::Leaf, &[], 0, Layout::Whole),
        made(Action::Leaf, &[], 1, cut),
        made(compute, &[0, 1], 2, cut),
        made(Action::AllGather, &[2], 2, Layout::Whole),
    ];
    let terms = "t3 = slice.1 t1\nt4 = embed@0 t0 t3\nt5 = all-gather.1 t4\nt6 = slice.1 t2\nt7 = all-gather.1 t6\n";
    checked(&format!("{PROOF_HEADER}\n{EMBED}{terms}{lines}"), &out)
}

const GATHERED: &str = "c0 from t2\n  split embed d @0/2 -> t5\n";

#[test]
fn small_proofs_hold() {
    assert_eq!(embed("c0 from t2\n").unwrap()[0].steps, 0);
    let figures = &gathered(GATHERED).unwrap()[0];
    assert_eq!((figures.steps, figures.rules, figures.terms, figures.bytes), (1, 1, 8, 180));
    let there_and_back =
        "c0 from t2\n  split embed d @0/2 -> t5\n  split embed d @0/2 <- t2\n  split embed d @0/2 -> t5\n";
    assert_eq!(gathered(there_and_back).unwrap()[0].steps, 3);
    let spare = format!("{GATHERED}c1 from t2\n  split embed d @0/2 -> t5\n");
    assert_eq!(gathered(&spare).unwrap()[0].steps, 2);
}

#[track_caller]
fn refused(found: Result<Vec<Proven>, String>, message: &str) {
    let found = found.unwrap_err();
    assert!(found.contains(message), "{found}");
}

#[test]
fn text_that_is_no_proof_is_refused_with_its_line() {
    let whole = |text: &str| checked(text, &plain()[..1]);
    refused(whole(&" ".repeat((64 << 20) + 1)), "the file has 67108865 bytes; proofs have at most 67108864");
    refused(whole(""), "the first line is not `sailplan-proof 1` (write proofs with `sailplan verify");
    refused(whole("sailplan-proof 2\n"), "a.proof: bytes 0..16: the first line is not");
    refused(whole(&format!("{PROOF_HEADER}\nt0 = %0\n")), "bytes 17..24: a line before the first `class`");
    for line in ["", "t3", "c0 to t2", "t3 = all-reduce 2", "t3 = all-reduce t02", "t3 = all-reduce +2"] {
        refused(embed(&format!("{line}\n")), "no term, chain or step: expected such as");
    }
    for step in ["reduce 1", "reduce 1 -> 2", "operand 0 by c0 <- t2", "operand 0 c0 -> t2", "operand x by c0 -> t2"] {
        refused(embed(&format!("c0 from t2\n  {step}\n")), "no term, chain or step: expected such as");
    }
    refused(embed("t4 = all-reduce t2\n"), "`t4` stands where `t3` comes next");
    refused(embed("c1 from t2\n"), "`c1` stands where `c0` comes next");
    refused(embed("t3 = all-reduce t3\n"), "`t3` does not stand above");
    refused(embed("c0 from t2\n  operand 0 by c0 -> t2\n"), "`c0` does not stand above");
    refused(embed("c0 from t2\n  reduce 1 -> t3\n"), "`t3` does not stand above");
    refused(embed("  reduce 1 -> t2\n"), "a step before the first chain");
    refused(embed("c0 from t2\nt3 = %0\n"), "no term, chain or step");
    for head in ["nothing", "slice", "slice.x", "slice.256", "turn.1", "embed@", "embed@70000", "%", "%-1", "collect."]
    {
        refused(embed(&format!("t3 = {head} t2\n")), &format!("`{head}` is no operator, leaf or collective"));
    }
}

#[test]
fn terms_that_stand_for_nothing_are_refused() {
    refused(embed("t3 = embed@1 t0 t1\n"), "the class has no operator `embed@1`");
    refused(embed("t3 = linear@0 t0 t1\n"), "the class has no operator `linear@0`");
    refused(embed("t3 = %2\n"), "%2 is no leaf of the class");
    refused(embed("t3 = %4000000000\n"), "%4000000000 is no leaf of the class");
    refused(embed("t3 = all-reduce t2 t2\n"), "an operator of the wrong number of operands");
    refused(embed("t3 = embed@0 t1 t0\n"), "the class has no embed of these operands");
    refused(embed("t3 = slice.0 t1\nt4 = slice.1 t1\nt5 = embed@0 t0 t3\nt6 = embed@0 t5 t4\n"), "of these operands");
    refused(embed("t3 = slice.1 t2\nt4 = slice.1 t3\n"), "slice.1 of what is sharded(1) makes nothing");
    refused(embed("t3 = all-reduce t2\n"), "all-reduce of what is whole makes nothing");
    refused(embed("t3 = slice.0 t2\n"), "slice.0 of what is whole makes nothing");
    refused(embed("t3 = slice.7 t2\n"), "slice.7 of what is whole makes nothing");
    let out = lifted(plan_of("reduce"));
    let head = out.iter().find(|one| one.class == "head").unwrap();
    let text = format!(
        "{PROOF_HEADER}\nclass \"head\"\nt0 = %0\nt1 = last_token@0 t0\nt2 = slice.1 t1\nt3 = %2\nt4 = rms_norm@1 t2 t3\n"
    );
    refused(checked(&text, std::slice::from_ref(head)), "rms_norm of operands held so makes nothing");
}

#[test]
fn steps_that_prove_nothing_are_refused() {
    refused(gathered("c0 from t2\n  split embed d @0/2 -> t4\n"), "before and after stand for different things");
    refused(gathered("c0 from t2\n  split embed q @0/2 -> t5\n"), "no rule is called `split embed q @0/2`");
    refused(gathered("c0 from t2\n  planted 0 -> t5\n"), "no rule is called `planted 0`");
    let left = "the term is not the left side of `split embed d @0/2`: (op@0 ?a0 ?a1)";
    refused(gathered("c0 from t2\n  split embed d @0/2 <- t5\n"), left);
    let right = "the term is not the right side of `split embed d @0/2`: (all-gather.1 (op@0 ?a0 (slice.1 ?a1)))";
    refused(gathered("c0 from t2\n  split embed d @0/2 -> t7\n"), right);
    refused(gathered(&format!("{GATHERED}c1 from t2\n  operand 0 by c0 -> t5\n")), "c0 does not begin with operand 0");
    refused(gathered(&format!("{GATHERED}c1 from t2\n  operand 9 by c0 -> t5\n")), "c0 does not begin with operand 9");
    let other = "c0 from t6\n  cancel 1 -> t6\n";
    refused(gathered(other), "the term is not the left side of `cancel 1`: (slice.1 (all-gather.1 ?p))");
    let more = format!("{GATHERED}c1 from t6\n  operand 0 by c0 -> t4\n");
    refused(gathered(&more), "more or other than operand 0 was replaced");
    refused(gathered(""), "there is no chain");
}

#[test]
fn a_proof_of_something_else_is_refused() {
    refused(gathered("c0 from t5\n"), "the proof does not begin with the layer");
    refused(gathered("c0 from t2\n"), "the proof does not end with a program that the plan runs");
    refused(
        checked(&format!("{PROOF_HEADER}\n"), &plain()[..1]),
        "there is no proof of what the plan runs as `embed` in prefill and decode",
    );
    let twice = format!("{PROOF_HEADER}\n{EMBED}c0 from t2\n{EMBED}c0 from t2\n");
    refused(checked(&twice, &plain()[..1]), "the same program is proven a second time");
    let unknown = format!("{PROOF_HEADER}\n{}c0 from t2\n", EMBED.replace("embed\"", "other\""));
    refused(checked(&unknown, &plain()[..1]), "the plan runs no class \"other\"");
}

/// A program that is not what it says of itself, as no plan that was verified has.
#[test]
fn a_program_that_lies_is_refused() {
    let with = |change: &dyn Fn(&mut Program)| {
        let mut out = plain();
        out.truncate(1);
        change(&mut out[0].program);
        checked(&format!("{PROOF_HEADER}\n{EMBED}c0 from t2\n"), &out)
    };
    refused(with(&|program| program.instructions[0].layout = Layout::Partial), "%0 is not partial");
    refused(with(&|program| program.instructions.truncate(0)), "a program that makes nothing");
    refused(with(&|program| program.instructions[2].inputs[1] = ValueId(2)), "a value is read before it is made");
    refused(with(&|program| program.instructions[2].action = Action::Slice), "a slice that is none");
    refused(with(&|program| program.instructions[2].action = Action::ReduceScatter), "a slice that is none");
    refused(with(&|program| program.instructions[2].action = Action::AllGather), "a gather of what is not cut");
    refused(
        with(&|program| program.instructions[2].action = Action::Compute(sailplan_ir::NodeId(7))),
        "no such operator",
    );
    refused(with(&|program| program.instructions[1].tensor = TensorId(0)), "the class has no embed of these operands");
}
