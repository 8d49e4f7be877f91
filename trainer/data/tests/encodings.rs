//! Files of several versions of anndata, written while the test runs, and what anndata itself reads from them.
//!
//! `CIC_ANNDATA` names the Pythons that have anndata, with `:` between them; without it, `python3` is tried.

mod streams;

use std::fs;
use std::path::Path;
use std::process::Command;

use cic_data::{
    BlockSize, DataError, ExpressionMatrix, MatrixChoice, ReadOptions, read_expression,
};
use streams::assert_streams_like_whole;

#[test]
fn what_anndata_writes_is_read_as_anndata_reads_it() {
    let pythons = std::env::var("CIC_ANNDATA").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encodings/make.py");
    for python in pythons.split(':') {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(python).arg(&script).arg(folder.path()).output();
        match output {
            Ok(output) if output.status.success() => {
                println!("{}", String::from_utf8_lossy(&output.stdout).trim());
            }
            Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("ModuleNotFound") => {
                panic!("{}", String::from_utf8_lossy(&output.stderr));
            }
            _ => {
                println!(
                    "SKIPPED: {python} has no anndata; name Pythons that have it in CIC_ANNDATA"
                );
                continue;
            }
        }
        let names = expectations(folder.path());
        assert!(names.len() > 15, "{names:?}");
        for name in &names {
            compare(folder.path(), name);
        }
        println!("{} matrices equal", names.len());
    }
}

/// The names before `.X.tsv`.
fn expectations(folder: &Path) -> Vec<String> {
    let files = folder.read_dir().unwrap().map(|file| file.unwrap().file_name());
    let names = files.map(|name| name.into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".X.tsv").map(String::from)).collect();
    names.sort();
    names
}

fn compare(folder: &Path, name: &str) {
    let (file, layer) = match name.split_once('@') {
        None => (name, MatrixChoice::X),
        Some((file, "raw")) => (file, MatrixChoice::Raw),
        Some((file, layer)) => (file, MatrixChoice::Layer(layer.into())),
    };
    let (path, options) = (folder.join(file), ReadOptions { layer, ..ReadOptions::default() });
    let read = match read_expression(&path, &options) {
        Ok(read) => read,
        Err(error) => {
            let refused = refusal(file).unwrap_or_else(|| panic!("{name}: {error}"));
            assert!(error.to_string().contains(refused), "{name}: {error}");
            assert!(matches!(
                error,
                DataError::UnsupportedFilter { .. } | DataError::UnsupportedFormat { .. }
            ));
            return;
        }
    };
    assert_eq!(refusal(file), None, "{name} is read");
    let (genes, cells, values) = table(&folder.join(format!("{name}.X.tsv")));
    assert_eq!(read.obs_names, cells, "{name}");
    let ids: Vec<&String> = read.genes.iter().map(|gene| &gene.id).collect();
    assert_eq!(ids, genes.iter().collect::<Vec<_>>(), "{name}");
    for (row, texts) in values.iter().enumerate() {
        let (columns, found) = read.values.row(row);
        let mut dense = vec![0f32; genes.len()];
        columns.iter().zip(found).for_each(|(&column, &value)| dense[column as usize] = value);
        let expected: Vec<f32> = texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(dense, expected, "{name}, cell {row}");
    }
    compare_obs(&read, &folder.join(format!("{name}.obs.tsv")));
    let sizes = [BlockSize { cells: 7, values: usize::MAX }, BlockSize::default()];
    assert_streams_like_whole(&path, &options, &sizes);
}

fn compare_obs(read: &ExpressionMatrix, path: &Path) {
    if !path.is_file() {
        return;
    }
    let (columns, _, rows) = table(path);
    for (at, column) in columns.iter().enumerate() {
        for (row, texts) in rows.iter().enumerate() {
            let found = read.obs.column(column).unwrap().text(row).unwrap_or_default();
            let same = found == texts[at]
                || found.parse().is_ok_and(|number: f64| texts[at].parse() == Ok(number));
            assert!(same, "{}, {column}, row {row}: {found:?}, {:?}", path.display(), texts[at]);
        }
    }
}

/// Names of columns and rows, and fields, of a table that Python wrote.
fn table(path: &Path) -> (Vec<String>, Vec<String>, Vec<Vec<String>>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').map(String::from));
    let columns = lines.next().unwrap().skip(1).collect();
    let (mut names, mut rows) = (Vec::new(), Vec::new());
    for mut line in lines {
        names.push(line.next().unwrap());
        rows.push(line.collect());
    }
    (columns, names, rows)
}

/// What a refusal must name, of a file that is not read.
fn refusal(file: &str) -> Option<&'static str> {
    match file {
        "filter-zstd.h5ad" => Some("Zstandard"),
        "filter-blosc.h5ad" => Some("Blosc"),
        "filter-lz4.h5ad" => Some("LZ4"),
        "filter-bitshuffle.h5ad" => Some("bitshuffle"),
        "filter-bzip2.h5ad" => Some("bzip2"),
        "filter-szip.h5ad" => Some("SZIP"),
        _ if file.ends_with(".zarr") && !cfg!(feature = "zarr") => Some("feature `zarr`"),
        _ if file.starts_with("bz2-v") => Some("the codec bz2"),
        _ if file.starts_with("crc32c-v") => Some("the codec crc32c"),
        _ if file.ends_with(".parquet") && !cfg!(feature = "parquet") => Some("feature `parquet`"),
        "zstd.parquet" => Some("compressed with ZSTD"),
        "genes-by-cells.parquet" => Some("a row per gene"),
        _ => None,
    }
}
