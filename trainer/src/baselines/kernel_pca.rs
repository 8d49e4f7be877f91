//! Kernel principal components (Schölkopf, Smola, Müller 1998), and profiles back from them by kernel ridge regression
//! (Bakır, Weston, Schölkopf 2004), of profiles less their mean. Kernels and their parameters are scikit-learn's defaults
//! (`KernelPCA(fit_inverse_transform=True)`); its default ridge is far too strong for expression, so that it is chosen by
//! leaving each row out.

use faer::{Mat, MatRef, Side};

use super::Reproducer;
use crate::TrainError;
use crate::algebra::on_calling_thread;

/// What stands for the product of two profiles. γ is one over the number of genes, on the way back too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `(γ x·y + 1)³`
    Polynomial,
    /// `x·y / (|x| |y|)`
    Cosine,
    /// `exp(−γ |x − y|²)`
    Rbf,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Polynomial, Self::Cosine, Self::Rbf];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polynomial => "kernel PCA, polynomial",
            Self::Cosine => "kernel PCA, cosine",
            Self::Rbf => "kernel PCA, RBF",
        }
    }

    /// Of every row of `x` with every row of `y`.
    fn of(self, x: MatRef<'_, f64>, y: MatRef<'_, f64>, gamma: f64) -> Mat<f64> {
        let squares = |m: MatRef<'_, f64>| -> Vec<f64> {
            (0..m.nrows()).map(|row| m.row(row).squared_norm_l2()).collect()
        };
        let (x_squares, y_squares) = (squares(x), squares(y));
        let mut kernel = x * y.transpose();
        for (j, column) in kernel.col_iter_mut().enumerate() {
            for (i, value) in column.iter_mut().enumerate() {
                *value = match self {
                    Self::Polynomial => (gamma * *value + 1.0).powi(3),
                    Self::Cosine => match (x_squares[i] * y_squares[j]).sqrt() {
                        0.0 => 0.0,
                        length => *value / length,
                    },
                    Self::Rbf => {
                        let distance = x_squares[i] + y_squares[j] - 2.0 * *value;
                        (-gamma * distance.max(0.0)).exp()
                    }
                };
            }
        }
        kernel
    }
}

/// Components of a kernel, and the way back.
pub struct KernelPca {
    kernel: Kernel,
    gamma: f64,
    /// `[n_genes]` mean of the fitted rows.
    gene_means: Vec<f64>,
    /// `[n × n_genes]`: the fitted rows, less that mean.
    rows: Mat<f64>,
    /// `[n]` means of the kernel's columns over the fitted rows, and over all of it.
    column_means: Vec<f64>,
    mean: f64,
    /// `[n × k]`: eigenvectors over the roots of their eigenvalues.
    directions: Mat<f64>,
    /// `[n × k]`: the fitted rows' numbers.
    scores: Mat<f64>,
    back: KernelRidge,
}

/// From kernels of scores to profiles less their mean.
struct KernelRidge {
    strength: f64,
    /// `[n × n_genes]`: weights of the fitted rows.
    dual: Mat<f64>,
}

/// Strengths of the ridge that are tried, as shares of the kernel's mean diagonal.
const STRENGTHS: [f64; 10] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];

impl KernelRidge {
    /// Of `rows` on their own kernel, with the strength whose error is least for rows left out in turn.
    fn fit(kernel: &Mat<f64>, rows: &Mat<f64>) -> Result<Self, TrainError> {
        let n = kernel.nrows();
        let eigen = kernel.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::Eigen)?;
        let values = eigen.S().column_vector();
        let vectors = eigen.U();
        let rotated = vectors.transpose() * rows;
        let diagonal = (0..n).map(|row| kernel[(row, row)]).sum::<f64>() / n as f64;
        let mut best: Option<(f64, Self)> = None;
        for strength in STRENGTHS.map(|share| share * diagonal) {
            let inverse = |at: usize| 1.0 / (values[at].max(0.0) + strength);
            let scaled =
                Mat::from_fn(n, rows.ncols(), |at, gene| inverse(at) * rotated[(at, gene)]);
            let dual = vectors * &scaled;
            // What a row would be off by, had it not been fitted: its weights over its place on the diagonal of the
            // inverse (Rasmussen, Williams 2006, eq. 5.12).
            let error = |row: usize| {
                let at: f64 = (0..n).map(|at| vectors[(row, at)].powi(2) * inverse(at)).sum();
                dual.row(row).squared_norm_l2() / at.powi(2)
            };
            let error: f64 = (0..n).map(error).sum();
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, Self { strength, dual }));
            }
        }
        best.map(|(_, ridge)| ridge).ok_or(TrainError::Eigen)
    }
}

impl KernelPca {
    /// Fits at most `n_components` on `rows`, `[n × n_genes]`. Takes memory and time of `n²` and `n³`.
    ///
    /// # Errors
    /// [`TrainError::Eigen`] where the kernel cannot be decomposed.
    pub fn fit(
        mut rows: Mat<f64>,
        n_components: usize,
        kernel: Kernel,
    ) -> Result<Self, TrainError> {
        on_calling_thread();
        let n = rows.nrows();
        let gene_means: Vec<f64> =
            rows.col_iter().map(|column| column.iter().sum::<f64>() / n as f64).collect();
        subtract(&mut rows, &gene_means);
        let gamma = 1.0 / rows.ncols().max(1) as f64;
        let mut gram = kernel.of(rows.as_ref(), rows.as_ref(), gamma);
        let column_means: Vec<f64> =
            gram.col_iter().map(|column| column.iter().sum::<f64>() / n as f64).collect();
        let mean = column_means.iter().sum::<f64>() / n as f64;
        centre(&mut gram, &column_means, mean);
        let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::Eigen)?;
        let values = eigen.S().column_vector();
        // faer sorts by rising eigenvalue.
        let largest = values.iter().next_back().copied().unwrap_or(0.0);
        let kept: Vec<usize> = (0..n)
            .rev()
            .take(n_components)
            .take_while(|&at| values[at] > largest * 1e-10 && values[at] > 0.0)
            .collect();
        let vector = |row: usize, k: usize| eigen.U()[(row, kept[k])];
        let directions =
            Mat::from_fn(n, kept.len(), |row, k| vector(row, k) / values[kept[k]].sqrt());
        let scores = Mat::from_fn(n, kept.len(), |row, k| vector(row, k) * values[kept[k]].sqrt());
        let back = KernelRidge::fit(&kernel.of(scores.as_ref(), scores.as_ref(), gamma), &rows)?;
        Ok(Self { kernel, gamma, gene_means, rows, column_means, mean, directions, scores, back })
    }

    /// Of the ridge on the way back: what is added to the diagonal of the kernel of the fitted rows' scores.
    pub fn ridge(&self) -> f64 {
        self.back.strength
    }
}

impl Reproducer for KernelPca {
    fn reproduce(&self, profiles: MatRef<'_, f64>) -> Mat<f64> {
        let mut profiles = profiles.to_owned();
        subtract(&mut profiles, &self.gene_means);
        let mut kernel = self.kernel.of(profiles.as_ref(), self.rows.as_ref(), self.gamma);
        centre(&mut kernel, &self.column_means, self.mean);
        let scores = &kernel * &self.directions;
        let back = self.kernel.of(scores.as_ref(), self.scores.as_ref(), self.gamma);
        let mut reproduced = back * &self.back.dual;
        for (column, mean) in reproduced.col_iter_mut().zip(&self.gene_means) {
            column.iter_mut().for_each(|value| *value += mean);
        }
        reproduced
    }
}

fn subtract(profiles: &mut Mat<f64>, means: &[f64]) {
    for (column, mean) in profiles.col_iter_mut().zip(means) {
        column.iter_mut().for_each(|value| *value -= mean);
    }
}

/// What the kernel would be of profiles less the mean of the fitted ones, in the space of the kernel.
fn centre(kernel: &mut Mat<f64>, column_means: &[f64], mean: f64) {
    let n = kernel.ncols().max(1) as f64;
    let row_means: Vec<f64> =
        (0..kernel.nrows()).map(|row| kernel.row(row).iter().sum::<f64>() / n).collect();
    for (column, column_mean) in kernel.col_iter_mut().zip(column_means) {
        for (value, row_mean) in column.iter_mut().zip(&row_means) {
            *value += mean - column_mean - row_mean;
        }
    }
}
