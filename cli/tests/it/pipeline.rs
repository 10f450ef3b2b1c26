//! The stages in a row, as the command line runs them, for tests that look at what comes out.

use crate::tiny::Tiny;
use sailplan_codegen::{Instruction, Plan};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_executor::{Report, Session, replay};
use sailplan_ir::{CollectiveKind, Fleet, Model, Placement, Request, Verified, Verify, WeightIndex};
use sailplan_planner::{Config, evaluate, place};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory of this test run's own.
pub(crate) fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("models");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A tiny model, written to a file and loaded from it.
pub(crate) struct OnDisk {
    pub(crate) model: Verified<Model>,
    pub(crate) weights: WeightIndex,
}

/// Writes a model beside others and renames it, so that tests in parallel never read half a file.
pub(crate) fn on_disk(name: &str, tiny: &Tiny) -> OnDisk {
    let path = directory().join(format!("{name}.gguf"));
    let temporary = directory().join(format!("{name}.{:?}.tmp", std::thread::current().id()));
    std::fs::write(&temporary, tiny.gguf()).unwrap();
    std::fs::rename(&temporary, &path).unwrap();
    let loaded = sailplan_models::load(&path).unwrap();
    OnDisk { model: loaded.model, weights: loaded.weights.unwrap() }
}

/// Rev-A cards: `shape` is `ring`, `mesh` or `star`.
pub(crate) fn fleet(sails: u16, shape: &str) -> Verified<Fleet> {
    let text = shipped_fleet(&format!("innerjib7ea-x4-{shape}")).unwrap();
    parse_fleet("fleet.ron", &text.replace("count: 4", &format!("count: {sails}"))).unwrap()
}

/// A request with room for the golden sequences.
pub(crate) fn small_request() -> Verified<Request> {
    Request { prompt: 12, generate: 8, context: 32, ..Request::default() }.verify().unwrap()
}

/// The compiled plan, through its text.
pub(crate) fn compiled(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
) -> Verified<Plan> {
    let placement = place(model, &CostModel::new(fleet, request), Config::default()).unwrap().placement;
    emitted(model, fleet, request, &placement)
}

/// The plan of given stages: runs of cards with runs of segments.
pub(crate) fn staged(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
    stages: &[(Range<usize>, Range<usize>)],
) -> Verified<Plan> {
    let placement = evaluate(model, &CostModel::new(fleet, request), stages).unwrap();
    emitted(model, fleet, request, &placement)
}

/// The plan of a placement, through its text.
pub(crate) fn emitted(
    model: &Verified<Model>,
    fleet: &Verified<Fleet>,
    request: &Verified<Request>,
    placement: &Placement,
) -> Verified<Plan> {
    let plan = sailplan_codegen::emit(model, fleet, request, placement).unwrap();
    sailplan_codegen::read("plan.ron", &sailplan_codegen::write(&plan)).unwrap()
}

/// Replays `tokens`, the first `prefill` of them through the prefill program, then `generate` greedy ones.
pub(crate) fn replayed(
    plan: &Verified<Plan>,
    weights: &WeightIndex,
    tokens: &[u32],
    prefill: usize,
    generate: u32,
) -> Report {
    let timeout = Duration::from_secs(120);
    let session = Session { tokens: tokens.to_vec(), prefill, generate, timeout, progress: None };
    replay(plan, weights, &session).unwrap()
}

/// Every instruction of a plan, repeats opened once.
pub(crate) fn instructions(plan: &Plan) -> Vec<&Instruction> {
    let programs = plan.sails.iter().flat_map(|sail| [&sail.prefill, &sail.decode]);
    let top = programs.flat_map(|program| &program.instructions);
    top.flat_map(|instruction| match instruction {
        Instruction::Repeat { body, .. } => body.iter().collect(),
        other => vec![other],
    })
    .collect()
}

/// Whether some sum is split over cards.
pub(crate) fn splits_a_sum(plan: &Plan) -> bool {
    instructions(plan).iter().any(|instruction| {
        matches!(
            instruction,
            Instruction::Collective { kind: CollectiveKind::AllReduce | CollectiveKind::ReduceScatter, .. }
        )
    })
}
