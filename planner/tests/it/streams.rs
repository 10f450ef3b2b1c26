//! Weights that stay on the host: only when asked, at the host's price.

use sailplan_cost_model::{CostModel, parse_fleet};
use sailplan_ir::{Bytes, Estimate, Fleet, Model, Picoseconds, Placement, Request, Verified, Verify};
use sailplan_planner::{Change, Config, PlaceError, Refusal, place, refuse};

/// Four layers of 4 x 512 x 512 + 3 x 1280 x 512 F16 elements and two norms of 512 F32: 6,033,408 B each.
fn model() -> Verified<Model> {
    let text =
        "Decoder(name: \"m\", hidden: 512, layers: 4, heads: 8, kv_heads: 8, ffn: 1280, vocab: 1000, context: 512,
        norm_epsilon: 1e-5, rope_base: 1e4, tied: true, dtypes: Dtypes(default: F16))";
    sailplan_models::from_ron("m.ron", text).unwrap().model
}

const LAYER: u64 = 2 * (4 * 512 * 512 + 3 * 1280 * 512) + 4 * 2 * 512;

/// Equal cards on a host with 100 MB/s and 100 us.
fn fleet(cards: u32, memory: &str, attachment: &str) -> Verified<Fleet> {
    let text = format!(
        "Fleet(name: \"f\", kinds: {{\"k\": (memory: \"{memory}\", bandwidth: \"2 GB/s\", overhead: \"1 us\")}},
         sails: [(kind: \"k\", count: {cards})], links: Ring(rate: \"500 MB/s\", latency: \"5 us\"),
         host: (rate: \"100 MB/s\", latency: \"100 us\", attachment: {attachment}))"
    );
    parse_fleet("f.ron", &text).unwrap()
}

fn placed(fleet: &Verified<Fleet>, stream: bool) -> Result<Placement, PlaceError> {
    let request = Request { prompt: 64, generate: 16, chunk: 16, context: 128, ..Request::default() };
    let request = request.verify().unwrap();
    let config = Config { stream, prove: true, ..Config::default() };
    place(&model(), &CostModel::new(fleet, &request), config).map(|outcome| outcome.placement)
}

/// Segments whose weights stay on the host.
fn streamed(placement: &Placement) -> u64 {
    let choices = placement.stages.iter().flat_map(|stage| {
        stage.assignment.iter().map(|&index| u64::from(!stage.choices[index as usize].streams.is_empty()))
    });
    choices.sum()
}

/// Nine weights of 6,033,408 B together: 9 x 100 us + 60.33408 ms, in each of 4 chunks and for each of 16 tokens.
#[test]
fn each_use_of_a_streamed_layer_costs_its_bytes_on_the_host_link() {
    assert_eq!(LAYER, 6_033_408);
    let roomy = placed(&fleet(1, "64 MiB", "Shared"), false).unwrap();
    let tight = placed(&fleet(1, "22 MiB", "Shared"), true).unwrap();
    let layers = streamed(&tight);
    assert!((1..4).contains(&layers), "{layers}");
    let once = Picoseconds(900_000_000 + LAYER * 10_000) * layers;
    let more = |part: fn(&Estimate) -> Picoseconds| part(&tight.estimate) - part(&roomy.estimate);
    assert_eq!(more(|estimate| estimate.decode), once);
    assert_eq!(more(|estimate| estimate.prefill), once * 4);
    assert_eq!(more(|estimate| estimate.by_resource.host), once * 20);
    assert_eq!(
        tight.estimate.by_resource.ddr, roomy.estimate.by_resource.ddr,
        "kernels read the card's memory as ever"
    );
    let loaded: Bytes = tight.loads.iter().map(|load| load.shard.bytes).sum();
    assert_eq!(loaded + Bytes(LAYER * layers), model().weight_bytes());
    assert!(tight.certificate.space.contains("on the host"), "{}", tight.certificate.space);
}

/// Nothing is streamed where everything fits; on one card a layer less on the host would not fit.
#[test]
fn as_few_layers_as_possible_stay_on_the_host() {
    let mut seen = 0;
    for (cards, megabytes) in [1, 2, 3].into_iter().flat_map(|cards| [12, 14, 16, 18, 20, 22].map(|size| (cards, size)))
    {
        let (fleet, name) =
            (fleet(cards, &format!("{megabytes} MiB"), "Shared"), format!("{cards} of {megabytes} MiB"));
        let Ok(placement) = placed(&fleet, true) else { continue };
        let memory = placement.stages.iter().flat_map(|stage| &stage.memory);
        let (held, layers) = (memory.map(|memory| memory.total()).sum::<Bytes>(), streamed(&placement));
        let room = Bytes(megabytes << 20).times(u64::from(cards));
        assert_eq!(layers == 0, placed(&fleet, false).is_ok(), "{name}");
        assert!(held <= room, "{name}");
        if cards == 1 && layers > 1 {
            assert!(held + Bytes(LAYER) > room, "{name}");
            seen += 1;
        }
    }
    assert!(seen > 1, "{seen}");
}

/// Cards with links of their own stream their shares side by side.
#[test]
fn own_host_links_stream_at_once() {
    let host = |attachment: &str| {
        let placement = placed(&fleet(2, "10 MiB", attachment), true).unwrap();
        assert!(streamed(&placement) > 0);
        placement.estimate.by_resource.host
    };
    assert!(host("PerSail") < host("Shared"));
}

fn refused(fleet: &Verified<Fleet>, stream: bool) -> Refusal {
    let request = Request { prompt: 64, generate: 16, chunk: 16, context: 128, ..Request::default() };
    let request = request.verify().unwrap();
    assert!(matches!(placed(fleet, stream), Err(PlaceError::NoPlan(_))), "it cannot fit");
    refuse(&model(), &CostModel::new(fleet, &request), Config { stream, ..Config::default() }).unwrap()
}

#[test]
fn a_refusal_says_what_streaming_would_take() {
    let fleet = fleet(1, "22 MiB", "Shared");
    let streamed = streamed(&placed(&fleet, true).unwrap());
    let time = Picoseconds(900_000_000 + LAYER * 10_000) * streamed;
    let refusal = refused(&fleet, false);
    let offered = refusal.relaxations.iter().find(|one| one.change == Change::Stream).unwrap();
    assert_eq!(offered.streaming, Some((Bytes(LAYER * streamed), time)));
}

/// Not even one layer at a time fits: the refusal does not offer what does not help.
#[test]
fn streaming_is_not_offered_where_it_does_not_help() {
    for stream in [false, true] {
        let refusal = refused(&fleet(1, "3 MiB", "Shared"), stream);
        assert!(refusal.relaxations.iter().all(|one| one.change != Change::Stream), "{refusal:?}");
    }
}
