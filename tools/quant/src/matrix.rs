//! Products of the calibration cells with a layer: small, plain loops.

use cic_model::DenseLayer;

/// `b + W x` for every cell: `[n × out_dim]` from `[n × in_dim]`, sums in double precision.
pub(crate) fn affine(layer: &DenseLayer, inputs: &[f32]) -> Vec<f32> {
    let in_dim = layer.in_dim.max(1);
    let mut sums = Vec::with_capacity(inputs.len() / in_dim * layer.out_dim());
    for input in inputs.chunks_exact(in_dim) {
        let active = non_zero(input, |&x| x != 0.0);
        for (weights, &bias) in layer.weights.chunks_exact(in_dim).zip(&layer.bias) {
            let sum: f64 = active.iter().map(|&(c, x)| f64::from(x) * f64::from(weights[c])).sum();
            sums.push((f64::from(bias) + sum) as f32);
        }
    }
    sums
}

/// `Σ w · level` for every cell: `[n × out_dim]` from `[n × in_dim]`.
pub(crate) fn integer_products(weights: &[i8], in_dim: usize, levels: &[u8]) -> Vec<i32> {
    let in_dim = in_dim.max(1);
    let mut sums = Vec::with_capacity(levels.len() / in_dim * (weights.len() / in_dim));
    for levels in levels.chunks_exact(in_dim) {
        let active = non_zero(levels, |&level| level != 0);
        for weights in weights.chunks_exact(in_dim) {
            sums.push(
                active.iter().map(|&(c, level)| i32::from(level) * i32::from(weights[c])).sum(),
            );
        }
    }
    sums
}

fn non_zero<T: Copy>(values: &[T], is_active: impl Fn(&T) -> bool) -> Vec<(usize, T)> {
    values.iter().copied().enumerate().filter(|(_, value)| is_active(value)).collect()
}
