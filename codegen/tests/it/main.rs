//! Plans of a small decoder in every form: emitted, checked, written, read and corrupted.

mod diff;
mod document;
mod experts;
mod forms;
mod limits;
mod moves;
mod mutate;
mod mutations;
mod pins;
mod placements;
mod positions;
mod proof;
mod refusals;
mod routed;
mod small;
mod steady;
mod text;
mod variants;
mod whole;
mod zoo;
