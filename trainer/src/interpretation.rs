//! What a frozen network's numbers stand for: which genes a dimension of the code moves, and which genes decided a call.

use cic_model::{DenseLayer, Network};

use crate::forward::product;
use crate::gradients::{StageAt, weighted_back};

/// What a dimension of the code stands for, gene by gene, in units of the preprocessed values. All are `[n_genes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DimensionEffect {
    /// Decoded mean code with this dimension raised, less the decoded mean code.
    pub change: Vec<f64>,
    /// Derivative of the decoded profile with the dimension, at the mean code.
    pub decoder_gradient: Vec<f64>,
    /// Derivative of the dimension with the profile, at the profile given.
    pub encoder_gradient: Vec<f64>,
}

/// Where dimensions are looked at.
#[derive(Clone, Copy, Debug)]
pub struct CodeStatistics<'a> {
    /// Mean of every dimension, `[code_dim]`.
    pub mean: &'a [f64],
    /// Standard deviation of every dimension, `[code_dim]`.
    pub sd: &'a [f64],
}

/// How far a dimension is raised, in standard deviations, where the paper looks at it.
pub const RAISED_BY: f64 = 2.0;

/// What a dimension stands for: the mean code with this dimension raised by [`RAISED_BY`] standard deviations, decoded,
/// less the decoded mean code; and derivatives, of the decoder there and of the encoder at `profile`.
///
/// # Panics
/// If the network has no decoder, there is no such dimension, or a length is wrong.
pub fn dimension_effect(
    network: &Network,
    code: CodeStatistics<'_>,
    dimension: usize,
    profile: &[f32],
) -> DimensionEffect {
    let here = StageAt::new(&network.decoder, code.mean);
    let mut raised = code.mean.to_vec();
    raised[dimension] += RAISED_BY * code.sd[dimension];
    let raised = StageAt::new(&network.decoder, &raised);
    let change = raised.outputs().iter().zip(here.outputs()).map(|(a, b)| a - b).collect();
    let alone: Vec<f64> = (0..code.mean.len()).map(|at| f64::from(at == dimension)).collect();
    let profile: Vec<f64> = profile.iter().map(|&value| f64::from(value)).collect();
    DimensionEffect {
        change,
        decoder_gradient: here.along(&alone),
        encoder_gradient: StageAt::new(&network.encoder, &profile).gradient(&alone),
    }
}

/// What a type is told apart from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// All other types together.
    Others,
    /// One other type.
    Leaf(usize),
}

/// The log-odds of a type: `ln(p / (1 − p))` of its probability among all types, or `ln(p / q)` against one other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogOdds {
    /// Its leaf.
    pub leaf: usize,
    /// What it is told apart from.
    pub against: Against,
    /// Logits are multiplied by this before they become probabilities.
    pub inverse_temperature: f64,
}

impl LogOdds {
    /// From logits of two leaves or more.
    pub fn value(&self, logits: &[f64]) -> f64 {
        self.inverse_temperature
            * match self.against {
                Against::Leaf(other) => logits[self.leaf] - logits[other],
                Against::Others => {
                    let others = self.others(logits);
                    let largest = others.clone().fold(f64::NEG_INFINITY, f64::max);
                    let scale = self.inverse_temperature;
                    let sum: f64 = others.map(|z| libm::exp(scale * (z - largest))).sum();
                    logits[self.leaf] - largest - libm::log(sum) / scale
                }
            }
    }

    /// Derivatives with every logit.
    fn gradient(&self, logits: &[f64]) -> Vec<f64> {
        let mut gradient = match self.against {
            Against::Leaf(other) => {
                let is_other = |leaf| if leaf == other { -1.0 } else { 0.0 };
                (0..logits.len()).map(is_other).collect::<Vec<f64>>()
            }
            Against::Others => {
                let largest = self.others(logits).fold(f64::NEG_INFINITY, f64::max);
                let weight = |&z: &f64| libm::exp(self.inverse_temperature * (z - largest));
                let mut weights: Vec<f64> = logits.iter().map(weight).collect();
                weights[self.leaf] = 0.0;
                let sum: f64 = weights.iter().sum();
                weights.iter().map(|weight| -weight / sum).collect()
            }
        };
        gradient[self.leaf] = 1.0;
        gradient.iter_mut().for_each(|slope| *slope *= self.inverse_temperature);
        gradient
    }

    fn others<'a>(&self, logits: &'a [f64]) -> impl Iterator<Item = f64> + Clone + use<'a> {
        let own = self.leaf;
        logits.iter().enumerate().filter(move |(leaf, _)| *leaf != own).map(|(_, &logit)| logit)
    }
}

/// What each gene contributed to the log-odds of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    /// `[n_genes]`; zero where the cell has the value of the baseline.
    pub genes: Vec<f64>,
    /// Log-odds of the cell.
    pub at_cell: f64,
    /// Log-odds of the baseline.
    pub at_baseline: f64,
    /// Steps along the path.
    pub n_steps: usize,
}

impl Contributions {
    /// What they should sum to.
    pub fn difference(&self) -> f64 {
        self.at_cell - self.at_baseline
    }

    /// What they sum to.
    pub fn sum(&self) -> f64 {
        self.genes.iter().sum()
    }

    /// How far the sum is from the difference, as a share of the difference.
    pub fn error(&self) -> f64 {
        relative_error(self.sum(), self.difference())
    }
}

/// Contributions of genes to the log-odds of a type, by integrated gradients (Sundararajan, Taly and Yan 2017): the
/// gradient along the straight path from `baseline` to `cell`, both `[n_genes]` of preprocessed values, integrated by
/// midpoints. Steps are doubled until the contributions sum to the difference within [`TOLERANCE`], or there are
/// [`MOST_STEPS`].
///
/// Along the path the first layer's sums change in proportion, so each step costs only the layers behind it.
///
/// # Panics
/// If the network has no classifier of two leaves or more, there is no such leaf, or a length is wrong.
pub fn contributions(
    network: &Network,
    cell: &[f32],
    baseline: &[f32],
    target: LogOdds,
) -> Contributions {
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| f64::from(x)).collect() };
    let (cell, baseline) = (wide(cell), wide(baseline));
    let path = Path {
        network,
        from: product(&network.encoder[0], &baseline),
        to: product(&network.encoder[0], &cell),
        target,
    };
    let (at_baseline, at_cell) = (path.value(0.0), path.value(1.0));
    let mut n_steps = FEWEST_STEPS;
    let mean_gradient = loop {
        let gradient = path.mean_gradient(n_steps);
        let along = path.from.iter().zip(&path.to).zip(&gradient);
        let sum: f64 = along.map(|((from, to), slope)| (to - from) * slope).sum();
        if relative_error(sum, at_cell - at_baseline) <= TOLERANCE || n_steps >= MOST_STEPS {
            break gradient;
        }
        n_steps *= 2;
    };
    let slopes = weighted_back(&network.encoder[0], &mean_gradient);
    let genes = cell.iter().zip(&baseline).zip(slopes).map(|((x, b), slope)| (x - b) * slope);
    Contributions { genes: genes.collect(), at_cell, at_baseline, n_steps }
}

/// Share of the difference that contributions may be off by.
pub const TOLERANCE: f64 = 1e-3;
/// Most steps along a path, a power of two.
pub const MOST_STEPS: usize = 1 << 14;
const FEWEST_STEPS: usize = 1 << 6;

/// From a baseline to a cell, in sums of the first layer.
struct Path<'a> {
    network: &'a Network,
    from: Vec<f64>,
    to: Vec<f64>,
    target: LogOdds,
}

impl Path<'_> {
    fn value(&self, at: f64) -> f64 {
        self.target.value(self.stages(at).1.outputs())
    }

    /// Mean over the path of the derivatives with the first layer's sums.
    fn mean_gradient(&self, n_steps: usize) -> Vec<f64> {
        let mut mean = vec![0.0; self.from.len()];
        for step in 0..n_steps {
            let (encoder, classifier) = self.stages((step as f64 + 0.5) / n_steps as f64);
            let of_logits = self.target.gradient(classifier.outputs());
            let of_sums = encoder.first_sum_gradient(&classifier.gradient(&of_logits));
            mean.iter_mut().zip(of_sums).for_each(|(mean, slope)| *mean += slope / n_steps as f64);
        }
        mean
    }

    /// Encoder and classifier at a point of the path, 0 to 1.
    fn stages(&self, at: f64) -> (StageAt<'_>, StageAt<'_>) {
        let sums = self.from.iter().zip(&self.to).map(|(from, to)| from + at * (to - from));
        let encoder: &[DenseLayer] = &self.network.encoder;
        let encoder = StageAt::from_first_sums(encoder, sums.collect());
        let classifier = StageAt::new(&self.network.classifier, encoder.outputs());
        (encoder, classifier)
    }
}

fn relative_error(found: f64, expected: f64) -> f64 {
    match (found - expected).abs() {
        0.0 => 0.0,
        error => error / expected.abs(),
    }
}

#[cfg(test)]
mod tests {
    use cic_model::Activation;

    use super::*;
    use crate::forward::forward;
    use crate::gradients::tests::{layer, stage};

    const N_GENES: usize = 7;

    fn network(function: Activation) -> Network {
        Network {
            encoder: stage(function, [N_GENES, 6, 3]),
            classifier: vec![
                layer(3, &[(5, function)], 0),
                layer(5, &[(4, Activation::Identity)], 0),
            ],
            decoder: stage(function, [3, 5, N_GENES]),
        }
    }

    fn profiles() -> [Vec<f32>; 2] {
        let cell = (0..N_GENES).map(|gene| 1.5 * (0.9 * gene as f32).sin());
        let baseline = (0..N_GENES).map(|gene| 0.4 * (1.7 * gene as f32).cos());
        [cell.collect(), baseline.collect()]
    }

    const TARGETS: [LogOdds; 2] = [
        LogOdds { leaf: 2, against: Against::Others, inverse_temperature: 0.7 },
        LogOdds { leaf: 1, against: Against::Leaf(3), inverse_temperature: 1.3 },
    ];

    #[test]
    fn contributions_sum_to_the_difference_with_every_activation() {
        let [cell, baseline] = profiles();
        for function in Activation::ALL {
            let network = network(function);
            for target in TARGETS {
                let found = contributions(&network, &cell, &baseline, target);
                assert!(found.error() <= TOLERANCE, "{function:?}: {found:?}");
                let expected = target.value(&forward(&network, &cell).logits);
                assert!((found.at_cell - expected).abs() < 1e-12, "{function:?}");
            }
        }
    }

    /// The definition, with differences for derivatives of the reference network.
    #[test]
    fn contributions_are_the_integral_of_gradients() {
        let [cell, baseline] = profiles();
        let network = network(Activation::Tanh);
        let target = TARGETS[0];
        let found = contributions(&network, &cell, &baseline, target);
        let n = 200;
        for gene in 0..N_GENES {
            let mut sum = 0.0;
            for step in 0..n {
                let at = (step as f32 + 0.5) / n as f32;
                let point = cell.iter().zip(&baseline).map(|(x, b)| b + at * (x - b));
                let point: Vec<f32> = point.collect();
                let moved = |step: f32| {
                    let mut x = point.clone();
                    x[gene] += step;
                    target.value(&forward(&network, &x).logits)
                };
                sum += (moved(0.01) - moved(-0.01)) / 0.02 / f64::from(n);
            }
            let expected = sum * f64::from(cell[gene] - baseline[gene]);
            let found = found.genes[gene];
            assert!((found - expected).abs() < 1e-3, "gene {gene}: {found} for {expected}");
        }
    }

    #[test]
    fn log_odds_are_those_of_probabilities() {
        let logits = [0.3, -1.0, 2.0, 0.5];
        for target in TARGETS {
            let weight = |leaf: usize| (target.inverse_temperature * logits[leaf]).exp();
            let all: f64 = (0..4).map(weight).sum();
            let expected = match target.against {
                Against::Others => weight(target.leaf) / (all - weight(target.leaf)),
                Against::Leaf(other) => weight(target.leaf) / weight(other),
            };
            assert!((target.value(&logits) - expected.ln()).abs() < 1e-12);
            for (leaf, found) in target.gradient(&logits).into_iter().enumerate() {
                let moved = |step: f64| {
                    let mut logits = logits;
                    logits[leaf] += step;
                    target.value(&logits)
                };
                assert!((found - (moved(1e-6) - moved(-1e-6)) / 2e-6).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn a_cell_at_the_baseline_has_no_contributions() {
        let [cell, _] = profiles();
        let found = contributions(&network(Activation::Relu), &cell, &cell, TARGETS[0]);
        assert_eq!((found.sum(), found.error()), (0.0, 0.0));
    }

    #[test]
    fn effects_of_dimensions_are_differences_of_the_reference() {
        let network = network(Activation::SoftPlus);
        let [profile, _] = profiles();
        let code = CodeStatistics { mean: &[0.1, -0.2, 0.3], sd: &[1.0, 0.5, 2.0] };
        let found = dimension_effect(&network, code, 1, &profile);
        let decoded = |shift: f32| {
            let alone =
                Network { encoder: network.decoder.clone(), classifier: vec![], decoder: vec![] };
            forward(&alone, &[0.1, -0.2 + shift, 0.3]).code
        };
        let encoded = |gene: usize, step: f32| {
            let mut profile = profile.clone();
            profile[gene] += step;
            forward(&network, &profile).code[1]
        };
        for gene in 0..N_GENES {
            let close = |a: f64, b: f64, within: f64| assert!((a - b).abs() < within, "{a} {b}");
            close(found.change[gene], decoded(1.0)[gene] - decoded(0.0)[gene], 1e-6);
            let slope = (decoded(0.01)[gene] - decoded(-0.01)[gene]) / 0.02;
            close(found.decoder_gradient[gene], slope, 1e-3);
            let slope = (encoded(gene, 0.01) - encoded(gene, -0.01)) / 0.02;
            close(found.encoder_gradient[gene], slope, 1e-3);
        }
    }
}
