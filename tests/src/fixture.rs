//! The committed fixture: a full-precision model trained on simulated cells. Trained weights may
//! differ between machines, quantised ones of the same weights do not.

use std::path::PathBuf;

use cic_data::simulate::{SimulatedCells, Simulation};
use cic_data::{AlignedMatrix, DataError, align};
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::{
    CalibrationSet, Int8Options, QuantError, QuantizeOptions, calibration_rows, quantize,
};

/// The cells that the fixture was trained on.
pub fn cells() -> SimulatedCells {
    Simulation {
        n_cells: 1_500,
        n_genes: 1_200,
        n_types: 6,
        seed: 20_190_219,
        ..Default::default()
    }
    .run()
}

/// Where the fixture is.
pub fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/fixture/simulated.cic"))
}

/// The fixture's bytes.
pub fn bytes() -> std::io::Result<AlignedBytes> {
    Ok(AlignedBytes::new(&std::fs::read(path())?))
}

/// The fixture as int8, or another model with the same panel and rows.
pub fn quantised(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    names: &[String],
    to: Dtype,
) -> Result<Vec<u8>, QuantError> {
    let rows = calibration_rows(model, names);
    let values = cells.values.select_rows(&rows);
    let totals: Vec<f64> = rows.iter().map(|&row| cells.totals[row]).collect();
    let mut options = QuantizeOptions::new(to);
    // Recorded sizes and counts of instructions are of this one.
    options.int8 = Int8Options::plain();
    options.with_decoder = false;
    quantize(model, &CalibrationSet { values: &values, totals: &totals }, &options)
}

/// The simulated cells in the panel of a model.
pub fn aligned(model: &Model<'_>, cells: &SimulatedCells) -> Result<AlignedMatrix, DataError> {
    align(&cells.matrix, model.genes())
}
