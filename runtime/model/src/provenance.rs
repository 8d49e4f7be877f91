//! Where a model comes from, and which rows it has seen.

use sha2::{Digest, Sha256};

use crate::container::{Container, SectionKind, is_ascending};
use crate::error::ModelError;
use crate::strings::StringTable;

/// Facts about a model as pairs of strings, sorted by key; `docs/format.md` lists the keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Provenance<'a> {
    keys: StringTable<'a>,
    values: StringTable<'a>,
}

impl<'a> Provenance<'a> {
    pub(crate) fn parse(container: &Container<'a>) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Provenance, 0)?;
        let keys = StringTable::parse(&mut reader)?;
        let values = StringTable::parse(&mut reader)?;
        if keys.len() != values.len() || (1..keys.len()).any(|i| keys.at(i - 1) >= keys.at(i)) {
            return Err(reader.bad("key"));
        }
        reader.finish()?;
        Ok(Self { keys, values })
    }

    /// Value of a key.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.keys.iter().zip(self.values.iter())
    }
}

/// What a row of the training data was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Part {
    /// Weights were fitted on it.
    Fit = 0,
    /// It decided when training stopped.
    EarlyStop = 1,
    /// Quantisation and confidence are calibrated on it.
    Calibrate = 2,
    /// It was never looked at.
    Test = 3,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Fit, Self::EarlyStop, Self::Calibrate, Self::Test];

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::EarlyStop => "early_stop",
            Self::Calibrate => "calibrate",
            Self::Test => "test",
        }
    }
}

/// Digest of a row id: the first 8 bytes of the SHA-256 of its UTF-8 bytes.
pub type RowDigest = [u8; 8];

/// Digest of a row id.
pub fn row_digest(id: &str) -> RowDigest {
    let mut digest = RowDigest::default();
    for (to, from) in digest.iter_mut().zip(Sha256::digest(id.as_bytes())) {
        *to = from;
    }
    digest
}

/// Digests of the rows of each part, sorted within a part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows<'a> {
    parts: [&'a [RowDigest]; 4],
}

impl<'a> Rows<'a> {
    /// Empty where the model does not carry them.
    pub(crate) fn parse(container: &Container<'a>) -> Result<Self, ModelError> {
        let mut rows = Self::default();
        if container.section(SectionKind::Rows, 0).is_none() {
            return Ok(rows);
        }
        let mut reader = container.require(SectionKind::Rows, 0)?;
        let mut lens = [0; 4];
        for len in &mut lens {
            *len = reader.u32()? as usize;
        }
        for (part, len) in rows.parts.iter_mut().zip(lens) {
            *part = reader.array(len)?;
            if !is_ascending(part) {
                return Err(reader.bad("order of rows"));
            }
        }
        reader.finish()?;
        Ok(rows)
    }

    /// Whether the model carries none.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.is_empty())
    }

    /// Digests of a part, sorted.
    pub fn part(&self, part: Part) -> &'a [RowDigest] {
        self.parts.get(part as usize).copied().unwrap_or(&[])
    }

    /// Whether a row belongs to a part.
    pub fn contains(&self, part: Part, row: &RowDigest) -> bool {
        self.part(part).binary_search(row).is_ok()
    }
}
