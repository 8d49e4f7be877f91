//! `cic unseen`.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

fn with_cells() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(400));
    folder
}

#[test]
fn every_type_is_left_out_and_stays_apart() {
    let folder = with_cells();
    let unseen = "unseen cells.h5ad --labels cell_type --genes 100 --code 6 --json";
    let run = folder.cic(unseen).ok();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let types = report["types"].as_array().unwrap();
    assert!(types.len() >= 3, "{report}");
    assert!(run.stderr.contains("s to go"), "{}", run.stderr);
    for one in types {
        let n = one["n"].as_u64().unwrap();
        // Nothing of the type was trained on, and without a split all of its rows are looked at.
        assert!(n + one["n_train"].as_u64().unwrap() <= 400, "{one}");
        assert_ne!(one["nearest"], one["label"]);
        let distances = one["distances"].as_array().unwrap();
        assert_eq!(distances[0]["label"], one["nearest"]);
        assert!(distances.len() > 1);
        let far = |at: usize| distances[at]["distance"].as_f64().unwrap();
        assert!((1..distances.len()).all(|at| 0.0 < far(at - 1) && far(at - 1) <= far(at)));
        for method in ["model", "pca"] {
            let purity = one[method]["purity"].as_f64().unwrap();
            assert!((0.3..=1.0).contains(&purity), "{one}");
        }
    }
}

#[test]
fn some_types_can_be_chosen_and_others_are_refused_by_name() {
    let folder = with_cells();
    let some = "unseen cells.h5ad --labels cell_type --genes 100 --code 6 --epochs 2 -q --types";
    let table = folder.cic("check cells.h5ad").ok().stdout;
    assert!(table.contains("cell_type"));
    let run = folder.cic(&format!("{some} nonesuch"));
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("no cell has this label; there are "), "{}", run.stderr);
    assert_eq!(folder.cic("unseen cells.h5ad").code, Some(2));
}
