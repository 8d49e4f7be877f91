//! Comma-separated tables: that of 10x `cell_types.csv`, and CellTypist's.

use std::io::{self, Write};

use cic_data::csv_field;
use cic_model::Model;

use crate::typed::TypedCells;

/// All columns, one row per cell, in the layout of 10x `cell_types.csv`.
pub(super) fn write_csv(out: &mut dyn Write, cells: &TypedCells<'_>) -> io::Result<()> {
    let columns = || cells.extent().columns();
    write!(out, "{NAMES}")?;
    for column in columns() {
        write!(out, ",{}", column.name)?;
    }
    writeln!(out)?;
    for (name, cell) in cells.head.obs_names.iter().zip(cells.cells()) {
        write!(out, "{}", csv_field(name))?;
        for column in columns() {
            write!(out, ",{}", csv_field(&column.text(&cell)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The columns of CellTypist's `predicted_labels.csv`, then the confidence.
pub(super) fn write_celltypist(out: &mut dyn Write, cells: &TypedCells<'_>) -> io::Result<()> {
    let columns = || cells.extent().columns();
    let columns: Vec<_> = CELLTYPIST
        .iter()
        .filter_map(|name| columns().find(|column| column.name == *name))
        .collect();
    for column in &columns {
        write!(out, ",{}", column.name)?;
    }
    writeln!(out)?;
    for (name, cell) in cells.head.obs_names.iter().zip(cells.cells()) {
        write!(out, "{}", csv_field(name))?;
        for column in &columns {
            write!(out, ",{}", csv_field(&column.text(&cell)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// One row of CellTypist's `probability_matrix.csv`; the header for no cell.
pub(crate) fn write_probability_row(
    out: &mut dyn Write,
    model: &Model<'_>,
    cell: Option<(&str, &[f32])>,
) -> io::Result<()> {
    match cell {
        None => {
            for leaf in 0..model.n_leaves() {
                write!(out, ",{}", csv_field(model.labels().leaf_name(leaf)))?;
            }
        }
        Some((name, probabilities)) => {
            write!(out, "{}", csv_field(name))?;
            for probability in probabilities {
                write!(out, ",{probability:.6}")?;
            }
        }
    }
    writeln!(out)
}

/// Header of the names of the cells, as Cell Ranger calls them.
const NAMES: &str = "barcode";

const CELLTYPIST: [&str; 4] =
    ["predicted_labels", "over_clustering", "majority_voting", "conf_score"];
