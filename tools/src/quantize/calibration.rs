//! Cells that are calibrated with.

use std::path::Path;

use cic_data::{AlignedMatrix, AnnDataOut, Column, CsrMatrix, ObsTable, SplitPart, write_h5ad};
use cic_model::Model;
use cic_model::provenance::Part;
use cic_quant::{CalibrationSet, MAX_CALIBRATION_ROWS, QuantizeOptions, quantize};

use crate::console::tell;
use crate::dataset::Dataset;
use crate::failure::Failure;
use crate::output;

/// Quantises with some rows of an aligned file.
pub(crate) fn quantize_rows(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
    options: &QuantizeOptions,
) -> Result<Vec<u8>, Failure> {
    Ok(quantize(model, &Calibration::of(cells, rows).set(), options)?)
}

/// Some rows of an aligned file, to calibrate with.
pub(crate) struct Calibration {
    values: CsrMatrix,
    totals: Vec<f64>,
}

impl Calibration {
    pub(super) fn of(cells: &AlignedMatrix, rows: &[usize]) -> Self {
        let totals = rows.iter().map(|&row| cells.totals[row]).collect();
        Self { values: cells.values.select_rows(rows), totals }
    }

    pub(crate) fn set(&self) -> CalibrationSet<'_> {
        CalibrationSet { values: &self.values, totals: &self.totals }
    }

    /// Writes the cells over the panel of `model`.
    pub(super) fn write(
        &self,
        path: &Path,
        model: &Model<'_>,
        names: Vec<String>,
        labels: Option<(&str, Column)>,
    ) -> Result<(), Failure> {
        let panel = model.genes();
        let genes: Vec<String> = (0..model.n_genes()).map(|gene| panel.id(gene).into()).collect();
        let mut obs = ObsTable::default();
        obs.insert("total_counts", Column::F64(self.totals.clone()));
        if let Some((key, labels)) = labels {
            obs.insert(key, labels);
        }
        let out = AnnDataOut {
            obs_names: &names,
            obs,
            var_names: &genes,
            x: Some(&self.values),
            ..AnnDataOut::default()
        };
        write_h5ad(path, &out).map_err(|error| output::failed(path, error))
    }
}

/// The rows to calibrate with, by the digests that the model carries. A split, if given, must not
/// call any of them test.
pub(crate) fn calibration_rows(
    model: &Model<'_>,
    dataset: &Dataset,
    split: Option<&[Option<SplitPart>]>,
) -> Result<Vec<usize>, Failure> {
    let path = dataset.matrix.source.path.display();
    let rows = model.rows();
    if rows.part(Part::Calibrate).is_empty() {
        return Err(Failure::Model(anyhow::anyhow!(
            "the model does not name its calibration rows; train it with more rows"
        )));
    }
    let names = &dataset.matrix.obs_names;
    let found = cic_quant::calibration_rows(model, names);
    if found.is_empty() {
        return Err(Failure::input(format!(
            "{path}: none of its {} cells (the first is {:?}) belongs to the calibration part of \
             the model's training rows; calibrate with the data that the model was trained on, \
             with the same ids",
            names.len(),
            names.first().map_or("", |name| name),
        )));
    }
    refuse_test_rows(dataset, split, &found)?;
    Ok(found)
}

/// Refuses a split that calls rows test which the model was trained with.
pub(crate) fn refuse_test_rows(
    dataset: &Dataset,
    split: Option<&[Option<SplitPart>]>,
    trained: &[usize],
) -> Result<(), Failure> {
    let is_test = |split: &[Option<SplitPart>], row: usize| split[row] == Some(SplitPart::Test);
    let row = split.and_then(|split| trained.iter().find(|&&row| is_test(split, row)));
    let Some(&row) = row else { return Ok(()) };
    Err(Failure::input(format!(
        "{path}: the split calls cell {:?} test, but the model was trained with it; give the \
         split that the model was trained with",
        dataset.matrix.obs_names[row],
        path = dataset.matrix.source.path.display(),
    )))
}

/// Refuses too small a part of the cells that the model is calibrated with, and says where some are lacking.
pub(super) fn check_enough(
    model: &Model<'_>,
    n_found: usize,
    path: &Path,
    quiet: bool,
) -> Result<(), Failure> {
    let n_known = model.rows().part(Part::Calibrate).len();
    let path = path.display();
    let least = n_known.min(LEAST_CELLS);
    if n_found < least {
        return Err(Failure::input(format!(
            "{path}: has {n_found} of the {n_known} cells that the model is calibrated with, and at least {least} are \
             needed; give the data that the model was trained on"
        )));
    }
    if n_found < n_known.min(MAX_CALIBRATION_ROWS) && !quiet {
        tell(format_args!(
            "note: {n_found} of the {n_known} cells that the model is calibrated with are in {path}; where they are not a fair \
             sample of them, neither are ranges and the figures below"
        ));
    }
    Ok(())
}

/// With fewer cells ranges and means are chance, unless the model knows no more.
const LEAST_CELLS: usize = 10;
