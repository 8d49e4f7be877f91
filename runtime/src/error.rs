//! What a caller can get wrong.

use core::fmt;

/// Why a sample was not run. Nothing was written but scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The session is for another number format.
    WrongDtype,
    /// The model has no such input profile.
    NoSuchProfile,
    /// The scratch is too short.
    ScratchTooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        found: usize,
    },
    /// An output or a list does not have the length that it must have.
    LengthMismatch {
        /// Length needed.
        needed: usize,
        /// Length given.
        found: usize,
    },
    /// The profile takes counts and values were given, or the reverse.
    WrongValueKind,
    /// The profile takes values, and this build reads counts only: its feature `floats` is off.
    NoFloats,
    /// A gene index is not below the number of genes.
    GeneOutOfRange {
        /// Position in the sample.
        position: usize,
    },
    /// Gene indices are not strictly increasing.
    GenesNotIncreasing {
        /// Position of the first that is not above its predecessor.
        position: usize,
    },
    /// A gene is listed, or in a dense sample given, that the presence mask calls missing.
    GeneNotPresent {
        /// Position in the sample.
        position: usize,
    },
    /// A gene that is present is not listed, and its absence has no meaning for this profile.
    GeneNotListed,
    /// A value is not finite, or negative where that has no meaning.
    InvalidValue {
        /// Position in the sample.
        position: usize,
    },
    /// The profile divides by the total over all measured genes, which was not given.
    MissingTotal,
    /// The model has no decoder.
    NoDecoder,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WrongDtype => write!(f, "the model's number format is not this session's"),
            Self::NoSuchProfile => write!(f, "the model has no such input profile"),
            Self::ScratchTooShort { needed, found } => {
                write!(f, "scratch has {found} bytes, {needed} are needed")
            }
            Self::LengthMismatch { needed, found } => {
                write!(f, "list has {found} entries, {needed} are needed")
            }
            Self::WrongValueKind => write!(f, "the input profile takes another kind of values"),
            Self::NoFloats => {
                write!(f, "the input profile takes values; this build reads counts only")
            }
            Self::GeneOutOfRange { position } => {
                write!(f, "gene index at position {position} is not in the panel")
            }
            Self::GenesNotIncreasing { position } => {
                write!(f, "gene index at position {position} is not above the one before")
            }
            Self::GeneNotPresent { position } => {
                write!(f, "gene at position {position} is listed but declared missing")
            }
            Self::GeneNotListed => write!(f, "a gene that is present is not listed"),
            Self::InvalidValue { position } => {
                write!(f, "value at position {position} is negative or not finite")
            }
            Self::MissingTotal => {
                write!(f, "the input profile needs the total over all measured genes")
            }
            Self::NoDecoder => write!(f, "the model has no decoder"),
        }
    }
}

impl core::error::Error for RunError {}
