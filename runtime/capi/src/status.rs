//! What every call returns.

use core::ffi::{CStr, c_char};

use cic_model::ModelError;
use cic_runtime::RunError;

/// What a call returns: 0, or why it did nothing. Values never change their meaning; later libraries may
/// have more of them.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,

    /// A pointer is null.
    NullPointer = 1,
    /// A pointer is not aligned for what it leads to. Model bytes begin at a multiple of 4.
    Misaligned = 2,
    /// A length is more than memory can hold.
    TooLong = 3,
    /// The first word of a struct is not the length that any version of it has.
    BadStructSize = 4,
    /// A field is set that this library does not know: it is older than the header.
    UnsupportedField = 5,
    /// The model was not opened, or opening it failed.
    NotOpened = 6,
    /// The kind of the sample is none of cic_sample_kind.
    UnknownSampleKind = 7,
    /// An index of a leaf, a gene or a profile is not below their number.
    OutOfRange = 8,
    /// The presence was made for another model or another profile.
    WrongPresence = 9,
    /// A presence is neither 0 nor 1.
    BadMask = 10,
    /// Another cause, which this interface has no value for yet.
    Other = 99,

    /// The model is shorter than its header says.
    ModelTruncated = 100,
    /// The model is longer than its header says.
    ModelTrailingBytes = 101,
    /// The bytes do not begin like a model.
    ModelBadMagic = 102,
    /// The model has a format version that this library does not read.
    ModelUnsupportedVersion = 103,
    /// A field of the model's header is invalid.
    ModelBadHeader = 104,
    /// Sections of the model overlap, leave a hole or run past its end.
    ModelBadSectionTable = 105,
    /// The model has a section that needs a newer library.
    ModelUnknownSection = 106,
    /// Padding of the model is not zero.
    ModelBadPadding = 107,
    /// The model lacks a section.
    ModelMissingSection = 108,
    /// A section of the model does not have the length that it declares.
    ModelBadSectionLength = 109,
    /// A field of the model is outside its range.
    ModelBadField = 110,
    /// The model's metadata was changed: their SHA-256 differs.
    ModelMetadataDigestMismatch = 111,
    /// The model was changed: its SHA-256 differs.
    ModelDigestMismatch = 112,
    /// Weights of the model could overflow a 32-bit sum.
    ModelAccumulatorOverflow = 113,
    /// Dimensions of the model do not fit each other.
    ModelShapeMismatch = 114,
    /// The model is not int8.
    ModelNotInt8 = 115,

    /// The scratch is shorter than cic_scratch_len tells.
    ScratchTooShort = 200,
    /// The sample, the mask or the correction does not have the length that the model asks for.
    LengthMismatch = 201,
    /// The profile takes counts and values were given, or the reverse.
    WrongValueKind = 202,
    /// A gene index is not below the number of genes.
    GeneOutOfRange = 203,
    /// Gene indices are not strictly increasing.
    GenesNotIncreasing = 204,
    /// A gene is given that the presence calls missing.
    GeneNotPresent = 205,
    /// A gene that is present is not listed, and its absence has no meaning for this profile.
    GeneNotListed = 206,
    /// A value is not finite, or negative where that has no meaning.
    InvalidValue = 207,
    /// The profile divides by the total over all measured genes, which was not given.
    MissingTotal = 208,
    /// The file has fewer of the panel's genes than the model accepts.
    CoverageTooLow = 209,
    /// The profile takes values, and this library was built for counts alone.
    NoFloats = 210,

    /// A golden cell did not give the code and the logits that the model states.
    GoldenDiffers = 300,
    /// The model has no golden cell, so that nothing was tested.
    NoGoldenCells = 301,
}

/// What a status means, in English.
///
/// Never null: ASCII that ends with a zero byte and stays for ever. Values that are no status have a text
/// that says so.
#[unsafe(no_mangle)]
pub extern "C" fn cic_status_text(status: i32) -> *const c_char {
    let known = Status::ALL.iter().find(|known| **known as i32 == status);
    known.map_or(c"unknown status", |known| known.text()).as_ptr()
}

impl Status {
    /// Every status.
    /// cbindgen:ignore
    pub const ALL: [Self; 41] = [
        Self::Ok,
        Self::NullPointer,
        Self::Misaligned,
        Self::TooLong,
        Self::BadStructSize,
        Self::UnsupportedField,
        Self::NotOpened,
        Self::UnknownSampleKind,
        Self::OutOfRange,
        Self::WrongPresence,
        Self::BadMask,
        Self::Other,
        Self::ModelTruncated,
        Self::ModelTrailingBytes,
        Self::ModelBadMagic,
        Self::ModelUnsupportedVersion,
        Self::ModelBadHeader,
        Self::ModelBadSectionTable,
        Self::ModelUnknownSection,
        Self::ModelBadPadding,
        Self::ModelMissingSection,
        Self::ModelBadSectionLength,
        Self::ModelBadField,
        Self::ModelMetadataDigestMismatch,
        Self::ModelDigestMismatch,
        Self::ModelAccumulatorOverflow,
        Self::ModelShapeMismatch,
        Self::ModelNotInt8,
        Self::ScratchTooShort,
        Self::LengthMismatch,
        Self::WrongValueKind,
        Self::GeneOutOfRange,
        Self::GenesNotIncreasing,
        Self::GeneNotPresent,
        Self::GeneNotListed,
        Self::InvalidValue,
        Self::MissingTotal,
        Self::CoverageTooLow,
        Self::NoFloats,
        Self::GoldenDiffers,
        Self::NoGoldenCells,
    ];

    pub(crate) fn of(result: Result<(), Self>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(status) => status,
        }
    }

    const fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"done",
            Self::NullPointer => c"a pointer is null",
            Self::Misaligned => c"a pointer is misaligned",
            Self::TooLong => c"a length is more than memory can hold",
            Self::BadStructSize => c"struct_size is not set to the size of the struct",
            Self::UnsupportedField => c"a field is set that this library does not know",
            Self::NotOpened => c"the model is not open",
            Self::UnknownSampleKind => c"there is no such kind of sample",
            Self::OutOfRange => c"there is no such leaf, gene or profile",
            Self::WrongPresence => c"the presence is of another model or profile",
            Self::BadMask => c"a presence is neither 0 nor 1",
            Self::Other => c"another cause",
            Self::ModelTruncated => c"the model is truncated",
            Self::ModelTrailingBytes => c"the model has trailing bytes",
            Self::ModelBadMagic => c"not a model",
            Self::ModelUnsupportedVersion => c"the format version of the model is not supported",
            Self::ModelBadHeader => c"the model's header has an invalid field",
            Self::ModelBadSectionTable => c"the model's section table is invalid",
            Self::ModelUnknownSection => c"the model needs a newer library",
            Self::ModelBadPadding => c"the model's padding is not zero",
            Self::ModelMissingSection => c"the model lacks a section",
            Self::ModelBadSectionLength => c"a section of the model has another length",
            Self::ModelBadField => c"the model has an invalid field",
            Self::ModelMetadataDigestMismatch => c"the model's metadata were altered",
            Self::ModelDigestMismatch => c"the model was altered",
            Self::ModelAccumulatorOverflow => c"the model could overflow 32 bits",
            Self::ModelShapeMismatch => c"dimensions of the model do not fit",
            Self::ModelNotInt8 => c"the model is not int8",
            Self::ScratchTooShort => c"the scratch is too short",
            Self::LengthMismatch => c"a list does not have the length that the model asks for",
            Self::WrongValueKind => c"the input profile takes another kind of values",
            Self::GeneOutOfRange => c"a gene index is not in the panel",
            Self::GenesNotIncreasing => c"gene indices do not increase",
            Self::GeneNotPresent => c"a gene is given but declared missing",
            Self::GeneNotListed => c"a gene that is present is not listed",
            Self::InvalidValue => c"a value is negative or not finite",
            Self::MissingTotal => c"the input profile needs the total over all measured genes",
            Self::CoverageTooLow => c"too few genes of the panel are present",
            Self::NoFloats => c"the input profile takes values, the library only counts",
            Self::GoldenDiffers => c"a golden cell gave another result",
            Self::NoGoldenCells => c"the model has no golden cells",
        }
    }
}

impl From<ModelError> for Status {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Truncated { .. } => Self::ModelTruncated,
            ModelError::TrailingBytes { .. } => Self::ModelTrailingBytes,
            ModelError::BadMagic => Self::ModelBadMagic,
            ModelError::UnsupportedVersion { .. } => Self::ModelUnsupportedVersion,
            ModelError::Misaligned => Self::Misaligned,
            ModelError::BadHeader => Self::ModelBadHeader,
            ModelError::BadSectionTable { .. } => Self::ModelBadSectionTable,
            ModelError::UnknownSection { .. } => Self::ModelUnknownSection,
            ModelError::BadPadding => Self::ModelBadPadding,
            ModelError::MissingSection { .. } => Self::ModelMissingSection,
            ModelError::BadSectionLength { .. } => Self::ModelBadSectionLength,
            ModelError::BadField { .. } => Self::ModelBadField,
            ModelError::MetadataDigestMismatch => Self::ModelMetadataDigestMismatch,
            ModelError::DigestMismatch => Self::ModelDigestMismatch,
            ModelError::AccumulatorOverflow { .. } => Self::ModelAccumulatorOverflow,
            ModelError::ShapeMismatch { .. } => Self::ModelShapeMismatch,
            _ => Self::Other,
        }
    }
}

impl From<RunError> for Status {
    fn from(error: RunError) -> Self {
        match error {
            RunError::WrongDtype => Self::ModelNotInt8,
            RunError::NoFloats => Self::NoFloats,
            RunError::NoSuchProfile => Self::OutOfRange,
            RunError::ScratchTooShort { .. } => Self::ScratchTooShort,
            RunError::LengthMismatch { .. } => Self::LengthMismatch,
            RunError::WrongValueKind => Self::WrongValueKind,
            RunError::GeneOutOfRange { .. } => Self::GeneOutOfRange,
            RunError::GenesNotIncreasing { .. } => Self::GenesNotIncreasing,
            RunError::GeneNotPresent { .. } => Self::GeneNotPresent,
            RunError::GeneNotListed => Self::GeneNotListed,
            RunError::InvalidValue { .. } => Self::InvalidValue,
            RunError::MissingTotal => Self::MissingTotal,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_listed_in_order_and_have_texts_of_their_own() {
        assert!(Status::ALL.windows(2).all(|pair| (pair[0] as i32) < pair[1] as i32));
        for (n, status) in Status::ALL.iter().enumerate() {
            assert!(status.text().to_bytes().is_ascii());
            assert!(Status::ALL[..n].iter().all(|other| other.text() != status.text()));
        }
    }

    #[test]
    fn a_number_that_is_no_status_has_a_text() {
        for number in [-1, 11, i32::MAX, i32::MIN] {
            // SAFETY: texts end with a zero byte.
            let text = unsafe { CStr::from_ptr(cic_status_text(number)) };
            assert_eq!(text, c"unknown status");
        }
        // SAFETY: texts end with a zero byte.
        assert_eq!(unsafe { CStr::from_ptr(cic_status_text(0)) }, c"done");
    }
}
