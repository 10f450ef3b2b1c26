//! Fitted figures against the true ones that made the measurements, and every way in which a file is refused.

use proptest::prelude::*;
use sailplan_cost_model::{
    Calibration, CostModel, Measurements, Operation, Value, Work, calibrate, calibrated_text, parse_fleet,
    shipped_fleet,
};
use sailplan_ir::{Bytes, DType, Diagnostics, Fleet, Pattern, Picoseconds, Request, SailId, Verified, Verify};

/// Figures of a made-up fleet; times in nanoseconds, rates in kB/s.
#[derive(Clone, Copy, Debug)]
struct Figures {
    latency: u64,
    rate: u64,
    overhead: u64,
    bandwidth: u64,
    exchange: u64,
    host: u64,
}

const OTHER: Figures =
    Figures { latency: 5000, rate: 500_000, overhead: 1000, bandwidth: 2_000_000, exchange: 100_000, host: 100_000 };

fn fleet(shape: &str, cards: usize, figures: Figures) -> Verified<Fleet> {
    let Figures { latency, rate, overhead, bandwidth, exchange, host } = figures;
    let text = format!(
        "Fleet(name: \"made-up\", kinds: {{\"a\": (memory: \"4 GiB\", bandwidth: \"{bandwidth} kB/s\", overhead: \"{overhead} ns\")}},
        sails: [(kind: \"a\", count: {cards})], links: {shape}(rate: \"{rate} kB/s\", latency: \"{latency} ns\"),
        host: (rate: \"{host} kB/s\", latency: \"{exchange} ns\"))"
    );
    parse_fleet("made-up.ron", &text).unwrap()
}

fn shipped(name: &str) -> Verified<Fleet> {
    parse_fleet(name, shipped_fleet(name).unwrap()).unwrap()
}

/// Up to ±1.5 %, the same on every machine (a linear congruential generator, Knuth's MMIX constants).
struct Noise {
    state: u64,
    most: f64,
}

impl Noise {
    fn factor(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (self.state >> 11) as f64 / (1u64 << 53) as f64;
        1.0 + self.most * (2.0 * unit - 1.0)
    }
}

const HEADER: &str = "operation,bytes,group,topology,seconds\n";

/// What someone with a stopwatch would write down of a fleet: messages, kernels, exchanges, and every algorithm of every
/// collective over the first 2, 3, … cards.
fn measured(fleet: &Verified<Fleet>, noise: &mut Noise) -> String {
    let request = Request::default().verify().unwrap();
    let costs = CostModel::new(fleet, &request);
    let mut text = HEADER.to_owned();
    let mut row = |operation: &str, bytes: Bytes, group: &str, time: Picoseconds| {
        text += &format!("{operation},{},{group},,{:e}\n", bytes.0, time.seconds() * noise.factor());
    };
    for bytes in [64, 512, 4096, 65_536, 1 << 20, 1 << 22].map(Bytes) {
        for _ in 0..3 {
            row("message", bytes, "", costs.links.message(SailId(0), SailId(1), bytes));
            row("host", bytes, "", costs.host(&[bytes]));
            let work = Work { bytes: Bytes(bytes.0 * 8), flops: 0 };
            row("kernel", work.bytes, "", costs.kernel(SailId(0), work, DType::F32).ddr);
        }
        for (pattern, ranks) in
            Pattern::ALL.into_iter().flat_map(|pattern| (2..=fleet.size()).map(move |n| (pattern, n)))
        {
            let group: Vec<SailId> = fleet.ids().take(ranks).collect();
            for &algorithm in pattern.algorithms() {
                let chunk = Bytes(bytes.0.div_ceil(ranks as u64));
                let time = costs.links.time(pattern, algorithm, &group, chunk, bytes).unwrap();
                row(&format!("{pattern}/{algorithm}"), bytes, &ranks.to_string(), time);
            }
        }
    }
    text
}

fn fit(fleet: &Verified<Fleet>, text: &str) -> Result<Calibration, Diagnostics> {
    calibrate(fleet, &Measurements { file: "m.csv", text })
}

fn figure(calibration: &Calibration, name: &str) -> f64 {
    calibration.figures.iter().find(|figure| figure.name == name).unwrap().new.number()
}

fn figures() -> impl Strategy<Value = Figures> {
    let figures = (500u64..50_000, 50_000u64..2_000_000, 500u64..20_000, 1_000_000u64..40_000_000);
    (figures, 10_000u64..500_000, 50_000u64..2_000_000).prop_map(
        |((latency, rate, overhead, bandwidth), exchange, host)| Figures {
            latency,
            rate,
            overhead,
            bandwidth,
            exchange,
            host,
        },
    )
}

fn shape() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Ring", "Mesh", "Line", "Star"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn noisy_measurements_give_the_true_figures_within_two_percent(
        truth in figures(), shape in shape(), cards in 2usize..=6, state in any::<u64>(),
    ) {
        let text = measured(&fleet(shape, cards, truth), &mut Noise { state, most: 0.015 });
        let found = fit(&fleet(shape, cards, OTHER), &text).unwrap();
        for (name, expected) in [
            ("links.latency", truth.latency as f64 * 1e-9),
            ("links.rate", truth.rate as f64 * 1e3),
            ("kinds.a.overhead", truth.overhead as f64 * 1e-9),
            ("kinds.a.bandwidth", truth.bandwidth as f64 * 1e3),
            ("host.latency", truth.exchange as f64 * 1e-9),
            ("host.rate", truth.host as f64 * 1e3),
        ] {
            let error = figure(&found, name) / expected - 1.0;
            prop_assert!(error.abs() < 0.02, "{name}: {error}");
        }
        prop_assert!((0.005..0.015).contains(&found.new_rms), "{}", found.new_rms);
        prop_assert_eq!(found.measured.cases, 6 * 6 * (cards - 1));
        prop_assert!(found.measured.new.mean < 0.03 && found.priced.new.most == 0.0);
    }

    /// Times without noise have a solution without a residual, so each equation says what the cost model says.
    #[test]
    fn exact_measurements_give_the_fleet_back(truth in figures(), shape in shape(), cards in 2usize..=6) {
        let truth = fleet(shape, cards, truth);
        let found = fit(&fleet(shape, cards, OTHER), &measured(&truth, &mut Noise { state: 1, most: 0.0 })).unwrap();
        prop_assert!(found.new_rms < 1e-5, "{}", found.new_rms);
        // Of algorithms that take the same time, figures of six digits may take either.
        prop_assert!(found.measured.new.most < 1e-5, "{}", found.measured.new.most);
        let text = calibrated_text(&found, "m.csv").unwrap();
        let read = parse_fleet("new.ron", &text).unwrap();
        prop_assert_eq!(read, found.fleet);
    }

    #[test]
    fn hostile_text_is_refused_and_never_a_panic(text in "[a-z0-9,\"./\n -]{0,200}") {
        prop_assert!(fit(&shipped("innerjib7ea-x2-ring"), &text).is_err());
        let rows = format!("{HEADER}{text}");
        prop_assert!(fit(&shipped("innerjib7ea-x2-ring"), &rows).is_err());
    }
}

#[test]
fn figures_of_six_digits_come_back_exactly() {
    let truth =
        Figures { latency: 7250, rate: 381_250, overhead: 1300, bandwidth: 1_850_000, exchange: 88_000, host: 93_500 };
    for shape in ["Ring", "Mesh", "Line", "Star"] {
        let truth = fleet(shape, 4, truth);
        let found = fit(&fleet(shape, 4, OTHER), &measured(&truth, &mut Noise { state: 1, most: 0.0 })).unwrap();
        let stated = Fleet { provenance: truth.provenance.clone(), ..Fleet::clone(&found.fleet) };
        assert_eq!(stated, *truth, "{shape}");
    }
}

#[test]
fn a_framed_link_becomes_a_plain_one_and_the_file_says_from_what() {
    let old = shipped("innerjib7ea-x4-ring");
    let text = "device,operation,bytes,group,topology,seconds,date\n\
        board 3,message,64,\"0,1\",ring,6.2e-6,2026-05-01\nboard 3,message,1 MiB,\"0,1\",Ring,\"2.9 ms\",2026-05-02\n\
        board 3,all-reduce/ring,65536,0..4,-,3.2e-4,\n# a remark\n\nboard 3,all-reduce,65536,4,,2.6e-4,\n";
    let found = fit(&old, text).unwrap();
    let written = calibrated_text(&found, "m.csv").unwrap();
    assert_eq!(parse_fleet("new.ron", &written).unwrap(), found.fleet);
    assert!(!written.contains("links.frame") && !written.contains("frame:"), "{written}");
    let source = &found.fleet.provenance["links.rate"];
    for words in [
        "fitted from 4 samples of m.csv (64 B to 1.000 MiB: ",
        "all-reduce/ring over 0..4; message over 0, 1)",
        "residual rms",
        "standard error",
        "; date: 2026-05-01, 2026-05-02; device: board 3; was 399.5 MB/s (frame model: 4 lanes × 1.250 Gb/s, B8B10, 64 B in frames of 80 B)",
    ] {
        assert!(source.contains(words), "{words}: {source}");
    }
    let latency = &found.fleet.provenance["links.latency"];
    assert!(latency.contains("was 5.000 us (assumed: MAC, framing and one descriptor a message)"), "{latency}");
    for line in ["// Residuals", "// 2, message, 64, \"0, 1\", 6.2e-6 s, ", "// 7, all-reduce/"] {
        assert!(written.contains(line), "{line}: {written}");
    }
    let assumed = |line| {
        found.residuals.iter().any(|row| {
            row.sample.line == line && matches!(row.sample.operation, Operation::Collective { assumed: true, .. })
        })
    };
    assert!(assumed(7) && !assumed(4));
    let kept = found.figures.iter().filter(|figure| figure.samples == 0);
    assert!(kept.clone().count() == 4 && kept.clone().all(|figure| figure.old == figure.new));
    assert_eq!(found.fleet.provenance["host.rate"], old.provenance["host.rate"]);
    assert_eq!(found.fleet.kinds, old.kinds);
}

/// α is not negative: times that fall short of any latency leave it at 0.
#[test]
fn a_latency_never_becomes_negative() {
    let text = format!("{HEADER}message,1000000,,,0.009\nmessage,4000000,,,0.04\nmessage,8000000,,,0.08\n");
    let found = fit(&shipped("innerjib7ea-x2-ring"), &text).unwrap();
    let latency = found.figures.iter().find(|figure| figure.name == "links.latency").unwrap();
    assert_eq!((latency.new, latency.error), (Value::Time(Picoseconds(0)), None));
    assert!((figure(&found, "links.rate") / 1e8 - 1.0).abs() < 0.05);
}

#[test]
fn figures_that_hardly_matter_in_the_samples_are_pointed_out() {
    let truth = fleet("Ring", 2, OTHER);
    let mut noise = Noise { state: 7, most: 0.01 };
    let rows = measured(&truth, &mut noise);
    let large = rows.lines().filter(|line| line.starts_with("message,1048576") || line.starts_with("message,4194304"));
    let found = fit(&truth, &format!("{HEADER}{}", large.collect::<Vec<_>>().join("\n"))).unwrap();
    let latency = found.figures.iter().find(|figure| figure.name == "links.latency").unwrap();
    assert!(
        latency.new == Value::Time(Picoseconds(0)) || latency.advice().is_some_and(|advice| advice.contains("smaller"))
    );
}

/// Old figures with 100 times the latency prefer one step; the stopwatch says that ring takes half as long.
#[test]
fn regret_is_what_the_old_choice_costs() {
    let old = fleet("Mesh", 4, Figures { latency: 500_000, ..OTHER });
    let truth = fleet("Mesh", 4, OTHER);
    let request = Request::default().verify().unwrap();
    let (before, after) = (CostModel::new(&old, &request), CostModel::new(&truth, &request));
    let group: Vec<SailId> = truth.ids().collect();
    let bytes = Bytes(1 << 17);
    let pattern = Pattern::Collective(sailplan_ir::CollectiveKind::AllReduce);
    let chosen = before.links.cheapest(pattern, &group, Bytes(1 << 15), bytes).unwrap().0;
    let best = after.links.cheapest(pattern, &group, Bytes(1 << 15), bytes).unwrap();
    assert_ne!(chosen, best.0);
    let took = after.links.time(pattern, chosen, &group, Bytes(1 << 15), bytes).unwrap();
    let expected = took.seconds() / best.1.seconds() - 1.0;
    let rows = measured(&truth, &mut Noise { state: 1, most: 0.0 });
    let mut text = rows
        .lines()
        .filter(|line| line.starts_with("message") || line.starts_with("oper"))
        .collect::<Vec<_>>()
        .join("\n");
    for &algorithm in pattern.algorithms() {
        let time = after.links.time(pattern, algorithm, &group, Bytes(1 << 15), bytes).unwrap();
        text += &format!("\nall-reduce/{algorithm},128 KiB,4,mesh,{:e}", time.seconds());
    }
    let found = fit(&old, &text).unwrap();
    assert_eq!(found.measured.cases, 1);
    assert!((found.measured.old.most - expected).abs() < 1e-6, "{} is not {expected}", found.measured.old.most);
    assert_eq!(found.measured.new.most, 0.0);
    assert_eq!(found.priced.cases, 4);
    assert!(found.priced.old.most >= expected - 1e-6 && found.priced.new.most == 0.0);
}

const EDGES: &str = "Fleet(name: \"e\", kinds: {\"a\": (memory: \"4 GiB\", bandwidth: \"2 GB/s\"), \"b\": (memory: \"4 GiB\", bandwidth: \"1 GB/s\")},
    sails: [(kind: \"a\", count: 2), (kind: \"b\", count: 2)], links: Edges([
        (a: 0, b: 1, link: (rate: \"500 MB/s\", latency: \"5 us\")),
        (a: 1, b: 2, link: (rate: \"100 MB/s\", latency: \"50 us\")),
        (a: 2, b: 3, link: (rate: \"500 MB/s\", latency: \"5 us\"))]),
    host: (rate: \"100 MB/s\", latency: \"100 us\"))";

/// 2 µs + bytes / 1 GB/s on the links of the first class, 10 µs + bytes / 200 MB/s on the other.
#[test]
fn unlike_links_are_fitted_each_from_its_own_messages() {
    let old = parse_fleet("e.ron", EDGES).unwrap();
    let text = format!(
        "{HEADER}message,1000,\"0,1\",edges,3e-6\nmessage,1000000,\"2,3\",,1.002e-3\nmessage,0,\"1,2\",,1e-5\n\
        message,200000,\"2, 1\",,1.01e-3\nall-gather/ring,1000000,\"2,3\",,5.02e-4\n"
    );
    let found = fit(&old, &text).unwrap();
    let expected = [
        ("links.link[0].latency", 2e-6),
        ("links.link[0].rate", 1e9),
        ("links.link[1].latency", 1e-5),
        ("links.link[1].rate", 2e8),
    ];
    for (name, value) in expected {
        assert!((figure(&found, name) / value - 1.0).abs() < 1e-5, "{name}: {}", figure(&found, name));
    }
    let rates: Vec<u64> = found.fleet.edges().iter().map(|(_, _, link)| link.payload_rate().0).collect();
    assert_eq!(rates, [1_000_000_000, 200_000_000, 1_000_000_000]);
    assert!(calibrated_text(&found, "m.csv").is_ok());
    let refused = fit(&old, &format!("{text}all-reduce/ring,1000,4,,1e-3\n")).unwrap_err().to_string();
    assert!(
        refused.contains("all-reduce/ring over 0..4 crosses links of different figures")
            && refused.contains("measure `message`"),
        "{refused}"
    );
}

#[test]
fn kinds_are_fitted_apart() {
    let old = parse_fleet("e.ron", EDGES).unwrap();
    let text = format!(
        "{HEADER}kernel,0,a,,1e-6\nkernel,2000000,0,,1.001e-3\nkernel,0,sail3,,4e-6\nkernel,500000,b,,1.004e-3\n"
    );
    let found = fit(&old, &text).unwrap();
    for (name, value) in [("kinds.a.bandwidth", 2e9), ("kinds.b.bandwidth", 5e8), ("kinds.b.overhead", 4e-6)] {
        assert!((figure(&found, name) / value - 1.0).abs() < 1e-5, "{name}");
    }
    let refused = fit(&old, &format!("{HEADER}kernel,0,,,1e-6\n")).unwrap_err().to_string();
    assert!(
        refused.contains("group is empty, expected a kind or a card") && refused.contains("kinds: a, b"),
        "{refused}"
    );
}

/// Rows on a ring of 4, and what the refusal must say.
const UNDETERMINED: &[(&str, &[&str])] = &[
    (
        "message,65536,,,1e-4",
        &[
            "m.csv: links.latency and links.rate cannot be told apart: the only row moves 64.00 KiB a hop",
            "measure `message` (or a collective) at two sizes that differ by 8 times or more, for example 64 B and 1 MiB",
        ],
    ),
    (
        "message,65536,,,1e-4\nmessage,65536,,,1.1e-4\nmessage,66000,,,1e-4",
        &["all 3 rows move 64.00 KiB to 64.45 KiB a hop"],
    ),
    ("message,0,,,1e-5\nmessage,0,,,1e-5", &["cannot be told apart", "0 B a hop"]),
    (
        "kernel,4096,,,1e-4",
        &[
            "kinds.innerjib7ea.overhead and kinds.innerjib7ea.bandwidth",
            "`kernel` on innerjib7ea at two sizes",
            "4 KiB and 16 MiB",
        ],
    ),
    ("host,4096,,,1e-4\nhost,4096,1,,1e-4", &["host.latency and host.rate", "measure `host` at two sizes"]),
    ("host,4096,,,1e-4\nkernel,4096,,,1e-4", &["host.latency and", "kinds.innerjib7ea.overhead and"]),
    (
        "message,64,,,1e-3\nmessage,1048576,,,1e-6",
        &["links.rate came out infinite", "do not grow with the bytes", "measure sizes whose transfer"],
    ),
    (
        "kernel,1,,,10\nkernel,10,,,100",
        &["the fitted figure is refused: kinds.innerjib7ea.bandwidth is zero", "check the units"],
    ),
];

#[test]
fn what_cannot_be_told_is_refused_with_what_to_measure() {
    for (rows, words) in UNDETERMINED {
        let refused = match fit(&shipped("innerjib7ea-x4-ring"), &format!("{HEADER}{rows}\n")) {
            Err(problems) => problems.to_string(),
            Ok(found) => panic!("{rows} gave {:?}", found.figures),
        };
        for word in *words {
            assert!(refused.contains(word), "{rows} does not say `{word}`: {refused}");
        }
    }
}

/// A file, what is wrong, and the text that the problem points to.
const REFUSED: &[(&str, &str, &str)] = &[
    ("", "the file holds no header and no row", ""),
    ("\n\n# nothing\n", "the file holds no header and no row", ""),
    ("operation,bytes,group,topology,seconds\n", "no row below its header", ""),
    ("operation,bytes,group,seconds\n", "the header lacks topology", "operation,bytes,group,seconds"),
    (
        "operation;bytes;group;topology;seconds\n",
        "the header lacks operation, bytes",
        "operation;bytes;group;topology;seconds",
    ),
    ("operation,bytes,group,topology,seconds,bytes\n", "column `bytes` stands twice", "bytes"),
    ("\u{0}\u{1}\u{2}", "the header lacks", "\u{0}\u{1}\u{2}"),
    ("HEADER\nmessage,64\n", "2 values stand under 5 columns", "message,64"),
    ("HEADER\nmessage,64,0,1,ring,1e-6\n", "6 values stand under 5 columns", "message,64,0,1,ring,1e-6"),
    ("HEADER\nmessage,64,\"0,1,ring,1e-6\n", "a quote is not closed", "\"0,1,ring,1e-6"),
    ("HEADER\nsend,64,,,1e-6\n", "operation is `send`, expected an operation", "send"),
    ("HEADER\n,64,,,1e-6\n", "operation is empty, expected an operation", ""),
    (
        "HEADER\nall-reduce/rings,64,,,1e-6\n",
        "expected an algorithm that can do all-reduce (all-reduce/ring, all-reduce/direct",
        "all-reduce/rings",
    ),
    ("HEADER\nall-gather/tree,64,,,1e-6\n", "expected an algorithm that can do all-gather", "all-gather/tree"),
    ("HEADER\nmessage,-5,,,1e-6\n", "bytes is `-5`, expected bytes, at most 1 TiB", "-5"),
    ("HEADER\nmessage,1e6,,,1e-6\n", "bytes is `1e6`", "1e6"),
    ("HEADER\nmessage,64 parsecs,,,1e-6\n", "bytes is `64 parsecs`", "64 parsecs"),
    ("HEADER\nmessage,18446744073709551615,,,1e-6\n", "bytes is `18446744073709551615`", "18446744073709551615"),
    ("HEADER\nmessage,99999999999999999999999,,,1e-6\n", "expected bytes, at most 1 TiB", "99999999999999999999999"),
    ("HEADER\nmessage,64,,,NaN\n", "seconds is `NaN`, expected a time of 1e-12 to 1e6 seconds", "NaN"),
    ("HEADER\nmessage,64,,,-1e-6\n", "seconds is `-1e-6`", "-1e-6"),
    ("HEADER\nmessage,64,,,0\n", "seconds is `0`", "0"),
    ("HEADER\nmessage,64,,,1e400\n", "seconds is `1e400`", "1e400"),
    ("HEADER\nmessage,64,,,inf\n", "seconds is `inf`", "inf"),
    ("HEADER\nmessage,64,,,\n", "seconds is empty", ""),
    ("HEADER\nmessage,64,,mesh,1e-6\n", "topology is `mesh`, expected `ring`", "mesh"),
    ("HEADER\nmessage,64,3,,1e-6\n", "group is `3`, expected two cards", "3"),
    ("HEADER\nmessage,64,\"0,9\",,1e-6\n", "expected 1 to 4 different cards of sail0 to sail3", "\"0,9\""),
    ("HEADER\nall-reduce,64,1,,1e-6\n", "group is `1`, expected two cards or more", "1"),
    ("HEADER\nall-reduce,64,5,,1e-6\n", "group is `5`", "5"),
    ("HEADER\nall-reduce,64,0..99999999999,,1e-6\n", "group is `0..99999999999`", "0..99999999999"),
    ("HEADER\nall-reduce,64,\"0,1,0\",,1e-6\n", "different cards", "\"0,1,0\""),
    ("HEADER\nall-reduce,64,3..1,,1e-6\n", "group is `3..1`", "3..1"),
    ("HEADER\nkernel,64,spinnaker,,1e-6\n", "group is `spinnaker`, expected a kind or a card", "spinnaker"),
    ("HEADER\nhost,64,0,,1e-6\n", "group is `0`", "0"),
];

#[test]
fn every_mistake_of_a_row_is_found_where_it_stands() {
    let fleet = shipped("innerjib7ea-x4-ring");
    for (text, message, place) in REFUSED {
        let text = text.replace("HEADER", HEADER.trim_end());
        let problems = fit(&fleet, &text).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{text}: {problems}");
        let problem = &problems.0[0];
        assert!(problem.to_string().contains(message), "{text}: {problem}");
        assert!(problem.hint.is_some(), "{text}: no hint");
        let at = problem.place.as_ref().unwrap();
        assert_eq!(at.file, "m.csv");
        if let sailplan_ir::At::Span(span) = &at.at {
            assert_eq!(&text[span.clone()], *place, "{text}");
        } else {
            assert_eq!(*place, "", "{text} has no place");
        }
    }
}

#[test]
fn all_mistakes_are_told_and_floods_are_cut() {
    let fleet = shipped("innerjib7ea-x4-ring");
    let two = fit(&fleet, &format!("{HEADER}send,-1,,mesh,NaN\nmessage,64,,,1e-6,\n")).unwrap_err();
    assert_eq!(two.0.len(), 5, "{two}");
    let flood = fit(&fleet, &format!("{HEADER}{}", "send,64,,,1e-6\n".repeat(100_000))).unwrap_err();
    assert_eq!(flood.0.len(), 21);
    assert!(flood.to_string().contains("more problems may follow"));
    let rows = fit(&fleet, &format!("{HEADER}{}", "message,64,,,1e-6\n".repeat(10_001))).unwrap_err();
    assert!(rows.to_string().contains("more than 10000 rows"));
    let long = fit(&fleet, &format!("{HEADER}message,64,,,{}\n", "1".repeat(1 << 20))).unwrap_err();
    assert!(long.to_string().contains("at most 4096"), "{long}");
}

#[test]
fn groups_that_take_long_to_count_are_refused() {
    let big =
        parse_fleet("big.ron", &shipped_fleet("innerjib7ea-x64-ring").unwrap().replace("count: 64", "count: 600"))
            .unwrap();
    let refused = fit(&big, &format!("{HEADER}all-reduce/ring,64,,,1e-6\n")).unwrap_err().to_string();
    assert!(refused.contains("expected 1 to 256 different cards"), "{refused}");
    let rows: String = (0..300).map(|first| format!("all-gather/ring,64,{first}..{},,1e-3\n", first + 200)).collect();
    let refused = fit(&big, &format!("{HEADER}{rows}")).unwrap_err().to_string();
    assert!(refused.contains("pairs of cards together"), "{refused}");
}
