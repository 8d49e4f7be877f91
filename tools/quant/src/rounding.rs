//! Weights to signed 8-bit integers, one scale per output row: the one of a few with the smallest error of the nearest integers,
//! weighted by how much the inputs vary. What the rounding errors add up to on average goes into the bias, elsewhere.

use cic_model::quant::WEIGHT_MAX;

use crate::fitted_rounding;

/// How weights become integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Each to the nearest.
    #[default]
    Nearest,
    /// Each to the one with which the outputs of its layer are nearest to those of the unrounded weights, on the calibration
    /// cells and with all other weights as they are.
    Fitted,
}

impl Rounding {
    /// `nearest` or `fitted`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Fitted => "fitted",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Nearest, Self::Fitted].into_iter().find(|rounding| rounding.name() == name)
    }
}

/// Fractions of a row's largest weight that are tried as its range.
const RANGES: [f64; 6] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.7];

/// Rounded rows: `weight ≈ scales[row] · weights[row][column]`.
pub(crate) struct Rounded {
    /// `[out_dim × in_dim]`
    pub(crate) weights: Vec<i8>,
    /// `[out_dim]`, positive.
    pub(crate) scales: Vec<f64>,
}

/// Rounds every row. `weights` is `[out_dim × in_dim]`, per input level, `levels` `[n × in_dim]`; `min_scale(row)` is the
/// smallest scale with which the row's sums fit 32 bits.
pub(crate) fn round(
    weights: &[f64],
    in_dim: usize,
    levels: &[u8],
    rounding: Rounding,
    min_scale: impl Fn(usize) -> f64,
) -> Rounded {
    let variances = Moments::of(levels, in_dim).variances;
    let mut rounded = round_rows(weights, in_dim, &variances, min_scale);
    if rounding == Rounding::Fitted {
        fitted_rounding::refine(&mut rounded, weights, in_dim, levels);
    }
    rounded
}

/// Each weight to the nearest, `variances` of the inputs in the units that `weights` are for.
pub(crate) fn round_rows(
    weights: &[f64],
    in_dim: usize,
    variances: &[f64],
    min_scale: impl Fn(usize) -> f64,
) -> Rounded {
    let mut rounded = Rounded { weights: Vec::with_capacity(weights.len()), scales: Vec::new() };
    for (row, weights) in weights.chunks_exact(in_dim.max(1)).enumerate() {
        let scale = best_scale(weights, variances).max(min_scale(row)).max(f64::MIN_POSITIVE);
        rounded.weights.extend(weights.iter().map(|&weight| nearest(weight, scale)));
        rounded.scales.push(scale);
    }
    rounded
}

fn best_scale(weights: &[f64], variances: &[f64]) -> f64 {
    let max = weights.iter().fold(0.0_f64, |max, w| max.max(w.abs()));
    let error = |scale: f64| -> f64 {
        let pairs = weights.iter().zip(variances);
        pairs.map(|(&w, v)| (w - scale * f64::from(nearest(w, scale))).powi(2) * (v + 1e-6)).sum()
    };
    let scales = RANGES.map(|range| range * max / f64::from(WEIGHT_MAX));
    scales.into_iter().min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0.0)
}

fn nearest(weight: f64, scale: f64) -> i8 {
    if scale <= 0.0 {
        return 0;
    }
    // In −127..=127 after the clamp.
    (weight / scale).round().clamp(-f64::from(WEIGHT_MAX), f64::from(WEIGHT_MAX)) as i8
}

/// What each input is on average over the calibration cells, and how it varies: `[in_dim]` from `[n × in_dim]`.
pub(crate) struct Moments {
    pub(crate) means: Vec<f64>,
    pub(crate) variances: Vec<f64>,
}

impl Moments {
    pub(crate) fn of<X: Copy + Into<f64>>(values: &[X], in_dim: usize) -> Self {
        let n = (values.len() / in_dim.max(1)).max(1) as f64;
        let (mut sums, mut squares) = (vec![0.0; in_dim], vec![0.0; in_dim]);
        for row in values.chunks_exact(in_dim.max(1)) {
            for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(row) {
                let value: f64 = value.into();
                *sum += value;
                *square += value * value;
            }
        }
        let means: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
        let variances = means.iter().zip(squares).map(|(mean, square)| square / n - mean * mean);
        Self { variances: variances.collect(), means }
    }
}
