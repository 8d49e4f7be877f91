//! Small files written by anndata, h5py and SciPy, read back and compared with NumPy's table.

use std::path::{Path, PathBuf};

use cic_data::{
    Column, CsrMatrix, DataError, ExpressionMatrix, MatrixChoice, ReadOptions, read_expression,
};
use cic_model::ValueKind;

const SYMBOLS: [&str; 6] = ["TP53", "ACTB", "GAPDH", "CD3D", "MS4A1", "NKG7"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn read(name: &str) -> ExpressionMatrix {
    read_expression(&fixture(name), &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn read_layer(name: &str, layer: MatrixChoice) -> Result<ExpressionMatrix, DataError> {
    read_expression(&fixture(name), &ReadOptions { layer, ..ReadOptions::default() })
}

fn refusal(name: &str) -> DataError {
    match read_expression(&fixture(name), &ReadOptions::default()) {
        Ok(_) => panic!("{name} was accepted"),
        Err(error) => error,
    }
}

/// The values that every good file holds, parsed without the code under test.
fn expected() -> CsrMatrix {
    let text = std::fs::read_to_string(fixture("expected.tsv")).unwrap();
    let values: Vec<f32> = text
        .lines()
        .skip(1)
        .flat_map(|line| line.split('\t').skip(1).map(|field| field.parse().unwrap()))
        .collect();
    CsrMatrix::from_dense(6, &values).unwrap()
}

fn symbols(matrix: &ExpressionMatrix) -> Vec<&str> {
    matrix.genes.iter().map(|gene| gene.symbol.as_deref().unwrap()).collect()
}

#[test]
fn every_format_and_encoding_gives_the_same_matrix() {
    let expected = expected();
    for name in [
        "csr_gzip.h5ad",
        "csc_lzf.h5ad",
        "dense_f64.h5ad",
        "int64_unsorted_zeros.h5ad",
        "usual_structures.h5ad",
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
        let matrix = read(name);
        assert_eq!(matrix.values, expected, "{name}");
        assert_eq!(symbols(&matrix), SYMBOLS, "{name}");
        let suffix =
            if ["cellranger3.h5", "mex", "mex/matrix.mtx.gz"].contains(&name) { "-1" } else { "" };
        assert_eq!(matrix.obs_names[4], format!("cell4{suffix}"), "{name}");
    }
    let narrow = read("dense_u1.h5ad");
    assert_eq!(narrow.values.row(3), (&[5][..], &[255.0][..]));
    assert_eq!(narrow.values.row(0), expected.row(0));
}

#[test]
fn genes_carry_symbol_and_ensembl_id() {
    for name in ["csr_gzip.h5ad", "cellranger3.h5", "cellranger2.h5", "mex"] {
        let matrix = read(name);
        let ensembl: Vec<Option<&str>> =
            matrix.genes.iter().map(|gene| gene.ensembl.as_deref()).collect();
        assert_eq!(ensembl[0], Some("ENSG00000141510"), "{name}");
        assert_eq!(ensembl[2], Some("ENSG00000111640.15"), "versions stay, {name}");
        assert_eq!(ensembl[5], None, "{name}");
    }
    let by_ensembl = read("columns.h5ad");
    assert_eq!(by_ensembl.genes[0].id, "ENSG00000141510");
    assert_eq!(by_ensembl.genes[0].ensembl.as_deref(), Some("ENSG00000141510"));
    assert_eq!(by_ensembl.genes[5].id, "custom");
    assert_eq!(by_ensembl.genes[5].symbol.as_deref(), Some("NKG7"));
}

#[test]
fn what_is_not_read_is_named() {
    let not_read = |layer| {
        let options = ReadOptions { layer, ..ReadOptions::default() };
        read_expression(&fixture("raw_and_layers.h5ad"), &options).unwrap().source.not_read
    };
    for (choice, parts) in [
        (MatrixChoice::X, "layers, raw"),
        (MatrixChoice::Raw, "X, layers, var"),
        (MatrixChoice::Layer("counts".into()), "X, raw"),
    ] {
        assert_eq!(not_read(choice).join(", "), parts);
    }
    assert!(read("columns.h5ad").source.not_read.is_empty());
}

#[test]
fn integers_of_obs_stay_integers() {
    let table = read("columns.h5ad").obs;
    let column = table.column("nullable-integer").unwrap();
    assert!(matches!(column, Column::F64(_)), "one is missing: {column:?}");
    assert!(matches!(table.column("old").unwrap(), Column::Categorical { .. }));
}

#[test]
fn other_features_are_dropped_and_noted() {
    let matrix = read("cellranger3.h5");
    assert_eq!(matrix.source.format, "Cell Ranger 3 .h5");
    let note = "2 features are not Gene Expression and left out: 2 Antibody Capture";
    assert_eq!(matrix.source.notes, [note]);
    assert!(read("mex").source.notes.is_empty());
}

#[test]
fn columns_of_obs_keep_their_kinds() {
    for name in ["csr_gzip.h5ad", "csc_lzf.h5ad", "dense_f64.h5ad"] {
        let obs = read(name).obs;
        let labels: Vec<_> = (0..5).map(|row| obs.value("cell_type", row).unwrap()).collect();
        assert_eq!(labels, ["T", "B", "T", "NK", "B"], "{name}");
        assert_eq!(obs.number("depth", 3), Some(300.0));
        assert_eq!(obs.value("n", 3).unwrap(), "300");
        assert_eq!(obs.value("doublet", 1).unwrap(), "true");
        assert_eq!(obs.value("note", 4).unwrap(), "é");
        assert_eq!(obs.value("note", 5), None);
        assert_eq!(obs.names().count(), 5);
        assert!(obs.unreadable().is_empty());
    }
}

#[test]
fn nullable_and_old_columns_are_read_and_odd_ones_refused_when_asked_for() {
    let obs = read("columns.h5ad").obs;
    let texts = |column: &str| -> Vec<Option<String>> {
        (0..5).map(|row| obs.value(column, row).map(String::from)).collect()
    };
    let some = |texts: [&str; 5]| texts.map(|text| (!text.is_empty()).then(|| text.to_string()));
    assert_eq!(texts("nullable-integer"), some(["1", "2", "", "4", "5"]));
    assert_eq!(texts("nullable-boolean"), some(["true", "false", "", "false", "true"]));
    assert_eq!(texts("missing"), some(["10", "", "20", "10", ""]));
    assert_eq!(texts("old"), some(["yes", "no", "no", "yes", "yes"]));
    assert_eq!(obs.value("fixed", 1).unwrap(), "yy");
    let message = obs.column("odd").unwrap_err().to_string();
    assert!(message.contains("interval-array"), "{message}");
    let message = obs.column("elsewhere").unwrap_err().to_string();
    assert!(message.contains("external link"), "{message}");
}

#[test]
fn raw_and_layers_come_with_their_own_genes() {
    let name = "raw_and_layers.h5ad";
    let raw = read_layer(name, MatrixChoice::Raw).unwrap();
    assert_eq!(raw.values, expected());
    assert_eq!(raw.source.matrix, "raw/X");
    assert_eq!(raw.genes[0].ensembl.as_deref(), Some("ENSG00000141510"));
    let layer = read_layer(name, MatrixChoice::Layer("counts".into())).unwrap();
    assert_eq!((layer.n_obs(), layer.n_vars()), (5, 4));
    assert_eq!(layer.values.row(4), (&[2, 3][..], &[2.0, 1.0][..]));
    let main = read(name);
    assert_eq!(main.values.row(4).1, [2f32.ln_1p(), 1f32.ln_1p()]);
    let message = read_layer(name, MatrixChoice::Layer("spliced".into())).unwrap_err().to_string();
    assert!(message.contains("X, raw/X, layers/counts"), "{message}");
    let message = read_layer("mex", MatrixChoice::Raw).unwrap_err().to_string();
    assert!(message.contains("only AnnData"), "{message}");
}

#[test]
fn the_layout_before_version_0_7_is_read() {
    let matrix = read_layer("legacy_compound.h5ad", MatrixChoice::Raw).unwrap();
    assert_eq!(matrix.values, expected());
    assert_eq!(matrix.source.format, "AnnData .h5ad (old layout)");
    assert_eq!(matrix.obs_names, ["cell0", "cell1", "cell2", "cell3", "cell4"]);
    assert_eq!(matrix.genes[0].ensembl.as_deref(), Some("ENSG00000141510"));
    assert_eq!(matrix.genes[5].ensembl, None);
    let labels: Vec<_> = (0..5).map(|row| matrix.obs.value("cell_type", row).unwrap()).collect();
    assert_eq!(labels, ["T", "B", "T", "NK", "B"]);
    assert_eq!(matrix.obs.number("depth", 3), Some(300.0));
    let error = refusal("legacy_compound.h5ad");
    assert!(matches!(&error, DataError::Negative { cell, .. } if cell == "cell0"), "{error}");
}

#[test]
fn a_declared_kind_is_checked_while_reading() {
    let with = |kind| {
        let options = ReadOptions { value_kind: Some(kind), ..ReadOptions::default() };
        read_expression(&fixture("csr_gzip.h5ad"), &options)
    };
    assert!(with(ValueKind::Counts).is_ok());
    assert!(matches!(with(ValueKind::Log1p), Err(DataError::ScaleMismatch { .. })));
}

/// Asserts the variant and that the message holds the given texts.
macro_rules! assert_refused {
    ($name:expr, $variant:pat $(, $text:expr)*) => {{
        let error = refusal($name);
        assert!(matches!(error, $variant), "{}: {error:?}", $name);
        let (message, texts): (String, &[&str]) = (error.to_string(), &[$($text),*]);
        assert!(texts.iter().all(|text| message.contains(text)), "{}: {message}", $name);
    }};
}

#[test]
fn refuses_a_value_that_is_nan() {
    assert_refused!("bad_nan.h5ad", DataError::NotFinite { .. }, "\"cell0\"", "\"MS4A1\"");
}

#[test]
fn refuses_a_value_that_is_infinite() {
    assert_refused!("bad_infinite.h5ad", DataError::NotFinite { .. }, "-inf");
}

#[test]
fn refuses_a_negative_value() {
    assert_refused!("bad_negative.h5ad", DataError::Negative { .. }, "-1.5", "\"MS4A1\"");
}

#[test]
fn refuses_a_count_that_single_precision_cannot_hold() {
    assert_refused!(
        "bad_large_count.h5ad",
        DataError::CountTooLarge { .. },
        "16777217",
        "\"MS4A1\""
    );
}

#[test]
fn refuses_pointers_that_decrease() {
    assert_refused!("bad_pointers.h5ad", DataError::Pointers { at: 2, .. });
    assert_refused!("bad_pointer_negative.h5ad", DataError::Pointers { at: 1, .. }, "negative");
}

#[test]
fn refuses_arrays_of_different_lengths() {
    assert_refused!("bad_lengths.h5ad", DataError::Pointers { .. }, "values");
}

#[test]
fn refuses_an_index_outside_the_genes() {
    assert_refused!("bad_index.h5ad", DataError::IndexOutOfRange { index: 6, len: 6, .. });
    assert_refused!("bad_index_negative.h5ad", DataError::IndexOutOfRange { .. });
}

#[test]
fn refuses_two_entries_for_one_place() {
    assert_refused!(
        "bad_duplicate.h5ad",
        DataError::DuplicateEntry { .. },
        "\"cell0\"",
        "\"ACTB\""
    );
}

#[test]
fn refuses_names_that_stand_twice() {
    assert_refused!("bad_names.h5ad", DataError::DuplicateObsName { first: 0, second: 2, .. });
}

#[test]
fn refuses_shapes_that_do_not_fit_the_names() {
    assert_refused!("bad_n_obs.h5ad", DataError::Shape { .. }, "expected 5, found 6");
    assert_refused!("bad_dense_shape.h5ad", DataError::Shape { .. }, "[5, 6]", "[5, 5]");
    assert_refused!("bad_scalar_index.h5ad", DataError::Shape { .. }, "obs/_index");
    assert_refused!("bad_no_genes.h5ad", DataError::Empty { .. });
}

#[test]
fn refuses_headers_that_claim_more_than_the_file_holds() {
    assert_refused!("bad_claim.h5ad", DataError::TooLarge { .. }, "X/data", "40000000000000");
    assert_refused!("bad_chunk_claim.h5ad", DataError::TooLarge { .. }, "400000000");
}

#[test]
fn refuses_sparse_matrices_that_were_not_written_to_their_end() {
    assert_refused!(
        "bad_missing_chunk.h5ad",
        DataError::Hdf5 { .. },
        "X/data",
        "values 8 to 15",
        "never written"
    );
}

#[test]
fn refuses_a_table_without_an_index() {
    assert_refused!("bad_no_index.h5ad", DataError::MissingIndex { .. }, "\"obs\"");
    assert_refused!("bad_dangling_index.h5ad", DataError::MissingIndex { .. }, "\"var\"");
}

#[test]
fn refuses_unknown_encodings_by_name() {
    assert_refused!("bad_encoding.h5ad", DataError::UnknownEncoding { .. }, "coo_matrix", "\"X\"");
    assert_refused!("bad_frame_encoding.h5ad", DataError::UnknownEncoding { .. }, "awkward-array");
    assert_refused!("bad_half.h5ad", DataError::UnknownEncoding { .. }, "X/data");
    assert_refused!("bad_text_values.h5ad", DataError::UnknownEncoding { .. }, "X/data");
}

#[test]
fn refuses_other_filters_by_name() {
    assert_refused!("bad_filter.h5ad", DataError::UnsupportedFilter { .. }, "scale-offset");
}

#[test]
fn follows_no_link_and_no_external_storage() {
    assert_refused!("bad_external_link.h5ad", DataError::LinkRefused { .. }, "external link");
    assert_refused!("bad_soft_link.h5ad", DataError::LinkRefused { .. }, "soft link", "/Y");
    assert_refused!("bad_virtual.h5ad", DataError::LinkRefused { .. }, "virtual");
    assert_refused!("bad_external_data.h5ad", DataError::LinkRefused { .. }, "external raw data");
}

#[test]
fn refuses_names_that_are_not_utf8() {
    assert_refused!("bad_latin1.h5ad", DataError::NotUtf8 { .. }, "element 5", "var/_index");
}

#[test]
fn refuses_other_hdf5_files() {
    assert_refused!("bad_other.h5", DataError::UnsupportedFormat { .. }, "neither AnnData nor");
    assert_refused!("bad_two_genomes.h5", DataError::UnsupportedFormat { .. }, "hg19, mm10");
    assert_refused!("bad_only_antibodies.h5", DataError::MissingPart { .. }, "Antibody Capture");
}

#[test]
fn refuses_what_does_not_exist() {
    assert_refused!("no_such_file.h5ad", DataError::Io { .. }, "no_such_file.h5ad");
}
