//! From a parsed description to the graph, with every problem at the field that causes it.

use super::format::{Activation, Decoder as Description, Override, Part, RopePairs};
use super::spans::Step;
use crate::decoder::{self, Decoder, ExpertNumbers, Field, Flaw, Numbers, PerLayer, Variant};
use sailplan_ir::{At, DType, Diagnostic, Graph, Pairs};
use std::collections::{BTreeMap, BTreeSet};

/// Where a field stands.
type Locate<'a> = &'a dyn Fn(&[Step<'_>]) -> At;
type Problems = Vec<(Diagnostic, At)>;

/// No more overrides are looked at after so many problems: each place is found by reading the text again.
const ENOUGH: usize = 24;

/// The graph of a description.
pub(crate) fn expand(description: &Description, locate: Locate<'_>) -> Result<Graph, Problems> {
    let mut problems = Vec::new();
    check_words(description, locate, &mut problems);
    check_overrides(description, locate, &mut problems);
    let decoder = match numbers(description).check() {
        Ok(decoder) => {
            check_blocks(description, &decoder, locate, &mut problems);
            decoder
        }
        Err(flaws) => {
            problems.extend(flaws.into_iter().map(|flaw| place_flaw(flaw, locate)));
            return Err(problems);
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(decoder::graph(&decoder, &dtypes(description)))
}

fn numbers(description: &Description) -> Numbers {
    Numbers {
        hidden: description.hidden,
        layers: description.layers,
        heads: PerLayer::Same(description.heads),
        kv_heads: PerLayer::Same(description.kv_heads.unwrap_or(description.heads)),
        ffn: PerLayer::Same(description.ffn),
        experts: ExpertNumbers {
            count: description.experts,
            used: description.experts_used,
            ffn: description.expert_ffn,
            renormalise: description.renormalise,
        },
        head_dim: description.head_dim,
        rotary_dim: description.rotary_dim,
        vocab: description.vocab,
        context: description.context,
        epsilon: description.norm_epsilon,
        rope_base: description.rope_base,
        variant: variant(description),
    }
}

fn variant(description: &Description) -> Variant {
    Variant {
        head_norms: description.head_norms,
        pairs: match description.rope_pairs {
            RopePairs::Adjacent => Pairs::Adjacent,
            RopePairs::Halves => Pairs::Halves,
        },
        window: description.window,
        global_every: description.global_every,
        score_cap: description.score_cap,
        logit_cap: description.logit_cap,
        query_scalar: description.query_scalar,
        gelu: description.activation == Activation::Gelu,
        post_norms: description.post_norms,
        scaled_embedding: description.scaled_embedding,
        parallel: description.parallel,
    }
}

fn place_flaw(flaw: Flaw, locate: Locate<'_>) -> (Diagnostic, At) {
    let key = match flaw.field {
        Field::Hidden => "hidden",
        Field::Layers => "layers",
        Field::Heads => "heads",
        Field::KvHeads => "kv_heads",
        Field::HeadDim => "head_dim",
        Field::RotaryDim => "rotary_dim",
        Field::Ffn => "ffn",
        Field::Experts => "experts",
        Field::ExpertsUsed => "experts_used",
        Field::ExpertFfn => "expert_ffn",
        Field::Renormalise => "renormalise",
        Field::Vocab => "vocab",
        Field::Context => "context",
        Field::Epsilon => "norm_epsilon",
        Field::RopeBase => "rope_base",
        Field::Window => "window",
        Field::GlobalEvery => "global_every",
        Field::ScoreCap => "score_cap",
        Field::LogitCap => "logit_cap",
        Field::QueryScalar => "query_scalar",
        Field::Activation => "activation",
        Field::Parallel => "parallel",
    };
    (Diagnostic::new(flaw.message).hint(flaw.hint), locate(&[Step::Field(key)]))
}

fn check_words(description: &Description, locate: Locate<'_>, problems: &mut Problems) {
    if description.name.is_empty() || description.name.len() > 200 || description.name.contains(char::is_control) {
        let problem = Diagnostic::new("the name must have 1 to 200 printable characters");
        problems.push((problem.hint("such as \"llama-3-8b\""), locate(&[Step::Field("name")])));
    }
    if description.tied && description.dtypes.output.is_some() {
        let problem = Diagnostic::new("a tied head has no output matrix, yet a type is given for one");
        let at = locate(&[Step::Field("dtypes"), Step::Field("output")]);
        problems.push((problem.hint("remove `output`, or say `tied: false`"), at));
    }
    let distinct: BTreeSet<Part> = description.biases.iter().copied().collect();
    if distinct.len() != description.biases.len() {
        let problem = Diagnostic::new("the list of biases names a matrix twice");
        problems.push((problem.hint("name each matrix once"), locate(&[Step::Field("biases")])));
    }
    if description.experts.is_some() && distinct.into_iter().any(Part::feeds_forward) {
        let problem = Diagnostic::new("experts with biases are not supported");
        problems.push((problem.hint("name matrices of the attention only"), locate(&[Step::Field("biases")])));
    }
}

fn check_overrides(description: &Description, locate: Locate<'_>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, entry) in description.dtypes.overrides.iter().enumerate() {
        if problems.len() > ENOUGH {
            return;
        }
        let steps = [Step::Field("dtypes"), Step::Field("overrides"), Step::Item(index), Step::Field("layers")];
        if let Err(problem) = check_parts(entry) {
            problems.push((problem, locate(steps.split_at(3).0)));
        } else if let Err(problem) = check_layers(entry, description.layers, &mut seen) {
            problems.push((problem, locate(&steps)));
        }
    }
}

fn check_parts(entry: &Override) -> Result<(), Diagnostic> {
    if entry.layers.is_empty() || entry.parts.is_empty() {
        let problem = Diagnostic::new("this override changes nothing");
        return Err(problem.hint("name at least one layer and one matrix, or remove it"));
    }
    if entry.parts.len() > Part::ALL.len() {
        let message = format!("{} matrices are named; a layer has {}", entry.parts.len(), Part::ALL.len());
        return Err(Diagnostic::new(message).hint("name each matrix once"));
    }
    Ok(())
}

fn check_layers(entry: &Override, layers: u64, seen: &mut BTreeSet<(u64, Part)>) -> Result<(), Diagnostic> {
    if let Some(layer) = entry.layers.iter().find(|&&layer| layer >= layers) {
        let message = format!("there is no layer {layer}: the model has {layers} layers");
        return Err(Diagnostic::new(message).hint("layers are counted from 0"));
    }
    let mut pairs = entry.layers.iter().flat_map(|&layer| entry.parts.iter().map(move |&part| (layer, part)));
    let Some((layer, part)) = pairs.find(|&pair| !seen.insert(pair)) else {
        return Ok(());
    };
    let message = format!("the type of `{}` in layer {layer} is given twice", part.key());
    Err(Diagnostic::new(message).hint("name each layer once for a matrix"))
}

/// Rows must be whole blocks of their type.
fn check_blocks(description: &Description, decoder: &Decoder, locate: Locate<'_>, problems: &mut Problems) {
    let dtypes = &description.dtypes;
    let mut rows = vec![("embed", decoder.hidden, dtypes.embed.unwrap_or(dtypes.default))];
    if !description.tied {
        rows.push(("output", decoder.hidden, dtypes.output.unwrap_or(dtypes.default)));
    }
    rows.extend(Part::ALL.map(|part| (part.key(), row_length(part, decoder), dtypes.of(part))));
    for (role, row, dtype) in rows {
        let at = |key| locate(&[Step::Field("dtypes"), Step::Field(key)]);
        let place = || Some(at(role)).filter(|place| *place != At::Whole).unwrap_or_else(|| at("default"));
        problems.extend(broken_row((role, row), dtype).map(|problem| (problem, place())));
    }
    for (index, entry) in dtypes.overrides.iter().enumerate() {
        let steps = [Step::Field("dtypes"), Step::Field("overrides"), Step::Item(index), Step::Field("dtype")];
        let rows = entry.parts.iter().map(|&part| (part.key(), row_length(part, decoder)));
        let broken = rows.filter_map(|row| broken_row(row, entry.dtype)).next();
        problems.extend(broken.map(|problem| (problem, locate(&steps))));
        if problems.len() > ENOUGH {
            return;
        }
    }
}

fn broken_row((role, row): (&str, u64), dtype: DType) -> Option<Diagnostic> {
    let block = dtype.block();
    if row.is_multiple_of(block) {
        return None;
    }
    let message = format!("rows of `{role}` have {row} elements, which are not whole {dtype} blocks of {block}");
    let hint = if row.is_multiple_of(32) { "use a type with blocks of 32, such as Q8_0" } else { "use F16 or F32" };
    Some(Diagnostic::new(message).hint(hint))
}

fn row_length(part: Part, decoder: &Decoder) -> u64 {
    let widest = decoder.layers.first();
    match part {
        Part::AttnOutput => widest.map_or(0, |layer| u64::from(layer.heads) * u64::from(decoder.head_dim)),
        Part::Down => widest.map_or(0, |layer| layer.ffn),
        _ => decoder.hidden,
    }
}

/// The type of every weight by its GGUF name.
fn dtypes(description: &Description) -> BTreeMap<String, DType> {
    let (dtypes, experts) = (&description.dtypes, description.experts.is_some());
    let mut of = BTreeMap::from([("token_embd.weight".to_owned(), dtypes.embed.unwrap_or(dtypes.default))]);
    if !description.tied {
        of.insert("output.weight".to_owned(), dtypes.output.unwrap_or(dtypes.default));
    }
    if description.rope_factors {
        of.insert("rope_freqs.weight".to_owned(), DType::F32);
    }
    for layer in 0..description.layers {
        for part in Part::ALL {
            of.insert(format!("blk.{layer}.{}.weight", part.tensor(experts)), dtypes.of(part));
        }
        for part in &description.biases {
            of.insert(format!("blk.{layer}.{}.bias", part.tensor(experts)), DType::F32);
        }
    }
    for entry in &dtypes.overrides {
        for layer in &entry.layers {
            for part in &entry.parts {
                of.insert(format!("blk.{layer}.{}.weight", part.tensor(experts)), entry.dtype);
            }
        }
    }
    of
}
