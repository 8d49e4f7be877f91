//! Folds a trained network into weights that read preprocessed values and need nothing else.

use cic_model::{Activation, DenseLayer, Network, Segment};

use crate::autoencoder::Autoencoder;
use crate::engine::layer::Layer;
use crate::engine::standardiser::Standardiser;

/// The network with batch normalisation, standardisation, the spread of the code and the linear
/// skip folded in, computed in double precision and rounded once. Over the rows that
/// `code_moments` (mean, standard deviation) come from, every code dimension has mean zero and
/// unit standard deviation.
pub(crate) fn freeze(
    network: &Autoencoder,
    standardiser: &Standardiser,
    code_moments: &[(f64, f64)],
) -> Network {
    let n_genes = network.architecture.n_genes;
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| f64::from(x)).collect() };
    // A dimension that never varies keeps its scale.
    let spread = |sd: f64| if sd > 1e-12 { sd } else { 1.0 };
    let from_x: Vec<(f64, f64)> = standardiser
        .inverse
        .iter()
        .zip(&standardiser.zero)
        .map(|(&inverse, &zero)| (f64::from(inverse), -f64::from(zero)))
        .collect();
    let to_x: Vec<(f64, f64)> = standardiser
        .scale
        .iter()
        .zip(&standardiser.mean)
        .map(|(&scale, &mean)| (f64::from(scale), f64::from(mean)))
        .collect();
    let to_unit: Vec<(f64, f64)> =
        code_moments.iter().map(|&(mean, sd)| (1.0 / spread(sd), -mean / spread(sd))).collect();
    let from_unit: Vec<(f64, f64)> =
        code_moments.iter().map(|&(mean, sd)| (spread(sd), mean)).collect();

    let mut encoder: Vec<Folded> = network.encoder.iter().map(Folded::new).collect();
    first(&mut encoder).fold_input(&from_x);
    let carried = network.encoder[0].carry;
    if carried > 0 {
        let from = network.encoder[0].units;
        // The carry is added before the shift, so it is scaled only.
        let scale: Vec<_> = to_unit.iter().map(|&(factor, _)| (factor, 0.0)).collect();
        first(&mut encoder).fold_output(from, &scale);
    }
    last(&mut encoder).fold_output(0, &to_unit);

    let mut head: Vec<Folded> = network.head.iter().map(Folded::new).collect();
    if let Some(layer) = head.first_mut() {
        layer.fold_input(&from_unit);
    }

    let mut decoder: Vec<Folded> = network.decoder.iter().map(Folded::new).collect();
    if decoder.len() > 1 && network.architecture.linear_skip {
        let output = last(&mut decoder);
        let hidden = output.in_dim - network.architecture.code;
        let skip = output.weights.split_off(hidden * n_genes);
        output.in_dim = hidden;
        first(&mut decoder).carry(&skip, n_genes);
    }
    first(&mut decoder).fold_input(&from_unit);
    if first(&mut decoder).carry > 0 {
        let from = first(&mut decoder).units;
        let scale: Vec<_> = wide(&standardiser.scale).into_iter().map(|x| (x, 0.0)).collect();
        first(&mut decoder).fold_output(from, &scale);
    }
    last(&mut decoder).fold_output(0, &to_x);

    let rounded = |layers: Vec<Folded>| layers.into_iter().map(Folded::round).collect();
    Network { encoder: rounded(encoder), classifier: rounded(head), decoder: rounded(decoder) }
}

/// A layer in double precision.
struct Folded {
    in_dim: usize,
    units: usize,
    carry: usize,
    activation: Activation,
    /// `[in_dim × (units + carry)]`, as in training.
    weights: Vec<f64>,
    /// `[units + carry]`
    bias: Vec<f64>,
}

impl Folded {
    /// The layer with its batch normalisation folded in.
    fn new(layer: &Layer) -> Self {
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
        let mut folded = Self {
            in_dim: layer.in_dim,
            units: layer.units,
            carry: layer.carry,
            activation: layer.activation,
            weights: wide(&layer.weights.value),
            bias: wide(&layer.bias.value),
        };
        if let Some(norm) = &layer.norm {
            let map: Vec<_> = (0..layer.units).map(|unit| norm.folded(unit)).collect();
            folded.fold_output(0, &map);
        }
        folded
    }

    /// Makes the input `i` read `factor · input + offset`.
    fn fold_input(&mut self, map: &[(f64, f64)]) {
        let cols = self.bias.len();
        for (row, (factor, offset)) in self.weights.chunks_exact_mut(cols).zip(map) {
            for (bias, weight) in self.bias.iter_mut().zip(row) {
                *bias += offset * *weight;
                *weight *= factor;
            }
        }
    }

    /// Replaces output `from + i` by `factor · output + offset`.
    fn fold_output(&mut self, from: usize, map: &[(f64, f64)]) {
        let cols = self.bias.len();
        for row in self.weights.chunks_exact_mut(cols) {
            for (weight, (factor, _)) in row[from..].iter_mut().zip(map) {
                *weight *= factor;
            }
        }
        for (bias, (factor, offset)) in self.bias[from..].iter_mut().zip(map) {
            *bias = *bias * factor + offset;
        }
    }

    /// Appends carried outputs with weights `[in_dim × carry]` and no bias.
    fn carry(&mut self, weights: &[f64], carry: usize) {
        let cols = self.bias.len();
        self.weights = self
            .weights
            .chunks_exact(cols)
            .zip(weights.chunks_exact(carry))
            .flat_map(|(own, carried)| own.iter().chain(carried).copied())
            .collect();
        self.bias.resize(cols + carry, 0.0);
        self.carry = carry;
    }

    fn round(self) -> DenseLayer {
        let cols = self.bias.len();
        let column = |col: usize| self.weights.iter().skip(col).step_by(cols).map(|&x| x as f32);
        DenseLayer {
            in_dim: self.in_dim,
            segments: vec![Segment { len: self.units, activation: self.activation }],
            carry: self.carry,
            weights: (0..cols).flat_map(column).collect(),
            bias: self.bias.iter().map(|&x| x as f32).collect(),
        }
    }
}

fn first(layers: &mut [Folded]) -> &mut Folded {
    layers.first_mut().expect("a stage has a layer")
}

fn last(layers: &mut [Folded]) -> &mut Folded {
    layers.last_mut().expect("a stage has a layer")
}
