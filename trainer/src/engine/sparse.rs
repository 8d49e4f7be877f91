//! The first layer on compressed rows: z·W = Σ value·W[gene] − zero·W, where value = x / scale and
//! zero = mean / scale, so that what is not stored costs nothing.
//!
//! Forward, a task owns a block of rows and 64 outputs, whose sums stay in registers while it
//! walks the non-zeros. Backward, the batch is re-ordered by gene and a task owns genes: each
//! weight gradient is summed once, in the order of the rows, and written once.

use faer::MatMut;
use rayon::prelude::*;

use super::simd::vectorised;
use super::standardiser::Standardiser;
use super::training_data::{Row, TrainingData};

/// Rows of a step, compressed; the same entries once more ordered by gene for the backward pass.
pub(crate) struct SparseBatch {
    indptr: Vec<usize>,
    genes: Vec<u32>,
    /// Inputs, corrupted where asked.
    values: Vec<f32>,
    /// Values to reproduce.
    clean: Vec<f32>,
    /// `[n_genes + 1]`
    gene_starts: Vec<usize>,
    gene_rows: Vec<u32>,
    gene_values: Vec<f32>,
    /// Whether some row was mixed with another.
    mixed: bool,
}

impl SparseBatch {
    pub(crate) fn new(n_genes: usize) -> Self {
        Self {
            indptr: vec![0],
            genes: Vec::new(),
            values: Vec::new(),
            clean: Vec::new(),
            gene_starts: vec![0; n_genes + 1],
            gene_rows: Vec::new(),
            gene_values: Vec::new(),
            mixed: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.indptr.truncate(1);
        self.genes.clear();
        self.values.clear();
        self.clean.clear();
        self.mixed = false;
    }

    /// Appends a row, mixed with a share of another where there is one. The data is stored
    /// compressed or its zeros are left out here.
    pub(crate) fn push(
        &mut self,
        data: &TrainingData<'_>,
        standardiser: &Standardiser,
        row: usize,
        partner: Option<(usize, f32)>,
    ) {
        let other = partner.map_or(0.0, |(_, share)| share);
        self.mixed |= other > 0.0;
        for (row, share) in [(row, 1.0 - other), (partner.map_or(row, |(row, _)| row), other)] {
            if share == 0.0 {
                continue;
            }
            let mut add = |gene: usize, value: f32| {
                // A gene index is a u32 in the data.
                self.genes.push(gene as u32);
                self.clean.push(share * value * standardiser.inverse[gene]);
            };
            match data.row(row) {
                Row::Sparse(genes, values) => {
                    for (&gene, &value) in genes.iter().zip(values) {
                        add(gene as usize, value);
                    }
                }
                Row::Dense(values) => {
                    for (gene, &value) in values.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                        add(gene, value);
                    }
                }
            }
        }
        self.values.extend_from_slice(&self.clean[self.values.len()..]);
        self.indptr.push(self.genes.len());
    }

    /// Input values of the row appended last.
    pub(crate) fn last_row(&mut self) -> &mut [f32] {
        let start = self.indptr[self.indptr.len() - 2];
        &mut self.values[start..]
    }

    /// Genes and input values of a row. A mixed row is two rising runs.
    pub(crate) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[row]..self.indptr[row + 1];
        (&self.genes[range.clone()], &self.values[range])
    }

    /// Genes and values to reproduce of a row; both of its runs where it is mixed.
    pub(crate) fn targets_of(&self, row: usize) -> impl Iterator<Item = (&u32, &f32)> {
        let range = self.indptr[row]..self.indptr[row + 1];
        self.genes[range.clone()].iter().zip(&self.clean[range])
    }

    /// Calls `f` with column and value of each target entry of a row within `columns`.
    pub(crate) fn for_each_target(
        &self,
        row: usize,
        columns: core::ops::Range<usize>,
        mut f: impl FnMut(usize, f32),
    ) {
        let range = self.indptr[row]..self.indptr[row + 1];
        let (mut genes, mut values) = (&self.genes[range.clone()], &self.clean[range]);
        while !genes.is_empty() {
            // A mixed row is two rising runs; the second starts where the order falls.
            let falls = |pair: &[u32]| pair[1] <= pair[0];
            let fall = if self.mixed { genes.windows(2).position(falls) } else { None };
            let run = fall.map_or(genes.len(), |last| last + 1);
            let start = genes[..run].partition_point(|&gene| (gene as usize) < columns.start);
            for (&gene, &value) in genes[start..run].iter().zip(&values[start..run]) {
                if gene as usize >= columns.end {
                    break;
                }
                f(gene as usize, value);
            }
            (genes, values) = (&genes[run..], &values[run..]);
        }
    }

    /// Builds the order by gene: a counting sort, stable in the rows.
    pub(crate) fn order_by_gene(&mut self) {
        let starts = &mut self.gene_starts;
        starts.fill(0);
        for &gene in &self.genes {
            starts[gene as usize + 1] += 1;
        }
        for gene in 1..starts.len() {
            starts[gene] += starts[gene - 1];
        }
        self.gene_rows.resize(self.genes.len(), 0);
        self.gene_values.resize(self.genes.len(), 0.0);
        for (row, bounds) in self.indptr.windows(2).enumerate() {
            for at in bounds[0]..bounds[1] {
                let next = &mut starts[self.genes[at] as usize];
                // A batch has far fewer than 2³² rows.
                self.gene_rows[*next] = row as u32;
                self.gene_values[*next] = self.values[at];
                *next += 1;
            }
        }
        // Each start has moved to the next gene's.
        starts.rotate_right(1);
        starts[0] = 0;
    }

    /// `out = z · weights + bias`; `offset` is room for `[cols]` sums.
    pub(crate) fn multiply(
        &self,
        out: MatMut<'_, f32>,
        weights: &[f32],
        bias: &[f32],
        zero: &[f32],
        offset: &mut [f32],
    ) {
        let cols = bias.len();
        offset.par_chunks_mut(TILE).enumerate().for_each(|(tile, offset)| {
            let first = tile * TILE;
            offset.copy_from_slice(&bias[first..first + offset.len()]);
            vectorised(
                #[inline(always)]
                || {
                    for (gene, &zero) in zero.iter().enumerate() {
                        let weights = &weights[gene * cols + first..][..offset.len()];
                        for (offset, &weight) in offset.iter_mut().zip(weights) {
                            *offset = (-zero).mul_add(weight, *offset);
                        }
                    }
                },
            );
        });
        let offset = &*offset;
        out.par_col_chunks_mut(TILE).enumerate().for_each(|(tile, out)| {
            let first = tile * TILE;
            out.par_row_chunks_mut(ROWS).enumerate().for_each(|(block, mut out)| {
                for i in 0..out.nrows() {
                    let (genes, values) = self.row(block * ROWS + i);
                    let out = out.as_mut().row_mut(i).try_as_row_major_mut();
                    let out = out.expect("rows of a row-major matrix").as_slice_mut();
                    out.copy_from_slice(&offset[first..first + out.len()]);
                    sum_of_rows(genes, values, &weights[first..], cols, out);
                }
            });
        });
    }

    /// `weight_gradient = zᵀ · d`, where `d` is `[n_rows × cols]` with rows `stride` apart and
    /// `bias_gradient` holds its column sums.
    pub(crate) fn weight_gradient(
        &self,
        weight_gradient: &mut [f32],
        d: &[f32],
        stride: usize,
        zero: &[f32],
        bias_gradient: &[f32],
    ) {
        let cols = bias_gradient.len();
        weight_gradient.par_chunks_mut(GENES * cols).enumerate().for_each(|(block, gradient)| {
            for first in (0..cols).step_by(TILE) {
                let width = TILE.min(cols - first);
                for (i, gradient) in gradient.chunks_exact_mut(cols).enumerate() {
                    let gene = block * GENES + i;
                    let range = self.gene_starts[gene]..self.gene_starts[gene + 1];
                    let gradient = &mut gradient[first..first + width];
                    for (gradient, &sum) in gradient.iter_mut().zip(&bias_gradient[first..]) {
                        *gradient = -zero[gene] * sum;
                    }
                    let (rows, values) = (&self.gene_rows[range.clone()], &self.gene_values[range]);
                    sum_of_rows(rows, values, &d[first..], stride, gradient);
                }
            }
        });
    }
}

/// `out += Σ value · matrix[row]`, over the first `out.len()` ≤ 64 columns of a matrix whose rows
/// are `stride` apart.
#[inline(always)]
fn sum_of_rows(rows: &[u32], values: &[f32], matrix: &[f32], stride: usize, out: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            if let Ok(out) = <&mut [f32; TILE]>::try_from(&mut *out) {
                // A local array of fixed size stays in registers.
                let mut sums = *out;
                for (&row, &value) in rows.iter().zip(values) {
                    let source = &matrix[row as usize * stride..][..TILE];
                    for (sum, &x) in sums.iter_mut().zip(source) {
                        *sum = value.mul_add(x, *sum);
                    }
                }
                *out = sums;
            } else {
                for (&row, &value) in rows.iter().zip(values) {
                    let source = &matrix[row as usize * stride..][..out.len()];
                    for (sum, &x) in out.iter_mut().zip(source) {
                        *sum = value.mul_add(x, *sum);
                    }
                }
            }
        },
    );
}

/// Outputs per task: four vector registers of sixteen.
const TILE: usize = 64;
/// Rows per task forward.
const ROWS: usize = 64;
/// Genes per task backward.
const GENES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::matmul::matrix_mut;
    use crate::engine::rng::{Purpose, Rng};
    use crate::engine::training_data::Expression;

    #[test]
    fn sparse_products_equal_dense_ones() {
        let mut rng = Rng::stream(5, Purpose::Initialise, 0, 0);
        let (n, p, cols, stride) = (70, 300, 94, 97);
        let x: Vec<f32> =
            (0..n * p).map(|_| if rng.unit() < 0.1 { rng.unit() } else { 0.0 }).collect();
        let expression = Expression::Dense(&x);
        let data = TrainingData { expression, n_genes: p, labels: None, n_classes: 0 };
        let rows: Vec<usize> = (0..n).collect();
        let standardiser = Standardiser::fit(&data, &rows);
        let mut batch = SparseBatch::new(p);
        rows.iter().for_each(|&row| batch.push(&data, &standardiser, row, None));
        batch.order_by_gene();
        let z = |i: usize, g: usize| {
            f64::from((x[i * p + g] - standardiser.mean[g]) * standardiser.inverse[g])
        };
        let weights: Vec<f32> = (0..p * cols).map(|_| rng.normal()).collect();
        let bias: Vec<f32> = (0..cols).map(|_| rng.normal()).collect();
        let mut out = vec![0.0; n * stride];
        let zero = &standardiser.zero;
        batch.multiply(
            matrix_mut(&mut out, n, cols, stride),
            &weights,
            &bias,
            zero,
            &mut vec![0.0; cols],
        );
        for i in 0..n {
            for c in 0..cols {
                let dot: f64 = (0..p).map(|g| z(i, g) * f64::from(weights[g * cols + c])).sum();
                let expected = dot + f64::from(bias[c]);
                assert!((f64::from(out[i * stride + c]) - expected).abs() < 2e-3, "{i} {c}");
            }
        }
        let mut sums = vec![0.0; cols];
        for row in out.chunks_exact(stride) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let mut gradient = vec![0.0; p * cols];
        batch.weight_gradient(&mut gradient, &out, stride, zero, &sums);
        for g in 0..p {
            for c in 0..cols {
                let dot: f64 = (0..n).map(|i| z(i, g) * f64::from(out[i * stride + c])).sum();
                assert!((f64::from(gradient[g * cols + c]) - dot).abs() < 2e-2, "{g} {c}");
            }
        }
    }

    #[test]
    fn targets_of_a_mixed_row_are_found_in_both_runs() {
        let x = [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0, 5.0, 6.0];
        let data = TrainingData {
            expression: Expression::Dense(&x),
            n_genes: 5,
            labels: None,
            n_classes: 0,
        };
        let standardiser = Standardiser::fit(&data, &[0, 1]);
        let mut batch = SparseBatch::new(5);
        batch.push(&data, &standardiser, 0, Some((1, 0.25)));
        let mut found = [0.0; 5];
        batch.for_each_target(0, 1..4, |gene, value| {
            found[gene] += value * standardiser.scale[gene];
        });
        let expected = [0.0, 0.75, 1.5, 1.25, 0.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    }
}
