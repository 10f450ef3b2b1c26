//! The descriptions that ship with sailplan.

use crate::{Loaded, from_ron};
use sailplan_ir::{Diagnostic, Diagnostics};

/// A shipped description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZooModel {
    /// What a user types: `llama-3-8b`.
    pub name: &'static str,
    /// The description, in RON.
    pub text: &'static str,
}

macro_rules! zoo {
    ($($name:literal)*) => {
        &[$(ZooModel { name: $name, text: include_str!(concat!("../zoo/", $name, ".ron")) },)*]
    };
}

const ZOO: &[ZooModel] = zoo! {
    "qwen3-0.6b"
    "tinyllama-1.1b" "tinyllama-1.1b-q4_k_m"
    "gemma-2-2b"
    "phi-3-mini"
    "qwen3-4b"
    "llama-2-7b" "llama-2-7b-q4_k_m"
    "llama-3-8b" "llama-3-8b-q4_k_m"
    "qwen3-8b"
    "gemma-2-9b"
    "qwen3-14b"
    "gemma-2-27b"
    "qwen3-30b-a3b"
    "qwen3-32b"
    "mixtral-8x7b"
    "llama-3-70b" "llama-3-70b-q4_k_m"
    "qwen3-235b-a22b"
    "llama-3-405b"
};

/// The shipped models, smallest first.
#[must_use]
pub const fn zoo() -> &'static [ZooModel] {
    ZOO
}

/// Loads a shipped model by its name.
///
/// # Errors
/// When there is no model of that name; the hint lists those there are.
pub fn load_zoo(name: &str) -> Result<Loaded, Diagnostics> {
    let Some(model) = ZOO.iter().find(|model| model.name == name) else {
        let names: Vec<&str> = ZOO.iter().map(|model| model.name).collect();
        let problem = Diagnostic::new(format!("there is no shipped model `{}`", name.escape_debug()));
        return Err(problem.hint(format!("shipped are {}", names.join(", "))).into());
    };
    from_ron(&format!("{name}.ron"), model.text)
}
