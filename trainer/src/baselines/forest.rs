//! Random forests of smartcore: 100 trees on bootstrap samples, each split among √features (Breiman 2001).

use faer::MatRef;
use smartcore::ensemble::random_forest_classifier::{
    RandomForestClassifier, RandomForestClassifierParameters,
};
use smartcore::error::Failed;
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::TrainError;

/// A fitted forest.
pub struct Forest(RandomForestClassifier<f64, u32, DenseMatrix<f64>, Vec<u32>>);

impl Forest {
    /// Fits rows of features with their classes.
    ///
    /// # Errors
    /// [`TrainError::Baseline`] without rows or features.
    pub fn fit(rows: MatRef<'_, f64>, classes: &[usize], seed: u64) -> Result<Self, TrainError> {
        let parameters = RandomForestClassifierParameters::default()
            .with_n_trees(100)
            .with_seed(seed)
            .with_m(((rows.ncols() as f64).sqrt() as usize).max(1));
        // Classes are at most as many as rows, whose number fits.
        let classes: Vec<u32> = classes.iter().map(|&class| class as u32).collect();
        let fitted =
            dense(rows).and_then(|rows| RandomForestClassifier::fit(&rows, &classes, parameters));
        fitted.map(Self).map_err(|_| failed(rows))
    }

    /// The class of each row.
    ///
    /// # Errors
    /// [`TrainError::Baseline`] for rows of another width than those that were fitted.
    pub fn predict(&self, rows: MatRef<'_, f64>) -> Result<Vec<usize>, TrainError> {
        let classes = dense(rows).and_then(|rows| self.0.predict(&rows));
        let classes = classes.map_err(|_| failed(rows))?;
        Ok(classes.into_iter().map(|class| class as usize).collect())
    }
}

fn dense(rows: MatRef<'_, f64>) -> Result<DenseMatrix<f64>, Failed> {
    let values = rows.row_iter().flat_map(|row| row.iter().copied()).collect();
    DenseMatrix::new(rows.nrows(), rows.ncols(), values, false)
}

fn failed(rows: MatRef<'_, f64>) -> TrainError {
    TrainError::Baseline {
        method: "a random forest",
        n_rows: rows.nrows(),
        n_features: rows.ncols(),
    }
}
