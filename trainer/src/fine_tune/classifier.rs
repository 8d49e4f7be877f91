//! The classifier, fine-tuned on codes from its present weights.

use cic_model::{Activation, DenseLayer};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use super::{FineTuneSettings, Gain};
use crate::TrainingData;
use crate::forward::activation;
use crate::gradients::{activations, slope};
use crate::minimise::{Evaluated, Smooth, minimise};
use crate::ridge::FOLDS;

/// Codes with their labels.
pub(super) struct Labelled {
    /// `[n × code_dim]`
    codes: Mat<f64>,
    /// `[n]`
    labels: Vec<usize>,
}

impl Labelled {
    /// Some rows of codes `[n × code_dim]`; those without a label are left out.
    pub(super) fn new(
        codes: &[f32],
        code_dim: usize,
        data: &TrainingData<'_>,
        rows: &[usize],
    ) -> Self {
        let value = |at: usize, dim: usize| f64::from(codes[rows[at] * code_dim + dim]);
        Self {
            codes: Mat::from_fn(rows.len(), code_dim, value),
            labels: rows.iter().filter_map(|&row| data.label(row)).collect(),
        }
    }

    /// Every so many rows, or all others.
    fn fold(&self, fold: usize, is_held: bool) -> Self {
        let rows = 0..self.labels.len();
        let rows: Vec<usize> = rows.filter(|row| (row % FOLDS == fold) == is_held).collect();
        Self {
            codes: Mat::from_fn(rows.len(), self.codes.ncols(), |at, k| self.codes[(rows[at], k)]),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
        }
    }
}

/// Fine-tunes the classifier on `given` codes where that is better on held-out rows, by more than the standard error of the
/// difference and with no fewer of them called right, than both the present weights and the same steps on the network's
/// `own` codes: what more steps alone gain has nothing to do with the codes.
pub(super) fn tune(
    classifier: &mut [DenseLayer],
    own: &Labelled,
    given: &Labelled,
    settings: &FineTuneSettings,
) -> Gain {
    let layers = &classifier.to_vec()[..];
    let start = parameters(layers);
    let steps = |rows: &Labelled, penalty: f64| {
        let objective = Objective { layers, rows, settings, start: &start, penalty };
        minimise(&objective, start.clone(), settings.most_steps)
    };
    let held: Vec<Labelled> = (0..FOLDS).map(|fold| given.fold(fold, true)).collect();
    let losses = |at: &[f64], fold: usize| Losses::of(layers, at, &held[fold], settings);
    let validated = |rows: &Labelled, penalty: f64| {
        let folds = (0..FOLDS).into_par_iter();
        let folds = folds.map(|fold| Some(losses(&steps(&rows.fold(fold, false), penalty)?, fold)));
        folds.collect::<Option<Vec<_>>>().map(Losses::joined)
    };
    let tuned: Vec<Option<Losses>> =
        PENALTIES.par_iter().map(|&penalty| validated(given, penalty)).collect();
    let tuned = tuned.into_iter().zip(PENALTIES).filter_map(|(losses, at)| Some((losses?, at)));
    let best = tuned.min_by(|(a, _), (b, _)| a.mean().total_cmp(&b.mean()));
    let present = Losses::joined((0..FOLDS).map(|fold| losses(&start, fold)).collect());
    let (before, n_rows) = (present.mean(), given.labels.len());
    let mut gain = Gain { before, after: before, is_changed: false, n_rows };
    let Some((best, penalty)) = best else { return gain };
    let Some(control) = validated(own, penalty) else { return gain };
    gain.before = before.min(control.mean());
    gain.after = best.mean();
    if best.are_better_than(&present)
        && best.are_better_than(&control)
        && let Some(found) = steps(given, penalty)
    {
        write_parameters(classifier, &found);
        gain.is_changed = true;
    }
    gain
}

/// Losses of rows, one after the other.
#[derive(Default)]
struct Losses {
    /// Cross-entropy of the smoothed label, nats.
    losses: Vec<f64>,
    n_right: usize,
}

impl Losses {
    fn of(layers: &[DenseLayer], at: &[f64], rows: &Labelled, settings: &FineTuneSettings) -> Self {
        let mut all = Self::default();
        let sums = sums(layers, at, rows.codes.as_ref());
        let Some(logits) = sums.last() else { return all };
        let mut scores = vec![0.0; logits.ncols()];
        for (row, &label) in rows.labels.iter().enumerate() {
            scores.iter_mut().enumerate().for_each(|(k, score)| *score = logits[(row, k)]);
            let best = (1..scores.len())
                .fold(0, |best, k| if scores[k] > scores[best] { k } else { best });
            all.n_right += usize::from(best == label);
            all.losses.push(cross_entropy(&mut scores, label, settings.label_smoothing));
        }
        all
    }

    fn joined(folds: Vec<Self>) -> Self {
        let mut all = Self::default();
        for fold in folds {
            all.losses.extend(fold.losses);
            all.n_right += fold.n_right;
        }
        all
    }

    fn mean(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }

    fn are_better_than(&self, other: &Self) -> bool {
        let n = self.losses.len().max(1) as f64;
        let differences = self.losses.iter().zip(&other.losses).map(|(a, b)| b - a);
        let mean = other.mean() - self.mean();
        let square = differences.map(|d| (d - mean) * (d - mean)).sum::<f64>() / n;
        let standard_error = libm::sqrt(square / n);
        mean > standard_error && self.n_right >= other.n_right
    }
}

/// Mean cross-entropy, and a penalty on the distance from the start.
struct Objective<'a> {
    layers: &'a [DenseLayer],
    rows: &'a Labelled,
    settings: &'a FineTuneSettings,
    start: &'a [f64],
    penalty: f64,
}

impl Smooth for Objective<'_> {
    fn evaluate(&self, at: &[f64]) -> Evaluated {
        let (layers, rows) = (self.layers, self.rows);
        let mut sums = sums(layers, at, rows.codes.as_ref());
        let Some(mut slopes) = sums.pop() else {
            return Evaluated { value: 0.0, gradient: Vec::new() };
        };
        let per_row = 1.0 / rows.labels.len().max(1) as f64;
        let mut value = 0.0;
        let mut scores = vec![0.0; slopes.ncols()];
        for (row, &label) in rows.labels.iter().enumerate() {
            scores.iter_mut().enumerate().for_each(|(k, score)| *score = slopes[(row, k)]);
            value += per_row * cross_entropy(&mut scores, label, self.settings.label_smoothing);
            scores.iter().enumerate().for_each(|(k, d)| slopes[(row, k)] = per_row * d);
        }
        let of_logits = slopes.clone();
        let mut gradient = vec![0.0; at.len()];
        let mut end = at.len();
        for (number, layer) in layers.iter().enumerate().rev() {
            let start = end - layer.weights.len() - layer.bias.len();
            let weights = MatRef::from_row_major_slice(
                &at[start..start + layer.weights.len()],
                layer.out_dim(),
                layer.in_dim,
            );
            let below = number.checked_sub(1).map(|below| (&layers[below], &sums[below]));
            let read =
                below.map_or_else(|| rows.codes.clone(), |(layer, sums)| activated(layer, sums));
            let of_weights = product(slopes.transpose(), read.as_ref());
            for (output, row) in gradient[start..start + layer.weights.len()]
                .chunks_exact_mut(layer.in_dim)
                .enumerate()
            {
                row.iter_mut().enumerate().for_each(|(i, d)| *d = of_weights[(output, i)]);
            }
            let of_bias = gradient[start + layer.weights.len()..end].iter_mut();
            of_bias.zip(slopes.col_iter()).for_each(|(d, column)| *d = column.iter().sum());
            if let Some((below, sums)) = below {
                let of_read = product(slopes.as_ref(), weights);
                let functions: Vec<Activation> = activations(below).collect();
                slopes = Mat::from_fn(sums.nrows(), below.out_dim(), |row, i| {
                    match functions.get(i) {
                        Some(&function) => of_read[(row, i)] * slope(function, sums[(row, i)]),
                        // What is carried is added to the logits.
                        None => of_logits[(row, i - functions.len())],
                    }
                });
            }
            end = start;
        }
        for ((d, &at), &start) in gradient.iter_mut().zip(at).zip(self.start) {
            value += 0.5 * self.penalty * (at - start) * (at - start);
            *d += self.penalty * (at - start);
        }
        Evaluated { value, gradient }
    }
}

/// What the activations of every layer are applied to, `[n × out_dim]`; the last are the logits. `at` holds weights
/// `[out_dim × in_dim]` and bias of layer after layer.
fn sums(layers: &[DenseLayer], at: &[f64], codes: MatRef<'_, f64>) -> Vec<Mat<f64>> {
    let mut all: Vec<Mat<f64>> = Vec::with_capacity(layers.len());
    let mut rest = at;
    for (number, layer) in layers.iter().enumerate() {
        let (weights, others) = rest.split_at(layer.weights.len());
        let (bias, others) = others.split_at(layer.bias.len());
        rest = others;
        let weights = MatRef::from_row_major_slice(weights, layer.out_dim(), layer.in_dim);
        let mut sums = match number.checked_sub(1) {
            None => product(codes, weights.transpose()),
            Some(below) => {
                product(activated(&layers[below], &all[below]).as_ref(), weights.transpose())
            }
        };
        let is_last = number > 0 && number + 1 == layers.len();
        let carry = layers.first().filter(|first| is_last && first.carry > 0);
        let carry = carry.map(DenseLayer::activated_dim);
        for (output, column) in sums.col_iter_mut().enumerate() {
            let carried = carry.map(|from| all[0].col(from + output));
            for (row, sum) in column.iter_mut().enumerate() {
                *sum += bias[output] + carried.map_or(0.0, |carried| carried[row]);
            }
        }
        all.push(sums);
    }
    all
}

/// What the next layer reads.
fn activated(layer: &DenseLayer, sums: &Mat<f64>) -> Mat<f64> {
    let functions: Vec<Activation> = activations(layer).collect();
    Mat::from_fn(sums.nrows(), functions.len(), |row, i| activation(functions[i], sums[(row, i)]))
}

/// On one thread: others work on other folds.
fn product(lhs: MatRef<'_, f64>, rhs: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(lhs.nrows(), rhs.ncols());
    matmul(&mut product, Accum::Replace, lhs, rhs, 1.0, Par::Seq);
    product
}

/// Of the smoothed label; the logits become the derivatives.
fn cross_entropy(logits: &mut [f64], label: usize, smoothing: f64) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = libm::log(logits.iter().map(|logit| libm::exp(logit - highest)).sum()) + highest;
    let spread = smoothing / logits.len().max(1) as f64;
    let mut loss = 0.0;
    for (class, logit) in logits.iter_mut().enumerate() {
        let target = spread + if class == label { 1.0 - smoothing } else { 0.0 };
        loss += target * (log_sum - *logit);
        *logit = libm::exp(*logit - log_sum) - target;
    }
    loss
}

/// Weights and bias of layer after layer.
fn parameters(layers: &[DenseLayer]) -> Vec<f64> {
    let values = layers.iter().flat_map(|layer| layer.weights.iter().chain(&layer.bias));
    values.map(|&value| f64::from(value)).collect()
}

fn write_parameters(layers: &mut [DenseLayer], from: &[f64]) {
    let values =
        layers.iter_mut().flat_map(|layer| layer.weights.iter_mut().chain(&mut layer.bias));
    values.zip(from).for_each(|(value, &from)| *value = from as f32);
}

/// Of half the squared distance from the present weights, beside the mean loss of a row.
const PENALTIES: [f64; 4] = [1.0, 0.1, 0.01, 0.001];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradients::tests::stage;

    fn rows(n: usize) -> Labelled {
        let code = |row: usize, dim: usize| (0.7 * (row * 3 + dim * dim) as f64).sin();
        Labelled { codes: Mat::from_fn(n, 4, code), labels: (0..n).map(|row| row % 3).collect() }
    }

    #[test]
    fn the_gradient_is_the_difference_that_small_steps_make() {
        for function in Activation::ALL {
            let (layers, rows) = (stage(function, [4, 5, 3]), rows(7));
            let start = parameters(&layers);
            let settings = &FineTuneSettings::default();
            let objective =
                Objective { layers: &layers, rows: &rows, settings, start: &start, penalty: 0.3 };
            let at: Vec<f64> = start.iter().map(|start| 0.9 * start + 0.01).collect();
            let gradient = objective.evaluate(&at).gradient;
            for place in (0..at.len()).step_by(3) {
                let value = |step: f64| {
                    let mut at = at.clone();
                    at[place] += step;
                    objective.evaluate(&at).value
                };
                let expected = (value(1e-5) - value(-1e-5)) / 2e-5;
                let found = gradient[place];
                assert!(
                    (found - expected).abs() < 1e-7,
                    "{function:?} {place}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn logits_are_those_of_the_reference() {
        let layers = stage(Activation::Relu, [4, 5, 3]);
        let rows = rows(5);
        let sums = sums(&layers, &parameters(&layers), rows.codes.as_ref());
        for row in 0..5 {
            let code: Vec<f64> = rows.codes.row(row).iter().copied().collect();
            let expected = crate::forward::chain(&layers, &code);
            let found = sums[2].row(row).iter();
            assert!(found.zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12));
        }
    }

    #[test]
    fn a_smoothed_label_costs_what_its_definition_says() {
        let mut logits = [0.0, libm::log(3.0)];
        // Probabilities of ¼ and ¾; targets of .1 and .9.
        let loss = cross_entropy(&mut logits, 1, 0.2);
        let expected = -0.1 * libm::log(0.25) - 0.9 * libm::log(0.75);
        assert!((loss - expected).abs() < 1e-12);
        assert!((logits[0] - 0.15).abs() < 1e-12 && (logits[1] + 0.15).abs() < 1e-12);
    }
}
