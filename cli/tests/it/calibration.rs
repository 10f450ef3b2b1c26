//! `calibrate`: exit codes, the file that is written, and that what was read stays as it is.

use crate::commands::{at, code, json, said, sailplan, scratch};
use sailplan_cost_model::{CostModel, Work, parse_fleet, shipped_fleet};
use sailplan_ir::{Algorithm, Bytes, CollectiveKind, DType, Fleet, Request, SailId, Verified, Verify};
use std::path::Path;
use std::process::Command;

const HEADER: &str = "operation,bytes,group,topology,seconds\n";

const TRUTH: &str = "Fleet(name: \"innerjib7ea-x2-ring\",
        kinds: {\"innerjib7ea\": (memory: \"4 GiB\", reserve: \"64 MiB\", bandwidth: \"1.75 GB/s\", overhead: \"2.5 us\")},
        sails: [(kind: \"innerjib7ea\", count: 2)], links: Ring(rate: \"350 MB/s\", latency: \"9 us\", coding: B8B10),
        host: (rate: \"90 MB/s\", latency: \"150 us\"))";

/// Other figures than any shipped fleet has.
fn truth() -> Verified<Fleet> {
    parse_fleet("truth.ron", TRUTH).unwrap()
}

fn measured(fleet: &Verified<Fleet>) -> String {
    let request = Request::default().verify().unwrap();
    let costs = CostModel::new(fleet, &request);
    let mut text = HEADER.to_owned();
    for bytes in [64, 4096, 65_536, 1 << 20].map(Bytes) {
        let mut row = |operation: &str, time: f64| text += &format!("{operation},{},,,{time:e}\n", bytes.0);
        row("message", costs.links.message(SailId(0), SailId(1), bytes).seconds());
        row("kernel", costs.kernel(SailId(0), Work { bytes, flops: 0 }, DType::F32).ddr.seconds());
        row("host", costs.host(&[bytes]).seconds());
        for algorithm in [Algorithm::Ring, Algorithm::OneShot] {
            let half = Bytes(bytes.0 / 2);
            let group = [SailId(0), SailId(1)];
            let time = costs.links.time(CollectiveKind::AllReduce, algorithm, &group, half, bytes).unwrap();
            row(&format!("all-reduce/{algorithm}"), time.seconds());
        }
    }
    text
}

/// Measurements of a fleet, and what `calibrate` makes of them, price a plan as the fleet itself does.
#[test]
fn a_calibrated_fleet_plans_as_the_measured_one() {
    let here = scratch("calibrated");
    let (csv, new, plain) = (at(&here, "m.csv"), at(&here, "new.ron"), at(&here, "truth.ron"));
    std::fs::write(&csv, measured(&truth())).unwrap();
    let arguments = ["calibrate", &csv, "--fleet", "innerjib7ea-x2-ring", "-o", &new];
    let said_once = sailplan(&arguments);
    assert_eq!(code(&said_once), 0, "{}", said(&said_once));
    let text = String::from_utf8(said_once.stdout).unwrap();
    for word in [
        "links.rate",
        "350.0 MB/s",
        "kinds.innerjib7ea.overhead",
        "residuals   rms 0.00 %",
        "regret      measured, 4",
        "regret      priced",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let written = std::fs::read_to_string(&new).unwrap();
    let stated = parse_fleet("new.ron", &written).unwrap();
    let stripped = Fleet { provenance: Default::default(), ..Fleet::clone(&stated) };
    assert_eq!(stripped, *truth());
    std::fs::write(&plain, TRUTH).unwrap();
    let compile = |fleet: &str| json(&sailplan(&["compile", "tinyllama-1.1b", "--fleet", fleet, "--json"]));
    let (fitted, true_one) = (compile(&new), compile(&plain));
    for field in ["estimate", "stages", "certificate", "memory"] {
        assert_eq!(fitted[field], true_one[field], "{field}");
    }
    assert_eq!(code(&sailplan(&arguments)), 0, "an earlier output may be renewed");
    assert_eq!(std::fs::read_to_string(&new).unwrap(), written);
}

#[test]
fn calibrate_json_has_stable_keys() {
    let here = scratch("calibrated-json");
    let (csv, new) = (at(&here, "m.csv"), at(&here, "new.ron"));
    std::fs::write(&csv, format!("{HEADER}message,64,,,6e-6\nmessage,1 MiB,,,3e-3\nall-reduce,4096,,,3e-5\n")).unwrap();
    let said = json(&sailplan(&["calibrate", &csv, "--fleet", "innerjib7ea-x4-mesh", "-o", &new, "--json"]));
    for pointer in [
        "/fleet",
        "/measurements",
        "/output",
        "/residual_rms/old",
        "/residual_rms/new",
        "/worst/line",
        "/samples/2/measured_s",
        "/samples/2/predicted_s/new",
        "/samples/0/residual/old",
        "/regret/measured/cases",
        "/regret/priced/old/mean",
        "/regret/priced/new/max",
        "/figures/1/standard_error",
        "/figures/0/unit",
    ] {
        assert!(said.pointer(pointer).is_some(), "{pointer}: {said}");
    }
    assert_eq!(said["figures"][1]["figure"], "links.rate");
    assert_eq!((&said["figures"][1]["fitted"], &said["figures"][4]["fitted"]), (&true.into(), &false.into()));
    assert_eq!(
        (&said["samples"][2]["algorithm_assumed"], &said["samples"][2]["group"]),
        (&true.into(), &"0..4".into())
    );
    assert_eq!(said["output"], new.as_str());
}

#[test]
fn what_is_read_is_never_overwritten() {
    let here = scratch("calibrated-over");
    let (csv, fleet, alias) = (at(&here, "m.csv"), at(&here, "fleet.ron"), at(&here, "alias.ron"));
    std::fs::write(&csv, measured(&truth())).unwrap();
    let text = shipped_fleet("innerjib7ea-x2-ring").unwrap();
    std::fs::write(&fleet, text).unwrap();
    std::os::unix::fs::symlink(&fleet, &alias).unwrap();
    let dotted = at(&here, "./fleet.ron");
    for output in [&fleet, &alias, &dotted, &csv] {
        let refused = sailplan(&["calibrate", &csv, "--fleet", &fleet, "-o", output]);
        assert_eq!(code(&refused), 2, "{output}");
        assert!(said(&refused).contains("never over them"), "{}", said(&refused));
    }
    assert_eq!(std::fs::read_to_string(&fleet).unwrap(), text);
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), measured(&truth()));
}

/// Nothing is written, and the message shows the line.
fn refused(here: &Path, csv: &[u8], words: &[&str]) {
    let (file, new) = (at(here, "m.csv"), at(here, "new.ron"));
    std::fs::write(&file, csv).unwrap();
    let output = sailplan(&["calibrate", &file, "--fleet", "innerjib7ea-x2-ring", "-o", &new]);
    let text = said(&output);
    assert_eq!(code(&output), 2, "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(output.stdout.is_empty() && !Path::new(&new).exists());
}

#[test]
fn bad_measurements_leave_nothing_behind() {
    let here = scratch("calibrated-bad");
    let rows = |rows: &str| format!("{HEADER}{rows}").into_bytes();
    refused(
        &here,
        &rows("message,64,,,1e-6\nmessage,1 MiB,,mesh,x\n"),
        &["m.csv:3:16", "`mesh`", "m.csv:3:21", "seconds is `x`"],
    );
    refused(
        &here,
        &rows("message,64,,,1e-6\n"),
        &["links.latency and links.rate cannot be told apart", "at two sizes"],
    );
    refused(&here, b"", &["no header"]);
    refused(&here, &[0xff, 0xfe, 0, 1], &["UTF-8"]);
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 1);
    let nowhere =
        sailplan(&["calibrate", "/nowhere/m.csv", "--fleet", "innerjib7ea-x2-ring", "-o", &at(&here, "new.ron")]);
    assert!(code(&nowhere) == 2 && said(&nowhere).contains("/nowhere/m.csv"));
    let file = std::fs::OpenOptions::new().write(true).open(at(&here, "m.csv")).unwrap();
    file.set_len(1 << 30).unwrap();
    let large =
        sailplan(&["calibrate", &at(&here, "m.csv"), "--fleet", "innerjib7ea-x2-ring", "-o", &at(&here, "new.ron")]);
    assert!(code(&large) == 2 && said(&large).contains("1073741824 bytes"), "{}", said(&large));
}

/// The document's example is what the program says today (the path of the new fleet apart).
#[test]
fn the_document_shows_the_output_of_today() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let document = std::fs::read_to_string(format!("{docs}/calibration.md")).unwrap();
    let new = at(&scratch("calibrated-document"), "mine.ron");
    let arguments = ["calibrate", "calibration-example.csv", "--fleet", "innerjib7ea-x4-ring", "-o", &new];
    let output = Command::new(env!("CARGO_BIN_EXE_sailplan")).args(arguments).current_dir(docs).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace(&new, "mine.ron");
    assert!(document.contains(text.trim_end()), "`sailplan calibrate` now says:\n{text}");
}

#[test]
fn the_document_shows_a_refusal_of_today() {
    let here = scratch("calibrated-refused");
    std::fs::write(at(&here, "one-size.csv"), format!("{HEADER}message,64 KiB,,,1e-4\nmessage,64 KiB,,,1.1e-4\n"))
        .unwrap();
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/calibration.md")).unwrap();
    let arguments = ["calibrate", "one-size.csv", "--fleet", "innerjib7ea-x4-ring", "-o", "mine.ron"];
    let output = Command::new(env!("CARGO_BIN_EXE_sailplan")).args(arguments).current_dir(&here).output().unwrap();
    assert!(document.contains(said(&output).trim_end()), "`sailplan calibrate` now says:\n{}", said(&output));
}
