//! Damaged files end in an error, never in a panic or a wrong matrix that nobody notices.

use std::fs;
use std::path::Path;

use cic_data::{
    AnnDataOut, CsrMatrix, DataError, ExpressionMatrix, ReadOptions, read_expression, write_h5ad,
};
use rust_hdf5::format::checksum::checksum_metadata;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn read_bytes(folder: &Path, bytes: &[u8]) -> Result<ExpressionMatrix, DataError> {
    let path = folder.join("file");
    fs::write(&path, bytes).unwrap();
    read_expression(&path, &ReadOptions::default())
}

const HDF5_FIXTURES: [&str; 5] =
    ["csr_gzip.h5ad", "csc_lzf.h5ad", "dense_be_f4.h5ad", "cellranger3.h5", "columns.h5ad"];

#[test]
fn every_truncation_of_an_hdf5_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in HDF5_FIXTURES {
        let bytes = fixture(name);
        for len in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            let error = read_bytes(folder.path(), &bytes[..len]).expect_err(name);
            if len >= 96 {
                assert!(matches!(error, DataError::Truncated { .. }), "{name} at {len}: {error}");
            }
        }
    }
}

/// Flipped bits may hit values and names, where no reader can see them; they must not panic or
/// make the reader allocate without bound.
#[test]
fn no_flipped_byte_of_an_hdf5_file_panics() {
    let folder = tempfile::tempdir().unwrap();
    for name in HDF5_FIXTURES {
        let good = fixture(name);
        let mut refused = 0;
        let positions: Vec<usize> = (0..good.len()).step_by(31).collect();
        for &position in &positions {
            let mut bytes = good.clone();
            bytes[position] ^= 0xff;
            refused += usize::from(read_bytes(folder.path(), &bytes).is_err());
        }
        assert!(refused > 0, "{name}: none of {} flips was noticed", positions.len());
    }
}

#[test]
fn every_truncation_of_a_compressed_matrix_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["barcodes.tsv.gz", "features.tsv.gz"] {
        fs::write(folder.path().join(name), fixture(&format!("mex/{name}"))).unwrap();
    }
    let bytes = fixture("mex/matrix.mtx.gz");
    let path = folder.path().join("matrix.mtx.gz");
    for len in 1..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let error = read_expression(folder.path(), &ReadOptions::default()).unwrap_err();
        assert!(
            matches!(error, DataError::Gzip { .. } | DataError::MatrixMarket { .. }),
            "{len}: {error}"
        );
    }
    fs::write(&path, &bytes).unwrap();
    assert!(read_expression(folder.path(), &ReadOptions::default()).is_ok());
}

/// The library makes room for every chunk that a data set may grow to: a limit of 2^40 took gigabytes.
#[test]
fn a_small_file_that_may_grow_to_a_huge_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grows.h5ad");
    let names: Vec<String> = (0..7).map(|cell| format!("cell{cell}")).collect();
    let x = CsrMatrix::from_dense(1, &[1.0; 7]).unwrap();
    let out = AnnDataOut {
        obs_names: &names,
        var_names: &names[..1],
        x: Some(&x),
        ..AnnDataOut::default()
    };
    write_h5ad(&path, &out).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    assert!(read_bytes(folder.path(), &bytes).is_ok());
    // The extents of X/data and X/indices: seven now, no limit.
    let extents = [&7u64.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    let at = |bytes: &[u8]| bytes.windows(16).position(|window| window == extents);
    let mut n = 0;
    while let Some(at) = at(&bytes) {
        bytes[at + 8..at + 16].copy_from_slice(&(1u64 << 40).to_le_bytes());
        let header = bytes[..at].windows(4).rposition(|window| window == b"OHDR").unwrap();
        mend(&mut bytes, header);
        n += 1;
    }
    assert!(n > 0);
    let error = read_bytes(folder.path(), &bytes).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
}

/// Identifiers of no bytes in the heap of a group's links: the library subtracts one from their length.
#[test]
fn what_makes_the_library_panic_is_refused() {
    let mut bytes = fixture("columns.h5ad");
    let heap = bytes.windows(4).position(|window| window == b"FRHP").unwrap();
    bytes[heap + 5..heap + 7].fill(0);
    let sum = checksum_metadata(&bytes[heap..heap + HEAP_HEADER]).to_le_bytes();
    bytes[heap + HEAP_HEADER..heap + HEAP_HEADER + 4].copy_from_slice(&sum);
    let folder = tempfile::tempdir().unwrap();
    let error = read_bytes(folder.path(), &bytes).unwrap_err();
    assert!(matches!(error, DataError::Hdf5 { .. }), "{error}");
}

/// Bytes of a fractal heap's header before its checksum, without filters.
const HEAP_HEADER: usize = 142;

/// The checksum of an object header without times and limits, as the library writes it.
fn mend(bytes: &mut [u8], header: usize) {
    let width = 1 << (bytes[header + 5] & 3);
    let stored = bytes[header + 6..header + 6 + width].iter();
    let len = stored.rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
    let end = header + 6 + width + len;
    let sum = checksum_metadata(&bytes[header..end]).to_le_bytes();
    bytes[end..end + 4].copy_from_slice(&sum);
}

/// A small file whose million elements all point at one long string would fill any memory.
#[test]
fn strings_that_share_their_bytes_are_refused() {
    let mut bytes = fixture("columns.h5ad");
    let number = |field: &[u8]| field.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    // The two categories "no" and "yes": length, heap address, position in the heap.
    let position = bytes
        .windows(32)
        .position(|pair| {
            number(&pair[..4]) == 2
                && number(&pair[16..20]) == 3
                && pair[4..12] == pair[20..28]
                && number(&pair[4..12]) < bytes.len() as u64
        })
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert!(read_bytes(folder.path(), &bytes).unwrap().obs.column("old").is_ok());
    bytes.copy_within(position..position + 16, position + 16);
    let obs = read_bytes(folder.path(), &bytes).unwrap().obs;
    let message = obs.column("old").unwrap_err().to_string();
    assert!(message.contains("share one stored string"), "{message}");
}
