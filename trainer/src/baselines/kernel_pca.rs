//! Kernel principal components (Schölkopf, Smola, Müller 1998), and profiles back from them by kernel ridge regression
//! (Bakır, Weston, Schölkopf 2004). Kernels, their parameters and the ridge are scikit-learn's defaults
//! (`KernelPCA(fit_inverse_transform=True)`).

use faer::linalg::solvers::Solve;
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
    rows: Mat<f64>,
    /// `[n]` means of the kernel's columns over the fitted rows, and over all of it.
    column_means: Vec<f64>,
    mean: f64,
    /// `[n × k]`: eigenvectors over the roots of their eigenvalues.
    directions: Mat<f64>,
    /// `[n × k]`: the fitted rows' numbers.
    scores: Mat<f64>,
    /// `[n × n_genes]`: weights of the ridge regression.
    dual: Mat<f64>,
}

/// Ridge of the way back.
const RIDGE: f64 = 1.0;

impl KernelPca {
    /// Fits at most `n_components` on `rows`, `[n × n_genes]`. Takes memory and time of `n²` and `n³`.
    ///
    /// # Errors
    /// [`TrainError::Eigen`] where the kernel cannot be decomposed.
    pub fn fit(rows: Mat<f64>, n_components: usize, kernel: Kernel) -> Result<Self, TrainError> {
        on_calling_thread();
        let n = rows.nrows();
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
        let mut ridge = kernel.of(scores.as_ref(), scores.as_ref(), gamma);
        for row in 0..n {
            ridge[(row, row)] += RIDGE;
        }
        let dual = ridge.partial_piv_lu().solve(&rows);
        Ok(Self { kernel, gamma, rows, column_means, mean, directions, scores, dual })
    }
}

impl Reproducer for KernelPca {
    fn reproduce(&self, profiles: MatRef<'_, f64>) -> Mat<f64> {
        let mut kernel = self.kernel.of(profiles, self.rows.as_ref(), self.gamma);
        centre(&mut kernel, &self.column_means, self.mean);
        let scores = &kernel * &self.directions;
        self.kernel.of(scores.as_ref(), self.scores.as_ref(), self.gamma) * &self.dual
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
