//! HDF5 files as the readers of this crate need them: objects by path, strings, numbers, and no
//! trust. Everything that is specific to the HDF5 library stands here.
//!
//! - Links are checked component by component before a path is opened: soft, external and
//!   user-defined links and data outside the file are refused.
//! - The library panics at some damaged files: what calls it from outside does so in [`guarded`].
//! - What a header claims is compared with what the file can hold before anything is allocated.
//! - The library reads attributes of groups only as single strings, so array attributes of groups
//!   (`shape`, `column-order`) are never used; the data sets themselves give the same facts.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, LinkClass, StorageLayout};

use crate::anndata_store::Node;
use crate::element::{Element, Number, dispatch};
use crate::error::DataError;
use crate::h5_element::{fixed_string, type_name};
use crate::h5_heap::{Heap, REFERENCE_LEN};
use crate::library_panics::caught;
use crate::sniff::{HDF5_SIGNATURE, hdf5_start};

/// An open HDF5 file.
pub(crate) struct H5Source {
    file: H5File,
    path: PathBuf,
    len: u64,
    /// Whether addresses and lengths have 8 bytes and count from the first byte of the file.
    plain_addresses: bool,
}

impl H5Source {
    /// Opens the file after checking that it is as long as its superblock says.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let mut plain = File::open(path).map_err(DataError::io(path))?;
        let len = plain.metadata().map_err(DataError::io(path))?.len();
        let expected = end_of_file_address(&mut plain, len).map_err(DataError::io(path))?;
        if let Some(expected) = expected.filter(|&expected| expected > len) {
            return Err(DataError::Truncated { path: path.to_path_buf(), expected, found: len });
        }
        let file = H5File::options().best_effort_locking().open(path).map_err(|error| {
            DataError::Hdf5 {
                path: path.to_path_buf(),
                object: "/".into(),
                reason: error.to_string(),
            }
        })?;
        let plain_addresses = has_plain_addresses(&mut plain).map_err(DataError::io(path))?;
        Ok(Self { file, path: path.to_path_buf(), len, plain_addresses })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands at `object`, if anything.
    pub(crate) fn node(&self, object: &str) -> Result<Option<Node>, DataError> {
        let root = self.file.root_group();
        let ends = object.match_indices('/').map(|(at, _)| at).chain([object.len()]);
        for end in ends {
            let kind = match root.link_class(&object[..end]) {
                Ok(LinkClass::Hard) => continue,
                Err(_) => return Ok(None),
                Ok(LinkClass::Soft { path }) => format!("a soft link to {path:?}"),
                Ok(LinkClass::External { file, path }) => {
                    format!("an external link to {path:?} in {file:?}")
                }
                Ok(_) => "a user-defined link".into(),
            };
            let object = object[..end].to_string();
            return Err(DataError::LinkRefused { path: self.path.clone(), object, kind });
        }
        if root.group(object).is_ok() {
            return Ok(Some(Node::Group));
        }
        Ok(Some(Node::Dataset))
    }

    /// Whether `object` is a group.
    pub(crate) fn has_group(&self, object: &str) -> Result<bool, DataError> {
        Ok(self.node(object)? == Some(Node::Group))
    }

    /// Whether `object` is a data set.
    pub(crate) fn has_dataset(&self, object: &str) -> Result<bool, DataError> {
        Ok(self.node(object)? == Some(Node::Dataset))
    }

    /// The names in a group, `""` for the root, links that lead elsewhere included.
    pub(crate) fn members(&self, group: &str) -> Result<Vec<String>, DataError> {
        let root = self.file.root_group();
        let handle =
            if group.is_empty() { root } else { root.group(group).map_err(self.fault(group))? };
        handle.link_names().map_err(self.fault(group))
    }

    /// A string attribute of a group or data set, `""` for the root; `None` where there is none.
    pub(crate) fn attribute(&self, object: &str, name: &str) -> Result<Option<String>, DataError> {
        let root = self.file.root_group();
        if object.is_empty() {
            return Ok(root.attr_string(name).ok());
        }
        Ok(match self.node(object)? {
            None => None,
            Some(Node::Group) => {
                let group = root.group(object).map_err(self.fault(object))?;
                group.attr_string(name).ok()
            }
            Some(Node::Dataset) => {
                let dataset = self.file.dataset(object).map_err(self.fault(object))?;
                dataset.attr(name).ok().and_then(|attribute| attribute.read_string().ok())
            }
        })
    }

    /// The element type of a data set.
    pub(crate) fn datatype(&self, object: &str) -> Result<DatatypeMessage, DataError> {
        self.dataset(object)?.datatype().map_err(self.fault(object))
    }

    /// The bytes of a data set as they are stored, for compound types.
    pub(crate) fn bytes(&self, object: &str) -> Result<Vec<u8>, DataError> {
        let dataset = self.dataset(object)?;
        self.check_claim(object, &dataset)?;
        dataset.read_raw_bytes().map_err(self.fault(object))
    }

    /// A one-dimensional data set of row pointers, or the elements of a shape.
    pub(crate) fn pointers(&self, object: &str) -> Result<Vec<usize>, DataError> {
        let dataset = self.vector(object)?;
        let element = self.integer_element(object, &dataset)?;
        let mut negative = None;
        let pointers = self.converted(object, &dataset, element, |at, number| {
            let pointer = number.as_u64().and_then(|pointer| usize::try_from(pointer).ok());
            if pointer.is_none() {
                negative.get_or_insert(at);
            }
            pointer.unwrap_or(0)
        })?;
        match negative {
            None => Ok(pointers),
            Some(at) => Err(DataError::Pointers {
                path: self.path.clone(),
                at,
                reason: format!("a negative or huge number in {object:?}"),
            }),
        }
    }

    /// A one-dimensional data set of numbers or booleans; booleans are 0 and 1.
    pub(crate) fn numbers(&self, object: &str) -> Result<Vec<f64>, DataError> {
        let dataset = self.vector(object)?;
        let element = self.element(object, &dataset)?;
        self.converted(object, &dataset, element, |_, number| number.as_f64())
    }

    /// A one-dimensional data set of strings, fixed or variable in length, strictly UTF-8.
    pub(crate) fn strings(&self, object: &str) -> Result<Vec<String>, DataError> {
        let dataset = self.vector(object)?;
        let len = dataset.total_elements();
        let decode = |at: usize, bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| DataError::NotUtf8 {
                path: self.path.clone(),
                place: format!("element {at} of {object:?}"),
            })
        };
        let strings: Vec<String> = match dataset.datatype().map_err(self.fault(object))? {
            DatatypeMessage::VarLenString { .. } => {
                let references = self.heap_references(object, &dataset)?;
                if self.plain_addresses && dataset.element_size() == REFERENCE_LEN {
                    let mut heap = Heap::open(&self.path).map_err(DataError::io(&self.path))?;
                    let references = references.chunks_exact(REFERENCE_LEN).enumerate();
                    references
                        .map(|(at, reference)| {
                            let item = heap.read(reference).map(<[u8]>::to_vec);
                            decode(at, item.map_err(|reason| self.broken(object, reason))?)
                        })
                        .collect()
                } else {
                    drop(references);
                    let items = dataset.read_vlen_bytes().map_err(self.fault(object))?;
                    items.into_iter().enumerate().map(|(at, item)| decode(at, item)).collect()
                }
            }
            DatatypeMessage::FixedString { size, padding, .. } if size > 0 => {
                let bytes = dataset.read_raw_bytes().map_err(self.fault(object))?;
                bytes
                    .chunks_exact(size as usize)
                    .enumerate()
                    .map(|(at, item)| decode(at, fixed_string(item, padding).to_vec()))
                    .collect()
            }
            other => Err(self.unknown_type(object, &other, "strings")),
        }?;
        if strings.len() != len {
            return Err(self.broken(object, format!("{} of {len} strings", strings.len())));
        }
        Ok(strings)
    }

    /// The error for an element type that cannot be read as `wanted`.
    pub(crate) fn unknown_type(
        &self,
        object: &str,
        found: &DatatypeMessage,
        wanted: &'static str,
    ) -> DataError {
        DataError::UnknownEncoding {
            path: self.path.clone(),
            object: object.into(),
            encoding: type_name(found),
            expected: wanted,
        }
    }

    /// A data set that is no link.
    pub(crate) fn dataset(&self, object: &str) -> Result<H5Dataset, DataError> {
        match self.node(object)? {
            Some(Node::Dataset) => {}
            found => {
                return Err(DataError::MissingPart {
                    path: self.path.clone(),
                    part: format!("data set {object:?}"),
                    advice: match found {
                        None => "the file is incomplete".into(),
                        Some(_) => "a group stands there".into(),
                    },
                });
            }
        }
        self.file.dataset(object).map_err(self.fault(object))
    }

    /// A one-dimensional data set that the file can hold.
    pub(crate) fn vector(&self, object: &str) -> Result<H5Dataset, DataError> {
        let dataset = self.dataset(object)?;
        if dataset.ndims() != 1 {
            return Err(self.wrong_rank(object, 1, dataset.ndims()));
        }
        self.check_claim(object, &dataset)?;
        Ok(dataset)
    }

    /// Refuses storage outside the file, unknown filters, and chunks larger than the file can
    /// hold. Returns the most bytes that the data set can really have.
    pub(crate) fn check_storage(
        &self,
        object: &str,
        dataset: &H5Dataset,
    ) -> Result<u64, DataError> {
        let outside = |kind: &str| {
            let kind = kind.to_string();
            Err(DataError::LinkRefused { path: self.path.clone(), object: object.into(), kind })
        };
        match dataset.storage_layout().map_err(self.fault(object))? {
            StorageLayout::Virtual => return outside("a virtual data set made of other files"),
            _ if !dataset.external_files().map_err(self.fault(object))?.is_empty() => {
                return outside("stored in an external raw data file");
            }
            _ => {}
        }
        let mut ratio = 1;
        for filter in dataset.filters().map_err(self.fault(object))? {
            match filter.id {
                GZIP | LZF => ratio = DEFLATE_MAX_RATIO,
                SHUFFLE | FLETCHER32 => {}
                id => {
                    let known = FILTER_NAMES.iter().find(|(known, _)| *known == id);
                    return Err(DataError::UnsupportedFilter {
                        path: self.path.clone(),
                        object: object.into(),
                        filter: known
                            .map_or_else(|| format!("filter {id}"), |(_, name)| (*name).into()),
                    });
                }
            }
        }
        let limit = self.len.saturating_mul(ratio);
        if let Some(chunk) = dataset.chunk_dims().filter(|_| dataset.total_elements() > 0) {
            self.check_bytes(object, &chunk, dataset.element_size(), limit)?;
        }
        Ok(limit)
    }

    /// Refuses an index of more chunks than the file has room for. The library makes room for as many as the data set may
    /// grow to, if that has a limit.
    pub(crate) fn check_index(&self, object: &str, dataset: &H5Dataset) -> Result<(), DataError> {
        let Some(chunk) = dataset.chunk_dims().filter(|_| dataset.total_elements() > 0) else {
            return Ok(());
        };
        let most = dataset.max_shape().map_err(self.fault(object))?;
        let extents = dataset.shape().into_iter().zip(most);
        let extents = extents.map(|(now, most)| most.map_or(now, |most| most.max(now)));
        let chunks: Vec<usize> =
            extents.zip(chunk).map(|(extent, chunk)| extent.div_ceil(chunk.max(1))).collect();
        self.check_bytes(object, &chunks, INDEX_ENTRY, self.len)
    }

    fn check_claim(&self, object: &str, dataset: &H5Dataset) -> Result<(), DataError> {
        let limit = self.check_storage(object, dataset)?;
        self.check_bytes(object, &dataset.shape(), dataset.element_size(), limit)?;
        self.check_index(object, dataset)
    }

    fn check_bytes(
        &self,
        object: &str,
        dims: &[usize],
        element_size: usize,
        limit: u64,
    ) -> Result<(), DataError> {
        let claimed =
            dims.iter().fold(element_size as u128, |bytes, &dim| bytes.saturating_mul(dim as u128));
        if claimed <= u128::from(limit) {
            return Ok(());
        }
        let path = self.path.clone();
        Err(DataError::TooLarge { path, object: object.into(), claimed, limit })
    }

    /// Strings live in a heap that is not compressed. As long as no two elements share one heap
    /// entry they cannot take more memory than the file has bytes; no writer shares them, so a
    /// file that does is refused. Returns the references.
    fn heap_references(&self, object: &str, dataset: &H5Dataset) -> Result<Vec<u8>, DataError> {
        let width = dataset.element_size();
        if width <= 4 {
            return Err(self.broken(object, "references to strings are too short".into()));
        }
        let bytes = dataset.read_raw_bytes().map_err(self.fault(object))?;
        let mut seen = HashSet::with_capacity(dataset.total_elements());
        for reference in bytes.chunks_exact(width) {
            // Length (4 bytes), heap address, position; address zero is the empty string.
            let place = &reference[4..];
            let empty = place[..place.len().saturating_sub(4)].iter().all(|&byte| byte == 0);
            if !empty && !seen.insert(place) {
                return Err(self.broken(object, "two elements share one stored string".into()));
            }
        }
        drop(seen);
        Ok(bytes)
    }

    /// The type of a data set that must hold integers.
    pub(crate) fn integer_element(
        &self,
        object: &str,
        dataset: &H5Dataset,
    ) -> Result<Element, DataError> {
        let element = self.element(object, dataset)?;
        if element.is_integer() {
            return Ok(element);
        }
        let found = dataset.datatype().map_err(self.fault(object))?;
        Err(self.unknown_type(object, &found, "integers"))
    }

    /// The type of a data set that must hold numbers.
    pub(crate) fn element(&self, object: &str, dataset: &H5Dataset) -> Result<Element, DataError> {
        let datatype = dataset.datatype().map_err(self.fault(object))?;
        Element::of(&datatype).ok_or_else(|| {
            self.unknown_type(object, &datatype, "32- or 64-bit floats, or integers")
        })
    }

    /// Reads a one-dimensional data set in blocks and converts each number.
    fn converted<U>(
        &self,
        object: &str,
        dataset: &H5Dataset,
        element: Element,
        mut convert: impl FnMut(usize, &dyn Number) -> U,
    ) -> Result<Vec<U>, DataError> {
        let len = dataset.total_elements();
        let chunk = dataset.chunk_dims().and_then(|dims| dims.first().copied()).unwrap_or(1);
        let step = BLOCK_ELEMENTS.next_multiple_of(chunk.clamp(1, len.max(1)));
        let mut converted = Vec::with_capacity(len);
        for start in (0..len).step_by(step) {
            let count = step.min(len - start);
            dispatch!(element, T => {
                let block =
                    dataset.read_slice::<T>(&[start], &[count]).map_err(self.fault(object))?;
                converted.extend(
                    block.iter().enumerate().map(|(at, number)| convert(start + at, number)),
                );
            });
        }
        Ok(converted)
    }

    /// The error for another number of dimensions.
    pub(crate) fn wrong_rank(&self, object: &str, expected: usize, found: usize) -> DataError {
        DataError::Shape {
            path: self.path.clone(),
            what: format!("dimensions of {object:?}"),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// The error for an object that is damaged.
    pub(crate) fn broken(&self, object: &str, reason: String) -> DataError {
        DataError::Hdf5 { path: self.path.clone(), object: object.into(), reason }
    }

    fn fault(&self, object: &str) -> impl Fn(rust_hdf5::Hdf5Error) -> DataError {
        fault(&self.path, object)
    }
}

/// What `call` gives, with the HDF5 library's panics made an error.
pub(crate) fn guarded<T>(
    path: &Path,
    call: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    caught(call).unwrap_or_else(|reason| {
        Err(DataError::Hdf5 { path: path.to_path_buf(), object: "/".into(), reason })
    })
}

/// What the HDF5 library says about an object, as an error of this crate.
pub(crate) fn fault(path: &Path, object: &str) -> impl Fn(rust_hdf5::Hdf5Error) -> DataError {
    let (path, object) = (path.to_path_buf(), object.to_string());
    move |error| DataError::Hdf5 {
        path: path.clone(),
        object: object.clone(),
        reason: error.to_string(),
    }
}

/// The file length that the superblock states, where it has the usual 8-byte addresses.
fn end_of_file_address(file: &mut File, len: u64) -> std::io::Result<Option<u64>> {
    let Some(start) = hdf5_start(file, len)? else { return Ok(None) };
    let mut superblock = [0; 64];
    file.seek(SeekFrom::Start(start))?;
    let read = file.take(64).read(&mut superblock)?;
    let (end_at, offset_size) = match superblock[8] {
        0 => (40, superblock[13]),
        1 => (44, superblock[13]),
        2 | 3 => (28, superblock[9]),
        _ => return Ok(None),
    };
    if read < superblock.len() {
        return Ok(Some(SMALLEST_FILE));
    }
    if offset_size != 8 {
        return Ok(None);
    }
    let mut end = [0; 8];
    end.copy_from_slice(&superblock[end_at..end_at + 8]);
    Ok(Some(u64::from_le_bytes(end)))
}

/// Whether the superblock is the first thing in the file and has 8-byte addresses and lengths.
fn has_plain_addresses(file: &mut File) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(16).read_to_end(&mut start)?;
    let sizes = match start.get(8) {
        Some(0 | 1) => start.get(13..15),
        Some(2 | 3) => start.get(9..11),
        _ => None,
    };
    Ok(start.starts_with(HDF5_SIGNATURE) && sizes == Some(&[8, 8]))
}

/// The largest integer up to which every count is exact in single precision.
pub(crate) const MAX_EXACT_COUNT: f64 = 16_777_216.0;

/// A superblock and the header of the root group.
const SMALLEST_FILE: u64 = 96;
const BLOCK_ELEMENTS: usize = 1 << 20;
/// Fewest bytes that an index takes for a chunk: its address.
const INDEX_ENTRY: usize = 8;
const DEFLATE_MAX_RATIO: u64 = 1032;
const GZIP: u16 = 1;
const SHUFFLE: u16 = 2;
const FLETCHER32: u16 = 3;
const LZF: u16 = 32000;
const FILTER_NAMES: [(u16, &str); 9] = [
    (4, "SZIP"),
    (5, "N-bit"),
    (6, "scale-offset"),
    (307, "bzip2"),
    (32001, "Blosc"),
    (32004, "LZ4"),
    (32008, "bitshuffle"),
    (32013, "ZFP"),
    (32015, "Zstandard"),
];
