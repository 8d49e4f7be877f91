//! Non-negative factors (Lee, Seung 2001): multiplicative updates of the squared error.

use faer::{Mat, MatRef};

use super::Reproducer;
use crate::algebra::on_calling_thread;
use crate::engine::rng::{Purpose, Rng};

/// Non-negative profiles whose non-negative combinations come near to the fitted ones.
pub struct Nmf {
    /// `[k × n_genes]`
    factors: Mat<f64>,
}

/// Updates of a fit, and of the weights of new profiles.
const UPDATES: usize = 200;

/// Keeps a weight that an update made zero from staying so for want of precision.
const TINY: f64 = 1e-12;

impl Nmf {
    /// Fits `k` factors on `rows`, `[n × n_genes]`, from a random start that follows from `seed`. `None` where a
    /// value is negative.
    pub fn fit(rows: MatRef<'_, f64>, k: usize, seed: u64) -> Option<Self> {
        on_calling_thread();
        if rows.col_iter().any(|column| column.iter().any(|&value| value < 0.0)) {
            return None;
        }
        let (n, n_genes) = (rows.nrows(), rows.ncols());
        let sum: f64 = rows.col_iter().map(|column| column.iter().sum::<f64>()).sum();
        let scale = (sum / (n * n_genes * k).max(1) as f64).sqrt();
        let mut rng = Rng::stream(seed, Purpose::Subspace, 1, 0);
        let mut draw = |_, _| scale * f64::from(rng.normal()).abs() + TINY;
        let mut weights = Mat::from_fn(n, k, &mut draw);
        let mut factors = Mat::from_fn(k, n_genes, &mut draw);
        for _ in 0..UPDATES {
            update_weights(rows, &mut weights, &factors);
            let numerator = weights.transpose() * rows;
            let denominator = (weights.transpose() * &weights) * &factors;
            scale_by(&mut factors, &numerator, &denominator);
        }
        Some(Self { factors })
    }
}

impl Reproducer for Nmf {
    fn reproduce(&self, profiles: MatRef<'_, f64>) -> Mat<f64> {
        let mut weights = Mat::from_fn(profiles.nrows(), self.factors.nrows(), |_, _| 1.0);
        for _ in 0..UPDATES {
            update_weights(profiles, &mut weights, &self.factors);
        }
        &weights * &self.factors
    }
}

fn update_weights(rows: MatRef<'_, f64>, weights: &mut Mat<f64>, factors: &Mat<f64>) {
    let numerator = rows * factors.transpose();
    let denominator = &*weights * (factors * factors.transpose());
    scale_by(weights, &numerator, &denominator);
}

fn scale_by(values: &mut Mat<f64>, numerator: &Mat<f64>, denominator: &Mat<f64>) {
    let columns = numerator.col_iter().zip(denominator.col_iter());
    for (column, (above, below)) in values.col_iter_mut().zip(columns) {
        for ((value, above), below) in column.iter_mut().zip(above.iter()).zip(below.iter()) {
            *value = (*value * above / (below + TINY)).max(0.0);
        }
    }
}
