//! Weights to signed 8-bit integers, one scale per output row.
//!
//! Rounding each weight to the nearest integer is the smallest error per weight, not per output:
//! inputs vary together. Starting from the nearest, weights are moved to their other neighbour as
//! long as that lowers, for the row's error `d` and the covariance `C` of the input levels,
//! `dᵀ ((1 − s) C + s diag C) d`. The shrinkage `s` towards the diagonal keeps a few hundred
//! calibration cells from being fitted by heart.

use cic_model::quant::WEIGHT_MAX;

/// Share of the diagonal in the covariance.
const SHRINKAGE: f64 = 0.3;

/// Passes over a row's weights.
const PASSES: usize = 3;

/// Products that one layer's rounding may cost; fewer cells are used for larger layers.
const MAX_PRODUCTS: usize = 6_000_000_000;

/// Fractions of a row's largest weight that are tried as its range.
const RANGES: [f64; 6] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.7];

/// Rounded rows: `weight ≈ scales[row] · weights[row][column]`.
pub(crate) struct Rounded {
    /// `[out_dim × in_dim]`
    pub(crate) weights: Vec<i8>,
    /// `[out_dim]`, positive.
    pub(crate) scales: Vec<f64>,
}

/// The levels of the calibration cells, centred, by column.
pub(crate) struct Columns {
    n: usize,
    /// `[in_dim × n]`
    centred: Vec<f32>,
    /// `[in_dim]`
    variances: Vec<f64>,
}

impl Columns {
    /// `levels` is `[n × in_dim]`; cells are left out, evenly, where the layer is large.
    pub(crate) fn new(levels: &[u8], in_dim: usize, out_dim: usize) -> Self {
        let n_rows = levels.len() / in_dim.max(1);
        let affordable = MAX_PRODUCTS / (in_dim * out_dim * PASSES).max(1);
        let n = n_rows.min(affordable.clamp(16, 512));
        let rows = (0..n).map(|number| number * n_rows / n);
        let rows: Vec<&[u8]> = rows.map(|row| &levels[row * in_dim..(row + 1) * in_dim]).collect();
        let mut centred = Vec::with_capacity(n * in_dim);
        let mut variances = Vec::with_capacity(in_dim);
        for column in 0..in_dim {
            let sum: f64 = rows.iter().map(|row| f64::from(row[column])).sum();
            let mean = sum / n.max(1) as f64;
            let mut squares = 0.0;
            for row in &rows {
                let value = f64::from(row[column]) - mean;
                squares += value * value;
                centred.push(value as f32);
            }
            variances.push(squares / n.max(1) as f64);
        }
        Self { n, centred, variances }
    }

    fn column(&self, column: usize) -> &[f32] {
        &self.centred[column * self.n..(column + 1) * self.n]
    }
}

/// Rounds every row. `weights` is `[out_dim × in_dim]`, per input level; `min_scale(row)` is the
/// smallest scale with which the row's sums fit 32 bits.
pub(crate) fn round(
    weights: &[f64],
    in_dim: usize,
    columns: &Columns,
    min_scale: impl Fn(usize) -> f64,
) -> Rounded {
    let mut rounded = Rounded { weights: Vec::with_capacity(weights.len()), scales: Vec::new() };
    for (row, weights) in weights.chunks_exact(in_dim.max(1)).enumerate() {
        let scale = best_scale(weights, columns).max(min_scale(row)).max(f64::MIN_POSITIVE);
        let mut integers: Vec<i8> = weights.iter().map(|&w| nearest(w, scale)).collect();
        improve(weights, scale, columns, &mut integers);
        rounded.weights.extend(integers);
        rounded.scales.push(scale);
    }
    rounded
}

fn best_scale(weights: &[f64], columns: &Columns) -> f64 {
    let max = weights.iter().fold(0.0_f64, |max, w| max.max(w.abs()));
    let error = |scale: f64| -> f64 {
        let pairs = weights.iter().zip(&columns.variances);
        pairs.map(|(&w, v)| (w - scale * f64::from(nearest(w, scale))).powi(2) * (v + 1e-6)).sum()
    };
    let scales = RANGES.map(|range| range * max / f64::from(WEIGHT_MAX));
    scales.into_iter().min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0.0)
}

fn improve(weights: &[f64], scale: f64, columns: &Columns, integers: &mut [i8]) {
    let mut differences: Vec<f64> =
        weights.iter().zip(&*integers).map(|(w, &q)| w - scale * f64::from(q)).collect();
    // Σ d · level of each cell: the row's error in each cell.
    let mut errors = vec![0.0_f32; columns.n];
    for (column, &difference) in differences.iter().enumerate() {
        add_scaled(&mut errors, difference as f32, columns.column(column));
    }
    for _ in 0..PASSES {
        let mut has_changed = false;
        for column in 0..weights.len() {
            let variance = columns.variances[column];
            let difference = differences[column];
            let step: i8 = if difference > 0.0 { 1 } else { -1 };
            let moved = integers[column].saturating_add(step);
            if variance == 0.0 || moved < -WEIGHT_MAX || moved == integers[column] {
                continue;
            }
            let change = -scale * f64::from(step);
            let values = columns.column(column);
            let product = f64::from(dot(&errors, values)) / columns.n as f64;
            let joint = 2.0 * change * product + change * change * variance;
            let single = variance * (2.0 * difference * change + change * change);
            if (1.0 - SHRINKAGE) * joint + SHRINKAGE * single < 0.0 {
                integers[column] = moved;
                differences[column] += change;
                add_scaled(&mut errors, change as f32, values);
                has_changed = true;
            }
        }
        if !has_changed {
            break;
        }
    }
}

fn nearest(weight: f64, scale: f64) -> i8 {
    if scale <= 0.0 {
        return 0;
    }
    // In −127..=127 after the clamp.
    (weight / scale).round().clamp(-f64::from(WEIGHT_MAX), f64::from(WEIGHT_MAX)) as i8
}

fn add_scaled(sums: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// Eight partial sums, so that the loop can use vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f32 = rest.map(|(&x, &y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + rest
}
