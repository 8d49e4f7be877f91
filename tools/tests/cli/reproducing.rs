//! `cic reproduce` and `cic demo --save`.

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

/// 300 cells, a model with a decoder in two number formats, and which rows are for testing.
fn trained() -> Sandbox {
    let folder = Sandbox::new();
    let cells = cells(300);
    write_h5ad(&folder.path("cells.h5ad"), &cells);
    let part = |row: usize| if row.is_multiple_of(4) { "test" } else { "train" };
    let rows = cells.obs_names.iter().enumerate();
    let split: String = rows.map(|(row, name)| format!("{name}\t{}\n", part(row))).collect();
    folder.write("split.tsv", format!("id\tsplit\n{split}"));
    let train =
        "train cells.h5ad --labels cell_type --split split.tsv --genes 100 --code 8 -o n.cic";
    folder.cic(train).ok();
    folder
}

#[test]
fn the_model_stands_beside_methods_of_as_many_numbers() {
    let folder = trained();
    let reproduce =
        "reproduce cells.h5ad -m n.cic --split split.tsv --labels cell_type --genes 60 --json";
    let report = folder.cic(reproduce).json();
    assert_eq!((report["n_train"].as_u64(), report["n_test"].as_u64()), (Some(225), Some(75)));
    assert_eq!((report["n_genes"].as_u64(), report["code_dim"].as_u64()), (Some(60), Some(8)));
    let methods = report["methods"].as_array().unwrap();
    let of = |name: &str| methods.iter().find(|method| method["name"] == name).unwrap();
    assert_eq!(methods.len(), 7);
    let r2 = |name: &str| of(name)["r2"].as_f64().unwrap();
    assert!(r2("this model, f32") > 0.1 && r2("PCA") > 0.1 && r2("NMF") > 0.1);
    assert!(r2("training mean").abs() < 1e-6);
    // One profile for all is nearest to one of 75, at most.
    assert!(of("training mean")["nearest_by_error"].as_f64().unwrap() <= 1.0 / 75.0 + 1e-9);
    let types = report["types"].as_array().unwrap();
    let n: u64 = types.iter().map(|one| one["n"].as_u64().unwrap()).sum();
    assert_eq!(n, 75);
}

#[test]
fn without_a_split_the_rows_are_those_of_the_model() {
    let folder = trained();
    let report = folder.cic("reproduce cells.h5ad -m n.cic --json").json();
    assert_eq!((report["n_train"].as_u64(), report["n_test"].as_u64()), (Some(225), Some(75)));
    let table = folder.cic("reproduce cells.h5ad -m n.cic").ok().stdout;
    assert!(table.contains("this model, f32") && table.contains("kernel PCA, RBF"), "{table}");
}

#[test]
fn a_model_without_a_decoder_is_refused_with_what_to_do() {
    let folder = trained();
    let run = folder.cic("reproduce cells.h5ad -m model.cic");
    assert_eq!(run.code, Some(4));
    assert!(run.stderr.contains("no decoder") && run.stderr.contains("--no-decoder"));
}

#[test]
fn replicates_are_compared_by_their_column() {
    let folder = trained();
    let reproduce = "reproduce cells.h5ad -m n.cic --replicates cell_type --json";
    let report = folder.cic(reproduce).json();
    assert!(report["replicates"]["n"].as_u64().unwrap() > 300);
    // Cells of one type are no replicates of one RNA, but what they share is what comes back from their codes.
    let denoised = &report["denoised"];
    let of = |name: &str| denoised[name].as_f64().unwrap();
    assert!(of("n_pairs") > 75.0 && of("mse_model") < of("mse_replicate"), "{denoised}");
    assert!(of("below_both") <= of("below_replicate").min(of("below_pca")), "{denoised}");
    let both = "reproduce cells.h5ad -m n.cic --replicates cell_type,cell_type";
    let table = folder.cic(both).ok().stdout;
    assert!(table.contains("back from its code"), "{table}");
    let alone = "reproduce cells.h5ad -m n.cic --replicates nonesuch";
    assert_eq!(folder.cic(alone).code, Some(2));
}

#[test]
fn a_demo_leaves_cells_and_models_that_other_commands_take() {
    let folder = Sandbox::new();
    folder.cic("demo --genes 200 --save kept").ok();
    folder.cic("check kept/cells.h5ad").ok();
    for model in ["f32", "f16", "int8"] {
        folder.cic(&format!("type kept/cells.h5ad -m kept/{model}.cic -o {model}.csv")).ok();
    }
    assert!(folder.text("int8.csv").lines().count() > 1000);
}
