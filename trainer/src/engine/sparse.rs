//! The first layer on compressed rows: z·W = Σ value·W[gene] − zero·W, where value = x / scale and
//! zero = mean / scale, so that what is not stored costs nothing.
//!
//! Sums of up to 64 outputs stay in registers while non-zeros are walked. Forward, all rows go through a block of genes
//! before the next, so that weights come from a near cache. Backward, the batch is re-ordered by gene and a task owns
//! genes: each weight gradient is summed once, in the order of the rows, and written once.

use rayon::prelude::*;

use super::layer::add_to;
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
    n_blocks: usize,
    /// `[n_rows × (n_blocks + 1)]` where each block of genes begins in a row, and where the row ends.
    block_starts: Vec<usize>,
    /// `[n_genes + 1]`
    gene_starts: Vec<usize>,
    /// Rows and input values, by gene.
    gene_entries: Vec<(u32, f32)>,
}

impl SparseBatch {
    pub(crate) fn new(n_genes: usize) -> Self {
        Self {
            indptr: vec![0],
            genes: Vec::new(),
            values: Vec::new(),
            clean: Vec::new(),
            n_blocks: n_genes.div_ceil(BLOCK),
            block_starts: Vec::new(),
            gene_starts: vec![0; n_genes + 1],
            gene_entries: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.indptr.truncate(1);
        self.genes.clear();
        self.values.clear();
        self.clean.clear();
        self.block_starts.clear();
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
        match partner {
            Some((other, share)) if share > 0.0 => {
                let [mut one, mut two] = [row, other].map(|row| stored(data.row(row)).peekable());
                // Both rise; a gene of both is one entry.
                while let Some(gene) = match (one.peek(), two.peek()) {
                    (Some(&(a, _)), Some(&(b, _))) => Some(a.min(b)),
                    (Some(&(gene, _)), None) | (None, Some(&(gene, _))) => Some(gene),
                    (None, None) => None,
                } {
                    let x = one.next_if(|entry| entry.0 == gene).map_or(0.0, |entry| entry.1);
                    let y = two.next_if(|entry| entry.0 == gene).map_or(0.0, |entry| entry.1);
                    let mixed = (1.0 - share) * x + share * y;
                    self.genes.push(gene);
                    self.clean.push(mixed * standardiser.inverse[gene as usize]);
                }
            }
            _ => match data.row(row) {
                Row::Sparse(genes, values) => {
                    self.genes.extend_from_slice(genes);
                    let inverse = genes.iter().map(|&gene| standardiser.inverse[gene as usize]);
                    self.clean
                        .extend(values.iter().zip(inverse).map(|(value, inverse)| value * inverse));
                }
                row @ Row::Dense(_) => {
                    for (gene, value) in stored(row) {
                        self.genes.push(gene);
                        self.clean.push(value * standardiser.inverse[gene as usize]);
                    }
                }
            },
        }
        let start = self.values.len();
        self.values.extend_from_slice(&self.clean[start..]);
        self.indptr.push(self.genes.len());
        let mut at = start;
        for block in 0..=self.n_blocks {
            // Genes rise: no more than a block of them are in a block.
            let next = &self.genes[at..self.genes.len().min(at + BLOCK)];
            at += next.partition_point(|&gene| (gene as usize) < block * BLOCK);
            self.block_starts.push(at);
        }
    }

    /// Input values of the row appended last.
    pub(crate) fn last_row(&mut self) -> &mut [f32] {
        let start = self.indptr[self.indptr.len() - 2];
        &mut self.values[start..]
    }

    /// Genes, which rise, and input values of a row.
    #[cfg(test)]
    pub(crate) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[row]..self.indptr[row + 1];
        (&self.genes[range.clone()], &self.values[range])
    }

    /// Genes, which rise, and values to reproduce of a row.
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
        let (genes, values) = (&self.genes[range.clone()], &self.clean[range]);
        let start = genes.partition_point(|&gene| (gene as usize) < columns.start);
        for (&gene, &value) in genes[start..].iter().zip(&values[start..]) {
            if gene as usize >= columns.end {
                break;
            }
            f(gene as usize, value);
        }
    }

    /// Builds the order by gene: a counting sort of each block of genes, stable in the rows.
    pub(crate) fn order_by_gene(&mut self) {
        self.gene_entries.resize(self.genes.len(), (0, 0.0));
        let mut entries = core::mem::take(&mut self.gene_entries);
        let mut starts = core::mem::take(&mut self.gene_starts);
        let n_genes = starts.len() - 1;
        starts[n_genes] = self.genes.len();
        self.order_blocks(0..self.n_blocks, 0, &mut starts[..n_genes], &mut entries);
        (self.gene_entries, self.gene_starts) = (entries, starts);
    }

    /// The same for some blocks, of which the first entry of all is the `before`th; `starts` are those of their genes.
    fn order_blocks(
        &self,
        blocks: core::ops::Range<usize>,
        before: usize,
        starts: &mut [usize],
        entries: &mut [(u32, f32)],
    ) {
        if blocks.len() > 1 {
            let middle = blocks.start + blocks.len() / 2;
            let bounds = self.block_starts.chunks_exact(self.n_blocks + 1);
            let n_left: usize = bounds.map(|of| of[middle] - of[blocks.start]).sum();
            let (left_starts, right_starts) = starts.split_at_mut((middle - blocks.start) * BLOCK);
            let (left, right) = entries.split_at_mut(n_left);
            rayon::join(
                || self.order_blocks(blocks.start..middle, before, left_starts, left),
                || self.order_blocks(middle..blocks.end, before + n_left, right_starts, right),
            );
            return;
        }
        let first_gene = blocks.start * BLOCK;
        let n_rows = self.indptr.len() - 1;
        starts.fill(0);
        for row in 0..n_rows {
            for &gene in self.block_of_row(row, blocks.start).0 {
                starts[gene as usize - first_gene] += 1;
            }
        }
        let mut next = 0;
        for start in &mut *starts {
            (*start, next) = (next, next + *start);
        }
        for row in 0..n_rows {
            let (genes, values) = self.block_of_row(row, blocks.start);
            for (&gene, &value) in genes.iter().zip(values) {
                let next = &mut starts[gene as usize - first_gene];
                // A batch has far fewer than 2³² rows.
                entries[*next] = (row as u32, value);
                *next += 1;
            }
        }
        // Each start has moved to the next gene's.
        starts.rotate_right(1);
        starts[0] = 0;
        starts.iter_mut().for_each(|start| *start += before);
    }

    /// `out = z · weights + bias`, its rows `stride` apart; `room` is for sums.
    pub(crate) fn multiply(
        &self,
        out: &mut [f32],
        stride: usize,
        weights: &[f32],
        bias: &[f32],
        zero: &[f32],
        room: &mut Vec<f32>,
    ) {
        let cols = bias.len();
        // Sums of every part of the genes: of what zeros give, then of each row.
        let n_sums = 1 + self.indptr.len() - 1;
        // Many genes are divided between tasks, so that each weight comes from memory once; of few, the rows are.
        let (part, rows) = if zero.len() > MANY { (PART, n_sums) } else { (zero.len(), ROWS) };
        let n_parts = zero.len().div_ceil(part.max(1));
        room.resize(n_parts * n_sums * cols, 0.0);
        let tasks_of_part = n_sums.div_ceil(rows);
        room.par_chunks_mut(rows * cols).enumerate().for_each(|(task, sums)| {
            sums.fill(0.0);
            let first_gene = task / tasks_of_part * part;
            let first_sum = task % tasks_of_part * rows;
            let n_genes = part.min(zero.len() - first_gene);
            for first in (first_gene..first_gene + n_genes).step_by(BLOCK) {
                let end = (first + BLOCK).min(first_gene + n_genes);
                for (i, sums) in sums.chunks_exact_mut(cols).enumerate() {
                    match (first_sum + i).checked_sub(1) {
                        // In order, which brings the weights of the block nearer.
                        None => {
                            let zeros = (first..end).map(|gene| (gene, -zero[gene]));
                            add_rows(zeros, weights, cols, sums);
                        }
                        Some(row) => {
                            let (genes, values) = self.block_of_row(row, first / BLOCK);
                            add_rows(entries(genes, values), weights, cols, sums);
                        }
                    }
                }
            }
        });
        let (first, rest) = room.split_at_mut(n_sums * cols);
        let (offset, first) = first.split_at_mut(cols);
        add_to(offset, bias);
        rest.chunks_exact(n_sums * cols).for_each(|part| add_to(offset, &part[..cols]));
        let (offset, first, rest) = (&*offset, &*first, &*rest);
        out.par_chunks_exact_mut(stride).zip(first.par_chunks_exact(cols)).enumerate().for_each(
            |(row, (out, first))| {
                let out = &mut out[..cols];
                out.copy_from_slice(offset);
                add_to(out, first);
                for part in rest.chunks_exact(n_sums * cols) {
                    add_to(out, &part[(row + 1) * cols..][..cols]);
                }
            },
        );
    }

    /// Genes and input values of a row within a block of genes.
    fn block_of_row(&self, row: usize, block: usize) -> (&[u32], &[f32]) {
        let bounds = &self.block_starts[row * (self.n_blocks + 1) + block..];
        let range = bounds[0]..bounds[1];
        (&self.genes[range.clone()], &self.values[range])
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
            for (i, gradient) in gradient.chunks_exact_mut(cols).enumerate() {
                let gene = block * GENES + i;
                let range = self.gene_starts[gene]..self.gene_starts[gene + 1];
                let entries = self.gene_entries[range].iter();
                let zero = zero[gene];
                vectorised(
                    #[inline(always)]
                    || {
                        gradient
                            .iter_mut()
                            .zip(bias_gradient)
                            .for_each(|(d, &sum)| *d = -zero * sum)
                    },
                );
                add_rows(entries.map(|&(row, value)| (row as usize, value)), d, stride, gradient);
            }
        });
    }
}

/// Entries of a row of the data that are not zero.
pub(crate) fn stored<'d>(row: Row<'d>) -> impl Iterator<Item = (u32, f32)> + 'd {
    let (genes, values, all) = match row {
        Row::Sparse(genes, values) => (genes, values, &[][..]),
        Row::Dense(values) => (&[][..], &[][..], values),
    };
    let sparse = genes.iter().copied().zip(values.iter().copied());
    // A gene index is a u32 in the data.
    let dense = all.iter().enumerate().map(|(gene, &value)| (gene as u32, value));
    sparse.chain(dense.filter(|entry| entry.1 != 0.0))
}

/// `out += Σ value · matrix[row]` over (row, value), for the first `out.len()` columns of a matrix whose rows are `stride`
/// apart.
#[inline(always)]
fn add_rows(
    terms: impl Iterator<Item = (usize, f32)> + Clone,
    matrix: &[f32],
    stride: usize,
    out: &mut [f32],
) {
    vectorised(
        #[inline(always)]
        || {
            let cols = out.len();
            let mut first = 0;
            while first < cols {
                first = match cols - first {
                    65..=96 if cols >= 96 => {
                        add_columns::<96>(terms.clone(), matrix, stride, out, first)
                    }
                    _ if cols >= 64 => add_columns::<64>(terms.clone(), matrix, stride, out, first),
                    _ => {
                        for (row, value) in terms.clone() {
                            let source = &matrix[row * stride..][..cols];
                            for (sum, &x) in out.iter_mut().zip(source) {
                                *sum = value.mul_add(x, *sum);
                            }
                        }
                        cols
                    }
                };
            }
        },
    );
}

/// Adds the terms to the columns from `first` on, `N` or as many as there are; returns where they end.
#[inline(always)]
fn add_columns<const N: usize>(
    terms: impl Iterator<Item = (usize, f32)>,
    matrix: &[f32],
    stride: usize,
    out: &mut [f32],
    first: usize,
) -> usize {
    // Near the end, columns before `first` are summed once more and left as they are.
    let from = first.min(out.len() - N);
    // A local array of fixed size stays in registers.
    let mut sums = [0.0; N];
    sums.copy_from_slice(&out[from..from + N]);
    for (row, value) in terms {
        let source = &matrix[row * stride + from..][..N];
        for (sum, &x) in sums.iter_mut().zip(source) {
            *sum = value.mul_add(x, *sum);
        }
    }
    out[first..from + N].copy_from_slice(&sums[first - from..]);
    from + N
}

/// Rows and values of compressed entries.
#[inline(always)]
fn entries<'e>(
    rows: &'e [u32],
    values: &'e [f32],
) -> impl Iterator<Item = (usize, f32)> + Clone + 'e {
    rows.iter().zip(values).map(|(&row, &value)| (row as usize, value))
}

/// Genes whose weights a task goes through again and again: they stay in the second cache.
const BLOCK: usize = 1024;
/// Genes per task forward, where there are many.
const PART: usize = 2 * BLOCK;
/// Genes from which on they are many.
const MANY: usize = 4 * PART;
/// Rows per task forward, where genes are few.
const ROWS: usize = 64;
/// Genes per task backward.
const GENES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::{Purpose, Rng};
    use crate::engine::training_data::Expression;

    #[test]
    fn sparse_products_equal_dense_ones() {
        let mut rng = Rng::stream(5, Purpose::Initialise, 0, 0);
        let (n, p, cols, stride) = (70, 300, 94, 97);
        let x: Vec<f32> =
            (0..n * p).map(|_| if rng.unit() < 0.1 { rng.unit() } else { 0.0 }).collect();
        let expression = Expression::Dense(&x);
        let data =
            TrainingData { expression, n_genes: p, labels: None, n_classes: 0, counts: None };
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
        batch.multiply(&mut out, stride, &weights, &bias, zero, &mut Vec::new());
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
            counts: None,
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
