//! Products of the calibration cells with a layer. Sums are in double precision and in the order of the inputs, so that they
//! are the same on every machine and for any number of threads, and exact for integers.

use core::array::from_fn;
use std::thread;

use cic_model::DenseLayer;

/// `b + W x` for every cell: `[n × out_dim]` from `[n × in_dim]`.
pub(crate) fn affine(layer: &DenseLayer, inputs: &[f32]) -> Vec<f32> {
    let weights = |at: usize| layer.weights[at];
    products(&Transposed::new(layer.out_dim(), layer.in_dim, weights), inputs, |row, sum| {
        (f64::from(layer.bias[row]) + sum) as f32
    })
}

/// `Σ w · level` for every cell: `[n × out_dim]` from `[n × in_dim]`.
pub(crate) fn integer_products(weights: &[i8], in_dim: usize, levels: &[u8]) -> Vec<i32> {
    let out_dim = weights.len() / in_dim.max(1);
    let transposed = Transposed::new(out_dim, in_dim, |at| f32::from(weights[at]));
    // Exact: at most 2³¹ − 1 in magnitude by the choice of the scales.
    products(&transposed, levels, |_, sum| sum as i32)
}

/// Rows in tiles, the weights of an input side by side in each: `[tile][in_dim][TILE]`.
struct Transposed {
    in_dim: usize,
    out_dim: usize,
    weights: Vec<[f32; TILE]>,
}

impl Transposed {
    /// `weight(at)` is an entry of `[out_dim × in_dim]`. Rows that fill the last tile up are zero.
    fn new(out_dim: usize, in_dim: usize, weight: impl Fn(usize) -> f32) -> Self {
        let n_tiles = out_dim.div_ceil(TILE);
        let mut weights = Vec::with_capacity(n_tiles * in_dim);
        for tile in 0..n_tiles {
            let row = |lane: usize| Some(tile * TILE + lane).filter(|&row| row < out_dim);
            weights.extend((0..in_dim).map(|input| -> [f32; TILE] {
                from_fn(|lane| row(lane).map_or(0.0, |row| weight(row * in_dim + input)))
            }));
        }
        Self { in_dim, out_dim, weights }
    }
}

/// Every output of every cell, after `finish(row, sum)`. Inputs that are zero are passed over.
fn products<X, T>(
    weights: &Transposed,
    inputs: &[X],
    finish: impl Fn(usize, f64) -> T + Sync,
) -> Vec<T>
where
    X: Copy + Into<f64> + Sync,
    T: Copy + Default + Send,
{
    let (in_dim, out_dim) = (weights.in_dim.max(1), weights.out_dim.max(1));
    let mut outputs = vec![T::default(); inputs.len() / in_dim * out_dim];
    let n_cells = (inputs.len() / in_dim).div_ceil(n_threads()).max(1);
    thread::scope(|scope| {
        let parts = outputs.chunks_mut((n_cells * out_dim).max(1));
        for (inputs, outputs) in inputs.chunks(n_cells * in_dim).zip(parts) {
            let finish = &finish;
            scope.spawn(move || {
                let cells = inputs.chunks_exact(in_dim).zip(outputs.chunks_exact_mut(out_dim));
                for (inputs, outputs) in cells {
                    one_cell(weights, inputs, outputs, finish);
                }
            });
        }
    });
    outputs
}

fn one_cell<X: Copy + Into<f64>, T>(
    weights: &Transposed,
    inputs: &[X],
    outputs: &mut [T],
    finish: &impl Fn(usize, f64) -> T,
) {
    let values = inputs.iter().map(|&x| -> f64 { x.into() }).enumerate();
    let active: Vec<(usize, f64)> = values.filter(|&(_, x)| x != 0.0).collect();
    let tiles = weights.weights.chunks_exact(weights.in_dim.max(1));
    for (number, (tile, outputs)) in tiles.zip(outputs.chunks_mut(TILE)).enumerate() {
        let mut sums = [0.0; TILE];
        for &(input, x) in &active {
            for (sum, &weight) in sums.iter_mut().zip(&tile[input]) {
                *sum += f64::from(weight) * x;
            }
        }
        for (lane, (place, sum)) in outputs.iter_mut().zip(sums).enumerate() {
            *place = finish(number * TILE + lane, sum);
        }
    }
}

/// As many as there are processors.
pub(crate) fn n_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Outputs of a row tile: sums of them fit the registers of small vector units, their weights a cache line.
pub(crate) const TILE: usize = 16;

#[cfg(test)]
mod tests {
    use cic_model::{Activation, Segment};

    use super::*;

    /// 37 rows, which fill no tile, and cells of no input, of one and of all.
    #[test]
    fn products_are_those_of_plain_loops() {
        let (in_dim, out_dim) = (5, 37);
        let weights: Vec<i8> = (0..in_dim * out_dim).map(|at| (at * 31 % 255) as i8).collect();
        let levels = [0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 127, 1, 2, 127, 3];
        let dot = |row: usize, cell: usize| -> i32 {
            let pairs = weights[row * in_dim..][..in_dim].iter().zip(&levels[cell * in_dim..]);
            pairs.map(|(&w, &x)| i32::from(w) * i32::from(x)).sum()
        };
        let sums = integer_products(&weights, in_dim, &levels.map(|level: u8| level));
        let layer = DenseLayer {
            in_dim,
            segments: vec![Segment { len: out_dim, activation: Activation::Identity }],
            carry: 0,
            weights: weights.iter().map(|&w| f32::from(w)).collect(),
            bias: vec![0.5; out_dim],
        };
        let outputs = affine(&layer, &levels.map(f32::from));
        for cell in 0..3 {
            for row in 0..out_dim {
                assert_eq!(sums[cell * out_dim + row], dot(row, cell));
                assert_eq!(outputs[cell * out_dim + row], dot(row, cell) as f32 + 0.5);
            }
        }
    }
}
