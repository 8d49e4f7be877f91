//! What `cic type` writes.

use std::io::Read;
use std::process::Stdio;

use cic_data::{AnnDataOut, Column, ReadOptions, UnsValue, read_expression};
use cic_model::{AlignedBytes, Model};

use crate::sandbox::Sandbox;
use crate::writers::{cells, reorder_genes, write_h5ad, write_mex};

fn with_cells(n: usize) -> Sandbox {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(n));
    folder
}

#[test]
fn the_table_begins_with_the_columns_that_others_read() {
    let folder = with_cells(30);
    folder.cic("type cells.h5ad --model model.cic --output out.csv").ok();
    let table = folder.text("out.csv");
    let header = table.lines().next().unwrap();
    let columns = "barcode,predicted_labels,conf_score,cic_rejected,cic_reject_reason";
    assert!(header.starts_with(columns), "{header}");
    let n_columns = header.split(',').count();
    for (row, line) in table.lines().skip(1).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), n_columns, "{line}");
        assert_eq!(fields[0], cells(30).obs_names[row]);
        let confidence: f64 = fields[2].parse().unwrap();
        assert!((0.0..=1.0).contains(&confidence), "{line}");
    }
    assert_eq!(table.lines().count(), 31);
}

#[test]
fn standard_output_holds_the_table_and_nothing_else() {
    let folder = with_cells(30);
    folder.cic("type cells.h5ad -m model.cic -o out.csv").ok();
    let before = folder.names();
    let run = folder.cic("type cells.h5ad -m model.cic -o -").ok();
    assert_eq!(run.stdout, folder.text("out.csv"));
    assert!(run.stderr.contains("30 cells typed"));
    let quiet = folder.cic("type cells.h5ad -m model.cic -o - --quiet").ok();
    assert_eq!((quiet.stdout, quiet.stderr.as_str()), (run.stdout, ""));
    assert_eq!(folder.names(), before);
}

#[test]
fn names_cannot_become_formulas_or_steer_a_terminal() {
    let folder = Sandbox::new();
    let mut matrix = cells(12);
    let names = ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2+3", "a,b", "\u{1b}[31mred"];
    for (slot, name) in matrix.obs_names.iter_mut().zip(names) {
        *slot = name.into();
    }
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let table = folder.cic("type cells.h5ad -m model.cic -o -").ok().stdout;
    let rows: Vec<&str> = table.lines().skip(1).collect();
    let begins = ["\"'=1+1\",", "\"'+cmd|' /C", "\"'@SUM(A1)\",", "\"'-2+3\",", "\"a,b\","];
    for (row, begin) in rows.iter().zip(begins) {
        assert!(row.starts_with(begin), "{row}");
    }
    assert!(!table.contains('\u{1b}'));
}

#[test]
fn a_closed_pipe_is_no_error() {
    // More than a pipe holds, so that the program is still writing when its reader leaves.
    let folder = with_cells(1_500);
    for args in [
        "type cells.h5ad -m model.cic -o -",
        "inspect model.cic --json",
        "inspect model.cic",
        "check cells.h5ad",
        "eval cells.h5ad -m model.cic --labels cell_type",
    ] {
        let mut command = folder.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0];
        if args.starts_with("type") {
            child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        }
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "cic {args}: {said}");
    }
}

#[test]
fn anndata_holds_calls_codes_probabilities_and_where_they_come_from() {
    let folder = with_cells(30);
    folder.cic("type cells.h5ad -m model.cic -o out.csv").ok();
    folder.cic("type cells.h5ad -m model.cic -o out.h5ad").ok();
    let before = read_expression(&folder.path("cells.h5ad"), &ReadOptions::default()).unwrap();
    let after = read_expression(&folder.path("out.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(after.obs_names, before.obs_names);
    assert_eq!(after.genes, before.genes);
    assert_eq!(after.values, before.values, "the values are not touched");
    for column in [
        "cell_type",
        "donor",
        "predicted_labels",
        "conf_score",
        "cell_type_ontology_term_id",
        "cic_rejected",
        "cic_reject_reason",
        "cic_margin",
        "n_genes_used",
        "n_counts_used",
    ] {
        assert_eq!(after.obs.column(column).unwrap().len(), 30, "{column}");
    }
    assert!(matches!(after.obs.column("cic_rejected").unwrap(), Column::Bool(_)));
    let table = folder.text("out.csv");
    for (row, line) in table.lines().skip(1).enumerate() {
        let label = after.obs.value("predicted_labels", row).unwrap();
        assert_eq!(label, line.split(',').nth(1).unwrap());
    }
    let file = rust_hdf5::H5File::open(folder.path("out.h5ad")).unwrap();
    assert_eq!(file.dataset("obsm/X_cic").unwrap().shape(), [30, 30]);
    assert_eq!(file.dataset("obsm/cic_prob").unwrap().shape(), [30, 6]);
    let probabilities: Vec<f32> = file.dataset("obsm/cic_prob").unwrap().read_raw().unwrap();
    for cell in probabilities.chunks(6) {
        assert!((cell.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{cell:?}");
    }
    for fact in ["model_id", "model_sha256", "precision", "command", "input_sha256"] {
        assert!(file.dataset(&format!("uns/cic/{fact}")).is_ok(), "{fact}");
    }
}

#[test]
fn anndata_keeps_the_other_names_of_the_genes() {
    let folder = Sandbox::new();
    let mut matrix = cells(12);
    for (number, gene) in matrix.genes.iter_mut().enumerate() {
        let id = format!("ENSG{number:011}");
        *gene = cic_data::Gene::new(id, Some(&gene.id), None);
    }
    write_mex(&folder.path("mex"), &matrix);
    folder.cic("type mex -m model.cic -o out.h5ad").ok();
    let after = read_expression(&folder.path("out.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(after.genes, matrix.genes);
}

#[test]
fn total_counts_come_from_a_column_of_numbers() {
    let folder = Sandbox::new();
    let mut matrix = cells(12);
    let totals = (0..12).map(|row| matrix.values.row(row).1.iter().sum::<f32>().into());
    matrix.obs.insert("n_counts", Column::F64(totals.collect()));
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let type_cells = "type cells.h5ad -m model.cic -o out.csv --total-counts";
    folder.refuses(&format!("{type_cells} cell_type"), 3, &["cell_type", "SIMCELL000001"]);
    folder.refuses(&format!("{type_cells} total"), 2, &["total", "n_counts"]);
    folder.cic(&format!("{type_cells} n_counts")).ok();
}

#[test]
fn total_counts_below_the_sum_of_the_values_are_refused_by_every_command() {
    let folder = Sandbox::new();
    let mut matrix = cells(300);
    matrix.obs.insert("one", Column::F64(vec![1.0; 300]));
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let train = "train cells.h5ad --labels cell_type --genes 200 --hidden 16 --epochs 2";
    folder.cic(&format!("{train} --library all_measured -o all.cic")).ok();
    let words = ["cells.h5ad", "\"one\"", "SIMCELL000001", "sum to"];
    for command in ["type cells.h5ad -o out.csv", "eval cells.h5ad --labels cell_type"] {
        folder.refuses(&format!("{command} -m all.cic --total-counts one"), 3, &words);
    }
}

#[test]
fn total_counts_matter_to_models_that_divide_by_them() {
    let folder = Sandbox::new();
    let mut matrix = cells(300);
    let totals = (0..300).map(|row| 9.0 * matrix.values.row(row).1.iter().sum::<f32>() as f64);
    matrix.obs.insert("nine_times", Column::F64(totals.collect()));
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    let train = "train cells.h5ad --labels cell_type --genes 200 --hidden 16 --epochs 2";
    folder.cic(&format!("{train} --library all_measured -o all.cic")).ok();
    folder.cic(&format!("{train} -o panel.cic")).ok();
    let table = |model: &str, options: &str| {
        folder.cic(&format!("type cells.h5ad -m {model} -o - {options}")).ok()
    };
    let totals = "--total-counts nine_times";
    let (own, given) = (table("all.cic", ""), table("all.cic", totals));
    assert_ne!(own.stdout, given.stdout);
    let (own, given) = (table("panel.cic", ""), table("panel.cic", totals));
    assert_eq!(own.stdout, given.stdout);
    assert!(given.stderr.contains("--total-counts changes nothing"), "{}", given.stderr);

    // With the genes of the panel alone, their sum is no total.
    let bytes = AlignedBytes::new(&folder.read("all.cic"));
    let model = Model::open(&bytes).unwrap();
    let panel: Vec<&str> = (0..model.n_genes()).map(|gene| model.genes().id(gene)).collect();
    let is_read = |gene: &usize| panel.contains(&matrix.genes[*gene].id.as_str());
    let order: Vec<usize> = (0..matrix.n_vars()).filter(is_read).collect();
    write_h5ad(&folder.path("few.h5ad"), &reorder_genes(&matrix, &order));
    let said = ["few.h5ad: has 200 genes", "(1200 in the cells", "--total-counts KEY"];
    folder.refuses("type few.h5ad -m all.cic -o -", 3, &said);
    let checked = folder.cic("check few.h5ad -m all.cic");
    assert!(checked.code == Some(3) && checked.stdout.contains("--total-counts KEY"));
    folder.cic("type few.h5ad -m all.cic -o - --total-counts nine_times").ok();
    folder.cic("type few.h5ad -m panel.cic -o -").ok();
}

#[test]
fn anndata_names_what_it_does_not_keep_and_keeps_integers() {
    let folder = Sandbox::new();
    let matrix = cells(12);
    let genes: Vec<String> = matrix.genes.iter().map(|gene| gene.id.clone()).collect();
    let mut out = AnnDataOut {
        obs_names: &matrix.obs_names,
        obs: matrix.obs.clone(),
        var_names: &genes,
        x: Some(&matrix.values),
        ..AnnDataOut::default()
    };
    out.obs.insert("n_umis", Column::I32((0..12).collect()));
    cic_data::write_h5ad(&folder.path("plain.h5ad"), &out).unwrap();
    out.var.insert("mt", Column::Bool(vec![Some(false); genes.len()]));
    out.obsm.push(("X_pca".into(), vec![0.5; 24]));
    out.uns.push(("title".into(), UnsValue::Text("cells".into())));
    cic_data::write_h5ad(&folder.path("cells.h5ad"), &out).unwrap();

    let run = folder.cic("type cells.h5ad -m model.cic -o out.h5ad").ok();
    let note = "note: not copied from cells.h5ad: obsm/X_pca, uns, var/mt\n";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    let after = read_expression(&folder.path("out.h5ad"), &ReadOptions::default()).unwrap();
    assert_eq!(after.obs.column("n_umis").unwrap(), out.obs.column("n_umis").unwrap());

    let run = folder.cic("type plain.h5ad -m model.cic -o out.h5ad").ok();
    assert!(!run.stderr.contains("not copied"), "{}", run.stderr);
    let run = folder.cic("type cells.h5ad -m model.cic -o - --quiet").ok();
    assert_eq!(run.stderr, "");
}
