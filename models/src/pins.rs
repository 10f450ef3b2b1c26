//! Pin files: RON text to named demands with their places. Whether they make sense for a model and a fleet is not known
//! here.

use crate::description::{Step, explain, find};
use sailplan_ir::{At, Diagnostic, Diagnostics, Pin, Place};
use std::collections::BTreeSet;

/// More pins than this are a mistake.
const MAX_PINS: usize = 1000;

/// What a file of pins looks like.
const SHAPE: &str = "pins are `[(name: \"…\", demand: Never(\"sail3\")), …]`; docs/pins.md has them all";

/// The pins of a file, in its order. `file` stands in diagnostics and in the pins' places.
///
/// # Errors
/// Syntax, unknown demands, and names that are empty or given twice, each with its place.
pub fn pins_from_ron(file: &str, text: &str) -> Result<Vec<Pin>, Diagnostics> {
    let extensions = ron::extensions::Extensions::IMPLICIT_SOME | ron::extensions::Extensions::UNWRAP_NEWTYPES;
    let options = ron::Options::default().with_default_extension(extensions);
    let parsed: Result<Vec<Pin>, _> = options.from_str(text);
    let mut pins = parsed.map_err(|error| shaped(explain(file, text, &error)))?;
    let mut problems = Diagnostics::default();
    if pins.len() > MAX_PINS {
        let message = format!("{} pins are more than the {MAX_PINS} that are supported", pins.len());
        problems.push(Diagnostic::new(message).at(file, At::Whole));
        return Err(problems);
    }
    let mut names = BTreeSet::new();
    for (index, pin) in pins.iter_mut().enumerate() {
        let place = |field: &str| find(text, &[Step::Item(index), Step::Field(field)]).map_or(At::Whole, At::Span);
        if pin.name.trim().is_empty() {
            let problem = Diagnostic::new("the pin has no name").hint("a refusal cites pins by name");
            problems.push(problem.at(file, place("name")));
        } else if !names.insert(pin.name.clone()) {
            let problem = Diagnostic::new(format!("another pin is called `{}` already", pin.name));
            problems.push(problem.hint("give each pin a name of its own").at(file, place("name")));
        }
        pin.place = Some(Place { file: file.to_owned(), at: place("demand") });
    }
    problems.into_result(pins)
}

/// The reader of model descriptions points to shipped models where it knows nothing better.
fn shaped(mut problems: Diagnostics) -> Diagnostics {
    for problem in &mut problems.0 {
        if problem.hint.as_ref().is_some_and(|hint| hint.contains("shipped models") || hint.contains("types are")) {
            problem.hint = Some(SHAPE.to_owned());
        }
    }
    problems
}
