//! Files read block by block give what reading them whole gives.

mod streams;

use std::path::{Path, PathBuf};

use cic_data::{
    BlockSize, DataError, ExpressionReader, MatrixChoice, ReadOptions, ScaleEvidence, check_scale,
    read_expression,
};
use streams::{assert_streams_like_whole, blocks};

const SMALL: [BlockSize; 4] = [
    BlockSize { cells: 1, values: usize::MAX },
    BlockSize { cells: 2, values: usize::MAX },
    BlockSize { cells: usize::MAX, values: 3 },
    BlockSize { cells: usize::MAX, values: usize::MAX },
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn layer(layer: MatrixChoice) -> ReadOptions {
    ReadOptions { layer, ..ReadOptions::default() }
}

#[test]
fn every_format_and_encoding_streams_what_it_holds() {
    for name in [
        "csr_gzip.h5ad",
        "csc_lzf.h5ad",
        "dense_f64.h5ad",
        "int64_unsorted_zeros.h5ad",
        "usual_structures.h5ad",
        "dense_u1.h5ad",
        "dense_u2.h5ad",
        "dense_i8.h5ad",
        "dense_be_i4.h5ad",
        "dense_be_f4.h5ad",
        "columns.h5ad",
        "cellranger3.h5",
        "cellranger2.h5",
        "mex",
        "mex/matrix.mtx.gz",
        "expected.tsv",
    ] {
        assert_streams_like_whole(&fixture(name), &ReadOptions::default(), &SMALL);
    }
    let name = fixture("raw_and_layers.h5ad");
    assert_streams_like_whole(&name, &layer(MatrixChoice::Raw), &SMALL);
    assert_streams_like_whole(&name, &layer(MatrixChoice::Layer("counts".into())), &SMALL);
    let legacy = fixture("legacy_compound.h5ad");
    assert_streams_like_whole(&legacy, &layer(MatrixChoice::Raw), &SMALL);
}

#[test]
fn the_three_forms_of_pbmc3k_stream_what_they_hold() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("CIC_DATA").map_or(beside, PathBuf::from).join("pbmc3k");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no real data at {}; set CIC_DATA", folder.display());
        return;
    }
    let sizes = [BlockSize { cells: 100, values: usize::MAX }, BlockSize::default()];
    for form in ["pbmc3k.h5ad", "filtered_feature_bc_matrix.h5", "filtered_feature_bc_matrix"] {
        assert_streams_like_whole(&folder.join(form), &ReadOptions::default(), &sizes);
    }
}

#[test]
fn a_fault_in_a_late_block_has_the_names_and_the_blocks_before_it_are_given() {
    let size = BlockSize { cells: 1, values: usize::MAX };
    for (name, cell) in [("bad_negative.h5ad", "\"cell0\""), ("bad_large_count.h5ad", "\"MS4A1\"")]
    {
        let whole = read_expression(&fixture(name), &ReadOptions::default()).unwrap_err();
        let streamed = blocks(&fixture(name), &ReadOptions::default(), size).unwrap_err();
        assert_eq!(streamed.to_string(), whole.to_string());
        assert!(streamed.to_string().contains(cell), "{streamed}");
    }
    let folder = mex("1 1 5\n2 2 7\n3 3 1\n3 3 1\n");
    let mut reader = ExpressionReader::open(folder.path(), &ReadOptions::default(), size).unwrap();
    assert!(reader.next_block().unwrap().is_some());
    assert!(reader.next_block().unwrap().is_some());
    let error = reader.next_block().unwrap_err();
    assert!(matches!(error, DataError::MatrixMarket { line: 6, .. }), "{error}");
}

/// A 10x folder of three genes and four cells with these four entries.
fn mex(entries: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("features.tsv", "G1\nG2\nG3\n");
    write("barcodes.tsv", "a\nb\nc\nd\n");
    let header = "%%MatrixMarket matrix coordinate integer general\n3 4 4\n";
    write("matrix.mtx", &format!("{header}{entries}"));
    folder
}

#[test]
fn an_unsorted_matrix_market_file_is_noticed_at_its_first_entry_out_of_order() {
    let options = ReadOptions::default();
    for (entries, line, cell) in
        [("1 1 5\n1 3 7\n1 4 2\n2 1 9\n", 6, 1), ("3 2 5\n1 4 7\n1 3 2\n2 4 9\n", 5, 3)]
    {
        let folder = mex(entries);
        for size in SMALL {
            match blocks(folder.path(), &options, size) {
                Err(DataError::NotByCell { line: found_line, cell: found, .. }) => {
                    assert_eq!((found_line, found), (line, cell));
                }
                other => panic!("{other:?}"),
            }
            let reader = ExpressionReader::open_unsorted(folder.path(), &options, size).unwrap();
            let unsorted = reader.read_all().unwrap();
            let mut lines: Vec<&str> = entries.lines().collect();
            lines.sort_by_key(|line| line.split(' ').nth(1).unwrap().to_string());
            let sorted = mex(&(lines.join("\n") + "\n"));
            assert_eq!(unsorted.values, read_expression(sorted.path(), &options).unwrap().values);
            let whole = read_expression(folder.path(), &options).unwrap();
            assert_eq!(unsorted.values, whole.values);
        }
    }
}

#[test]
fn cells_without_entries_stay_in_their_places() {
    let folder = mex("1 2 5\n2 2 7\n3 2 1\n1 3 1\n");
    assert_streams_like_whole(folder.path(), &ReadOptions::default(), &SMALL);
    let values = read_expression(folder.path(), &ReadOptions::default()).unwrap().values;
    assert_eq!(values.indptr, [0, 0, 3, 4, 4]);
}

#[test]
fn evidence_of_parts_gives_the_verdict_of_the_whole() {
    for name in ["csr_gzip.h5ad", "raw_and_layers.h5ad"] {
        let matrix = read_expression(&fixture(name), &ReadOptions::default()).unwrap();
        let expected = check_scale(&matrix, None).unwrap();
        for n in 1..=matrix.n_obs() {
            let mut evidence = ScaleEvidence::default();
            for start in (0..matrix.n_obs()).step_by(n) {
                let rows: Vec<usize> = (start..matrix.n_obs().min(start + n)).collect();
                let part = matrix.values.select_rows(&rows);
                let part = ScaleEvidence::of(matrix.names(), &part, start, None).unwrap();
                evidence.merge(&part);
            }
            assert_eq!(evidence.verdict(matrix.names(), None).unwrap(), expected, "{name}, {n}");
        }
    }
}
