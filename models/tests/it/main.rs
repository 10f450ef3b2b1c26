//! Tests of the front ends: equal models from different formats, classes, the zoo, and what happens to bad input.

mod bad_gguf;
mod bad_ron;
mod classes;
mod equality;
mod mutations;
mod pins;
mod source;
mod writer;
mod zoo;
