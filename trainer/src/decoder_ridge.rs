//! The last decoder layer in closed form: ridge regression of the fitted profiles on what that layer reads.
//!
//! Gradient descent leaves it noisy where most of the variance is noise (single cells), and shrunken where inputs are
//! dropped while training. The linear path is free of penalty, so that it gives as much as principal components would;
//! hidden units are penalised as much as cross-validation over the fitted rows says.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;

use crate::stage::Stage;

impl Stage<'_> {
    /// Replaces weights and bias of the last decoder layer. Layers before it stay as they are.
    pub(crate) fn refit_decoder(&mut self) {
        let moments = self.decoder_moments();
        let code = self.network.architecture.code;
        let Some(layer) = self.network.decoder.last() else { return };
        // Without a linear path every feature is penalised.
        let n_free = if self.network.architecture.linear_skip { code } else { 0 };
        let n_hidden = layer.in_dim - n_free;
        let total = Moments::sum(&moments);
        let weight: Vec<f64> =
            self.standardiser.loss_weight.iter().map(|&weight| f64::from(weight)).collect();
        let error = |penalty: f64| -> f64 {
            let held_out = moments.iter().map(|held| {
                let fit = total.less(held).ridge(n_hidden, penalty);
                fit.map_or(f64::INFINITY, |fit| held.error(&fit, &weight))
            });
            held_out.sum()
        };
        // The largest leaves the hidden units next to nothing.
        let best = PENALTIES.into_iter().map(|penalty| (error(penalty), penalty));
        let best = best.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(error, _)| error.is_finite());
        let Some(fit) = best.and_then(|(_, penalty)| total.ridge(n_hidden, penalty)) else {
            return;
        };
        let Some(layer) = self.network.decoder.last_mut() else { return };
        let n_genes = layer.units;
        for feature in 0..layer.in_dim {
            let row = &mut layer.weights.value[feature * n_genes..(feature + 1) * n_genes];
            row.iter_mut()
                .enumerate()
                .for_each(|(gene, w)| *w = fit.weights[(feature, gene)] as f32);
        }
        layer.bias.value.iter_mut().zip(&fit.bias).for_each(|(bias, &fit)| *bias = fit as f32);
    }

    /// Moments of features and targets, one for each fold: every so many rows.
    fn decoder_moments(&mut self) -> Vec<Moments> {
        let rows = core::mem::take(&mut self.rows);
        let moments = (0..FOLDS.min(rows.len()))
            .map(|fold| {
                let of: Vec<usize> = rows.iter().skip(fold).step_by(FOLDS).copied().collect();
                let layer = self.network.decoder.last();
                let (m, p) = layer.map_or((0, 0), |layer| (layer.in_dim, layer.units));
                let mut moments = Moments::new(m, p);
                for chunk in of.chunks(self.max_rows) {
                    self.infer(chunk);
                    let features = self.decoder_features(chunk.len());
                    let targets = self.batch.targets(&self.standardiser);
                    moments.add(&features, &targets);
                }
                moments
            })
            .collect();
        self.rows = rows;
        moments
    }

    /// What the last decoder layer read, `[n × in_dim]`.
    fn decoder_features(&self, n: usize) -> Mat<f64> {
        let decoder = &self.network.decoder;
        let Some((output, hidden)) = decoder.split_last() else { return Mat::new() };
        let (values, stride) = match hidden.last() {
            Some(layer) => (&layer.out, layer.stride),
            None => (&self.network.code, self.network.architecture.code),
        };
        Mat::from_fn(n, output.in_dim, |row, at| f64::from(values[row * stride + at]))
    }
}

/// Sums over rows of features φ `[m]` and targets z `[p]`.
#[derive(Clone)]
struct Moments {
    n: f64,
    /// Σ φ
    features: Vec<f64>,
    /// Σ z
    targets: Vec<f64>,
    /// Σ φφᵀ
    gram: Mat<f64>,
    /// Σ φzᵀ
    cross: Mat<f64>,
    /// Σ z²
    squares: Vec<f64>,
}

struct Ridge {
    /// `[m × p]`
    weights: Mat<f64>,
    /// `[p]`
    bias: Vec<f64>,
}

impl Moments {
    fn new(m: usize, p: usize) -> Self {
        Self {
            n: 0.0,
            features: vec![0.0; m],
            targets: vec![0.0; p],
            gram: Mat::zeros(m, m),
            cross: Mat::zeros(m, p),
            squares: vec![0.0; p],
        }
    }

    fn add(&mut self, features: &Mat<f64>, targets: &Mat<f64>) {
        self.n += features.nrows() as f64;
        let sums = |of: &Mat<f64>, into: &mut [f64]| {
            into.iter_mut()
                .zip(of.col_iter())
                .for_each(|(sum, column)| *sum += column.iter().sum::<f64>());
        };
        sums(features, &mut self.features);
        sums(targets, &mut self.targets);
        let columns = self.squares.iter_mut().zip(targets.col_iter());
        columns.for_each(|(sum, column)| *sum += column.squared_norm_l2());
        add_product(&mut self.gram, features.transpose(), features.as_ref());
        add_product(&mut self.cross, features.transpose(), targets.as_ref());
    }

    fn sum(all: &[Self]) -> Self {
        let mut sum = Self::new(
            all.first().map_or(0, |one| one.features.len()),
            all.first().map_or(0, |one| one.targets.len()),
        );
        all.iter().for_each(|one| sum.combine(one, 1.0));
        sum
    }

    fn less(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.combine(other, -1.0);
        rest
    }

    fn combine(&mut self, other: &Self, sign: f64) {
        self.n += sign * other.n;
        for (into, of) in [
            (&mut self.features, &other.features),
            (&mut self.targets, &other.targets),
            (&mut self.squares, &other.squares),
        ] {
            into.iter_mut().zip(of).for_each(|(into, of)| *into += sign * of);
        }
        self.gram += faer::Scale(sign) * &other.gram;
        self.cross += faer::Scale(sign) * &other.cross;
    }

    /// The first `n_hidden` features are penalised with `penalty` times their mean variance, the others hardly.
    fn ridge(&self, n_hidden: usize, penalty: f64) -> Option<Ridge> {
        let (m, n) = (self.features.len(), self.n);
        let mean: Vec<f64> = self.features.iter().map(|sum| sum / n).collect();
        let target: Vec<f64> = self.targets.iter().map(|sum| sum / n).collect();
        let mut gram = Mat::from_fn(m, m, |i, j| self.gram[(i, j)] / n - mean[i] * mean[j]);
        let variance = (0..m).map(|i| gram[(i, i)]).sum::<f64>() / m.max(1) as f64;
        if !(variance > 0.0 && variance.is_finite()) {
            return None;
        }
        for i in 0..m {
            gram[(i, i)] += variance * if i < n_hidden { penalty } else { FREE };
        }
        let cross = Mat::from_fn(m, target.len(), |i, gene| {
            self.cross[(i, gene)] / n - mean[i] * target[gene]
        });
        let weights = gram.llt(Side::Lower).ok()?.solve(&cross);
        let bias = (0..target.len())
            .map(|gene| target[gene] - (0..m).map(|i| mean[i] * weights[(i, gene)]).sum::<f64>())
            .collect();
        Some(Ridge { weights, bias })
    }

    /// Σ over rows and genes of weight · (z − ẑ)².
    fn error(&self, fit: &Ridge, weight: &[f64]) -> f64 {
        let m = self.features.len();
        let mut of_gram = Mat::zeros(m, fit.weights.ncols());
        add_product(&mut of_gram, self.gram.as_ref(), fit.weights.as_ref());
        (0..weight.len())
            .map(|gene| {
                let bias = fit.bias[gene];
                let mut error =
                    self.squares[gene] - 2.0 * bias * self.targets[gene] + self.n * bias * bias;
                for i in 0..m {
                    let w = fit.weights[(i, gene)];
                    error += w * (of_gram[(i, gene)] - 2.0 * self.cross[(i, gene)]);
                    error += 2.0 * bias * w * self.features[i];
                }
                weight[gene] * error
            })
            .sum()
    }
}

/// `dst += lhs · rhs`, in column tiles of fixed width.
fn add_product(dst: &mut Mat<f64>, lhs: MatRef<'_, f64>, rhs: MatRef<'_, f64>) {
    dst.as_mut().par_col_chunks_mut(TILE).enumerate().for_each(|(i, tile)| {
        let rhs = rhs.subcols(i * TILE, tile.ncols());
        matmul(tile, Accum::Add, lhs, rhs, 1.0, Par::Seq);
    });
}

const FOLDS: usize = 5;
const TILE: usize = 128;
/// Of the mean variance of the features.
const PENALTIES: [f64; 11] = [1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 10_000.0];
/// Against dimensions that never vary.
const FREE: f64 = 1e-9;
