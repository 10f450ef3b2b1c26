//! Layer classes, found by structure and never by name: cuts a graph into its chain of segments, then lets segments
//! of equal structure share a class.

mod cuts;
mod template;

use cuts::{Atom, atoms};
use sailplan_ir::{ClassId, Diagnostics, Graph, LayerClass, NodeId, Segment};
use template::{Binding, name_pattern, template};

/// One link of the chain before it has a class: its nodes in order, and the number among the layers.
struct Link {
    nodes: Vec<NodeId>,
    layer: Option<u32>,
}

/// The chain of a graph and the classes its segments share. The graph must be verified.
pub(crate) fn chain(graph: &Graph) -> Result<(Vec<Segment>, Vec<LayerClass>), Diagnostics> {
    let links = links(atoms(graph)?);
    let mut shapes: Vec<Graph> = Vec::new();
    let mut members: Vec<Vec<Binding>> = Vec::new();
    let mut segments = Vec::new();
    for link in &links {
        let (shape, tensors) = template(graph, &link.nodes, segments.is_empty());
        let class = shapes.iter().position(|known| *known == shape).unwrap_or(shapes.len());
        if class == shapes.len() {
            shapes.push(shape);
            members.push(Vec::new());
        }
        if let Some(bindings) = members.get_mut(class) {
            bindings.push(Binding { layer: link.layer, tensors: tensors.clone() });
        }
        segments.push(Segment { class: ClassId(class as u32), layer: link.layer, tensors });
    }
    let names = class_names(&members);
    let named = shapes.into_iter().zip(&members).zip(names);
    let classes = named.map(|((shape, bindings), name)| class(graph, shape, bindings, name)).collect();
    Ok((segments, classes))
}

/// A layer starts at an atom that appends to a cache and runs to the next such atom; the last one runs through its
/// residual atoms. What comes before the first layer is one link, and what comes after the last is another.
fn links(atoms: Vec<Atom>) -> Vec<Link> {
    let last = atoms.iter().rposition(|atom| atom.appends);
    let mut links: Vec<Link> = Vec::new();
    let (mut layers, mut in_tail) = (0, false);
    for (index, atom) in atoms.into_iter().enumerate() {
        let leaves_last_layer = !in_tail && last.is_some_and(|last| index > last) && !atom.residual;
        in_tail |= leaves_last_layer;
        match links.last_mut() {
            Some(link) if !atom.appends && !leaves_last_layer => link.nodes.extend(atom.nodes),
            _ => {
                let layer = atom.appends.then_some(layers);
                layers += u32::from(atom.appends);
                links.push(Link { nodes: atom.nodes, layer });
            }
        }
    }
    links
}

/// `layer` for classes with state, `head` for the end of the chain, `embed` for its start.
fn class_names(members: &[Vec<Binding>]) -> Vec<String> {
    let has_state = |bindings: &Vec<Binding>| bindings.iter().any(|binding| binding.layer.is_some());
    let layers = members.iter().filter(|bindings| has_state(bindings)).count();
    let mut letters = suffixes();
    let name = |(index, bindings): (usize, &Vec<Binding>)| match (has_state(bindings), index) {
        (true, _) if layers == 1 => "layer".to_owned(),
        (true, _) => format!("layer.{}", letters.next().unwrap_or_default()),
        (false, 0) => "embed".to_owned(),
        (false, _) => "head".to_owned(),
    };
    members.iter().enumerate().map(name).collect()
}

/// `a` to `z`, then `aa`, `ab`, …
fn suffixes() -> impl Iterator<Item = String> {
    let letters = || (b'a'..=b'z').map(char::from);
    let pairs = letters().flat_map(move |first| letters().map(move |second| format!("{first}{second}")));
    let triples = letters().flat_map(move |first| {
        letters().flat_map(move |second| letters().map(move |third| format!("{first}{second}{third}")))
    });
    letters().map(String::from).chain(pairs).chain(triples)
}

/// Puts names on a shape: patterns when every segment follows them, else those of the first segment.
fn class(graph: &Graph, mut shape: Graph, bindings: &[Binding], name: String) -> LayerClass {
    let patterns: Vec<Option<String>> =
        (0..shape.tensors.len()).map(|local| name_pattern(graph, &shape, bindings, local)).collect();
    let patterned = patterns.iter().all(Option::is_some);
    for (local, (tensor, pattern)) in shape.tensors.iter_mut().zip(patterns).enumerate() {
        let own = bindings.first().and_then(|first| first.tensors.get(local)).map(|&id| graph[id].name.clone());
        tensor.name = if patterned { pattern } else { own }.unwrap_or_default();
    }
    LayerClass { name, template: shape.fuse(), patterned }
}
