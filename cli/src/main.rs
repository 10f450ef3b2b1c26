//! Arguments to command to exit code.

mod args;
mod commands;
mod comparison;
mod explanation;
mod figure;
mod inputs;
mod outcome;
mod plan_model;
mod progress;
mod proofs;
mod refused;
mod render;
mod replan;
mod structure;
mod summary;
mod task;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(ended) => ended.code(),
        Err(failure) => {
            render::failure(&failure);
            failure.code()
        }
    }
}
