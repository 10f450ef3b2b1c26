//! Front ends: turn a model file into a verified [`Model`]. `load` is the verb; the other entries take text, bytes or
//! a graph, and open nothing. Pins are read here too, because they are written as models are.

mod assemble;
mod classes;
mod decoder;
mod description;
mod digest;
mod gguf;
mod pins;
mod report;
mod source;
mod zoo;

pub use pins::pins_from_ron;
pub use source::load;
pub use zoo::{ZooModel, load_zoo, zoo};

use sailplan_ir::{Diagnostics, Graph, Model, Verified, WeightIndex};

/// A model and, when the file holds weights, where they lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// The model, checked.
    pub model: Verified<Model>,
    /// Place of each weight; `None` for descriptions.
    pub weights: Option<WeightIndex>,
}

/// The model of a RON description. `file_name` stands in diagnostics only.
///
/// # Errors
/// Every problem found, with its bytes in the text.
pub fn from_ron(file_name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    description::read(file_name, text).map_err(report::shortened)
}

/// The model of a GGUF file, from its header. `bytes` are the first bytes of the file, at least the whole header;
/// `file_size` is the size of the file they come from.
///
/// # Errors
/// Every problem found, with a byte offset, a key or a tensor.
pub fn from_gguf(file_name: &str, bytes: &[u8], file_size: u64) -> Result<Loaded, Diagnostics> {
    gguf::read(file_name, bytes, file_size).map_err(|failure| report::shortened(failure.problems(file_name)))
}

/// The model of a graph made by hand. The last node's output is what the model is for.
///
/// # Errors
/// Every broken invariant of the graph.
pub fn from_graph(name: &str, graph: Graph) -> Result<Verified<Model>, Diagnostics> {
    let about = assemble::About { name: name.to_owned(), source: "graph", trained_context: None };
    assemble::assemble(about, graph).map_err(report::shortened)
}
