//! Parquet: the columns with their types, and where they come from as metadata under the key `cic`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cic_data::{AtomicFile, Column, ObsTable};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::schema::types::Type;

use super::columns::{Cell, Get};
use super::provenance::Provenance;
use super::read::{Written, changed, choose_provenance};
use super::{Format, json_lines::BARCODE};
use crate::failure::Failure;
use crate::output;
use crate::typed::TypedCells;

/// Writes one file, in groups of rows.
pub(super) fn write(
    path: &Path,
    cells: &TypedCells<'_>,
    provenance: &Provenance,
) -> Result<(), Failure> {
    let text = serde_json::to_string(provenance).map_err(Failure::internal)?;
    let failed = |error| output::failed(path, error);
    let file = AtomicFile::create(path).map_err(failed)?;
    let file =
        write_to(file, cells, text).map_err(|error| output::not_written(path, io_of(error)))?;
    file.commit().map_err(failed)
}

fn write_to(
    file: AtomicFile,
    cells: &TypedCells<'_>,
    provenance: String,
) -> Result<AtomicFile, ParquetError> {
    let column = |name: &str, physical, logical| {
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let text = |name: &str| column(name, Physical::BYTE_ARRAY, Some(LogicalType::String));
    let mut fields = vec![text(BARCODE)?];
    for spec in cells.extent().columns() {
        fields.push(match spec.get {
            Get::Text(_) => text(spec.name)?,
            Get::Real(_) => column(spec.name, Physical::FLOAT, None)?,
            Get::Whole(_) => column(spec.name, Physical::INT64, None)?,
            Get::Flag(_) => column(spec.name, Physical::BOOLEAN, None)?,
        });
    }
    let schema = Type::group_type_builder("cells").with_fields(fields).build()?;
    let about = KeyValue::new(KEY.to_owned(), provenance);
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![about])).build();
    let mut file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    for first in (0..cells.calls.len()).step_by(GROUP) {
        let rows = first..cells.calls.len().min(first + GROUP);
        let of_rows = || rows.clone().filter_map(|row| cells.cell(row));
        let mut group = file.next_row_group()?;
        let mut names = group.next_column()?.ok_or_else(lost)?;
        let texts: Vec<ByteArray> =
            cells.head.obs_names[rows.clone()].iter().map(|name| name.as_str().into()).collect();
        names.typed::<ByteArrayType>().write_batch(&texts, None, None)?;
        names.close()?;
        for spec in cells.extent().columns() {
            let mut writer = group.next_column()?.ok_or_else(lost)?;
            match spec.get {
                Get::Text(get) => {
                    let text = |cell: Cell<'_>| ByteArray::from(&*get(&cell));
                    let texts: Vec<ByteArray> = of_rows().map(text).collect();
                    writer.typed::<ByteArrayType>().write_batch(&texts, None, None)?
                }
                Get::Real(get) => {
                    let reals: Vec<f32> = of_rows().map(|cell| get(&cell)).collect();
                    writer.typed::<FloatType>().write_batch(&reals, None, None)?
                }
                Get::Whole(get) => {
                    let whole = |cell: Cell<'_>| i64::try_from(get(&cell)).unwrap_or(i64::MAX);
                    let wholes: Vec<i64> = of_rows().map(whole).collect();
                    writer.typed::<Int64Type>().write_batch(&wholes, None, None)?
                }
                Get::Flag(get) => {
                    let flags: Vec<bool> = of_rows().map(|cell| get(&cell)).collect();
                    writer.typed::<BoolType>().write_batch(&flags, None, None)?
                }
            };
            writer.close()?;
        }
        group.close()?;
    }
    file.into_inner()
}

/// What the system said, where it did.
fn io_of(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

fn lost() -> ParquetError {
    ParquetError::General("a column was lost".into())
}

/// Reads what [`write`] wrote.
pub(super) fn read(path: &Path, provenance: Option<&Path>) -> Result<Written, Failure> {
    let broken = |error: ParquetError| changed(path, &error);
    let file = std::fs::File::open(path).map_err(|error| changed(path, &error))?;
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let about = reader.metadata().file_metadata().key_value_metadata();
    let own = about.and_then(|pairs| pairs.iter().find(|pair| pair.key == KEY));
    let own = own.and_then(|pair| serde_json::from_str(pair.value.as_deref()?).ok());
    let provenance = choose_provenance(path, provenance, own)?;
    let mut names = Vec::new();
    let mut columns: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for row in reader.get_row_iter(None).map_err(broken)? {
        let row = row.map_err(broken)?;
        for (at, (name, field)) in row.get_column_iter().enumerate() {
            let text = match field {
                Field::Str(text) => text.clone(),
                other => other.to_string(),
            };
            match at.checked_sub(1) {
                None => names.push(text),
                Some(at) if at == columns.len() => columns.push((name.clone(), vec![Some(text)])),
                Some(at) => columns[at].1.push(Some(text)),
            }
        }
    }
    let mut table = ObsTable::default();
    for (name, column) in columns {
        table.insert(name, Column::Text(column));
    }
    let faults = Vec::new();
    Ok(Written {
        format: Format::Parquet,
        names,
        columns: table,
        codes: None,
        probabilities: None,
        provenance,
        faults,
        is_other_file: false,
    })
}

const KEY: &str = "cic";
/// Rows of a group.
const GROUP: usize = 1 << 17;
