//! Parquet tables, with the feature of that name.
#![cfg(feature = "parquet")]

mod streams;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use cic_data::{BlockSize, DataError, ExpressionMatrix, Orientation, ReadOptions, read_expression};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use streams::assert_streams_like_whole;

const SCHEMA: &str = "message table { required binary id (UTF8); optional binary cell_type (UTF8); \
                      optional float TP53; required int64 ACTB; required int32 day (DATE); }";

/// A row of the table: name, cell type, TP53 and ACTB.
type Row<'a> = (&'a str, Option<&'a str>, Option<f32>, i64);

const GOOD: [Row<'_>; 3] =
    [("a", Some("T"), Some(1.5), 0), ("b", None, Some(0.0), 7), ("c", Some("B"), Some(2.0), 3)];

/// Writes rows in groups, with what pandas says of the index.
fn write(path: &Path, groups: &[&[Row<'_>]], pandas: Option<&str>) {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let about = pandas.map(|text| vec![KeyValue::new("pandas".into(), text.to_string())]);
    let properties = WriterProperties::builder().set_key_value_metadata(about).build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        macro_rules! column {
            ($kind:ty, $values:expr, $levels:expr) => {{
                let mut column = group.next_column().unwrap().unwrap();
                let levels: Option<Vec<i16>> = $levels;
                let values: Vec<_> = $values;
                column.typed::<$kind>().write_batch(&values, levels.as_deref(), None).unwrap();
                column.close().unwrap();
            }};
        }
        let levels = |is_there: fn(&Row<'_>) -> bool| {
            Some(rows.iter().map(|row| i16::from(is_there(row))).collect())
        };
        column!(ByteArrayType, rows.iter().map(|row| ByteArray::from(row.0)).collect(), None);
        column!(
            ByteArrayType,
            rows.iter().filter_map(|row| row.1.map(ByteArray::from)).collect(),
            levels(|row| row.1.is_some())
        );
        column!(
            FloatType,
            rows.iter().filter_map(|row| row.2).collect(),
            levels(|row| row.2.is_some())
        );
        column!(Int64Type, rows.iter().map(|row| row.3).collect(), None);
        column!(parquet::data_type::Int32Type, vec![0; rows.len()], None);
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn read(groups: &[&[Row<'_>]], pandas: Option<&str>) -> Result<ExpressionMatrix, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path, groups, pandas);
    let matrix = read_expression(&path, &ReadOptions::default())?;
    let sizes = [BlockSize { cells: 1, values: usize::MAX }, BlockSize::default()];
    assert_streams_like_whole(&path, &ReadOptions::default(), &sizes);
    Ok(matrix)
}

#[test]
fn cells_are_rows_numbers_are_genes_and_texts_are_obs() {
    for groups in [&[&GOOD[..]][..], &[&GOOD[..1], &GOOD[1..]], &[&GOOD[..2], &[], &GOOD[2..]]] {
        let matrix = read(groups, None).unwrap();
        assert_eq!(matrix.source.format, "Parquet table");
        assert_eq!(matrix.obs_names, ["a", "b", "c"]);
        let genes: Vec<&str> = matrix.genes.iter().map(|gene| gene.id.as_str()).collect();
        assert_eq!(genes, ["TP53", "ACTB"]);
        assert_eq!(matrix.values.row(0), (&[0][..], &[1.5][..]));
        assert_eq!(matrix.values.row(1), (&[1][..], &[7.0][..]));
        assert_eq!(matrix.values.row(2), (&[0, 1][..], &[2.0, 3.0][..]));
        assert_eq!(matrix.obs.value("cell_type", 2).as_deref(), Some("B"));
        assert_eq!(matrix.obs.value("cell_type", 1), None);
        assert!(matrix.obs.column("day").unwrap_err().to_string().contains("Date"));
        assert_eq!(matrix.source.notes[0], "names of cells are in \"id\"");
    }
}

/// Counts and clusters beside genes, as a table of `obs` and expression joined has them.
#[test]
fn numbers_by_name_about_cells_are_no_genes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    let schema = "message table { required binary id (UTF8); required double n_counts; required int32 TP53; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let names = ["a", "b"].map(ByteArray::from);
    column.typed::<ByteArrayType>().write_batch(&names, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<parquet::data_type::DoubleType>().write_batch(&[70.5, 8.0], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<parquet::data_type::Int32Type>().write_batch(&[3, 0], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let matrix = read_expression(&path, &ReadOptions::default()).unwrap();
    assert_eq!(matrix.n_vars(), 1);
    assert_eq!(matrix.values.row(0), (&[0][..], &[3.0][..]));
    assert_eq!(matrix.obs.number("n_counts", 0), Some(70.5));
    assert!(matrix.source.notes.iter().any(|note| note.contains("n_counts")));
}

/// Two thousand cells of one name: told at the first thousand.
#[test]
fn names_that_repeat_are_told_before_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path, &[&vec![GOOD[0]; 2_000]], None);
    let error = read_expression(&path, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::DuplicateObsName { first: 0, second: 1, .. }), "{error}");
}

#[test]
fn the_index_of_pandas_names_the_cells() {
    let matrix = read(&[&GOOD], Some(r#"{"index_columns": ["cell_type"]}"#));
    let message = matrix.unwrap_err().to_string();
    assert!(message.contains("\"cell_type\""), "one has no name: {message}");
    let matrix = read(&[&GOOD], Some(r#"{"index_columns": ["ACTB"]}"#)).unwrap();
    assert_eq!(matrix.obs_names, ["0", "7", "3"]);
    assert_eq!(matrix.n_vars(), 1);
    let range = r#"{"index_columns": [{"kind": "range", "start": 0}]}"#;
    assert_eq!(read(&[&GOOD], Some(range)).unwrap().obs_names, ["a", "b", "c"]);
    let several = read(&[&GOOD], Some(r#"{"index_columns": ["id", "cell_type"]}"#)).unwrap_err();
    assert!(several.to_string().contains("index of 2 columns"), "{several}");
    let missing = read(&[&GOOD], Some(r#"{"index_columns": ["other"]}"#)).unwrap_err();
    assert!(missing.to_string().contains("set_index"), "{missing}");
}

#[test]
fn faults_name_cell_and_gene_in_any_group() {
    let with = |row: Row<'static>| read(&[&GOOD[..2], &[row]], None).unwrap_err();
    let missing = with(("c", None, None, 1));
    assert!(
        matches!(&missing, DataError::NotFinite { cell, gene, .. } if cell == "c" && gene == "TP53")
    );
    let negative = with(("c", None, Some(-1.0), 1));
    assert!(matches!(&negative, DataError::Negative { cell, .. } if cell == "c"), "{negative}");
    let large = with(("c", None, Some(1.0), 1 << 40));
    assert!(matches!(&large, DataError::CountTooLarge { gene, .. } if gene == "ACTB"), "{large}");
    let twice = with(("a", None, Some(1.0), 1));
    assert!(matches!(twice, DataError::DuplicateObsName { .. }), "{twice}");
}

#[test]
fn a_table_of_genes_by_cells_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path, &[&GOOD], None);
    let orientation = Some(Orientation::GenesByObs);
    let declared = ReadOptions { orientation, ..ReadOptions::default() };
    let message = read_expression(&path, &declared).unwrap_err().to_string();
    assert!(message.contains("DataFrame.T"), "{message}");
}

/// What pandas writes of a selection that selected nothing.
#[test]
fn a_table_without_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    for groups in [&[][..], &[&[][..]][..]] {
        write(&path, groups, None);
        let error = read_expression(&path, &ReadOptions::default()).unwrap_err();
        assert!(matches!(error, DataError::Empty { .. }), "{error}");
    }
}

/// No panic, whatever is damaged, and no file that is cut off is read.
#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    write(&path, &[&GOOD[..2], &GOOD[2..]], None);
    let good = fs::read(&path).unwrap();
    for len in 4..good.len() {
        fs::write(&path, &good[..len]).unwrap();
        assert!(read_expression(&path, &ReadOptions::default()).is_err(), "{len}");
    }
    let mut n_refused = 0;
    for at in 0..good.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            fs::write(&path, bytes).unwrap();
            n_refused += usize::from(read_expression(&path, &ReadOptions::default()).is_err());
        }
    }
    assert!(n_refused > 0);
}

/// What a kilobyte claims takes no gigabytes and no minutes, and the message says where the claim stands.
#[test]
fn claims_beyond_the_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read_expression(&path, &ReadOptions::default()).unwrap_err().to_string()
    };

    // The first page: its kind, what it unpacks to and its bytes, of one byte each.
    let schema =
        Arc::new(parse_message_type("message table { required binary id (UTF8); }").unwrap());
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .set_dictionary_enabled(false);
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let names = [ByteArray::from("a"), ByteArray::from("b")];
    column.typed::<ByteArrayType>().write_batch(&names, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    assert_eq!(bytes[4..8], [0x15, 0x00, 0x15, 0x14], "ten bytes");
    assert_eq!(bytes[8], 0x15);
    let good = std::mem::replace(&mut bytes[9], 0);
    let message = refused(&bytes);
    assert!(message.contains("the header of a page: 0 bytes claim to unpack to 10"), "{message}");

    // Rows, which a run of one value finds room for in a few bytes.
    bytes[9] = good;
    fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let mut builder = metadata.into_builder();
    let groups = builder.take_row_groups().into_iter();
    let claimed = groups.map(|group| group.into_builder().set_num_rows(1 << 40).build().unwrap());
    let metadata = builder.set_row_groups(claimed.collect()).build();
    ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
    let message = refused(&bytes);
    assert!(message.contains(&format!("bytes claim {} rows", 1u64 << 40)), "{message}");

    // A list of 2³¹ − 1 booleans in the footer.
    let footer = [0xf9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00];
    let message = refused(&[b"PAR1", &footer[..], &[8, 0, 0, 0], b"PAR1"].concat());
    assert!(message.contains("the footer: a list of booleans"), "{message}");
}
