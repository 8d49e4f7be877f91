//! The two losses and their gradients.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatRef, Par};
use rayon::prelude::*;

use super::activation::exp;
use super::batch::{Batch, BatchValues};
use super::layer::{Layer, add_to};
use super::matmul::{matrix, matrix_mut, tile_width};
use super::simd::vectorised;
use super::standardiser::Standardiser;

/// Whether a pass is to leave gradients behind.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pass {
    Training,
    Inference,
}

/// The last decoder layer together with its loss: Σ weight·(ẑ − z)² per row, the share of the
/// fitted rows' variance that is not explained. Returns the sum over the rows.
///
/// A task owns a range of genes and takes it from the product through the residual to the weight
/// gradient while it is in cache; `tiles` is room for the partial sums. The layer's gradient is
/// `scale` times that of the sum.
pub(crate) fn reconstruct(
    layer: &mut Layer,
    input: MatRef<'_, f32>,
    batch: &Batch,
    standardiser: &Standardiser,
    scale: f32,
    pass: Pass,
    tiles: &mut Vec<f64>,
) -> f64 {
    let (n_rows, k, n_genes) = (batch.n_rows, layer.in_dim, layer.units);
    let weights = matrix(&layer.weights.value, k, n_genes, n_genes);
    let bias = &layer.bias.value;
    let width = tile_width(n_genes);
    let keep = if pass == Pass::Training { 2.0 * scale } else { 0.0 };
    let residual = matrix_mut(&mut layer.gradient, n_rows, n_genes, n_genes);
    let gradient = matrix_mut(&mut layer.weights.gradient, k, n_genes, n_genes);
    residual
        .par_col_chunks_mut(width)
        .zip(gradient.par_col_chunks_mut(width))
        .zip(layer.bias.gradient.par_chunks_mut(width))
        .enumerate()
        .map(|(tile, ((mut residual, gradient), bias_gradient))| {
            let first = tile * width;
            let columns = first..first + residual.ncols();
            let weights = weights.subcols(first, residual.ncols());
            matmul(residual.as_mut(), Accum::Replace, input, weights, 1.0, Par::Seq);
            bias_gradient.fill(0.0);
            let mut sum = 0.0;
            for row in 0..n_rows {
                let d = residual.as_mut().row_mut(row).try_as_row_major_mut();
                let d = d.expect("rows of a row-major matrix").as_slice_mut();
                add_to(d, &bias[columns.clone()]);
                subtract_target(batch, standardiser, row, columns.clone(), d);
                let weights = &standardiser.loss_weight[columns.clone()];
                sum += weighted_square(d, weights, keep);
                if pass == Pass::Training {
                    add_to(bias_gradient, d);
                }
            }
            if pass == Pass::Training {
                let residual = residual.as_ref();
                matmul(gradient, Accum::Replace, input.transpose(), residual, 1.0, Par::Seq);
            }
            sum
        })
        .collect_into_vec(tiles);
    tiles.iter().sum()
}

fn subtract_target(
    batch: &Batch,
    standardiser: &Standardiser,
    row: usize,
    columns: core::ops::Range<usize>,
    d: &mut [f32],
) {
    if let BatchValues::Sparse(sparse) = &batch.values {
        add_to(d, &standardiser.zero[columns.clone()]);
        sparse.for_each_target(row, columns.clone(), |gene, value| {
            d[gene - columns.start] -= value;
        });
    } else if let Some((_, target)) = batch.values.dense_parts() {
        let start = row * standardiser.zero.len();
        let target = &target[start + columns.start..start + columns.end];
        vectorised(
            #[inline(always)]
            || d.iter_mut().zip(target).for_each(|(d, &z)| *d -= z),
        );
    }
}

/// Returns Σ weight·d² and replaces d by `keep` times weight·d.
pub(crate) fn weighted_square(d: &mut [f32], weights: &[f32], keep: f32) -> f64 {
    // Sixteen lanes, whatever the processor has: the order of the sum is fixed.
    let mut lanes = [0.0_f32; 16];
    vectorised(
        #[inline(always)]
        || {
            for (d, weights) in d.chunks_mut(16).zip(weights.chunks(16)) {
                for ((d, &weight), lane) in d.iter_mut().zip(weights).zip(&mut lanes) {
                    let weighted = weight * *d;
                    *lane += weighted * *d;
                    *d = keep * weighted;
                }
            }
        },
    );
    lanes.iter().map(|&lane| f64::from(lane)).sum()
}

/// Cross-entropy of the logits in the last head layer against the batch's weighted targets.
/// Returns the sum over the rows; the gradient is `scale` times that of the sum.
pub(crate) fn classify(head: &mut Layer, batch: &Batch, scale: f32) -> f64 {
    let n_classes = head.units;
    let mut sum = 0.0;
    let rows = head.out.chunks_exact(n_classes).zip(head.gradient.chunks_exact_mut(n_classes));
    for ((logits, d), target) in rows.zip(batch.class_targets.chunks_exact(n_classes)) {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for (d, &logit) in d.iter_mut().zip(logits) {
            *d = exp(logit - highest);
            total += *d;
        }
        let log_total = libm::log(f64::from(total)) + f64::from(highest);
        let weight: f32 = target.iter().sum();
        for ((d, &logit), &target) in d.iter_mut().zip(logits).zip(target) {
            sum += f64::from(target) * (log_total - f64::from(logit));
            *d = scale * (weight * *d / total - target);
        }
    }
    sum
}
