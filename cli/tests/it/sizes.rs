//! Plans for many cards stay short enough to be read.

use crate::pipeline::compiled;
use sailplan_cost_model::{parse_fleet, shipped_fleet};
use sailplan_ir::{Request, Verify};

/// Layers of two classes in turn, on 64 cards that are alike: 25 MB when each card's layers are written out.
#[test]
fn a_plan_for_64_cards_is_under_two_megabytes() {
    let request = Request::default().verify().unwrap();
    for model in ["llama-3-70b", "llama-3-70b-q4_k_m"] {
        let loaded = sailplan_models::load_zoo(model).unwrap().model;
        for shape in ["ring", "mesh", "star"] {
            let fleet = parse_fleet("fleet.ron", shipped_fleet(&format!("innerjib7ea-x64-{shape}")).unwrap()).unwrap();
            let plan = compiled(&loaded, &fleet, &request);
            let bytes = sailplan_codegen::write(&plan).len();
            assert_eq!(plan.sails.len(), 64, "{model} on {shape}");
            assert!(bytes < 2_000_000, "{model} on {shape}: {bytes} bytes");
        }
    }
}
