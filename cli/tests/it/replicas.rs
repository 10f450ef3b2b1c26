//! Replicas: more cards than one chain can use, as plans, replays and figures.

use crate::commands::{at, code, json, said, sailplan, scratch};
use crate::pipeline::{emitted, fleet, on_disk, replayed, staged};
use crate::tiny::golden;
use crate::truth::bits;
use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_executor::{ReplayError, Session, predicted, predicted_steady, replay, simulate, steady};
use sailplan_ir::{Demand, Objective, Pin, Request, Verified, Verify};
use sailplan_planner::{Config, place};

fn many() -> Verified<Request> {
    Request { objective: Objective::Throughput, ..Request::default() }.verify().unwrap()
}

/// One card, a chain of two and a group of two hold the model three times and answer as one card does.
#[test]
fn every_replica_answers_alike() {
    let on_disk = on_disk("replicas", &golden("tiny-gqa-q4_0").unwrap());
    let request = Request { prompt: 12, generate: 8, context: 32, ..*many() }.verify().unwrap();
    let last = on_disk.model.segments.len();
    let stages = [(0..1, 0..last), (1..2, 0..2), (2..3, 2..last), (3..5, 0..last)];
    let plan = staged(&on_disk.model, &fleet(5, "ring"), &request, &stages);
    assert_eq!((plan.replicas(), plan.request.in_flight), (3, 2));
    assert!(plan.sails.iter().any(|sail| sail.load.iter().any(|load| load.from.is_some())), "nothing is handed on");
    let tokens = [3, 7, 31, 2, 11];
    let logits = |number| {
        let one = plan.replica(number).unwrap().verify().unwrap();
        bits(&replayed(&one, &on_disk.weights, &tokens, 5, 3).logits)
    };
    let alone = staged(&on_disk.model, &fleet(1, "ring"), &request, &stages[..1]);
    let expected = bits(&replayed(&alone, &on_disk.weights, &tokens, 5, 3).logits);
    assert!(logits(0) == expected && logits(1) == expected, "whole layers are the same sums on any card");
    let one = plan.replica(2).unwrap().verify().unwrap();
    let shared = replayed(&one, &on_disk.weights, &tokens, 5, 3);
    assert_eq!(shared.generated, replayed(&alone, &on_disk.weights, &tokens, 5, 3).generated);
    assert_eq!(plan.replica(3), None);
    let all = replay(&plan, &on_disk.weights, &Session::new(tokens.to_vec(), 1));
    assert!(matches!(all, Err(ReplayError::Replicas { replicas: 3 })));
}

/// The figures of decision 0032.
#[test]
fn sixty_four_cards_give_more_with_replicas() {
    let model = sailplan_models::load_zoo("tinyllama-1.1b").unwrap().model;
    let fleet = parse_fleet("fleet.ron", shipped_fleet("innerjib7ea-x64-ring").unwrap()).unwrap();
    let request = many();
    let costs = CostModel::new(&fleet, &request);
    let rate = |pins: &[Pin]| {
        let placement = place(&model, &costs, Config { pins, ..Config::default() }).unwrap().placement;
        let tokens = request.generate as f64 / placement.estimate.objective.seconds();
        (placement.stages.last().unwrap().replica + 1, format!("{tokens:.1}"), placement.estimate.lower_bound)
    };
    let chain = [Pin { name: "one chain".to_owned(), demand: Demand::AtMostStages(64), place: None }];
    let (without, with) = (rate(&chain), rate(&[]));
    assert_eq!((without.0, without.1.as_str()), (1, "135.9"));
    assert_eq!((with.0, with.1.as_str()), (64, "194.6"));
    let decision = include_str!("../../../docs/decisions/0032-replicas-take-requests-at-their-rates.md");
    assert!(decision.contains("135.9") && decision.contains("194.6"));
}

/// Each replica is a chain of two cards here: what the plan predicts, the two estimates and the file agree.
#[test]
fn replicas_of_several_cards_are_planned_proven_and_simulated() {
    let plan = at(&scratch("replicas"), "plan.ron");
    let arguments = ["compile", "llama-3-8b", "--fleet", "innerjib7ea-x8-mesh", "--objective", "throughput"];
    let figures = json(&sailplan(&[&arguments[..], &["-o", &plan, "--json"]].concat()));
    let stages = figures["stages"].as_array().unwrap();
    let replicas: Vec<u64> = stages.iter().map(|stage| stage["replica"].as_u64().unwrap()).collect();
    assert_eq!(replicas, [0, 0, 1, 1, 2, 2, 3, 3], "{figures}");
    for arguments in [&["verify", &plan][..], &["verify", &plan, "--proof"], &["show", &plan], &["simulate", &plan]] {
        let output = sailplan(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", said(&output));
    }
    let output = sailplan(&["run", &plan, "--weights", "/nowhere", "--tokens", "1", "--replica", "4"]);
    assert_eq!(code(&output), 2);
    assert!(said(&output).contains("4 replicas, from 0 on, and no replica 4"), "{}", said(&output));
    let plan = sailplan_codegen::read("p.ron", &std::fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(predicted(&plan).unwrap().decode.time, plan.estimate.decode);
    assert!(simulate(&plan, sailplan_executor::Progression::Free).is_ok());
    let (ours, theirs) = (predicted_steady(&plan).unwrap(), steady(&plan).unwrap());
    let difference = theirs.decode.seconds() / ours.decode.seconds() - 1.0;
    assert!(difference.abs() < 0.01, "predicted {}, simulated {}", ours.decode, theirs.decode);
}

/// Cards of unlike rates, through the text and back.
#[test]
fn unlike_replicas_go_at_their_rates() {
    let model = sailplan_models::load_zoo("tinyllama-1.1b").unwrap().model;
    let fleet = parse_fleet("fleet.ron", shipped_fleet("innerjib7ea-mixed-x4-ring").unwrap()).unwrap();
    let request = many();
    let placement = place(&model, &CostModel::new(&fleet, &request), Config::default()).unwrap().placement;
    let plan = emitted(&model, &fleet, &request, &placement);
    assert!(plan.replicas() > 1 && plan.estimate.objective < plan.estimate.request);
    assert_eq!(plan.estimate.by_resource.total(), plan.estimate.objective);
    insta::with_settings!({
        snapshot_path => "../../../snapshots/replicas", prepend_module_to_snapshot => false, omit_expression => true,
    }, {
        insta::assert_snapshot!("placement", sailplan_ir::placement_text(&model, &placement));
    });
}
