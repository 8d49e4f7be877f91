//! The classifier autoencoder: encoder → code → decoder and classifier branches.

use faer::{Accum, MatRef};

use cic_model::{Activation, StageKind};

use crate::TrainError;
use crate::engine::batch::{Batch, BatchValues, Moment};
use crate::engine::drawn_genes::DrawnGenes;
use crate::engine::layer::{Layer, LayerShape, add_to};
use crate::engine::losses::{Pass, classify, reconstruct};
use crate::engine::matmul::matrix;
use crate::engine::parameter::{Parameter, SkipPart};
use crate::engine::rng::Purpose;
use crate::engine::standardiser::Standardiser;
use crate::pca::Pca;

/// Shape of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Inputs and reconstructed values, at least 1.
    pub n_genes: usize,
    /// Units of the encoder's hidden layers, from the genes to the code; may be empty.
    pub encoder_hidden: Vec<usize>,
    /// Length of the code, at least 1.
    pub code: usize,
    /// Units of the decoder's hidden layers, from the code to the genes; may be empty.
    pub decoder_hidden: Vec<usize>,
    /// Units of the classifier's hidden layers; may be empty.
    pub head_hidden: Vec<usize>,
    /// Logits; 0 for no classifier.
    pub n_classes: usize,
    /// Of every hidden layer.
    pub activation: Activation,
    /// Batch normalisation before every hidden activation.
    pub batch_norm: bool,
    /// A linear path beside encoder and decoder that starts as the principal components.
    pub linear_skip: bool,
}

impl Architecture {
    /// Encoder with the given hidden layers, a mirrored decoder and a classifier with one hidden
    /// layer of 64 where there are classes.
    pub fn mirrored(
        n_genes: usize,
        encoder_hidden: Vec<usize>,
        code: usize,
        n_classes: usize,
    ) -> Self {
        let decoder_hidden = encoder_hidden.iter().rev().copied().collect();
        Self {
            n_genes,
            encoder_hidden,
            code,
            decoder_hidden,
            head_hidden: if n_classes > 0 { vec![64] } else { Vec::new() },
            n_classes,
            activation: Activation::Relu,
            batch_norm: false,
            linear_skip: true,
        }
    }

    /// Number of weights and biases of encoder and classifier, what a device stores.
    pub fn n_deployed_weights(&self) -> usize {
        let chain = |dims: &[usize]| dims.windows(2).map(|d| (d[0] + 1) * d[1]).sum::<usize>();
        let skip = self.linear_skip && !self.encoder_hidden.is_empty();
        let skip = if skip { self.n_genes * self.code } else { 0 };
        let head = if self.n_classes > 0 { chain(&self.head_dims()) } else { 0 };
        chain(&self.encoder_dims()) + skip + head
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let parameter = |name, value: usize, expected| {
            Err(TrainError::Parameter { name, value: value.to_string(), expected })
        };
        if self.n_genes == 0 {
            return parameter("n_genes", 0, "at least 1");
        }
        if self.code == 0 {
            return parameter("code", 0, "at least 1");
        }
        if self.n_classes == 1 {
            return parameter("n_classes", 1, "0 for no classifier, or at least 2");
        }
        let hidden = [&self.encoder_hidden, &self.decoder_hidden, &self.head_hidden];
        if hidden.into_iter().flatten().any(|&units| units == 0) {
            return parameter("hidden units", 0, "at least 1 in every layer");
        }
        Ok(())
    }

    fn encoder_dims(&self) -> Vec<usize> {
        chain_dims(self.n_genes, &self.encoder_hidden, self.code)
    }

    fn decoder_dims(&self) -> Vec<usize> {
        chain_dims(self.code, &self.decoder_hidden, self.n_genes)
    }

    fn head_dims(&self) -> Vec<usize> {
        chain_dims(self.code, &self.head_hidden, self.n_classes)
    }
}

fn chain_dims(first: usize, hidden: &[usize], last: usize) -> Vec<usize> {
    let mut dims = vec![first];
    dims.extend_from_slice(hidden);
    dims.push(last);
    dims
}

/// Strengths of the two losses and of what disturbs the hidden values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective {
    pub(crate) lambda_recon: f32,
    pub(crate) lambda_class: f32,
    /// In standard deviations of each code dimension over the batch.
    pub(crate) code_noise: f32,
}

/// Sums over the rows of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LossSums {
    /// Share of variance not explained.
    pub(crate) recon: f64,
    /// Weighted cross-entropy.
    pub(crate) class: f64,
}

/// A network in training, with all its buffers.
pub(crate) struct Autoencoder {
    pub(crate) architecture: Architecture,
    pub(crate) encoder: Vec<Layer>,
    pub(crate) decoder: Vec<Layer>,
    /// Empty without classes.
    pub(crate) head: Vec<Layer>,
    /// `[max_rows × code]`, what the branches read: the encoder's output and its noise.
    pub(crate) code: Vec<f32>,
    code_gradient: Vec<f32>,
    /// The genes that a step reproduces, where it is not all of them.
    pub(crate) drawn: Option<DrawnGenes>,
    /// Room for the spread of each code dimension.
    deviation: Vec<f32>,
    /// Room for the sums of the sparse first layer.
    sums: Vec<f32>,
    /// Room for partial sums.
    tiles: Vec<f64>,
}

impl Autoencoder {
    /// A network with random weights and, with a linear skip, the given components on it and zero
    /// in the last layer beside it.
    pub(crate) fn new(
        architecture: &Architecture,
        hidden_dropout: f32,
        max_rows: usize,
        seed: u64,
        start: Option<(&Pca, &Standardiser)>,
    ) -> Self {
        let code = architecture.code;
        let stage = |dims: &[usize], carry: usize, appended: usize, id: u64| -> Vec<Layer> {
            let last = dims.len() - 2;
            let shape = |i: usize| LayerShape {
                in_dim: dims[i] + if i == last && i > 0 { appended } else { 0 },
                units: dims[i + 1],
                carry: if i == 0 && last > 0 { carry } else { 0 },
                appended: if i + 1 == last { appended } else { 0 },
                activation: if i == last { Activation::Identity } else { architecture.activation },
                batch_norm: architecture.batch_norm && i != last,
                dropout: if i == last { 0.0 } else { hidden_dropout },
                max_rows,
                id: id + i as u64,
            };
            (0..=last).map(|i| Layer::new(shape(i), seed)).collect()
        };
        let skip = if architecture.linear_skip { code } else { 0 };
        let encoder = stage(&architecture.encoder_dims(), skip, 0, 100);
        let decoder = stage(&architecture.decoder_dims(), 0, skip, 200);
        let has_head = architecture.n_classes > 0;
        let head = if has_head { stage(&architecture.head_dims(), 0, 0, 300) } else { Vec::new() };
        let mut network = Self {
            architecture: architecture.clone(),
            sums: Vec::new(),
            encoder,
            decoder,
            head,
            code: vec![0.0; max_rows * code],
            code_gradient: vec![0.0; max_rows * code],
            drawn: None,
            deviation: vec![0.0; code],
            tiles: Vec::new(),
        };
        if let Some((pca, standardiser)) = start {
            network.start_from(pca, standardiser);
        }
        network
    }

    /// Code, and with classes logits, of a batch.
    pub(crate) fn forward(
        &mut self,
        batch: &Batch,
        standardiser: &Standardiser,
        objective: &Objective,
        training: Option<&Moment>,
    ) {
        let n_rows = batch.n_rows;
        self.encode(batch, standardiser, training);
        let code_dim = self.architecture.code;
        let code = &mut self.code[..n_rows * code_dim];
        code.copy_from_slice(&last(&self.encoder).out[..n_rows * code_dim]);
        if let (Some(moment), true) = (training, objective.code_noise > 0.0) {
            add_code_noise(code, &mut self.deviation, objective.code_noise, moment);
        }
        let code = matrix(&self.code, n_rows, code_dim, code_dim);
        let (_, hidden) = split_last(&mut self.decoder);
        forward_chain(hidden, code, training);
        if let (Some(layer), true) = (hidden.last_mut(), self.architecture.linear_skip) {
            let (stride, units) = (layer.stride, layer.units);
            let rows = layer.out.chunks_exact_mut(stride).zip(self.code.chunks_exact(code_dim));
            rows.take(n_rows).for_each(|(row, code)| row[units..].copy_from_slice(code));
        }
        forward_chain(&mut self.head, code, training);
    }

    /// Draws the genes that the step (from 0) reproduces.
    pub(crate) fn draw_genes(&mut self, step: u64) {
        if let Some(drawn) = &mut self.drawn {
            drawn.draw(step, split_last(&mut self.decoder).0);
        }
    }

    /// Losses of the batch that went forward last; in training leaves their gradients in every
    /// parameter.
    pub(crate) fn losses(
        &mut self,
        batch: &Batch,
        standardiser: &Standardiser,
        objective: &Objective,
        pass: Pass,
    ) -> LossSums {
        let n_rows = batch.n_rows;
        let code_dim = self.architecture.code;
        let per_row = 1.0 / n_rows as f32;
        let code = matrix(&self.code, n_rows, code_dim, code_dim);
        let (output, hidden) = split_last(&mut self.decoder);
        let input = match hidden.last() {
            Some(layer) => layer.output(n_rows, output.in_dim),
            None => code,
        };
        let scale = objective.lambda_recon * per_row;
        let tiles = &mut self.tiles;
        let recon = match &mut self.drawn {
            Some(drawn) if pass == Pass::Training => {
                drawn.reconstruct(output, input, batch, standardiser, scale, tiles)
            }
            _ => reconstruct(output, input, batch, standardiser, scale, pass, tiles),
        };
        let class = match self.head.last_mut() {
            Some(head) => classify(head, batch, objective.lambda_class * per_row),
            None => 0.0,
        };
        if pass == Pass::Training {
            self.backward(batch, standardiser);
        }
        LossSums { recon, class }
    }

    /// Visits every trained matrix, always in the same order.
    pub(crate) fn for_each_parameter(&mut self, f: &mut dyn FnMut(&mut Parameter)) {
        for layer in self.encoder.iter_mut().chain(&mut self.decoder).chain(&mut self.head) {
            layer.for_each_parameter(f);
        }
    }

    /// Visits every layer, always in the same order.
    pub(crate) fn for_each_layer(&mut self, f: &mut dyn FnMut(&mut Layer, StageKind)) {
        let stages = [
            (&mut self.encoder, StageKind::Encoder),
            (&mut self.decoder, StageKind::Decoder),
            (&mut self.head, StageKind::Classifier),
        ];
        for (layers, stage) in stages {
            layers.iter_mut().for_each(|layer| f(layer, stage));
        }
    }

    /// Visits everything that inference depends on: trained values and running statistics.
    pub(crate) fn for_each_state(&mut self, f: &mut dyn FnMut(&mut Vec<f32>)) {
        for layer in self.encoder.iter_mut().chain(&mut self.decoder).chain(&mut self.head) {
            layer.for_each_parameter(&mut |parameter| f(&mut parameter.value));
            layer.for_each_statistic(f);
        }
    }

    fn encode(&mut self, batch: &Batch, standardiser: &Standardiser, training: Option<&Moment>) {
        let n_rows = batch.n_rows;
        let n_genes = self.architecture.n_genes;
        let (first, rest) = self.encoder.split_first_mut().expect("an encoder has a layer");
        match &batch.values {
            BatchValues::Dense { input, .. } => {
                first.forward(matrix(input, n_rows, n_genes, n_genes), Accum::Replace, training);
            }
            BatchValues::Sparse(sparse) => {
                let (stride, zero) = (first.stride, &standardiser.zero);
                let (weights, bias) = (&first.weights.value, &first.bias.value);
                let out = &mut first.out[..n_rows * stride];
                sparse.multiply(out, stride, weights, bias, zero, &mut self.sums);
                first.finish(n_rows, training);
            }
        }
        let Some((output, hidden)) = rest.split_last_mut() else { return };
        forward_chain(hidden, first.output(n_rows, first.units), training);
        let accum = if first.carry > 0 {
            let from = first.units;
            let carried = first.out.chunks_exact(first.stride).map(|row| &row[from..]);
            let rows = output.out.chunks_exact_mut(output.stride).zip(carried);
            rows.take(n_rows).for_each(|(row, carried)| row.copy_from_slice(carried));
            Accum::Add
        } else {
            Accum::Replace
        };
        let input = hidden.last().unwrap_or(first);
        output.forward(input.output(n_rows, output.in_dim), accum, training);
    }

    fn backward(&mut self, batch: &Batch, standardiser: &Standardiser) {
        let n_rows = batch.n_rows;
        let code_dim = self.architecture.code;
        let d_code = &mut self.code_gradient[..n_rows * code_dim];
        d_code.fill(0.0);
        let code = matrix(&self.code, n_rows, code_dim, code_dim);
        let (output, hidden) = split_last(&mut self.decoder);
        let drawn = &self.drawn;
        let backward_input = |into: &mut [f32], stride: usize| match drawn {
            Some(drawn) => drawn.backward_input(output, into, stride, n_rows),
            None => output.backward_input(into, stride, n_rows, Accum::Replace),
        };
        match hidden.last_mut() {
            Some(layer) => {
                let stride = layer.stride;
                backward_input(&mut layer.gradient, stride);
                let rows =
                    layer.gradient.chunks_exact(stride).zip(d_code.chunks_exact_mut(code_dim));
                rows.for_each(|(row, d_code)| add_to(d_code, &row[layer.units..]));
            }
            None => backward_input(d_code, code_dim),
        }
        backward_chain(hidden, code, n_rows, (d_code, code_dim, Accum::Add));
        backward_chain(&mut self.head, code, n_rows, (d_code, code_dim, Accum::Add));
        self.backward_encoder(batch, standardiser);
    }

    fn backward_encoder(&mut self, batch: &Batch, standardiser: &Standardiser) {
        let n_rows = batch.n_rows;
        let (code_dim, n_genes) = (self.architecture.code, self.architecture.n_genes);
        let d_code = &self.code_gradient[..n_rows * code_dim];
        let (output, _) = split_last(&mut self.encoder);
        output.gradient[..d_code.len()].copy_from_slice(d_code);
        let (first, rest) = self.encoder.split_first_mut().expect("an encoder has a layer");
        if !rest.is_empty() {
            let (stride, units) = (first.stride, first.units);
            let input = matrix(&first.out, n_rows, stride, stride).subcols(0, units);
            backward_chain(rest, input, n_rows, (&mut first.gradient, stride, Accum::Replace));
            if first.carry > 0 {
                let rows =
                    first.gradient.chunks_exact_mut(stride).zip(d_code.chunks_exact(code_dim));
                rows.for_each(|(row, d_code)| row[units..].copy_from_slice(d_code));
            }
        }
        first.backward_outputs(n_rows);
        match &batch.values {
            BatchValues::Dense { input, .. } => {
                first.backward_weights(matrix(input, n_rows, n_genes, n_genes));
            }
            BatchValues::Sparse(sparse) => sparse.weight_gradient(
                &mut first.weights.gradient,
                &first.gradient,
                first.stride,
                &standardiser.zero,
                &first.bias.gradient,
            ),
        }
    }

    /// Puts the components on the linear skip. The code starts whitened: every dimension has unit
    /// variance over the fitted rows. Dimensions beyond the components keep random encoder weights
    /// and no decoder weights.
    fn start_from(&mut self, pca: &Pca, standardiser: &Standardiser) {
        let code = self.architecture.code;
        let (output, hidden) = split_last(&mut self.encoder);
        let n_components = pca.n_components().min(code);
        for row in output.weights.value.chunks_exact_mut(code) {
            row[..n_components].fill(0.0);
        }
        if let Some(first) = hidden.first_mut() {
            first.weights.skip = SkipPart::Columns(first.units);
            let (units, cols) = (first.units, first.cols());
            first.weights.value.chunks_exact_mut(cols).for_each(|row| row[units..].fill(0.0));
        } else {
            output.weights.skip = SkipPart::Columns(0);
        }
        let first = &mut self.encoder[0];
        let (cols, from) = (first.cols(), first.cols() - code);
        let (output, _) = split_last(&mut self.decoder);
        let skip_row = output.in_dim - code;
        output.weights.skip = SkipPart::Rows(skip_row);
        output.weights.value.fill(0.0);
        let n_genes = self.architecture.n_genes;
        for component in 0..n_components {
            let deviation = libm::sqrt(pca.variances[component]);
            for (gene, &loading) in pca.component(component).iter().enumerate() {
                let scale = f64::from(standardiser.scale[gene]);
                first.weights.value[gene * cols + from + component] =
                    (loading * scale / deviation) as f32;
                output.weights.value[(skip_row + component) * n_genes + gene] =
                    (loading * deviation / scale) as f32;
            }
        }
    }
}

/// The last layer and those before it.
fn split_last(layers: &mut [Layer]) -> (&mut Layer, &mut [Layer]) {
    layers.split_last_mut().expect("a stage has a layer")
}

fn last(layers: &[Layer]) -> &Layer {
    layers.last().expect("a stage has a layer")
}

fn forward_chain(layers: &mut [Layer], input: MatRef<'_, f32>, training: Option<&Moment>) {
    for i in 0..layers.len() {
        let (before, rest) = layers.split_at_mut(i);
        let layer = &mut rest[0];
        let input = match before.last() {
            Some(previous) => previous.output(input.nrows(), layer.in_dim),
            None => input,
        };
        layer.forward(input, Accum::Replace, training);
    }
}

/// From the gradient of the last layer's output to those of all parameters, and of the input into
/// the buffer (with its stride) given.
fn backward_chain(
    layers: &mut [Layer],
    input: MatRef<'_, f32>,
    n_rows: usize,
    into: (&mut [f32], usize, Accum),
) {
    for i in (0..layers.len()).rev() {
        let (before, rest) = layers.split_at_mut(i);
        let layer = &mut rest[0];
        layer.backward_outputs(n_rows);
        if let Some(previous) = before.last_mut() {
            layer.backward_weights(previous.output(n_rows, layer.in_dim));
            let stride = previous.stride;
            layer.backward_input(&mut previous.gradient, stride, n_rows, Accum::Replace);
        } else {
            layer.backward_weights(input);
        }
    }
    if let Some(first) = layers.first() {
        let (into, stride, accum) = into;
        first.backward_input(into, stride, n_rows, accum);
    }
}

/// Noise in proportion to each dimension's spread over the batch, so that inflating the code gains
/// nothing.
fn add_code_noise(code: &mut [f32], deviation: &mut [f32], noise: f32, moment: &Moment) {
    let code_dim = deviation.len();
    let n_rows = (code.len() / code_dim) as f32;
    for (k, deviation) in deviation.iter_mut().enumerate() {
        let column = || code.iter().skip(k).step_by(code_dim);
        let mean = column().sum::<f32>() / n_rows;
        let square = column().map(|x| (x - mean) * (x - mean)).sum::<f32>();
        *deviation = (square / n_rows).sqrt();
    }
    for (row, code) in code.chunks_exact_mut(code_dim).enumerate() {
        let mut rng = moment.row(Purpose::CodeNoise, row);
        for (x, deviation) in code.iter_mut().zip(&*deviation) {
            *x += noise * deviation * rng.normal();
        }
    }
}
