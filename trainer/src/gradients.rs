//! Derivatives of the stages of a frozen network, in double precision, through every activation, segment and carry that a
//! model file can have.

use cic_model::{Activation, DenseLayer};

use crate::forward::{activation, product, weighted};

/// A stage (encoder, classifier or decoder) at one input.
#[derive(Clone, Debug)]
pub struct StageAt<'a> {
    layers: &'a [DenseLayer],
    /// What the activations of every layer are applied to, with its carried outputs behind them.
    sums: Vec<Vec<f64>>,
    outputs: Vec<f64>,
}

impl<'a> StageAt<'a> {
    /// Computes a stage.
    ///
    /// # Panics
    /// If there is no layer, or `x` is not as long as the first layer is wide.
    pub fn new(layers: &'a [DenseLayer], x: &[f64]) -> Self {
        Self::from_first_sums(layers, product(&layers[0], x))
    }

    /// The same from the sums of the first layer, `[out_dim]`, bias included.
    pub(crate) fn from_first_sums(layers: &'a [DenseLayer], first: Vec<f64>) -> Self {
        let carried = layers[0].activated_dim();
        let mut sums = vec![first];
        let mut x = activated(&layers[0], &sums[0]);
        for (number, layer) in layers.iter().enumerate().skip(1) {
            let mut next = product(layer, &x);
            if number + 1 == layers.len() {
                add(&mut next, &sums[0][carried..]);
            }
            x = activated(layer, &next);
            sums.push(next);
        }
        Self { layers, sums, outputs: x }
    }

    /// `[out_dim]` of the last layer.
    pub fn outputs(&self) -> &[f64] {
        &self.outputs
    }

    /// How the outputs change along a direction of the input: the Jacobian times `direction`.
    ///
    /// # Panics
    /// If `direction` is not as long as the input.
    pub fn along(&self, direction: &[f64]) -> Vec<f64> {
        let mut carried = Vec::new();
        let mut x = direction.to_vec();
        for (number, (layer, sums)) in self.layers.iter().zip(&self.sums).enumerate() {
            let mut next = weighted(layer, &x);
            if number > 0 && number + 1 == self.layers.len() {
                add(&mut next, &carried);
            }
            let carry = next.split_off(layer.activated_dim());
            if number == 0 {
                carried = carry;
            }
            next.iter_mut().zip(slopes(layer, sums)).for_each(|(x, slope)| *x *= slope);
            x = next;
        }
        x
    }

    /// How a weighted sum of the outputs changes with every input: `of_outputs` times the Jacobian.
    ///
    /// # Panics
    /// If `of_outputs` is not as long as the outputs.
    pub fn gradient(&self, of_outputs: &[f64]) -> Vec<f64> {
        weighted_back(&self.layers[0], &self.first_sum_gradient(of_outputs))
    }

    /// The same with every sum of the first layer.
    pub(crate) fn first_sum_gradient(&self, of_outputs: &[f64]) -> Vec<f64> {
        assert_eq!(of_outputs.len(), self.outputs.len(), "a weight for each output");
        let mut gradient = of_outputs.to_vec();
        let mut carried = Vec::new();
        for (number, (layer, sums)) in self.layers.iter().zip(&self.sums).enumerate().rev() {
            gradient.iter_mut().zip(slopes(layer, sums)).for_each(|(x, slope)| *x *= slope);
            if number == 0 {
                break;
            }
            if number + 1 == self.layers.len() && self.layers[0].carry > 0 {
                carried = gradient.clone();
            }
            gradient = weighted_back(layer, &gradient);
        }
        gradient.extend(carried);
        gradient
    }
}

/// `y` times the weights: `[in_dim]`.
pub(crate) fn weighted_back(layer: &DenseLayer, y: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; layer.in_dim];
    for (row, &y) in layer.weights.chunks_exact(layer.in_dim).zip(y) {
        if y != 0.0 {
            x.iter_mut().zip(row).for_each(|(x, &weight)| *x += f64::from(weight) * y);
        }
    }
    x
}

fn activated(layer: &DenseLayer, sums: &[f64]) -> Vec<f64> {
    activations(layer).zip(sums).map(|(function, &sum)| activation(function, sum)).collect()
}

fn slopes(layer: &DenseLayer, sums: &[f64]) -> impl Iterator<Item = f64> {
    activations(layer).zip(sums).map(|(function, &sum)| slope(function, sum))
}

/// Of every output but the carried ones.
pub(crate) fn activations(layer: &DenseLayer) -> impl Iterator<Item = Activation> {
    layer.segments.iter().flat_map(|segment| std::iter::repeat_n(segment.activation, segment.len))
}

/// Derivative of an activation; where it has a corner, that of its left side.
pub(crate) fn slope(function: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| activation(Activation::Sigmoid, x);
    match function {
        Activation::Identity => 1.0,
        Activation::Relu => f64::from(x > 0.0),
        Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
        Activation::LogSigmoid => sigmoid(-x),
        Activation::Tanh => 1.0 - libm::tanh(x).powi(2),
        Activation::SoftPlus => sigmoid(x),
        Activation::SoftShrink => f64::from(!(-0.5..=0.5).contains(&x)),
    }
}

fn add(sums: &mut [f64], more: &[f64]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

#[cfg(test)]
pub(crate) mod tests {
    use cic_model::{Network, Segment};

    use super::*;
    use crate::forward::forward;

    /// A layer of weights by a formula, its activations in turn.
    pub(crate) fn layer(
        in_dim: usize,
        segments: &[(usize, Activation)],
        carry: usize,
    ) -> DenseLayer {
        let segments = segments.iter().map(|&(len, activation)| Segment { len, activation });
        let mut layer = DenseLayer {
            in_dim,
            segments: segments.collect(),
            carry,
            weights: Vec::new(),
            bias: Vec::new(),
        };
        let n = layer.out_dim();
        let value = |at: usize| (0.37 * (at * at % 97) as f64 + in_dim as f64).sin() as f32;
        layer.weights = (0..n * in_dim).map(value).collect();
        layer.bias = (0..n).map(|at| 0.3 * value(at + 11)).collect();
        layer
    }

    /// Two hidden layers of one activation beside tanh, with a carry past them.
    pub(crate) fn stage(function: Activation, sizes: [usize; 3]) -> Vec<DenseLayer> {
        let [input, hidden, output] = sizes;
        vec![
            layer(input, &[(hidden, function), (2, Activation::Tanh)], output),
            layer(hidden + 2, &[(hidden, function)], 0),
            layer(hidden, &[(output, Activation::Identity)], 0),
        ]
    }

    fn input(n: usize) -> Vec<f64> {
        (0..n).map(|at| f64::from((1.0 + 0.7 * at as f32).cos())).collect()
    }

    #[test]
    fn outputs_are_those_of_the_reference() {
        for function in Activation::ALL {
            let encoder = stage(function, [6, 5, 3]);
            let x = input(6);
            let network = Network { encoder, classifier: vec![], decoder: vec![] };
            let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            let expected = forward(&network, &narrow).code;
            let found = StageAt::new(&network.encoder, &x);
            for (found, expected) in found.outputs().iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{function:?}");
            }
        }
    }

    #[test]
    fn derivatives_are_the_differences_that_small_steps_make() {
        for function in Activation::ALL {
            let layers = stage(function, [6, 5, 3]);
            let (x, weights) = (input(6), [0.5, -1.0, 2.0]);
            let here = StageAt::new(&layers, &x);
            let gradient = here.gradient(&weights);
            for at in 0..6 {
                let moved = |step: f64| {
                    let mut x = x.clone();
                    x[at] += step;
                    StageAt::new(&layers, &x).outputs().to_vec()
                };
                let (above, below) = (moved(1e-6), moved(-1e-6));
                let differences: Vec<f64> =
                    above.iter().zip(&below).map(|(a, b)| (a - b) / 2e-6).collect();
                let direction: Vec<f64> = (0..6).map(|other| f64::from(other == at)).collect();
                for (found, expected) in here.along(&direction).iter().zip(&differences) {
                    assert!((found - expected).abs() < 1e-7, "{function:?}: {found} {expected}");
                }
                let expected: f64 = differences.iter().zip(weights).map(|(d, w)| d * w).sum();
                let found = gradient[at];
                assert!((found - expected).abs() < 1e-7, "{function:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_stage_of_one_layer_has_its_weights_for_derivatives() {
        let layers = [layer(4, &[(2, Activation::Identity)], 0)];
        let stage = StageAt::new(&layers, &[1.0, 2.0, 3.0, 4.0]);
        let row: Vec<f64> = layers[0].weights[4..].iter().map(|&w| f64::from(w)).collect();
        assert_eq!(stage.gradient(&[0.0, 1.0]), row);
        assert_eq!(stage.along(&[0.0, 0.0, 1.0, 0.0])[1], row[2]);
    }
}
