//! Single mutations of compiled plans: each is refused by the verifier, or its replay gives the same bits.

mod cases;
mod change;
mod instructions;
mod numbers;
mod parts;

use cases::{Case, cases};
use numbers::Numbers;
use sailplan_codegen::{Instruction, Plan};
use sailplan_ir::{Certificate, Picoseconds, Verify};

/// Mutations of each plan that change what is run or held.
const EACH: usize = 1000;

#[derive(Default)]
struct Count {
    mutations: usize,
    refused: usize,
    harmless: usize,
    /// Mutations of figures that nobody acts on; not counted above.
    estimates: usize,
    silent: Vec<String>,
}

#[test]
fn every_mutation_is_refused_or_harmless() {
    let cases = cases();
    let mut total = Count::default();
    for (index, case) in cases.iter().enumerate() {
        let count = mutate(case, Numbers::new(index as u64));
        let Count { mutations, refused, harmless, estimates, silent } = count;
        println!("{}: {mutations} mutations, {refused} refused, {harmless} harmless, {estimates} figures", case.name);
        total.mutations += mutations;
        total.refused += refused;
        total.harmless += harmless;
        total.silent.extend(silent);
    }
    let Count { mutations, refused, harmless, silent, .. } = total;
    println!("{} plans: {mutations} mutations, {refused} refused, {harmless} harmless", cases.len());
    assert!(silent.is_empty(), "{} silent:\n{}", silent.len(), silent.join("\n"));
    assert!(cases.len() >= 12 && mutations >= 5000 && refused > harmless, "{mutations} mutations");
}

/// The plans have what there is to mutate.
#[test]
fn the_plans_have_everything() {
    let cases = cases();
    let plans: Vec<&Plan> = cases.iter().map(|case| &*case.plan).collect();
    let shown = plans.iter().map(|plan| format!("{:?}", plan.sails)).collect::<String>();
    let words = "Kernel Slice Collective Send Recv Stream HostRecv HostSend AllGather AllReduce ReduceScatter Broadcast \
                 Merge Experts Cut Positions Dispatch Combine";
    let missing: Vec<&str> = words.split_whitespace().filter(|word| !shown.contains(word)).collect();
    assert!(missing.is_empty(), "no plan has {missing:?}");
    assert!(shown.contains("streamed: true") && shown.contains("from: Some("), "nothing is streamed or handed on");
    let stages = |plan: &&Plan| plan.sails.iter().any(|sail| sail.stage > 1);
    assert!(plans.iter().any(stages), "no plan has three stages");
    let uneven = |plan: &&Plan| {
        let size = |sail: &sailplan_codegen::SailPlan| sail.memory.weights;
        plan.sails.windows(2).any(|pair| pair[0].stage == pair[1].stage && size(&pair[0]) != size(&pair[1]))
    };
    assert!(plans.iter().filter(|plan| uneven(plan)).count() > 2, "shares are even");
    assert!(plans.iter().filter(|plan| plan.sails.len() > 1).count() > 8, "most plans are for one card");
}

fn mutate(case: &Case, mut numbers: Numbers) -> Count {
    let mut count = Count::default();
    let expected = case.logits(&case.plan).unwrap();
    while count.mutations < EACH {
        let mut plan: Plan = (*case.plan).clone();
        let what = change::change(&mut plan, &mut numbers);
        if plan == *case.plan {
            continue;
        }
        if without_figures(&plan) == without_figures(&case.plan) {
            count.estimates += 1;
            continue;
        }
        count.mutations += 1;
        match plan.verify() {
            Err(_) => count.refused += 1,
            Ok(plan) => match case.logits(&plan) {
                Ok(logits) if logits == expected => count.harmless += 1,
                Ok(_) => count.silent.push(format!("{}: {what}: other logits", case.name)),
                Err(error) => count.silent.push(format!("{}: {what}: {error}", case.name)),
            },
        }
    }
    count
}

/// The plan without predicted times and what else is only told.
fn without_figures(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.estimate = Default::default();
    plan.certificate = Certificate { bound: Picoseconds(0), ..plan.certificate };
    for sail in &mut plan.sails {
        sail.sustain = None;
        sail.load.iter_mut().for_each(|load| load.time = Picoseconds(0));
        for program in [&mut sail.prefill, &mut sail.decode] {
            program.instructions.iter_mut().for_each(Instruction::forget_time);
        }
    }
    plan
}
