//! The plan of one card: what it holds and both its programs.

use super::Source;
use super::body::{Body, Code, Phase};
use super::residents::Residents;
use super::segments::{Local, Needed};
use crate::{Instruction, Layers, Memory, Program, SailPlan};
use sailplan_ir::{
    ActivationNeed, Activations, Bytes, Diagnostic, Diagnostics, SailId, Stage, StageActivations, stage_activations,
};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// One rank of a stage.
#[derive(Clone, Copy)]
pub(crate) struct Rank<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) stage: &'a Stage,
    /// The stage's place among those of all replicas.
    pub(crate) number: usize,
    pub(crate) rank: usize,
}

impl<'a> Rank<'a> {
    pub(crate) fn plan(&self) -> Result<SailPlan, Diagnostics> {
        let mut residents = Residents::default();
        let mut needed: BTreeMap<u32, Vec<Needed>> = BTreeMap::new();
        for (segment, &choice) in self.segments().zip(&self.stage.assignment) {
            let local = self.local(segment);
            let needed = match needed.entry(choice) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(local.needed()?),
            };
            residents.add(&local, needed);
        }
        let (weights, kv) = residents.place();
        let StageActivations { chain, activations, scratch } = self.activations();
        let kind = self.source.fleet.kind(self.sail());
        Ok(SailPlan {
            sail: self.sail(),
            replica: self.stage.replica,
            stage: self.number as u32,
            group: self.stage.sails.clone(),
            memory: Memory { capacity: kind.memory, reserve: kind.reserve, weights, kv, activations, scratch },
            sustain: self.stage.sustain.get(self.rank).copied().flatten(),
            prefill: self.program(Phase::Prefill, &residents, chain)?,
            decode: self.program(Phase::Decode, &residents, chain)?,
            weights: residents.weights,
            caches: residents.caches,
            load: Vec::new(),
        })
    }

    pub(crate) fn sail(&self) -> SailId {
        self.stage.sails[self.rank]
    }

    pub(crate) fn segments(&self) -> Range<usize> {
        self.stage.segments.start as usize..self.stage.segments.end as usize
    }

    pub(crate) fn local(&self, segment: usize) -> Local<'a> {
        Local::new(self.source, self.stage, self.rank, segment)
    }

    /// What the programs in use need together.
    fn activations(&self) -> StageActivations {
        let used = self.runs();
        let needs: Vec<ActivationNeed> = used
            .iter()
            .flat_map(|run| [Phase::Prefill, Phase::Decode].map(|phase| self.placed(run.start, phase).need))
            .collect();
        stage_activations(&needs, self.source.fleet.kind(self.sail()).granularity)
    }

    /// Homes of a segment's values in one phase.
    pub(crate) fn placed(&self, segment: usize, phase: Phase) -> Activations {
        let local = phase.view(self.local(segment), self.source.request);
        let (program, prices) = phase.of(local.choice);
        local.view.activations(program, |index| prices[index].algorithm)
    }

    /// Segments in a row that run the same instructions.
    fn runs(&self) -> Vec<Range<usize>> {
        let first = self.stage.segments.start as usize;
        let mut runs: Vec<Range<usize>> = Vec::new();
        for segment in self.segments() {
            let alike = |before: usize| {
                let (one, other) = (self.source.names.segment(before), self.source.names.segment(segment));
                let follows = one.layer.is_some() && one.layer.and_then(|layer| layer.checked_add(1)) == other.layer;
                let choice = |segment: usize| self.stage.assignment[segment - first];
                follows && one.class == other.class && choice(before) == choice(segment)
            };
            match runs.last_mut() {
                Some(run) if alike(segment - 1) => run.end += 1,
                _ => runs.push(segment..segment + 1),
            }
        }
        runs
    }

    fn program(&self, phase: Phase, residents: &Residents, chain: Bytes) -> Result<Program, Diagnostic> {
        let mut code = Code::new(chain);
        self.arrive(phase, &mut code)?;
        for run in self.runs() {
            let body = Body { rank: *self, segment: run.start, phase, residents }.instructions(&mut code)?;
            match self.source.names.segment(run.start).layer {
                Some(layer) => {
                    let layers = Layers(layer..layer.saturating_add(run.len() as u32));
                    code.program.instructions.push(Instruction::Repeat { layers, body });
                }
                None => code.program.instructions.extend(body),
            }
        }
        self.leave(phase, &mut code)?;
        Ok(code.program)
    }
}
