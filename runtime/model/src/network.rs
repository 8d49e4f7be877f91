//! A network in single precision, owned: what the trainer hands over and the quantiser reads.

use alloc::vec::Vec;

use crate::vocabulary::Activation;

/// Consecutive outputs of a layer that share an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Number of outputs.
    pub len: usize,
    /// What is applied to each of them.
    pub activation: Activation,
}

/// `y = f(W x + b)`, with everything that can be folded into `W` and `b` folded.
///
/// The outputs are the segments in order, then `carry` outputs without activation that skip the
/// rest of the stage: they are added to the pre-activations of the stage's last layer. A carry is
/// found only in the first layer of a stage of two or more layers, and its length is the output
/// dimension of the last.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseLayer {
    /// Number of inputs.
    pub in_dim: usize,
    /// Activated outputs, in order.
    pub segments: Vec<Segment>,
    /// Number of carried outputs, after the segments; 0 for none.
    pub carry: usize,
    /// `[out_dim × in_dim]`, row-major.
    pub weights: Vec<f32>,
    /// `[out_dim]`
    pub bias: Vec<f32>,
}

impl DenseLayer {
    /// Number of outputs: all segments and the carry.
    pub fn out_dim(&self) -> usize {
        self.activated_dim() + self.carry
    }

    /// Number of outputs that the next layer reads.
    pub fn activated_dim(&self) -> usize {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}

/// Three chains of layers. The encoder maps `[n_genes]` preprocessed values to the code
/// `[code_dim]`, the classifier maps the code to logits `[n_leaves]`, the decoder maps the code
/// back to preprocessed values `[n_genes]`. The last layer of each is linear (identity).
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Never empty.
    pub encoder: Vec<DenseLayer>,
    /// Empty where the model names no cell types.
    pub classifier: Vec<DenseLayer>,
    /// Empty where the model does not reproduce profiles.
    pub decoder: Vec<DenseLayer>,
}

impl Network {
    /// All layers, in the order of the model file: encoder, classifier, decoder.
    pub fn layers(&self) -> impl Iterator<Item = &DenseLayer> {
        self.encoder.iter().chain(&self.classifier).chain(&self.decoder)
    }

    /// The same, to be changed.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut DenseLayer> {
        self.encoder.iter_mut().chain(&mut self.classifier).chain(&mut self.decoder)
    }
}
