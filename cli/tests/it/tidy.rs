//! The shape of the workspace: which crate may know which, what a source file begins with and how long it may be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Crate → what it may depend on. A machine that only replays plans never builds an e-graph library or a solver.
const ARROWS: &[(&str, &[&str])] = &[
    ("ir", &[]),
    ("models", &["ir"]),
    ("cost-model", &["ir"]),
    ("planner", &["ir", "cost-model"]),
    ("codegen", &["ir"]),
    ("executor", &["codegen", "ir"]),
    ("cli", &["ir", "models", "cost-model", "planner", "codegen", "executor"]),
];

/// Lines of a source file without tests.
const LONGEST_FILE: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let section = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn arrows_point_one_way() {
    for (folder, allowed) in ARROWS {
        let ours: BTreeSet<String> = dependencies(folder)
            .into_iter()
            .filter_map(|name| name.strip_prefix("sailplan-").map(str::to_owned))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        let forbidden: Vec<_> = ours.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{folder} must not depend on {forbidden:?}");
    }
}

#[test]
fn only_the_planner_knows_solvers_and_only_the_executor_kernels() {
    for (folder, _) in ARROWS {
        let known = dependencies(folder);
        for (name, owner) in [("egg", "planner"), ("good_lp", "planner"), ("candle-core", "executor")] {
            assert!(!known.contains(name) || *folder == owner, "{folder} must not depend on {name}");
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_source_file_says_its_job_and_is_short() {
    let mut files = Vec::new();
    for (folder, _) in ARROWS {
        sources(&root().join(folder).join("src"), &mut files);
    }
    assert!(files.len() > 60, "the sources were not found");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with what it is for", file.display());
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines, at most {LONGEST_FILE}", file.display());
    }
}

#[test]
fn no_planner_source_names_a_model_a_fleet_or_a_published_plan() {
    let mut files = Vec::new();
    sources(&root().join("planner/src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        for name in ["llama", "innerjib", "megatron", "tinyllama", "mixtral"] {
            assert!(!text.contains(name), "{} names {name}", file.display());
        }
    }
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let documents = [
        "README.md",
        "docs/ARCHITECTURE.md",
        "docs/GLOSSARY.md",
        "docs/calibration.md",
        "docs/ci.md",
        "docs/pins.md",
        "docs/performance.md",
        "docs/plan-format.md",
        "docs/proof.md",
        "docs/rules.md",
        "docs/testing.md",
    ];
    for document in documents {
        let path = root().join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let there = file.is_empty() || file.contains("://") || path.parent().unwrap().join(file).exists();
            assert!(there, "{document} links to {target}");
        }
    }
}
