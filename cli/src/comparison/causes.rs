//! What plans were made from, where it differs.

use super::View;
use crate::summary::names;
use sailplan_codegen::{Class, What};

/// Causes by name, with their values.
pub(super) fn inputs(view: View<'_>) -> Vec<String> {
    let serious = view.changes.iter().filter(|change| change.class != Class::Cosmetic);
    let causes: Vec<&What> = serious.map(|change| &change.what).collect();
    let digest_is_all = !causes.iter().any(|what| is_about(what, &["model.name", "type of", "model.layers"]));
    let shown = causes.into_iter().filter(|what| digest_is_all || !is_about(what, &["model.digest"]));
    shown.filter_map(line).collect()
}

/// What changes nothing: names, who wrote it, addresses.
pub(super) fn cosmetic(view: View<'_>) -> Vec<String> {
    let cosmetic = view.changes.iter().filter(|change| change.class == Class::Cosmetic);
    let whole = |what: &What| match what {
        // A fleet says its name twice in a plan.
        What::Input { field, .. } if field == "fleet.inline.name" => None,
        What::Arrangement { parts, sails } => Some(format!("text of {} on {}", parts.join(", "), names(sails))),
        other => line(other),
    };
    cosmetic.filter_map(|change| whole(&change.what)).collect()
}

fn is_about(what: &What, beginnings: &[&str]) -> bool {
    matches!(what, What::Input { field, .. } if beginnings.iter().any(|beginning| field.starts_with(beginning)))
}

fn line(what: &What) -> Option<String> {
    let What::Input { field, old, new, sails } = what else { return None };
    let values = match (old, new) {
        (Some(old), Some(new)) => format!("{} → {}", short(old), short(new)),
        (None, Some(new)) => short(new),
        (Some(old), None) => format!("{} gone", short(old)),
        (None, None) => "differs".to_owned(),
    };
    let about = match (sails.is_empty(), field.as_str()) {
        (true, _) => String::new(),
        (false, "sails") if fewer(old, new) => format!("  ({} gone)", names(sails)),
        (false, "sails") => format!("  ({} new)", names(sails)),
        (false, _) => format!("  ({})", names(sails)),
    };
    Some(format!("{field:<24} {values}{about}"))
}

fn fewer(old: &Option<String>, new: &Option<String>) -> bool {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u64>().ok());
    number(new) < number(old)
}

/// The beginning of a digest or of a long text.
fn short(text: &str) -> String {
    let most = if text.starts_with("sha256:") { 19 } else { 60 };
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).chain("…".chars()).collect() }
}
