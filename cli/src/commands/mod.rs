//! The verbs, one file each.

mod baseline;
mod calibrate;
mod compile;
mod diff;
mod dump;
mod explain;
mod fleet;
mod link;
mod model;
mod replay;
mod show;
mod simulate;
mod sweep;
mod trace;
mod verify;

use crate::args::{Cli, Verb};
use crate::outcome::{Ended, Failure};
use clap::CommandFactory;
use serde::Serialize;
use std::io::Write;

/// Runs the verb.
pub(crate) fn run(cli: Cli) -> Result<Ended, Failure> {
    match cli.verb {
        Verb::Compile(args) => compile::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Run(args) => replay::run(&args),
        Verb::Model(args) => model::run(&args),
        Verb::Fleet(args) => fleet::run(&args),
        Verb::Link(args) => link::run(&args),
        Verb::Calibrate(args) => calibrate::run(&args),
        Verb::Baseline(args) => baseline::run(&args),
        Verb::Sweep(args) => sweep::run(&args),
        Verb::Dump(args) => dump::run(&args),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sailplan", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(Ended::Clean)
        }
    }
}

/// Writes to stdout; a reader that went away (as `head` does) is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes one JSON object.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Bug(error.to_string()))?;
    print(&(text + "\n"));
    Ok(())
}

/// Writes a file whole or not at all: a temporary file beside it is renamed.
fn write_whole(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file(path, "write it", &error);
    let mut name = path.file_name().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        failed(error)
    })
}
