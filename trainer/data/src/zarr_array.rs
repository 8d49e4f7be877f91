//! The chunks of a Zarr array, unpacked one at a time.

use core::ops::Range;

use crate::element::{Element, Number, dispatch};
use crate::error::DataError;
use crate::zarr_metadata::{ArrayMetadata, Datatype, Endian, fill_bytes};
use crate::zarr_store::ZarrStore;

/// An array of a store. The chunk that was read last is kept.
pub(crate) struct ZarrArray {
    store: ZarrStore,
    object: String,
    metadata: ArrayMetadata,
    chunk_len: usize,
    /// Of a chunk, where elements have a size.
    chunk_bytes: Option<usize>,
    held: Option<(Vec<usize>, Vec<u8>)>,
    /// Whether a chunk that is not there is a fault, and not full of the fill value.
    needs_all_chunks: bool,
}

impl ZarrArray {
    /// An array with these metadata, unless its chunks are too large.
    pub(crate) fn open(
        store: &ZarrStore,
        object: &str,
        metadata: ArrayMetadata,
    ) -> Result<Self, DataError> {
        let size = metadata.datatype.size();
        let dims = metadata.chunk.iter();
        let claimed = dims
            .fold(size.unwrap_or(LENGTH) as u128, |bytes, &dim| bytes.saturating_mul(dim as u128));
        if claimed > MOST_CHUNK as u128 {
            return Err(DataError::TooLarge {
                path: store.path().to_path_buf(),
                object: format!("a chunk of {object}"),
                claimed,
                limit: MOST_CHUNK as u64,
            });
        }
        store.check_claim(object, claimed)?;
        // In range by the comparison, if elements have any bytes.
        let chunk_len = metadata.chunk.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        let chunk_len =
            chunk_len.ok_or_else(|| store.broken(object, "its chunks have no end".into()))?;
        let chunk_bytes = size.map(|size| size * chunk_len);
        let (store, object) = (store.clone(), object.into());
        Ok(Self {
            store,
            object,
            metadata,
            chunk_len,
            chunk_bytes,
            held: None,
            needs_all_chunks: false,
        })
    }

    /// An array whose chunks are all stored.
    pub(crate) fn with_all_chunks(self) -> Self {
        Self { needs_all_chunks: true, ..self }
    }

    pub(crate) fn metadata(&self) -> &ArrayMetadata {
        &self.metadata
    }

    /// The number of elements of an array of one dimension, which the store can hold.
    pub(crate) fn vector_len(&self) -> Result<usize, DataError> {
        let [len] = self.metadata.shape[..] else { return Err(self.wrong_rank(1)) };
        let fill = self.metadata.fill.as_str().map_or(0, str::len);
        let size = self.metadata.datatype.size().unwrap_or(LENGTH).max(1).max(fill);
        self.store.check_claim(&self.object, (size as u128).saturating_mul(len as u128))?;
        Ok(len)
    }

    /// The type of an array that must hold numbers; booleans are 0 and 1.
    pub(crate) fn element(&self) -> Result<Element, DataError> {
        match self.metadata.datatype {
            Datatype::Number { element, .. } => Ok(element),
            Datatype::Bool => Ok(Element::U8),
            _ => Err(self.unknown_type("32- or 64-bit floats, or integers")),
        }
    }

    /// The type of an array that must hold integers.
    pub(crate) fn integer_element(&self) -> Result<Element, DataError> {
        let element = self.element()?;
        match element.is_integer() {
            true => Ok(element),
            false => Err(self.unknown_type("integers")),
        }
    }

    /// The elements of an array of numbers in one dimension from `at` on, to the end of their chunk, as little-endian
    /// bytes.
    pub(crate) fn run(&mut self, at: usize, end: usize) -> Result<&[u8], DataError> {
        let (len, size) = (self.chunk_len, self.metadata.datatype.size().unwrap_or(1));
        let start = at % len;
        let n = (end - at).min(len - start);
        Ok(&self.chunk(&[at / len])?[start * size..(start + n) * size])
    }

    /// All numbers of an array of one dimension, converted.
    pub(crate) fn converted<U>(
        &mut self,
        element: Element,
        mut convert: impl FnMut(usize, &dyn Number) -> U,
    ) -> Result<Vec<U>, DataError> {
        let len = self.vector_len()?;
        let mut converted = Vec::with_capacity(len);
        while converted.len() < len {
            let at = converted.len();
            let bytes = self.run(at, len)?;
            dispatch!(element, T => {
                let numbers = bytes.as_chunks().0.iter().map(|&bytes| T::from_le_bytes(bytes));
                converted.extend(numbers.zip(at..).map(|(number, at)| convert(at, &number)));
            });
        }
        Ok(converted)
    }

    /// All strings of an array of one dimension.
    pub(crate) fn strings(&mut self) -> Result<Vec<String>, DataError> {
        let len = self.vector_len()?;
        let mut strings = Vec::with_capacity(len);
        for chunk in 0..len.div_ceil(self.chunk_len) {
            let n = self.chunk_len.min(len - strings.len());
            let key = self.metadata.keys.path(&[chunk]);
            let most = self.chunk_bytes.unwrap_or(MOST_CHUNK);
            match self.unpacked(&key, most)? {
                Some(bytes) => self.decode_strings(&key, &bytes, n, &mut strings)?,
                None => {
                    let fill = self.metadata.fill.as_str().unwrap_or_default();
                    strings.extend(core::iter::repeat_n(fill, n).map(String::from));
                }
            }
        }
        Ok(strings)
    }

    /// A chunk of numbers by its place, little-endian, with the fill value where none is stored.
    pub(crate) fn chunk(&mut self, place: &[usize]) -> Result<&[u8], DataError> {
        if !matches!(&self.held, Some((held, _)) if held == place) {
            // One chunk at a time.
            self.held = None;
            let bytes = self.read_chunk(place)?;
            self.held = Some((place.to_vec(), bytes));
        }
        Ok(self.held.as_ref().map_or(&[], |(_, bytes)| bytes))
    }

    /// The error for a shape of another number of dimensions.
    pub(crate) fn wrong_rank(&self, expected: usize) -> DataError {
        DataError::Shape {
            path: self.store.path().to_path_buf(),
            what: format!("dimensions of {:?}", self.object),
            expected: expected.to_string(),
            found: self.metadata.shape.len().to_string(),
        }
    }

    /// The error for an element type that cannot be read as `expected`.
    pub(crate) fn unknown_type(&self, expected: &'static str) -> DataError {
        DataError::UnknownEncoding {
            path: self.store.path().to_path_buf(),
            object: self.object.clone(),
            encoding: self.metadata.datatype.name(),
            expected,
        }
    }

    fn read_chunk(&self, place: &[usize]) -> Result<Vec<u8>, DataError> {
        let key = self.metadata.keys.path(place);
        let element = self.element()?;
        let expected = self.chunk_len * element.size();
        let Some(mut bytes) = self.unpacked(&key, expected)? else {
            if self.needs_all_chunks {
                return Err(self.broken(format!("chunk {key} is not there")));
            }
            let fill = fill_bytes(&self.metadata.fill, element);
            let fill = fill.ok_or_else(|| {
                self.broken(format!("chunk {key} is not there, nor a fill value for it"))
            })?;
            return Ok(fill.repeat(self.chunk_len));
        };
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(self.broken(format!("chunk {key} has {found} bytes, not {expected}")));
        }
        if matches!(self.metadata.datatype, Datatype::Number { endian: Endian::Big, .. }) {
            bytes.chunks_exact_mut(element.size()).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    /// The bytes of a chunk, at most `most`; `None` where it is not stored.
    fn unpacked(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>, DataError> {
        // No codec makes what it packs much larger.
        let most_packed = most as u64 + most as u64 / 8 + HEADERS;
        let Some(mut bytes) = self.store.read(&self.object, key, most_packed)? else {
            return Ok(None);
        };
        for (at, codec) in self.metadata.codecs.iter().enumerate() {
            let is_last = at + 1 == self.metadata.codecs.len();
            let most = if is_last { most } else { most.saturating_add(HEADERS as usize) };
            bytes = codec
                .decode(&bytes, most)
                .map_err(|reason| self.broken(format!("chunk {key}: {reason}")))?;
        }
        Ok(Some(bytes))
    }

    /// Appends the first `n` strings of a chunk.
    fn decode_strings(
        &self,
        key: &str,
        bytes: &[u8],
        n: usize,
        strings: &mut Vec<String>,
    ) -> Result<(), DataError> {
        let short = |at: usize| {
            let found = bytes.len();
            self.broken(format!("chunk {key} of {found} bytes ends before its string {at}"))
        };
        let not_utf8 = |at: usize| DataError::NotUtf8 {
            path: self.store.path().to_path_buf(),
            place: format!("string {at} of chunk {key} of {:?}", self.object),
        };
        match self.metadata.datatype {
            Datatype::Text => {
                let (count, mut rest) = split_word(bytes).ok_or_else(|| short(0))?;
                if count != self.chunk_len {
                    let expected = self.chunk_len;
                    let reason = format!("chunk {key} has {count} strings, not {expected}");
                    return Err(self.broken(reason));
                }
                for at in 0..n {
                    let (len, after) = split_word(rest).ok_or_else(|| short(at))?;
                    let (text, after) = after.split_at_checked(len).ok_or_else(|| short(at))?;
                    strings.push(str::from_utf8(text).map_err(|_| not_utf8(at))?.into());
                    rest = after;
                }
            }
            Datatype::FixedBytes { len } => {
                for at in 0..n {
                    let text = bytes.get(part(at, len)).ok_or_else(|| short(at))?;
                    let end = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                    strings.push(str::from_utf8(&text[..end]).map_err(|_| not_utf8(at))?.into());
                }
            }
            Datatype::FixedUtf32 { len, endian } => {
                for at in 0..n {
                    let text = bytes.get(part(at, len * 4)).ok_or_else(|| short(at))?;
                    let points = text.as_chunks().0.iter().map(|&point| match endian {
                        Endian::Little => u32::from_le_bytes(point),
                        Endian::Big => u32::from_be_bytes(point),
                    });
                    let text: Option<String> = points.map(char::from_u32).collect();
                    let text = text.ok_or_else(|| not_utf8(at))?;
                    strings.push(text.trim_end_matches('\0').into());
                }
            }
            _ => return Err(self.unknown_type("strings")),
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> DataError {
        self.store.broken(&self.object, reason)
    }
}

/// A little-endian length of 32 bits, and what follows.
fn split_word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*word)).ok()?, rest))
}

/// Where an element of so many bytes stands in a chunk, which has less than 2^31 bytes.
fn part(at: usize, len: usize) -> Range<usize> {
    at * len..(at + 1) * len
}

/// Bytes that stand before a string.
const LENGTH: usize = 4;
/// Largest chunk, unpacked. It is in memory whole.
const MOST_CHUNK: usize = 1 << 30;
/// What codecs add at most to what does not get smaller.
const HEADERS: u64 = 1 << 16;
