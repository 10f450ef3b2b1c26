//! Compiled plans of tiny models, with what their replay gives: dense and with experts, one card to six, even shares and
//! uneven ones, one stage and several, weights streamed and handed on, both wire types.

use crate::pipeline::{OnDisk, compiled, emitted, fleet, on_disk, staged};
use crate::tiny::{Kind, Tiny};
use crate::truth::bits;
use sailplan_codegen::Plan;
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_executor::{ReplayError, Session, replay};
use sailplan_ir::{Bytes, BytesPerSecond, Fleet, Link, Links, Objective, Picoseconds, Request, Verified, Verify, Wire};
use sailplan_planner::{Config, place};
use std::time::Duration;

/// A plan, and the model that it is for.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) plan: Verified<Plan>,
    on_disk: OnDisk,
}

/// Two chunks of the prompt, of which the second is not full, then decoding to the end of the context.
const TOKENS: [u32; 5] = [3, 61, 17, 0, 42];
const GENERATE: u32 = 3;

impl Case {
    /// The bits of all logits, of one replica after the other.
    pub(crate) fn logits(&self, plan: &Verified<Plan>) -> Result<Vec<Vec<u32>>, ReplayError> {
        let timeout = Duration::from_secs(20);
        let session =
            Session { tokens: TOKENS.to_vec(), prefill: TOKENS.len(), generate: GENERATE, timeout, progress: None };
        let mut logits = Vec::new();
        for replica in 0..plan.replicas() {
            let replica = plan.replica(replica).unwrap().verify().unwrap();
            logits.extend(bits(&replay(&replica, &self.on_disk.weights, &session)?.logits));
        }
        Ok(logits)
    }
}

fn request() -> Request {
    Request { prompt: 6, generate: 2, context: 8, chunk: 3, ..Request::default() }
}

fn dense() -> Tiny {
    Tiny {
        kind: Kind::Q4_0,
        output_kind: Some(Kind::Q8_0),
        layers: 3,
        hidden: 64,
        heads: 4,
        kv_heads: 2,
        ffn: 96,
        vocab: 67,
        ..Tiny::default()
    }
}

fn mixture() -> Tiny {
    Tiny { ffn: 64, experts: 5, experts_used: 2, layers: 2, ..dense() }
}

fn tied() -> Tiny {
    Tiny { tied: true, heads: 4, kv_heads: 4, output_kind: None, ..dense() }
}

/// The shipped mix of cards with other memory rates, for uneven shares.
fn mixed() -> Verified<Fleet> {
    parse_fleet("fleet.ron", shipped_fleet("innerjib7ea-mixed-x4-ring").unwrap()).unwrap()
}

/// Cards that hold not even half of the layers.
fn cramped(sails: u16, bytes: u64) -> Verified<Fleet> {
    let mut fleet = fleet(sails, "ring").into_inner();
    for kind in fleet.kinds.values_mut() {
        (kind.memory, kind.reserve) = (Bytes(bytes), Bytes(0));
    }
    fleet.verify().unwrap()
}

/// Cards whose messages and kernels cost nothing but their bytes, so that values are cut wherever that saves some.
fn swift() -> Verified<Fleet> {
    let mut fleet = fleet(4, "mesh").into_inner();
    fleet.links = Links::Mesh(Link::plain(BytesPerSecond(8_000_000_000), Picoseconds(1)));
    fleet.kinds.values_mut().for_each(|kind| kind.overhead = Picoseconds(0));
    fleet.verify().unwrap()
}

/// Cards so slow at reading weights that all of them are cut, sums as well, whatever messages cost.
fn slow(sails: u16) -> Verified<Fleet> {
    let mut fleet = fleet(sails, "ring").into_inner();
    fleet.kinds.values_mut().for_each(|kind| kind.bandwidth = BytesPerSecond(10_000_000));
    fleet.verify().unwrap()
}

/// Such cards on links without latency, so that rows only go where they must.
fn swift_and_slow(sails: u16) -> Verified<Fleet> {
    let mut fleet = slow(sails).into_inner();
    fleet.links = Links::Mesh(Link::plain(BytesPerSecond(100_000_000), Picoseconds(1)));
    fleet.kinds.values_mut().for_each(|kind| kind.overhead = Picoseconds(0));
    fleet.verify().unwrap()
}

/// The same, so that caches are cut by positions where there are too few heads.
fn slowest(sails: u16) -> Verified<Fleet> {
    let mut fleet = slow(sails).into_inner();
    fleet.kinds.values_mut().for_each(|kind| kind.bandwidth = BytesPerSecond(1_000_000));
    fleet.verify().unwrap()
}

type Stages<'a> = &'a [(std::ops::Range<usize>, std::ops::Range<usize>)];

struct Maker {
    name: &'static str,
    tiny: Tiny,
    request: Request,
}

impl Maker {
    fn new(name: &'static str, tiny: Tiny) -> Self {
        Self { name, tiny, request: request() }
    }

    fn case(&self, make: impl Fn(&OnDisk, &Verified<Request>) -> Verified<Plan>) -> Case {
        let on_disk = on_disk(&format!("mutants {}", self.name), &self.tiny);
        let plan = make(&on_disk, &self.request.verify().unwrap());
        Case { name: self.name, plan, on_disk }
    }

    fn on(&self, fleet: &Verified<Fleet>) -> Case {
        self.case(|on_disk, request| compiled(&on_disk.model, fleet, request))
    }

    fn in_stages(&self, sails: u16, stages: Stages<'_>) -> Case {
        self.case(|on_disk, request| staged(&on_disk.model, &fleet(sails, "ring"), request, stages))
    }

    fn streamed(&self, sails: u16, bytes: u64) -> Case {
        self.case(|on_disk, request| {
            let fleet = cramped(sails, bytes);
            let config = Config { stream: true, ..Config::default() };
            let placement = place(&on_disk.model, &CostModel::new(&fleet, request), config).unwrap().placement;
            emitted(&on_disk.model, &fleet, request, &placement)
        })
    }
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let bf16 = Maker { request: Request { wire: Wire::Bf16, ..request() }, ..Maker::new("bf16 wire", dense()) };
    let prompts = Request { prompt: 12, context: 16, chunk: 12, objective: Objective::Prefill, ..request() };
    let narrow = || Tiny { ffn: 32, experts_used: 1, ..mixture() };
    let sent = |name| Maker { request: prompts, ..Maker::new(name, narrow()) };
    let many = Request { objective: Objective::Throughput, ..request() };
    let many = Maker { request: many, ..Maker::new("two replicas", dense()) };
    vec![
        many.in_stages(4, &[(0..1, 0..5), (1..3, 0..3), (3..4, 3..5)]),
        Maker::new("one card", dense()).on(&fleet(1, "ring")),
        Maker::new("ring of three", dense()).on(&fleet(3, "ring")),
        Maker::new("mesh of four", tied()).on(&fleet(4, "mesh")),
        Maker::new("swift links", dense()).on(&swift()),
        Maker::new("slow memories", dense()).on(&slow(2)),
        Maker::new("slow memories of three", tied()).on(&slow(3)),
        Maker::new("parts of the context", Tiny { kv_heads: 1, ..dense() }).on(&slowest(3)),
        Maker::new("experts in slow memories", mixture()).on(&slow(3)),
        sent("experts sent rows").on(&swift_and_slow(4)),
        sent("experts sent rows of two").on(&swift_and_slow(2)),
        Maker::new("unlike cards", tied()).on(&mixed()),
        bf16.in_stages(2, &[(0..2, 0..5)]),
        Maker::new("uneven group", dense()).in_stages(3, &[(0..3, 0..5)]),
        Maker::new("pipeline of cards", dense()).in_stages(3, &[(0..1, 0..2), (1..2, 2..3), (2..3, 3..5)]),
        Maker::new("pipeline of groups", tied()).in_stages(5, &[(0..2, 0..2), (2..5, 2..5)]),
        Maker::new("experts on two", mixture()).in_stages(2, &[(0..2, 0..4)]),
        Maker::new("experts on a mesh", mixture()).on(&fleet(4, "mesh")),
        Maker::new("experts in stages", mixture()).in_stages(4, &[(0..1, 0..2), (1..4, 2..4)]),
        Maker::new("streamed", Tiny { layers: 5, ..dense() }).streamed(1, STREAMED),
        Maker::new("streamed by two", Tiny { layers: 5, ..dense() }).streamed(2, STREAMED),
    ]
}

/// Too little for the five layers.
const STREAMED: u64 = 100 << 10;
