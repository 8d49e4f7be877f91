//! Levels of the network inputs: the range of an input profile, chosen on the calibration cells.

use cic_model::profile::{
    CountLevels, N_THRESHOLDS, Profile, fit_count_thresholds, fit_value_thresholds, is_scaled,
    value_level,
};
use cic_model::quant::LEVEL_MAX;
use cic_model::spec::LevelsSpec;
use cic_model::{DenseLayer, ValueKind};

use crate::calibration::CalibrationCell;
use crate::error::QuantError;
use crate::matrix::affine;

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

/// Thresholds whose range gives the smallest error of the first layer's sums: candidates end at
/// the largest input and at quantiles below it.
pub(crate) fn fit(
    profile: &Profile<'_>,
    first: &DenseLayer,
    inputs: &[f32],
) -> Result<LevelsSpec, QuantError> {
    let mut sorted: Vec<f32> = inputs.iter().copied().filter(|&x| x != 0.0).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let max = sorted.last().copied().map_or(0.0, f64::from);
    let no_range = || QuantError::InputRange { profile: profile.name().into(), max };
    // Below the smallest input nothing is lost by starting there, where zero means nothing.
    let offset = match profile.is_sparse() {
        true => 0.0,
        false => sorted.first().copied().map_or(0.0, f64::from),
    };
    let mut best: Option<(f64, f64)> = None;
    for quantile in [1.0, 0.9999, 0.9995, 0.999, 0.998] {
        let at = ((sorted.len().saturating_sub(1)) as f64 * quantile).round() as usize;
        let Some(&end) = sorted.get(at) else { continue };
        let scale = (f64::from(end) - offset) / f64::from(LEVEL_MAX);
        if scale.is_nan() || scale <= 0.0 {
            continue;
        }
        let error = level_error(first, inputs, scale, offset);
        if best.is_none_or(|(smallest, _)| error < smallest) {
            best = Some((error, scale));
        }
    }
    let (_, scale) = best.ok_or_else(no_range)?;
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

/// Mean square of what the rounding of the inputs adds to the first layer's sums, each relative
/// to its row's variance; the mean of each row is left out, because the bias takes it up.
fn level_error(first: &DenseLayer, inputs: &[f32], scale: f64, offset: f64) -> f64 {
    let errors: Vec<f32> = inputs
        .iter()
        .map(|&x| {
            if x == 0.0 && offset == 0.0 {
                return 0.0;
            }
            let level = f64::from(level_of(x, scale, offset));
            (level * scale + offset - f64::from(x)) as f32
        })
        .collect();
    let of_errors = variances(&affine(first, &errors), first.out_dim());
    let of_sums = variances(&affine(first, inputs), first.out_dim());
    of_errors.iter().zip(of_sums).map(|(error, sum)| error / sum.max(1e-12)).sum()
}

fn variances(values: &[f32], width: usize) -> Vec<f64> {
    let n = (values.len() / width.max(1)).max(1) as f64;
    let (mut sums, mut squares) = (vec![0.0; width], vec![0.0; width]);
    for row in values.chunks_exact(width.max(1)) {
        for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(row) {
            *sum += f64::from(value);
            *square += f64::from(value) * f64::from(value);
        }
    }
    sums.iter()
        .zip(squares)
        .map(|(sum, square)| (square / n - (sum / n).powi(2)).max(0.0))
        .collect()
}

fn level_of(x: f32, scale: f64, offset: f64) -> u8 {
    // In 0..=127 after the clamp.
    ((f64::from(x) - offset) / scale).round().clamp(0.0, f64::from(LEVEL_MAX)) as u8
}
