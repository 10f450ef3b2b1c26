//! A comparison of two plans for people: verdict, causes, budget, what moved, what crosses links, memory. A screenful: long
//! lists are cut, JSON has all.

mod causes;
mod deals;
mod figures;
mod work;

use sailplan_codegen::{Change, Class, Diff, Plan, What};
use std::fmt::Write;

/// Lines of one section; the budget has one more for each time.
const MOST: usize = 6;

/// Sections of lines.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// A title and its lines; nothing without lines.
    fn section(&mut self, title: &str, lines: &[String]) {
        self.cut_section(title, lines, MOST);
    }

    fn cut_section(&mut self, title: &str, lines: &[String], most: usize) {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(self.text, "{title}");
        let shown = if lines.len() > most { most - 1 } else { lines.len() };
        for line in &lines[..shown] {
            let _ = writeln!(self.text, "  {}", line.trim_end());
        }
        if shown < lines.len() {
            let _ = writeln!(self.text, "  and {} more, see --json", lines.len() - shown);
        }
    }
}

/// Both plans and what differs.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) old: &'a Plan,
    pub(crate) new: &'a Plan,
    pub(crate) changes: &'a [Change],
}

impl View<'_> {
    /// Whether objectives, and so bounds and parts of the objective, cannot be compared.
    fn other_objective(&self) -> bool {
        self.old.objective != self.new.objective
    }

    /// Lines for the changes that have one.
    fn lines(&self, line: impl Fn(&What) -> Option<String>) -> Vec<String> {
        self.changes.iter().filter_map(|change| line(&change.what)).collect()
    }
}

/// All of it.
pub(crate) fn text(old: &Plan, new: &Plan, diff: &Diff) -> String {
    let view = View { old, new, changes: &diff.changes };
    let mut page = Page::default();
    let _ = writeln!(page.text, "verdict   {}", verdict(view, diff));
    page.section("causes", &causes::inputs(view));
    page.cut_section(&figures::budget_title(), &figures::budget(view), usize::MAX);
    page.section("moved", &deals::moved(view));
    page.section("traffic", &work::traffic(view));
    page.section("memory", &figures::memory(view));
    page.section("proof", &figures::proof(view));
    page.section("cosmetic", &causes::cosmetic(view));
    page.text
}

/// A comparison with a plan that is refused.
pub(crate) fn refusal(diff: &Diff) -> String {
    let mut page = Page::default();
    for change in &diff.changes {
        let (verdict, problems) = match &change.what {
            What::Refused { problems } => ("unfit: the new plan is refused", problems),
            What::Mended { problems } => ("moved: the old plan is refused, the new one is sound", problems),
            _ => continue,
        };
        let _ = writeln!(page.text, "verdict   {verdict}");
        page.section("problems", problems);
    }
    page.text
}

fn verdict(view: View<'_>, diff: &Diff) -> String {
    if diff.same() {
        return "the same".to_owned();
    }
    let classes: Vec<String> = diff.classes().iter().map(Class::to_string).collect();
    let (old, new) = (view.old.estimate.objective, view.new.estimate.objective);
    let asked = if view.old.request == view.new.request { "" } else { ", of another request" };
    let pace = if view.other_objective() {
        "another objective".to_owned()
    } else if old == new {
        format!("as fast{asked}")
    } else {
        let word = if new < old { "faster" } else { "slower" };
        format!("{word}: {} {old} → {new} ({}){asked}", view.new.objective, figures::percent(old, new))
    };
    format!("{pace}\nclasses   {}", classes.join(", "))
}
