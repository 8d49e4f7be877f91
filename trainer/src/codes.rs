//! Codes and logits of many profiles: what [`forward`](crate::forward()) gives, without the products with zeros.

use cic_data::CsrMatrix;
use cic_model::Network;
use rayon::prelude::*;

use crate::forward::{chain, chain_of_sums};

/// Encoder and classifier of a network.
pub(crate) struct Coder<'a> {
    network: &'a Network,
    /// Weights of the first layer, `[n_genes × out_dim]`.
    first: Vec<f64>,
}

/// What a network says of one profile.
#[derive(Clone, Debug)]
pub(crate) struct Coded {
    /// `[code_dim]`
    pub(crate) code: Vec<f64>,
    /// `[n_leaves]`, empty without a classifier.
    pub(crate) logits: Vec<f64>,
}

impl<'a> Coder<'a> {
    pub(crate) fn new(network: &'a Network) -> Self {
        let mut first = Vec::new();
        if let Some(layer) = network.encoder.first() {
            let out_dim = layer.out_dim();
            first = vec![0.0; layer.in_dim * out_dim];
            for (row, weights) in layer.weights.chunks_exact(layer.in_dim).enumerate() {
                for (gene, &weight) in weights.iter().enumerate() {
                    first[gene * out_dim + row] = f64::from(weight);
                }
            }
        }
        Self { network, first }
    }

    /// Of every row of network inputs, in order.
    pub(crate) fn code_rows(&self, inputs: &CsrMatrix) -> Vec<Coded> {
        (0..inputs.n_rows())
            .into_par_iter()
            .map(|row| {
                let (genes, values) = inputs.row(row);
                self.code(genes, values)
            })
            .collect()
    }

    /// Of one profile, whose other genes are zero.
    pub(crate) fn code(&self, genes: &[u32], values: &[f32]) -> Coded {
        let Some(first) = self.network.encoder.first() else {
            return Coded { code: Vec::new(), logits: Vec::new() };
        };
        let out_dim = first.out_dim();
        let mut sums = vec![0.0; out_dim];
        for (&gene, &value) in genes.iter().zip(values) {
            let weights = &self.first[gene as usize * out_dim..][..out_dim];
            let value = f64::from(value);
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight * value);
        }
        sums.iter_mut().zip(&first.bias).for_each(|(sum, &bias)| *sum += f64::from(bias));
        let code = chain_of_sums(&self.network.encoder, sums);
        let logits = chain(&self.network.classifier, &code);
        Coded { code, logits }
    }
}

#[cfg(test)]
mod tests {
    use cic_model::{Activation, Segment};

    use super::*;
    use crate::forward::forward;

    #[test]
    fn codes_are_those_of_the_reference() {
        let segment = |len, activation| Segment { len, activation };
        let layer = |in_dim, segments: Vec<Segment>, carry, seed: usize| {
            let out_dim = segments.iter().map(|s| s.len).sum::<usize>() + carry;
            let number = |i: usize| ((i * 37 + seed * 11) % 19) as f32 / 9.5 - 1.0;
            cic_model::DenseLayer {
                in_dim,
                segments,
                carry,
                weights: (0..in_dim * out_dim).map(number).collect(),
                bias: (0..out_dim).map(number).collect(),
            }
        };
        let network = Network {
            encoder: vec![
                layer(5, vec![segment(3, Activation::Tanh)], 2, 1),
                layer(3, vec![segment(2, Activation::Identity)], 0, 2),
            ],
            classifier: vec![layer(2, vec![segment(3, Activation::Identity)], 0, 3)],
            decoder: vec![],
        };
        let expected = forward(&network, &[0.0, 1.5, 0.0, -2.0, 0.0]);
        let found = Coder::new(&network).code(&[1, 3], &[1.5, -2.0]);
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(&found.code, &expected.code) && close(&found.logits, &expected.logits));
        assert_eq!(found.logits.len(), 3);
    }
}
