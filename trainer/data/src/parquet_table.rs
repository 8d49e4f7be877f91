//! Parquet tables with a row per cell and a column per gene, as pandas, polars and Arrow write them.
//!
//! Columns of numbers are genes. The names of the cells are the index that pandas says the table has, or else the
//! first column of texts; other columns of texts and booleans are `obs`. A group of rows is read at once, column after
//! column, and only what is not zero is held: memory goes with the size of the groups that the writer chose, and with their number:
//! the library holds 500 bytes for every column of every group.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::Length;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks, WholeBlocks};
use crate::cell_columns::{self, is_about_cells};
use crate::delimited::detect_orientation;
use crate::error::DataError;
use crate::expression::{
    ExpressionHead, Gene, Orientation, Source, check_addressable, check_len, check_unique,
};
use crate::expression_reader::Opened;
use crate::h5_source::MAX_EXACT_COUNT;
use crate::library_panics::caught;
use crate::matrix::{CsrMatrix, MatrixFault};
use crate::obs::{Column, ObsTable};
use crate::parquet_pages::{CheckedFile, CheckedPages, check_footer};

/// Opens the table; names and `obs` are read, values are not.
pub(crate) fn open(
    path: &Path,
    orientation: Option<Orientation>,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let metadata = guarded(path, "/", || {
        check_footer(&file)?;
        ParquetMetaDataReader::new().parse_and_finish(&file)
    })?;
    let table = Table { path: path.to_path_buf(), file: Arc::new(CheckedFile(file)), metadata };
    table.check_compression()?;
    table.check_rows()?;
    let columns = table.columns();
    let index = table.index(&columns)?;
    let named = || columns.iter().enumerate().filter(|(at, _)| *at != index);
    let is_gene = |column: &About| column.kind == Kind::Number && !is_about_cells(&column.name);
    let genes: Vec<usize> =
        named().filter(|(_, column)| is_gene(column)).map(|(at, _)| at).collect();
    if genes.is_empty()
        && let Some((_, other)) = named().find(|(_, column)| column.kind == Kind::Other)
    {
        return Err(DataError::UnsupportedFormat {
            path: path.to_path_buf(),
            format: format!(
                "a table without a column of numbers that are read: that of {:?} is {}",
                other.name, other.type_name
            ),
            advice: "write its values as integers, float or double",
        });
    }
    check_addressable(path, "genes", genes.len())?;
    let obs_names = table.names(index)?;
    check_addressable(path, "cells", obs_names.len())?;
    let mut notes = vec![format!("names of cells are in {:?}", columns[index].name)];
    let mut obs = ObsTable::default();
    let about: Vec<String> = named()
        .filter(|(_, column)| column.kind == Kind::Number && is_about_cells(&column.name))
        .map(|(_, column)| column.name.clone())
        .collect();
    notes.extend(cell_columns::note(&about));
    for (at, column) in named().filter(|(_, column)| !is_gene(column)) {
        if column.kind == Kind::Number {
            let numbers = table.numbers(at)?;
            check_len(path, &format!("{:?}", column.name), obs_names.len(), numbers.len())?;
            obs.insert(column.name.clone(), Column::F64(numbers));
            continue;
        }
        if column.kind == Kind::Other {
            let reason = format!("its type is {}", column.type_name);
            notes.push(format!("column {:?} was not read: {reason}", column.name));
            obs.insert_unreadable(column.name.clone(), reason);
            continue;
        }
        let texts = table.texts(at)?;
        check_len(path, &format!("{:?}", column.name), obs_names.len(), texts.len())?;
        obs.insert(column.name.clone(), Column::categorical(texts.iter().map(Option::as_deref)));
    }
    let ids: Vec<String> = genes.iter().map(|&at| columns[at].name.clone()).collect();
    check_orientation(path, orientation, &obs_names, &ids)?;
    let source = Source {
        path: path.to_path_buf(),
        format: "Parquet table".into(),
        matrix: "table".into(),
        notes,
        ..Source::default()
    };
    let head = ExpressionHead {
        obs_names,
        genes: ids.into_iter().map(|id| Gene::new(id, None, None)).collect(),
        obs,
        source,
    };
    let blocks =
        ParquetBlocks { table, genes, next_group: 0, first_row: 0, n_read: 0, group: None, size };
    Ok(Opened { head, feature_types: Vec::new(), blocks: Box::new(blocks) })
}

/// Groups of rows, handed out in blocks.
struct ParquetBlocks {
    table: Table,
    /// Columns that are genes.
    genes: Vec<usize>,
    next_group: usize,
    /// Row of the file where `group` begins, and where the next one does.
    first_row: usize,
    n_read: usize,
    group: Option<WholeBlocks>,
    size: BlockSize,
}

impl CellBlocks for ParquetBlocks {
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault> {
        loop {
            let block = self.group.as_mut().map(|group| group.next_block()).transpose()?.flatten();
            if block.is_some() {
                return Ok(block);
            }
            if self.next_group == self.table.metadata.num_row_groups() {
                return Ok(None);
            }
            self.first_row = self.n_read;
            let group = self.table.group(self.next_group, &self.genes);
            let group = group.map_err(|fault| match fault {
                BlockFault::Matrix(fault) => BlockFault::Matrix(fault.below(self.first_row)),
                file => file,
            })?;
            self.next_group += 1;
            self.n_read += group.n_rows();
            self.group = Some(WholeBlocks::new(group, self.size));
        }
    }

    fn expected_values(&self) -> usize {
        0
    }
}

/// An open file.
struct Table {
    path: PathBuf,
    file: Arc<CheckedFile>,
    metadata: ParquetMetaData,
}

/// What a column is.
struct About {
    name: String,
    kind: Kind,
    type_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Boolean,
    /// Times, decimals, nested columns.
    Other,
}

impl Table {
    fn check_compression(&self) -> Result<(), DataError> {
        let groups = self.metadata.row_groups().iter().flat_map(|group| group.columns());
        for compression in groups.map(|column| column.compression()) {
            let is_read = matches!(
                compression,
                Compression::UNCOMPRESSED
                    | Compression::SNAPPY
                    | Compression::GZIP(_)
                    | Compression::LZ4_RAW
            );
            if !is_read {
                return Err(DataError::UnsupportedFormat {
                    path: self.path.clone(),
                    format: format!("a Parquet file compressed with {compression}"),
                    advice: "write it with snappy (the default of pandas), gzip or lz4",
                });
            }
        }
        Ok(())
    }

    /// Refuses more rows than names of cells find room for: a run of one value is a few bytes, however long it claims to be.
    fn check_rows(&self) -> Result<(), DataError> {
        let claimed = self.metadata.row_groups().iter().map(RowGroupMetaData::num_rows);
        let n_rows = claimed.fold(0, i64::saturating_add);
        let most = self.file.len().saturating_mul(MOST_ROWS_A_BYTE).saturating_add(FEW_ROWS);
        if u64::try_from(n_rows).is_ok_and(|n_rows| n_rows <= most) {
            return Ok(());
        }
        Err(DataError::Parquet {
            path: self.path.clone(),
            column: "/".into(),
            reason: format!("its {} bytes claim {n_rows} rows", self.file.len()),
        })
    }

    fn columns(&self) -> Vec<About> {
        let schema = self.metadata.file_metadata().schema_descr();
        let about = |column: &ColumnDescriptor| About {
            name: column.path().parts().join("."),
            kind: kind(column),
            type_name: type_name(column),
        };
        schema.columns().iter().map(|column| about(column)).collect()
    }

    /// The column with the names of the cells.
    fn index(&self, columns: &[About]) -> Result<usize, DataError> {
        let named = match self.pandas_index()? {
            Some(name) => columns.iter().position(|column| column.name == name),
            None => columns.iter().position(|column| column.kind == Kind::Text),
        };
        named.filter(|&at| matches!(columns[at].kind, Kind::Text | Kind::Number)).ok_or_else(|| {
            DataError::MissingPart {
                path: self.path.clone(),
                part: "column with the names of the cells".into(),
                advice: "make them the index before writing (pandas: DataFrame.set_index)".into(),
            }
        })
    }

    /// The index that pandas wrote, if it is a column.
    fn pandas_index(&self) -> Result<Option<String>, DataError> {
        let pairs = self.metadata.file_metadata().key_value_metadata();
        let about = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == "pandas"));
        let Some(about) = about.and_then(|pair| pair.value.as_deref()) else { return Ok(None) };
        let about: serde_json::Value = serde_json::from_str(about).unwrap_or_default();
        let columns = about["index_columns"].as_array().map_or(&[][..], Vec::as_slice);
        match columns {
            // A range is no column, and names nothing.
            [index] => Ok(index.as_str().map(String::from)),
            [] => Ok(None),
            more => Err(DataError::UnsupportedFormat {
                path: self.path.clone(),
                format: format!("a table with an index of {} columns", more.len()),
                advice: "give the cells one name each (DataFrame.set_index)",
            }),
        }
    }

    /// The names of the cells; where few of them begin to repeat, the first that does is told at once: a file can claim many of them
    /// in a few bytes.
    fn names(&self, at: usize) -> Result<Vec<String>, DataError> {
        let mut names = Vec::new();
        self.each_of_all(at, |row| {
            let name = self.text(at, row)?.ok_or_else(|| DataError::MissingIndex {
                path: self.path.clone(),
                frame: self.metadata.file_metadata().schema_descr().column(at).path().string(),
            })?;
            names.push(name);
            let n = names.len();
            if n.is_power_of_two() && n >= LOOKED_AT {
                check_unique(&self.path, &names)
            } else {
                Ok(())
            }
        })?;
        Ok(names)
    }

    /// The fields of a column as numbers; what is missing is NaN.
    fn numbers(&self, at: usize) -> Result<Vec<f64>, DataError> {
        let mut numbers = Vec::new();
        self.each_of_all(at, |row| {
            numbers.push(match row {
                Field::Integer(number) => number as f64,
                Field::Float(number) => number,
                Field::Null | Field::Boolean(_) | Field::Bytes(_) => f64::NAN,
            });
            Ok(())
        })?;
        Ok(numbers)
    }

    /// The fields of a column as text.
    fn texts(&self, at: usize) -> Result<Vec<Option<String>>, DataError> {
        let mut texts = Vec::new();
        self.each_of_all(at, |row| {
            texts.push(self.text(at, row)?);
            Ok(())
        })?;
        Ok(texts)
    }

    /// A field of a column as text.
    fn text(&self, at: usize, field: Field<'_>) -> Result<Option<String>, DataError> {
        Ok(match field {
            Field::Null => None,
            Field::Integer(number) => Some(number.to_string()),
            Field::Float(number) => Some(number.to_string()),
            Field::Boolean(yes) => Some(yes.to_string()),
            Field::Bytes(bytes) => {
                Some(str::from_utf8(bytes).map_err(|_| self.not_utf8(at))?.to_string())
            }
        })
    }

    fn not_utf8(&self, at: usize) -> DataError {
        let name = self.metadata.file_metadata().schema_descr().column(at).name().to_string();
        DataError::NotUtf8 { path: self.path.clone(), place: format!("column {name:?}") }
    }

    /// The values of one group of rows; faults count rows from its first.
    fn group(&self, group: usize, genes: &[usize]) -> Result<CsrMatrix, BlockFault> {
        let (mut indptr, mut rows, mut values) = (vec![0], Vec::new(), Vec::new());
        let group = self.metadata.row_group(group);
        for (gene, &column) in genes.iter().enumerate() {
            let mut row = 0u32;
            self.each(group, column, |field| {
                let value = value(field).map_err(|value| {
                    let (row, column) = (row as usize, gene);
                    MatrixFault::CountTooLarge { row, column, value }
                })?;
                if value != 0.0 {
                    rows.push(row);
                    values.push(value);
                }
                row = row.saturating_add(1);
                Ok::<_, BlockFault>(())
            })?;
            indptr.push(values.len());
        }
        let n_rows = n_rows(group);
        let by_gene = CsrMatrix::normalise(n_rows, indptr, rows, values);
        Ok(by_gene.map_err(MatrixFault::transposed)?.transpose())
    }

    /// Calls `take` with each field of a column, group after group.
    fn each_of_all(
        &self,
        column: usize,
        mut take: impl FnMut(Field<'_>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.metadata.row_groups().iter().try_for_each(|group| self.each(group, column, &mut take))
    }

    /// Calls `take` with each field of a column of a group; their number is the group's.
    fn each<E: From<DataError>>(
        &self,
        group: &RowGroupMetaData,
        column: usize,
        mut take: impl FnMut(Field<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let schema = self.metadata.file_metadata().schema_descr();
        let about = schema.column(column);
        let is_unsigned = is_unsigned(&about);
        let has_nulls = about.max_def_level() > 0;
        let reader = guarded(&self.path, about.name(), || {
            let pages = SerializedPageReader::new(
                Arc::clone(&self.file),
                group.column(column),
                n_rows(group),
                None,
            )?;
            Ok(get_column_reader(about.clone(), Box::new(CheckedPages(pages))))
        })?;
        let expected = n_rows(group);
        let mut n_read = 0;
        let mut levels = Vec::new();
        macro_rules! read {
            ($reader:expr, $value:ident => $field:expr) => {{
                let mut values = Vec::new();
                loop {
                    levels.clear();
                    values.clear();
                    let wanted = has_nulls.then_some(&mut levels);
                    let (n_records, n_values, _) = guarded(&self.path, about.name(), || {
                        $reader.read_records(AT_ONCE, wanted, None, &mut values)
                    })?;
                    let is_end = n_records == 0 && n_values == 0;
                    n_read += n_records;
                    if is_end || n_read > expected {
                        return Ok(check_len(&self.path, "rows of a column", expected, n_read)?);
                    }
                    let mut present = values.iter();
                    for row in 0..n_records {
                        let is_null = has_nulls && levels.get(row) == Some(&0);
                        match if is_null { None } else { present.next() } {
                            Some($value) => take($field)?,
                            None => take(Field::Null)?,
                        }
                    }
                }
            }};
        }
        match reader {
            ColumnReader::BoolColumnReader(mut r) => read!(r, v => Field::Boolean(*v)),
            ColumnReader::Int32ColumnReader(mut r) => {
                read!(r, v => Field::Integer(match is_unsigned {
                    true => i128::from(*v as u32),
                    false => i128::from(*v),
                }))
            }
            ColumnReader::Int64ColumnReader(mut r) => {
                read!(r, v => Field::Integer(match is_unsigned {
                    true => i128::from(*v as u64),
                    false => i128::from(*v),
                }))
            }
            ColumnReader::FloatColumnReader(mut r) => read!(r, v => Field::Float(f64::from(*v))),
            ColumnReader::DoubleColumnReader(mut r) => read!(r, v => Field::Float(*v)),
            ColumnReader::ByteArrayColumnReader(mut r) => read!(r, v => Field::Bytes(v.data())),
            _ => Err(DataError::UnknownEncoding {
                path: self.path.clone(),
                object: about.name().into(),
                encoding: type_name(&about),
                expected: "numbers or texts",
            }
            .into()),
        }
    }
}

/// One field of a table.
enum Field<'a> {
    Null,
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Bytes(&'a [u8]),
}

/// A field as expression value, or a count that is too large. A missing one is NaN, which is refused with its place.
fn value(field: Field<'_>) -> Result<f32, f64> {
    match field {
        Field::Integer(number) if number as f64 > MAX_EXACT_COUNT => Err(number as f64),
        Field::Integer(number) => Ok(number as f32),
        Field::Float(number) => Ok(number as f32),
        Field::Null | Field::Boolean(_) | Field::Bytes(_) => Ok(f32::NAN),
    }
}

fn n_rows(group: &RowGroupMetaData) -> usize {
    usize::try_from(group.num_rows()).unwrap_or(0)
}

fn kind(column: &ColumnDescriptor) -> Kind {
    if column.max_rep_level() > 0 || column.max_def_level() > 1 || column.path().parts().len() > 1 {
        return Kind::Other;
    }
    let (logical, converted) = (column.logical_type_ref(), column.converted_type());
    match column.physical_type() {
        Type::FLOAT | Type::DOUBLE => Kind::Number,
        Type::BOOLEAN => Kind::Boolean,
        Type::INT32 | Type::INT64 => match (logical, converted) {
            (Some(LogicalType::Integer { .. }), _) => Kind::Number,
            (None, ConvertedType::NONE) => Kind::Number,
            (
                None,
                ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64
                | ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => Kind::Number,
            _ => Kind::Other,
        },
        Type::BYTE_ARRAY => match (logical, converted) {
            (Some(LogicalType::String | LogicalType::Enum), _) => Kind::Text,
            (None, ConvertedType::UTF8 | ConvertedType::ENUM) => Kind::Text,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    match column.logical_type_ref() {
        Some(LogicalType::Integer(integer)) => !integer.is_signed,
        _ => matches!(
            column.converted_type(),
            ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64
        ),
    }
}

fn type_name(column: &ColumnDescriptor) -> String {
    let physical = column.physical_type();
    match column.logical_type_ref() {
        Some(logical) => format!("{physical}, {logical:?}"),
        None => physical.to_string(),
    }
}

/// Refuses a table whose names show that its rows are genes. Where names show nothing, rows are cells.
fn check_orientation(
    path: &Path,
    declared: Option<Orientation>,
    obs_names: &[String],
    genes: &[String],
) -> Result<(), DataError> {
    let found = declared.or_else(|| detect_orientation(path, obs_names, genes).ok());
    if found != Some(Orientation::GenesByObs) {
        return Ok(());
    }
    Err(DataError::UnsupportedFormat {
        path: path.to_path_buf(),
        format: "a Parquet table with a row per gene".into(),
        advice: "write it with a row per cell (pandas: DataFrame.T)",
    })
}

/// What the Parquet library gives, or what it says about a column, as an error of this crate.
fn guarded<T>(
    path: &Path,
    column: &str,
    call: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, DataError> {
    let outcome = caught(call).and_then(|given| given.map_err(|error| error.to_string()));
    outcome.map_err(|reason| DataError::Parquet {
        path: path.to_path_buf(),
        column: column.into(),
        reason,
    })
}

/// Names that are looked at together for ones that repeat, and then twice as many, and so on.
const LOOKED_AT: usize = 1 << 10;

/// Records decoded at once.
const AT_ONCE: usize = 1 << 14;
/// Numbers as names of cells, packed by their differences, take least: a bit or so each.
const MOST_ROWS_A_BYTE: u64 = 64;
const FEW_ROWS: u64 = 1 << 16;
