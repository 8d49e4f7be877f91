//! One dense layer: product, bias, batch normalisation, activation, dropout, and all of it back.

use faer::{Accum, MatRef};
use rayon::prelude::*;

use cic_model::Activation;

use super::activation::{activate, activate_backward};
use super::batch::Moment;
use super::batch_norm::BatchNorm;
use super::matmul::{matrix, matrix_mut, multiply};
use super::parameter::Parameter;
use super::rng::{Purpose, Rng};
use super::simd::vectorised;

/// `out = dropout(activation(norm(input · weights + bias)))` on the first `units` columns; the next
/// `carry` columns are left as the product gives them (the linear skip of the encoder), and the
/// last `appended` belong to the caller (the code beside the decoder's last hidden layer).
pub(crate) struct Layer {
    pub(crate) in_dim: usize,
    pub(crate) units: usize,
    pub(crate) carry: usize,
    /// Columns of `out` and `gradient`: units, carry, appended.
    pub(crate) stride: usize,
    pub(crate) activation: Activation,
    /// `[in_dim × (units + carry)]`
    pub(crate) weights: Parameter,
    /// `[1 × (units + carry)]`
    pub(crate) bias: Parameter,
    pub(crate) norm: Option<BatchNorm>,
    pub(crate) dropout: f32,
    /// `[max_rows × stride]`
    pub(crate) out: Vec<f32>,
    /// `[max_rows × stride]`, gradient of the loss by `out`.
    pub(crate) gradient: Vec<f32>,
    /// `[max_rows × units]`: 0 or 1 / (1 − dropout); empty without dropout.
    mask: Vec<f32>,
    /// Distinguishes the dropout streams of layers.
    id: u64,
}

/// Dimensions and behaviour of a layer.
pub(crate) struct LayerShape {
    pub(crate) in_dim: usize,
    pub(crate) units: usize,
    pub(crate) carry: usize,
    pub(crate) appended: usize,
    pub(crate) activation: Activation,
    pub(crate) batch_norm: bool,
    pub(crate) dropout: f32,
    pub(crate) max_rows: usize,
    pub(crate) id: u64,
}

impl Layer {
    /// Weights with variance `gain²/in_dim`, biases zero.
    pub(crate) fn new(shape: LayerShape, seed: u64) -> Self {
        let LayerShape { in_dim, units, carry, appended, max_rows, dropout, id, .. } = shape;
        let cols = units + carry;
        let mut weights = Parameter::new(in_dim, cols, true);
        let mut rng = Rng::stream(seed, Purpose::Initialise, id, 0);
        let gain = match shape.activation {
            Activation::Relu => core::f32::consts::SQRT_2,
            _ => 1.0,
        };
        let deviation = gain / (in_dim as f32).sqrt();
        weights.value.iter_mut().for_each(|weight| *weight = deviation * rng.normal());
        let mask = if dropout > 0.0 { vec![0.0; max_rows * units] } else { Vec::new() };
        let stride = cols + appended;
        Self {
            in_dim,
            units,
            carry,
            stride,
            activation: shape.activation,
            weights,
            bias: Parameter::new(1, cols, false),
            norm: shape.batch_norm.then(|| BatchNorm::new(units, max_rows)),
            dropout,
            out: vec![0.0; max_rows * stride],
            gradient: vec![0.0; max_rows * stride],
            mask,
            id,
        }
    }

    /// Columns of the product.
    pub(crate) fn cols(&self) -> usize {
        self.units + self.carry
    }

    /// The weights as a matrix.
    pub(crate) fn weight_matrix(&self) -> MatRef<'_, f32> {
        matrix(&self.weights.value, self.in_dim, self.cols(), self.cols())
    }

    /// What the next layer reads: its first `n_cols` columns of `out`.
    pub(crate) fn output(&self, n_rows: usize, n_cols: usize) -> MatRef<'_, f32> {
        matrix(&self.out, n_rows, self.stride, self.stride).subcols(0, n_cols)
    }

    /// Product with a dense input, then [`Self::finish`].
    pub(crate) fn forward(
        &mut self,
        input: MatRef<'_, f32>,
        accum: Accum,
        training: Option<&Moment>,
    ) {
        let n_rows = input.nrows();
        let (cols, stride) = (self.cols(), self.stride);
        let weights = matrix(&self.weights.value, self.in_dim, cols, cols);
        let out = matrix_mut(&mut self.out, n_rows, stride, stride).subcols_mut(0, cols);
        multiply(out, accum, input, weights);
        self.out[..n_rows * stride].par_chunks_mut(ROWS * stride).for_each(|rows| {
            rows.chunks_exact_mut(stride)
                .for_each(|row| add_to(&mut row[..cols], &self.bias.value));
        });
        self.finish(n_rows, training);
    }

    /// Everything after the product and its bias.
    pub(crate) fn finish(&mut self, n_rows: usize, training: Option<&Moment>) {
        let (units, stride) = (self.units, self.stride);
        if let Some(norm) = &mut self.norm {
            match training {
                Some(_) => norm.forward_training(&mut self.out, n_rows, stride),
                None => norm.forward_inference(&mut self.out, n_rows, stride),
            }
        }
        if self.activation != Activation::Identity {
            let activation = self.activation;
            self.out[..n_rows * stride].par_chunks_mut(ROWS * stride).for_each(|rows| {
                rows.chunks_exact_mut(stride)
                    .for_each(|row| activate(activation, &mut row[..units]));
            });
        }
        if let (Some(moment), false) = (training, self.mask.is_empty()) {
            let (dropout, id) = (self.dropout, self.id);
            let keep = 1.0 / (1.0 - dropout);
            self.out[..n_rows * stride]
                .par_chunks_mut(stride)
                .zip(self.mask.par_chunks_mut(units))
                .enumerate()
                .for_each(|(i, (row, mask))| {
                    let mut rng = moment.row(Purpose::DropHidden, i);
                    // Layers of one row draw from one stream: each takes its own turn.
                    let mut rng = Rng::stream(rng.next_u64(), Purpose::DropHidden, id, 0);
                    for (x, mask) in row.iter_mut().zip(mask) {
                        *mask = if rng.unit() < dropout { 0.0 } else { keep };
                        *x *= *mask;
                    }
                });
        }
    }

    /// From the gradient of `out` to that of the product, in place, and the bias's gradient.
    pub(crate) fn backward_outputs(&mut self, n_rows: usize) {
        let (units, stride, cols) = (self.units, self.stride, self.cols());
        if !self.mask.is_empty() {
            let keep = 1.0 - self.dropout;
            let rows =
                self.gradient.chunks_exact_mut(stride).zip(self.out.chunks_exact_mut(stride));
            for ((d, y), mask) in rows.zip(self.mask.chunks_exact(units)).take(n_rows) {
                for ((d, y), mask) in d.iter_mut().zip(y).zip(mask) {
                    *d *= mask;
                    // Back to the activated value, from which the derivative follows. Where it was
                    // dropped the gradient is zero already.
                    *y *= keep;
                }
            }
        }
        if self.activation != Activation::Identity {
            let (activation, out) = (self.activation, &self.out);
            self.gradient[..n_rows * stride]
                .par_chunks_mut(ROWS * stride)
                .zip(out.par_chunks(ROWS * stride))
                .for_each(|(d, y)| {
                    for (d, y) in d.chunks_exact_mut(stride).zip(y.chunks_exact(stride)) {
                        activate_backward(activation, &y[..units], &mut d[..units]);
                    }
                });
        }
        if let Some(norm) = &mut self.norm {
            norm.backward(&mut self.gradient, n_rows, stride);
        }
        self.bias.gradient.fill(0.0);
        for row in self.gradient.chunks_exact(stride).take(n_rows) {
            add_to(&mut self.bias.gradient, &row[..cols]);
        }
    }

    /// Gradient of the weights, after [`Self::backward_outputs`].
    pub(crate) fn backward_weights(&mut self, input: MatRef<'_, f32>) {
        let (cols, stride) = (self.cols(), self.stride);
        let d = matrix(&self.gradient, input.nrows(), stride, stride).subcols(0, cols);
        let gradient = matrix_mut(&mut self.weights.gradient, self.in_dim, cols, cols);
        multiply(gradient, Accum::Replace, input.transpose(), d);
    }

    /// Gradient of the input, written over or added to the first `in_dim` columns of `into`.
    pub(crate) fn backward_input(
        &self,
        into: &mut [f32],
        into_stride: usize,
        n_rows: usize,
        accum: Accum,
    ) {
        let (cols, stride) = (self.cols(), self.stride);
        let d = matrix(&self.gradient, n_rows, stride, stride).subcols(0, cols);
        let into = matrix_mut(into, n_rows, into_stride, into_stride).subcols_mut(0, self.in_dim);
        multiply(into, accum, d, self.weight_matrix().transpose());
    }

    /// Visits every trained matrix.
    pub(crate) fn for_each_parameter(&mut self, f: &mut dyn FnMut(&mut Parameter)) {
        f(&mut self.weights);
        f(&mut self.bias);
        if let Some(norm) = &mut self.norm {
            f(&mut norm.scale);
            f(&mut norm.shift);
        }
    }

    /// Visits the running statistics.
    pub(crate) fn for_each_statistic(&mut self, f: &mut dyn FnMut(&mut Vec<f32>)) {
        if let Some(norm) = &mut self.norm {
            f(&mut norm.running_mean);
            f(&mut norm.running_variance);
        }
    }
}

pub(crate) fn add_to(sums: &mut [f32], values: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        },
    );
}

/// Rows per task of the loops over elements.
const ROWS: usize = 32;
