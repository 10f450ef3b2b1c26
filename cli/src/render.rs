//! Diagnostics and reasons for people, on stderr.
#![expect(clippy::disallowed_methods, reason = "quotes the lines that a diagnostic points to; honours NO_COLOR")]

use crate::outcome::Failure;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use sailplan_ir::{At, Diagnostic};
use std::io::IsTerminal;

/// Prints why a command failed.
pub(crate) fn failure(failure: &Failure) {
    match failure {
        Failure::Input(problems) => problems.0.iter().for_each(diagnostic),
        Failure::NoPlan(reasons) => eprintln!("{reasons}"),
        Failure::Refused(refusal) => eprint!("{}", crate::refused::text(refusal)),
        other => eprintln!("error: {other}"),
    }
}

/// Prints one problem, with the lines it points to when the file can be read.
pub(crate) fn diagnostic(diagnostic: &Diagnostic) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    eprintln!("{}\n", rendered(diagnostic, &renderer));
}

/// Prints a remark that does not stop the work.
pub(crate) fn warning(diagnostic: &Diagnostic) {
    eprintln!("warning: {diagnostic}");
}

fn rendered(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let title = Level::ERROR.primary_title(diagnostic.message.as_str());
    let mut source = String::new();
    let mut group = match &diagnostic.place {
        None => annotate_snippets::Group::with_title(title),
        Some(place) => match (&place.at, quoted(&place.file)) {
            (At::Span(span), Some(text)) if span.end <= text.len() => {
                source = text;
                let end = span.end.max((span.start + 1).min(source.len()));
                let annotation = AnnotationKind::Primary.span(span.start..end);
                title.element(Snippet::source(source.as_str()).path(place.file.as_str()).annotation(annotation))
            }
            (At::Byte(offset), _) => title.element(Origin::path(format!("{}: byte {offset}", place.file))),
            (At::Name(name), _) => title.element(Origin::path(format!("{}: {name}", place.file))),
            _ => title.element(Origin::path(place.file.as_str())),
        },
    };
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let text = renderer.render(&[group]);
    drop(source);
    text
}

/// The text of a file or of a shipped description.
pub(crate) fn quoted(file: &str) -> Option<String> {
    let stem = file.strip_suffix(".ron").unwrap_or(file);
    let shipped = sailplan_models::zoo().iter().find(|model| model.name == stem).map(|model| model.text);
    let shipped = shipped.or_else(|| sailplan_cost_model::shipped_fleet(stem));
    std::fs::read_to_string(file).ok().or_else(|| shipped.map(str::to_owned))
}
