//! Proofs that plans equal their layers: for every shipped model and every named case, through their text, checked without the
//! e-graph that found them; and thousands of changed proofs.

use crate::commands::{at, code, json, said, sailplan, scratch};
use crate::mixture::mixture;
use crate::pipeline::{OnDisk, compiled, emitted, fleet, on_disk, small_request, staged};
use crate::tiny::{Kind, golden};
use sailplan_codegen::{Lifted, Plan, check_proofs, equation_table, lift, read_proofs};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Action, Fleet, Instruction, Layout, Model, PROOF_HEADER, Request, Verified, Verify};
use sailplan_planner::{Config, place, prove, rule_table};
use std::collections::{BTreeMap, BTreeSet};

fn shipped(name: &str) -> Verified<Fleet> {
    parse_fleet(name, shipped_fleet(name).unwrap()).unwrap()
}

fn planned(model: &Verified<Model>, fleet: &Verified<Fleet>) -> Option<Verified<Plan>> {
    let request = Request::default().verify().unwrap();
    let placement = place(model, &CostModel::new(fleet, &request), Config::default()).ok()?.placement;
    Some(emitted(model, fleet, &request, &placement))
}

/// The proofs of all that a plan runs, as a file.
fn text(lifted: &[Lifted]) -> String {
    let one = |one: &Lifted| prove(&one.class, &one.template, &one.program).unwrap().text();
    std::iter::once(format!("{PROOF_HEADER}\n")).chain(lifted.iter().map(one)).collect()
}

fn holds(text: &str, lifted: &[Lifted]) -> Result<usize, String> {
    let read = read_proofs("a.proof", text).map_err(|problems| problems.to_string())?;
    let proven = check_proofs(&read, lifted).map_err(|problems| problems.to_string())?;
    Ok(proven.iter().map(|proven| proven.steps).sum())
}

#[track_caller]
fn proven(plan: &Verified<Plan>) -> usize {
    let lifted = lift(plan).unwrap();
    holds(&text(&lifted), &lifted).unwrap()
}

#[test]
fn every_class_of_every_shipped_model_is_proven() {
    for known in sailplan_models::zoo() {
        let model = sailplan_models::load_zoo(known.name).unwrap().model;
        let plan = planned(&model, &shipped("innerjib7ea-x8-mesh"))
            .or_else(|| planned(&model, &shipped("innerjib7ea-x64-ring")))
            .unwrap();
        assert!(proven(&plan) > 0, "{}", known.name);
    }
}

#[test]
fn the_named_cases_are_proven() {
    for (model, fleet) in [
        ("tinyllama-1.1b", "innerjib7ea-x4-ring"),
        ("tinyllama-1.1b-q4_k_m", "innerjib7ea-mixed-x4-ring"),
        ("llama-2-7b", "home-cluster-x5"),
        ("llama-3-8b", "innerjib7ea-mixed-x8-ring"),
        ("phi-3-mini", "innerjib7ea-x2-star"),
        ("gemma-2-2b", "innerjib7ea-x4-mesh"),
        ("qwen3-4b", "popc-16a-x4"),
        ("qwen3-30b-a3b", "innerjib7ea-x8-ring"),
        ("mixtral-8x7b", "maintopsail7ea-x8"),
    ] {
        let model = sailplan_models::load_zoo(model).unwrap().model;
        assert!(proven(&planned(&model, &shipped(fleet)).unwrap()) > 0, "{}", model.name);
    }
}

/// One group of every size, and pipelines of unequal groups.
#[test]
fn small_models_are_proven_on_groups_of_every_size() {
    let OnDisk { model: dense, .. } = on_disk("tiny-gqa-q4_0", &golden("tiny-gqa-q4_0").unwrap());
    let OnDisk { model: mixed, .. } = on_disk("mixture-q4_0", &mixture(Kind::Q4_0));
    for model in [dense, mixed] {
        let segments = model.segments.len();
        for shape in ["ring", "mesh", "star"] {
            for sails in 1..=7 {
                let steps = proven(&compiled(&model, &fleet(sails, shape), &small_request()));
                // The layers have one class.
                assert!(sails > 1 || steps <= 1, "one card runs the layers as they are, or fused");
            }
            let stages = [(0..2, 0..2), (2..3, 2..3), (3..6, 3..segments)];
            proven(&staged(&model, &fleet(6, shape), &small_request(), &stages));
        }
    }
}

/// The checker's equations are made from the operator table by other code than the planner's rules.
#[test]
fn planner_and_checker_have_the_same_equations() {
    for known in sailplan_models::zoo() {
        let model = sailplan_models::load_zoo(known.name).unwrap().model;
        for class in &model.classes {
            let rules: BTreeSet<[String; 4]> = rule_table(class)
                .into_iter()
                .map(|rule| [rule.name.clone(), rule.left.clone(), rule.right.clone(), rule.condition()])
                .collect();
            let equations: BTreeSet<[String; 4]> = equation_table(&class.template).into_iter().collect();
            assert_eq!(rules, equations, "{} {}", known.name, class.name);
        }
    }
}

fn three_cards() -> Vec<Lifted> {
    let OnDisk { model, .. } = on_disk("tiny-gqa-q4_0", &golden("tiny-gqa-q4_0").unwrap());
    lift(&compiled(&model, &fleet(3, "mesh"), &small_request())).unwrap()
}

#[test]
fn a_proof_reads_as_the_snapshot() {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../../../snapshots/tiny-gqa-q4_0-x3-mesh");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let proofs = text(&three_cards());
    let (_, head) = proofs.split_once("class \"head\"").unwrap();
    assert!(include_str!("../../../docs/proof.md").contains(head), "docs/proof.md shows the proof of the head");
    settings.bind(|| insta::assert_snapshot!("proof", proofs));
}

/// The classes of four plans: dense, with experts, cut in two ways, and on boards that send slowly.
fn subjects() -> Vec<Vec<Lifted>> {
    let zoo = |model: &str, fleet: &str| {
        lift(&planned(&sailplan_models::load_zoo(model).unwrap().model, &shipped(fleet)).unwrap()).unwrap()
    };
    vec![
        zoo("tinyllama-1.1b", "innerjib7ea-x4-ring"),
        zoo("mixtral-8x7b", "maintopsail7ea-x8"),
        zoo("gemma-2-2b", "innerjib7ea-x4-mesh"),
        three_cards(),
    ]
}

/// Numbers that are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

/// A text with one thing changed.
fn changed(text: &str, rules: &[String], numbers: &mut Numbers) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let steps: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].starts_with("  ")).collect();
    let any = 1 + numbers.below(lines.len() - 1);
    // Steps twice as often as lines: what reads well is the checker's to refuse.
    let one = if numbers.below(3) == 0 { any } else { steps.get(numbers.below(steps.len())).copied().unwrap_or(any) };
    let other = 1 + numbers.below(lines.len() - 1);
    match numbers.below(9) {
        0 => drop(lines.remove(one)),
        1 => lines.swap(one, other),
        2 if one + 1 < lines.len() => lines.swap(one, one + 1),
        3 => lines.insert(other, lines[one].clone()),
        4 => lines[one] = lines[other].clone(),
        5 => {
            lines[one] = if lines[one].contains(" -> ") {
                lines[one].replace(" -> ", " <- ")
            } else {
                lines[one].replace(" <- ", " -> ")
            }
        }
        6 => {
            if let Some(arrow) = lines[one].find(" -> ").or(lines[one].find(" <- ")) {
                let rule = &rules[numbers.below(rules.len())];
                lines[one] = format!("  {rule}{}", &lines[one][arrow..]);
            }
        }
        _ => lines[one] = digits(&lines[one], numbers),
    }
    lines.join("\n") + "\n"
}

/// A line with one of its numbers changed.
fn digits(line: &str, numbers: &mut Numbers) -> String {
    let starts: Vec<usize> = line
        .char_indices()
        .filter(|&(at, letter)| {
            letter.is_ascii_digit() && !line[..at].ends_with(|before: char| before.is_ascii_digit())
        })
        .map(|(at, _)| at)
        .collect();
    let Some(&start) = starts.get(numbers.below(starts.len())) else { return line.to_owned() };
    let end = line[start..].find(|letter: char| !letter.is_ascii_digit()).map_or(line.len(), |length| start + length);
    let value: usize = line[start..end].parse().unwrap();
    let near = if numbers.below(2) == 0 { value + 1 } else { value.saturating_sub(1) };
    let value = if numbers.below(3) == 0 { numbers.below(value * 2 + 3) } else { near };
    format!("{}{value}{}", &line[..start], &line[end..])
}

/// What each proof of a text says: class, first and last term of its last chain, written out with numbers of its own. As plain
/// as can be, for it judges the checker.
fn claims(text: &str) -> BTreeSet<(String, usize, usize)> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut claims = BTreeSet::new();
    for proof in text.split("class ").skip(1) {
        let mut terms: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut from, mut to) = ("", "");
        for line in proof.lines().skip(1).filter(|line| *line != PROOF_HEADER) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[1] == "=" {
                let operands = words[3..].iter().map(|word| terms[word].to_string()).collect::<Vec<_>>();
                let next = known.len();
                terms.insert(words[0], *known.entry(format!("{} {}", words[2], operands.join(" "))).or_insert(next));
            } else if line.starts_with('c') {
                (from, to) = (words[2], words[2]);
            } else {
                to = words[words.len() - 1];
            }
        }
        claims.insert((proof.lines().next().unwrap().to_owned(), terms[from], terms[to]));
    }
    claims
}

/// Both texts, so that equal terms have equal numbers: the second must claim nothing that the first does not.
fn claims_no_more(text: &str, changed: &str) -> bool {
    let both = claims(&format!("{text}{changed}"));
    both == claims(text)
}

#[test]
fn a_changed_proof_is_refused_or_proves_the_same() {
    let (mut refused, mut read, mut harmless) = (0, 0, 0);
    for (seed, lifted) in subjects().iter().enumerate() {
        let original = text(lifted);
        let table = |one: &Lifted| equation_table(&one.template).into_iter().map(|[name, ..]| name);
        let rules: Vec<String> = lifted.iter().flat_map(table).collect();
        let mut numbers = Numbers(seed as u64 + 1);
        for _ in 0..1500 {
            let mut changed = changed(&original, &rules, &mut numbers);
            for _ in 0..numbers.below(2) {
                changed = self::changed(&changed, &rules, &mut numbers);
            }
            match holds(&changed, lifted) {
                Err(_) => {
                    refused += 1;
                    read += usize::from(read_proofs("a.proof", &changed).is_ok());
                }
                Ok(_) => {
                    assert!(claims_no_more(&original, &changed), "accepted:\n{changed}");
                    harmless += usize::from(changed != original);
                }
            }
        }
    }
    println!("{refused} refused, of which {read} could be read; {harmless} harmless");
    assert!(refused > 5000 && read > 2000 && harmless < 100, "{refused} refused, {read} read, {harmless} harmless");
}

/// Every line by itself: without it, no proof holds, but for spare lines there are none.
#[test]
fn no_line_can_be_left_out() {
    let lifted = three_cards();
    let original = text(&lifted);
    let lines: Vec<&str> = original.lines().collect();
    for left_out in 0..lines.len() {
        let rest: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
        assert!(holds(&(rest.join("\n") + "\n"), &lifted).is_err(), "without `{}`", lines[left_out]);
    }
}

/// A program with one action or layout changed is not what the proof proves, and has no proof where it is no equal program.
#[test]
fn a_plan_with_another_collective_is_refused() {
    for lifted in subjects() {
        for (index, one) in lifted.iter().enumerate() {
            let proof = text(std::slice::from_ref(one));
            for at in 0..one.program.instructions.len() {
                for action in [Action::AllReduce, Action::AllGather, Action::ReduceScatter, Action::Slice] {
                    let mut other = lifted[index].clone();
                    let made: &mut Instruction = &mut other.program.instructions[at];
                    if made.action == action || made.inputs.len() != 1 {
                        continue;
                    }
                    made.action = action;
                    assert!(holds(&proof, std::slice::from_ref(&other)).is_err(), "{} v{at} {action}", one.class);
                    assert!(prove(&other.class, &other.template, &other.program).is_err(), "{} v{at}", one.class);
                }
            }
        }
    }
}

#[test]
fn a_proof_of_another_class_or_form_is_refused() {
    for lifted in subjects() {
        for one in &lifted {
            let proof = text(std::slice::from_ref(one));
            for other in lifted.iter().filter(|other| *other != one) {
                let renamed = proof.replace(&format!("class {:?}", one.class), &format!("class {:?}", other.class));
                assert!(holds(&proof, std::slice::from_ref(other)).is_err(), "{} {}", one.class, other.class);
                // Classes that differ in constants alone have the same proof, word for word.
                let alike = one.program == other.program && one.template.nodes.len() == other.template.nodes.len();
                assert_eq!(
                    holds(&renamed, std::slice::from_ref(other)).is_ok(),
                    alike,
                    "{} {}",
                    one.class,
                    other.class
                );
            }
        }
    }
}

/// A step under the name of a rule that would be wrong, and a rule of the table where it does not hold.
#[test]
fn a_wrong_rule_is_refused() {
    let lifted = three_cards();
    let layer: Vec<Lifted> = lifted.into_iter().filter(|one| one.class.starts_with("layer")).take(1).collect();
    let original = text(&layer);
    let whole = layer[0].program.instructions.iter().filter(|made| made.layout == Layout::Whole).count();
    assert!(whole > 2, "there is something to be wrong about");
    for planted in ["planted 0", "forget all-reduce", "split rms_norm d @0/2", "contract swiglu f @6/2", "cancel 9", ""]
    {
        for (at, line) in original.lines().enumerate().filter(|(_, line)| line.starts_with("  ")) {
            let arrow = line.find(" -> ").or(line.find(" <- ")).unwrap();
            let mut lines: Vec<String> = original.lines().map(str::to_owned).collect();
            lines[at] = format!("  {planted}{}", &line[arrow..]);
            assert!(holds(&(lines.join("\n") + "\n"), &layer).is_err(), "{planted} at {at}");
        }
    }
}

#[test]
fn verify_makes_writes_and_checks_proofs() {
    let directory = scratch("proofs");
    let (plan, other) = (at(&directory, "plan.ron"), at(&directory, "other.ron"));
    let (proofs, again) = (at(&directory, "plan.proof"), at(&directory, "again.proof"));
    let compile =
        |fleet: &str, plan: &str| code(&sailplan(&["compile", "tinyllama-1.1b", "--fleet", fleet, "-o", plan]));
    assert_eq!((compile("innerjib7ea-x4-ring", &plan), compile("innerjib7ea-x8-mesh", &other)), (0, 0));

    let output = sailplan(&["verify", &plan, "--proof"]);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(table.contains("class  form") && table.contains("proofs hold"), "{table}");
    let made = json(&sailplan(&["verify", &plan, "--proof-out", &proofs, "--json"]));
    let rows = made["proofs"].as_array().unwrap();
    assert_eq!((made["ok"].as_bool(), rows.len()), (Some(true), 4), "prefill and decode run two forms of a layer");
    for field in ["class", "form", "phases", "stages", "steps", "rules", "terms", "bytes", "make_s", "check_s"] {
        assert!(!rows[1][field].is_null(), "{field}");
    }
    assert_eq!(code(&sailplan(&["verify", &plan, "--proof-out", &again])), 0);
    let text = std::fs::read_to_string(&proofs).unwrap();
    assert_eq!(text, std::fs::read_to_string(&again).unwrap(), "the same plan, the same proofs");

    let checked = json(&sailplan(&["verify", &plan, "--check-proof", &proofs, "--json"]));
    assert_eq!(checked["proofs"].as_array().unwrap().len(), 4);
    let output = sailplan(&["verify", &other, "--check-proof", &proofs]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert!(said(&output).contains("does not end with a program that the plan runs"), "{}", said(&output));
    assert!(said(&output).contains("there is no proof of what the plan runs as `embed`"), "{}", said(&output));

    std::fs::write(&proofs, text.replacen("cancel 1", "planted 1", 1)).unwrap();
    let output = sailplan(&["verify", &plan, "--check-proof", &proofs]);
    assert_eq!(code(&output), 1);
    assert!(said(&output).contains("no rule is called `planted 1`"), "{}", said(&output));
    std::fs::write(&proofs, text.replacen("t1 = ", "t1 ~ ", 1)).unwrap();
    assert_eq!(code(&sailplan(&["verify", &plan, "--check-proof", &proofs])), 2, "no text of proofs");
    assert_eq!(code(&sailplan(&["verify", &plan, "--check-proof", "/nowhere/a.proof"])), 2);
    assert_eq!(code(&sailplan(&["verify", &plan, "--proof-out", "/nowhere/a.proof"])), 2);
    assert_eq!(code(&sailplan(&["verify", &plan, "--proof", "--check-proof", &proofs])), 2, "one or the other");
    let wrong = at(&directory, "wrong.proof");
    assert_eq!(code(&sailplan(&["verify", &plan, "--model", "llama-2-7b", "--proof-out", &wrong])), 1);
    assert!(!std::path::Path::new(&wrong).exists(), "nothing is proven of a plan of another model");
}
