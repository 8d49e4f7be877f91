//! The formats of calls: the same columns in each, with where they come from.

use std::collections::BTreeSet;

use cic_data::{ReadOptions, UnsValue, read_expression, read_uns};
use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad, write_mex};

fn with_cells(n: usize) -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(n));
    folder
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_format_has_the_same_columns_and_values() {
    let folder = with_cells(40);
    let outputs: &[&str] = match cfg!(feature = "parquet") {
        true => &["out.csv", "out.jsonl", "out.h5ad", "out.parquet"],
        false => &["out.csv", "out.jsonl", "out.h5ad"],
    };
    for output in outputs {
        folder.cic(&format!("type cells.h5ad -m model.cic -o {output}")).ok();
        folder.cic(&format!("verify {output}")).ok();
    }
    let table = folder.text("out.csv");
    let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let written = lines(&folder.text("out.jsonl"));
    assert_eq!(written.len(), 42, "provenance, 40 cells, verdict");
    let obs = read_expression(&folder.path("out.h5ad"), &ReadOptions::default()).unwrap().obs;
    for ((row, fields), line) in rows.enumerate().zip(&written[1..]) {
        for (name, field) in header.iter().zip(&fields) {
            let is_near = |found: Option<f64>, number: f64| (found.unwrap() - number).abs() < 1e-6;
            if let Ok(number) = field.parse() {
                assert!(is_near(line[name].as_f64(), number), "{name} of row {row}: {line}");
                assert!(is_near(obs.number(name, row), number), "{name} of row {row}");
                continue;
            }
            if field.is_empty() && line[name].is_null() {
                assert_eq!(obs.number(name, row), None, "{name} is not known of row {row}");
                continue;
            }
            let text = line[name].as_str().map_or_else(|| line[name].to_string(), String::from);
            assert!(text.eq_ignore_ascii_case(field), "{name} of row {row}: {line}");
            if *name != "barcode" {
                let text = obs.value(name, row).unwrap();
                assert!(text.eq_ignore_ascii_case(field), "{name} of row {row}: {text}");
            }
        }
    }
    assert_eq!(written[41]["verdict"]["n_cells"], 40);
}

#[test]
fn the_help_lists_every_column() {
    let folder = with_cells(12);
    let table = folder.cic("type cells.h5ad -m model.cic -o -").ok().stdout;
    let help = folder.cic("type --help").ok().stdout;
    for column in table.lines().next().unwrap().split(',').skip(1) {
        assert!(help.contains(&format!("\n  {column} ")), "{column}");
    }
}

#[test]
fn all_outputs_say_where_they_come_from() {
    let folder = with_cells(12);
    for output in ["out.csv", "out.jsonl", "out.h5ad"] {
        folder.cic(&format!("type cells.h5ad -m model.cic --kind counts -o {output}")).ok();
    }
    let beside: Value = serde_json::from_str(&folder.text("out.csv.json")).unwrap();
    let first = lines(&folder.text("out.jsonl")).swap_remove(0)["provenance"].take();
    let Some(UnsValue::Dict(uns)) = read_uns(&folder.path("out.h5ad"), "cic").unwrap() else {
        panic!("no dictionary");
    };
    let names = |value: &Value| {
        let names = value.as_object().unwrap().keys();
        names.filter(|name| *name != "output_sha256").cloned().collect::<BTreeSet<String>>()
    };
    assert_eq!(names(&beside), names(&first));
    assert_eq!(names(&beside), uns.iter().map(|(name, _)| name.clone()).collect());
    for (key, expected) in
        [("n_cells", "12"), ("precision", "\"f32\""), ("value_kind", "\"counts\"")]
    {
        assert_eq!(beside[key].to_string(), expected);
        assert_eq!(first[key].to_string(), expected);
    }
    assert!(beside["arguments"].to_string().contains("--kind=counts"));
    let digest = |name: &str| sha256(&folder.read(name));
    assert_eq!(beside["input_sha256"], digest("cells.h5ad").as_str());
    assert_eq!(beside["model_sha256"], digest("model.cic").as_str());
    assert_eq!(beside["output_sha256"], digest("out.csv").as_str());
}

#[test]
fn of_a_folder_every_file_that_was_read_is_digested() {
    let folder = Sandbox::new();
    write_mex(&folder.path("mex"), &cells(12));
    folder.cic("type mex -m model.cic -o out.csv").ok();
    let beside: Value = serde_json::from_str(&folder.text("out.csv.json")).unwrap();
    let files: Vec<&str> =
        beside["input_files"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let names = ["barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"];
    let expected =
        names.map(|name| format!("{}  {name}", sha256(&folder.read(&format!("mex/{name}")))));
    assert_eq!(files, expected);
    let all = expected.join("\n") + "\n";
    assert_eq!(beside["input_sha256"], sha256(all.as_bytes()).as_str());
}

#[test]
fn celltypists_tables_have_its_names_and_columns() {
    let folder = with_cells(12);
    std::fs::create_dir(folder.path("results")).unwrap();
    let args = "--indata cells.h5ad --model model.cic --outdir results --prefix a_";
    folder.cic(&format!("type {args}")).ok();
    let table = folder.text("results/a_predicted_labels.csv");
    assert_eq!(table.lines().next(), Some(",predicted_labels,conf_score"));
    let matrix = folder.text("results/a_probability_matrix.csv");
    let mut rows = matrix.lines();
    let types: Vec<&str> = rows.next().unwrap().split(',').skip(1).collect();
    assert_eq!(types.len(), 6);
    for (row, line) in rows.zip(table.lines().skip(1)) {
        let (name, label) = (line.split(',').next(), line.split(',').nth(1).unwrap());
        assert_eq!(row.split(',').next(), name);
        let probabilities: Vec<f64> =
            row.split(',').skip(1).map(|field| field.parse().unwrap()).collect();
        let best = (0..6).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).unwrap();
        assert_eq!(types[best], label);
    }
    assert_eq!(matrix.lines().count(), 13);
    let before = folder.names();
    folder.cic("verify results/a_predicted_labels.csv").ok();
    let missing = "type -i cells.h5ad -m model.cic --outdir absent";
    folder.refuses(missing, 2, &["absent", "create it first"]);
    folder.refuses(&format!("type {args} -o out.csv"), 2, &["--outdir"]);
    assert_eq!(folder.names(), before);
}

#[test]
fn formats_follow_the_name_unless_they_are_declared() {
    let folder = with_cells(12);
    let type_cells = "type cells.h5ad -m model.cic -o";
    let run = folder.cic(&format!("{type_cells} - --format jsonl")).ok();
    assert_eq!(lines(&run.stdout).len(), 14);
    folder.cic(&format!("{type_cells} calls.txt --format csv")).ok();
    assert!(folder.text("calls.txt").starts_with("barcode,predicted_labels"));
    for (args, words) in [
        ("- --format h5ad", "name a file"),
        ("calls.tsv", "--format"),
        ("calls", "--format"),
        ("calls.csv --format xlsx", "celltypist"),
    ] {
        folder.refuses(&format!("{type_cells} {args}"), 2, &[words]);
    }
    if !cfg!(feature = "parquet") {
        let words = ["writes no Parquet", "--features parquet"];
        folder.refuses(&format!("{type_cells} calls.parquet"), 2, &words);
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
