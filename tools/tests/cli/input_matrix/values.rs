//! Rows about single values and single cells.

use cic_data::{Column, ExpressionMatrix};

use super::generators::{
    Mex, h5ad, many_cells, normalised, some_cells, table_of_cells, with_few_values, with_value,
};
use super::models::Model;
use super::row::{Args, Calls, Group, row};
use crate::sandbox::Sandbox;

pub fn group() -> Group {
    Group {
        title: "Values and cells",
        about: "A value that cannot be an expression value refuses the file, wherever it stands: \
                somebody wrote it, and the others cannot be trusted. A cell that has too little in \
                it is sound and gets no label. What a cell gets does not depend on its neighbours.",
        rows: vec![
            row("a value is NaN", |f| h5ad(f, &with_value(some_cells(), 17, f32::NAN))).refuse("cells.h5ad: cell \"AGACCTCCACCT-1\", gene \"CD3D\": the value is NaN; expected a finite number; replace or remove it"),
            row("a value is infinite", |f| h5ad(f, &with_value(some_cells(), 17, f32::INFINITY)))
                .refuse("cells.h5ad: cell \"AGACCTCCACCT-1\", gene \"CD3D\": the value is inf; expected a finite number; replace or remove it"),
            row("a value is minus infinity", |f| {
                h5ad(f, &with_value(some_cells(), 17, f32::NEG_INFINITY))
            })
            .refuse("cells.h5ad: cell \"AGACCTCCACCT-1\", gene \"CD3D\": the value is -inf; expected a finite number; replace or remove it"),
            row("a value is negative", |f| h5ad(f, &with_value(some_cells(), 17, -1.0)))
                .refuse("cells.h5ad: cell \"AGACCTCCACCT-1\", gene \"CD3D\": the value is -1; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)"),
            row("a value of the last of 1,200 cells is negative", |f| {
                h5ad(f, &with_value(many_cells(1_200), 1_199, -1.0))
            })
            .refuse("cells.h5ad: cell \"GCAGAGCTAGCA-1\", gene \"CD3E\": the value is -1; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)"),
            row("a value of the last of 1,200 cells of log1p is negative", |f| {
                let log1p = normalised(&many_cells(1_200), 1e4, f32::ln_1p);
                h5ad(f, &with_value(log1p, 1_199, -1.0))
            })
            .model(Model::Log1p)
            .refuse(
                "cells.h5ad: cell \"GCAGAGCTAGCA-1\", gene \"CD3E\": the value is -1; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)",
            ),
            row("a value is -0.0", |f| h5ad(f, &minus_zero())).accept(Calls::Same),
            row("a count is 0.5, `--kind counts`", |f| {
                h5ad(f, &with_value(some_cells(), 17, 0.5)).and("--kind counts")
            })
            .refuse("cells.h5ad: declared counts, but cell \"AGACCTCCACCT-1\", gene \"CD3D\", has 0.5, which is no integer; declare the kind that the values have, or choose another matrix of the file"),
            row("a count is 0.5, nothing is declared", |f| {
                h5ad(f, &with_value(some_cells(), 17, 0.5))
            })
            .refuse("cells.h5ad: cannot tell what the values are: fractional values up to 241, the first 0.5 of cell \"AGACCTCCACCT-1\", gene \"CD3D\", and cells sum to between 562.0 and 1890.0; declare one of counts, linear_normalised, log1p, log2_intensity, with --kind"),
            row("a count is 16,777,218, above 2^24, as f32 in a `.h5ad`", |f| {
                h5ad(f, &with_value(some_cells(), 17, 16_777_218.0))
            })
            .refuse("cells.h5ad: cannot tell what the values are: integers above 16777216 (2^24) are no exact counts, the first 16777218 of cell \"AGACCTCCACCT-1\", gene \"CD3D\"; declare one of counts, linear_normalised, log1p, log2_intensity, with --kind"),
            row("the same, `--kind counts`", |f| {
                h5ad(f, &with_value(some_cells(), 17, 16_777_218.0)).and("--kind counts")
            })
            .refuse("cells.h5ad: declared counts, but cell \"AGACCTCCACCT-1\", gene \"CD3D\", has 16777218, above 16777216 (2^24), the largest exact count; declare the kind that the values have, or choose another matrix of the file"),
            row("a count above 2^24 as an integer in a `.h5ad`", |f| {
                super::hdf5::fixture(f, "bad_large_count.h5ad")
            })
            .model(Model::Six)
            .refuse("cells.h5ad: cell \"cell0\", gene \"MS4A1\": the count 16777217 is above 16777216 (2^24), the largest that is held exactly; correct it, or give normalised values as fractions"),
            row("a count above 2^24 in a text table", |f| {
                let text = table_of_cells(&some_cells()).replacen("\t1\t", "\t16777217\t", 1);
                f.write("cells.tsv", text);
                "cells.tsv".into()
            })
            .refuse("cells.tsv, line 2: row \"TCAGGCCTGACA-1\", column \"CD3E\": the count 16777217 is above 16777216 (2^24), the largest that is held exactly; correct it"),
            row("a count above 2^24 in `matrix.mtx`", |f| {
                Mex::sound().entries(|entries| entries[3][2] = 16_777_217).write(f)
            })
            .refuse("mex/matrix.mtx, line 6: the count 16777217 is above 16777216 (2^24), the largest that is held exactly; correct it"),
            row("a cell without any count", |f| h5ad(f, &with_few_values(&some_cells(), 5, 0)))
                .reject("empty", &[5]),
            row("a cell with fewer counts than the model accepts", |f| {
                h5ad(f, &with_few_values(&some_cells(), 5, 3))
            })
            .reject("too_shallow", &[5]),
            row("a cell with enough counts in too few genes", |f| {
                let cells = with_few_values(&some_cells(), 5, 3);
                h5ad(f, &with_value(cells, 5, 2_000.0))
            })
            .reject("too_few_genes", &[5]),
            row("every cell is empty", |f| h5ad(f, &nothing())).reject_all("empty", "every value of \"X\" is zero: is it the matrix that was meant (--layer)?"),
            row("`--total-counts`: the total of a cell is above 2^32", |f| {
                with_totals(f, |cell, sum| if cell == 5 { 5e9 } else { sum })
            })
            .model(Model::Total)
            .reject("library_too_large", &[5]),
            row("`--total-counts`: the total of a cell is below the sum of its values", |f| {
                with_totals(f, |cell, sum| if cell == 5 { sum - 1.0 } else { sum })
            })
            .model(Model::Total)
            .refuse("cells.h5ad: column \"total\" says 849 of cell \"ATTTAACTGGCC-1\", whose values in the file sum to 850; total counts are sums over all genes that were measured, in the unit of the values"),
            row("`--total-counts`, to a model that divides by the sum over its own genes", |f| {
                with_totals(f, |_, sum| 2.0 * sum)
            })
            .note(
                "--total-counts changes nothing: the model divides by sums over its own genes (cic train --library)",
            ),
            row("`--total-counts`: the total of a cell is NaN", |f| {
                with_totals(f, |cell, sum| if cell == 5 { f64::NAN } else { sum })
            })
            .model(Model::Total)
            .refuse("cells.h5ad: column \"total\" has no usable number for cell \"ATTTAACTGGCC-1\"; total counts are numbers that are not negative"),
            row("`--total-counts`: a column of texts", |f| {
                h5ad(f, &some_cells()).and("--total-counts cell_type")
            })
            .model(Model::Total)
            .refuse("cells.h5ad: column \"cell_type\" has no usable number for cell \"TCAGGCCTGACA-1\"; total counts are numbers that are not negative"),
        ],
    }
}

/// Zeros are not stored but for one, which has a sign.
fn minus_zero() -> ExpressionMatrix {
    let mut cells = some_cells();
    let (row, column) = (17, (0..).find(|gene| !cells.values.row(17).0.contains(gene)).unwrap());
    let at = cells.values.indptr[row + 1];
    cells.values.indices.insert(at, column);
    cells.values.data.insert(at, -0.0);
    cells.values.indptr[row + 1..].iter_mut().for_each(|end| *end += 1);
    cells
}

fn nothing() -> ExpressionMatrix {
    let mut cells = some_cells();
    cells.values.indptr.iter_mut().for_each(|at| *at = 0);
    cells.values.indices.clear();
    cells.values.data.clear();
    cells
}

fn with_totals(folder: &Sandbox, total: impl Fn(usize, f64) -> f64) -> Args {
    let mut cells = some_cells();
    let totals = (0..cells.n_obs()).map(|row| {
        let sum = cells.values.row(row).1.iter().map(|&value| f64::from(value)).sum();
        total(row, sum)
    });
    let totals = totals.collect();
    cells.obs.insert("total", Column::F64(totals));
    h5ad(folder, &cells).and("--total-counts total")
}
