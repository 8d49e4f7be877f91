//! The cells that ranges are taken from.

use cic_data::CsrMatrix;
use cic_model::profile::{Library, Profile, library_size};
use cic_model::provenance::{Part, row_digest};
use cic_model::quant::ONE_Q30;
use cic_model::{Model, ValueKind};

/// Most cells that are used; of more, an even selection is taken.
pub const MAX_CALIBRATION_ROWS: usize = 2_048;

/// Calibration cells in the order of the panel. All genes of the panel are present: they are rows
/// of the training data.
#[derive(Clone, Copy, Debug)]
pub struct CalibrationSet<'a> {
    /// One row per cell, one column per gene of the panel.
    pub values: &'a CsrMatrix,
    /// Sum over all measured genes, per cell.
    pub totals: &'a [f64],
}

/// Rows of a file, by their names, that a model is calibrated with: the calibration part of its
/// training rows. A part so small that it was fitted too is no different from the other rows that
/// training saw, and those show more of the ranges; they are taken as well.
pub fn calibration_rows(model: &Model<'_>, names: &[String]) -> Vec<usize> {
    match is_calibration_fitted(model) {
        true => rows_of(model, names, fitted_parts(model)),
        false => rows_of(model, names, &[Part::Calibrate]),
    }
}

/// The parts of a model's rows that weights may be fitted to. A calibration part so small that it was fitted too is among
/// them.
pub fn fitted_parts(model: &Model<'_>) -> &'static [Part] {
    match is_calibration_fitted(model) {
        true => &[Part::Fit, Part::EarlyStop, Part::Calibrate],
        false => &[Part::Fit, Part::EarlyStop],
    }
}

fn is_calibration_fitted(model: &Model<'_>) -> bool {
    model.provenance().value("rows.calibrate.fitted") == Some("yes")
}

/// Rows of a file, by their names, that belong to some parts of a model's rows.
pub fn rows_of(model: &Model<'_>, names: &[String], parts: &[Part]) -> Vec<usize> {
    let is_taken = |name: &String| {
        let digest = row_digest(name);
        parts.iter().any(|&part| model.rows().contains(part, &digest))
    };
    let rows = names.iter().enumerate();
    rows.filter(|(_, name)| is_taken(name)).map(|(row, _)| row).collect()
}

/// Values of one cell and what they are divided by.
pub(crate) struct CalibrationCell<'a> {
    pub(crate) genes: &'a [u32],
    pub(crate) values: &'a [f32],
    /// Library size of a cell of counts; 0 otherwise.
    pub(crate) library: u32,
    /// `target_sum / library`, 1 without a library.
    pub(crate) factor: f32,
}

impl<'a> CalibrationSet<'a> {
    /// The cells that are not empty, with their rows: all of them, or `most` evenly spaced ones.
    pub(crate) fn cells(
        &self,
        profile: &Profile<'_>,
        most: usize,
    ) -> Vec<(usize, CalibrationCell<'a>)> {
        let n_rows = self.values.n_rows();
        let n_used = n_rows.min(most);
        (0..n_used)
            .map(|number| number * n_rows / n_used)
            .filter_map(|row| {
                let (genes, values) = self.values.row(row);
                let total = self.totals.get(row).copied().unwrap_or(0.0);
                let (library, factor) = divisor(profile, values, total)?;
                Some((row, CalibrationCell { genes, values, library, factor }))
            })
            .collect()
    }
}

fn divisor(profile: &Profile<'_>, values: &[f32], total: f64) -> Option<(u32, f32)> {
    let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
    let library = match (profile.kind(), profile.library()) {
        (ValueKind::Counts, Library::AllMeasured) => library_size(total as u64, ONE_Q30)?,
        (ValueKind::Counts, _) => library_size(sum as u64, ONE_Q30)?,
        _ => 0,
    };
    Some((library, profile.factor(sum, total, ONE_Q30)?))
}
