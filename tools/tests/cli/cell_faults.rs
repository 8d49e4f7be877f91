//! Cells that get no label although their file is sound.

use cic_data::{CsrMatrix, ExpressionMatrix};

use crate::sandbox::Sandbox;
use crate::writers::{cells, write_h5ad};

/// Twelve cells, of which the third has no counts and the fifth has three.
fn faulty_cells() -> ExpressionMatrix {
    let mut matrix = cells(12);
    let mut kept = CsrMatrix { n_cols: matrix.n_vars(), indptr: vec![0], ..CsrMatrix::default() };
    for row in 0..matrix.n_obs() {
        let (genes, values) = matrix.values.row(row);
        let n = match row {
            2 => 0,
            4 => 3,
            _ => genes.len(),
        };
        kept.indices.extend(&genes[..n]);
        kept.data.extend(&values[..n]);
        kept.indptr.push(kept.data.len());
    }
    matrix.values = kept;
    matrix
}

#[test]
fn strict_refuses_a_file_with_a_rejected_cell() {
    let folder = Sandbox::new();
    write_h5ad(&folder.path("cells.h5ad"), &faulty_cells());
    for output in ["out.csv", "out.h5ad", "-"] {
        let args = format!("type cells.h5ad -m model.cic --strict -o {output}");
        folder.refuses(&args, 3, &["cells.h5ad", "2 of 12", "SIMCELL000003", "empty", "--strict"]);
    }
    let eval = "eval cells.h5ad -m model.cic --labels cell_type --strict";
    folder.refuses(eval, 3, &["cells.h5ad", "2 of 12"]);
}
