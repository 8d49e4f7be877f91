//! Quantisation-aware tuning on the rows of a file that a model was trained on.

use cic_data::AlignedMatrix;
use cic_model::provenance::Part;
use cic_model::spec::LayoutPlan;
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::{
    AwareReport, AwareSettings, MAX_CALIBRATION_ROWS, QuantizeOptions, calibration_rows, quantize,
    rows_of, tune_aware,
};

use super::Calibration;
use crate::failure::Failure;
use crate::promises::{PromiseCells, evenly};

/// Tunes `quantised`, which was made of `model`. Rows that ended training are held out; of a model that has none, an eighth of those
/// that it was fitted to.
pub(crate) fn tune(
    model: &Model<'_>,
    quantised: &[u8],
    cells: &AlignedMatrix,
    names: &[String],
    layouts: LayoutPlan,
) -> Result<(Vec<u8>, AwareReport), Failure> {
    let mut fit = rows_of(model, names, &[Part::Fit]);
    let mut held = rows_of(model, names, &[Part::EarlyStop]);
    if held.is_empty() {
        let is_held = |at: usize| at % 8 == 7;
        held = (0..fit.len()).filter(|&at| is_held(at)).map(|at| fit[at]).collect();
        fit = (0..fit.len()).filter(|&at| !is_held(at)).map(|at| fit[at]).collect();
    }
    if fit.is_empty() || held.is_empty() {
        return Err(Failure::input(format!(
            "{} of the model's training rows are in the data, {} of them to be held out; --qat needs both: give the data \
             that the model was trained on, with the same ids",
            fit.len() + held.len(),
            held.len()
        )));
    }
    let aligned = AlignedBytes::new(quantised);
    let quantised = Model::open(&aligned).map_err(Failure::internal)?;
    let [fit, held] = [fit, held].map(|rows| Calibration::of(cells, &rows));
    let sets = [&fit.set(), &held.set()];
    Ok(tune_aware(model, &quantised, sets, AwareSettings::default(), layouts)?)
}

/// An int8 model of one that has just been trained, with the default options of `cic-quantize --qat`; `cells` are those that
/// it was trained with, and promise what it promises.
pub(crate) fn trained(cells: &PromiseCells<'_>) -> Result<(Vec<u8>, AwareReport), Failure> {
    let PromiseCells { source: model, names, cells: aligned, .. } = cells;
    let options = QuantizeOptions { layouts: LayoutPlan::Fours, ..QuantizeOptions::new(Dtype::S8) };
    let rows = calibration_rows(model, names);
    let calibration = Calibration::of(aligned, &evenly(&rows, MAX_CALIBRATION_ROWS));
    let plain = quantize(model, &calibration.set(), &options)?;
    let (tuned, report) = tune(model, &plain, aligned, names, options.layouts)?;
    Ok((cells.renew_bytes(&tuned, options.layouts)?, report))
}

/// In a line.
pub(crate) fn summary(report: &AwareReport) -> String {
    let AwareReport { n_cells: [n, n_held], code_error, logit_error, epoch } = report;
    if *epoch == 0 {
        return format!(
            "--qat: nothing was nearer to f32 on {n_held} held-out cells; the integers stay as they were"
        );
    }
    format!(
        "--qat: on {n_held} held-out cells the code error fell from {:.4} to {:.4}, the logit error from {:.4} to {:.4} \
         (pass {epoch} over {n} cells)",
        code_error[0], code_error[1], logit_error[0], logit_error[1]
    )
}
