//! Text tables of expression values: tab- or comma-separated, compressed or not, genes × samples
//! or samples × genes.
//!
//! The first row holds the names of the columns. Its first cell may hold anything, be empty, or be
//! missing altogether, as R writes it. Which side the genes are on is declared by the caller or
//! decided by the names: the side with clearly more platform ids (Ensembl, RefSeq, probes) wins, or
//! else the side with clearly more names that have the form of a symbol. Where neither decides the
//! table is refused, because a table of a few hundred panel genes has more cells than genes and its
//! shape says nothing.

use std::io::{BufRead, BufReader};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use crate::cell_blocks::{BlockSize, WholeBlocks};
use crate::cell_columns::{self, take_out};
use crate::error::DataError;
use crate::expression::{
    ExpressionHead, Gene, Orientation, Source, check_addressable, is_ensembl_gene_id,
};
use crate::expression_reader::Opened;
use crate::h5_source::MAX_EXACT_COUNT;
use crate::matrix::{CsrMatrix, MatrixFault, RowBuilder};
use crate::obs::ObsTable;
use crate::text_source::TextSource;

/// Reads the table, whole: all names are needed to tell which side the genes are on.
pub(crate) fn open(
    path: &Path,
    orientation: Option<Orientation>,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let mut records = Records::open(path)?;
    let Table { rows, columns, values } = Table::read(&mut records, None)?;
    let (orientation, how) = match orientation {
        Some(declared) => (declared, "as declared"),
        None => (detect_orientation(path, &rows, &columns)?, "by the form of the names"),
    };
    let (obs_names, ids, values, side) = match orientation {
        Orientation::ObsByGenes => (rows, columns, values, "columns"),
        Orientation::GenesByObs => (
            columns,
            rows,
            values.map(|values| values.transpose()).map_err(MatrixFault::transposed),
            "rows",
        ),
    };
    let mut genes: Vec<Gene> = ids.into_iter().map(|id| Gene::new(id, None, None)).collect();
    let mut obs = ObsTable::default();
    let mut notes = vec![format!("genes are the {side}, {how}")];
    let values = values.map(|mut values| {
        notes.extend(cell_columns::note(&take_out(&mut genes, &mut values, &mut obs)));
        values
    });
    let source = Source {
        path: path.to_path_buf(),
        format: "text table".into(),
        matrix: "matrix".into(),
        notes,
        ..Source::default()
    };
    let head = ExpressionHead { obs_names, genes, obs, source };
    let values = values.map_err(|fault| fault.named(head.names()))?;
    let blocks = Box::new(WholeBlocks::new(values, size));
    Ok(Opened { head, feature_types: Vec::new(), blocks })
}

/// A table with its names, as it stands in the text.
pub(crate) struct Table {
    pub(crate) rows: Vec<String>,
    pub(crate) columns: Vec<String>,
    /// Row after row.
    pub(crate) values: Result<CsrMatrix, MatrixFault>,
}

impl Table {
    /// The records from here on, names of the columns first: up to the one whose first field is `end`, or to the end of
    /// the file.
    pub(crate) fn read(records: &mut Records, end: Option<&str>) -> Result<Self, DataError> {
        let path = records.path.clone();
        let path = path.as_path();
        let header = records.next_record()?.cloned().unwrap_or_default();
        let line = records.line();
        let is_end = |record: &ByteRecord| end.is_some_and(|end| &record[0] == end.as_bytes());
        let first = records.next_record()?.filter(|record| !is_end(record)).cloned();
        let Some(first) = first else {
            return Err(DataError::Empty { path: path.to_path_buf(), expected: "a row of values" });
        };
        let skip = match first.len().checked_sub(header.len()) {
            Some(0) => 1,
            Some(1) => 0,
            _ => return Err(records.wrong_length(header.len(), first.len())),
        };
        let columns: Vec<String> = (skip..header.len())
            .map(|at| text(path, line, &header[at]))
            .collect::<Result<_, _>>()?;
        check_addressable(path, "columns", columns.len())?;
        if columns.is_empty() {
            return Err(DataError::Table {
                path: path.to_path_buf(),
                line,
                reason: "only one column; separate the fields by tabs or commas".into(),
            });
        }

        let mut rows = Vec::new();
        let mut values = RowBuilder::new(columns.len());
        let mut row_values = vec![0f32; columns.len()];
        let mut record = first;
        loop {
            if record.len() != columns.len() + 1 {
                return Err(records.wrong_length(columns.len() + 1, record.len()));
            }
            let name = text(path, records.line(), &record[0])?;
            for (at, value) in row_values.iter_mut().enumerate() {
                *value = number(&record[at + 1]).map_err(|reason| DataError::Table {
                    path: path.to_path_buf(),
                    line: records.line(),
                    reason: format!("row {name:?}, column {:?}: {reason}", columns[at]),
                })?;
            }
            values.push_dense(&row_values);
            rows.push(name);
            match records.next_record()? {
                Some(next) if !is_end(next) => record.clone_from(next),
                None if end.is_some() => {
                    return Err(DataError::Table {
                        path: path.to_path_buf(),
                        line: records.line(),
                        reason: format!("ends without {}: is the file whole?", end.unwrap_or("")),
                    });
                }
                _ => break,
            }
        }
        check_addressable(path, "rows", rows.len())?;
        Ok(Self { rows, columns, values: values.finish() })
    }
}

/// The records of a text table, with the delimiter found in its first line.
pub(crate) struct Records {
    path: std::path::PathBuf,
    reader: csv::Reader<BufReader<TextSource>>,
    record: ByteRecord,
}

impl Records {
    /// Opens the table: tab-separated if its first line has a tab, comma-separated if not.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let mut source = BufReader::with_capacity(1 << 18, TextSource::open(path)?);
        let head = match source.fill_buf() {
            Ok(head) => {
                head.split(|&byte| byte == b'\n').next().unwrap_or_default().contains(&b'\t')
            }
            Err(error) => return Err(source.get_ref().fault(error)),
        };
        let delimiter = if head { b'\t' } else { b',' };
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(source);
        Ok(Self { path: path.to_path_buf(), reader, record: ByteRecord::new() })
    }

    /// The next record, or `None` at the end. Empty lines are passed over.
    pub(crate) fn next_record(&mut self) -> Result<Option<&ByteRecord>, DataError> {
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => Ok(Some(&self.record)),
            Ok(false) => Ok(None),
            Err(error) => {
                let line = self.reader.position().line();
                Err(match error.into_kind() {
                    csv::ErrorKind::Io(error) => self.reader.get_ref().get_ref().fault(error),
                    other => DataError::Table {
                        path: self.path.clone(),
                        line,
                        reason: format!("{other:?}"),
                    },
                })
            }
        }
    }

    /// The line on which the current record starts, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.record.position().map_or(1, |position| position.line())
    }

    /// The error for a record of another length than the header's.
    pub(crate) fn wrong_length(&self, expected: usize, found: usize) -> DataError {
        DataError::Table {
            path: self.path.clone(),
            line: self.line(),
            reason: format!(
                "expected {expected} fields, found {found}; every row has a name and a value for \
                 each column"
            ),
        }
    }
}

/// A field as text.
pub(crate) fn text(path: &Path, line: u64, field: &[u8]) -> Result<String, DataError> {
    match str::from_utf8(field) {
        Ok(text) => Ok(text.to_string()),
        Err(_) => {
            Err(DataError::NotUtf8 { path: path.to_path_buf(), place: format!("line {line}") })
        }
    }
}

fn number(field: &[u8]) -> Result<f32, String> {
    let text = str::from_utf8(field).unwrap_or_default().trim();
    let number: f64 = text.parse().map_err(|_| {
        format!(
            "expected a number, found {:?}; missing values and columns that are not expression \
             must be removed",
            String::from_utf8_lossy(field)
        )
    })?;
    if number > MAX_EXACT_COUNT && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "the count {text} is above 16777216 (2^24), the largest that is held exactly; correct it"
        ));
    }
    Ok(number as f32)
}

pub(crate) fn detect_orientation(
    path: &Path,
    rows: &[String],
    columns: &[String],
) -> Result<Orientation, DataError> {
    let (Some(row), Some(column)) = (rows.first(), columns.first()) else {
        let expected = "at least one cell and one gene";
        return Err(DataError::Empty { path: path.to_path_buf(), expected });
    };
    let lead = |looks: fn(&str) -> bool| {
        let share = |names: &[String]| {
            names.iter().filter(|name| looks(name)).count() as f64 / names.len() as f64
        };
        share(rows) - share(columns)
    };
    let decisive = [lead(looks_like_platform_id), lead(looks_like_symbol)];
    match decisive.into_iter().find(|lead| lead.abs() >= CLEAR_LEAD) {
        Some(lead) if lead > 0.0 => Ok(Orientation::GenesByObs),
        Some(_) => Ok(Orientation::ObsByGenes),
        None => Err(DataError::OrientationUnknown {
            path: path.to_path_buf(),
            row: row.clone(),
            column: column.clone(),
        }),
    }
}

/// Ensembl and RefSeq ids and microarray probes.
fn looks_like_platform_id(name: &str) -> bool {
    is_ensembl_gene_id(name)
        || name.ends_with("_at")
        || ["NM_", "NR_", "XM_", "ILMN_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Words that have the form of a symbol (`TP53`, `HLA-A`, `Trp53`) but not that of an accession, a
/// numbered sample or a cell barcode.
fn looks_like_symbol(name: &str) -> bool {
    let digits_follow = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_sample = ["GSM", "SRR", "ERR", "DRR", "SRX", "S"].into_iter().any(digits_follow);
    let barcode = name.split('-').next().unwrap_or_default();
    let is_barcode = barcode.len() >= 12 && barcode.bytes().all(|base| b"ACGTN".contains(&base));
    let is_symbol = (2..=16).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        && (name.bytes().any(|byte| byte.is_ascii_digit())
            || name.bytes().all(|byte| !byte.is_ascii_lowercase()));
    is_symbol && !is_sample && !is_barcode
}

/// By how much of their names the two sides must differ.
const CLEAR_LEAD: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::{ExpressionMatrix, ReadOptions, read_expression};

    fn read_bytes(
        bytes: &[u8],
        orientation: Option<Orientation>,
    ) -> Result<ExpressionMatrix, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        std::fs::write(&path, bytes).unwrap();
        read_expression(&path, &ReadOptions { orientation, ..ReadOptions::default() })
    }

    fn read_text(text: &str) -> Result<ExpressionMatrix, DataError> {
        read_bytes(text.as_bytes(), None)
    }

    #[test]
    fn both_orientations_and_all_header_forms_give_the_same_matrix() {
        let expected =
            read_text("\tcell_a\tcell_b\nTP53\t1\t0\nACTB\t2\t3.5\nGAPDH\t0\t4\n").unwrap();
        assert_eq!(expected.obs_names, ["cell_a", "cell_b"]);
        assert_eq!(expected.genes[1], Gene::new("ACTB", None, None));
        assert_eq!(expected.values.row(1), (&[1, 2][..], &[3.5, 4.0][..]));
        for text in [
            "gene,cell_a,cell_b\nTP53,1,0\nACTB,2,3.5\nGAPDH,0,4\n",
            "cell_a\tcell_b\r\nTP53\t1\t0\r\nACTB\t2\t3.5\r\nGAPDH\t0\t4",
            "\u{feff}\"\",\"cell_a\",\"cell_b\"\n\"TP53\",1,0\n\"ACTB\",2,3.5\n\"GAPDH\",0,4\n",
            "\tTP53\tACTB\tGAPDH\ncell_a\t1\t2\t0\ncell_b\t0\t3.5\t4\n",
        ] {
            let matrix = read_text(text).unwrap();
            assert_eq!(matrix.values, expected.values, "{text}");
            assert_eq!(matrix.obs_names, expected.obs_names, "{text}");
            assert_eq!(matrix.genes, expected.genes, "{text}");
        }
    }

    #[test]
    fn an_orientation_that_names_do_not_show_must_be_declared() {
        let text = "\tfeature_0\tfeature_1\ncell_0\t1\t2\n";
        assert!(matches!(read_text(text), Err(DataError::OrientationUnknown { .. })));
        let declared = read_bytes(text.as_bytes(), Some(Orientation::ObsByGenes)).unwrap();
        assert_eq!((declared.n_obs(), declared.n_vars()), (1, 2));
        let declared = read_bytes(text.as_bytes(), Some(Orientation::GenesByObs)).unwrap();
        assert_eq!((declared.n_obs(), declared.n_vars()), (2, 1));
        assert_eq!(declared.source.notes, ["genes are the rows, as declared"]);
    }

    #[test]
    fn accessions_barcodes_and_numbered_samples_are_not_genes() {
        for name in ["GSM18889", "SRR1234567", "S1", "AAACATACAACCAC-1", "cell_1", "brain"] {
            assert!(!looks_like_symbol(name) && !looks_like_platform_id(name), "{name}");
        }
        for name in ["TP53", "HLA-A", "AL627309.1", "Trp53", "C1orf112"] {
            assert!(looks_like_symbol(name), "{name}");
        }
        for name in ["ENSG00000141510", "216237_s_at", "NM_000546"] {
            assert!(looks_like_platform_id(name), "{name}");
        }
    }

    #[test]
    fn platform_ids_outrank_names_of_samples_that_look_like_symbols() {
        let matrix = read_text("\tNA19098.r1\tHEPG2\nENSG00000237683\t1\t2\n").unwrap();
        assert_eq!(matrix.genes[0].id, "ENSG00000237683");
    }

    #[test]
    fn faults_name_line_row_and_column() {
        for (text, line, expected) in [
            ("\tcell_a\tcell_b\nTP53\t1\tNA\n", 2, "row \"TP53\", column \"cell_b\""),
            ("\tcell_a\tcell_b\nTP53\t1\t2\nACTB\t1\n", 3, "expected 3 fields, found 2"),
            ("\tcell_a\tcell_b\nTP53\t1\n", 2, "fields"),
            ("cell_a\nTP53\n", 1, "only one column"),
            ("\tcell_a\tcell_b\nTP53\t1\t\n", 2, "expected a number"),
            ("\tcell_a\tcell_b\nTP53\t1\t16777217\n", 2, "2^24"),
        ] {
            match read_text(text) {
                Err(DataError::Table { line: found, reason, .. }) => {
                    assert!(found == line && reason.contains(expected), "{text:?}: {reason}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn bad_values_names_and_bytes_have_their_own_errors() {
        let value = |value: &str| read_text(&format!("\tcell_a\nTP53\t{value}\n")).unwrap_err();
        assert!(matches!(value("-1"), DataError::Negative { cell, gene, .. }
            if cell == "cell_a" && gene == "TP53"));
        for text in ["nan", "inf", "1e39"] {
            assert!(matches!(value(text), DataError::NotFinite { .. }), "{text}");
        }
        let twice = "\tcell_a\tcell_a\nTP53\t1\t2\n";
        assert!(matches!(read_text(twice), Err(DataError::DuplicateObsName { .. })));
        let latin = read_bytes(b"\tcell_a\nTP5\xe9\t1\n", None).unwrap_err();
        assert!(matches!(latin, DataError::NotUtf8 { .. }), "{latin}");
        assert!(matches!(read_text("\tcell_a\n"), Err(DataError::Empty { .. })));
    }

    #[test]
    fn duplicate_gene_names_are_kept() {
        let matrix = read_text("\tcell_a\nTP53\t1\nTP53\t2\n").unwrap();
        assert_eq!(matrix.n_vars(), 2);
        assert_eq!(matrix.values.row(0).1, [1.0, 2.0]);
    }
}
