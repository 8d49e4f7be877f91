//! Parquet tables.
#![no_main]

use std::sync::{Arc, LazyLock};

use cic_data::ReadOptions;
use cic_fuzz::{Folder, pass_over_panics_of, read_both_ways, write_seeds};
use libfuzzer_sys::fuzz_target;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);

const MAGIC: &[u8; 4] = b"PAR1";

fuzz_target!(init: { pass_over_panics_of("parquet"); write_seeds(seeds()) }, |bytes: &[u8]| {
    // Without it the file is text.
    let mut bytes = bytes.to_vec();
    if let Some(start) = bytes.first_chunk_mut() {
        *start = *MAGIC;
    }
    let n_bytes = bytes.len();
    read_both_ways(&FOLDER.write("table.parquet", &bytes), &ReadOptions::default(), n_bytes);
});

fn seeds() -> Vec<(String, Vec<u8>)> {
    let kinds = [("plain", Compression::UNCOMPRESSED), ("snappy", Compression::SNAPPY)];
    let mut seeds = Vec::new();
    for (name, compression) in kinds {
        for dictionary in [false, true] {
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_dictionary_enabled(dictionary)
                .build();
            let bytes = write(properties).expect("memory takes all bytes");
            seeds.push((format!("{name}-{dictionary}"), bytes));
        }
    }
    seeds
}

fn write(properties: WriterProperties) -> Result<Vec<u8>, ParquetError> {
    let schema = "message table { required binary id (UTF8); optional binary kind (UTF8); \
                  optional double TP53; required int32 ACTB; }";
    let schema = Arc::new(parse_message_type(schema)?);
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    for names in [["a", "b"], ["c", "d"]] {
        let mut group = writer.next_row_group()?;
        let names = names.map(ByteArray::from);
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(&names, None, None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(&names[..1], Some(&[1, 0]), None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            column.typed::<DoubleType>().write_batch(&[1.5, 0.0], Some(&[1, 1]), None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            column.typed::<Int32Type>().write_batch(&[3, 0], None, None)?;
            column.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(bytes)
}
