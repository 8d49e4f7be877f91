//! The tables `obs` and `var` of AnnData files, in the present encoding (a group of columns) and
//! in the one before version 0.7 (one compound data set, categories in `uns`).

use rust_hdf5::{ByteOrder, DatatypeMessage};

use crate::error::DataError;
use crate::h5_element::{Element, fixed_string};
use crate::h5_source::{H5Source, Node};
use crate::obs::Column;

/// One table of the file; columns are read when asked for.
pub(crate) struct Frame<'a> {
    source: &'a H5Source,
    path: String,
    layout: Layout,
}

enum Layout {
    /// A group with a data set or group per column.
    Group { index: String },
    /// One record per row.
    Compound { records: Vec<u8>, width: usize, members: Vec<Member> },
}

/// A column of a compound table.
struct Member {
    name: String,
    offset: usize,
    datatype: DatatypeMessage,
}

impl<'a> Frame<'a> {
    /// The table at `path`.
    pub(crate) fn open(source: &'a H5Source, path: &str) -> Result<Self, DataError> {
        let missing = || DataError::MissingIndex {
            path: source.path().to_path_buf(),
            frame: path.to_string(),
        };
        let layout = match source.node(path)? {
            None => {
                return Err(DataError::MissingPart {
                    path: source.path().to_path_buf(),
                    part: format!("table {path:?}"),
                    advice: "every AnnData matrix has one".into(),
                });
            }
            Some(Node::Group) => {
                let encoding = source.attribute(path, "encoding-type")?;
                if encoding.as_deref().is_some_and(|encoding| encoding != "dataframe") {
                    return Err(unknown(source, path, encoding, "a dataframe"));
                }
                let index = source.attribute(path, "_index")?.ok_or_else(missing)?;
                if source.node(&format!("{path}/{index}"))?.is_none() {
                    return Err(missing());
                }
                Layout::Group { index }
            }
            Some(Node::Dataset) => {
                let DatatypeMessage::Compound { size, members } = source.datatype(path)? else {
                    return Err(unknown(source, path, None, "a dataframe"));
                };
                let members: Vec<Member> = members
                    .into_iter()
                    .map(|member| Member {
                        name: member.name,
                        offset: member.offset as usize,
                        datatype: member.datatype,
                    })
                    .collect();
                if members.is_empty() || size == 0 {
                    return Err(missing());
                }
                Layout::Compound { records: source.bytes(path)?, width: size as usize, members }
            }
        };
        Ok(Self { source, path: path.into(), layout })
    }

    /// Whether the table is in the layout before version 0.7.
    pub(crate) fn is_legacy(&self) -> bool {
        matches!(self.layout, Layout::Compound { .. })
    }

    /// The names of the rows.
    pub(crate) fn index(&self) -> Result<Vec<String>, DataError> {
        let column = match &self.layout {
            Layout::Group { index } => read_column(self.source, &self.join(index))?,
            Layout::Compound { members, .. } => self.column(&members[0].name)?,
        };
        let names: Option<Vec<String>> = match column {
            // Moved, not copied: there may be millions.
            Column::Text(names) => names.into_iter().collect(),
            column => (0..column.len())
                .map(|row| column.text(row).map(|text| text.into_owned()))
                .collect(),
        };
        names.ok_or_else(|| DataError::MissingIndex {
            path: self.source.path().to_path_buf(),
            frame: self.path.clone(),
        })
    }

    /// The names of the columns besides the index.
    pub(crate) fn column_names(&self) -> Result<Vec<String>, DataError> {
        Ok(match &self.layout {
            Layout::Group { index } => {
                let mut names = self.source.members(&self.path)?;
                names.retain(|name| name != index && name != OLD_CATEGORIES);
                names
            }
            Layout::Compound { members, .. } => {
                members[1..].iter().map(|member| member.name.clone()).collect()
            }
        })
    }

    /// One column.
    pub(crate) fn column(&self, name: &str) -> Result<Column, DataError> {
        let (column, categories) = match &self.layout {
            Layout::Group { .. } => (
                read_column(self.source, &self.join(name))?,
                self.join(&format!("{OLD_CATEGORIES}/{name}")),
            ),
            Layout::Compound { records, width, members } => {
                let Some(member) = members.iter().find(|member| member.name == name) else {
                    return Err(unknown(self.source, &self.join(name), None, "a column"));
                };
                (self.compound_column(records, *width, member)?, format!("uns/{name}_categories"))
            }
        };
        let codes: Vec<f64> = match &column {
            Column::I32(codes) => codes.iter().map(|&code| f64::from(code)).collect(),
            Column::F64(codes) => codes.clone(),
            _ => return Ok(column),
        };
        match self.source.node(&categories)? {
            Some(_) => categorical(self.source, &self.join(name), &codes, &categories),
            None => Ok(column),
        }
    }

    fn compound_column(
        &self,
        records: &[u8],
        width: usize,
        member: &Member,
    ) -> Result<Column, DataError> {
        let fields = || records.chunks_exact(width).map(|record| record.get(member.offset..));
        let short = || DataError::Hdf5 {
            path: self.source.path().to_path_buf(),
            object: self.join(&member.name),
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
                            path: self.source.path().to_path_buf(),
                            place: format!("row {row} of {:?}", self.join(&member.name)),
                        }
                    })?;
                    Ok(Some(text.to_string()))
                })
                .collect::<Result<_, _>>()
                .map(Column::Text),
            datatype => {
                let element = Element::of(datatype).filter(|_| is_little_endian(datatype));
                let element = element.ok_or_else(|| {
                    self.source.unknown_type(
                        &self.join(&member.name),
                        datatype,
                        "fixed-length strings or little-endian numbers, or in the present layout",
                    )
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

    fn join(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// A column in the present encoding.
fn read_column(source: &H5Source, object: &str) -> Result<Column, DataError> {
    let encoding = source.attribute(object, "encoding-type")?;
    if source.has_dataset(object)? {
        if !matches!(encoding.as_deref(), None | Some("array" | "string-array" | "string")) {
            return Err(unknown(source, object, encoding, "an array or string-array"));
        }
        return Ok(match source.datatype(object)? {
            DatatypeMessage::VarLenString { .. } | DatatypeMessage::FixedString { .. } => {
                Column::Text(source.strings(object)?.into_iter().map(Some).collect())
            }
            DatatypeMessage::Enum { .. } => booleans(&source.numbers(object)?),
            DatatypeMessage::FixedPoint { .. } => integers(source.numbers(object)?),
            _ => Column::F64(source.numbers(object)?),
        });
    }
    match encoding.as_deref() {
        Some("categorical") => {
            let codes = source.numbers(&format!("{object}/codes"))?;
            categorical(source, object, &codes, &format!("{object}/categories"))
        }
        Some("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
            let mut values = read_column(source, &format!("{object}/values"))?;
            let mask = source.numbers(&format!("{object}/mask"))?;
            let missing = |row: usize| mask.get(row).is_some_and(|&masked| masked != 0.0);
            if let (Column::I32(integers), true) = (&values, (0..values.len()).any(missing)) {
                values = Column::F64(integers.iter().map(|&value| f64::from(value)).collect());
            }
            match &mut values {
                Column::I32(_) => {}
                Column::F64(values) => set_where(values, missing, f64::NAN),
                Column::Bool(values) => set_where(values, missing, None),
                Column::Text(values) => set_where(values, missing, None),
                _ => return Err(unknown(source, object, encoding, "values and mask")),
            }
            Ok(values)
        }
        _ => Err(unknown(
            source,
            object,
            encoding,
            "an array, string-array, categorical or nullable array",
        )),
    }
}

fn categorical(
    source: &H5Source,
    object: &str,
    codes: &[f64],
    categories: &str,
) -> Result<Column, DataError> {
    let texts = read_column(source, categories)?;
    let categories: Vec<String> = (0..texts.len())
        .map(|row| texts.text(row).map_or_else(String::new, |text| text.into_owned()))
        .collect();
    let codes = codes
        .iter()
        .enumerate()
        .map(|(row, &code)| {
            if code >= -1.0 && code < categories.len() as f64 && code.fract() == 0.0 {
                // In range by the comparison; categories beyond i32 cannot be in memory as texts.
                return Ok(code as i32);
            }
            Err(DataError::Hdf5 {
                path: source.path().to_path_buf(),
                object: object.into(),
                reason: format!(
                    "row {row} has category {code}, but there are {} categories",
                    categories.len()
                ),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Column::Categorical { codes, categories })
}

/// A column of integers; larger ones than a column can hold become floating-point numbers.
fn integers(numbers: Vec<f64>) -> Column {
    // In range by the comparison.
    let integer = |&number: &f64| (number as i32 as f64 == number).then_some(number as i32);
    match numbers.iter().map(integer).collect() {
        Some(integers) => Column::I32(integers),
        None => Column::F64(numbers),
    }
}

fn booleans(numbers: &[f64]) -> Column {
    Column::Bool(numbers.iter().map(|&number| Some(number != 0.0)).collect())
}

fn set_where<T: Clone>(values: &mut [T], condition: impl Fn(usize) -> bool, missing: T) {
    for (row, value) in values.iter_mut().enumerate() {
        if condition(row) {
            *value = missing.clone();
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

fn unknown(
    source: &H5Source,
    object: &str,
    encoding: Option<String>,
    expected: &'static str,
) -> DataError {
    DataError::UnknownEncoding {
        path: source.path().to_path_buf(),
        object: object.into(),
        encoding: encoding.unwrap_or_else(|| "none".into()),
        expected,
    }
}

/// Where AnnData 0.7 kept the categories of a group's columns.
const OLD_CATEGORIES: &str = "__categories";
