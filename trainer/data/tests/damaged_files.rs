//! Damaged files end in an error, never in a panic or a wrong matrix that nobody notices.

use std::fs;
use std::path::Path;

use cic_data::{DataError, ExpressionMatrix, ReadOptions, read_expression};

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
