//! The canonical text of a plan: RON, fields in a fixed order, one instruction, buffer, tensor or resident a line, so
//! that a decision that changed is a small diff.

use crate::lists::Cards;
use crate::text::{self, Body, Part, PlanText, ProgramText, SailText};
use crate::{Plan, PlanClass, PlanModel, digest};
use ron::Options;
use ron::extensions::Extensions;
use ron::ser::PrettyConfig;
use serde::Serialize;

/// The canonical text, with the digest filled in.
#[must_use]
pub fn write(plan: &Plan) -> String {
    let text = undigested(&text::fold(plan));
    let digest = digest::of(&text);
    // The plan's own digest is the first field of that name.
    text.replacen(&field("digest", ""), &field("digest", &digest), 1)
}

/// The canonical text with its digest empty.
pub(crate) fn undigested(plan: &PlanText) -> String {
    let mut page = Page::default();
    page.open("Plan(");
    page.field("version", &plan.version);
    page.field("digest", "");
    page.field("made_by", &plan.made_by);
    model(&mut page, &plan.model);
    page.open("fleet: (");
    page.field("name", &plan.fleet.name);
    page.field("digest", &plan.fleet.digest);
    page.field("inline", &plan.fleet.inline);
    page.close("),");
    page.field("request", &plan.request);
    if !plan.pins.is_empty() {
        page.list("pins", &plan.pins);
    }
    page.field("objective", &plan.objective);
    page.field("estimate", &plan.estimate);
    page.field("certificate", &plan.certificate);
    page.open("bodies: [");
    plan.bodies.iter().for_each(|one| body(&mut page, one));
    page.close("],");
    page.open("sails: [");
    plan.sails.iter().for_each(|sail| card(&mut page, sail));
    page.close("],");
    page.close(")");
    page.text
}

/// One value on one line.
pub(crate) fn leaf<T: Serialize + ?Sized>(value: &T) -> String {
    let config = PrettyConfig::new().new_line("\n").compact_arrays(true).compact_structs(true).compact_maps(true);
    // All that a plan holds can be said, but for a repeat inside a repeat, which leaves a gap that no reader takes.
    options().to_string_pretty(value, config).unwrap_or_default()
}

/// How plans are read and written.
pub(crate) fn options() -> Options {
    Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

fn field<T: Serialize + ?Sized>(name: &str, value: &T) -> String {
    format!("{name}: {},", leaf(value))
}

/// Lines with their indentation.
#[derive(Default)]
struct Page {
    text: String,
    depth: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        (0..self.depth).for_each(|_| self.text.push_str("  "));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn open(&mut self, line: &str) {
        self.line(line);
        self.depth += 1;
    }

    fn close(&mut self, line: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(line);
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.line(&field(name, value));
    }

    fn list<T: Serialize>(&mut self, name: &str, values: &[T]) {
        if values.is_empty() {
            return self.line(&format!("{name}: [],"));
        }
        self.items(&format!("{name}: ["), values, "],");
    }

    fn items<T: Serialize>(&mut self, open: &str, values: &[T], close: &str) {
        self.open(open);
        values.iter().for_each(|value| self.line(&format!("{},", leaf(value))));
        self.close(close);
    }
}

fn model(page: &mut Page, model: &PlanModel) {
    page.open("model: (");
    page.field("name", &model.name);
    page.field("digest", &model.digest);
    page.field("source", &model.source);
    page.list("chain", &model.chain);
    page.open("classes: [");
    model.classes.iter().for_each(|one| class(page, one));
    page.close("],");
    page.close("),");
}

fn class(page: &mut Page, class: &PlanClass) {
    page.open("(");
    page.field("name", &class.name);
    page.list("tensors", &class.tensors);
    page.list("nodes", &class.nodes);
    page.close("),");
}

fn body(page: &mut Page, body: &Body) {
    page.open("(");
    page.field("name", &body.name);
    page.list("instructions", &body.instructions);
    page.close("),");
}

fn card(page: &mut Page, card: &SailText) {
    // Every field by name: a new one cannot be forgotten.
    let SailText { sail, replica, stage, group, memory, sustain, weights, caches, load, prefill, decode } = card;
    page.open("(");
    page.field("sail", sail);
    if *replica > 0 {
        page.field("replica", replica);
    }
    page.field("stage", stage);
    page.field("group", &Cards(group));
    page.field("memory", memory);
    if sustain.is_some() {
        page.field("sustain", sustain);
    }
    page.list("weights", weights);
    page.list("caches", caches);
    page.list("load", load);
    program(page, "prefill", prefill);
    program(page, "decode", decode);
    page.close("),");
}

fn program(page: &mut Page, name: &str, program: &ProgramText) {
    page.open(&format!("{name}: ("));
    page.list("buffers", &program.buffers);
    page.open("run: [");
    for part in &program.run {
        match part {
            Part::Once(instructions) => page.items("Once([", instructions, "]),"),
            Part::Layers(turns) => page.items("Layers([", turns, "]),"),
        }
    }
    page.close("],");
    page.close("),");
}
