//! Why a CellTypist model was not read.

use std::path::PathBuf;

use thiserror::Error;

/// Why a CellTypist model was not read.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum CellTypistError {
    /// The bytes are no pickle, or not all of one.
    #[error("it is no pickle that is read: {reason}, at byte {at}")]
    Pickle {
        /// What is wrong.
        reason: String,
        /// Where, counted from 0.
        at: usize,
    },
    /// The pickle names a class or a function that no model of CellTypist has.
    #[error(
        "it names {name:?} at byte {at}, which no CellTypist model has; it was not loaded, and the file is refused"
    )]
    Global {
        /// Module and name.
        name: String,
        /// Where, counted from 0.
        at: usize,
    },
    /// The pickle is larger or deeper than a model can be.
    #[error("it has more than {limit} {what}, at byte {at}; no CellTypist model has")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is read.
        limit: usize,
        /// Where, counted from 0.
        at: usize,
    },
    /// A part of the model is missing or is something else.
    #[error("{part}: {reason}")]
    Part {
        /// Like `Model.coef_`.
        part: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl CellTypistError {
    pub(super) fn part(part: &str, reason: impl Into<String>) -> Self {
        Self::Part { part: part.into(), reason: reason.into() }
    }
}
