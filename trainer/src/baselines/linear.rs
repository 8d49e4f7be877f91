//! Linear classifiers with a ridge penalty: multinomial logistic regression and support vector machines, one class
//! against the rest. Objectives and the meaning of C are scikit-learn's (`LogisticRegression`, `LinearSVC`); L-BFGS of
//! argmin minimises them.

use faer::{Mat, MatRef, Side};

use crate::TrainError;
use crate::algebra::on_calling_thread;
use crate::minimise::{Evaluated, Smooth, minimise};

/// Scores of each class as linear functions of a profile.
#[derive(Clone, Debug)]
pub struct LinearClassifier {
    /// `[n_features × n_classes]`
    pub weights: Mat<f64>,
    /// `[n_classes]`
    pub bias: Vec<f64>,
}

/// What a linear classifier minimises: C · Σ loss + ‖weights‖² / 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinearLoss {
    /// Cross-entropy of the softmax; the bias is not penalised.
    Logistic,
    /// max(0, 1 − margin)² of each class against the rest; the bias is penalised like a weight, as in LIBLINEAR.
    SquaredHinge,
}

impl LinearClassifier {
    /// Fits rows of features with their classes, below `n_classes`.
    ///
    /// # Errors
    /// [`TrainError::Baseline`] where the minimisation fails, for features that are not finite.
    pub fn fit(
        rows: MatRef<'_, f64>,
        classes: &[usize],
        n_classes: usize,
        loss: LinearLoss,
        c: f64,
    ) -> Result<Self, TrainError> {
        Self::fit_within(MOST_STEPS, rows, classes, n_classes, loss, c)
    }

    /// The same in at most so many steps of L-BFGS.
    pub(crate) fn fit_within(
        most_steps: u64,
        rows: MatRef<'_, f64>,
        classes: &[usize],
        n_classes: usize,
        loss: LinearLoss,
        c: f64,
    ) -> Result<Self, TrainError> {
        on_calling_thread();
        if REDUCED * rows.nrows() <= rows.ncols() {
            return Self::fit_reduced(most_steps, rows, classes, n_classes, loss, c);
        }
        let objective = Objective { rows, classes, n_classes, loss, c };
        let start = vec![0.0; (rows.ncols() + 1) * n_classes];
        let found = minimise(&objective, start, most_steps).ok_or(TrainError::Baseline {
            method: "a linear classifier",
            n_rows: rows.nrows(),
            n_features: rows.ncols(),
        })?;
        let (p, k) = (rows.ncols(), n_classes);
        Ok(Self {
            weights: Mat::from_fn(p, k, |feature, class| found[class * (p + 1) + feature]),
            bias: (0..k).map(|class| found[class * (p + 1) + p]).collect(),
        })
    }

    /// The same for few rows: the weights of the minimum are combinations of rows, so only their coordinates along the
    /// principal axes of the rows are looked for.
    fn fit_reduced(
        most_steps: u64,
        rows: MatRef<'_, f64>,
        classes: &[usize],
        n_classes: usize,
        loss: LinearLoss,
        c: f64,
    ) -> Result<Self, TrainError> {
        let gram = rows * rows.transpose();
        let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::Eigen)?;
        let values = eigen.S().column_vector();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let kept: Vec<usize> =
            (0..rows.nrows()).filter(|&at| values[at] > 1e-12 * largest).collect();
        let axes = Mat::from_fn(rows.nrows(), kept.len(), |row, at| {
            eigen.U()[(row, kept[at])] / values[kept[at]].sqrt()
        });
        let coordinates = &gram * &axes;
        let found =
            Self::fit_within(most_steps, coordinates.as_ref(), classes, n_classes, loss, c)?;
        Ok(Self { weights: rows.transpose() * (&axes * &found.weights), bias: found.bias })
    }

    /// The class of highest score of each row; the first on a tie.
    pub fn predict(&self, rows: MatRef<'_, f64>) -> Vec<usize> {
        let scores = rows * &self.weights;
        (0..rows.nrows())
            .map(|row| {
                let score = |class: usize| scores[(row, class)] + self.bias[class];
                (1..self.bias.len())
                    .fold(0, |best, at| if score(at) > score(best) { at } else { best })
            })
            .collect()
    }
}

/// With so many times as many features as rows, the rows' own axes are fewer by far.
const REDUCED: usize = 3;
const MOST_STEPS: u64 = 500;

/// The objective over C · rows; parameters are `[n_classes × (n_features + 1)]`, the bias last.
struct Objective<'a> {
    rows: MatRef<'a, f64>,
    classes: &'a [usize],
    n_classes: usize,
    loss: LinearLoss,
    c: f64,
}

impl Smooth for Objective<'_> {
    fn evaluate(&self, at: &[f64]) -> Evaluated {
        let (n, p, k) = (self.rows.nrows(), self.rows.ncols(), self.n_classes);
        let parameters = MatRef::from_column_major_slice(at, p + 1, k);
        let mut scores = self.rows * parameters.subrows(0, p);
        let per_row = 1.0 / n as f64;
        let mut value = 0.0;
        let mut bias_gradient = vec![0.0; k];
        let mut row_scores = vec![0.0; k];
        for row in 0..n {
            for class in 0..k {
                row_scores[class] = scores[(row, class)] + at[class * (p + 1) + p];
            }
            value += per_row * self.loss.of_row(&mut row_scores, self.classes[row]);
            for class in 0..k {
                let slope = per_row * row_scores[class];
                scores[(row, class)] = slope;
                bias_gradient[class] += slope;
            }
        }
        let of_weights = self.rows.transpose() * &scores;
        let penalty = per_row / self.c;
        let mut gradient = vec![0.0; at.len()];
        for class in 0..k {
            let start = class * (p + 1);
            for feature in 0..p {
                let weight = at[start + feature];
                value += 0.5 * penalty * weight * weight;
                gradient[start + feature] = of_weights[(feature, class)] + penalty * weight;
            }
            gradient[start + p] = bias_gradient[class];
            if self.loss == LinearLoss::SquaredHinge {
                let bias = at[start + p];
                value += 0.5 * penalty * bias * bias;
                gradient[start + p] += penalty * bias;
            }
        }
        Evaluated { value, gradient }
    }
}

impl LinearLoss {
    /// The loss of a row; its scores become the derivatives.
    fn of_row(self, scores: &mut [f64], truth: usize) -> f64 {
        match self {
            Self::Logistic => {
                let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let own = scores[truth] - highest;
                let mut sum = 0.0;
                for score in scores.iter_mut() {
                    *score = (*score - highest).exp();
                    sum += *score;
                }
                scores.iter_mut().for_each(|score| *score /= sum);
                scores[truth] -= 1.0;
                sum.ln() - own
            }
            Self::SquaredHinge => {
                let mut loss = 0.0;
                for (class, score) in scores.iter_mut().enumerate() {
                    let sign = if class == truth { 1.0 } else { -1.0 };
                    let short = (1.0 - sign * *score).max(0.0);
                    loss += short * short;
                    *score = -2.0 * sign * short;
                }
                loss
            }
        }
    }
}
