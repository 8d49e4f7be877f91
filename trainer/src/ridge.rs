//! Ridge regression from sums over rows, its penalty chosen by cross-validation: what the last decoder layer is fitted with.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use crate::algebra::on_calling_thread;
use crate::pca::add_product;

/// A penalty, and the error of held-out folds with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    /// Of the mean variance of the features; the largest leaves the penalised ones next to nothing.
    pub(crate) penalty: f64,
    /// Σ over rows and genes of weight · (z − ẑ)².
    pub(crate) error: f64,
}

impl Choice {
    /// The penalty of the first `n_hidden` features with the smallest error over folds that are each held out once.
    /// `weight` is that of the targets, `[p]`. `None` where nothing can be fitted.
    pub(crate) fn by_cross_validation(
        folds: &[Moments],
        n_hidden: usize,
        weight: &[f64],
    ) -> Option<Self> {
        let total = Moments::sum(folds);
        let mut errors = [0.0; PENALTIES.len()];
        for held in folds {
            let rest = total.less(held).centred()?;
            for (error, penalty) in errors.iter_mut().zip(PENALTIES) {
                let fit = rest.ridge(n_hidden, penalty);
                *error += fit.map_or(f64::INFINITY, |fit| held.error(&fit, weight));
            }
        }
        let choices = errors.into_iter().zip(PENALTIES);
        let choices = choices.map(|(error, penalty)| Self { penalty, error });
        let best = choices.min_by(|a, b| a.error.total_cmp(&b.error));
        best.filter(|best| best.error.is_finite())
    }
}

/// Sums over rows of features φ `[m]` and targets z `[p]`.
#[derive(Clone)]
pub(crate) struct Moments {
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

/// The same about their means, for one row.
struct Centred {
    mean: Vec<f64>,
    target: Vec<f64>,
    gram: Mat<f64>,
    cross: Mat<f64>,
    /// Mean variance of the features.
    variance: f64,
}

impl Centred {
    /// The first `n_hidden` features are penalised with `penalty` times their mean variance, the others hardly.
    fn ridge(&self, n_hidden: usize, penalty: f64) -> Option<Ridge> {
        let Self { mean, target, cross, variance, .. } = self;
        let mut gram = self.gram.clone();
        for i in 0..mean.len() {
            gram[(i, i)] += variance * if i < n_hidden { penalty } else { FREE };
        }
        let weights = gram.llt(Side::Lower).ok()?.solve(cross);
        let bias = (0..target.len())
            .map(|gene| {
                let of = |i: usize| mean[i] * weights[(i, gene)];
                target[gene] - (0..mean.len()).map(of).sum::<f64>()
            })
            .collect();
        Some(Ridge { weights, bias })
    }
}

/// Weights and bias of a linear map.
pub(crate) struct Ridge {
    /// `[m × p]`
    pub(crate) weights: Mat<f64>,
    /// `[p]`
    pub(crate) bias: Vec<f64>,
}

impl Moments {
    pub(crate) fn new(m: usize, p: usize) -> Self {
        Self {
            n: 0.0,
            features: vec![0.0; m],
            targets: vec![0.0; p],
            gram: Mat::zeros(m, m),
            cross: Mat::zeros(m, p),
            squares: vec![0.0; p],
        }
    }

    pub(crate) fn add(&mut self, features: &Mat<f64>, targets: &Mat<f64>) {
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

    pub(crate) fn sum(all: &[Self]) -> Self {
        let mut sum = Self::new(
            all.first().map_or(0, |one| one.features.len()),
            all.first().map_or(0, |one| one.targets.len()),
        );
        all.iter().for_each(|one| sum.combine(one, 1.0));
        sum
    }

    pub(crate) fn less(&self, other: &Self) -> Self {
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

    /// The map from features to targets with this penalty of the first `n_hidden` features; `None` where no feature varies.
    pub(crate) fn fit(&self, n_hidden: usize, penalty: f64) -> Option<Ridge> {
        on_calling_thread();
        self.centred()?.ridge(n_hidden, penalty)
    }

    /// `None` where no feature varies.
    fn centred(&self) -> Option<Centred> {
        let (m, n) = (self.features.len(), self.n);
        let mean: Vec<f64> = self.features.iter().map(|sum| sum / n).collect();
        let target: Vec<f64> = self.targets.iter().map(|sum| sum / n).collect();
        let gram = Mat::from_fn(m, m, |i, j| self.gram[(i, j)] / n - mean[i] * mean[j]);
        let cross = Mat::from_fn(m, target.len(), |i, gene| {
            self.cross[(i, gene)] / n - mean[i] * target[gene]
        });
        let variance = (0..m).map(|i| gram[(i, i)]).sum::<f64>() / m.max(1) as f64;
        let varies = variance > 0.0 && variance.is_finite();
        varies.then_some(Centred { mean, target, gram, cross, variance })
    }

    /// Σ over rows and targets of (z − mean)².
    pub(crate) fn spread(&self) -> f64 {
        let targets = self.squares.iter().zip(&self.targets);
        targets.map(|(square, sum)| square - sum * sum / self.n).sum()
    }

    /// Σ over rows and genes of weight · (z − ẑ)².
    pub(crate) fn error(&self, fit: &Ridge, weight: &[f64]) -> f64 {
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

/// Rows are divided into so many folds, every so many rows one.
pub(crate) const FOLDS: usize = 5;
/// Of the mean variance of the features.
const PENALTIES: [f64; 11] = [1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 10_000.0];
/// Against dimensions that never vary.
const FREE: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up() -> (Mat<f64>, Mat<f64>) {
        let features =
            Mat::from_fn(30, 4, |row, at| ((row * (at + 2)) as f64 * 0.37).sin() + at as f64);
        let targets = Mat::from_fn(30, 3, |row, gene| {
            let noise = ((row * 7 + gene * 3) as f64 * 1.7).cos();
            features[(row, gene)] * 2.0 - features[(row, 3)] + 0.3 * noise + gene as f64
        });
        (features, targets)
    }

    #[test]
    fn penalised_weights_equal_scikit_learns_ridge() {
        let (features, targets) = made_up();
        let mut moments = Moments::new(4, 3);
        moments.add(&features, &targets);
        let fit = moments.centred().unwrap().ridge(4, 0.1).unwrap();
        // tests/fixtures/decoder_ridge.py
        let expected = [2.023871, 0.009943, 0.012218, -0.894164];
        for (feature, expected) in expected.into_iter().enumerate() {
            let found = fit.weights[(feature, 0)];
            assert!((found - expected).abs() < 1e-5, "{feature}: {found}");
        }
        assert!((fit.bias[0] + 0.340267).abs() < 1e-5, "{}", fit.bias[0]);
    }

    #[test]
    fn the_error_from_moments_is_that_of_the_rows() {
        let (features, targets) = made_up();
        let mut moments = Moments::new(4, 3);
        moments.add(&features, &targets);
        let fit = moments.centred().unwrap().ridge(2, 0.5).unwrap();
        let weight = [1.0, 0.5, 2.0];
        let mut expected = 0.0;
        for row in 0..30 {
            for gene in 0..3 {
                let of: f64 = (0..4).map(|at| features[(row, at)] * fit.weights[(at, gene)]).sum();
                expected += weight[gene] * (targets[(row, gene)] - of - fit.bias[gene]).powi(2);
            }
        }
        assert!((moments.error(&fit, &weight) - expected).abs() < 1e-9 * expected);
    }

    #[test]
    fn a_fold_taken_away_leaves_the_moments_of_the_others() {
        let (features, targets) = made_up();
        let of = |rows: core::ops::Range<usize>| {
            let mut moments = Moments::new(4, 3);
            let len = rows.len();
            moments.add(
                &features.subrows(rows.start, len).to_owned(),
                &targets.subrows(rows.start, len).to_owned(),
            );
            moments
        };
        let rest = Moments::sum(&[of(0..10), of(10..30)]).less(&of(0..10));
        let expected = of(10..30);
        assert!((rest.gram - expected.gram).norm_max() < 1e-12);
        assert!((rest.cross - expected.cross).norm_max() < 1e-12);
        assert_eq!(rest.n, 20.0);
    }
}
