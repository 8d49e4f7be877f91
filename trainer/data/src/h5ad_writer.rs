//! Writing AnnData files (encoding `anndata` 0.1.0).
//!
//! Strings are stored as variable-length UTF-8, except single strings in `uns`: the HDF5 library
//! writes a scalar only with a fixed length, which AnnData reads as well.

use std::path::Path;

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, H5Group, H5Type, HBool, Hdf5Error};

use crate::error::DataError;
use crate::matrix::CsrMatrix;
use crate::obs::{Column, ObsTable};
use crate::text_out::PendingFile;

/// What to write. Every part but the names of the cells and genes may be empty.
#[derive(Clone, Debug, Default)]
pub struct AnnDataOut<'a> {
    /// Names of the cells, `obs.index`.
    pub obs_names: &'a [String],
    /// Columns of `obs`, as long as `obs_names`. Texts with missing values are written as
    /// categorical, booleans with missing values as text.
    pub obs: ObsTable,
    /// Names of the genes, `var.index`.
    pub var_names: &'a [String],
    /// Columns of `var`, as long as `var_names`.
    pub var: ObsTable,
    /// `X`, `obs_names.len()` × `var_names.len()`, written as CSR in single precision; left out
    /// when `None`.
    pub x: Option<&'a CsrMatrix>,
    /// `obsm`: name and row-major values `[n_obs × k]`, any `k` ≥ 1 per array.
    pub obsm: Vec<(String, Vec<f32>)>,
    /// `uns`: named values, nested.
    pub uns: Vec<(String, UnsValue)>,
}

/// A value of `uns`.
#[derive(Clone, Debug, PartialEq)]
pub enum UnsValue {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// An integer.
    Integer(i64),
    /// Texts in order.
    Texts(Vec<String>),
    /// Named values.
    Dict(Vec<(String, UnsValue)>),
}

/// Writes a new AnnData file, replacing an older one of that name only when it is complete.
///
/// # Errors
/// [`DataError::NotWritable`] if lengths do not fit each other or a name is empty, contains `/` or
/// stands twice; otherwise what the system or the HDF5 library reports.
pub fn write_h5ad(path: &Path, out: &AnnDataOut<'_>) -> Result<(), DataError> {
    check(path, out)?;
    let pending = PendingFile::create(path)?;
    write_file(pending.path(), out).map_err(|error| DataError::NotWritable {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    pending.commit()
}

fn check(path: &Path, out: &AnnDataOut<'_>) -> Result<(), DataError> {
    let refuse = |reason: String| Err(DataError::NotWritable { path: path.to_path_buf(), reason });
    for (frame, table, len) in
        [("obs", &out.obs, out.obs_names.len()), ("var", &out.var, out.var_names.len())]
    {
        if let Some((name, column)) = table.columns().find(|(_, column)| column.len() != len) {
            let found = column.len();
            return refuse(format!("{frame}[{name:?}] has {found} rows, expected {len}"));
        }
        check_names(table.names().chain([INDEX]))
            .or_else(|name| refuse(format!("{frame} cannot have a column of the name {name:?}")))?;
    }
    if let Some(x) = out.x {
        let (found, expected) =
            ((x.n_rows(), x.n_cols), (out.obs_names.len(), out.var_names.len()));
        if found != expected {
            return refuse(format!("X is {found:?}, expected {expected:?}"));
        }
    }
    let n_obs = out.obs_names.len();
    for (name, values) in &out.obsm {
        if n_obs == 0 || values.is_empty() || values.len() % n_obs != 0 {
            let found = values.len();
            return refuse(format!("obsm[{name:?}] has {found} values for {n_obs} cells"));
        }
    }
    check_names(out.obsm.iter().map(|(name, _)| name.as_str()))
        .or_else(|name| refuse(format!("obsm cannot have the name {name:?}")))?;
    check_dict(&out.uns).or_else(|name| refuse(format!("uns cannot have the name {name:?}")))
}

/// The name that cannot be a member of a group, if there is one.
fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let legal = !name.is_empty() && name != "." && !name.contains(['/', '\0']);
        if !legal || !seen.insert(name) {
            return Err(name.into());
        }
    }
    Ok(())
}

fn check_dict(entries: &[(String, UnsValue)]) -> Result<(), String> {
    check_names(entries.iter().map(|(name, _)| name.as_str()))?;
    entries.iter().try_for_each(|(_, value)| match value {
        UnsValue::Dict(entries) => check_dict(entries),
        _ => Ok(()),
    })
}

fn write_file(path: &Path, out: &AnnDataOut<'_>) -> Result<(), Hdf5Error> {
    let file = H5File::options().no_locking().create(path)?;
    let root = file.root_group();
    file.set_attr_string("encoding-type", "anndata")?;
    file.set_attr_string("encoding-version", "0.1.0")?;
    if let Some(x) = out.x {
        write_csr(&group(&root, "X", "csr_matrix", "0.1.0")?, x)?;
    }
    write_frame(&root, "obs", out.obs_names, &out.obs)?;
    write_frame(&root, "var", out.var_names, &out.var)?;
    let obsm = group(&root, "obsm", "dict", "0.1.0")?;
    for (name, values) in &out.obsm {
        let n_obs = out.obs_names.len();
        let shape = [n_obs, values.len() / n_obs];
        let dataset = obsm.new_dataset::<f32>().shape(shape).create(name)?;
        dataset.write_raw(values)?;
        encode(&dataset, "array", "0.2.0")?;
    }
    for name in ["layers", "obsp", "varm", "varp"] {
        group(&root, name, "dict", "0.1.0")?;
    }
    write_dict(&root, "uns", &out.uns)?;
    file.close()
}

fn write_csr(group: &H5Group, matrix: &CsrMatrix) -> Result<(), Hdf5Error> {
    // 64-bit pointers, as scipy needs them beyond 2^31 values; indices fit 32 bits or the reader
    // would have refused the matrix, but are signed in scipy.
    let shape = [matrix.n_rows() as i64, matrix.n_cols as i64];
    group.set_attr_array_numeric("shape", &shape)?;
    let indptr: Vec<i64> = matrix.indptr.iter().map(|&start| start as i64).collect();
    let indices: Vec<i64> = matrix.indices.iter().map(|&column| i64::from(column)).collect();
    array(group, "data", &matrix.data)?;
    array(group, "indices", &indices)?;
    array(group, "indptr", &indptr)?;
    Ok(())
}

fn write_frame(
    root: &H5Group,
    name: &str,
    index: &[String],
    columns: &ObsTable,
) -> Result<(), Hdf5Error> {
    let frame = group(root, name, "dataframe", "0.2.0")?;
    frame.set_attr_string("_index", INDEX)?;
    let order: Vec<&str> = columns.names().collect();
    if order.is_empty() {
        // An empty list of strings has no type; AnnData itself writes an empty list of floats.
        frame.set_attr_array_numeric::<f64>("column-order", &[])?;
    } else {
        frame.set_attr_string_array("column-order", &order)?;
    }
    strings(&frame, INDEX, index.iter().map(String::as_str))?;
    for (name, column) in columns.columns() {
        write_column(&frame, name, column)?;
    }
    Ok(())
}

fn write_column(frame: &H5Group, name: &str, column: &Column) -> Result<(), Hdf5Error> {
    match column {
        Column::Text(values) if values.iter().all(Option::is_some) => {
            strings(frame, name, values.iter().flatten().map(String::as_str))
        }
        Column::Text(values) => {
            write_column(frame, name, &Column::categorical(values.iter().map(Option::as_deref)))
        }
        Column::Bool(values) => {
            let known: Option<Vec<HBool>> =
                values.iter().map(|value| value.map(|value| HBool(u8::from(value)))).collect();
            match known {
                Some(values) => array(frame, name, &values),
                None => {
                    let texts = (0..values.len()).map(|row| column.text(row).map(String::from));
                    write_column(frame, name, &Column::Text(texts.collect()))
                }
            }
        }
        Column::Categorical { codes, categories } => {
            let group = group(frame, name, "categorical", "0.2.0")?;
            group.set_attr_typed("ordered", DatatypeMessage::bool_type(), vec![0])?;
            strings(&group, "categories", categories.iter().map(String::as_str))?;
            array(&group, "codes", codes)
        }
        Column::F64(values) => array(frame, name, values),
        Column::F32(values) => array(frame, name, values),
        Column::I32(values) => array(frame, name, values),
    }
}

fn write_dict(
    parent: &H5Group,
    name: &str,
    entries: &[(String, UnsValue)],
) -> Result<(), Hdf5Error> {
    let dict = group(parent, name, "dict", "0.1.0")?;
    for (name, value) in entries {
        match value {
            UnsValue::Dict(entries) => write_dict(&dict, name, entries)?,
            UnsValue::Texts(texts) => strings(&dict, name, texts.iter().map(String::as_str))?,
            UnsValue::Number(number) => scalar(&dict, name, *number)?,
            UnsValue::Integer(number) => scalar(&dict, name, *number)?,
            UnsValue::Text(text) => {
                // A fixed-length string has at least one byte; padding with NUL keeps it empty.
                let mut bytes = text.clone().into_bytes();
                bytes.resize(bytes.len().max(1), 0);
                let size = u32::try_from(bytes.len())
                    .map_err(|_| Hdf5Error::InvalidState(format!("uns[{name:?}] is too long")))?;
                let kind = DatatypeMessage::FixedString { size, padding: 1, charset: 1 };
                let dataset = dict.new_dataset::<u8>().datatype(kind).scalar().create(name)?;
                dataset.write_raw_bytes(&bytes)?;
                encode(&dataset, "string", "0.2.0")?;
            }
        }
    }
    Ok(())
}

fn group(parent: &H5Group, name: &str, kind: &str, version: &str) -> Result<H5Group, Hdf5Error> {
    let group = parent.create_group(name)?;
    group.set_attr_string("encoding-type", kind)?;
    group.set_attr_string("encoding-version", version)?;
    Ok(group)
}

fn array<T: H5Type>(group: &H5Group, name: &str, values: &[T]) -> Result<(), Hdf5Error> {
    let dataset = group.new_dataset::<T>().shape([values.len()]).create(name)?;
    // The library refuses to write nothing.
    if !values.is_empty() {
        dataset.write_raw(values)?;
    }
    encode(&dataset, "array", "0.2.0")
}

fn scalar<T: H5Type>(group: &H5Group, name: &str, value: T) -> Result<(), Hdf5Error> {
    let dataset = group.new_dataset::<T>().scalar().create(name)?;
    dataset.write_raw(&[value])?;
    encode(&dataset, "numeric-scalar", "0.2.0")
}

fn strings<'a>(
    group: &H5Group,
    name: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<(), Hdf5Error> {
    let values: Vec<&str> = values.collect();
    let dataset = if values.is_empty() {
        // The library's own way of writing strings makes an empty list that HDF5 cannot open.
        let kind = DatatypeMessage::VarLenString { padding: 0, charset: 1 };
        group.new_dataset::<u8>().datatype(kind).shape([0]).create(name)?
    } else {
        group.write_vlen_strings(name, &values)?
    };
    encode(&dataset, "string-array", "0.2.0")
}

fn encode(dataset: &H5Dataset, kind: &str, version: &str) -> Result<(), Hdf5Error> {
    for (name, value) in [("encoding-type", kind), ("encoding-version", version)] {
        dataset
            .new_attr::<rust_hdf5::VarLenUnicode>()
            .shape(())
            .create(name)?
            .write_string(value)?;
    }
    Ok(())
}

/// The name of the column that holds the row names, as AnnData uses it.
const INDEX: &str = "_index";
