//! The reconstruction of some genes in each step, where all of them would take most of its time.
//!
//! Genes are drawn in blocks of sixteen neighbours, one cache line of every row of weights. The blocks are shuffled and
//! dealt out evenly over a round of steps, then shuffled again: each block is drawn once a round, in any step of it with
//! the same probability. The loss of a step is scaled by the inverse of that, so that its expectation is the loss over
//! all genes. Weights, bias and moments of genes that are not drawn stay as they are, and the update rule counts the
//! steps in which a gene was drawn, which are the rounds.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatRef, Par};
use rayon::prelude::*;

use super::batch::{Batch, BatchValues};
use super::layer::{Layer, add_to};
use super::losses::weighted_square;
use super::matmul::{matrix, matrix_mut, multiply, tile_width};
use super::rng::{Purpose, Rng};
use super::standardiser::Standardiser;

/// Deals genes out to steps, and the last decoder layer with its loss on those of a step.
pub(crate) struct DrawnGenes {
    n_genes: usize,
    seed: u64,
    /// Steps in a round.
    n_steps: u64,
    /// Blocks in the order of a round.
    order: Vec<usize>,
    /// The round that the order is of.
    round: Option<u64>,
    draw: Draw,
    /// `[n_blocks]` column of each block among those drawn, or [`NOT_DRAWN`].
    columns: Vec<u32>,
    /// `[in_dim × drawn genes]`
    weights: Vec<f32>,
    /// `[drawn genes]` bias less the target of a value that is not stored.
    offset: Vec<f32>,
    /// `[drawn genes]`
    loss_weight: Vec<f32>,
}

/// The genes of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Draw {
    /// First genes of blocks, rising.
    firsts: Vec<usize>,
    n_genes: usize,
    /// Genes in all blocks together.
    pub(crate) n_drawn: usize,
    /// Blocks over drawn blocks.
    scale: f32,
    /// How often these genes have been drawn, this time included.
    pub(crate) count: u64,
}

impl Draw {
    /// Ranges of genes, and where they begin among those drawn.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (core::ops::Range<usize>, usize)> + '_ {
        let range = |first: usize| first..(first + BLOCK).min(self.n_genes);
        // Only the last block of all may be shorter, and it is the last here too.
        self.firsts.iter().enumerate().map(move |(i, &first)| (range(first), i * BLOCK))
    }

    fn gather(&self, from: &[f32], into: &mut [f32]) {
        for (genes, at) in self.ranges() {
            into[at..at + genes.len()].copy_from_slice(&from[genes]);
        }
    }
}

impl DrawnGenes {
    /// About `per_step` genes a step; `None` where that is all of them.
    pub(crate) fn new(n_genes: usize, per_step: usize, seed: u64) -> Option<Self> {
        let n_blocks = n_genes.div_ceil(BLOCK);
        let n_steps = n_blocks.div_ceil(per_step.div_ceil(BLOCK).max(1));
        (n_steps > 1).then(|| Self {
            n_genes,
            seed,
            n_steps: n_steps as u64,
            order: (0..n_blocks).collect(),
            round: None,
            draw: Draw::default(),
            columns: vec![NOT_DRAWN; n_blocks],
            weights: Vec::new(),
            offset: Vec::new(),
            loss_weight: Vec::new(),
        })
    }

    /// Draws the genes of a step, counted from 0, for the matrices of the layer.
    pub(crate) fn draw(&mut self, step: u64, layer: &mut Layer) {
        let round = step / self.n_steps;
        if self.round != Some(round) {
            self.order.iter_mut().enumerate().for_each(|(i, block)| *block = i);
            Rng::stream(self.seed, Purpose::DrawGenes, round, 0).shuffle(&mut self.order);
            self.round = Some(round);
        }
        let n_blocks = self.order.len();
        // Fewer steps than blocks: indices fit.
        let (turn, turns) = ((step % self.n_steps) as usize, self.n_steps as usize);
        let of_step = &self.order[n_blocks * turn / turns..n_blocks * (turn + 1) / turns];
        let draw = &mut self.draw;
        draw.firsts.clear();
        draw.firsts.extend(of_step.iter().map(|block| block * BLOCK));
        draw.firsts.sort_unstable();
        draw.n_genes = self.n_genes;
        draw.scale = n_blocks as f32 / of_step.len() as f32;
        draw.count = round + 1;
        draw.n_drawn = draw.ranges().map(|(genes, _)| genes.len()).sum();
        self.columns.fill(NOT_DRAWN);
        for (i, first) in self.draw.firsts.iter().enumerate() {
            // Column indices of the data are u32.
            self.columns[first / BLOCK] = (i * BLOCK) as u32;
        }
        for parameter in [&mut layer.weights, &mut layer.bias] {
            parameter.drawn.get_or_insert_default().clone_from(&self.draw);
        }
    }

    /// What [`reconstruct`](super::losses::reconstruct) does in training, for the genes drawn. The layer's gradients are
    /// those of the drawn columns, side by side.
    pub(crate) fn reconstruct(
        &mut self,
        layer: &mut Layer,
        input: MatRef<'_, f32>,
        batch: &Batch,
        standardiser: &Standardiser,
        scale: f32,
        tiles: &mut Vec<f64>,
    ) -> f64 {
        let (n_rows, k, n) = (batch.n_rows, layer.in_dim, self.draw.n_drawn);
        self.gather(layer, standardiser, matches!(batch.values, BatchValues::Sparse(_)));
        self.start_residuals(&mut layer.gradient[..n_rows * n], batch);
        let scale = scale * self.draw.scale;
        let (weights, loss_weight) = (matrix(&self.weights, k, n, n), &self.loss_weight);
        let width = tile_width(n);
        let residual = matrix_mut(&mut layer.gradient, n_rows, n, n);
        let gradient = matrix_mut(&mut layer.weights.gradient, k, n, n);
        residual
            .par_col_chunks_mut(width)
            .zip(gradient.par_col_chunks_mut(width))
            .zip(layer.bias.gradient[..n].par_chunks_mut(width))
            .enumerate()
            .map(|(tile, ((mut residual, gradient), bias_gradient))| {
                let columns = tile * width..tile * width + residual.ncols();
                let weights = weights.subcols(columns.start, columns.len());
                matmul(residual.as_mut(), Accum::Add, input, weights, 1.0, Par::Seq);
                bias_gradient.fill(0.0);
                let mut sum = 0.0;
                for row in 0..n_rows {
                    let d = residual.as_mut().row_mut(row).try_as_row_major_mut();
                    let d = d.expect("rows of a row-major matrix").as_slice_mut();
                    sum += weighted_square(d, &loss_weight[columns.clone()], 2.0 * scale);
                    add_to(bias_gradient, d);
                }
                let residual = residual.as_ref();
                matmul(gradient, Accum::Replace, input.transpose(), residual, 1.0, Par::Seq);
                sum
            })
            .collect_into_vec(tiles);
        f64::from(self.draw.scale) * tiles.iter().sum::<f64>()
    }

    /// Gradient of the layer's input, after [`Self::reconstruct`], over the first columns of `into`.
    pub(crate) fn backward_input(
        &self,
        layer: &Layer,
        into: &mut [f32],
        into_stride: usize,
        n_rows: usize,
    ) {
        let (k, n) = (layer.in_dim, self.draw.n_drawn);
        let d = matrix(&layer.gradient, n_rows, n, n);
        let into = matrix_mut(into, n_rows, into_stride, into_stride).subcols_mut(0, k);
        multiply(into, Accum::Replace, d, matrix(&self.weights, k, n, n).transpose());
    }

    fn gather(&mut self, layer: &Layer, standardiser: &Standardiser, sparse: bool) {
        let (weights, bias) = (&layer.weights, &layer.bias);
        let (draw, n) = (&self.draw, self.draw.n_drawn);
        self.weights.resize(weights.value.len() / self.n_genes * n, 0.0);
        self.weights
            .par_chunks_mut(n)
            .zip(weights.value.par_chunks(self.n_genes))
            .for_each(|(into, from)| draw.gather(from, into));
        self.loss_weight.resize(n, 0.0);
        draw.gather(&standardiser.loss_weight, &mut self.loss_weight);
        self.offset.resize(n, 0.0);
        draw.gather(&bias.value, &mut self.offset);
        if sparse {
            // The target of a value that is not stored is −zero.
            for (genes, at) in draw.ranges() {
                add_to(&mut self.offset[at..at + genes.len()], &standardiser.zero[genes]);
            }
        }
    }

    /// Writes bias − target.
    fn start_residuals(&mut self, residuals: &mut [f32], batch: &Batch) {
        let (draw, columns, offset) = (&self.draw, &self.columns, &self.offset);
        residuals.par_chunks_mut(draw.n_drawn).enumerate().for_each(|(row, d)| {
            d.copy_from_slice(offset);
            if let BatchValues::Sparse(sparse) = &batch.values {
                for (&gene, &value) in sparse.targets_of(row) {
                    let column = columns[gene as usize / BLOCK];
                    if column != NOT_DRAWN {
                        d[column as usize + gene as usize % BLOCK] -= value;
                    }
                }
            } else if let Some((_, target)) = batch.values.dense_parts() {
                let target = &target[row * self.n_genes..][..self.n_genes];
                for (genes, at) in draw.ranges() {
                    d[at..].iter_mut().zip(&target[genes]).for_each(|(d, &z)| *d -= z);
                }
            }
        });
    }
}

/// Genes drawn together: a cache line of weights.
const BLOCK: usize = 16;
const NOT_DRAWN: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::layer::LayerShape;
    use cic_model::Activation;

    fn layer(n_genes: usize) -> Layer {
        let activation = Activation::Identity;
        let (carry, appended, batch_norm, dropout) = (0, 0, false, 0.0);
        let (in_dim, units, max_rows, id) = (2, n_genes, 1, 0);
        let shape = LayerShape {
            in_dim,
            units,
            carry,
            appended,
            activation,
            batch_norm,
            dropout,
            max_rows,
            id,
        };
        Layer::new(shape, 1)
    }

    #[test]
    fn every_gene_is_drawn_once_a_round_in_another_order_each_time() {
        let n_genes = 1003;
        let mut layer = layer(n_genes);
        let mut drawn = DrawnGenes::new(n_genes, 300, 5).unwrap();
        let mut orders = Vec::new();
        for round in 0..3 {
            let mut times = vec![0; n_genes];
            let mut order = Vec::new();
            for step in 0..drawn.n_steps {
                drawn.draw(round * drawn.n_steps + step, &mut layer);
                let draw = layer.weights.drawn.as_ref().unwrap();
                assert!((draw.n_drawn as f64 / 250.0 - 1.0).abs() < 0.1, "{}", draw.n_drawn);
                assert_eq!(draw.count, round + 1);
                for (genes, _) in draw.ranges() {
                    order.push(genes.start);
                    genes.for_each(|gene| times[gene] += 1);
                }
            }
            assert!(times.iter().all(|&times| times == 1));
            orders.push(order);
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
    }

    #[test]
    fn a_step_draws_the_same_whatever_was_drawn_before() {
        let (mut here, mut there) = (layer(500), layer(500));
        let [mut one, mut other] = [(); 2].map(|()| DrawnGenes::new(500, 100, 5).unwrap());
        (0..=17).for_each(|step| one.draw(step, &mut here));
        other.draw(17, &mut there);
        assert_eq!(here.weights.drawn, there.weights.drawn);
    }

    #[test]
    fn where_all_genes_are_asked_for_none_are_drawn() {
        assert!(DrawnGenes::new(1003, 1003, 5).is_none());
        assert!(DrawnGenes::new(1003, 5000, 5).is_none());
        assert!(DrawnGenes::new(1003, 1, 5).is_some());
    }
}
