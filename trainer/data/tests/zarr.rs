//! AnnData in Zarr stores, with the feature of that name. Stores that anndata wrote are read in `encodings.rs`.
#![cfg(feature = "zarr")]

mod streams;
mod zarr_writer;

use std::fs;
use std::path::Path;

use cic_data::{
    BlockSize, DataError, ExpressionMatrix, MatrixChoice, ReadOptions, read_expression,
};
use streams::assert_streams_like_whole;
use zarr_writer::{Array, Format, Packing, write_store};

const FORMATS: [Format; 2] = [Format::V2, Format::V3];

/// The values of every store of the writer: four cells, three genes.
const DENSE: [[f32; 3]; 4] = [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 5.0]];

fn read(path: &Path) -> Result<ExpressionMatrix, DataError> {
    read_expression(path, &ReadOptions::default())
}

fn dense(matrix: &ExpressionMatrix) -> Vec<Vec<f32>> {
    let row = |row| {
        let mut dense = vec![0.0; matrix.n_vars()];
        let (columns, values) = matrix.values.row(row);
        columns.iter().zip(values).for_each(|(&column, &value)| dense[column as usize] = value);
        dense
    };
    (0..matrix.n_obs()).map(row).collect()
}

/// A store with one thing changed after it was written, and what its refusal says.
fn refusal(format: Format, change: impl FnOnce(&Path)) -> DataError {
    let folder = tempfile::tempdir().unwrap();
    write_store(folder.path(), format, Packing::Plain);
    change(folder.path());
    read(folder.path()).unwrap_err()
}

/// Changes a JSON file of a store.
fn edit(store: &Path, object: &str, format: Format, change: impl FnOnce(&mut serde_json::Value)) {
    let name = if format == Format::V3 { "zarr.json" } else { ".zarray" };
    let path = store.join(object).join(name);
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

#[test]
fn every_matrix_of_both_formats_holds_the_same() {
    let sizes = [
        BlockSize { cells: 1, values: usize::MAX },
        BlockSize { cells: 3, values: 2 },
        BlockSize::default(),
    ];
    for format in FORMATS {
        for packing in [Packing::Plain, Packing::Gzip, Packing::BloscLz4] {
            let folder = tempfile::tempdir().unwrap();
            write_store(folder.path(), format, packing);
            let layers = ["csc", "dense", "columns", "big", "tall"].map(String::from);
            let choices = layers.into_iter().map(MatrixChoice::Layer);
            for layer in [MatrixChoice::X, MatrixChoice::Raw].into_iter().chain(choices) {
                let options = ReadOptions { layer, ..ReadOptions::default() };
                let matrix = read_expression(folder.path(), &options).unwrap();
                assert_eq!(dense(&matrix), DENSE, "{format:?}, {options:?}");
                assert_eq!(matrix.obs_names, ["a", "b", "c", "dé"]);
                let obs = |column| {
                    let text = |row| matrix.obs.value(column, row).map(|text| text.into_owned());
                    (0..4).map(|row| text(row).unwrap_or_default()).collect::<Vec<_>>()
                };
                assert_eq!(obs("cell_type"), ["T", "B", "", "T"]);
                assert_eq!(obs("fixed"), ["x", "yz", "", "é"]);
                assert_eq!(obs("bytes"), ["x", "yz", "", "w"]);
                assert_eq!(obs("depth"), ["3", "0", "3", "9.5"]);
                assert_eq!(obs("even"), ["true", "false", "true", "false"]);
                assert_eq!(obs("zeros"), ["0", "0", "0", "0"]);
                assert_eq!(obs("n"), ["7", "", "-9", "1"]);
                assert_streams_like_whole(folder.path(), &options, &sizes);
            }
            let matrix = read(folder.path()).unwrap();
            assert_eq!(matrix.source.format, "AnnData Zarr store");
            assert_eq!(matrix.source.not_read, ["layers", "raw"]);
            assert_eq!(matrix.source.files, [folder.path()]);
        }
    }
}

/// The same data as .h5ad and as a store are one and the same, but for where they came from.
#[test]
fn a_store_gives_what_the_file_of_the_same_data_gives() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("a.zarr"), folder.path().join("a.h5ad"));
    write_store(&store, Format::V3, Packing::BloscLz4);
    let read_store = read(&store).unwrap();
    let genes: Vec<String> = read_store.genes.iter().map(|gene| gene.id.clone()).collect();
    let out = cic_data::AnnDataOut {
        obs_names: &read_store.obs_names,
        var_names: &genes,
        obs: read_store.obs.clone(),
        x: Some(&read_store.values),
        ..Default::default()
    };
    cic_data::write_h5ad(&file, &out).unwrap();
    let read_file = read(&file).unwrap();
    assert_eq!(read_file.values, read_store.values);
    assert_eq!(read_file.genes, read_store.genes);
    for name in ["cell_type", "fixed", "depth", "even", "zeros", "n"] {
        for row in 0..4 {
            assert_eq!(read_file.obs.value(name, row), read_store.obs.value(name, row), "{name}");
        }
    }
}

#[test]
fn what_is_not_read_is_named_with_what_to_do() {
    let codec = |name: &str| serde_json::json!({"id": name, "name": name});
    for (format, key, value, named) in [
        (Format::V2, "compressor", codec("bz2"), "the codec bz2"),
        (Format::V2, "filters", serde_json::json!([codec("delta")]), "the filter delta"),
        (Format::V3, "codecs", serde_json::json!([codec("sharding_indexed")]), "sharding_indexed"),
    ] {
        let error = refusal(format, |store| {
            edit(store, "X/data", format, |json| json[key] = value);
        });
        assert!(matches!(error, DataError::UnsupportedFormat { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(named) && message.contains("\"X/data\""), "{message}");
        assert!(message.contains("write_h5ad"), "{message}");
    }
    let error = refusal(Format::V2, |store| {
        edit(store, "X/data", Format::V2, |json| json["dtype"] = "<f2".into());
    });
    assert!(error.to_string().contains("\"<f2\""), "{error}");
}

#[test]
fn damaged_chunks_are_named() {
    for format in FORMATS {
        let chunk = if format == Format::V3 { "c/0" } else { "0" };
        let path = format!("X/data/{chunk}");
        let error = refusal(format, |store| fs::write(store.join(&path), [0; 7]).unwrap());
        let expected = format!("chunk {chunk} has 7 bytes, not 12");
        assert!(error.to_string().contains(&expected), "{error}");
        for array in ["data", "indices"] {
            let path = format!("X/{array}/{chunk}");
            let error = refusal(format, |store| fs::remove_file(store.join(&path)).unwrap());
            assert!(error.to_string().contains(&format!("chunk {chunk} is not there")), "{error}");
        }
        let path = format!("obs/_index/{chunk}");
        let error = refusal(format, |store| fs::write(store.join(&path), [4, 0, 0, 0, 9]).unwrap());
        assert!(error.to_string().contains("has 4 strings, not 3"), "{error}");
        let error = refusal(format, |store| {
            fs::write(store.join(&path), [3, 0, 0, 0, 9, 0, 0, 0]).unwrap();
        });
        assert!(error.to_string().contains("ends before its string 0"), "{error}");
        let error = refusal(format, |store| {
            fs::write(store.join(&path), [3, 0, 0, 0, 1, 0, 0, 0, 0xe9]).unwrap();
        });
        assert!(matches!(error, DataError::NotUtf8 { .. }), "{error}");
    }
}

#[test]
fn claims_beyond_what_the_store_holds_are_refused() {
    for format in FORMATS {
        for (object, key) in [("X/data", "shape"), ("X/indptr", "shape"), ("obs/_index", "shape")] {
            for claim in [1u64 << 40, u64::MAX >> 1] {
                let error = refusal(format, |store| {
                    edit(store, object, format, |json| json[key] = serde_json::json!([claim]));
                });
                assert!(matches!(error, DataError::TooLarge { .. }), "{object}: {error}");
            }
        }
        for claim in [1u64 << 26, 1 << 40, u64::MAX >> 1] {
            let error = refusal(format, |store| {
                edit(store, "X/data", format, |json| match format {
                    Format::V2 => json["chunks"] = serde_json::json!([claim]),
                    Format::V3 => {
                        json["chunk_grid"]["configuration"]["chunk_shape"] =
                            serde_json::json!([claim]);
                    }
                });
            });
            assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
        }
    }
    // Four times this is beyond the largest integer.
    let error = refusal(Format::V2, |store| {
        edit(store, "obs/_index", Format::V2, |json| {
            json["dtype"] = "<U6148914691236517201".into();
            json["filters"] = serde_json::Value::Null;
        });
    });
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
}

#[test]
fn shapes_must_fit_each_other() {
    for format in FORMATS {
        let error = refusal(format, |store| {
            edit(store, "X/indptr", format, |json| json["shape"] = serde_json::json!([4]));
        });
        assert!(matches!(error, DataError::Shape { .. }), "{error}");
        let error = refusal(format, |store| {
            edit(store, "X/data", format, |json| json["shape"] = serde_json::json!([4]));
        });
        assert!(matches!(error, DataError::Pointers { .. }), "{error}");
        let error = refusal(format, |store| {
            edit(store, "X/data", format, |json| json["shape"] = serde_json::json!([]));
        });
        assert!(matches!(error, DataError::Zarr { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_refused_wherever_they_stand() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    write_store(outside.path(), Format::V2, Packing::Plain);
    for place in ["X", "X/data", "X/data/0", "X/data/.zarray", "obs/_index/0", "obs"] {
        let error = refusal(Format::V2, |store| {
            let path = store.join(place);
            match path.is_dir() {
                true => fs::remove_dir_all(&path).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
            symlink(outside.path().join(place), &path).unwrap();
        });
        assert!(matches!(error, DataError::LinkRefused { .. }), "{place}: {error}");
    }
    // The store itself may be reached by one.
    let link = outside.path().join("link.zarr");
    symlink(outside.path(), &link).unwrap();
    assert!(read(&link).is_ok());
}

#[test]
fn names_that_lead_elsewhere_name_nothing() {
    for index in ["../var/_index", "/obs/_index", "./_index", "_index/.", ".."] {
        let error = refusal(Format::V3, |store| {
            edit(store, "obs", Format::V3, |json| json["attributes"]["_index"] = index.into());
        });
        assert!(matches!(error, DataError::MissingIndex { .. }), "{index}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    write_store(folder.path(), Format::V2, Packing::Plain);
    for layer in ["../X", "..", "", "dense/.", "none"] {
        let layer = MatrixChoice::Layer(layer.into());
        let options = ReadOptions { layer, ..ReadOptions::default() };
        let error = read_expression(folder.path(), &options).unwrap_err();
        assert!(error.to_string().contains("layers/dense"), "{options:?}: {error}");
    }
}

#[test]
fn stores_of_other_things_are_told_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join(".zattrs"), "{}").unwrap();
    assert!(read(path).unwrap_err().to_string().contains(".zgroup"));
    fs::write(path.join(".zgroup"), "{\"zarr_format\": 2}").unwrap();
    assert!(read(path).unwrap_err().to_string().contains("obs and var"));
    fs::create_dir(path.join("tables")).unwrap();
    fs::write(path.join("tables/.zgroup"), "{\"zarr_format\": 2}").unwrap();
    write_store(&path.join("tables/table"), Format::V2, Packing::Plain);
    assert!(read(path).unwrap_err().to_string().contains("tables/table"));
    assert!(read(&path.join("tables/table")).is_ok());
    let array = read(&path.join("tables/table/X/data")).unwrap_err().to_string();
    assert!(array.contains("it is one array"), "{array}");
    fs::write(path.join(".zgroup"), "[1").unwrap();
    assert!(read(path).unwrap_err().to_string().contains("no JSON"));
}

/// No panic, whatever is damaged.
#[test]
fn no_flipped_byte_panics() {
    let folder = tempfile::tempdir().unwrap();
    for (format, packing) in [(Format::V2, Packing::BloscLz4), (Format::V3, Packing::Gzip)] {
        let store = folder.path().join(format!("{format:?}"));
        write_store(&store, format, packing);
        let mut refused = 0;
        for path in zarr_writer::files(&store) {
            let good = fs::read(&path).unwrap();
            for at in (0..good.len()).step_by(37) {
                let mut bytes = good.clone();
                bytes[at] ^= if at % 2 == 0 { 0xff } else { 1 };
                fs::write(&path, bytes).unwrap();
                refused += usize::from(read(&store).is_err());
            }
            for len in [0, 1, good.len() / 2] {
                fs::write(&path, &good[..len]).unwrap();
                refused += usize::from(read(&store).is_err());
            }
            fs::write(&path, good).unwrap();
        }
        assert!(refused > 0);
        assert_eq!(dense(&read(&store).unwrap()), DENSE);
    }
}

/// Counts beyond single precision are refused where they stand, in every layout alike.
#[test]
fn a_count_that_is_too_large_has_its_place() {
    for columns in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write_store(folder.path(), Format::V2, Packing::Plain);
        let mut values = DENSE.concat();
        values[4] = 2e9;
        values[11] = 2e9;
        let array = Array::matrix_i32(&values, 4, 3, [3, 2], columns);
        array.write(&folder.path().join("layers/dense"), Format::V2, Packing::Plain);
        let layer = MatrixChoice::Layer("dense".into());
        let error =
            read_expression(folder.path(), &ReadOptions { layer, ..ReadOptions::default() });
        let Err(DataError::CountTooLarge { cell, gene, .. }) = error else { panic!("{error:?}") };
        assert_eq!((cell.as_str(), gene.as_str()), ("b", "G2"));
    }
}
