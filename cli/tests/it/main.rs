//! The product seen from outside, in one test binary.
#![expect(clippy::disallowed_methods, reason = "tests write the files that they feed to the program")]

mod calibration;
mod case_studies;
mod commands;
mod determinism;
mod mixture;
mod mutants;
mod pipeline;
mod simulation;
mod sizes;
mod snapshots;
mod tidy;
mod tiny;
mod truth;
