//! Invariants of a model: a sound graph and a chain that covers it.

use crate::{Diagnostic, Diagnostics, Model, Role, Verify};

impl Verify for Model {
    fn problems(&self) -> Diagnostics {
        let mut problems = self.graph.problems();
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(class) = self.classes.get(segment.class.index()) else {
                problems.push(Diagnostic::new(format!("segment {index} has no class")));
                continue;
            };
            if segment.tensors.len() != class.template.tensors.len() {
                problems.push(Diagnostic::new(format!("segment {index} does not bind all tensors of its class")));
                continue;
            }
            if class.template.with_role(Role::Input).count() > 1 {
                problems.push(Diagnostic::new(format!("class `{}` takes more than one value", class.name)));
            }
            for (local, &global) in segment.tensors.iter().enumerate() {
                let (ours, theirs) = (&class.template.tensors[local], self.graph.tensors.get(global.index()));
                if theirs.is_none_or(|theirs| theirs.axes != ours.axes || theirs.dtype != ours.dtype) {
                    problems.push(Diagnostic::new(format!("segment {index} binds `{}` to another shape", ours.name)));
                }
            }
        }
        let covered: usize = self.segments.iter().map(|segment| nodes_of(self, segment)).sum();
        if covered != self.graph.nodes.len() {
            problems.push(Diagnostic::new("the chain of segments does not cover the graph"));
        }
        problems
    }
}

fn nodes_of(model: &Model, segment: &crate::Segment) -> usize {
    model.classes.get(segment.class.index()).map_or(0, |class| class.template.nodes.len())
}
