//! Levels of the network inputs: the range of an input profile, chosen on the calibration cells.

use cic_model::ValueKind;
use cic_model::profile::{
    CountLevels, N_THRESHOLDS, Profile, fit_count_thresholds, fit_value_thresholds, is_scaled,
    value_level,
};
use cic_model::quant::LEVEL_MAX;
use cic_model::spec::LevelsSpec;

use crate::calibration::CalibrationCell;
use crate::error::QuantError;

/// Network inputs `[n × n_genes]` in full precision.
pub(crate) fn inputs(profile: &Profile<'_>, cells: &[CalibrationCell<'_>]) -> Vec<f32> {
    let n_genes = profile.fill_values().len();
    let mut inputs = vec![0.0; cells.len() * n_genes];
    for (cell, row) in cells.iter().zip(inputs.chunks_exact_mut(n_genes)) {
        for (&gene, &value) in cell.genes.iter().zip(cell.values) {
            row[gene as usize] = profile.input(value, cell.factor);
        }
    }
    inputs
}

/// Levels of the same cells, `[n × n_genes]`.
pub(crate) fn levels(
    profile: &Profile<'_>,
    spec: &LevelsSpec,
    cells: &[CalibrationCell<'_>],
) -> Vec<u8> {
    let n_genes = profile.fill_values().len();
    // A gene that is not listed is zero, which is level 0 unless the profile has an offset.
    let zero = value_level(&spec.value_thresholds, 0.0);
    let mut levels = vec![zero; cells.len() * n_genes];
    let scaled_target = u64::from(profile.target_sum()) << spec.shift;
    for (cell, row) in cells.iter().zip(levels.chunks_exact_mut(n_genes)) {
        let mut of_counts =
            CountLevels::with_thresholds(&spec.count_thresholds, scaled_target, cell.library);
        for (&gene, &value) in cell.genes.iter().zip(cell.values) {
            row[gene as usize] = if profile.kind() == ValueKind::Counts {
                // Integers below 2²⁴ by the contract of the rows.
                of_counts.level(value as u32)
            } else {
                let factor = if is_scaled(profile.kind()) { cell.factor } else { 1.0 };
                value_level(&spec.value_thresholds, value * factor)
            };
        }
    }
    levels
}

/// Share of the range seen by which inputs may exceed it before clipping begins: the fewer cells
/// were seen, the more.
fn margin(n_cells: usize) -> f64 {
    0.01 + 2.0 / n_cells.max(4) as f64
}

/// Thresholds that cover the inputs of the calibration cells and a margin, but nothing that cannot
/// occur.
pub(crate) fn fit(profile: &Profile<'_>, inputs: &[f32]) -> Result<LevelsSpec, QuantError> {
    let seen = || inputs.iter().copied().filter(|&x| x != 0.0).map(f64::from);
    let min = seen().fold(f64::INFINITY, f64::min);
    let max = seen().fold(f64::NEG_INFINITY, f64::max);
    let no_range = || QuantError::InputRange { profile: profile.name().into(), max };
    // Where zero means something, it is level 0.
    let begin = if profile.is_sparse() { 0.0 } else { min };
    let n_cells = inputs.len() / profile.fill_values().len().max(1);
    let margin = margin(n_cells) * (max - begin);
    let offset = if profile.is_sparse() { 0.0 } else { begin - margin };
    // No gene has more than the whole library.
    let largest = match is_scaled(profile.kind()) {
        true => f64::from(profile.target_sum()).ln_1p(),
        false => f64::INFINITY,
    };
    let scale = ((max + margin).min(largest.max(max)) - offset) / f64::from(LEVEL_MAX);
    if !scale.is_finite() || scale <= 0.0 {
        return Err(no_range());
    }
    // The levels are what the stored single-precision scale says.
    let scale = f64::from(scale as f32);
    let offset = f64::from(offset as f32);
    let (shift, count_thresholds) = match profile.kind() {
        ValueKind::Counts => {
            fit_count_thresholds(profile.target_sum(), scale).ok_or_else(no_range)?
        }
        _ => (0, [0; N_THRESHOLDS]),
    };
    let value_thresholds = fit_value_thresholds(profile.kind(), scale, offset);
    let fill_levels = profile.fill_values().iter().map(|&fill| level_of(fill, scale, offset));
    Ok(LevelsSpec {
        scale: scale as f32,
        offset: offset as f32,
        shift,
        count_thresholds: count_thresholds.to_vec(),
        value_thresholds: value_thresholds.to_vec(),
        fill_levels: fill_levels.collect(),
    })
}

fn level_of(x: f32, scale: f64, offset: f64) -> u8 {
    // In 0..=127 after the clamp.
    ((f64::from(x) - offset) / scale).round().clamp(0.0, f64::from(LEVEL_MAX)) as u8
}
