//! `cic eval` and `cic inspect`.

use serde_json::Value;

use sha2::{Digest, Sha256};

use crate::sandbox::Sandbox;
use crate::writers::{N_TRAINED, cells, write_h5ad};

fn with_cells(n: usize) -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(n));
    folder
}

#[test]
fn an_evaluation_has_the_keys_that_others_read() {
    let folder = with_cells(300);
    let report = folder.cic("eval cells.h5ad -m model.cic --labels cell_type --json").json();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["n"], 300);
    for key in ["accuracy", "macro_f1"] {
        let share = report[key].as_f64().unwrap();
        assert!((0.8..=1.0).contains(&share), "{key} {share}");
    }
    assert_eq!(report["gene_coverage"], 1.0);
    assert_eq!(report["reconstruction"], Value::Null, "the fixture has no decoder");
    assert!(report["n_seen_in_training"].as_u64().unwrap() > 150);
}

#[test]
fn a_model_with_a_decoder_is_evaluated_on_its_reconstructions() {
    let folder = with_cells(300);
    let train = "train cells.h5ad --labels cell_type --genes 100 --hidden 8 --epochs 3 -o n.cic";
    folder.cic(train).ok();
    let report = folder.cic("eval cells.h5ad -m n.cic --labels cell_type --json").json();
    for key in ["r2", "pearson", "spearman", "mse"] {
        assert!(report["reconstruction"][key].as_f64().unwrap().is_finite(), "{key}");
    }
}

#[test]
fn what_is_no_cell_is_rejected_and_sets_hold_when_cells_are_divided_anew() {
    let folder = with_cells(900);
    let split: String = (cells(900).obs_names.iter().enumerate())
        .map(|(row, name)| format!("{name}\t{}\n", if row % 3 == 0 { "test" } else { "train" }))
        .collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    let common = "cells.h5ad --labels cell_type --split split.tsv";
    folder.cic(&format!("train {common} --genes 200 --hidden 16 --epochs 40 -o n.cic -q")).ok();
    let eval = format!("eval {common} -m n.cic");
    let report = folder.cic(&format!("{eval} --impostors 300 --json")).json();
    let of = |name: &str| {
        let all = report["impostors"].as_array().unwrap();
        all.iter().find(|one| one["kind"] == name).unwrap().clone()
    };
    for kind in ["empty", "shuffled", "uniform"] {
        assert_eq!(of(kind)["n"], 300);
        let rejected = of(kind)["rejected"].as_f64().unwrap();
        // A model that was trained for seconds on cells of which all genes are alike.
        assert!(rejected > if kind == "empty" { 0.95 } else { 0.5 }, "{kind}: {rejected}");
        let by_reason = of(kind)["reasons"].as_object().unwrap().clone();
        let n: u64 = by_reason.values().filter_map(Value::as_u64).sum();
        assert!((n as f64 / 300.0 - rejected).abs() < 1e-12);
    }
    let n = report["n"].as_f64().unwrap();
    let false_rejects = report["n_rejected"].as_f64().unwrap() / n;
    assert!(false_rejects < 0.1, "{false_rejects}");
    for kind in ["ambient", "doublet"] {
        assert!(of(kind)["rejected"].as_f64().unwrap() > 2.0 * false_rejects, "{}", of(kind));
    }
    for level in report["resplits"]["levels"].as_array().unwrap() {
        let (level, coverage) = (&level["level"], level["coverage"].as_f64().unwrap());
        assert!((coverage - level.as_f64().unwrap()).abs() < 0.06, "{coverage} for {level}");
    }
    let all = folder.cic(&format!("{eval} --subset all --json")).json();
    assert_eq!(all["resplits"], Value::Null, "rows that were calibrated with are no others");

    let written = folder.cic(&format!("{eval} --impostors 20")).ok().stdout;
    assert!(written.contains("no cells") && written.contains("shuffled"), "{written}");
    folder.refuses(&format!("{eval} --impostors 0"), 2, &["--impostors"]);
    folder.refuses("eval cells.h5ad -m model.cic --thorough", 4, &["reproduces cells"]);
}

#[test]
fn a_split_chooses_the_rows_and_the_test_rows_unless_told_otherwise() {
    let folder = with_cells(90);
    let names = cells(90).obs_names;
    let part = |row: usize| if row.is_multiple_of(3) { "test" } else { "train" };
    let rows = names.iter().enumerate().take(80);
    let split: String = rows.map(|(row, name)| format!("{name}\t{}\n", part(row))).collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    let eval = "eval cells.h5ad -m model.cic --labels cell_type --split split.tsv --json";
    for (subset, n) in
        [("", 27), ("--subset test", 27), ("--subset train", 53), ("--subset all", 90)]
    {
        let report = folder.cic(&format!("{eval} {subset}")).json();
        assert_eq!(report["n"], n, "{subset}");
    }
}

#[test]
fn tables_that_join_no_row_are_refused_with_an_id_of_both_sides() {
    let folder = with_cells(30);
    folder.write("other.tsv", "id\tsplit\tkind\nAAAC-1\ttrain\tB\nAAAG-1\ttest\tT\n");
    let both = ["other.tsv", "\"AAAC-1\"", "\"SIMCELL000001\""];
    for args in [
        "eval cells.h5ad -m model.cic --labels cell_type --split other.tsv",
        "eval cells.h5ad -m model.cic --labels-file other.tsv --labels kind",
        "train cells.h5ad --labels cell_type --split other.tsv -o new.cic",
        "train cells.h5ad --labels-file other.tsv --labels kind -o new.cic",
    ] {
        folder.refuses(args, 3, &both);
    }
    let run = folder.quantize("model.cic --calibrate cells.h5ad --to int8 --split other.tsv -o q");
    run.refused(3, &both);
}

#[test]
fn a_split_of_other_words_is_refused() {
    let folder = with_cells(30);
    folder.write("split.tsv", "id\tsplit\nSIMCELL000001\ttrain\nSIMCELL000002\tvalidation\n");
    let args = "eval cells.h5ad -m model.cic --labels cell_type --split split.tsv";
    folder.refuses(args, 3, &["split.tsv", "SIMCELL000002", "validation", "train or test"]);
}

#[test]
fn labels_that_the_model_does_not_know_are_told() {
    let folder = with_cells(30);
    let names = cells(30).obs_names;
    let labels: String = names.iter().map(|name| format!("{name}\tneuron\n")).collect();
    folder.write("labels.tsv", format!("id\tkind\n{labels}"));
    let args = "eval cells.h5ad -m model.cic --labels-file labels.tsv --labels kind --json";
    let run = folder.cic(args).ok();
    assert!(run.stderr.contains("30 rows") && run.stderr.contains("neuron"), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["n_unknown_labels"], 30);
    assert_eq!(report["accuracy"], 0.0);
}

#[test]
fn every_precision_is_evaluated_alike() {
    let folder = with_cells(N_TRAINED);
    for to in ["int8", "mixed", "f16"] {
        let args = format!("model.cic --calibrate cells.h5ad --to {to} -o {to}.cic");
        folder.quantize(&args).ok();
    }
    let accuracy = |model: &str| {
        let args = format!("eval cells.h5ad -m {model} --labels cell_type --json");
        folder.cic(&args).json()["accuracy"].as_f64().unwrap()
    };
    let expected = accuracy("model.cic");
    for model in ["int8.cic", "f16.cic"] {
        assert!((accuracy(model) - expected).abs() < 0.01, "{model}");
    }
}

#[test]
fn an_inspection_tells_what_the_model_is() {
    let report = Sandbox::new().cic("inspect model.cic --json").json();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["dtype"], "f32");
    assert_eq!(report["n_genes"], 1_000);
    assert_eq!(report["code_dim"], 30);
    assert_eq!(report["labels"].as_array().unwrap().len(), 6);
    assert_eq!(report["model_id"].as_str().unwrap().len(), 64);
    let file = include_bytes!("../../../tests/data/fixture/simulated.cic");
    let digest: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(report["sha256"], digest.as_str());
    for key in ["bytes", "scratch_bytes", "layers", "profiles", "rules", "provenance"] {
        assert!(report.get(key).is_some(), "{key}");
    }
}
