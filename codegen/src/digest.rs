//! Identities: SHA-256 over canonical text.

use crate::text::{self, PlanText};
use crate::{Plan, write};
use sailplan_ir::Fleet;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Over the plan's canonical text with its digest empty.
pub(crate) fn of_plan(plan: &Plan) -> String {
    of_text(&text::fold(plan))
}

/// Over a text in its canonical layout with its digest empty.
pub(crate) fn of_text(text: &PlanText) -> String {
    of(&write::undigested(text))
}

/// Over the fleet's figures as a plan writes them.
pub(crate) fn of_fleet(fleet: &Fleet) -> String {
    of(&write::leaf(fleet))
}

/// Over a text.
pub(crate) fn of(text: &str) -> String {
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}
