//! Writes small AnnData stores of either format, for the tests of what stands in them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Of Zarr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    V2,
    V3,
}

/// How chunks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    /// Frames of one block, of literals alone.
    BloscLz4,
}

/// An array, chunk by chunk.
pub struct Array {
    shape: Vec<usize>,
    chunk: Vec<usize>,
    /// As version 2 and as version 3 names it.
    dtype: (&'static str, Value),
    is_big_endian: bool,
    is_column_major: bool,
    separator: char,
    encoding: &'static str,
    fill: Value,
    /// Place and bytes of a chunk; those that are not here are filled.
    chunks: Vec<(Vec<usize>, Vec<u8>)>,
}

/// Writes four cells and three genes as CSR in `X` and `raw`, and in each other layout in `layers`.
pub fn write_store(path: &Path, format: Format, packing: Packing) {
    let dense = super::DENSE.concat();
    group(path, format, &[("encoding-type", "anndata")]);
    for raw in ["", "raw"] {
        if !raw.is_empty() {
            group(&path.join(raw), format, &[("encoding-type", "raw")]);
        }
        let var = path.join(raw).join("var");
        frame(&var, format, "_index");
        Array::texts(&["G1", "G2", "ENSG00000000003"], 2).write(
            &var.join("_index"),
            format,
            packing,
        );
        let x = path.join(raw).join("X");
        sparse(&x, "csr_matrix", &dense, [4, 3], format, packing);
    }
    group(&path.join("layers"), format, &[("encoding-type", "dict")]);
    let layers = path.join("layers");
    let transposed: Vec<f32> = (0..12).map(|at| dense[at % 4 * 3 + at / 4]).collect();
    sparse(&layers.join("csc"), "csc_matrix", &transposed, [3, 4], format, packing);
    let layer = |name: &str, array: Array| array.write(&layers.join(name), format, packing);
    layer("dense", Array::matrix_i32(&dense, 4, 3, [3, 2], false));
    layer("columns", Array::matrix_i32(&dense, 4, 3, [3, 2], true));
    layer("tall", Array::matrix_i32(&dense, 4, 3, [100, 50], false));
    let mut big = Array::matrix_i32(&dense, 4, 3, [2, 3], false);
    big.is_big_endian = true;
    big.dtype.0 = ">i4";
    big.separator = '/';
    big.chunks
        .iter_mut()
        .for_each(|(_, bytes)| bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse));
    layer("big", big);
    let obs = path.join("obs");
    frame(&obs, format, "_index");
    let column = |name: &str, array: Array| array.write(&obs.join(name), format, packing);
    column("_index", Array::texts(&["a", "b", "c", "dé"], 3));
    group(&obs.join("cell_type"), format, &[("encoding-type", "categorical")]);
    column("cell_type/categories", Array::texts(&["B", "T"], 2));
    column("cell_type/codes", Array::bytes("|i1", "int8", &[1, 0, 255, 1], 3));
    let points: Vec<u8> = ["x", "yz", "", "é"]
        .iter()
        .flat_map(|text| {
            let mut points: Vec<u32> = text.chars().map(u32::from).collect();
            points.resize(2, 0);
            points.into_iter().flat_map(u32::to_le_bytes)
        })
        .collect();
    let utf32 = json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 8}});
    column("fixed", Array::vector(("<U2", utf32), &points, 8, 4, "string-array"));
    let bytes = json!({"name": "null_terminated_bytes", "configuration": {"length_bytes": 2}});
    column("bytes", Array::vector(("|S2", bytes), b"x\0yz\0\0w\0", 2, 3, "string-array"));
    let depths: Vec<u8> = [3.0f64, 0.0, 3.0, 9.5].into_iter().flat_map(f64::to_le_bytes).collect();
    column("depth", Array::vector(("<f8", json!("float64")), &depths, 8, 4, "array"));
    column("even", Array::bytes("|b1", "bool", &[1, 0, 1, 0], 3));
    let mut zeros = Array::bytes("|u1", "uint8", &[9; 4], 3);
    zeros.chunks.clear();
    column("zeros", zeros);
    group(&obs.join("n"), format, &[("encoding-type", "nullable-integer")]);
    let values: Vec<u8> = [7i64, 0, -9, 1].into_iter().flat_map(i64::to_le_bytes).collect();
    column("n/values", Array::vector(("<i8", json!("int64")), &values, 8, 4, "array"));
    column("n/mask", Array::bytes("|b1", "bool", &[0, 1, 0, 0], 4));
}

/// The files of a store.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

impl Array {
    /// Row-major values as 32-bit integers.
    pub fn matrix_i32(
        values: &[f32],
        n_rows: usize,
        n_cols: usize,
        chunk: [usize; 2],
        is_column_major: bool,
    ) -> Self {
        let mut chunks = Vec::new();
        for (top, left) in (0..n_rows.div_ceil(chunk[0]))
            .flat_map(|top| (0..n_cols.div_ceil(chunk[1])).map(move |left| (top, left)))
        {
            let at = |row: usize, column: usize| {
                let (row, column) = (top * chunk[0] + row, left * chunk[1] + column);
                let is_inside = row < n_rows && column < n_cols;
                (if is_inside { values[row * n_cols + column] as i32 } else { -1 }).to_le_bytes()
            };
            let bytes: Vec<u8> = match is_column_major {
                false => (0..chunk[0])
                    .flat_map(|row| (0..chunk[1]).flat_map(move |column| at(row, column)))
                    .collect(),
                true => (0..chunk[1])
                    .flat_map(|column| (0..chunk[0]).flat_map(move |row| at(row, column)))
                    .collect(),
            };
            chunks.push((vec![top, left], bytes));
        }
        let (shape, chunk) = (vec![n_rows, n_cols], chunk.to_vec());
        let mut array = Self::vector(("<i4", json!("int32")), &[], 4, 1, "array");
        (array.shape, array.chunk) = (shape, chunk);
        array.is_column_major = is_column_major;
        array.chunks = chunks;
        array
    }

    /// Elements of a byte.
    fn bytes(old: &'static str, new: &str, values: &[u8], chunk: usize) -> Self {
        Self::vector((old, json!(new)), values, 1, chunk, "array")
    }

    fn vector(
        dtype: (&'static str, Value),
        values: &[u8],
        size: usize,
        chunk: usize,
        encoding: &'static str,
    ) -> Self {
        let chunks = values.chunks(chunk * size).enumerate().map(|(at, bytes)| {
            let mut bytes = bytes.to_vec();
            bytes.resize(chunk * size, 0);
            (vec![at], bytes)
        });
        Self {
            shape: vec![values.len() / size],
            chunk: vec![chunk],
            dtype,
            is_big_endian: false,
            is_column_major: false,
            separator: '.',
            encoding,
            fill: json!(0),
            chunks: chunks.collect(),
        }
    }

    fn texts(texts: &[&str], chunk: usize) -> Self {
        let mut array = Self::vector(("|O", json!("string")), &[], 1, chunk, "string-array");
        array.shape = vec![texts.len()];
        let pack = |(at, texts): (usize, &[&str])| {
            let mut bytes = (chunk as u32).to_le_bytes().to_vec();
            for at in 0..chunk {
                let text = texts.get(at).map_or("", |text| text);
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            (vec![at], bytes)
        };
        array.chunks = texts.chunks(chunk).enumerate().map(pack).collect();
        array.fill = json!("");
        array
    }

    /// Writes metadata and chunks.
    pub fn write(&self, path: &Path, format: Format, packing: Packing) {
        fs::create_dir_all(path).unwrap();
        let attributes = json!({"encoding-type": self.encoding, "encoding-version": "0.2.0"});
        let is_text = self.dtype.0 == "|O";
        let separator = self.separator.to_string();
        match format {
            Format::V2 => {
                let compressor = match packing {
                    Packing::Plain => Value::Null,
                    Packing::Gzip => json!({"id": "gzip", "level": 1}),
                    Packing::BloscLz4 => json!({"id": "blosc", "cname": "lz4", "shuffle": 1}),
                };
                let filters = if is_text { json!([{"id": "vlen-utf8"}]) } else { Value::Null };
                let order = if self.is_column_major { "F" } else { "C" };
                let array = json!({
                    "zarr_format": 2, "shape": self.shape, "chunks": self.chunk,
                    "dtype": self.dtype.0, "compressor": compressor, "filters": filters,
                    "order": order, "fill_value": self.fill, "dimension_separator": separator,
                });
                fs::write(path.join(".zarray"), array.to_string()).unwrap();
                fs::write(path.join(".zattrs"), attributes.to_string()).unwrap();
            }
            Format::V3 => {
                let endian = if self.is_big_endian { "big" } else { "little" };
                let mut codecs = Vec::new();
                if self.is_column_major {
                    let order = json!({"order": [1, 0]});
                    codecs.push(json!({"name": "transpose", "configuration": order}));
                }
                codecs.push(match is_text {
                    true => json!({"name": "vlen-utf8"}),
                    false => json!({"name": "bytes", "configuration": {"endian": endian}}),
                });
                match packing {
                    Packing::Plain => {}
                    Packing::Gzip => codecs.push(json!({"name": "gzip"})),
                    Packing::BloscLz4 => codecs.push(json!({"name": "blosc"})),
                }
                let keys = json!({"name": "default", "configuration": {"separator": "/"}});
                let grid = json!({"name": "regular", "configuration": {"chunk_shape": self.chunk}});
                let array = json!({
                    "zarr_format": 3, "node_type": "array", "shape": self.shape,
                    "data_type": self.dtype.1, "chunk_grid": grid, "chunk_key_encoding": keys,
                    "fill_value": self.fill, "codecs": codecs, "attributes": attributes,
                });
                fs::write(path.join("zarr.json"), array.to_string()).unwrap();
            }
        }
        for (place, bytes) in &self.chunks {
            let parts: Vec<String> = place.iter().map(usize::to_string).collect();
            let key = match format {
                Format::V2 => parts.join(&separator),
                Format::V3 => format!("c/{}", parts.join("/")),
            };
            let file = path.join(key);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, packed(bytes, packing)).unwrap();
        }
    }
}

fn group(path: &Path, format: Format, attributes: &[(&str, &str)]) {
    fs::create_dir_all(path).unwrap();
    let attributes: Value = attributes.iter().map(|(key, value)| (*key, *value)).collect();
    match format {
        Format::V2 => {
            fs::write(path.join(".zgroup"), json!({"zarr_format": 2}).to_string()).unwrap();
            fs::write(path.join(".zattrs"), attributes.to_string()).unwrap();
        }
        Format::V3 => {
            let json = json!({"zarr_format": 3, "node_type": "group", "attributes": attributes});
            fs::write(path.join("zarr.json"), json.to_string()).unwrap();
        }
    }
}

fn frame(path: &Path, format: Format, index: &str) {
    group(path, format, &[("encoding-type", "dataframe"), ("_index", index)]);
}

/// The values of a matrix, row after row.
fn sparse(
    path: &Path,
    encoding: &str,
    values: &[f32],
    shape: [usize; 2],
    format: Format,
    packing: Packing,
) {
    group(path, format, &[("encoding-type", encoding)]);
    let (mut indptr, mut indices, mut data) = (vec![0i64], Vec::new(), Vec::new());
    for row in values.chunks(shape[1]) {
        for (column, &value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            indices.extend((column as i32).to_le_bytes());
            data.extend(value.to_le_bytes());
        }
        indptr.push(indices.len() as i64 / 4);
    }
    let indptr: Vec<u8> = indptr.into_iter().flat_map(i64::to_le_bytes).collect();
    for (name, dtype, bytes, size) in [
        ("indptr", ("<i8", json!("int64")), indptr, 8),
        ("indices", ("<i4", json!("int32")), indices, 4),
        ("data", ("<f4", json!("float32")), data, 4),
    ] {
        Array::vector(dtype, &bytes, size, 3, "array").write(&path.join(name), format, packing);
    }
}

fn packed(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        Packing::BloscLz4 => {
            // One block that is not split and not shuffled, of an LZ4 block of literals.
            let mut block = Vec::new();
            match bytes.len() {
                len @ 0..15 => block.push((len as u8) << 4),
                len => {
                    block.push(0xf0);
                    let mut rest = len - 15;
                    while rest >= 255 {
                        block.push(255);
                        rest -= 255;
                    }
                    block.push(rest as u8);
                }
            }
            block.extend(bytes);
            let len = |len: usize| (len as u32).to_le_bytes();
            let mut frame = vec![2, 1, 0x30, 1];
            frame.extend([len(bytes.len()), len(bytes.len()), len(24 + block.len())].concat());
            frame.extend(len(20));
            frame.extend(len(block.len()));
            frame.extend(block);
            frame
        }
    }
}
