//! Strings of variable length, which HDF5 keeps in collections of a global heap (HDF5 File Format
//! Specification, section III.E).
//!
//! The HDF5 library holds every collection of a data set while it reads, object by object, which
//! takes several times the memory of the strings. Here only the collections used last are held.

use core::ops::Range;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The heap of a file whose addresses and lengths have 8 bytes and count from its first byte.
pub(crate) struct Heap {
    file: File,
    len: u64,
    /// Those used last, the latest at the end.
    collections: Vec<Collection>,
}

struct Collection {
    address: u64,
    bytes: Vec<u8>,
    /// Number and place of each object, sorted by number.
    objects: Vec<(u16, Range<usize>)>,
}

impl Heap {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len, collections: Vec::new() })
    }

    /// What a reference of [`REFERENCE_LEN`] bytes points at, or what is wrong with it.
    pub(crate) fn read(&mut self, reference: &[u8]) -> Result<&[u8], String> {
        let [Some(len), Some(address), Some(number)] =
            [(0, 4), (4, 8), (12, 4)].map(|(at, width)| integer(reference, at, width))
        else {
            return Err("a reference to a string is cut off".into());
        };
        if address == 0 || address == u64::MAX {
            return Ok(&[]);
        }
        match self.collections.iter().rposition(|held| held.address == address) {
            Some(at) => self.collections[at..].rotate_left(1),
            None => {
                let read = self.read_collection(address)?;
                if self.collections.len() == MOST_HELD {
                    self.collections.remove(0);
                }
                self.collections.push(read);
            }
        }
        let collection = &self.collections[self.collections.len() - 1];
        let object = u16::try_from(number).ok().and_then(|number| collection.object(number));
        let object =
            object.ok_or_else(|| format!("the heap at {address} has no object {number}"))?;
        // No object is larger than memory.
        object.get(..len as usize).ok_or_else(|| {
            format!("object {number} of the heap at {address} has fewer than {len} bytes")
        })
    }

    fn read_collection(&mut self, address: u64) -> Result<Collection, String> {
        let broken = |reason: &str| format!("the heap at {address} {reason}");
        let failed = |error: io::Error| broken(&format!("cannot be read: {error}"));
        let room = self.len.saturating_sub(address);
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(address.min(self.len))).map_err(failed)?;
        (&mut self.file).take(HEADER_LEN as u64).read_to_end(&mut bytes).map_err(failed)?;
        let size = integer(&bytes, 8, 8).filter(|_| bytes.starts_with(b"GCOL\x01"));
        let size = size.ok_or_else(|| broken("is none"))?;
        if size < HEADER_LEN as u64 || size > room {
            return Err(broken(&format!("claims {size} bytes, {room} are there")));
        }
        let rest = size - HEADER_LEN as u64;
        (&mut self.file).take(rest).read_to_end(&mut bytes).map_err(failed)?;
        let mut objects = Vec::new();
        let mut at = HEADER_LEN;
        while let (Some(number), Some(size)) = (integer(&bytes, at, 2), integer(&bytes, at + 8, 8))
        {
            // Free space, which is last.
            if number == 0 {
                break;
            }
            let start = at + HEADER_LEN;
            let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            let end = end.filter(|&end| end <= bytes.len());
            let end = end.ok_or_else(|| broken(&format!("ends inside its object {number}")))?;
            // Two bytes were read.
            objects.push((number as u16, start..end));
            at = end.next_multiple_of(8);
        }
        objects.sort_unstable_by_key(|(number, _)| *number);
        Ok(Collection { address, bytes, objects })
    }
}

impl Collection {
    fn object(&self, number: u16) -> Option<&[u8]> {
        let at = self.objects.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.bytes.get(self.objects[at].1.clone())
    }
}

/// A little-endian integer of up to 8 bytes.
fn integer(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Length, address of the collection, number of the object.
pub(crate) const REFERENCE_LEN: usize = 16;
/// Of a collection, and of an object in it.
const HEADER_LEN: usize = 16;
/// Writers fill one collection after the other; a few are enough for columns written in turns.
const MOST_HELD: usize = 16;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn object(number: u16, text: &[u8]) -> Vec<u8> {
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend([1, 0, 0, 0, 0, 0]);
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn heap(objects: &[Vec<u8>]) -> (tempfile::NamedTempFile, Heap) {
        let objects = objects.concat();
        let mut bytes = vec![0; 8];
        bytes.extend(b"GCOL\x01\0\0\0");
        bytes.extend((HEADER_LEN as u64 + objects.len() as u64).to_le_bytes());
        bytes.extend(objects);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let heap = Heap::open(file.path()).unwrap();
        (file, heap)
    }

    fn reference(len: u32, address: u64, number: u32) -> Vec<u8> {
        let (len, address, number) =
            (len.to_le_bytes(), address.to_le_bytes(), number.to_le_bytes());
        [&len[..], &address[..], &number[..]].concat()
    }

    #[test]
    fn objects_are_found_by_number_in_any_order() {
        let free = vec![0; 24];
        let (_file, mut heap) =
            heap(&[object(2, b"second"), object(1, b""), object(9, b"x"), free]);
        for (number, text) in [(9, "x"), (2, "second"), (1, ""), (2, "second")] {
            let found = heap.read(&reference(text.len() as u32, 8, number)).unwrap();
            assert_eq!(found, text.as_bytes());
        }
        assert_eq!(heap.read(&reference(0, 0, 0)).unwrap(), b"");
    }

    #[test]
    fn references_to_what_is_not_there_are_refused() {
        let (_file, mut heap) = heap(&[object(1, b"abc")]);
        for (len, address, number, reason) in [
            (3, 8, 2, "no object 2"),
            (4, 8, 1, "fewer than 4"),
            (3, 9, 1, "is none"),
            (3, 1 << 60, 1, "is none"),
        ] {
            let error = heap.read(&reference(len, address, number)).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(heap.read(&[0; 15]).is_err());
    }

    #[test]
    fn a_collection_that_claims_too_much_is_refused() {
        let mut long = object(1, b"abc");
        long[8] = 200;
        let (_file, mut heap) = heap(&[long]);
        assert!(heap.read(&reference(3, 8, 1)).unwrap_err().contains("inside its object 1"));
    }
}
