//! Refusals: the demands cannot hold together, any of them without the others can, and every change that is offered
//! admits a plan. The checks are made from scratch with `place`.

use crate::pins::pin;
use crate::random::{fleet, model};
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Bytes, DType, Demand, Fleet, LinkState, Links, Model, Part, Pin, Request, SailId, Verified, Verify};
use sailplan_planner::{Change, Config, PlaceError, Refusal, place, refuse};

/// What is asked.
#[derive(Clone)]
struct Asked {
    model: Verified<Model>,
    fleet: Verified<Fleet>,
    request: Verified<Request>,
    pins: Vec<Pin>,
    stream: bool,
}

impl Asked {
    fn new(model: Verified<Model>, fleet: Verified<Fleet>) -> Self {
        let request = Request { prompt: 64, generate: 16, context: 128, ..Request::default() };
        Self { model, fleet, request: request.verify().unwrap(), pins: Vec::new(), stream: false }
    }

    fn asking(mut self, change: impl FnOnce(&mut Request)) -> Self {
        let mut request = *self.request;
        change(&mut request);
        self.request = request.verify().unwrap();
        self
    }

    fn on(mut self, change: impl FnOnce(&mut Fleet)) -> Self {
        let mut fleet = self.fleet.into_inner();
        change(&mut fleet);
        self.fleet = fleet.verify().unwrap();
        self
    }

    fn pinned(mut self, demands: &[Demand]) -> Self {
        self.pins = demands.iter().cloned().map(pin).collect();
        self
    }

    fn with_caches(mut self, dtype: DType) -> Self {
        self.model = self.model.into_inner().with_cache_dtype(dtype).verify().unwrap();
        self.asking(|request| request.cache = dtype)
    }

    fn config(&self) -> Config<'_> {
        Config { pins: &self.pins, stream: self.stream, ..Config::default() }
    }

    fn possible(&self) -> bool {
        let costs = CostModel::new(&self.fleet, &self.request);
        match place(&self.model, &costs, self.config()) {
            Ok(_) => true,
            Err(PlaceError::NoPlan(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn changed(&self, change: &Change) -> Self {
        let mut asked = self.clone();
        match change {
            Change::Context(context) => return asked.asking(|request| request.context = *context),
            Change::Ubatch(tokens) => return asked.asking(|request| request.chunk = *tokens),
            Change::Batch(batch) => return asked.asking(|request| request.batch = *batch),
            Change::Caches(dtype) => return asked.with_caches(*dtype),
            Change::Weights(dtype) => {
                asked.model = asked.model.into_inner().with_weight_dtype(*dtype).verify().unwrap();
            }
            Change::Sails(count) => return asked.on(|fleet| fleet.sails[0].count = *count),
            Change::Stream => asked.stream = true,
            Change::Without(name) => asked.pins.retain(|pin| pin.name != *name),
            Change::Cuts(name, cuts) => {
                let pin = asked.pins.iter_mut().find(|pin| pin.name == *name).unwrap();
                let Demand::Cut { at, .. } = &mut pin.demand else { panic!("{name} is no cut") };
                at.clone_from(cuts);
            }
            Change::Links(_) => return asked.on(all_up),
            other => panic!("{other} is not known here"),
        }
        asked
    }

    /// With these demands and no others, as far as they can be dropped.
    fn only(&self, names: &[&str]) -> Self {
        let mut asked = self.clone();
        let kinds = ["kv", "ubatch", "batch", "weights", "context", "residency", "links", "memory"];
        for kind in kinds.into_iter().filter(|kind| !names.contains(kind)) {
            asked = asked.without(kind);
        }
        asked.pins.retain(|pin| names.contains(&pin.name.as_str()));
        asked
    }

    fn without(&self, kind: &str) -> Self {
        let linked = matches!(self.fleet.links, Links::Edges(_));
        match kind {
            "memory" => self.clone().on(|fleet| {
                fleet.kinds.values_mut().for_each(|kind| (kind.memory, kind.reserve) = (Bytes(1 << 50), Bytes(0)));
            }),
            "residency" => self.changed(&Change::Stream),
            "context" => self.clone().asking(|request| (request.prompt, request.generate, request.context) = (1, 0, 1)),
            "weights" => self.changed(&Change::Weights(DType::Q2_K)),
            "batch" => self.changed(&Change::Batch(1)),
            "ubatch" => self.changed(&Change::Ubatch(1)),
            "kv" => self.changed(&Change::Caches(DType::F16)),
            "links" if linked => self.clone().on(all_up),
            _ => self.clone(),
        }
    }

    /// The refusal, checked from scratch.
    #[track_caller]
    fn refused(&self, kinds: &[&str]) -> Refusal {
        assert!(!self.possible(), "there is a plan");
        let costs = CostModel::new(&self.fleet, &self.request);
        let refusal = refuse(&self.model, &costs, self.config()).unwrap();
        let found: Vec<&str> = refusal.demands.iter().map(|demand| demand.kind).collect();
        assert_eq!(found, kinds, "{refusal:?}");
        let set: Vec<&str> = refusal.demands.iter().map(|demand| demand.name.as_str()).collect();
        assert!(!self.only(&set).possible(), "these demands alone have a plan: {set:?}");
        for name in set.iter().filter(|name| **name != "blocks") {
            let fewer: Vec<&str> = set.iter().copied().filter(|other| other != name).collect();
            assert!(self.only(&fewer).possible(), "no plan without {name}");
        }
        for one in &refusal.relaxations {
            assert!(self.changed(&one.change).possible(), "{} admits no plan", one.change);
        }
        refusal
    }
}

fn all_up(fleet: &mut Fleet) {
    let Links::Edges(edges) = &mut fleet.links else { panic!("links one by one") };
    edges.iter_mut().for_each(|edge| edge.link.state = LinkState::Up);
}

fn changes(refusal: &Refusal) -> Vec<String> {
    refusal.relaxations.iter().map(|one| one.change.to_string()).collect()
}

/// Cards of one kind in one run, so that there can be more of them.
fn equal(count: u16, memory: &str) -> Verified<Fleet> {
    let text = format!(
        "Fleet(name: \"equal\", kinds: {{\"a\": (memory: \"{memory}\", bandwidth: \"2 GB/s\", overhead: \"1 us\")}},
         sails: [(kind: \"a\", count: {count})], links: Ring(rate: \"500 MB/s\", latency: \"5 us\"),
         host: (rate: \"100 MB/s\", latency: \"100 us\"))"
    );
    parse_fleet("equal.ron", &text).unwrap()
}

#[test]
fn too_little_memory() {
    let refusal = Asked::new(model(6, 2, "Q8_0"), equal(1, "9 MiB")).refused(&["memory", "residency", "weights"]);
    assert!(refusal.demands[0].words.contains("too little"), "{refusal:?}");
    assert!(changes(&refusal).iter().any(|change| change.contains("Sails of this kind")), "{refusal:?}");
    let streaming = refusal.relaxations.iter().find(|one| one.change == Change::Stream).unwrap();
    assert!(streaming.streaming.is_some_and(|(bytes, time)| bytes.0 > 0 && time.0 > 0));
    assert!(changes(&refusal).iter().any(|change| change.contains("matrices in")), "{refusal:?}");
}

#[test]
fn a_context_too_long() {
    let asked = Asked::new(model(3, 2, "Q4_0"), equal(1, "64 MiB")).asking(|request| request.context = 65_536);
    let refusal = asked.refused(&["memory", "context"]);
    let Some(Change::Context(context)) =
        refusal.relaxations.iter().map(|one| one.change.clone()).find(|change| matches!(change, Change::Context(_)))
    else {
        panic!("{refusal:?}")
    };
    assert!(context.is_multiple_of(1024) && !asked.changed(&Change::Context(context + 1024)).possible(), "{context}");
}

#[test]
fn caches_too_large_by_their_type() {
    let asked = Asked::new(model(3, 2, "Q4_0"), equal(1, "30 MiB")).asking(|request| request.context = 9_000);
    let refusal = asked.refused(&["memory", "residency", "context", "weights", "kv"]);
    assert!(refusal.relaxations.iter().any(|one| one.change.flags().as_deref() == Some("--kv f16")), "{refusal:?}");
}

#[test]
fn too_many_sequences() {
    let asked = Asked::new(model(3, 2, "Q4_0"), equal(1, "64 MiB")).asking(|request| request.batch = 256);
    let refusal = asked.refused(&["memory", "context", "batch", "ubatch"]);
    let batch = refusal.relaxations.iter().find_map(|one| match one.change {
        Change::Batch(batch) => Some(batch),
        _ => None,
    });
    assert!(!asked.changed(&Change::Batch(batch.unwrap() + 1)).possible());
}

#[test]
fn pins_that_contradict_each_other() {
    let on = |sail: u16| Demand::Layers { layers: Part::Layers(0..2), on: vec![SailId(sail)] };
    let other = Demand::AtMostSails(3);
    let asked = Asked::new(model(4, 2, "Q4_0"), equal(3, "1 GiB")).pinned(&[on(0), other, on(1)]);
    let refusal = asked.refused(&["pin", "pin"]);
    assert_eq!(changes(&refusal).len(), 2);
    assert!(changes(&refusal).iter().all(|change| change.starts_with("without pin")));
}

#[test]
fn more_stages_than_segments() {
    let asked = Asked::new(model(2, 2, "Q4_0"), equal(8, "1 GiB")).pinned(&[Demand::AtLeastStages(5)]);
    let refusal = asked.refused(&["pin"]);
    assert_eq!(refusal.demands[0].words, "at least 5 stages");
}

#[test]
fn pins_that_leave_no_sail() {
    let never = [0, 1].map(|sail| Demand::Never(SailId(sail)));
    let refusal = Asked::new(model(2, 2, "Q4_0"), equal(2, "1 GiB")).pinned(&never).refused(&["pin", "pin"]);
    assert_eq!(changes(&refusal).len(), 2);
}

#[test]
fn a_pin_that_leaves_too_little_memory() {
    let pins = [Demand::AtMostSails(1)];
    let refusal = Asked::new(model(6, 2, "Q4_0"), equal(4, "6 MiB")).pinned(&pins).refused(&[
        "memory",
        "residency",
        "context",
        "pin",
    ]);
    assert!(changes(&refusal).iter().any(|change| change.starts_with("without pin")), "{refusal:?}");
}

#[test]
fn a_cut_inside_a_block() {
    let cut = Demand::Cut { tensor: "blk.*.ffn_down.weight".to_owned(), axis: 1, at: vec![630] };
    let asked = Asked::new(model(2, 2, "Q4_0"), equal(2, "1 GiB")).pinned(&[cut]);
    let refusal = asked.refused(&["blocks", "pin"]);
    assert!(refusal.demands[0].words.contains("multiples of 32 elements, which Q4_0"), "{refusal:?}");
    let aligned = refusal.relaxations.iter().any(|one| matches!(&one.change, Change::Cuts(_, at) if at == &[640]));
    assert!(aligned, "{refusal:?}");
}

/// Two pairs of cards without a link between them that is up.
fn pairs(memory: &str) -> Verified<Fleet> {
    let edge = |a: u16, b: u16, state: &str| {
        format!("(a: {a}, b: {b}, link: (rate: \"500 MB/s\", latency: \"5 us\", state: {state}))")
    };
    let text = format!(
        "Fleet(name: \"pairs\", kinds: {{\"a\": (memory: \"{memory}\", bandwidth: \"2 GB/s\", overhead: \"1 us\")}},
         sails: [(kind: \"a\", count: 4)], links: Edges([{}, {}, {}]), host: (rate: \"100 MB/s\", latency: \"100 us\"))",
        edge(0, 1, "Up"),
        edge(1, 2, "Down"),
        edge(2, 3, "Up"),
    );
    parse_fleet("pairs.ron", &text).unwrap()
}

#[test]
fn cards_that_do_not_reach_each_other() {
    let refusal = Asked::new(model(4, 2, "Q4_0"), pairs("3 MiB")).refused(&["memory", "residency", "weights", "links"]);
    let words = &refusal.demands[3].words;
    assert_eq!(words, "no link that is up joins {sail0, sail1} | {sail2, sail3}");
    assert!(changes(&refusal).contains(&"a link that is up between sail1 and sail2".to_owned()), "{refusal:?}");
}

#[test]
fn what_fits_a_part_of_the_fleet_is_planned_there() {
    let asked = Asked::new(model(4, 2, "Q4_0"), pairs("64 MiB"));
    let costs = CostModel::new(&asked.fleet, &asked.request);
    let config = Config { prove: true, ..asked.config() };
    let placement = place(&asked.model, &costs, config).unwrap().placement;
    let parts = asked.fleet.parts();
    let busy = placement.stages.iter().flat_map(|stage| &stage.sails);
    let used: std::collections::BTreeSet<usize> = busy.map(|sail| parts[sail.index()]).collect();
    assert_eq!(used.len(), 1, "{placement:?}");
}

/// Single cards of unlike memory: nothing in the fleet tells one change from another, so the order is what is written.
#[test]
fn refusals_are_the_same_every_time() {
    let asked = Asked::new(model(6, 2, "Q8_0"), fleet(&[(3, 2000), (4, 500)], "Line", 500, 5));
    let costs = CostModel::new(&asked.fleet, &asked.request);
    let once = refuse(&asked.model, &costs, asked.config()).unwrap();
    assert_eq!(once, refuse(&asked.model, &costs, asked.config()).unwrap());
    assert!(!changes(&once).iter().any(|change| change.contains("Sails of this kind")), "two kinds of cards: {once:?}");
}

/// What a refusal on 64 cards offers admits a plan as well.
#[test]
fn many_cards() {
    let model = sailplan_models::load_zoo("llama-3-70b").unwrap().model;
    let fleet = parse_fleet("x64", shipped_fleet("innerjib7ea-x64-ring").unwrap()).unwrap();
    let asked = Asked::new(model, fleet).asking(|request| request.context = 4_000_000);
    let costs = CostModel::new(&asked.fleet, &asked.request);
    let refusal = refuse(&asked.model, &costs, asked.config()).unwrap();
    assert!(!refusal.relaxations.is_empty(), "{refusal:?}");
    for one in &refusal.relaxations {
        assert!(asked.changed(&one.change).possible(), "{} admits no plan", one.change);
    }
}
