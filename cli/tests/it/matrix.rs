//! Shipped models on equal, mixed, odd and tight fleets for every objective: the engine and the integer program are run on each,
//! and `place` is an error where they disagree.

use sailplan_cost_model::{CostModel, parse_fleet, shipped_fleet};
use sailplan_ir::{Demand, Fleet, Model, Objective, Pin, Request, Role, Status, Verified, Verify};
use sailplan_planner::{Config, PlaceError, place};

const MODELS: [&str; 5] = ["tinyllama-1.1b", "llama-2-7b", "llama-3-8b", "gemma-2-9b", "mixtral-8x7b"];

/// A shipped fleet with some of its words exchanged.
fn changed(name: &str, words: &[(&str, &str)]) -> Verified<Fleet> {
    let text = shipped_fleet(name).expect("it is shipped");
    let exchange = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{name} has no {from}");
        text.replace(from, to)
    };
    let text = words.iter().fold(text.to_owned(), exchange);
    parse_fleet(name, &text).expect("it is sound")
}

/// Cards that together hold the model with about a sixth to spare.
fn tight(model: &Model, request: &Request) -> Verified<Fleet> {
    let graph = &model.graph;
    let caches = graph.with_role(Role::Cache).map(|id| graph[id].bytes(request.decode_limit()).0).sum::<u64>();
    let each = (model.weight_bytes().0 + caches) * 7 / 6 / 3 + (96 << 20);
    changed("innerjib7ea-x4-ring", &[("count: 4", "count: 3"), ("\"4 GiB\"", &format!("\"{each} B\""))])
}

#[test]
fn engine_and_program_agree_on_shipped_models() {
    let (mut proven, mut refused) = (0, 0);
    for name in MODELS {
        let model = sailplan_models::load_zoo(name).unwrap().model;
        for objective in [Objective::Request, Objective::Decode, Objective::Prefill, Objective::Throughput] {
            let request = Request { objective, ..Request::default() }.verify().unwrap();
            let fleets = [
                changed("innerjib7ea-x4-ring", &[]),
                changed("innerjib7ea-x8-mesh", &[]),
                changed("innerjib7ea-mixed-x4-ring", &[]),
                changed("innerjib7ea-x4-ring", &[("count: 4", "count: 5")]),
                changed("home-cluster-x5", &[]),
                tight(&model, &request),
            ];
            for fleet in &fleets {
                // Alternating layers, each a decision, on eight cards: a minute for the solver, where a sum takes it a second.
                if name == "gemma-2-9b" && objective == Objective::Throughput && fleet.size() == 8 {
                    continue;
                }
                let costs = CostModel::new(fleet, &request);
                // The integer program knows one chain; replicas are compared in the planner with all there are.
                let one = Pin { name: "one chain".to_owned(), demand: Demand::AtMostStages(64), place: None };
                let pins = if objective == Objective::Throughput { vec![one] } else { Vec::new() };
                match place(&model, &costs, Config { prove: true, pins: &pins, ..Config::default() }) {
                    Ok(found) => {
                        let certificate = &found.placement.certificate;
                        assert_eq!(certificate.status, Status::Proven, "{name} on {}: {certificate:?}", fleet.name);
                        assert!(certificate.method.contains("integer program"), "{name} on {}", fleet.name);
                        proven += 1;
                    }
                    Err(PlaceError::NoPlan(_)) => refused += 1,
                    Err(other) => panic!("{name} on {} for {objective:?}: {other}", fleet.name),
                }
            }
        }
    }
    println!("{proven} cases agree, {refused} have no plan in either");
    assert!(proven >= 60 && proven + refused == 119, "{proven} and {refused}");
}
