//! Levels of the network inputs: the range of an input profile, chosen on the calibration cells.

use cic_model::ValueKind;
use cic_model::profile::{
    CountLevels, GeneScale, N_THRESHOLDS, Profile, fit_count_thresholds, fit_value_thresholds,
    has_gene_scales, is_scaled, limited_unit, value_level,
};
use cic_model::quant::LEVEL_MAX;
use cic_model::spec::LevelsSpec;

use crate::calibration::CalibrationCell;
use crate::error::QuantError;
use crate::range_method::{Begin, RangeMethod};

/// Network inputs `[n × n_genes]` in full precision.
pub(crate) fn inputs(profile: &Profile<'_>, cells: &[CalibrationCell<'_>]) -> Vec<f32> {
    let n_genes = profile.fill_values().len();
    let mut inputs = vec![0.0; cells.len() * n_genes];
    for (cell, row) in cells.iter().zip(inputs.chunks_exact_mut(n_genes)) {
        for (&gene, &value) in cell.genes.iter().zip(cell.values) {
            row[gene as usize] = profile.input(gene as usize, value, cell.factor);
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
    // A gene that is not listed is zero.
    let zeros: Vec<u8> = (0..n_genes).map(|gene| level_of_value(spec, gene, 0.0, 1.0)).collect();
    let mut levels = zeros.repeat(cells.len());
    let scaled_target = u64::from(profile.target_sum()) << spec.shift;
    for (cell, row) in cells.iter().zip(levels.chunks_exact_mut(n_genes)) {
        let mut of_counts =
            CountLevels::with_thresholds(&spec.count_thresholds, scaled_target, cell.library);
        for (&gene, &value) in cell.genes.iter().zip(cell.values) {
            let gene = gene as usize;
            let level = if profile.kind() == ValueKind::Counts {
                // Integers below 2²⁴ by the contract of the rows.
                of_counts.level(value as u32)
            } else {
                level_of_value(spec, gene, value, cell.factor)
            };
            row[gene] = spec.level_limits.get(gene).map_or(level, |&limit| level.min(limit));
        }
    }
    levels
}

/// `factor` is 1 without a library.
fn level_of_value(spec: &LevelsSpec, gene: usize, value: f32, factor: f32) -> u8 {
    let compared = match spec.gene_scales.get(gene) {
        Some(scale) => scale.apply(value),
        None => value * factor,
    };
    value_level(&spec.value_thresholds, compared)
}

/// `[n_genes]`: the network input is `scale · level + offset`. `limits` are those of the profile.
pub(crate) fn input_scales(spec: &LevelsSpec, limits: &[f32], n_genes: usize) -> Vec<(f64, f64)> {
    let (scale, offset) = (f64::from(spec.scale), f64::from(spec.offset));
    if !limits.is_empty() {
        let pairs = limits.iter().zip(&spec.level_limits);
        return pairs.map(|(&limit, &level)| (limited_unit(scale, limit, level), offset)).collect();
    }
    if spec.gene_scales.is_empty() {
        return vec![(scale, offset); n_genes];
    }
    let of_gene = |gene: &GeneScale| {
        let gain = f64::from(gene.gain);
        (scale / gain, f64::from(gene.offset) + offset / gain)
    };
    spec.gene_scales.iter().map(of_gene).collect()
}

/// Share of the range seen by which inputs may exceed it before clipping begins: the fewer cells
/// were seen, the more.
fn margin(n_cells: usize) -> f64 {
    0.01 + 2.0 / n_cells.max(4) as f64
}

/// Thresholds that cover the inputs of the calibration cells and a margin, but nothing that cannot
/// occur. Where ranges are those of genes, `method` chooses each of them; else it chooses among inputs that are not zero.
pub(crate) fn fit(
    profile: &Profile<'_>,
    inputs: &[f32],
    method: RangeMethod,
) -> Result<LevelsSpec, QuantError> {
    if has_gene_scales(profile.kind()) {
        return fit_gene_scales(profile.name(), profile.fill_values(), inputs, method);
    }
    let expressed: Vec<f32> = inputs.iter().copied().filter(|&x| x != 0.0).collect();
    let (_, max) = method.bounds(&expressed, Begin::Zero);
    let no_range = || QuantError::InputRange { profile: profile.name().into(), max };
    let n_cells = inputs.len() / profile.fill_values().len().max(1);
    // No gene has more than the whole library.
    let largest = match is_scaled(profile.kind()) {
        true => f64::from(profile.target_sum()).ln_1p(),
        false => f64::INFINITY,
    };
    // Zero means something, so it is level 0.
    let margin = method.margin(margin(n_cells));
    let scale = (max + margin * max).min(largest.max(max)) / f64::from(LEVEL_MAX);
    if !scale.is_finite() || scale <= 0.0 {
        return Err(no_range());
    }
    // The levels are what the stored single-precision scale says.
    let scale = f64::from(scale as f32);
    let (shift, count_thresholds) = match profile.kind() {
        ValueKind::Counts => {
            fit_count_thresholds(profile.target_sum(), scale).ok_or_else(no_range)?
        }
        _ => (0, [0; N_THRESHOLDS]),
    };
    // The nearest level stands for the limit, but none is zero, which a gene that is not there has.
    let limits = profile.limits();
    let level_limits: Vec<u8> =
        limits.iter().map(|&limit| nearest(f64::from(limit) / scale).max(1)).collect();
    let unit = |gene: usize| match (limits.get(gene), level_limits.get(gene)) {
        (Some(&limit), Some(&level)) => limited_unit(scale, limit, level),
        _ => scale,
    };
    let fill_levels = profile.fill_values().iter().enumerate();
    let fill_levels = fill_levels.map(|(gene, &fill)| nearest(f64::from(fill) / unit(gene)));
    let fill_levels = fill_levels.collect();
    Ok(LevelsSpec {
        scale: scale as f32,
        offset: 0.0,
        shift,
        count_thresholds: count_thresholds.to_vec(),
        value_thresholds: fit_value_thresholds(profile.kind(), scale, 0.0).to_vec(),
        fill_levels,
        level_limits,
        gene_scales: Vec::new(),
    })
}

/// By how much the range of a gene ends below what the calibration cells show, in widths of a
/// typical gene: the fewer cells were seen, the more. In these rather than in its own width,
/// because a gene that is silent in the calibration cells may be the marker of a type that they
/// lack. For the same reason ranges end twice as far above.
fn gene_margin(n_cells: usize) -> f64 {
    0.4 + 6.0 / n_cells.max(10) as f64
}

/// A range for every gene, within the range of all of them and its margin. What is compared counts
/// levels: the thresholds are ½, 1½, ….
fn fit_gene_scales(
    profile: &str,
    fill_values: &[f32],
    inputs: &[f32],
    method: RangeMethod,
) -> Result<LevelsSpec, QuantError> {
    let n_genes = fill_values.len().max(1);
    let n_cells = inputs.len() / n_genes;
    let column =
        |gene: usize| -> Vec<f32> { inputs.iter().skip(gene).step_by(n_genes).copied().collect() };
    let bounds: Vec<(f64, f64)> =
        (0..n_genes).map(|gene| method.bounds(&column(gene), Begin::Free)).collect();
    let (min, max) = bounds
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |all, of| (all.0.min(of.0), all.1.max(of.1)));
    let mut widths: Vec<f64> = bounds.iter().map(|(lo, hi)| hi - lo).collect();
    widths.sort_unstable_by(f64::total_cmp);
    // Too few cells show no width; then the range of all genes stands for it.
    let typical = [widths[n_genes / 2], max - min].into_iter().find(|&width| width > 0.0);
    let typical = typical.unwrap_or(1.0);
    let slack = margin(n_cells) * (max - min).max(typical);
    // Also where `method` leaves values outside: a gene that is silent here has no range of its own.
    let margin = gene_margin(n_cells) * typical;
    let mut gene_scales = Vec::with_capacity(n_genes);
    for (lo, hi) in bounds {
        let lo = (lo - margin).max(min - slack);
        let hi = (hi + 2.0 * margin).min(max + slack);
        let gain = (f64::from(LEVEL_MAX) / (hi - lo)) as f32;
        if !(gain.is_finite() && gain > 0.0) {
            return Err(QuantError::InputRange { profile: profile.into(), max });
        }
        gene_scales.push(GeneScale { offset: lo as f32, gain });
    }
    let fill_levels = fill_values.iter().zip(&gene_scales);
    Ok(LevelsSpec {
        scale: 1.0,
        offset: 0.0,
        shift: 0,
        count_thresholds: vec![0; N_THRESHOLDS],
        value_thresholds: fit_value_thresholds(ValueKind::Log2Intensity, 1.0, 0.0).to_vec(),
        fill_levels: fill_levels.map(|(&fill, gene)| nearest(gene.apply(fill).into())).collect(),
        level_limits: Vec::new(),
        gene_scales,
    })
}

fn nearest(level: f64) -> u8 {
    // In 0..=127 after the clamp.
    level.round().clamp(0.0, f64::from(LEVEL_MAX)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genes_of_different_ranges_use_most_of_their_levels() {
        // Three genes of width 1 at 5, 9 and 13.
        let cells: Vec<[f32; 3]> = (0..50_u8)
            .map(|cell| [5.0, 9.0, 13.0].map(|begin| begin + f32::from(cell) / 49.0))
            .collect();
        let spec =
            fit_gene_scales("intensities", &[5.5, 9.0, 20.0], &cells.concat(), RangeMethod::MinMax)
                .unwrap();
        let scales = input_scales(&spec, &[], 3);
        for value in cells.concat() {
            let gene = ((value - 5.0) / 4.0) as usize;
            let (scale, offset) = scales[gene];
            let level = level_of_value(&spec, gene, value, 1.0);
            let back = scale * f64::from(level) + offset;
            assert!((back - f64::from(value)).abs() <= 0.51 * scale, "{value} became {back}");
            assert!(scale < 0.03, "{scale}");
        }
        let fill = |gene: usize| level_of_value(&spec, gene, [5.5, 9.0, 20.0][gene], 1.0);
        assert_eq!(spec.fill_levels, [fill(0), fill(1), 127]);
    }

    /// The highest level of a gene is its limit, whatever the scale of the others.
    #[test]
    fn the_highest_level_of_a_limited_gene_is_its_limit() {
        let scale = 0.07;
        for limit in [0.001_f32, 0.034, 0.1, 0.5, 3.3, 8.8] {
            let level = nearest(f64::from(limit) / scale).max(1);
            let spec = LevelsSpec {
                scale: scale as f32,
                offset: 0.0,
                shift: 0,
                count_thresholds: vec![0; N_THRESHOLDS],
                value_thresholds: fit_value_thresholds(ValueKind::Log1p, scale, 0.0).to_vec(),
                fill_levels: vec![0],
                level_limits: vec![level],
                gene_scales: Vec::new(),
            };
            let [(unit, _)] = input_scales(&spec, &[limit], 1)[..] else { panic!("one gene") };
            assert!((unit * f64::from(level) - f64::from(limit)).abs() < 1e-6, "{limit}: {unit}");
        }
        let level = nearest(20.0 / scale);
        assert_eq!((level, limited_unit(scale, 20.0, level)), (127, scale));
    }

    #[test]
    fn constant_genes_and_single_cells_have_ranges() {
        for inputs in [&[7.0, 9.0][..], &[7.0, 7.0], &[0.0, 0.0], &[7.0, 9.0, 7.0, 9.5]] {
            let spec =
                fit_gene_scales("intensities", &[7.0, 9.0], inputs, RangeMethod::MinMax).unwrap();
            assert!(spec.gene_scales.iter().all(|gene| gene.gain.is_finite() && gene.gain > 0.0));
        }
        let infinite = [7.0, f32::INFINITY];
        assert!(
            fit_gene_scales("intensities", &[7.0, 9.0], &infinite, RangeMethod::MinMax).is_err()
        );
    }
}
