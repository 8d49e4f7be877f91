//! Principal components of expression rows, sparse or dense.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;

use crate::TrainError;
use crate::algebra::on_calling_thread;
use crate::engine::rng::{Purpose, Rng};
use crate::engine::simd::vectorised;
use crate::engine::training_data::{Row, TrainingData};

/// Principal components of centred rows, by falling variance.
///
/// The sign of each component is such that its loading of largest magnitude is positive.
#[derive(Clone, Debug)]
pub struct Pca {
    /// `[n_genes]` mean of the fitted rows.
    pub mean: Vec<f64>,
    /// `[n_components]` variance of the scores, dividing by the number of rows.
    pub variances: Vec<f64>,
    /// `[n_components × n_genes]` unit vectors, row-major.
    pub loadings: Vec<f64>,
}

impl Pca {
    /// At most `n_components` components of `rows`, less where the data has lower rank.
    ///
    /// Exact, through the smaller of the two Gram matrices, where that is at most 4,000 wide;
    /// otherwise subspace iteration from a random start (Halko, Martinsson, Tropp 2011) that
    /// follows from `seed`.
    pub fn fit(
        data: &TrainingData<'_>,
        rows: &[usize],
        n_components: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        data.check()?;
        on_calling_thread();
        if let Some(&row) = rows.iter().find(|&&row| row >= data.n_rows()) {
            return Err(TrainError::Row { row, n_rows: data.n_rows() });
        }
        let mean = mean(data, rows);
        let centred = Centred { data, rows, mean: &mean };
        let smaller = rows.len().min(data.n_genes);
        let n_components = n_components.min(smaller);
        let (variances, loadings) = if smaller > EXACT {
            centred.by_subspace_iteration(n_components, seed)?
        } else if rows.len() < data.n_genes {
            centred.by_row_gram(n_components)?
        } else {
            centred.by_gene_gram(n_components)?
        };
        let mut pca = Self { mean, variances, loadings };
        pca.drop_null_components();
        pca.fix_signs();
        Ok(pca)
    }

    /// Number of components.
    pub fn n_components(&self) -> usize {
        self.variances.len()
    }

    /// Unit vector of a component, `[n_genes]`.
    pub fn component(&self, component: usize) -> &[f64] {
        let n_genes = self.mean.len();
        &self.loadings[component * n_genes..(component + 1) * n_genes]
    }

    fn drop_null_components(&mut self) {
        let largest = self.variances.first().copied().unwrap_or(0.0);
        let null = |variance: &f64| !(*variance > largest * 1e-10 && *variance > 0.0);
        let rank = self.variances.iter().position(null).unwrap_or(self.variances.len());
        self.variances.truncate(rank);
        self.loadings.truncate(rank * self.mean.len());
    }

    fn fix_signs(&mut self) {
        for component in self.loadings.chunks_exact_mut(self.mean.len().max(1)) {
            let mut extreme = 0.0_f64;
            for &x in &*component {
                if x.abs() > extreme.abs() {
                    extreme = x;
                }
            }
            if extreme < 0.0 {
                component.iter_mut().for_each(|x| *x = -*x);
            }
        }
    }
}

fn mean(data: &TrainingData<'_>, rows: &[usize]) -> Vec<f64> {
    let mut mean = vec![0.0; data.n_genes];
    for &row in rows {
        for_each_value(data.row(row), |gene, x| mean[gene] += x);
    }
    let n = rows.len().max(1) as f64;
    mean.iter_mut().for_each(|mean| *mean /= n);
    mean
}

fn for_each_value(row: Row<'_>, mut f: impl FnMut(usize, f64)) {
    match row {
        Row::Sparse(genes, values) => {
            genes.iter().zip(values).for_each(|(&gene, &x)| f(gene as usize, f64::from(x)));
        }
        Row::Dense(values) => {
            values.iter().enumerate().for_each(|(gene, &x)| f(gene, f64::from(x)));
        }
    }
}

/// [`for_each_value`] of some genes.
fn for_each_value_of(row: Row<'_>, within: core::ops::Range<usize>, mut f: impl FnMut(usize, f64)) {
    match row {
        Row::Sparse(genes, values) => {
            let before = |end: usize| genes.partition_point(|&gene| (gene as usize) < end);
            let range = before(within.start)..before(within.end);
            for_each_value(Row::Sparse(&genes[range.clone()], &values[range]), &mut f);
        }
        Row::Dense(values) => {
            for_each_value(Row::Dense(&values[within.clone()]), |gene, x| {
                f(within.start + gene, x)
            });
        }
    }
}

/// The rows less their mean, never stored as a whole.
struct Centred<'a> {
    data: &'a TrainingData<'a>,
    rows: &'a [usize],
    mean: &'a [f64],
}

/// Variances, and unit vectors as rows.
type Components = (Vec<f64>, Vec<f64>);

impl Centred<'_> {
    /// Rows `block·BLOCK..` as a dense matrix with a row's values contiguous.
    fn block(&self, block: usize) -> Mat<f64> {
        let start = block * BLOCK;
        let rows = &self.rows[start..(start + BLOCK).min(self.rows.len())];
        let mut dense = Mat::zeros(self.mean.len(), rows.len());
        for (i, &row) in rows.iter().enumerate() {
            for_each_value(self.data.row(row), |gene, x| dense[(gene, i)] = x);
            for (gene, mean) in self.mean.iter().enumerate() {
                dense[(gene, i)] -= mean;
            }
        }
        dense
    }

    fn n_blocks(&self) -> usize {
        self.rows.len().div_ceil(BLOCK)
    }

    /// Eigenvectors of XᵀX / n.
    fn by_gene_gram(&self, n_components: usize) -> Result<Components, TrainError> {
        let p = self.mean.len();
        let mut gram = Mat::zeros(p, p);
        for block in 0..self.n_blocks() {
            let x = self.block(block);
            add_product(&mut gram, x.as_ref(), x.transpose());
        }
        let (variances, vectors) = self.largest(&gram, n_components)?;
        let loadings = vectors.col_iter().flat_map(|v| v.iter().copied().collect::<Vec<_>>());
        Ok((variances, loadings.collect()))
    }

    /// Eigenvectors u of XXᵀ / n give the components Xᵀu, scaled to unit length.
    fn by_row_gram(&self, n_components: usize) -> Result<Components, TrainError> {
        let (n, p) = (self.rows.len(), self.mean.len());
        let mut gram = Mat::zeros(n, n);
        for i in 0..self.n_blocks() {
            let x = self.block(i);
            for j in 0..=i {
                let y = if i == j { x.clone() } else { self.block(j) };
                let mut product = Mat::zeros(x.ncols(), y.ncols());
                add_product(&mut product, x.transpose(), y.as_ref());
                for (b, column) in product.col_iter().enumerate() {
                    for (a, &value) in column.iter().enumerate() {
                        gram[(i * BLOCK + a, j * BLOCK + b)] = value;
                        gram[(j * BLOCK + b, i * BLOCK + a)] = value;
                    }
                }
            }
        }
        let (variances, vectors) = self.largest(&gram, n_components)?;
        let mut loadings = Mat::zeros(p, vectors.ncols());
        for block in 0..self.n_blocks() {
            let x = self.block(block);
            let part = vectors.subrows(block * BLOCK, x.ncols());
            add_product(&mut loadings, x.as_ref(), part);
        }
        Ok((variances, unit_rows(&loadings)))
    }

    /// Largest eigenvalues over n, and their vectors as columns.
    fn largest(
        &self,
        gram: &Mat<f64>,
        n_components: usize,
    ) -> Result<(Vec<f64>, Mat<f64>), TrainError> {
        let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::Eigen)?;
        let width = gram.ncols();
        let n = self.rows.len() as f64;
        // faer sorts by rising eigenvalue.
        let column = |component: usize| width - 1 - component;
        let values = eigen.S().column_vector();
        let variances = (0..n_components).map(|c| values[column(c)] / n).collect();
        let vectors = Mat::from_fn(width, n_components, |row, c| eigen.U()[(row, column(c))]);
        Ok((variances, vectors))
    }

    fn by_subspace_iteration(
        &self,
        n_components: usize,
        seed: u64,
    ) -> Result<Components, TrainError> {
        let p = self.mean.len();
        let width = (n_components + OVERSAMPLING).min(self.rows.len()).min(p);
        let mut rng = Rng::stream(seed, Purpose::Subspace, 0, 0);
        let mut basis = Mat::from_fn(p, width, |_, _| f64::from(rng.normal()));
        for _ in 0..ITERATIONS {
            basis = self.gram_times(&orthonormal(&basis));
        }
        let basis = orthonormal(&basis);
        // The components within the subspace: eigenvectors of its small Gram matrix.
        let image = self.gram_times(&basis);
        let mut small = Mat::zeros(width, width);
        add_product(&mut small, basis.transpose(), image.as_ref());
        let (variances, vectors) = self.largest(&small, n_components)?;
        let mut loadings = Mat::zeros(p, n_components);
        add_product(&mut loadings, basis.as_ref(), vectors.as_ref());
        Ok((variances, unit_rows(&loadings)))
    }

    /// XᵀX · basis, over the stored values only: with B the basis, a row's score is
    /// x·B − mean·B, and Xᵀscores = Σ x·score − mean·Σ score.
    fn gram_times(&self, basis: &Mat<f64>) -> Mat<f64> {
        let (p, width) = (basis.nrows(), basis.ncols());
        let row_major: Vec<f64> = (0..p * width).map(|i| basis[(i / width, i % width)]).collect();
        let row = |gene: usize| &row_major[gene * width..(gene + 1) * width];
        let mut centre = vec![0.0; width];
        for (gene, mean) in self.mean.iter().enumerate() {
            centre.iter_mut().zip(row(gene)).for_each(|(c, b)| *c += mean * b);
        }
        let blocks = || (0..p).step_by(GENES).map(|first| first..(first + GENES).min(p));
        // A fixed number of parts, added in order.
        let part_len = self.rows.len().div_ceil(PARTS).max(1);
        let parts: Vec<Vec<f64>> = self
            .rows
            .par_chunks(part_len)
            .map(|rows| {
                let mut sum = vec![0.0; (p + 1) * width];
                let mut scores = vec![0.0; BLOCK.min(part_len) * width];
                // Block by block, so that basis and sums come from a near cache; each sum runs in the same order.
                for rows in rows.chunks(BLOCK) {
                    let scores = &mut scores[..rows.len() * width];
                    scores.chunks_exact_mut(width).for_each(|score| {
                        score.iter_mut().zip(&centre).for_each(|(s, c)| *s = -c);
                    });
                    for genes in blocks() {
                        for (&index, score) in rows.iter().zip(scores.chunks_exact_mut(width)) {
                            for_each_value_of(self.data.row(index), genes.clone(), |gene, x| {
                                add_scaled(score, row(gene), x);
                            });
                        }
                    }
                    for genes in blocks() {
                        for (&index, score) in rows.iter().zip(scores.chunks_exact(width)) {
                            for_each_value_of(self.data.row(index), genes.clone(), |gene, x| {
                                add_scaled(&mut sum[gene * width..(gene + 1) * width], score, x);
                            });
                        }
                    }
                    for score in scores.chunks_exact(width) {
                        add_scaled(&mut sum[p * width..], score, 1.0);
                    }
                }
                sum
            })
            .collect();
        let total = |gene: usize, k: usize| parts.iter().map(|part| part[gene * width + k]).sum();
        let scores: Vec<f64> = (0..width).map(|k| total(p, k)).collect();
        Mat::from_fn(p, width, |gene, k| total(gene, k) - self.mean[gene] * scores[k])
    }
}

/// `dst += lhs · rhs`, in column tiles of fixed width.
pub(crate) fn add_product(dst: &mut Mat<f64>, lhs: MatRef<'_, f64>, rhs: MatRef<'_, f64>) {
    dst.as_mut().par_col_chunks_mut(TILE).enumerate().for_each(|(i, tile)| {
        let rhs = rhs.subcols(i * TILE, tile.ncols());
        matmul(tile, Accum::Add, lhs, rhs, 1.0, Par::Seq);
    });
}

fn add_scaled(sums: &mut [f64], values: &[f64], factor: f64) {
    vectorised(
        #[inline(always)]
        || sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value),
    );
}

fn orthonormal(matrix: &Mat<f64>) -> Mat<f64> {
    matrix.qr().compute_thin_Q()
}

/// Columns scaled to unit length, one after the other.
fn unit_rows(columns: &Mat<f64>) -> Vec<f64> {
    let mut rows = Vec::with_capacity(columns.nrows() * columns.ncols());
    for column in columns.col_iter() {
        let length = libm::sqrt(column.iter().map(|x| x * x).sum::<f64>());
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        rows.extend(column.iter().map(|x| x * factor));
    }
    rows
}

/// Widest Gram matrix that is decomposed as a whole.
const EXACT: usize = 4000;
/// Rows made dense at a time.
const BLOCK: usize = 256;
/// Genes at a time, of compressed rows.
const GENES: usize = 1024;
const TILE: usize = 128;
const OVERSAMPLING: usize = 12;
const ITERATIONS: usize = 10;
const PARTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::training_data::Expression;

    #[test]
    fn components_are_the_same_bits_for_every_number_of_threads() {
        let (n, p) = (400, 700);
        let mut rng = Rng::stream(2, Purpose::Initialise, 9, 9);
        let values: Vec<f32> = (0..n * p).map(|_| rng.normal()).collect();
        let expression = Expression::Dense(&values);
        let data =
            TrainingData { expression, n_genes: p, labels: None, n_classes: 0, counts: None };
        let rows: Vec<usize> = (0..n).collect();
        let loadings = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Pca::fit(&data, &rows, 20, 1).unwrap().loadings)
        };
        let one = loadings(1);
        assert!(one == loadings(2) && one == loadings(3));
    }

    #[test]
    fn subspace_iteration_finds_what_the_exact_decompositions_find() {
        let (n, p) = (90, 60);
        let mut rng = Rng::stream(1, Purpose::Initialise, 9, 9);
        // Five strong directions in noise, half of the values zero.
        let factors: Vec<f32> = (0..5 * p).map(|_| rng.normal()).collect();
        let mut values = vec![0.0; n * p];
        for row in values.chunks_exact_mut(p) {
            for k in 0..5 {
                let score = rng.normal() * (6 - k) as f32;
                row.iter_mut().zip(&factors[k * p..]).for_each(|(x, f)| *x += score * f);
            }
            row.iter_mut().for_each(|x| *x = if rng.unit() < 0.5 { 0.0 } else { *x + 3.0 });
        }
        let expression = Expression::Dense(&values);
        let data =
            TrainingData { expression, n_genes: p, labels: None, n_classes: 0, counts: None };
        let rows: Vec<usize> = (0..n).collect();
        let mean = mean(&data, &rows);
        let centred = Centred { data: &data, rows: &rows, mean: &mean };
        let as_pca = |(variances, loadings): Components| {
            let mut pca = Pca { mean: mean.clone(), variances, loadings };
            pca.fix_signs();
            pca
        };
        let by_genes = as_pca(centred.by_gene_gram(4).unwrap());
        let by_rows = as_pca(centred.by_row_gram(4).unwrap());
        let by_iteration = as_pca(centred.by_subspace_iteration(4, 1).unwrap());
        for other in [by_rows, by_iteration] {
            for k in 0..4 {
                let ratio = other.variances[k] / by_genes.variances[k];
                assert!((ratio - 1.0).abs() < 1e-6, "{k}: {ratio}");
                let pairs = other.component(k).iter().zip(by_genes.component(k));
                let dot: f64 = pairs.map(|(a, b)| a * b).sum();
                assert!(dot > 1.0 - 1e-5, "{k}: {dot}");
            }
        }
    }

    #[test]
    fn data_of_lower_rank_gives_fewer_components() {
        let values: Vec<f32> = (0..40).map(|i| ((i / 8) * (i % 8 + 1)) as f32).collect();
        let expression = Expression::Dense(&values);
        let data =
            TrainingData { expression, n_genes: 8, labels: None, n_classes: 0, counts: None };
        let pca = Pca::fit(&data, &[0, 1, 2, 3, 4], 5, 1).unwrap();
        assert_eq!(pca.n_components(), 1);
        let constant = Pca::fit(&data, &[2, 2, 2], 5, 1).unwrap();
        assert_eq!(constant.n_components(), 0);
    }
}
