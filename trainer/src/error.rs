//! What can go wrong in training.

use std::path::PathBuf;

/// Why a training run was refused or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A slice of the training data has the wrong length.
    #[error(
        "{what}: expected {expected}, found {found}; check how the training data is put together"
    )]
    Shape {
        /// What was measured.
        what: &'static str,
        /// Length it should have.
        expected: usize,
        /// Length it has.
        found: usize,
    },
    /// The columns of a row do not increase or lie beyond the genes.
    #[error(
        "row {row}: column indices must increase and stay below {n_genes}; sort and merge them"
    )]
    Columns {
        /// Row of the data.
        row: usize,
        /// Number of genes.
        n_genes: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row}, gene {gene}: the value is not finite; remove the row or repair the file")]
    NotFinite {
        /// Row of the data.
        row: usize,
        /// Column of the data.
        gene: usize,
    },
    /// A label is not a class.
    #[error("row {row}: label {label} is not below the number of classes, {n_classes}")]
    Label {
        /// Row of the data.
        row: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        n_classes: usize,
    },
    /// A row list names a row that does not exist.
    #[error("row {row} is listed, but the data has {n_rows} rows")]
    Row {
        /// Row of the list.
        row: usize,
        /// Number of rows.
        n_rows: usize,
    },
    /// Too few rows to train on.
    #[error("{found} rows to fit, at least {needed} are needed; give more training rows")]
    TooFewRows {
        /// Rows needed.
        needed: usize,
        /// Rows given.
        found: usize,
    },
    /// A parameter is out of range.
    #[error("parameter {name}: {value} given, expected {expected}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// Layers of a network that is fine-tuned do not fit together.
    #[error(
        "{stage}, layer {layer}: its numbers do not fit its width or the layers beside it, or are not finite; take the \
         network of a model"
    )]
    Layer {
        /// Encoder, classifier or decoder.
        stage: &'static str,
        /// Layer of it, from 0.
        layer: usize,
    },
    /// A code is NaN or infinite.
    #[error(
        "row {row}: dimension {dim} of the code is not finite; check what the codes were made with"
    )]
    Code {
        /// Row of the codes.
        row: usize,
        /// Dimension of the code.
        dim: usize,
    },
    /// A network without decoder, and no labels.
    #[error(
        "there is nothing to fine-tune: the network has no decoder, and there are no labels for its classifier"
    )]
    NothingToFineTune,
    /// The eigenvalue decomposition of the principal components did not converge.
    #[error(
        "principal components: the eigenvalues did not converge; train without the linear skip"
    )]
    Eigen,
    /// A method to compare with could not be fitted.
    #[error("{method} could not be fitted to {n_rows} rows of {n_features} features")]
    Baseline {
        /// Which.
        method: &'static str,
        /// Rows.
        n_rows: usize,
        /// Features of each.
        n_features: usize,
    },
    /// A setting that does not exist, or not with this value.
    #[error("{name}={value}: {expected}")]
    Setting {
        /// Its name.
        name: String,
        /// What it was to become.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// The loss or a weight is no longer a finite number.
    #[error("training diverged in epoch {epoch}: the loss is not finite; lower the learning rate")]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
    },
    /// The caller asked to stop.
    #[error("cancelled after epoch {epoch}; a checkpoint, if one was asked for, holds the state")]
    Cancelled {
        /// Last complete epoch, from 1.
        epoch: usize,
    },
    /// The threads could not be started.
    #[error("{threads} threads could not be started; ask for fewer")]
    Threads {
        /// Number asked for.
        threads: usize,
    },
    /// A checkpoint could not be read or written.
    #[error("checkpoint {path}: {source}")]
    CheckpointIo {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint cannot be continued.
    #[error("checkpoint {path}: {reason}; delete it to start again")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}
