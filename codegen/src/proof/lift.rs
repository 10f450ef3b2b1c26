//! The sharded program of each layer class, read out of a plan: what its instructions make of what, from the value that enters
//! a layer to the one that leaves it. The planner is not asked.

use super::family::{Families, Family, From, Read, families};
use crate::verify::{Logical, Phase, Target, Trace, problem, traces};
use crate::{Layers, Plan};
use sailplan_ir::{Action, Diagnostics, Graph, Instruction, Layout, Program, TensorId, ValueId, Verified};
use std::collections::{BTreeMap, BTreeSet};

/// A sharded program that a plan runs, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifted {
    /// Name of the layer class.
    pub class: String,
    /// The class as the plan has it.
    pub template: Graph,
    /// The program, as every rank of every group below runs it.
    pub program: Program,
    /// Whether prefill runs it.
    pub prefill: bool,
    /// Whether decode runs it.
    pub decode: bool,
    /// Stages that run it.
    pub stages: BTreeSet<u32>,
    /// Layers that run it; of segments that are no layers, nothing.
    pub layers: Vec<Layers>,
}

impl Lifted {
    /// The phases that run it.
    #[must_use]
    pub const fn phases(&self) -> &'static str {
        match (self.prefill, self.decode) {
            (true, true) => "prefill and decode",
            (true, false) => "prefill",
            _ => "decode",
        }
    }
}

/// Every distinct program of every class, in order of the chain; classes that several stages cut differently have several.
///
/// # Errors
/// The plan runs what is no form of its layers, with the place.
pub fn lift(plan: &Verified<Plan>) -> Result<Vec<Lifted>, Diagnostics> {
    let logical = Logical::new(&plan.model, plan.request.cache)?;
    let mut found: BTreeMap<Key, Uses> = BTreeMap::new();
    for (phase, name) in [(Phase::Prefill, "prefill"), (Phase::Decode, "decode")] {
        let traces = traces(plan, &logical, phase)?;
        let forms =
            forms(plan, &logical, &traces).map_err(|(place, reason)| problem(format!("{place}.{name}"), reason))?;
        for (segment, stage, program) in forms {
            let class = logical.segments[segment as usize].class;
            let known = found.values().map(|uses: &Uses| uses.order).max().map_or(0, |last| last + 1);
            let uses = found.entry(Key { class, program: shown(&program) }).or_insert_with(|| Uses {
                order: known,
                program,
                phases: BTreeSet::new(),
                stages: BTreeSet::new(),
                segments: BTreeSet::new(),
            });
            uses.phases.insert(name);
            uses.stages.insert(stage);
            uses.segments.insert(segment);
        }
    }
    let mut all: Vec<(Key, Uses)> = found.into_iter().collect();
    all.sort_by_key(|(_, uses)| (uses.segments.first().copied(), uses.order));
    Ok(all.into_iter().map(|(key, uses)| lifted(&logical, &key, uses)).collect())
}

/// Programs are the same when they read the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    class: usize,
    program: String,
}

struct Uses {
    order: usize,
    program: Program,
    phases: BTreeSet<&'static str>,
    stages: BTreeSet<u32>,
    segments: BTreeSet<u32>,
}

fn shown(program: &Program) -> String {
    let line = |made: &Instruction| format!("{} {:?} {} {}", made.action, made.inputs, made.tensor, made.layout);
    program.instructions.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn lifted(logical: &Logical, key: &Key, uses: Uses) -> Lifted {
    let class = &logical.classes[key.class];
    let mut layers: Vec<Layers> = Vec::new();
    for layer in uses.segments.iter().filter_map(|&segment| logical.segments[segment as usize].layer) {
        match layers.last_mut() {
            Some(run) if run.0.end == layer => run.0.end += 1,
            _ => layers.push(Layers(layer..layer + 1)),
        }
    }
    Lifted {
        class: class.name.clone(),
        template: class.graph.clone(),
        program: uses.program,
        prefill: uses.phases.contains("prefill"),
        decode: uses.phases.contains("decode"),
        stages: uses.stages,
        layers,
    }
}

type Form = (u32, u32, Program);

/// The program of every segment, with its stage.
fn forms(plan: &Plan, logical: &Logical, traces: &[Trace]) -> Result<Vec<Form>, (String, String)> {
    let mut made: BTreeMap<u32, Vec<(u32, Program)>> = BTreeMap::new();
    let stages: BTreeSet<u32> = plan.sails.iter().map(|sail| sail.stage).collect();
    for stage in stages {
        let here = plan.sails.iter().zip(traces).filter(|(sail, _)| sail.stage == stage);
        let mut ranks: Vec<(usize, &Trace)> = here
            .map(|(sail, trace)| (sail.group.iter().position(|other| *other == sail.sail).unwrap_or(0), trace))
            .collect();
        ranks.sort_by_key(|rank| rank.0);
        let ranks: Vec<&Trace> = ranks.into_iter().map(|rank| rank.1).collect();
        let at = |reason: String| (format!("stage {stage}"), reason);
        let families = families(&ranks).map_err(at)?;
        let programs = Stage { logical, families: &families }.programs().map_err(at)?;
        for (segment, program) in programs {
            made.entry(segment).or_default().push((stage, program));
        }
    }
    for (segment, known) in logical.segments.iter().enumerate() {
        if !made.contains_key(&(segment as u32)) {
            let class = &logical.classes[known.class].name;
            return Err((format!("segment {segment}"), format!("no stage makes the value of `{class}`")));
        }
    }
    Ok(made
        .into_iter()
        .flat_map(|(segment, all)| all.into_iter().map(move |(stage, one)| (segment, stage, one)))
        .collect())
}

pub(super) struct Stage<'a> {
    pub(super) logical: &'a Logical,
    pub(super) families: &'a Families,
}

/// A segment's value that something outside it reads: a family, and whether the host takes it.
type Root = (u32, bool);

impl Stage<'_> {
    /// From what leaves the stage back to what enters it, segment by segment.
    pub(super) fn programs(&self) -> Result<Vec<(u32, Program)>, String> {
        let mut roots: BTreeSet<Root> = BTreeSet::new();
        for (read, target) in &self.families.leaves {
            match read.from {
                From::Made(number) => roots.insert((number, *target == Target::Host)),
                _ => return Err("hands on what it did not make".to_owned()),
            };
        }
        let mut made: Vec<(u32, Program)> = Vec::new();
        while let Some(root) = roots.pop_last() {
            let segment = self.families.made[root.0 as usize].of.0;
            let mut lift = Lift::new(self, segment);
            lift.root(root)?;
            roots.extend(lift.entered.iter().map(|&number| (number, false)));
            if !made.contains(&(segment, lift.program.clone())) {
                made.push((segment, lift.program));
            }
        }
        Ok(made)
    }

    fn graph(&self, segment: u32) -> &Graph {
        &self.logical.classes[self.logical.segments[segment as usize].class].graph
    }
}

/// One segment's program in the making.
struct Lift<'a> {
    stage: &'a Stage<'a>,
    segment: u32,
    program: Program,
    /// Values that are families of this segment.
    made: BTreeMap<u32, ValueId>,
    leaves: BTreeMap<Read, ValueId>,
    /// Families that enter the segment.
    entered: BTreeSet<u32>,
}

impl<'a> Lift<'a> {
    fn new(stage: &'a Stage<'a>, segment: u32) -> Self {
        let (made, leaves) = (BTreeMap::new(), BTreeMap::new());
        Self { stage, segment, program: Program::default(), made, leaves, entered: BTreeSet::new() }
    }

    fn root(&mut self, (number, on_host): Root) -> Result<(), String> {
        let family = self.family(number);
        let tensor = TensorId(family.of.1);
        if Some(tensor) != self.stage.graph(self.segment).output() {
            return Err("a value that leaves a segment is not its result".to_owned());
        }
        if family.layout != Layout::Whole && !on_host {
            return Err(format!("a segment's result is {}, not whole, where another segment begins", family.layout));
        }
        let mut needed = BTreeSet::from([number]);
        let mut unseen = vec![number];
        while let Some(next) = unseen.pop() {
            let inner = self.family(next).reads.iter().filter_map(|read| self.inner(read));
            unseen.extend(inner.filter(|&inner| needed.insert(inner)));
        }
        // A family is made from families before it.
        needed.into_iter().try_for_each(|next| self.make(next))?;
        if on_host {
            let inputs = vec![self.made[&number]];
            self.push(Instruction { action: Action::Collect, inputs, tensor, layout: Layout::Host });
        }
        Ok(())
    }

    fn family(&self, number: u32) -> &'a Family {
        &self.stage.families.made[number as usize]
    }

    /// The number of an operand that belongs to this segment: it made it, or cut what it took in.
    fn inner(&self, read: &Read) -> Option<u32> {
        match read.from {
            From::Made(number) if read.of.0 == self.segment || read.layout != Layout::Whole => Some(number),
            _ => None,
        }
    }

    fn make(&mut self, number: u32) -> Result<(), String> {
        let Family { action, reads, of, layout } = self.family(number);
        if of.0 != self.segment && matches!(action, Action::Compute(_)) {
            return Err("a segment takes a value that is not whole from the one before".to_owned());
        }
        let tensor = self.tensor(*of)?;
        let inputs: Vec<ValueId> = reads.iter().map(|read| self.operand(*read)).collect::<Result<_, _>>()?;
        let value = self.push(Instruction { action: *action, inputs, tensor, layout: *layout });
        self.made.insert(number, value);
        Ok(())
    }

    fn operand(&mut self, read: Read) -> Result<ValueId, String> {
        if let Some(number) = self.inner(&read) {
            return self.made.get(&number).copied().ok_or_else(|| "a value is read before it is made".to_owned());
        }
        if let Some(&known) = self.leaves.get(&read) {
            return Ok(known);
        }
        if let From::Made(number) = read.from {
            self.entered.insert(number);
        }
        let (tensor, layout) = (self.tensor(read.of)?, read.layout);
        let value = self.push(Instruction { action: Action::Leaf, inputs: Vec::new(), tensor, layout });
        self.leaves.insert(read, value);
        Ok(value)
    }

    /// The tensor of this segment; what the one before makes is its input.
    fn tensor(&self, (segment, tensor): (u32, u32)) -> Result<TensorId, String> {
        if segment == self.segment {
            return Ok(TensorId(tensor));
        }
        let before = self.stage.graph(segment).output() == Some(TensorId(tensor));
        let class = &self.stage.logical.classes[self.stage.logical.segments[self.segment as usize].class];
        match class.input.filter(|_| before && segment.checked_add(1) == Some(self.segment)) {
            Some(input) => Ok(TensorId(input)),
            None => Err("a segment reads a value of another one that is not its input".to_owned()),
        }
    }

    fn push(&mut self, instruction: Instruction) -> ValueId {
        self.program.instructions.push(instruction);
        ValueId(self.program.instructions.len() as u32 - 1)
    }
}
