//! What a plan does: its stages, and for each layer class how weights are cut and what is exchanged. Read from the plan alone.

use super::holding::{Holding, holdings};
use super::seconds;
use sailplan_codegen::{Instruction, Plan, PlanClass, SailPlan, headroom};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, Op, Picoseconds, Role, SailId};
use serde::Serialize;
use std::collections::BTreeMap;

/// One stage.
#[derive(Serialize)]
pub(crate) struct StageChosen {
    pub(crate) stage: u32,
    pub(crate) sails: Vec<SailId>,
    /// Predicted times of its programs, waiting not counted: prefill for an average chunk.
    #[serde(rename = "prefill_s", serialize_with = "seconds")]
    pub(crate) prefill: Picoseconds,
    #[serde(rename = "decode_s", serialize_with = "seconds")]
    pub(crate) decode: Picoseconds,
    /// Of the card that has least left.
    #[serde(rename = "headroom")]
    pub(crate) left: u64,
    pub(crate) tightest: SailId,
}

/// One layer class on one stage.
#[derive(Serialize)]
pub(crate) struct Chosen {
    pub(crate) class: String,
    pub(crate) stage: u32,
    /// Layers here; 0 of a class that is no layer.
    pub(crate) layers: u32,
    pub(crate) weights: Vec<Holding>,
    pub(crate) prefill: Work,
    pub(crate) decode: Work,
}

/// All of a class's work on a stage in one run of a program.
#[derive(Default, Serialize)]
pub(crate) struct Work {
    #[serde(rename = "kernels_s", serialize_with = "seconds")]
    pub(crate) kernels: Picoseconds,
    pub(crate) exchanges: Vec<Exchange>,
}

/// Collectives of one kind.
#[derive(Serialize)]
pub(crate) struct Exchange {
    pub(crate) kind: String,
    pub(crate) algorithm: String,
    pub(crate) count: u64,
    #[serde(rename = "time_s", serialize_with = "seconds")]
    pub(crate) time: Picoseconds,
}

/// Stages in order.
pub(super) fn stages(plan: &Plan) -> Vec<StageChosen> {
    let firsts = plan.sails.iter().filter(|sail| sail.group.first() == Some(&sail.sail));
    let mut stages: Vec<StageChosen> = firsts.map(|first| stage(plan, first)).collect();
    stages.sort_by_key(|stage| stage.stage);
    stages
}

fn stage(plan: &Plan, first: &SailPlan) -> StageChosen {
    let time = |instructions: &[Instruction]| instructions.iter().map(Instruction::time).sum();
    let members = plan.sails.iter().filter(|sail| sail.stage == first.stage);
    let left = members.map(|sail| (headroom(&sail.memory), sail.sail)).min().unwrap_or((Bytes(0), first.sail));
    StageChosen {
        stage: first.stage,
        sails: first.group.clone(),
        prefill: time(&first.prefill.instructions),
        decode: time(&first.decode.instructions),
        left: left.0.0,
        tightest: left.1,
    }
}

/// Every class on every stage that runs it, in order of the stages and the chain.
pub(super) fn classes(plan: &Plan) -> Vec<Chosen> {
    let mut all = Vec::new();
    for stage in stages(plan) {
        let Some(first) = plan.sails.iter().find(|sail| Some(&sail.sail) == stage.sails.first()) else { continue };
        let [prefill, decode] = [&first.prefill, &first.decode].map(|program| works(plan, &program.instructions));
        let (mut prefill, mut decode) = (prefill, decode);
        for class in &plan.model.classes {
            let (Some(prefill), Some(decode)) = (prefill.remove(&class.name), decode.remove(&class.name)) else {
                continue;
            };
            let weights = class.tensors.iter().filter(|tensor| matches!(tensor.role, Role::Weight | Role::Cache));
            let held = weights.flat_map(|tensor| holdings(plan, &tensor.name));
            all.push(Chosen {
                class: class.name.clone(),
                stage: stage.stage,
                layers: decode.layers,
                weights: held.filter(|held| held.stage == stage.stage).collect(),
                prefill: prefill.work(),
                decode: decode.work(),
            });
        }
    }
    all
}

/// Sums over the instructions of a class.
#[derive(Default)]
struct Sums {
    layers: u32,
    kernels: Picoseconds,
    exchanges: BTreeMap<(CollectiveKind, Algorithm), (u64, Picoseconds)>,
}

impl Sums {
    fn add(&mut self, instruction: &Instruction, times: u64) {
        match instruction {
            Instruction::Kernel { time, .. } | Instruction::Slice { time, .. } => self.kernels += time.times(times),
            Instruction::Collective { kind, algorithm, time, .. } => {
                let (count, all) = self.exchanges.entry((*kind, *algorithm)).or_default();
                *count += times;
                *all += time.times(times);
            }
            _ => {}
        }
    }

    fn work(self) -> Work {
        let exchange = |((kind, algorithm), (count, time)): ((CollectiveKind, Algorithm), _)| Exchange {
            kind: kind.to_string(),
            algorithm: algorithm.to_string(),
            count,
            time,
        };
        Work { kernels: self.kernels, exchanges: self.exchanges.into_iter().map(exchange).collect() }
    }
}

/// Work by class. What stands outside of layers belongs to the class whose weights were used last, or that follows the layers.
fn works(plan: &Plan, instructions: &[Instruction]) -> BTreeMap<String, Sums> {
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    let mut current: Option<String> = None;
    for instruction in instructions {
        match instruction {
            Instruction::Repeat { layers, body } => {
                let Some((class, next)) = of_layer(plan, layers.0.start) else { continue };
                let sum = sums.entry(class.to_owned()).or_default();
                sum.layers += layers.0.len() as u32;
                body.iter().for_each(|instruction| sum.add(instruction, layers.0.len() as u64));
                current = next.map(str::to_owned);
            }
            other => {
                current = of_weights(plan, other).map(str::to_owned).or(current);
                if let Some(class) = &current {
                    sums.entry(class.clone()).or_default().add(other, 1);
                }
            }
        }
    }
    sums
}

/// The class of a layer, and the class that follows it in the chain where that is no layer.
fn of_layer(plan: &Plan, layer: u32) -> Option<(&str, Option<&str>)> {
    let chain = &plan.model.chain;
    let index = chain.iter().position(|link| link.layers.as_ref().is_some_and(|layers| layers.0.contains(&layer)))?;
    let next = chain.get(index + 1).filter(|link| link.layers.is_none());
    Some((&chain[index].class, next.map(|link| link.class.as_str())))
}

/// The class whose weights a kernel reads; a fused one reads those of products. A weight that two classes name belongs to the one with the kernel's operator.
fn of_weights<'a>(plan: &'a Plan, instruction: &Instruction) -> Option<&'a str> {
    let Instruction::Kernel { op, weights, .. } = instruction else { return None };
    let name = sailplan_codegen::tensor_name(weights.first()?);
    let reader = op.on_products().map_or(*op, |_| Op::Linear);
    let reads = |class: &&PlanClass| {
        class.nodes.iter().any(|node| node.op == reader && node.inputs.iter().any(|input| input == name))
    };
    plan.model.classes.iter().find(reads).map(|class| class.name.as_str())
}
