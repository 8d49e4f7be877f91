//! `cic noise`.

use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::writers::{cells, log_normalised, reorder_genes, write_h5ad};

/// 300 cells and a model, which names its test rows.
fn trained() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(300));
    folder.cic("train cells.h5ad --labels cell_type --genes 100 --code 8 -o n.cic -q").ok();
    folder
}

fn figure(level: &Value, method: &str, name: &str) -> f64 {
    let methods = level["methods"].as_array().unwrap();
    let of = methods.iter().find(|one| one["method"] == method).unwrap();
    of[name]["mean"].as_f64().unwrap()
}

fn level<'a>(report: &'a Value, kind: &str, amount: f64) -> &'a Value {
    let mut levels = report["levels"].as_array().unwrap().iter();
    levels.find(|level| level["kind"] == kind && level["amount"] == amount).unwrap()
}

#[test]
fn models_and_linear_methods_stand_side_by_side_at_every_level() {
    let folder = trained();
    folder.quantize("n.cic --calibrate cells.h5ad --to int8 -o q.cic");
    let noise = "noise cells.h5ad -m n.cic -m q.cic --labels cell_type --repeats 2 -q";
    let report = folder.cic(&format!("{noise} --json --out kept")).json();
    // Clean, then 4, 4, 6 and 6 amounts.
    assert_eq!(report["levels"].as_array().unwrap().len(), 1 + 4 + 4 + 6 + 6);
    let clean = level(&report, "clean", 0.0);
    for model in ["n, f32", "q, int8"] {
        assert!(figure(clean, model, "accuracy") > 0.7, "{clean}");
        assert_eq!(figure(clean, model, "code_shift"), 0.0);
        for (kind, little, much) in [
            ("gaussian", 0.25, 2.0),
            ("thinning", 0.5, 0.05),
            ("genes", 0.1, 0.9),
            ("low_genes", 0.1, 0.9),
        ] {
            let (little, much) = (level(&report, kind, little), level(&report, kind, much));
            let shift = |level| figure(level, model, "code_shift");
            assert!(shift(little) > 0.0 && shift(little) < shift(much), "{kind}: {much}");
            assert!(figure(much, model, "r2_clean") < figure(clean, model, "r2_clean"), "{kind}");
            // Cells that lost nine genes in ten or 19 molecules in 20 are still guessed at, and refused.
            let refused = figure(much, model, "refused");
            assert_eq!(refused == 1.0, kind != "gaussian", "{kind}: {much}");
        }
    }
    // At the same noise int8 does what f32 does.
    let spoiled = level(&report, "gaussian", 0.5);
    let of = |model| figure(spoiled, model, "r2_clean");
    assert!((of("n, f32") - of("q, int8")).abs() < 0.02, "{spoiled}");
    assert!(figure(spoiled, "best linear", "accuracy") > 0.5);
    assert!(figure(spoiled, "PCA", "code_shift") > 0.0);
    let few = level(&report, "low_genes", 0.9);
    assert!(figure(few, "logistic, refitted", "accuracy") > 0.3, "{few}");
    let tsv = folder.text("kept/noise.tsv");
    assert_eq!(tsv.lines().count(), 1 + 21 * 6);
    let n_columns = tsv.lines().map(|line| line.split('\t').count());
    assert!(n_columns.into_iter().all(|n| n == 22), "{tsv}");

    let table = folder.cic(noise).ok().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let again = folder.cic(&format!("{noise} --threads 1")).ok().stdout;
    assert_eq!(table, again, "threads change nothing");
    let other = folder.cic(&format!("{noise} --seed 2")).ok().stdout;
    assert_ne!(table, other);
}

#[test]
fn kinds_can_be_chosen_and_values_that_are_no_counts_are_not_thinned() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("logs.h5ad"), &log_normalised(&cells(300)));
    folder.cic("train logs.h5ad --labels cell_type --genes 100 --code 8 -o n.cic -q").ok();
    let noise = "noise logs.h5ad -m n.cic --labels cell_type --repeats 1 -q --json";
    let report = folder.cic(&format!("{noise} --kinds gaussian,thinning")).json();
    assert_eq!(report["levels"].as_array().unwrap().len(), 5);
    assert!(report["skipped"][0].as_str().unwrap().contains("no counts"));
    assert_eq!(report["levels"][1]["methods"][0]["accuracy"]["sd"], Value::Null);
    assert_eq!(folder.cic(&format!("{noise} --kinds salt")).code, Some(2));
}

#[test]
fn training_prepares_for_shallow_cells_and_for_missing_genes() {
    let folder = trained();
    let train = "train cells.h5ad --labels cell_type --genes 100 --code 8 -q";
    folder.cic(&format!("{train} --set thinning=0.95 -o t.cic")).ok();
    folder.cic(&format!("{train} --set gene_dropout=0.9 -o g.cic")).ok();
    let noise = "noise cells.h5ad -m n.cic -m t.cic --labels cell_type --repeats 2 -q --json";
    let report = folder.cic(&format!("{noise} --kinds thinning")).json();
    let shallow = level(&report, "thinning", 0.05);
    for name in ["r2_clean", "accuracy"] {
        let [plain, thinned] = ["n, f32", "t, f32"].map(|model| figure(shallow, model, name));
        assert!(thinned > plain + 0.05, "{name}: {plain} {thinned}");
    }
    let all = cells(300);
    let some: Vec<usize> = (0..all.n_vars()).filter(|gene| gene % 10 < 4).collect();
    write_h5ad(&folder.path("some.h5ad"), &reorder_genes(&all, &some));
    folder.refuses("type some.h5ad -m n.cic -o -", 3, &["of the model's 100 genes"]);
    // What a model was prepared for, its rules let pass; what is noise, it cannot tell of so few genes.
    folder.refuses(
        "type some.h5ad -m g.cic -o -",
        3,
        &["too many genes are missing to reject noise"],
    );
    let typed = folder.cic("type some.h5ad -m g.cic -o - --accept-unjudged").ok();
    assert!(typed.stderr.contains("300 cells typed, 0 rejected"), "{}", typed.stderr);
    let rules =
        |model: &str| folder.cic(&format!("inspect {model} --json")).json()["rules"].clone();
    let least = |model: &str, rule: &str| rules(model)[rule].as_u64().unwrap();
    assert!(least("t.cic", "min_counts") * 5 < least("n.cic", "min_counts"));
    assert!(least("g.cic", "min_genes") * 3 < least("n.cic", "min_genes"));
    write_h5ad(&folder.path("logs.h5ad"), &log_normalised(&cells(300)));
    let words = ["thinning", "no counts"];
    let refused = "train logs.h5ad --labels cell_type --set thinning=0.5 -q -o x.cic";
    folder.refuses(refused, 2, &words);
}

#[test]
fn models_that_read_cells_in_different_ways_are_refused() {
    let folder = trained();
    let noise = "noise cells.h5ad --labels cell_type -m n.cic -m model.cic";
    folder.refuses(noise, 2, &["model.cic", "gene panel", "--genes"]);
    folder.refuses("noise cells.h5ad -m n.cic", 2, &["--labels"]);
    folder.refuses("noise cells.h5ad --labels cell_type -m n.cic -m n.cic", 2, &["given twice"]);
}
