//! Writes `docs/case-studies/reviewed-plans.md`: ADR-014's question, which line coding the links get, answered by plans and
//! their differences as the `sailplan` command prints them. `./x docs` runs it with a folder for its files; a test holds the
//! page equal to what it prints.
#![expect(clippy::disallowed_methods, reason = "writes the fleets that it feeds to the command")]

use sailplan_cost_model::shipped_fleet;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Zoo names, and the cards that each is planned for.
const MODELS: [(&str, &[u64]); 3] =
    [("tinyllama-1.1b", &[2, 4, 8]), ("llama-2-7b", &[2, 4, 8]), ("llama-3-70b", &[2, 4, 8, 16])];

/// Line codings as fleets and people write them.
const CODINGS: [(&str, &str); 2] = [("B8B10", "8b/10b"), ("B64B66", "64b/66b")];

#[cfg_attr(test, expect(dead_code, reason = "the test calls `page`"))]
fn main() {
    let command = std::env::current_exe().expect("it has a path").with_file_name("../sailplan");
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target".to_owned());
    print!("{}", page(&command, Path::new(&folder)));
}

/// The command, and where it finds its files.
struct Bench<'a> {
    command: &'a Path,
    folder: &'a Path,
}

/// Plans of one model on so many cards, or why there are none.
enum Pair {
    Plans([Value; 2], String),
    Refusal(String),
}

/// The page.
pub(crate) fn page(command: &Path, folder: &Path) -> String {
    let bench = Bench { command, folder };
    let all: Vec<(&str, u64, Pair)> = MODELS
        .iter()
        .flat_map(|&(model, cards)| cards.iter().map(move |&cards| (model, cards)))
        .map(|(model, cards)| (model, cards, bench.pair(model, cards)))
        .collect();
    let mut text = String::from(HEAD);
    for (model, cards, pair) in &all {
        rows(&mut text, (model, *cards), pair);
    }
    text.push_str(DIFFERENCES);
    for (model, cards, pair) in &all {
        if let Pair::Plans(_, difference) = pair {
            let _ = write!(text, "\n{model} on {cards} cards:\n\n```text\n{difference}```\n");
        }
    }
    text.push_str(REFUSED);
    for (model, cards, pair) in &all {
        if let Pair::Refusal(reasons) = pair {
            let _ = write!(text, "\n{model} on {cards} cards:\n\n```text\n{reasons}```\n");
        }
    }
    text.push_str(TAIL);
    text
}

impl Bench<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(self.command).args(arguments).output();
        output.expect("the command is built beside this example")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The shipped ring with its links in a coding.
    fn fleet(&self, cards: u64, coding: &str) -> String {
        let shipped = shipped_fleet(&format!("innerjib7ea-x{cards}-ring")).expect("it is shipped");
        let path = self.file(&format!("x{cards}-{coding}.ron"));
        let text = shipped.replace("coding: B8B10", &format!("coding: {coding}"));
        std::fs::write(&path, text).expect("the folder can be written");
        path.display().to_string()
    }

    fn pair(&self, model: &str, cards: u64) -> Pair {
        let plans = CODINGS.map(|(coding, _)| self.file(&format!("{coding}.ron")).display().to_string());
        let (mut summaries, mut refused) = (Vec::new(), Vec::new());
        for ((coding, _), plan) in CODINGS.iter().zip(&plans) {
            let fleet = self.fleet(cards, coding);
            let asked = ["compile", model, "--fleet", &fleet, "--wire", "bf16"];
            let output = self.run(&[&asked[..], &["-o", plan, "--json"]].concat());
            match output.status.code() {
                Some(0) => summaries.push(serde_json::from_slice(&output.stdout).expect("it prints JSON")),
                _ => refused.push(refusal(&self.run(&asked))),
            }
        }
        if let [first, _] = &refused[..] {
            return Pair::Refusal(first.clone());
        }
        let difference = self.run(&["diff", &plans[0], &plans[1]]);
        let difference = String::from_utf8_lossy(&difference.stdout).into_owned();
        // The first line names the files.
        let difference = difference.split_once('\n').map_or("", |(_, rest)| rest).to_owned();
        let summaries: [Value; 2] = summaries.try_into().expect("one plan for each coding");
        Pair::Plans(summaries, difference)
    }
}

/// What a refusal says, without what the command says while it looks.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.find("no plan:").map_or(said.clone(), |start| said[start..].to_owned())
}

fn rows(text: &mut String, (model, cards): (&str, u64), pair: &Pair) {
    let Pair::Plans(plans, _) = pair else {
        let _ = writeln!(text, "| {model} | {cards} | both | refused | | | | |");
        return;
    };
    for ((_, coding), plan) in CODINGS.iter().zip(plans) {
        let estimate = &plan["estimate"];
        let seconds = |value: &Value| value.as_f64().unwrap_or_default();
        let (request, link) = (seconds(&estimate["request_s"]), seconds(&estimate["by_resource"]["link_s"]));
        let _ = writeln!(
            text,
            "| {model} | {cards} | {coding} | {} | {request:.2} s | {:.1} % | {:.2} ms | {}, gap {} |",
            structure(plan),
            100.0 * link / request,
            1e3 * seconds(&estimate["decode_s_per_token"]),
            plan["certificate"]["status"].as_str().unwrap_or_default(),
            plan["certificate"]["gap"],
        );
    }
}

/// How many cards share each stage.
fn structure(plan: &Value) -> String {
    let stages = plan["stages"].as_array().map_or(&[][..], Vec::as_slice);
    let degrees: Vec<String> = stages.iter().map(|stage| stage["degree"].to_string()).collect();
    match &degrees[..] {
        [one] => format!("tensor parallel over {one}"),
        several => format!("stages of {}", several.join(" + ")),
    }
}

const HEAD: &str = "\
# ADR-014 as reviewed plans

ADR-014 leaves open whether the card links are coded in 8b/10b or in 64b/66b. The rate of a lane is given, so 64b/66b carries 21 %
more payload. This page asks the question as a change to a repository of plans would: each model is planned for InnerJib7EA rev-A
cards in a ring with either coding (`--wire bf16`, prompt 512, 128 tokens, 4 GB a card), and the two plans are compared. `./x docs`
writes the page; a test holds it to what the compiler says today. What the links carry step by step is in the
[link model](../intercard/link-model.md), and what ADR-014 counts in [its own page](adr-014.md).

## Plans

| model | cards | coding | structure | request | of which links | a token | certificate |
|---|---|---|---|---|---|---|---|
";

const DIFFERENCES: &str = "
## What changes from 8b/10b to 64b/66b

What `sailplan diff` says of each pair, the plan for 8b/10b first.
";

const REFUSED: &str = "
## What is refused

Where the cards cannot hold the model, with either coding, `compile` names the demands that cannot hold together, and what would
admit a plan; the times are for 8b/10b.
";

const TAIL: &str = "
## What follows

- **The coding decides no placement.** Every pair differs in the class `estimate-only` alone: no layer, slice, collective or
  algorithm changes. Boards of either coding hold the same weights and run the same programs.
- **It is worth 1.4 % of a request at most.** On eight cards and more, links take 5 to 11 % of a request, and 64b/66b saves 11 to
  15 % of that. A decode step gains less than half a percent, because nearly all of it is reading weights; prefill, whose messages are
  long, gains 2 to 9 %.
- **What binds is memory.** Twice the cards save far more than any coding can, and a 4-bit Llama-3-70B does not fit on eight cards of
  4 GB with either.

So the coding can be chosen for what it costs in logic and for how it behaves on the wire, as far as these models are concerned.
";
