//! Rows about what the values are.

use std::f32::consts::LN_2;

use cic_data::ExpressionMatrix;

use super::generators::{
    every_cell, h5ad, intensities, many_cells, normalised, some_cells, with_genes,
};
use super::models::{Model, logarithms};
use super::row::{Calls, Group, row};

pub fn group() -> Group {
    Group {
        title: "Scales",
        about: "A model reads one kind of values. What a file holds is judged over every cell, and \
                what `--kind` declares is checked over every cell too.",
        rows: vec![
            row("counts, to a model of counts", |f| h5ad(f, &some_cells())).accept(Calls::Same),
            row("log1p of 10,000, to a model of that", |f| h5ad(f, &logarithms()))
                .model(Model::Log1p)
                .accept(Calls::Same),
            row("log1p, to a model of counts", |f| h5ad(f, &logarithms())).refuse("cells.h5ad: the values are log1p (every cell sums to 10000.0 after exp(x) - 1), the model was trained on counts; give it counts (another layer of the file?), or declare them with --kind if they were taken for the wrong kind"),
            row("log1p, to a model of counts, `--kind counts`", |f| {
                h5ad(f, &logarithms()).and("--kind counts")
            })
            .refuse("cells.h5ad: declared counts, but cell \"TCAGGCCTGACA-1\", gene \"DEC1\", has 5.574452, which is no integer; declare the kind that the values have, or choose another matrix of the file"),
            row("counts, to a model of log1p", |f| h5ad(f, &some_cells()))
                .model(Model::Log1p)
                .refuse("cells.h5ad: the values are counts (integers up to 241), the model was trained on log1p; give it log1p (another layer of the file?), or declare them with --kind if they were taken for the wrong kind"),
            row("counts, to a model of log1p, `--kind log1p`", |f| {
                h5ad(f, &some_cells()).and("--kind log1p")
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: declared log1p, but cell \"TCAGGCCTGACA-1\", gene \"GENE58\", has 62, and no logarithm of expression exceeds 25; declare the kind that the values have, or choose another matrix of the file"),
            row("the last of 1,200 cells of counts is log1p, `--kind counts`", |f| {
                h5ad(f, &with_last_as(many_cells(1_200), &logarithms())).and("--kind counts")
            })
            .refuse("cells.h5ad: declared counts, but cell \"GCAGAGCTAGCA-1\", gene \"DEC1\", has 3.599698, which is no integer; declare the kind that the values have, or choose another matrix of the file"),
            row("the last of 1,200 cells of log1p is counts", |f| {
                let log1p = normalised(&many_cells(1_200), 1e4, f32::ln_1p);
                h5ad(f, &with_last_as(log1p, every_cell()))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: cannot tell what the values are: fractional values up to 74, the first 5.574452 of cell \"TCAGGCCTGACA-1\", gene \"DEC1\", and cells sum to between 277.8 and 562.0; declare one of counts, linear_normalised, log1p, log2_intensity, with --kind"),
            row("CPM or TPM (every cell sums to a million), to a model of counts", |f| {
                h5ad(f, &normalised(&some_cells(), 1e6, |x| x))
            })
            .refuse("cells.h5ad: the values are linear_normalised (every cell sums to 999999.969727), the model was trained on counts; give it counts (another layer of the file?), or declare them with --kind if they were taken for the wrong kind"),
            row("CPM or TPM, to a model of log1p", |f| {
                h5ad(f, &normalised(&some_cells(), 1e6, |x| x))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: the values are linear_normalised (every cell sums to 999999.969727), the model was trained on log1p; give it log1p (another layer of the file?), or declare them with --kind if they were taken for the wrong kind"),
            row("log1p of CPM, to a model of log1p of 10,000", |f| {
                h5ad(f, &normalised(&some_cells(), 1e6, f32::ln_1p))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: every cell sums to 1000000.0 after exp(x) - 1, but the model was trained on cells that sum to 10000.0; normalise to 10000.0 before the logarithm"),
            row("log1p of 1,000, to a model of log1p of 10,000", |f| {
                h5ad(f, &normalised(&some_cells(), 1e3, f32::ln_1p))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: every cell sums to 1000.0 after exp(x) - 1, but the model was trained on cells that sum to 10000.0; normalise to 10000.0 before the logarithm"),
            row("log2(1 + x) of 10,000, to a model of log1p", |f| {
                h5ad(f, &normalised(&some_cells(), 1e4, |x| x.ln_1p() / LN_2))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: the values are log2(1 + x): every cell sums to 10000.0 after 2^x - 1; multiply by ln 2 = 0.693147 to get log1p"),
            row("the same, `--kind log1p`", |f| {
                h5ad(f, &normalised(&some_cells(), 1e4, |x| x.ln_1p() / LN_2)).and("--kind log1p")
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: the values are log2(1 + x): every cell sums to 10000.0 after 2^x - 1; multiply by ln 2 = 0.693147 to get log1p"),
            row("log10(1 + x) of 10,000, to a model of log1p", |f| {
                h5ad(f, &normalised(&some_cells(), 1e4, |x| (1.0 + x).log10()))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: the values are log10(1 + x): every cell sums to 10000.0 after 10^x - 1; multiply by ln 10 = 2.302585 to get log1p"),
            row("the logarithm taken twice, to a model of log1p", |f| {
                h5ad(f, &normalised(&some_cells(), 1e4, |x| x.ln_1p().ln_1p()))
            })
            .model(Model::Log1p)
            .refuse("cells.h5ad: the values are logarithms of logarithms: every cell sums to 10000.0 after exp(x) - 1 twice; undo one of them, exp(x) - 1, to get log1p"),
            row("log2(1 + x), two thirds of the genes, to a model of log1p: not noticed", |f| {
                let log2 = normalised(&some_cells(), 1e4, |x| x.ln_1p() / LN_2);
                h5ad(f, &with_genes(&log2, (0..300).filter(|gene| gene % 3 > 0)))
            })
            .model(Model::Log1p)
            .accept(Calls::Any),
            row("log1p of 10,000, two thirds of the genes, to a model of that", |f| {
                h5ad(f, &with_genes(&logarithms(), (0..300).filter(|gene| gene % 3 > 0)))
            })
            .model(Model::Log1p)
            .accept(Calls::Near(0.9)),
            row("log2 intensities, to a model of them", |f| h5ad(f, &intensities(&some_cells())))
                .model(Model::Log2)
                .accept(Calls::Same),
            row("log2 intensities, to a model of counts", |f| h5ad(f, &intensities(&some_cells())))
                .refuse("cells.h5ad: the values are log2_intensity (no zeros, values up to 15.557284), the model was trained on counts; give it counts (another layer of the file?), or declare them with --kind if they were taken for the wrong kind"),
            row("natural logarithms of intensities, to a model of log2 intensities", |f| {
                h5ad(f, &mapped(intensities(&some_cells()), |x| x * LN_2))
            })
            .model(Model::Log2)
            .refuse("cells.h5ad: the values of the model's genes are 4.39 on average, those of its training were 6.36; are these logarithms of another base, or logarithms of logarithms? the model was trained on log2 intensities: take log2 of the intensities"),
            row("log2 of log2 intensities, to a model of log2 intensities", |f| {
                h5ad(f, &mapped(intensities(&some_cells()), f32::log2))
            })
            .model(Model::Log2)
            .refuse("cells.h5ad: the values of the model's genes are 2.54 on average, those of its training were 6.36; are these logarithms of another base, or logarithms of logarithms? the model was trained on log2 intensities: take log2 of the intensities"),
            row("square roots of counts, to a model of counts", |f| {
                h5ad(f, &mapped(some_cells(), f32::sqrt))
            })
            .refuse("cells.h5ad: the values are log1p (fractional values up to 15.524175, the first 3.1622777 of cell \"TCAGGCCTGACA-1\", gene \"GENE19\"), the model was trained on counts; give it counts (another layer of the file?), or declare them with --kind if they were taken for the wrong kind"),
            row("z-scores", |f| h5ad(f, &z_scores(&logarithms()))).model(Model::Log1p).refuse("cells.h5ad: cell \"TCAGGCCTGACA-1\", gene \"CD3E\": the value is -0.04773974; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)"),
            row("z-scores, to a model of counts", |f| h5ad(f, &z_scores(&logarithms())))
                .refuse("cells.h5ad: cell \"TCAGGCCTGACA-1\", gene \"CD3E\": the value is -0.04773974; expected zero or more; centred or z-scored values are not read, use the matrix from before scaling (raw, a layer, or the counts)"),
        ],
    }
}

fn mapped(mut cells: ExpressionMatrix, map: fn(f32) -> f32) -> ExpressionMatrix {
    cells.values.data.iter_mut().for_each(|value| *value = map(*value));
    cells
}

/// Values of zero stay zero, as in matrices that were scaled without centring; the others do not.
fn z_scores(cells: &ExpressionMatrix) -> ExpressionMatrix {
    mapped(cells.clone(), |value| (value - 2.5) / 1.2)
}

/// The last cell with the values of another file's.
fn with_last_as(mut cells: ExpressionMatrix, other: &ExpressionMatrix) -> ExpressionMatrix {
    let (genes, values) = other.values.row(3);
    let last = cells.n_obs() - 1;
    let start = cells.values.indptr[last];
    cells.values.indices.truncate(start);
    cells.values.data.truncate(start);
    cells.values.indices.extend(genes);
    cells.values.data.extend(values);
    cells.values.indptr[last + 1] = start + values.len();
    cells
}
