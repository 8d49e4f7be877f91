//! Linear classifiers with a ridge penalty: multinomial logistic regression and support vector machines, one class
//! against the rest. Objectives and the meaning of C are scikit-learn's (`LogisticRegression`, `LinearSVC`); L-BFGS of
//! argmin minimises them.

use std::sync::Mutex;

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use faer::{Mat, MatRef, Side};

use crate::TrainError;

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
        if REDUCED * rows.nrows() <= rows.ncols() {
            return Self::fit_reduced(most_steps, rows, classes, n_classes, loss, c);
        }
        let failed = || TrainError::Baseline {
            method: "a linear classifier",
            n_rows: rows.nrows(),
            n_features: rows.ncols(),
        };
        let objective = Objective { rows, classes, n_classes, loss, c, last: Mutex::new(None) };
        let start = vec![0.0; (rows.ncols() + 1) * n_classes];
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(TOLERANCE)
            .and_then(|solver| solver.with_tolerance_cost(TOLERANCE * TOLERANCE))
            .map_err(|_| failed())?;
        let mut found = Executor::new(&objective, solver)
            .configure(|state| state.param(start).max_iters(most_steps))
            .run()
            .map_err(|_| failed())?;
        let found: Vec<f64> = found.state.take_best_param().ok_or_else(failed)?;
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
/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;
/// Length of the gradient, per row, at which the minimum is reached.
const TOLERANCE: f64 = 1e-5;
const MOST_STEPS: u64 = 500;

/// The objective over C · rows; parameters are `[n_classes × (n_features + 1)]`, the bias last.
struct Objective<'a> {
    rows: MatRef<'a, f64>,
    classes: &'a [usize],
    n_classes: usize,
    loss: LinearLoss,
    c: f64,
    /// The line search asks for value and gradient at the same place one after the other.
    last: Mutex<Option<Evaluated>>,
}

#[derive(Clone)]
struct Evaluated {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Objective<'_> {
    fn evaluate(&self, at: &[f64]) -> Evaluated {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = last.as_ref().filter(|known| known.at == at) {
            return known.clone();
        }
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
        let evaluated = Evaluated { at: at.to_vec(), value, gradient };
        *last = Some(evaluated.clone());
        evaluated
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

impl CostFunction for &Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.evaluate(at).value)
    }
}

impl Gradient for &Objective<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.evaluate(at).gradient)
    }
}
