//! Tables of one compound data set, a record per row, as AnnData wrote them before version 0.7.

use std::path::PathBuf;

use rust_hdf5::{ByteOrder, DatatypeMessage};

use crate::anndata_frame::{booleans, integers};
use crate::element::Element;
use crate::error::DataError;
use crate::h5_element::{fixed_string, type_name};
use crate::h5_source::H5Source;
use crate::obs::Column;

/// Such a table, in memory.
pub(crate) struct CompoundTable {
    path: PathBuf,
    object: String,
    records: Vec<u8>,
    width: usize,
    index: Member,
    columns: Vec<Member>,
}

/// A column of the table.
struct Member {
    name: String,
    offset: usize,
    datatype: DatatypeMessage,
}

impl CompoundTable {
    /// The table at `object`.
    pub(crate) fn open(source: &H5Source, object: &str) -> Result<Self, DataError> {
        let path = source.path().to_path_buf();
        let DatatypeMessage::Compound { size, members } = source.datatype(object)? else {
            return Err(DataError::UnknownEncoding {
                path,
                object: object.into(),
                encoding: "none".into(),
                expected: "a dataframe",
            });
        };
        let mut columns = members.into_iter().map(|member| Member {
            name: member.name,
            offset: member.offset as usize,
            datatype: member.datatype,
        });
        let Some(index) = columns.next().filter(|_| size > 0) else {
            return Err(DataError::MissingIndex { path, frame: object.into() });
        };
        let columns = columns.collect();
        let (records, width) = (source.bytes(object)?, size as usize);
        Ok(Self { path, object: object.into(), records, width, index, columns })
    }

    /// The name of the column with the names of the rows.
    pub(crate) fn index(&self) -> &str {
        &self.index.name
    }

    /// The names of the columns besides it.
    pub(crate) fn column_names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// A column, the index included; `None` if there is none of the name.
    pub(crate) fn column(&self, name: &str) -> Result<Option<Column>, DataError> {
        let mut members = core::iter::once(&self.index).chain(&self.columns);
        members.find(|member| member.name == name).map(|member| self.read(member)).transpose()
    }

    fn read(&self, member: &Member) -> Result<Column, DataError> {
        let fields =
            || self.records.chunks_exact(self.width).map(|record| record.get(member.offset..));
        let object = || format!("{}/{}", self.object, member.name);
        let short = || DataError::Hdf5 {
            path: self.path.clone(),
            object: object(),
            reason: "a field reaches past its record".into(),
        };
        match &member.datatype {
            DatatypeMessage::FixedString { size, padding, .. } => fields()
                .enumerate()
                .map(|(row, field)| {
                    let bytes =
                        field.and_then(|field| field.get(..*size as usize)).ok_or_else(short)?;
                    let text = str::from_utf8(fixed_string(bytes, *padding)).map_err(|_| {
                        DataError::NotUtf8 {
                            path: self.path.clone(),
                            place: format!("row {row} of {:?}", object()),
                        }
                    })?;
                    Ok(Some(text.to_string()))
                })
                .collect::<Result<_, _>>()
                .map(Column::Text),
            datatype => {
                let element = Element::of(datatype).filter(|_| is_little_endian(datatype));
                let element = element.ok_or_else(|| DataError::UnknownEncoding {
                    path: self.path.clone(),
                    object: object(),
                    encoding: type_name(datatype),
                    expected: "fixed-length strings or little-endian numbers, or in the present \
                               layout",
                })?;
                let numbers: Vec<f64> = fields()
                    .map(|field| field.and_then(|field| element.read(field)).ok_or_else(short))
                    .collect::<Result<_, _>>()?;
                Ok(match datatype {
                    DatatypeMessage::Enum { .. } => booleans(&numbers),
                    DatatypeMessage::FixedPoint { .. } => integers(numbers),
                    _ => Column::F64(numbers),
                })
            }
        }
    }
}

fn is_little_endian(datatype: &DatatypeMessage) -> bool {
    match datatype {
        DatatypeMessage::FixedPoint { byte_order, .. }
        | DatatypeMessage::FloatingPoint { byte_order, .. } => {
            *byte_order == ByteOrder::LittleEndian
        }
        DatatypeMessage::Enum { base, .. } => is_little_endian(base),
        _ => false,
    }
}
