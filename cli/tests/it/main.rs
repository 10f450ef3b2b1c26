//! The product seen from outside, in one test binary.
#![expect(clippy::disallowed_methods, reason = "tests write the files that they feed to the program")]

mod architectures;
mod arithmetic;
mod calibration;
mod case_studies;
mod ci;
mod commands;
mod context;
mod determinism;
mod diff;
mod explain;
mod matrix;
mod mixture;
mod mutants;
mod pins;
mod pipeline;
mod proof;
mod replan;
mod replicas;
mod simulation;
mod sizes;
mod snapshots;
mod tidy;
mod tiny;
mod truth;
