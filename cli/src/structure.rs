//! The structure of a placement in words: two placements that differ in it share layers or exchange values in other ways.

use sailplan_ir::{Action, Placement};

/// How many cards each stage has, in order, with the segments of each where there are several, and how often cards exchange
/// values in a decode step.
pub(crate) fn structure(placement: &Placement) -> String {
    let several = placement.stages.len() > 1;
    let exchanges = |choice: &sailplan_ir::Choice| {
        let instructions = choice.form.decode.instructions.iter();
        use Action::{AllGather, AllReduce, Combine, Dispatch, MergeScatter, ReduceScatter};
        let links = [AllReduce, ReduceScatter, MergeScatter, AllGather, Dispatch, Combine];
        instructions.filter(|instruction| links.contains(&instruction.action)).count()
    };
    let of_stage = |stage: &sailplan_ir::Stage| -> usize {
        let hop = stage.hop.as_ref().map_or(0, |hop| 1 + usize::from(hop.spread.is_some()));
        stage.assignment.iter().map(|&index| exchanges(&stage.choices[index as usize])).sum::<usize>() + hop
    };
    let all: usize = placement.stages.iter().map(of_stage).sum();
    let stage = |stage: &sailplan_ir::Stage| match several {
        true if stage.segments.len() == 1 => format!("{} (1 segment)", stage.sails.len()),
        true => format!("{} ({} segments)", stage.sails.len(), stage.segments.len()),
        false => stage.sails.len().to_string(),
    };
    let chains = placement.stages.chunk_by(|one, next| one.replica == next.replica);
    let chains = chains.map(|chain| chain.iter().map(stage).collect::<Vec<_>>().join(" + ")).collect::<Vec<_>>();
    let alike = chains.chunk_by(PartialEq::eq).map(|alike| match alike {
        [one] => one.clone(),
        several => format!("{} x ({})", several.len(), several[0]),
    });
    let stages = alike.collect::<Vec<_>>().join(" | ");
    format!("{stages}, {all} exchanges a token")
}
