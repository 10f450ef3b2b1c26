//! The frame model against a pocket calculator, and monotone in every figure.

use proptest::prelude::*;
use sailplan_cost_model::{LinkReport, parse_fleet, shipped_fleet};
use sailplan_ir::{
    BitsPerSecond, Bytes, BytesPerSecond, Celsius, Coding, Fleet, Frame, Heat, Link, Links, Picoseconds, Replay, Share,
};

fn ring(edit: impl Fn(String) -> String) -> Fleet {
    let text = shipped_fleet("innerjib7ea-x4-ring").unwrap();
    parse_fleet("ring", &edit(text.to_owned())).unwrap().into_inner()
}

fn link(fleet: &Fleet) -> &Link {
    let Links::Ring(link) = &fleet.links else { panic!("a ring") };
    link
}

fn frame() -> Frame {
    link(&ring(|text| text)).frame.unwrap()
}

fn rate(frame: &Frame, coding: Coding) -> u64 {
    frame.derive(coding).effective.0
}

/// 4 × 1.25 Gb/s = 5 Gb/s; × 8/10 = 4 Gb/s = 500 MB/s; × 64/76 = 421,052,631; × 64/80 = 400 MB/s; × 0.9988 = 399.52 MB/s.
/// A frame is 80 × 8 × 10/8 = 800 line bits, so one in 1.25 · 10⁹ is bad. The round trip of 2 × 1.312 µs is 16.4 frames
/// of 64 B / 399.52 MB/s; 399.52 MB/s × 8 · 10⁻¹⁰ × 17.4 = 5.6 B/s are sent again.
#[test]
fn rev_a_step_by_step() {
    let derived = frame().derive(Coding::B8B10);
    assert_eq!(derived.line, BitsPerSecond(5_000_000_000));
    assert_eq!(derived.coded, BytesPerSecond(500_000_000));
    assert_eq!(derived.framed, BytesPerSecond(421_052_631));
    assert_eq!(derived.checked, BytesPerSecond(400_000_000));
    assert_eq!(derived.trained, BytesPerSecond(399_520_000));
    assert_eq!(derived.cooled, BytesPerSecond(399_520_000));
    assert_eq!(derived.effective, BytesPerSecond(399_519_994));
    assert_eq!(derived.frame_errors.to_string(), "8e-10");
}

/// One word: 5 Gb/s × 64/66 / 8 = 606.06 MB/s before frames, × 0.8 × 0.9988 = 484.27 MB/s. Every wire follows.
#[test]
fn the_coding_is_one_word_of_the_file() {
    let fleet = ring(|text| text.replacen("coding: B8B10", "coding: B64B66", 1));
    assert_eq!(link(&fleet).frame.unwrap().derive(Coding::B64B66).coded, BytesPerSecond(606_060_606));
    assert_eq!(link(&fleet).payload_rate(), BytesPerSecond(484_266_659));
    assert!(fleet.wires().iter().all(|wire| wire.rate == BytesPerSecond(484_266_659)));
    assert!(ring(|text| text).wires().iter().all(|wire| wire.rate == BytesPerSecond(399_519_994)));
}

/// ADR-014 §5: 3.125 Gb/s a lane, 1.25 GB/s after 8b/10b, 0.8 to 1.0 GB/s after framing. Frames of 32 B (one AXI line) to
/// 64 B span it: 1.25 GB/s × 32/48 × 0.9988 = 832 MB/s, × 64/80 × 0.9988 = 999 MB/s.
#[test]
fn the_fastest_lane_gives_the_rates_of_adr_014() {
    let fleet = ring(|text| text.replace("1.25 Gb/s\",", "3.125 Gb/s\","));
    let fast = link(&fleet).frame.unwrap();
    assert_eq!(fast.derive(Coding::B8B10).coded, BytesPerSecond(1_250_000_000));
    assert_eq!(rate(&fast, Coding::B8B10), 998_799_986);
    assert_eq!(rate(&Frame { payload: Bytes(32), ..fast }, Coding::B8B10), 832_333_321);
}

/// A beat is 40 line bits at 1.25 Gb/s = 32 ns. There and back: 2 × (41 beats + 80 B / 16 B) × 32 ns = 2.944 µs. With
/// 64b/66b a beat is 33 bits = 26.4 ns: 2.4288 µs. 65 B need a second frame: 97 B are 7 beats, 2 × 48 × 32 ns.
#[test]
fn round_trips_at_the_mac() {
    assert_eq!(frame().round_trip(Bytes(64), Coding::B8B10), Picoseconds(2_944_000));
    assert_eq!(frame().round_trip(Bytes(64), Coding::B64B66), Picoseconds(2_428_800));
    assert_eq!(frame().round_trip(Bytes(65), Coding::B8B10), Picoseconds(3_072_000));
    assert_eq!(frame().round_trip(Bytes(0), Coding::B8B10), Picoseconds(2_624_000));
}

/// α is 5 µs as stated; a link whose MACs take longer (200 beats of 32 ns) cannot be faster, and one that sleeps wakes.
#[test]
fn alpha_covers_the_mac_and_the_wake_up() {
    let latency = |from: &str, to: &str| link(&ring(|text| text.replace(from, to))).message_latency();
    assert_eq!(latency("", ""), Picoseconds(5_000_000));
    assert_eq!(latency("pipeline: 41", "pipeline: 200"), Picoseconds(6_400_000));
    assert_eq!(latency("wake: \"0 s\"", "wake: \"3 us\""), Picoseconds(8_000_000));
}

/// At 10⁻⁵ a frame of 800 bits is bad with 1 − e^−0.008 = 0.79683 %. Selective: 399.52 × 0.99203 = 396.34 MB/s. Go-back
/// loses another 16.378 frames each: 396.34 / (1 + 0.0079683 × 16.378) = 350.6 MB/s.
#[test]
fn replays_cost_what_they_repeat() {
    let noisy = Frame { bit_errors: "1e-5".parse().unwrap(), ..frame() };
    assert_eq!(rate(&noisy, Coding::B8B10) / 100_000, 3505);
    assert_eq!(rate(&Frame { replay: Replay::Selective, ..noisy }, Coding::B8B10) / 100_000, 3963);
}

/// The peak is held at 60 °C and 10⁻¹²; above 85 °C half of it is left.
#[test]
fn saturation_is_stated() {
    let report = LinkReport::new(&ring(|text| text)).unwrap();
    let saturation = report.saturation;
    assert!(saturation.holds());
    assert_eq!((saturation.peak.0, saturation.sustained), (399_520_000, report.effective));
    assert_eq!((saturation.backed_off.0, saturation.limit), (199_759_998, Some(Celsius(85))));
    assert_eq!(saturation.bit_errors_at_99_percent.unwrap().to_string(), "7.26e-7");
    assert_eq!(saturation.bit_errors_at_half.unwrap().to_string(), "6.99e-5");
    let hot = ring(|text| text.replace("junction: 60", "junction: 86"));
    assert_eq!(link(&hot).payload_rate(), saturation.backed_off);
}

/// Ethernet: 2 × (50 µs + 64 B / 100 MB/s) = 101.28 µs; nothing is known of errors or heat.
#[test]
fn a_plain_link_has_a_report_too() {
    let fleet = parse_fleet("star", shipped_fleet("innerjib7ea-x4-star").unwrap()).unwrap();
    let report = LinkReport::new(&fleet).unwrap();
    assert_eq!(report.round_trip, Picoseconds(101_280_000));
    assert_eq!((report.derivation, report.saturation.limit, report.saturation.bit_errors_at_half), (None, None, None));
    assert_eq!(report.saturation.peak, BytesPerSecond(100_000_000));
}

#[test]
fn the_slowest_link_of_a_list_is_reported() {
    let edge = |a, rate| sailplan_ir::Edge {
        a: sailplan_ir::SailId(a),
        b: sailplan_ir::SailId(a + 1),
        link: Link::plain(BytesPerSecond(rate), Picoseconds(1)),
    };
    let links = Links::Edges(vec![edge(0, 900), edge(1, 500), edge(2, 700)]);
    let fleet = Fleet { links, ..ring(|text| text) };
    assert_eq!(LinkReport::new(&fleet).unwrap().effective, BytesPerSecond(500));
    assert_eq!(LinkReport::new(&Fleet { links: Links::Edges(Vec::new()), ..fleet }), None);
}

fn any_frame() -> impl Strategy<Value = (Frame, Coding)> {
    let line = (1u16..=16, 270_000_000u64..25_000_000_000, 1u16..=128, 1u64..=4096, 0u64..=64, 0u64..=8);
    let losses = (0u64..=100_000_000_000_000_000, prop_oneof![Just(0u64), 1u64..=100_000_000_000_000], 0u32..=200);
    let other = (any::<bool>(), prop::sample::select(vec![Coding::B8B10, Coding::B64B66, Coding::Native]), 0i16..=120);
    (line, losses, other).prop_map(|(line, losses, (selective, coding, junction))| {
        let (lanes, line_rate, width, payload, header, crc) = line;
        let (training, bit_errors, pipeline) = losses;
        let frame = Frame {
            lanes,
            line_rate: BitsPerSecond(line_rate),
            width,
            payload: Bytes(payload),
            header: Bytes(header),
            crc: Bytes(crc),
            training: Share(training),
            bit_errors: Share(bit_errors),
            replay: if selective { Replay::Selective } else { Replay::GoBack },
            pipeline,
            wake: Picoseconds(0),
            heat: Some(Heat { junction: Celsius(junction), limit: Celsius(85), factor: Share(Share::ONE.0 / 2) }),
        };
        (frame, coding)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// What is better never gives less, what is worse never more, and no step adds to the rate.
    #[test]
    fn the_rate_is_monotone_in_every_figure((frame, coding) in any_frame(), by in 1u64..1000) {
        let base = rate(&frame, coding);
        let heat = frame.heat.unwrap();
        let more_lanes = Frame { lanes: frame.lanes + by as u16, ..frame };
        let faster_lanes = Frame { line_rate: BitsPerSecond(frame.line_rate.0 + by * 1_000_000), ..frame };
        for better in [more_lanes, faster_lanes] {
            prop_assert!(rate(&better, coding) >= base, "{better:?}");
        }
        let worse = [
            Frame { header: frame.header + Bytes(by), ..frame },
            Frame { crc: frame.crc + Bytes(by), ..frame },
            Frame { training: Share(frame.training.0 + by * 1_000_000_000), ..frame },
            Frame { bit_errors: Share(frame.bit_errors.0 + by * 1_000_000_000), ..frame },
            Frame { pipeline: frame.pipeline + by as u32, ..frame },
            Frame { replay: Replay::GoBack, ..frame },
            Frame { heat: Some(Heat { junction: Celsius(heat.junction.0 + by as i16), ..heat }), ..frame },
            Frame { heat: Some(Heat { factor: Share(heat.factor.0 - by), ..heat }), ..frame },
        ];
        for worse in worse {
            prop_assert!(rate(&worse, coding) <= base, "{worse:?}");
        }
        let clean = Frame { bit_errors: Share(0), ..frame };
        let larger = Frame { payload: frame.payload + Bytes(by), ..clean };
        prop_assert!(rate(&larger, coding) >= rate(&clean, coding), "with clean lines a longer frame never loses");
        let steps = frame.derive(coding);
        let falling = [steps.coded, steps.framed, steps.checked, steps.trained, steps.cooled, steps.effective];
        prop_assert!(falling.is_sorted_by(|a, b| a >= b));
        prop_assert!(u128::from(steps.coded.0) * 8 <= u128::from(steps.line.0));
    }

    /// More bytes, a longer pipeline or slower lanes never come back sooner.
    #[test]
    fn round_trips_are_monotone((frame, coding) in any_frame(), bytes in 0u64..100_000, by in 1u64..1000) {
        let base = frame.round_trip(Bytes(bytes), coding);
        prop_assert!(frame.round_trip(Bytes(bytes + by), coding) >= base);
        let longer = Frame { pipeline: frame.pipeline + by as u32, ..frame };
        prop_assert!(longer.round_trip(Bytes(bytes), coding) >= base);
        let faster = Frame { line_rate: BitsPerSecond(frame.line_rate.0 + by), ..frame };
        prop_assert!(faster.round_trip(Bytes(bytes), coding) <= base);
    }

    /// Unchecked figures may be absurd; they never panic.
    #[test]
    fn no_figures_panic(
        lanes in any::<u16>(), line_rate in any::<u64>(), width in any::<u16>(), payload in any::<u64>(), header in any::<u64>(),
        training in any::<u64>(), bit_errors in any::<u64>(), pipeline in any::<u32>(), bytes in any::<u64>(),
    ) {
        let frame = Frame {
            lanes, width, pipeline, line_rate: BitsPerSecond(line_rate), payload: Bytes(payload), header: Bytes(header),
            training: Share(training), bit_errors: Share(bit_errors), ..frame()
        };
        for coding in [Coding::B8B10, Coding::B64B66, Coding::Native] {
            let _ = (frame.derive(coding), frame.round_trip(Bytes(bytes), coding));
        }
    }
}
