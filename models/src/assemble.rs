//! From a graph to a checked model: verify, cut into segments, digest.

use crate::{classes, digest::digest};
use sailplan_ir::{Diagnostics, Graph, Model, Verified, Verify};

/// What a front end knows of a model besides its graph.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) source: &'static str,
    pub(crate) trained_context: Option<u64>,
}

/// The model of a graph.
pub(crate) fn assemble(about: About, graph: Graph) -> Result<Verified<Model>, Diagnostics> {
    graph.problems().into_result(())?;
    let (segments, classes) = classes::chain(&graph)?;
    let About { name, source, trained_context } = about;
    let digest = digest(&graph);
    Model { name, source: source.to_owned(), digest, trained_context, graph, segments, classes }.verify()
}
