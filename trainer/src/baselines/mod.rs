//! What the paper compares its codes with (section "Reconstruction"): linear and kernel principal components, and
//! non-negative factors, all of as many numbers as the code. Rows are profiles, row-major, in network input units.

mod contender;
mod discriminant;
mod forest;
mod kernel_pca;
mod linear;
mod nmf;

use faer::{Mat, MatRef};

use crate::{Expression, Pca, TrainError, TrainingData};

pub use contender::{Contender, Fitted, Labelled, Prepared, choose};
pub use discriminant::shrinkage_lda;
pub use forest::Forest;
pub use kernel_pca::{Kernel, KernelPca};
pub use linear::{LinearClassifier, LinearLoss};
pub use nmf::Nmf;

/// Something that was fitted on training profiles and gives profiles back from few numbers.
pub trait Reproducer {
    /// The profiles, `[n × n_genes]`, from their own numbers.
    fn reproduce(&self, profiles: MatRef<'_, f64>) -> Mat<f64>;
}

/// A matrix of rows that lie one after another.
pub fn matrix(rows: &[f32], n_genes: usize) -> Mat<f64> {
    let n_rows = rows.len().checked_div(n_genes).unwrap_or(0);
    Mat::from_fn(n_rows, n_genes, |row, gene| f64::from(rows[row * n_genes + gene]))
}

/// Principal components of `rows`, `[n × n_genes]`.
///
/// # Errors
/// Those of [`Pca::fit`].
pub fn pca(
    rows: &[f32],
    n_genes: usize,
    n_components: usize,
    seed: u64,
) -> Result<Pca, TrainError> {
    let data = TrainingData {
        expression: Expression::Dense(rows),
        n_genes,
        labels: None,
        n_classes: 0,
        counts: None,
    };
    let all: Vec<usize> = (0..rows.len().checked_div(n_genes).unwrap_or(0)).collect();
    Pca::fit(&data, &all, n_components, seed)
}

/// `[n × k]`: how far profiles lie along the components.
pub fn pca_scores(pca: &Pca, profiles: MatRef<'_, f64>) -> Mat<f64> {
    let centred = Mat::from_fn(profiles.nrows(), pca.mean.len(), |row, gene| {
        profiles[(row, gene)] - pca.mean[gene]
    });
    &centred * components(pca).transpose()
}

fn components(pca: &Pca) -> Mat<f64> {
    Mat::from_fn(pca.n_components(), pca.mean.len(), |k, gene| pca.component(k)[gene])
}

impl Reproducer for Pca {
    fn reproduce(&self, profiles: MatRef<'_, f64>) -> Mat<f64> {
        let mut reproduced = &pca_scores(self, profiles) * &components(self);
        for (gene, column) in reproduced.col_iter_mut().enumerate() {
            column.iter_mut().for_each(|value| *value += self.mean[gene]);
        }
        reproduced
    }
}
