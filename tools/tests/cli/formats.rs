//! The same cells in other files give the same bytes.

use cic_data::ExpressionMatrix;

use crate::sandbox::Sandbox;
use crate::writers::{cells, rows, write_cell_ranger, write_h5ad, write_mex, write_tsv};

fn typed(folder: &Sandbox, data: &str) -> String {
    folder.cic(&format!("type {data} -m model.cic -o -")).ok().stdout
}

fn typed_cells(matrix: &ExpressionMatrix) -> String {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), matrix);
    typed(&folder, "cells.h5ad")
}

/// A fixed order of `0..n` without a pattern: 7919 is a prime above every `n` here.
fn shuffled(n: usize) -> Vec<usize> {
    (0..n).map(|at| (at * 7_919 + 5) % n).collect()
}

#[test]
fn every_format_gives_the_same_bytes() {
    let folder = Sandbox::new();
    let matrix = cells(60);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    write_mex(&folder.path("mex"), &matrix);
    write_cell_ranger(&folder.path("cells.h5"), &matrix);
    write_tsv(&folder.path("cells.tsv"), &matrix);
    let expected = typed(&folder, "cells.h5ad");
    assert_eq!(expected.lines().count(), 61);
    for data in ["mex", "mex/matrix.mtx.gz", "cells.h5", "cells.tsv --rows cells"] {
        assert_eq!(typed(&folder, data), expected, "{data}");
    }
}

#[test]
fn permuted_cells_give_permuted_rows() {
    let matrix = cells(60);
    let order = shuffled(60);
    let expected = typed_cells(&matrix);
    let expected: Vec<&str> = expected.lines().skip(1).collect();
    let permuted = typed_cells(&rows(&matrix, &order));
    let permuted: Vec<&str> = permuted.lines().skip(1).collect();
    let reordered: Vec<&str> = order.iter().map(|&row| expected[row]).collect();
    assert_eq!(permuted, reordered);
}

#[test]
fn rows_are_chosen_for_tables_alone() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &cells(6));
    let told = "the format says what they are; leave the choice (--rows) out";
    folder.cic("type cells.h5ad --rows cells -m model.cic -o -").refused(3, &["cells.h5ad", told]);
}

#[test]
fn a_check_finds_the_same_in_every_format() {
    let folder = Sandbox::new();
    let matrix = cells(60);
    write_h5ad(&folder.path("cells.h5ad"), &matrix);
    write_mex(&folder.path("mex"), &matrix);
    write_tsv(&folder.path("cells.tsv"), &matrix);
    for data in ["cells.h5ad", "mex", "cells.tsv --rows cells"] {
        let report = folder.cic(&format!("check {data} -m model.cic --json")).json();
        assert_eq!(report["schema_version"], 1);
        assert_eq!(report["n_obs"], 60);
        assert_eq!(report["n_vars"], 1_200);
        assert_eq!(report["value_kind"], "counts");
        assert_eq!(report["n_values"], matrix.values.nnz());
        assert_eq!(report["model"]["n_present"], 1_000);
        assert_eq!(report["model"]["refusal"], serde_json::Value::Null);
    }
}
