//! Forms in several styles: partial sums that are all-reduced, partial sums that are scattered, rows that are gathered, and rows
//! that are sent to experts.

use sailplan_ir::{
    Action, Algorithm, ClassId, Form, Graph, Instruction, LayerClass, Layout, Node, NodeId, Op, Picoseconds, Price,
    Program, Role, TensorId, ValueId, check_layouts, layout_after,
};

/// How a class is spread over its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Not at all.
    Whole,
    /// Heads, FFN columns and vocabulary cut; sums all-reduced.
    Reduce,
    /// As `Reduce`, sums scattered, residual added in parts, then gathered.
    Scatter,
    /// As `Scatter`, but by tokens, and norms of what is scattered too.
    Tokens,
    /// As `Scatter`, but attention over a part of the context on each card, its softmaxes merged.
    Context,
    /// Every matrix by output rows; results gathered.
    Gather,
    /// As `Reduce`, but whole experts on each card.
    Experts,
    /// As `Tokens`, with rows that are sent to whole experts and come back.
    Sent,
    /// As `Reduce`, with fused operators wherever there are some.
    Fused,
}

/// The form with `prefill` and `decode` styles that share a weight layout.
pub(crate) fn form(id: ClassId, class: &LayerClass, (prefill, decode): (Style, Style)) -> Form {
    Form { class: id, prefill: program(class, prefill), decode: program(class, decode) }
}

/// Prices that differ from instruction to instruction.
pub(crate) fn prices(program: &Program, algorithm: Algorithm) -> Vec<Price> {
    let price = |index: usize| Price { time: Picoseconds(1000 * (index as u64 + 1)), algorithm: Some(algorithm) };
    let legal = |(index, made): (usize, &Instruction)| match made.action {
        Action::AllReduce => price(index),
        _ if algorithm == Algorithm::OneShot => Price { algorithm: Some(Algorithm::Direct), ..price(index) },
        _ => price(index),
    };
    program.instructions.iter().enumerate().map(legal).collect()
}

fn program(class: &LayerClass, style: Style) -> Program {
    let template = &class.template;
    let mut build = Build { template, style, program: Program::default() };
    for id in applied(template, style) {
        build.node(id);
    }
    let output = template.output().unwrap();
    if template[output].name == "logits" {
        let value = build.natural(output);
        build.push(Action::Collect, &[value], output, Layout::Host);
    } else {
        let value = build.ensure(output, Layout::Whole);
        assert_eq!(value.index() + 1, build.program.instructions.len(), "the result is made last");
    }
    assert_eq!(check_layouts(template, &build.program), Default::default());
    build.program
}

/// The nodes in order; of the fused style, those that no fused operator makes superfluous, and these in their places.
fn applied(template: &Graph, style: Style) -> Vec<NodeId> {
    let all = |range: std::ops::Range<usize>| range.map(|index| NodeId(index as u32));
    let nodes = all(0..template.nodes.len());
    if style != Style::Fused {
        return nodes.collect();
    }
    let fused: Vec<NodeId> = all(template.nodes.len()..template.applications().count()).collect();
    let left = nodes.filter(|&id| fused.iter().all(|&other| !template.inside(other).contains(&template[id].output)));
    let instead = |id: NodeId| fused.iter().copied().find(|&other| template[other].output == template[id].output);
    left.map(|id| instead(id).unwrap_or(id)).collect()
}

struct Build<'a> {
    template: &'a Graph,
    style: Style,
    program: Program,
}

impl Build<'_> {
    fn push(&mut self, action: Action, inputs: &[ValueId], tensor: TensorId, layout: Layout) -> ValueId {
        self.program.instructions.push(Instruction { action, inputs: inputs.to_vec(), tensor, layout });
        ValueId(self.program.instructions.len() as u32 - 1)
    }

    fn layout(&self, value: ValueId) -> Layout {
        self.program.instructions[value.index()].layout
    }

    fn known(&self, tensor: TensorId, layout: Option<Layout>) -> Option<ValueId> {
        let fits = |made: &Instruction| made.tensor == tensor && layout.is_none_or(|layout| layout == made.layout);
        self.program.instructions.iter().position(fits).map(|index| ValueId(index as u32))
    }

    /// The value as it was first made.
    fn natural(&mut self, tensor: TensorId) -> ValueId {
        self.known(tensor, None).unwrap_or_else(|| self.push(Action::Leaf, &[], tensor, Layout::Whole))
    }

    fn ensure(&mut self, tensor: TensorId, wanted: Layout) -> ValueId {
        if let Some(value) = self.known(tensor, Some(wanted)) {
            return value;
        }
        if matches!(self.template[tensor].role, Role::Weight | Role::Cache) {
            return self.push(Action::Leaf, &[], tensor, wanted);
        }
        let from = self.natural(tensor);
        let action = match (self.layout(from), wanted) {
            (held, _) if held == wanted => return from,
            (Layout::Whole, Layout::Sharded(_)) => Action::Slice,
            (Layout::Sharded(_), Layout::Whole) => Action::AllGather,
            (Layout::Partial, Layout::Whole) => Action::AllReduce,
            (Layout::Partial, Layout::Sharded(_)) => Action::ReduceScatter,
            (Layout::Sharded(0), Layout::Dispatched) => {
                return self.sent(Action::Dispatch, self.template.dispatched_by(tensor), (from, tensor, wanted));
            }
            (Layout::Routed, Layout::Sharded(0)) => {
                return self.sent(Action::Combine, self.template.combined_by(tensor), (from, tensor, wanted));
            }
            (Layout::Unmerged, Layout::Sharded(_)) => Action::MergeScatter,
            other => panic!("{other:?}"),
        };
        self.push(action, &[from], tensor, wanted)
    }

    /// Rows that go by gates.
    fn sent(
        &mut self,
        action: Action,
        gates: Option<TensorId>,
        (from, tensor, wanted): (ValueId, TensorId, Layout),
    ) -> ValueId {
        let gates = self.ensure(gates.unwrap(), Layout::Whole);
        self.push(action, &[from, gates], tensor, wanted)
    }

    /// Whether sums and norms are of each rank's rows.
    fn by_tokens(&self) -> bool {
        matches!(self.style, Style::Tokens | Style::Sent)
    }

    fn node(&mut self, id: NodeId) {
        let node = self.template[id].clone();
        let inputs: Vec<ValueId> = match node.op {
            Op::Linear | Op::Embed => self.matrix(&node),
            Op::RmsNorm { .. } if self.by_tokens() && self.is_cut(node.inputs[0]) => {
                vec![self.ensure(node.inputs[0], Layout::Sharded(0)), self.ensure(node.inputs[1], Layout::Whole)]
            }
            Op::RmsNorm { .. } | Op::Scale { .. } | Op::LastToken | Op::Route { .. } => {
                node.inputs.iter().map(|&input| self.ensure(input, Layout::Whole)).collect()
            }
            Op::Add => {
                let second = self.natural(node.inputs[1]);
                let scatters = matches!(self.style, Style::Scatter | Style::Context);
                let scattered = scatters && self.layout(second) == Layout::Partial;
                let by_tokens = self.by_tokens() && self.is_cut(node.inputs[1]);
                let layout = match (scattered, by_tokens) {
                    (true, _) => Layout::Sharded(1),
                    (_, true) => Layout::Sharded(0),
                    _ => Layout::Whole,
                };
                node.inputs.iter().map(|&input| self.ensure(input, layout)).collect()
            }
            Op::LinearSwiGlu | Op::LinearGeGlu => {
                let layouts = [Layout::Whole, Layout::Sharded(0), Layout::Sharded(0)];
                node.inputs.iter().zip(layouts).map(|(&input, layout)| self.ensure(input, layout)).collect()
            }
            Op::Experts { .. } => {
                let layouts = self.experts();
                node.inputs.iter().zip(layouts).map(|(&input, layout)| self.ensure(input, layout)).collect()
            }
            Op::KvAppend { .. } if self.style == Style::Context => {
                vec![self.ensure(node.inputs[0], Layout::Sharded(0)), self.ensure(node.inputs[1], Layout::Whole)]
            }
            Op::Attention { .. } if self.style == Style::Context => {
                let [query, key, value] = [0, 1, 2].map(|place| node.inputs[place]);
                vec![self.ensure(query, Layout::Whole), self.natural(key), self.natural(value)]
            }
            Op::KvAppend { .. } => {
                let new = self.natural(node.inputs[1]);
                vec![self.ensure(node.inputs[0], self.layout(new)), new]
            }
            _ => node.inputs.iter().map(|&input| self.natural(input)).collect(),
        };
        let layouts: Vec<Layout> = inputs.iter().map(|&input| self.layout(input)).collect();
        let layout = layout_after(self.template, id, &layouts).unwrap();
        self.push(Action::Compute(id), &inputs, node.output, layout);
    }

    /// Whether ranks have parts of a value, or of the sums that make it.
    fn is_cut(&mut self, tensor: TensorId) -> bool {
        let value = self.natural(tensor);
        matches!(self.layout(value), Layout::Partial | Layout::Routed | Layout::Sharded(0))
    }

    /// Of the input, the gates, and the three stacks of matrices.
    fn experts(&self) -> [Layout; 5] {
        use Layout::{Sharded, Whole};
        match self.style {
            Style::Whole => [Whole; 5],
            Style::Reduce | Style::Scatter | Style::Tokens | Style::Context => {
                [Whole, Whole, Sharded(1), Sharded(1), Sharded(2)]
            }
            Style::Gather => [Whole, Whole, Whole, Whole, Sharded(1)],
            Style::Sent => [Layout::Dispatched, Sharded(1), Sharded(0), Sharded(0), Sharded(0)],
            Style::Experts | Style::Fused => [Whole, Sharded(1), Sharded(0), Sharded(0), Sharded(0)],
        }
    }

    fn matrix(&mut self, node: &Node) -> Vec<ValueId> {
        let summed = ["attn_output", "ffn_down"].iter().any(|name| self.template[node.inputs[1]].name.contains(name));
        let router = self.template[node.inputs[1]].name.contains("ffn_gate_inp");
        let (x, weight) = match (self.style, node.op, summed) {
            (Style::Sent, ..) if router => (Layout::Sharded(0), Layout::Whole),
            (Style::Whole, ..) => (Layout::Whole, Layout::Whole),
            (Style::Gather, Op::Embed, _) => (Layout::Whole, Layout::Sharded(1)),
            (Style::Gather, ..) | (_, _, false) => (Layout::Whole, Layout::Sharded(0)),
            (_, _, true) => (Layout::Sharded(1), Layout::Sharded(1)),
        };
        vec![self.ensure(node.inputs[0], x), self.ensure(node.inputs[1], weight)]
    }
}
