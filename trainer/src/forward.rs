//! What a frozen network computes, in double precision and the plainest loops: the reference that
//! faster implementations are compared with.

use cic_model::{Activation, DenseLayer, Network};

/// Everything a network says about one profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// `[code_dim]`
    pub code: Vec<f64>,
    /// `[n_leaves]`, empty without a classifier.
    pub logits: Vec<f64>,
    /// `[n_genes]` in the scale of the input, empty without a decoder.
    pub reconstruction: Vec<f64>,
}

/// Runs a preprocessed profile, `[n_genes]`, through encoder, classifier and decoder.
///
/// # Panics
///
/// If `x` is not as long as the first layer is wide, or the layers do not fit together.
pub fn forward(network: &Network, x: &[f32]) -> Outputs {
    let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let code = chain(&network.encoder, &x);
    Outputs {
        logits: chain(&network.classifier, &code),
        reconstruction: chain(&network.decoder, &code),
        code,
    }
}

/// Outputs of a stage; none without layers.
pub(crate) fn chain(layers: &[DenseLayer], x: &[f64]) -> Vec<f64> {
    let Some((last, before)) = layers.split_last() else { return Vec::new() };
    let Hidden { read, carried } = hidden(before, x);
    let mut y = product(last, &read);
    if !carried.is_empty() {
        assert_eq!(carried.len(), y.len(), "a carry is as long as the last layer's output");
        y.iter_mut().zip(&carried).for_each(|(y, carried)| *y += carried);
    }
    activate(last, &mut y);
    y
}

/// Outputs of a stage from the sums of its first layer, bias included.
pub(crate) fn chain_of_sums(layers: &[DenseLayer], mut sums: Vec<f64>) -> Vec<f64> {
    let Some((first, rest)) = layers.split_first() else { return Vec::new() };
    let carried = if first.carry > 0 { sums.split_off(first.activated_dim()) } else { Vec::new() };
    activate(first, &mut sums);
    if rest.is_empty() {
        return sums;
    }
    // The last layer of a stage is linear: what is added to its sums is added to its outputs.
    let mut y = chain(rest, &sums);
    y.iter_mut().zip(&carried).for_each(|(y, carried)| *y += carried);
    y
}

/// What the last layer of a stage is given.
pub(crate) struct Hidden {
    /// What it reads.
    pub(crate) read: Vec<f64>,
    /// What is added to its sums; empty without a carry.
    pub(crate) carried: Vec<f64>,
}

/// Runs the layers of a stage before its last one, which may be none.
pub(crate) fn hidden(before: &[DenseLayer], x: &[f64]) -> Hidden {
    let mut hidden = Hidden { read: x.to_vec(), carried: Vec::new() };
    for layer in before {
        let mut y = product(layer, &hidden.read);
        if layer.carry > 0 {
            hidden.carried = y.split_off(layer.activated_dim());
        }
        activate(layer, &mut y);
        hidden.read = y;
    }
    hidden
}

fn activate(layer: &DenseLayer, y: &mut [f64]) {
    let mut rest = y;
    for segment in &layer.segments {
        let (these, others) = rest.split_at_mut(segment.len);
        these.iter_mut().for_each(|y| *y = activation(segment.activation, *y));
        rest = others;
    }
}

/// Weights times `x`, with the bias.
pub(crate) fn product(layer: &DenseLayer, x: &[f64]) -> Vec<f64> {
    let mut y = weighted(layer, x);
    y.iter_mut().zip(&layer.bias).for_each(|(y, &bias)| *y += f64::from(bias));
    y
}

/// Weights times `x`.
pub(crate) fn weighted(layer: &DenseLayer, x: &[f64]) -> Vec<f64> {
    assert_eq!(layer.in_dim, x.len(), "the input is as long as the layer is wide");
    let rows = layer.weights.chunks_exact(layer.in_dim);
    rows.map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()).collect()
}

pub(crate) fn activation(activation: Activation, x: f64) -> f64 {
    let soft_plus = |x: f64| x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
        Activation::LogSigmoid => -soft_plus(-x),
        Activation::Tanh => libm::tanh(x),
        Activation::SoftPlus => soft_plus(x),
        Activation::SoftShrink => x - x.clamp(-0.5, 0.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cic_model::Segment;

    #[test]
    fn carries_and_segments_are_applied_where_the_format_says() {
        let relu = Segment { len: 1, activation: Activation::Relu };
        let tanh = Segment { len: 1, activation: Activation::Tanh };
        let identity = Segment { len: 1, activation: Activation::Identity };
        let first = DenseLayer {
            in_dim: 2,
            segments: vec![relu, tanh],
            carry: 1,
            weights: vec![1.0, -1.0, 0.5, 0.5, 2.0, 3.0],
            bias: vec![0.0, 0.25, -1.0],
        };
        let second = DenseLayer {
            in_dim: 2,
            segments: vec![identity],
            carry: 0,
            weights: vec![10.0, 4.0],
            bias: vec![0.125],
        };
        let network = Network { encoder: vec![first, second], classifier: vec![], decoder: vec![] };
        let outputs = forward(&network, &[1.0, 2.0]);
        // relu(1 − 2) = 0, tanh(1.75), carried 2 + 6 − 1.
        let expected = 4.0 * libm::tanh(1.75) + 0.125 + 7.0;
        assert!((outputs.code[0] - expected).abs() < 1e-12);
        assert!(outputs.logits.is_empty() && outputs.reconstruction.is_empty());
    }
}
