//! Batch normalisation (Ioffe and Szegedy 2015) of a layer's pre-activations.

use super::parameter::Parameter;
use super::simd::vectorised;

/// Normalises each unit over the rows of the batch, then scales and shifts it.
pub(crate) struct BatchNorm {
    /// `[1 × units]`
    pub(crate) scale: Parameter,
    /// `[1 × units]`
    pub(crate) shift: Parameter,
    /// `[units]`, used at inference.
    pub(crate) running_mean: Vec<f32>,
    /// `[units]`, unbiased, used at inference.
    pub(crate) running_variance: Vec<f32>,
    /// `[max_rows × units]` normalised values, for the backward pass.
    normalised: Vec<f32>,
    /// `[units]` of the batch.
    inverse_sd: Vec<f32>,
    sums: [Vec<f32>; 2],
}

impl BatchNorm {
    pub(crate) fn new(units: usize, max_rows: usize) -> Self {
        let mut scale = Parameter::new(1, units, false);
        scale.value.fill(1.0);
        Self {
            scale,
            shift: Parameter::new(1, units, false),
            running_mean: vec![0.0; units],
            running_variance: vec![1.0; units],
            normalised: vec![0.0; max_rows * units],
            inverse_sd: vec![0.0; units],
            sums: [vec![0.0; units], vec![0.0; units]],
        }
    }

    /// In place, on the first `units` columns of rows `stride` apart, with the batch's statistics.
    pub(crate) fn forward_training(&mut self, values: &mut [f32], n_rows: usize, stride: usize) {
        let units = self.running_mean.len();
        let [mean, variance] = &mut self.sums;
        let per_row = 1.0 / n_rows as f32;
        let unbiased = n_rows as f32 / (n_rows as f32 - 1.0).max(1.0);
        let rows = |values: &mut [f32], f: &mut dyn FnMut(usize, &mut [f32])| {
            for (i, row) in values.chunks_exact_mut(stride).take(n_rows).enumerate() {
                f(i, &mut row[..units]);
            }
        };
        mean.fill(0.0);
        variance.fill(0.0);
        rows(values, &mut |_, row| add(mean, row, |x, _| x * per_row, row));
        rows(values, &mut |_, row| {
            for ((variance, &x), &mean) in variance.iter_mut().zip(&*row).zip(&*mean) {
                *variance += (x - mean) * (x - mean) * per_row;
            }
        });
        for unit in 0..units {
            self.inverse_sd[unit] = 1.0 / (variance[unit] + EPSILON).sqrt();
            blend(&mut self.running_mean[unit], mean[unit]);
            blend(&mut self.running_variance[unit], variance[unit] * unbiased);
        }
        let (scale, shift) = (&self.scale.value, &self.shift.value);
        rows(values, &mut |i, row| {
            let normalised = &mut self.normalised[i * units..(i + 1) * units];
            for unit in 0..units {
                normalised[unit] = (row[unit] - mean[unit]) * self.inverse_sd[unit];
                row[unit] = normalised[unit] * scale[unit] + shift[unit];
            }
        });
    }

    /// In place, with the running statistics.
    pub(crate) fn forward_inference(&self, values: &mut [f32], n_rows: usize, stride: usize) {
        let units = self.running_mean.len();
        for row in values.chunks_exact_mut(stride).take(n_rows) {
            for (unit, x) in row[..units].iter_mut().enumerate() {
                let inverse_sd = 1.0 / (self.running_variance[unit] + EPSILON).sqrt();
                *x = (*x - self.running_mean[unit]) * inverse_sd * self.scale.value[unit]
                    + self.shift.value[unit];
            }
        }
    }

    /// Turns the gradient of the outputs into that of the inputs, in place.
    pub(crate) fn backward(&mut self, gradient: &mut [f32], n_rows: usize, stride: usize) {
        let units = self.running_mean.len();
        let per_row = 1.0 / n_rows as f32;
        let (d_scale, d_shift) = (&mut self.scale.gradient, &mut self.shift.gradient);
        d_scale.fill(0.0);
        d_shift.fill(0.0);
        for (row, normalised) in
            gradient.chunks_exact(stride).zip(self.normalised.chunks_exact(units)).take(n_rows)
        {
            add(d_scale, &row[..units], |d, x| d * x, normalised);
            add(d_shift, &row[..units], |d, _| d, normalised);
        }
        for (row, normalised) in
            gradient.chunks_exact_mut(stride).zip(self.normalised.chunks_exact(units)).take(n_rows)
        {
            for unit in 0..units {
                let centred =
                    row[unit] - per_row * (d_shift[unit] + normalised[unit] * d_scale[unit]);
                row[unit] = centred * self.scale.value[unit] * self.inverse_sd[unit];
            }
        }
    }

    /// What inference computes as `factor · x + offset` for a unit.
    pub(crate) fn folded(&self, unit: usize) -> (f64, f64) {
        let variance = f64::from(self.running_variance[unit]) + f64::from(EPSILON);
        let factor = f64::from(self.scale.value[unit]) / libm::sqrt(variance);
        let offset = f64::from(self.shift.value[unit]);
        (factor, offset - f64::from(self.running_mean[unit]) * factor)
    }
}

fn add(sums: &mut [f32], a: &[f32], f: impl Fn(f32, f32) -> f32, b: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum += f(a, b);
            }
        },
    );
}

fn blend(running: &mut f32, batch: f32) {
    *running += MOMENTUM * (batch - *running);
}

const EPSILON: f32 = 1e-5;
/// Share of the newest batch in the running statistics.
const MOMENTUM: f32 = 0.1;
