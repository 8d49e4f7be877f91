//! The objects that AnnData files are made of: tables, columns, dictionaries, strings.
//!
//! Strings are stored as variable-length UTF-8, except single strings in `uns`: the HDF5 library
//! writes a scalar only with a fixed length, which AnnData reads as well.

use rust_hdf5::{DatatypeMessage, H5Dataset, H5Group, H5Type, HBool, Hdf5Error};

use crate::h5ad_writer::UnsValue;
use crate::obs::{Column, ObsTable};

/// A table with the names of its rows.
pub(crate) fn write_frame(
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
        Column::I64(values) => array(frame, name, values),
    }
}

/// A dictionary.
pub(crate) fn write_dict(
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

/// A group with its encoding.
pub(crate) fn group(
    parent: &H5Group,
    name: &str,
    kind: &str,
    version: &str,
) -> Result<H5Group, Hdf5Error> {
    let group = parent.create_group(name)?;
    group.set_attr_string("encoding-type", kind)?;
    group.set_attr_string("encoding-version", version)?;
    Ok(group)
}

/// A vector of numbers.
pub(crate) fn array<T: H5Type>(group: &H5Group, name: &str, values: &[T]) -> Result<(), Hdf5Error> {
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
    } else if values.len() <= STRINGS_AT_ONCE {
        group.write_vlen_strings(name, &values)?
    } else {
        // In pieces, because the library holds three more vectors as long as what it writes.
        let dataset = group.create_appendable_vlen_dataset(name, STRINGS_AT_ONCE, None)?;
        for piece in values.chunks(STRINGS_AT_ONCE) {
            group.append_vlen_strings(name, piece)?;
        }
        dataset
    };
    encode(&dataset, "string-array", "0.2.0")
}

/// Says how a data set is encoded.
pub(crate) fn encode(dataset: &H5Dataset, kind: &str, version: &str) -> Result<(), Hdf5Error> {
    for (name, value) in [("encoding-type", kind), ("encoding-version", version)] {
        dataset
            .new_attr::<rust_hdf5::VarLenUnicode>()
            .shape(())
            .create(name)?
            .write_string(value)?;
    }
    Ok(())
}

/// Most strings that are written as one contiguous data set.
const STRINGS_AT_ONCE: usize = 1 << 16;
/// The name of the column that holds the row names, as AnnData uses it.
pub(crate) const INDEX: &str = "_index";
