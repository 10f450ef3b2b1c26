//! How the chain's value passes from one stage to the next: a message to rank 0, then a broadcast in the group.

use super::body::{Code, Phase};
use super::stage::Rank;
use crate::Instruction;
use sailplan_ir::{Bytes, CollectiveKind, Diagnostic, Picoseconds, Role, Tensor};

impl Rank<'_> {
    /// The stage's first value.
    pub(crate) fn arrive(&self, phase: Phase, code: &mut Code) -> Result<(), Diagnostic> {
        let Some(hop) = &self.stage.hop else { return Ok(()) };
        let value = self.value_into(self.stage.segments.start as usize)?;
        let buffer = code.chain(value, phase.limit(self.source.request));
        let bytes = self.on_wire(value, phase);
        let (message, spread) = phase.pick(hop.prefill, hop.decode);
        if self.rank == 0 {
            let (peer, buffer, tag) = (hop.from, buffer.clone(), self.number as u32);
            code.program.instructions.push(Instruction::Recv { peer, buffer, bytes, tag, time: message });
        }
        if let Some((prefill, decode)) = hop.spread.filter(|_| self.stage.sails.len() > 1) {
            code.program.instructions.push(Instruction::Collective {
                kind: CollectiveKind::Broadcast,
                op: None,
                group: self.stage.sails.clone(),
                algorithm: phase.pick(prefill, decode),
                buffer,
                into: None,
                parts: Vec::new(),
                by: None,
                bytes,
                time: spread,
            });
        }
        Ok(())
    }

    /// The stage's last value, when this card sends it on.
    pub(crate) fn leave(&self, phase: Phase, code: &mut Code) -> Result<(), Diagnostic> {
        let Some(next) = self.source.placement.stages.get(self.number + 1) else { return Ok(()) };
        if next.hop.as_ref().is_none_or(|hop| hop.from != self.sail()) {
            return Ok(());
        }
        let value = self.value_into(next.segments.start as usize)?;
        let buffer = code.chain(value, phase.limit(self.source.request));
        let (peer, tag) = (next.sails[0], self.number as u32 + 1);
        let (bytes, time) = (self.on_wire(value, phase), Picoseconds(0));
        code.program.instructions.push(Instruction::Send { peer, buffer, bytes, tag, time });
        Ok(())
    }

    /// The value that a segment takes from the one before.
    fn value_into(&self, segment: usize) -> Result<&Tensor, Diagnostic> {
        let template = &self.source.model.class(self.source.model.segments[segment].class).template;
        let input = template.with_role(Role::Input).next();
        let input =
            input.ok_or_else(|| Diagnostic::new(format!("segment {segment} takes no value from another stage")))?;
        Ok(&template[input])
    }

    fn on_wire(&self, value: &Tensor, phase: Phase) -> Bytes {
        let elements = value.elements(phase.limit(self.source.request));
        Bytes(elements.saturating_mul(self.source.request.wire.bytes()))
    }
}
