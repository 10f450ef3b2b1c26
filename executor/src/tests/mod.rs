//! Whole replays of hand-made plans, below the boundary that asks for a verified one.

mod failures;
mod limits;
mod model;
mod rows;
mod tiny;
mod together;
