//! GGUF files, by their header: metadata to numbers, numbers to a graph, the graph against the tensor table.

mod architecture;
mod cursor;
mod fused;
mod header;
mod keys;
mod metadata;
mod table;
mod tensors;
mod value;

use crate::Loaded;
use crate::assemble::{About, assemble};
use crate::decoder::{self, Decoder, Field};
use architecture::Architecture;
use cursor::{Cursor, Stop};
use header::Header;
use keys::Keys;
use sailplan_ir::{At, Diagnostic, Diagnostics};

/// Tensors of a layer of Llama without biases; the other architectures have more, but for those that fuse some.
const TENSORS_OF_A_LAYER: usize = 9;
const FUSED_TENSORS_OF_A_LAYER: usize = 6;

/// Why there is no model.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The header goes on past the bytes at hand, inside the file.
    Incomplete,
    /// What is wrong.
    Problems(Diagnostics),
}

impl Failure {
    /// The problems to show when no more bytes can be had.
    pub(crate) fn problems(self, file: &str) -> Diagnostics {
        match self {
            Self::Incomplete => {
                let problem = Diagnostic::new("the header goes on past the bytes that were read");
                problem.at(file, At::Whole).hint("is the file complete?").into()
            }
            Self::Problems(problems) => problems,
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Incomplete => Self::Incomplete,
            Stop::Problem(problem) => Self::Problems(problem.into()),
        }
    }
}

/// The model of the first bytes of a file of `size` bytes.
pub(crate) fn read(file: &str, bytes: &[u8], size: u64) -> Result<Loaded, Failure> {
    let header = Header::read(Cursor::new(file, bytes, size))?;
    model(file, header).map_err(Failure::Problems)
}

fn model(file: &str, header: Header<'_>) -> Result<Loaded, Diagnostics> {
    let Header { keys, tensors, mut problems } = header;
    let mut keys = Keys::new(file, &keys);
    let decoder = metadata::decoder(&mut keys).and_then(|read| enough_tensors(&mut keys, read, tensors.len()));
    let name = name(file, &mut keys);
    problems.append(&mut keys.problems);
    Diagnostics(problems).into_result(())?;
    let Some((kind, decoder)) = decoder else {
        return Err(Diagnostic::new("the metadata describes no model").at(file, At::Whole).into());
    };
    let tensors = if kind.fuses() { fused::parts(tensors, &decoder) } else { tensors };
    let graph = decoder::graph(&decoder, &table::dtypes(&tensors));
    table::check(file, &graph, &tensors)?;
    let weights = table::index(file, &graph, &tensors);
    let about = About { name, source: "gguf", trained_context: decoder.context };
    let model = assemble(about, graph).map_err(|problems| problems.in_file(file))?;
    Ok(Loaded { model, weights: Some(weights) })
}

/// A header of a few bytes must not make a graph of thousands of layers.
fn enough_tensors(
    keys: &mut Keys<'_>,
    (kind, decoder): (Architecture, Decoder),
    tensors: usize,
) -> Option<(Architecture, Decoder)> {
    let each = if kind.fuses() { FUSED_TENSORS_OF_A_LAYER } else { TENSORS_OF_A_LAYER };
    let wanted = decoder.layers.len().saturating_mul(each);
    if tensors >= wanted {
        return Some((kind, decoder));
    }
    let message = format!("{} layers need at least {wanted} tensors; the file has {tensors}", decoder.layers.len());
    keys.problem(&kind.key_of(Field::Layers), message, "the file is no complete model; convert it again");
    None
}

/// From the metadata, else the file's name without extension.
fn name(file: &str, keys: &mut Keys<'_>) -> String {
    let stem = std::path::Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let own = keys.text("general.name").filter(|name| !name.trim().is_empty());
    crate::report::shown(&own.or(stem).unwrap_or_else(|| "model".to_owned()))
}
