//! Series matrices of the Gene Expression Omnibus: a table of probes × samples between two marks, and before it what is
//! known of the samples, which becomes `obs`.
//!
//! A line of the samples is `!Sample_title` and the like with a field for each of them. Characteristics are `name: value`
//! in lines of one key; where all of a line share the name, it names the column.

use std::path::Path;

use crate::cell_blocks::{BlockSize, WholeBlocks};
use crate::delimited::{Records, Table, text};
use crate::error::DataError;
use crate::expression::{ExpressionHead, Gene, Source, check_len};
use crate::expression_reader::Opened;
use crate::matrix::MatrixFault;
use crate::obs::{Column, ObsTable};

const BEGIN: &str = "!series_matrix_table_begin";
const END: &str = "!series_matrix_table_end";

/// What lines about samples begin with.
const SAMPLE: &str = "!Sample_";

/// Whether a text begins as a series matrix does.
pub(crate) fn is_series_matrix(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    head.starts_with(b"!Series_") || head.starts_with(SAMPLE.as_bytes())
}

/// Reads the file, whole: it has one gene after the other.
pub(crate) fn open(path: &Path, size: BlockSize) -> Result<Opened, DataError> {
    let mut records = Records::open(path)?;
    let mut about: Vec<(String, Vec<String>)> = Vec::new();
    loop {
        let line = records.line();
        let Some(record) = records.next_record()? else {
            return Err(DataError::MissingPart {
                path: path.to_path_buf(),
                part: BEGIN.into(),
                advice: "values of many series are in supplementary files alone: give these".into(),
            });
        };
        let fields = record.iter().map(|field| text(path, line, field));
        let fields: Vec<String> = fields.collect::<Result<_, _>>()?;
        let key = fields.first().map_or("", String::as_str);
        if key == BEGIN {
            break;
        }
        if let Some(key) = key.strip_prefix(SAMPLE) {
            about.push((key.to_owned(), fields[1..].to_vec()));
        }
    }
    let Table { rows, columns, values } = Table::read(&mut records, Some(END))?;
    let mut obs = ObsTable::default();
    for (key, values) in about {
        check_len(path, &format!("{SAMPLE}{key}"), columns.len(), values.len())?;
        insert(&mut obs, &key, &values);
    }
    let source = Source {
        path: path.to_path_buf(),
        format: "GEO series matrix".into(),
        matrix: "series matrix".into(),
        ..Source::default()
    };
    let genes = rows.into_iter().map(|id| Gene::new(id, None, None)).collect();
    let head = ExpressionHead { obs_names: columns, genes, obs, source };
    let values = values.map(|values| values.transpose()).map_err(MatrixFault::transposed);
    let values = values.map_err(|fault| fault.named(head.names()))?;
    let blocks = Box::new(WholeBlocks::new(values, size));
    Ok(Opened { head, feature_types: Vec::new(), blocks })
}

/// A column under its key, or under the name that all values begin with; with a number where there is one of that name.
fn insert(obs: &mut ObsTable, key: &str, values: &[String]) {
    let pair = |text: &'_ str| -> Option<(String, String)> {
        let (name, value) = text.split_once(": ")?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    let filled = || values.iter().filter(|value| !value.is_empty());
    let named = match key.starts_with("characteristics") {
        true => filled().next().and_then(|value| pair(value)).map(|(name, _)| name),
        false => None,
    };
    let is_shared =
        |name: &String| filled().all(|value| pair(value).is_some_and(|of| of.0 == *name));
    let named = named.filter(is_shared);
    let texts: Vec<Option<String>> = values
        .iter()
        .map(|value| match &named {
            Some(_) => pair(value).map(|(_, value)| value),
            None => Some(value.clone()),
        })
        .map(|text| text.filter(|text| !text.is_empty()))
        .collect();
    let name = named.unwrap_or_else(|| key.to_owned());
    let n = obs
        .names()
        .filter(|known| *known == name || known.strip_prefix(&name).is_some_and(is_number))
        .count();
    let name = if n == 0 { name } else { format!("{name}.{n}") };
    obs.insert(name, Column::categorical(texts.iter().map(Option::as_deref)));
}

fn is_number(suffix: &str) -> bool {
    suffix.strip_prefix('.').is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::expression::{ExpressionMatrix, ReadOptions, read_expression};

    fn read(bytes: &[u8]) -> Result<ExpressionMatrix, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("GSE1_series_matrix.txt.gz");
        std::fs::write(&path, bytes).unwrap();
        read_expression(&path, &ReadOptions::default())
    }

    const SERIES: &str = "!Series_title\t\"Brain, \"\"and\"\" liver\"\n!Series_pubmed_id\t\"1\"\n\n\
        !Sample_title\t\"a\"\t\"b\"\n!Sample_geo_accession\t\"GSM1\"\t\"GSM2\"\n\
        !Sample_characteristics_ch1\t\"tissue: brain\"\t\"tissue: liver: left\"\n\
        !Sample_characteristics_ch1\t\"age: 3\"\t\"\"\n\
        !Sample_characteristics_ch1\t\"male\"\t\"age: 4\"\n\
        !Sample_data_processing\t\"RMA\"\t\"RMA\"\n\
        !series_matrix_table_begin\n\"ID_REF\"\t\"GSM1\"\t\"GSM2\"\n\
        \"1007_s_at\"\t7.5\t3\n\"1053_at\"\t0\t2.25\n!series_matrix_table_end\n";

    #[test]
    fn samples_and_what_is_known_of_them_are_read() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(SERIES.as_bytes()).unwrap();
        let windows = format!("\u{feff}{}", SERIES.replace('\n', "\r\n"));
        for bytes in [SERIES.into(), windows.into_bytes(), packed.finish().unwrap()] {
            let matrix = read(&bytes).unwrap();
            assert_eq!(matrix.source.format, "GEO series matrix");
            assert_eq!(matrix.obs_names, ["GSM1", "GSM2"]);
            let genes: Vec<&str> = matrix.genes.iter().map(|gene| gene.id.as_str()).collect();
            assert_eq!(genes, ["1007_s_at", "1053_at"]);
            assert_eq!(matrix.values.row(0), (&[0][..], &[7.5][..]));
            assert_eq!(matrix.values.row(1), (&[0, 1][..], &[3.0, 2.25][..]));
            let value =
                |column: &str, row| matrix.obs.value(column, row).map(|text| text.into_owned());
            assert_eq!(value("title", 1).as_deref(), Some("b"));
            assert_eq!(value("tissue", 0).as_deref(), Some("brain"));
            assert_eq!(value("tissue", 1).as_deref(), Some("liver: left"));
            assert_eq!((value("age", 0).as_deref(), value("age", 1)), (Some("3"), None));
            assert_eq!(value("characteristics_ch1", 0).as_deref(), Some("male"));
        }
    }

    #[test]
    fn columns_of_one_name_are_numbered() {
        let mut obs = ObsTable::default();
        for value in ["x: 1", "x: 2", "x: 3"] {
            insert(&mut obs, "characteristics_ch1", &[value.to_owned()]);
        }
        assert_eq!(obs.names().collect::<Vec<_>>(), ["x", "x.1", "x.2"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let without_table = SERIES.split("!series_matrix_table_begin").next().unwrap();
        let cut = SERIES.split("!series_matrix_table_end").next().unwrap();
        let fewer = SERIES.replace("!Sample_title\t\"a\"", "!Sample_title");
        let missing = SERIES.replace("7.5", "");
        let no_rows = SERIES.replace("\"1007_s_at\"\t7.5\t3\n\"1053_at\"\t0\t2.25\n", "");
        for (text, says) in [
            (without_table, "supplementary"),
            (cut, "ends without !series_matrix_table_end"),
            (&fewer, "!Sample_title"),
            (&missing, "row \"1007_s_at\", column \"GSM1\""),
            (&no_rows, "expected a row of values"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
