//! `cic-quantize`.

use crate::sandbox::Sandbox;
use crate::writers::{N_TRAINED, cells, rows, write_h5ad, write_tsv};

fn with_training_cells() -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(N_TRAINED));
    folder
}

#[test]
fn text_tables_calibrate_as_well() {
    let folder = with_training_cells();
    write_tsv(&folder.path("cells.tsv"), &cells(N_TRAINED));
    folder.quantize("model.cic --calibrate cells.h5ad --to int8 -o a.cic").ok();
    folder.quantize("model.cic --calibrate cells.tsv --to int8 -o b.cic").refused(3, &["--rows"]);
    folder.quantize("model.cic --calibrate cells.tsv --rows cells --to int8 -o b.cic").ok();
    assert_eq!(folder.read("a.cic"), folder.read("b.cic"));
}

#[test]
fn limits_for_what_is_no_cell_need_labels() {
    let folder = with_training_cells();
    let rejects = "model.cic --calibrate cells.h5ad --to int8 --rejects";
    folder.quantize(&format!("{rejects} 0.05 -o q.cic")).refused(2, &["--rejects", "--labels KEY"]);
    folder.quantize(&format!("{rejects} 0 -o q.cic")).ok();
}

#[test]
fn quantised_models_type_like_the_one_they_are_made_from() {
    let folder = with_training_cells();
    let labels = |model: &str| {
        let table = folder.cic(&format!("type cells.h5ad -m {model} -o -")).ok().stdout;
        let label = |line: &str| line.split(',').nth(1).unwrap().to_string();
        table.lines().skip(1).map(label).collect::<Vec<_>>()
    };
    let expected = labels("model.cic");
    for (to, agreement) in [("int8", 0.99), ("f16", 0.999)] {
        let args = format!("model.cic --calibrate cells.h5ad --to {to} -o q.cic --report r.json");
        let run = folder.quantize(&args).ok();
        assert_eq!(run.stdout, "");
        let found = labels("q.cic");
        let same = expected.iter().zip(&found).filter(|(a, b)| a == b).count();
        assert!(same as f64 >= agreement * N_TRAINED as f64, "{to}: {same} of {N_TRAINED}");
        let report: serde_json::Value = serde_json::from_slice(&folder.read("r.json")).unwrap();
        let keys = ["schema_version", "source_model", "model_id", "flips", "code_error_pooled"];
        for key in keys {
            assert!(report.get(key).is_some(), "{key}");
        }
        assert_eq!(report["to"], to);
        assert_eq!(report["n_cells"], 120);
        assert_eq!(report["bytes_after"], folder.read("q.cic").len());
        let inspected = folder.cic("inspect q.cic --json").json();
        assert_eq!(inspected["dtype"], to);
        assert_eq!(inspected["model_id"], report["model_id"]);
        assert_eq!(inspected["provenance"]["quantize.source_model"], report["source_model"]);
    }
}

#[test]
fn quantising_twice_gives_the_same_bytes() {
    let folder = with_training_cells();
    for to in ["int8", "f16"] {
        for output in ["one.cic", "two.cic"] {
            let args = format!("model.cic --calibrate cells.h5ad --to {to} -o {output} --quiet");
            assert_eq!(folder.quantize(&args).ok().stderr, "");
        }
        assert_eq!(folder.read("one.cic"), folder.read("two.cic"), "{to}");
    }
}

#[test]
fn only_full_precision_models_are_quantised() {
    let folder = with_training_cells();
    folder.quantize("model.cic --calibrate cells.h5ad --to f16 -o half.cic").ok();
    let before = folder.names();
    let run = folder.quantize("half.cic --calibrate cells.h5ad --to int8 -o q.cic");
    run.refused(4, &["half.cic", "f16 already", "f32 model"]);
    assert_eq!(folder.names(), before);
}

#[test]
fn data_without_the_calibration_rows_is_refused() {
    let folder = Sandbox::new();
    let mut matrix = cells(200);
    for name in &mut matrix.obs_names {
        name.push_str("-1");
    }
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let before = folder.names();
    let run = folder.quantize("model.cic --calibrate cells.h5ad --to int8 -o q.cic");
    run.refused(3, &["cells.h5ad", "SIMCELL000001-1", "calibration part", "same ids"]);
    assert_eq!(folder.names(), before);
}

#[test]
fn a_split_that_calls_training_rows_test_is_refused() {
    let folder = with_training_cells();
    let names = cells(N_TRAINED).obs_names;
    let split: String = names.iter().map(|name| format!("{name}\ttest\n")).collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    let args = "model.cic --calibrate cells.h5ad --to int8 -o q.cic --split split.tsv";
    folder.quantize(args).refused(3, &["test", "trained with"]);
}

#[test]
fn some_of_the_calibration_rows_are_enough() {
    let folder = Sandbox::new();
    let every_other: Vec<usize> = (0..N_TRAINED).step_by(2).collect();
    write_h5ad(&folder.path("cells.h5ad"), &rows(&cells(N_TRAINED), &every_other));
    folder.quantize("model.cic --calibrate cells.h5ad --to int8 -o q.cic").ok();
}
