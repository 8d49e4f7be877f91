//! `cic-quantize` of models of CellTypist.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::Sandbox;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("quant/tests/celltypist")
}

/// Counts of a hundred cells, and a model.
fn with_model(name: &str) -> Sandbox {
    let folder = Sandbox::new();
    fs::copy(fixtures().join("cells.csv"), folder.path("cells.csv")).unwrap();
    let model = fixtures().join("read").join(name).with_extension("pkl");
    fs::copy(model, folder.path("own.pkl")).unwrap();
    folder
}

/// What CellTypist calls these cells.
fn expected(name: &str) -> Vec<String> {
    let text = fs::read_to_string(fixtures().join("read").join(name).with_extension("json"));
    let golden: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let labels = golden["labels"].as_array().unwrap().iter();
    labels.map(|label| label.as_str().unwrap().to_string()).collect()
}

/// The best label of every cell, rejected or not.
fn labels(folder: &Sandbox, data: &str, model: &str) -> Vec<String> {
    let table = folder.cic(&format!("type {data} -m {model} -o -")).ok().stdout;
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = header.iter().position(|column| *column == "cic_best_guess").unwrap();
    lines.map(|line| line.split(',').nth(at).unwrap().to_string()).collect()
}

fn n_same(a: &[String], b: &[String]) -> usize {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}

#[test]
fn models_of_celltypist_give_its_labels() {
    for name in ["lr", "lr-nomean", "lr-two", "sgd"] {
        let folder = with_model(name);
        let expected = expected(name);
        let base = "own.pkl --calibrate cells.csv";
        let run = folder.quantize(&format!("{base} --to f32 -o f.cic")).ok();
        assert!(run.stderr.contains("decision values are CellTypist's within"), "{}", run.stderr);
        assert!(run.stderr.contains("a softmax of the decision values"), "{}", run.stderr);
        assert_eq!(labels(&folder, "cells.csv", "f.cic"), expected, "{name}");
        for (to, least) in [("f16", 100), ("mixed", 99), ("int8", 97)] {
            folder.quantize(&format!("{base} --to {to} -o q.cic")).ok();
            let found = labels(&folder, "cells.csv", "q.cic");
            assert!(n_same(&found, &expected) >= least, "{name}, {to}: {found:?}");
        }
        let inspected = folder.cic("inspect q.cic --json").json();
        assert_eq!(inspected["provenance"]["import.format"], "celltypist");
    }
}

#[test]
fn genes_that_the_cells_lack_are_left_out() {
    let folder = with_model("lr");
    let cells = folder.text("cells.csv");
    let without = |is_left: &dyn Fn(&str) -> bool| {
        let header: Vec<&str> = cells.lines().next().unwrap().split(',').collect();
        let lines = cells.lines().map(|line| {
            let fields = line.split(',').zip(&header);
            let kept = fields.filter(|(_, gene)| gene.is_empty() || is_left(gene));
            kept.map(|(field, _)| field).collect::<Vec<_>>().join(",")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    folder.write("fewer.csv", without(&|gene| !gene.ends_with('3')));
    let run = folder.quantize("own.pkl --calibrate fewer.csv --to f32 -o f.cic").ok();
    assert!(run.stderr.contains("genes that DATA lacks are left out"), "{}", run.stderr);
    folder.quantize("own.pkl --calibrate cells.csv --to f32 -o whole.cic").ok();
    // Missing genes count as their means, whether the model has them or not.
    let (a, b) = (labels(&folder, "fewer.csv", "f.cic"), labels(&folder, "fewer.csv", "whole.cic"));
    assert_eq!(a, b);

    folder.write("none.csv", without(&|gene| gene.ends_with('3')));
    folder
        .quantize("own.pkl --calibrate none.csv --to f32 -o n.cic")
        .refused(3, &["none.csv: lacks", "calibrate with cells that have most of them"]);
}

#[test]
fn totals_over_the_genes_of_the_model_alone_are_refused() {
    let folder = with_model("lr");
    let text = fs::read_to_string(fixtures().join("read/lr.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let genes: Vec<&str> =
        golden["genes"].as_array().unwrap().iter().map(|gene| gene.as_str().unwrap()).collect();
    let cells = folder.text("cells.csv");
    let header: Vec<&str> = cells.lines().next().unwrap().split(',').collect();
    assert!(genes.len() + 10 < header.len(), "the model reads nearly all genes");
    let lines = cells.lines().map(|line| {
        let fields = line.split(',').zip(&header);
        let kept = fields.filter(|(_, gene)| gene.is_empty() || genes.contains(gene));
        kept.map(|(field, _)| field).collect::<Vec<_>>().join(",")
    });
    folder.write("panel.csv", lines.collect::<Vec<_>>().join("\n"));
    folder
        .quantize("own.pkl --calibrate panel.csv --to f32 -o f.cic")
        .refused(3, &["panel.csv: has no other genes than the model reads", "all measured genes"]);
}

#[test]
fn pickles_that_are_no_models_are_refused_and_nothing_runs() {
    let folder = with_model("lr");
    for (name, words) in [
        ("os-system", "it names \"os.system\" at byte 2"),
        ("truncated", "the file ends early"),
        ("huge-shape", "Model.coef_: its array is too large"),
    ] {
        let file = fixtures().join("refused").join(name).with_extension("pkl");
        fs::copy(file, folder.path("bad.pkl")).unwrap();
        let before = folder.names();
        folder
            .quantize("bad.pkl --calibrate cells.csv --to int8 -o q.cic")
            .refused(4, &["bad.pkl: ", words]);
        assert_eq!(folder.names(), before);
    }
    folder
        .quantize("model.cic --calibrate cells.csv --held-out --to int8 -o q.cic")
        .refused(2, &["--held-out is for"]);
}
