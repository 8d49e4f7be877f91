//! Bytes of a model file: header, section table, digests. `docs/format.md` is the description.
//!
//! ```text
//! header (64) ‖ section table (24 each) ‖ sections, each at a multiple of 64 ‖
//! optional Ed25519 signature (64) ‖ SHA-256 of everything before it (32)
//! ```

use bytemuck::Pod;
use sha2::{Digest, Sha256};

use crate::error::ModelError;

/// First bytes of every model file. The first is not ASCII and a line ending of each kind
/// follows, so that text-mode transfers are noticed.
pub const MAGIC: [u8; 8] = *b"\x89CIC\r\n\x1a\n";

/// The format version that this library reads and writes.
pub const VERSION: u32 = 1;

/// Sections begin at multiples of this many bytes from the beginning of the file.
pub const SECTION_ALIGN: usize = 64;

/// Bytes of the digest at the end.
pub const DIGEST_LEN: usize = 32;

pub(crate) const HEADER_LEN: usize = 64;
pub(crate) const ENTRY_LEN: usize = 24;
pub(crate) const SIGNATURE_LEN: usize = 64;
const MAX_SECTIONS: usize = 256;
/// Kinds from here on may be skipped by readers that do not know them.
const FIRST_ANCILLARY: u32 = 0x8000_0000;

/// Offsets of the header's fields.
pub(crate) mod field {
    use core::ops::Range;

    pub(crate) const MAGIC: Range<usize> = 0..8;
    pub(crate) const VERSION: Range<usize> = 8..12;
    pub(crate) const N_SECTIONS: Range<usize> = 12..16;
    pub(crate) const FILE_LEN: Range<usize> = 16..24;
    pub(crate) const SIGNATURE_LEN: Range<usize> = 24..28;
    pub(crate) const RESERVED: Range<usize> = 28..32;
    pub(crate) const METADATA_DIGEST: Range<usize> = 32..64;
    /// What the metadata digest covers of the header.
    pub(crate) const DIGESTED: Range<usize> = 0..32;
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum SectionKind {
    /// Dimensions, dtype and model id.
    Info = 1,
    /// Gene panel.
    Genes = 2,
    /// Input profile; the index is the profile's number.
    Profile = 3,
    /// Shapes, activations and weight layouts of all layers.
    Graph = 4,
    /// Label nodes.
    Labels = 5,
    /// Decision rules.
    Rules = 6,
    /// Where the model comes from.
    Provenance = 7,
    /// Digests of the rows that the model was trained on.
    Rows = 8,
    /// Golden cells and what they must give.
    Golden = 9,
    /// Bias and requantisation of a layer; index = layer + 65536 × profile.
    Epilogue = 10,
    /// Activation tables of an int8 layer; the index is the layer's number.
    Tables = 11,
    /// Scales of an int8 code and of its 7-bit copy.
    Code = 12,
    /// Scales of an int8 reconstruction.
    Reconstruction = 13,
    /// Where the codes of training cells lie, and from where on a cell is unlike them.
    Novelty = 14,
    /// What is promised of labels, and temperatures for files that lack genes.
    Confidence = 15,
    /// Weights; the index is the layer's number. The only kind outside the metadata digest.
    Weights = 16,
}

impl SectionKind {
    const ALL: [Self; 16] = [
        Self::Info,
        Self::Genes,
        Self::Profile,
        Self::Graph,
        Self::Labels,
        Self::Rules,
        Self::Provenance,
        Self::Rows,
        Self::Golden,
        Self::Epilogue,
        Self::Tables,
        Self::Code,
        Self::Reconstruction,
        Self::Novelty,
        Self::Confidence,
        Self::Weights,
    ];

    fn is_known(code: u32) -> bool {
        Self::ALL.into_iter().any(|kind| kind as u32 == code)
    }
}

/// A file whose header and section table are sound.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    bytes: &'a [u8],
    table: &'a [u8],
    body_len: usize,
}

/// One line of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionEntry {
    /// Code of the kind; see [`SectionKind`].
    pub kind: u32,
    /// Which of the sections of that kind.
    pub index: u32,
    /// First byte, from the beginning of the file.
    pub offset: usize,
    /// Bytes, without padding.
    pub len: usize,
}

impl<'a> Container<'a> {
    /// Checks header, section table, padding and the metadata digest. Whatever the bytes are, this
    /// returns an error or a container whose sections lie inside the file.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let found = bytes.len() as u64;
        let header = bytes
            .get(..HEADER_LEN)
            .ok_or(ModelError::Truncated { expected: (HEADER_LEN + DIGEST_LEN) as u64, found })?;
        if header.get(field::MAGIC) != Some(&MAGIC[..]) {
            return Err(ModelError::BadMagic);
        }
        if bytemuck::try_cast_slice::<u8, u32>(header).is_err() {
            return Err(ModelError::Misaligned);
        }
        let version = read_u32(header, field::VERSION.start);
        if version != VERSION {
            return Err(ModelError::UnsupportedVersion { found: version, supported: VERSION });
        }
        let expected = read_u64(header, field::FILE_LEN.start);
        if found < expected {
            return Err(ModelError::Truncated { expected, found });
        }
        if found > expected {
            return Err(ModelError::TrailingBytes { expected, found });
        }
        let signature_len = read_u32(header, field::SIGNATURE_LEN.start) as usize;
        if !(signature_len == 0 || signature_len == SIGNATURE_LEN)
            || read_u32(header, field::RESERVED.start) != 0
        {
            return Err(ModelError::BadHeader);
        }
        let n_sections = read_u32(header, field::N_SECTIONS.start) as usize;
        if n_sections == 0 || n_sections > MAX_SECTIONS {
            return Err(ModelError::BadHeader);
        }
        let table_end = HEADER_LEN + n_sections * ENTRY_LEN;
        let body_len = bytes
            .len()
            .checked_sub(signature_len + DIGEST_LEN)
            .filter(|&body_len| body_len >= table_end)
            .ok_or(ModelError::BadHeader)?;
        let table = bytes.get(HEADER_LEN..table_end).ok_or(ModelError::BadHeader)?;
        let container = Self { bytes, table, body_len };
        container.check_sections(table_end)?;
        if container.metadata_digest()[..] != header[field::METADATA_DIGEST] {
            return Err(ModelError::MetadataDigestMismatch);
        }
        Ok(container)
    }

    /// Checks the SHA-256 at the end of the file, which covers every byte before it.
    pub fn verify(&self) -> Result<(), ModelError> {
        match self.bytes.split_last_chunk::<DIGEST_LEN>() {
            Some((covered, digest)) if Sha256::digest(covered)[..] == digest[..] => Ok(()),
            _ => Err(ModelError::DigestMismatch),
        }
    }

    /// The whole file.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// SHA-256 at the end of the file, as it stands there: of every byte before it, not of the file.
    pub fn digest(&self) -> [u8; DIGEST_LEN] {
        let mut digest = [0; DIGEST_LEN];
        for (to, from) in digest.iter_mut().rev().zip(self.bytes.iter().rev()) {
            *to = *from;
        }
        digest
    }

    /// The section table, in order.
    pub fn sections(&self) -> impl Iterator<Item = SectionEntry> + use<'a> {
        self.table.chunks_exact(ENTRY_LEN).map(|entry| SectionEntry {
            kind: read_u32(entry, 0),
            index: read_u32(entry, 4),
            // `check_sections` proved that both fit the file, hence usize.
            offset: read_u64(entry, 8) as usize,
            len: read_u64(entry, 16) as usize,
        })
    }

    /// The bytes of a section, if it is there.
    pub fn section(&self, kind: SectionKind, index: u32) -> Option<&'a [u8]> {
        self.sections()
            .find(|entry| entry.kind == kind as u32 && entry.index == index)
            .and_then(|entry| self.bytes.get(entry.offset..entry.offset + entry.len))
    }

    /// A reader over a section that must be there.
    pub(crate) fn require(
        &self,
        kind: SectionKind,
        index: u32,
    ) -> Result<SectionReader<'a>, ModelError> {
        let rest = self.section(kind, index).ok_or(ModelError::MissingSection { kind, index })?;
        Ok(SectionReader { kind, rest })
    }

    fn check_sections(&self, table_end: usize) -> Result<(), ModelError> {
        let mut previous: Option<(u32, u32)> = None;
        let mut end = table_end;
        for (number, entry) in self.table.chunks_exact(ENTRY_LEN).enumerate() {
            let bad = ModelError::BadSectionTable { index: number as u32 };
            let kind = read_u32(entry, 0);
            let key = (kind, read_u32(entry, 4));
            if previous.is_some_and(|previous| previous >= key) {
                return Err(bad);
            }
            previous = Some(key);
            if kind < FIRST_ANCILLARY && !SectionKind::is_known(kind) {
                return Err(ModelError::UnknownSection { kind });
            }
            let offset = usize::try_from(read_u64(entry, 8)).map_err(|_| bad)?;
            let len = usize::try_from(read_u64(entry, 16)).map_err(|_| bad)?;
            let begin = end.checked_next_multiple_of(SECTION_ALIGN).ok_or(bad)?;
            if offset != begin {
                return Err(bad);
            }
            self.check_padding(end, begin)?;
            end = offset.checked_add(len).filter(|&end| end <= self.body_len).ok_or(bad)?;
        }
        let begin = end.checked_next_multiple_of(SECTION_ALIGN).ok_or(ModelError::BadHeader)?;
        if begin != self.body_len {
            return Err(ModelError::BadHeader);
        }
        self.check_padding(end, begin)
    }

    fn check_padding(&self, from: usize, to: usize) -> Result<(), ModelError> {
        let padding = self.bytes.get(from..to).ok_or(ModelError::BadPadding)?;
        if padding.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(ModelError::BadPadding) }
    }

    fn metadata_digest(&self) -> [u8; DIGEST_LEN] {
        let mut hasher = Sha256::new();
        hasher.update(self.bytes.get(field::DIGESTED).unwrap_or_default());
        hasher.update(self.table);
        for entry in self.sections() {
            if entry.kind != SectionKind::Weights as u32 {
                let end = entry.offset + entry.len;
                hasher.update(self.bytes.get(entry.offset..end).unwrap_or_default());
            }
        }
        hasher.finalize().into()
    }
}

/// Reads the fields and arrays of one section in order.
pub(crate) struct SectionReader<'a> {
    kind: SectionKind,
    rest: &'a [u8],
}

impl<'a> SectionReader<'a> {
    pub(crate) fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(read_u32(self.bytes(4)?, 0))
    }

    pub(crate) fn f32(&mut self) -> Result<f32, ModelError> {
        Ok(f32::from_bits(self.u32()?))
    }

    /// `len` bytes, without padding.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ModelError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.bad_length())?;
        self.rest = rest;
        Ok(taken)
    }

    /// `len` numbers, padded to a multiple of four bytes.
    pub(crate) fn array<T: Pod>(&mut self, len: usize) -> Result<&'a [T], ModelError> {
        let n_bytes = len.checked_mul(size_of::<T>()).ok_or(self.bad_length())?;
        let padded = n_bytes.checked_next_multiple_of(4).ok_or(self.bad_length())?;
        let (taken, padding) =
            self.bytes(padded)?.split_at_checked(n_bytes).ok_or(self.bad_length())?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(ModelError::BadPadding);
        }
        bytemuck::try_cast_slice(taken).map_err(|_| ModelError::Misaligned)
    }

    /// Everything left, as numbers.
    pub(crate) fn rest<T: Pod>(self) -> Result<&'a [T], ModelError> {
        bytemuck::try_cast_slice(self.rest).map_err(|_| self.bad_length())
    }

    pub(crate) fn finish(self) -> Result<(), ModelError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.bad_length()) }
    }

    pub(crate) fn bad(&self, field: &'static str) -> ModelError {
        ModelError::BadField { kind: self.kind, field }
    }

    fn bad_length(&self) -> ModelError {
        ModelError::BadSectionLength { kind: self.kind }
    }
}

/// Whether no value is below the one before. `is_sorted` of a slice is the same but for a panic path, which
/// stays in code that is optimised for size.
pub(crate) fn is_ascending<T: PartialOrd>(values: &[T]) -> bool {
    values.windows(2).all(|pair| pair.first() <= pair.last())
}

/// Zero past the end: callers have checked the length.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}
