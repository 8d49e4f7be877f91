//! Why a model is refused.

use core::fmt;

use crate::container::SectionKind;

/// Why bytes are not a model, or a description cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelError {
    /// Shorter than the smallest file, or than its own header says.
    Truncated {
        /// Bytes that the file says it has, or that the header needs.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// More bytes than the header says.
    TrailingBytes {
        /// Bytes that the file says it has.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// Does not begin like a model file.
    BadMagic,
    /// A format version that this library does not read.
    UnsupportedVersion {
        /// Version of the file.
        found: u32,
        /// The version that this library reads.
        supported: u32,
    },
    /// The first byte does not lie on a multiple of 4.
    Misaligned,
    /// A field of the header has a value that no writer produces.
    BadHeader,
    /// Sections overlap, leave a hole, are out of order or run past the end.
    BadSectionTable {
        /// Number of the section in the table.
        index: u32,
    },
    /// A section of a kind that this version does not know and may not skip.
    UnknownSection {
        /// The kind found.
        kind: u32,
    },
    /// Padding that is not zero.
    BadPadding,
    /// A section that every model (of this dtype) needs is absent.
    MissingSection {
        /// What is missing.
        kind: SectionKind,
        /// Its index.
        index: u32,
    },
    /// A section is shorter or longer than its own counts say.
    BadSectionLength {
        /// Which one.
        kind: SectionKind,
    },
    /// A field of a section is outside its range.
    BadField {
        /// Which section.
        kind: SectionKind,
        /// What the field is.
        field: &'static str,
    },
    /// The digest over the metadata differs: a byte of it was changed.
    MetadataDigestMismatch,
    /// The digest over the whole file differs: a byte of it was changed.
    DigestMismatch,
    /// A row of int8 weights could overflow its 32-bit sum.
    AccumulatorOverflow {
        /// Layer, counted through encoder, classifier and decoder.
        layer: u32,
        /// Output row.
        row: u32,
    },
    /// A dimension does not fit the layer before, the panel, the code or the labels.
    ShapeMismatch {
        /// Layer, counted through encoder, classifier and decoder.
        layer: u32,
    },
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { expected, found } => {
                write!(f, "model file is truncated: {found} bytes, {expected} expected")
            }
            Self::TrailingBytes { expected, found } => {
                write!(f, "model file has trailing bytes: {found} bytes, {expected} expected")
            }
            Self::BadMagic => write!(f, "not a model file: it does not begin with the .cic magic"),
            Self::UnsupportedVersion { found, supported } => write!(
                f,
                "model format version {found} is not supported, this program reads version \
                 {supported}"
            ),
            Self::Misaligned => write!(f, "model bytes must begin at a multiple of 4"),
            Self::BadHeader => write!(f, "model header has an invalid field"),
            Self::BadSectionTable { index } => {
                write!(f, "model section {index} overlaps, leaves a hole or runs past the end")
            }
            Self::UnknownSection { kind } => write!(
                f,
                "model has a section of unknown kind {kind}: it needs a newer version of this \
                 program"
            ),
            Self::BadPadding => write!(f, "model padding is not zero"),
            Self::MissingSection { kind, index } => {
                write!(f, "model lacks section {kind:?} {index}")
            }
            Self::BadSectionLength { kind } => {
                write!(f, "model section {kind:?} does not have the length that it declares")
            }
            Self::BadField { kind, field } => {
                write!(f, "model section {kind:?} has an invalid {field}")
            }
            Self::MetadataDigestMismatch => {
                write!(f, "model metadata was altered: its SHA-256 differs")
            }
            Self::DigestMismatch => write!(f, "model file was altered: its SHA-256 differs"),
            Self::AccumulatorOverflow { layer, row } => {
                write!(f, "row {row} of layer {layer} could overflow 32 bits")
            }
            Self::ShapeMismatch { layer } => {
                write!(f, "dimensions of layer {layer} do not fit the rest of the model")
            }
        }
    }
}

impl core::error::Error for ModelError {}
