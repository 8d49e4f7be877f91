//! Per-gene mean and scale of the rows a network is fitted to.
//!
//! The whole network works on z = (x − mean) / scale, input and reconstruction alike, so that one
//! learning rate suits every gene. The squared error is weighted back to the units of x, and
//! everything is folded into the first and last weights when the network is frozen.

use super::training_data::{Row, TrainingData};

/// Constants of z = (x − mean) / scale, each `[n_genes]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standardiser {
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
    /// 1 / scale
    pub(crate) inverse: Vec<f32>,
    /// mean / scale: −z of a zero.
    pub(crate) zero: Vec<f32>,
    /// scale² over the total variance: Σ weight·(z − ẑ)² is the share of variance not explained.
    pub(crate) loss_weight: Vec<f32>,
}

impl Standardiser {
    pub(crate) fn fit(data: &TrainingData<'_>, rows: &[usize]) -> Self {
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0_f64; data.n_genes];
        for_each_value(data, rows, |gene, x| mean[gene] += x);
        mean.iter_mut().for_each(|mean| *mean /= n);
        // Squares about the mean: what is not stored is a zero, and is added for all at once.
        let mut square = vec![0.0_f64; data.n_genes];
        let mut stored = vec![0_usize; data.n_genes];
        for_each_value(data, rows, |gene, x| {
            square[gene] += (x - mean[gene]) * (x - mean[gene]);
            stored[gene] += 1;
        });
        let variance: Vec<f64> = (0..data.n_genes)
            .map(|gene| {
                let absent = rows.len() as f64 - stored[gene] as f64;
                (square[gene] + absent * mean[gene] * mean[gene]) / n
            })
            .collect();
        let total: f64 = variance.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let floor = FLOOR * libm::sqrt(total / data.n_genes.max(1) as f64);
        // All genes constant: any scale serves.
        let floor = if floor > 1e-12 { floor } else { 1.0 };
        let scale: Vec<f64> = variance.iter().map(|v| libm::sqrt(v + floor * floor)).collect();
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        let scaled = |f: &dyn Fn(usize) -> f64| (0..data.n_genes).map(|g| f(g) as f32).collect();
        Self {
            mean: narrow(&mean),
            inverse: scaled(&|g| 1.0 / scale[g]),
            zero: scaled(&|g| mean[g] / scale[g]),
            loss_weight: scaled(&|g| scale[g] * scale[g] / total),
            scale: narrow(&scale),
        }
    }
}

fn for_each_value(data: &TrainingData<'_>, rows: &[usize], mut f: impl FnMut(usize, f64)) {
    for &row in rows {
        match data.row(row) {
            Row::Sparse(genes, values) => {
                for (&gene, &value) in genes.iter().zip(values) {
                    f(gene as usize, f64::from(value));
                }
            }
            Row::Dense(values) => {
                for (gene, &value) in values.iter().enumerate() {
                    f(gene, f64::from(value));
                }
            }
        }
    }
}

/// Share of the root mean variance that is added to every scale: a gene that hardly varies in the
/// fitted rows must not become the loudest input when it varies in another.
const FLOOR: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::training_data::Expression;

    #[test]
    fn sparse_and_dense_give_the_same_constants_and_constant_genes_stay_finite() {
        let dense = [1.0, 0.0, 5.0, 3.0, 0.0, 5.0, 0.0, 2.0, 5.0];
        let (indptr, indices) = ([0, 2, 4, 6], [0, 2, 0, 2, 1, 2]);
        let values = [1.0, 5.0, 3.0, 5.0, 2.0, 5.0];
        let sparse = Expression::Csr { indptr: &indptr, indices: &indices, values: &values };
        let data = |expression| TrainingData {
            expression,
            n_genes: 3,
            labels: None,
            n_classes: 0,
            counts: None,
        };
        let a = Standardiser::fit(&data(sparse), &[0, 1, 2]);
        let b = Standardiser::fit(&data(Expression::Dense(&dense)), &[0, 1, 2]);
        for (a, b) in [(&a.mean, &b.mean), (&a.scale, &b.scale), (&a.zero, &b.zero)] {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6 && a.is_finite()));
        }
        assert_eq!(a.mean[2], 5.0);
        // Variance of 1, 3, 0 is 14/9, of 0, 0, 2 is 8/9; the floor adds a hundredth of their mean.
        let floor = (14.0 + 8.0) / 9.0 / 3.0 * 0.01_f32;
        assert!((a.scale[0] - (14.0 / 9.0 + floor).sqrt()).abs() < 1e-6);
        assert!((a.scale[2] - floor.sqrt()).abs() < 1e-6);
    }
}
