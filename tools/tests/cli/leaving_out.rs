//! `cic unseen`.

use serde_json::Value;

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
    let mean = |key: &str| {
        let shares = types.iter().map(|one| one["rejection"][key].as_f64().unwrap());
        shares.sum::<f64>() / types.len() as f64
    };
    // These types differ little; a score the wrong way round would be below a half.
    assert!(mean("auroc") > 0.55 && mean("auroc_thorough") > 0.6, "{report}");
    assert!(mean("rejected") > mean("rejected_seen"), "{report}");
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
fn rows_layers_and_threads_can_be_chosen() {
    let folder = with_cells();
    let truth = cells(400);
    let word = |row: usize, column: &str| truth.obs.value(column, row).unwrap().replace(' ', "_");
    let rows = (0..400).map(|row| {
        let name = &truth.obs_names[row];
        format!("{name}\t{}\t{}\n", word(row, "cell_type"), word(row, "donor"))
    });
    folder.write("labels.tsv", format!("id\tkind\tbatch\n{}", rows.collect::<String>()));
    let unseen = |more: &str| {
        let common = "unseen cells.h5ad --labels-file labels.tsv --labels kind --genes 60 --code 4 \
                      --epochs 2 --json -q";
        folder.cic(&format!("{common} {more}")).ok().stdout
    };
    let json = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let all = json(&unseen(""));
    let names: Vec<&str> =
        all["types"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    let chosen = format!("--hidden 12 --without {} --types {}", names[0], names[1]);
    let types = |more: &str| json(&unseen(more))["types"].clone();
    let one = types(&format!("{chosen} --threads 1"));
    assert_eq!(types(&chosen), one, "threads change nothing");
    assert_eq!((one.as_array().unwrap().len(), &one[0]["label"]), (1, &all["types"][1]["label"]));
    assert!(one[0]["distances"].as_array().unwrap().iter().all(|of| of["label"] != names[0]));
    let n = |of: &Value| of["n_train"].as_u64().unwrap();
    assert!(n(&one[0]) < n(&all["types"][1]), "{one}");
    // Whole groups are on one side: other rows are trained on.
    let grouped = json(&unseen(&format!("--types {} --groups batch", names[1])));
    assert_ne!(n(&grouped["types"][0]), n(&all["types"][1]), "{grouped}");
}

#[test]
fn types_without_training_rows_are_not_seen() {
    let folder = with_cells();
    let truth = cells(400);
    let kind = |row: usize| truth.obs.value("cell_type", row).unwrap().replace(' ', "_");
    let last = (0..400).map(kind).max().unwrap();
    let rows = (0..400).map(|row| {
        let part = if kind(row) == last || row % 4 == 0 { "test" } else { "train" };
        format!("{}\t{}\t{part}\n", truth.obs_names[row], kind(row))
    });
    folder.write("labels.tsv", format!("id\tkind\tpart\n{}", rows.collect::<String>()));
    let unseen = "unseen cells.h5ad --labels-file labels.tsv --labels kind --split part --genes 60 \
                  --code 4 --epochs 2 --json -q";
    let report = folder.cic(unseen).json();
    for one in report["types"].as_array().unwrap() {
        assert_eq!(one["is_held"], true);
        let distances = one["distances"].as_array().unwrap();
        assert!(distances.iter().all(|of| of["label"] != last.as_str()), "{one}");
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
