//! Models described in RON: `Decoder(…)`, sizes and element types, expanded to the same graph a GGUF gives.

mod expand;
mod format;
mod mistake;
mod spans;

pub(crate) use mistake::explain;
pub(crate) use spans::{Step, find};

use crate::Loaded;
use crate::assemble::{About, assemble};
use expand::expand;
use sailplan_ir::{At, Diagnostic, Diagnostics};

/// The model of a description.
pub(crate) fn read(file: &str, text: &str) -> Result<Loaded, Diagnostics> {
    check_kind(file, text)?;
    let extensions = ron::extensions::Extensions::IMPLICIT_SOME | ron::extensions::Extensions::UNWRAP_NEWTYPES;
    let options = ron::Options::default().with_default_extension(extensions);
    let description: format::Decoder = options.from_str(text).map_err(|error| mistake::explain(file, text, &error))?;
    let place = |steps: &[spans::Step<'_>]| spans::find(text, steps).map_or(At::Whole, At::Span);
    let graph = expand(&description, &|steps| place(steps)).map_err(|problems| named(problems, file))?;
    let about = About { name: description.name, source: "ron", trained_context: description.context };
    let model = assemble(about, graph).map_err(|problems| problems.in_file(file))?;
    Ok(Loaded { model, weights: None })
}

fn named(problems: Vec<(Diagnostic, At)>, file: &str) -> Diagnostics {
    Diagnostics(problems.into_iter().map(|(problem, at)| problem.at(file, at)).collect())
}

/// Says what is accepted before the parser speaks of struct names.
fn check_kind(file: &str, text: &str) -> Result<(), Diagnostics> {
    let Some((kind, span)) = spans::head(text) else {
        let problem = Diagnostic::new("the description is empty").at(file, At::Whole);
        return Err(problem.hint("start with `Decoder(name: …, hidden: …)`, as the shipped models do").into());
    };
    let problem = match kind {
        "Decoder" => return Ok(()),
        "Graph" => Diagnostic::new("descriptions of whole graphs are not supported yet"),
        _ => Diagnostic::new(format!("`{kind}` is not a kind of model description")),
    };
    Err(problem.at(file, At::Span(span)).hint("describe the model as `Decoder(…)`, as the shipped models do").into())
}
