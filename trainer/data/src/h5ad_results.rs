//! What results stand in an AnnData file beside its cells: named values of `uns`, arrays of `obsm`.
//! Files are read as this project wrote them, and as anndata writes them again.

use std::path::Path;

use rust_hdf5::DatatypeMessage;

use crate::anndata_store::Node;
use crate::element::Element;
use crate::error::DataError;
use crate::h5_element::fixed_string;
use crate::h5_source::{H5Source, guarded};
use crate::h5ad_writer::UnsValue;

/// The value `uns[name]`; `None` where the file has none. Members of dictionaries that are neither
/// text, number, list of texts nor dictionary are left out.
///
/// # Errors
/// What is wrong with the file or the value.
pub fn read_uns(path: &Path, name: &str) -> Result<Option<UnsValue>, DataError> {
    guarded(path, || {
        let source = H5Source::open(path)?;
        let object = format!("uns/{name}");
        match source.node("uns")? {
            Some(Node::Group) if source.node(&object)?.is_some() => {
                value(&source, &object, DEEPEST)
            }
            _ => Ok(None),
        }
    })
}

/// The array `obsm[name]` and the number of its columns, row-major in single precision; `None`
/// where the file has none.
///
/// # Errors
/// What is wrong with the file; an array that has not two dimensions.
pub fn read_obsm(path: &Path, name: &str) -> Result<Option<(usize, Vec<f32>)>, DataError> {
    guarded(path, || array(path, &format!("obsm/{name}")))
}

fn array(path: &Path, object: &str) -> Result<Option<(usize, Vec<f32>)>, DataError> {
    let source = H5Source::open(path)?;
    if source.node("obsm")? != Some(Node::Group) || source.node(object)?.is_none() {
        return Ok(None);
    }
    let dataset = source.dataset(object)?;
    let [_, width] = dataset.shape()[..] else {
        return Err(source.wrong_rank(object, 2, dataset.ndims()));
    };
    let bytes = source.bytes(object)?;
    let element = dataset.datatype().ok().as_ref().and_then(Element::of);
    let element = element.ok_or_else(|| unknown(&source, object, "an array of numbers"))?;
    let numbers = bytes.chunks_exact(dataset.element_size().max(1));
    let values = numbers.map(|bytes| element.read(bytes).unwrap_or(f64::NAN) as f32);
    Ok(Some((width, values.collect())))
}

fn value(source: &H5Source, object: &str, depth: usize) -> Result<Option<UnsValue>, DataError> {
    if source.has_group(object)? {
        if depth == 0 {
            return Err(unknown(source, object, "a dictionary of fewer levels"));
        }
        let mut entries = Vec::new();
        for name in source.members(object)? {
            if let Some(value) = value(source, &format!("{object}/{name}"), depth - 1)? {
                entries.push((name, value));
            }
        }
        return Ok(Some(UnsValue::Dict(entries)));
    }
    let dataset = source.dataset(object)?;
    if dataset.ndims() == 1 {
        let texts = source.strings(object).ok();
        return Ok(texts.map(UnsValue::Texts));
    }
    if dataset.ndims() != 0 {
        return Ok(None);
    }
    source.check_storage(object, &dataset)?;
    let datatype = source.datatype(object)?;
    let text = |bytes: &[u8]| {
        let text = str::from_utf8(bytes).map_err(|_| DataError::NotUtf8 {
            path: source.path().to_path_buf(),
            place: format!("{object:?}"),
        });
        text.map(|text| Some(UnsValue::Text(text.to_string())))
    };
    match &datatype {
        DatatypeMessage::VarLenString { .. } => {
            let items = dataset.read_vlen_bytes();
            let items = items.map_err(crate::h5_source::fault(source.path(), object))?;
            text(items.first().map_or(&[][..], |item| item))
        }
        DatatypeMessage::FixedString { padding, .. } => {
            text(fixed_string(&source.bytes(object)?, *padding))
        }
        _ => {
            let bytes = source.bytes(object)?;
            let number = Element::of(&datatype).and_then(|element| element.read(&bytes));
            Ok(number.map(|number| match datatype {
                // Below 2⁵³ in files of ours.
                DatatypeMessage::FixedPoint { .. } => UnsValue::Integer(number as i64),
                _ => UnsValue::Number(number),
            }))
        }
    }
}

fn unknown(source: &H5Source, object: &str, expected: &'static str) -> DataError {
    DataError::UnknownEncoding {
        path: source.path().to_path_buf(),
        object: object.into(),
        encoding: "none".into(),
        expected,
    }
}

/// Dictionaries within dictionaries; links of a hostile file may run in a circle.
const DEEPEST: usize = 8;
