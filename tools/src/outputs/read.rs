//! Tables of calls, read back as they were written.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cic_data::{
    BlockSize, Column, DataError, ExpressionReader, ObsTable, ReadOptions, read_obsm, read_uns,
};
use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::json_lines::{BARCODE, PROVENANCE, VERDICT};
use super::provenance::{Provenance, beside, not_provenance, read_beside};
use super::{Format, LABELS, PROBABILITIES, Target};
use crate::digests::file_sha256;
use crate::failure::Failure;

/// A table of calls as the file has it.
pub(crate) struct Written {
    pub(crate) format: Format,
    pub(crate) names: Vec<String>,
    /// As long as `names`.
    pub(crate) columns: ObsTable,
    /// Row-major, where the file has them.
    pub(crate) codes: Option<Vec<f32>>,
    /// Likewise.
    pub(crate) probabilities: Option<Vec<f32>>,
    pub(crate) provenance: Provenance,
    /// What is wrong with the file as a whole: rows after it were not read.
    pub(crate) faults: Vec<String>,
    /// Whether its bytes are other than those that were written.
    pub(crate) is_other_file: bool,
}

/// Reads a table, and the provenance from it or from the file beside it.
pub(crate) fn read(path: &Path, provenance: Option<&Path>) -> Result<Written, Failure> {
    if let Err(error) = File::open(path) {
        let (shown, advice) = (path.display(), Failure::advice(&error));
        return Err(Failure::input(format!("{shown}: {error}{advice}")));
    }
    if path.is_dir() || Format::by_name(path).is_none() {
        return Err(Failure::usage(format!(
            "{}: is no file that cic type wrote: those end in .csv, .jsonl, .parquet or .h5ad",
            path.display()
        )));
    }
    let mut written = match Target::new(path, None)?.format {
        Format::H5ad => read_h5ad(path, provenance),
        Format::Jsonl => read_json_lines(path, provenance),
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::read(path, provenance),
        _ => read_csv(path, provenance),
    }?;
    if let Some(recorded) = &written.provenance.output_sha256 {
        let found = file_sha256(path)?;
        written.is_other_file = found != *recorded;
    }
    if let Some(recorded) = &written.provenance.probabilities_sha256 {
        written.faults.extend(other_probabilities(path, recorded));
    }
    Ok(written)
}

/// What is wrong with the table of probabilities beside CellTypist's table of labels.
fn other_probabilities(labels: &Path, recorded: &str) -> Option<String> {
    let name = labels.file_name()?.to_string_lossy().replace(LABELS, PROBABILITIES);
    let path = labels.with_file_name(&name);
    match file_sha256(&path) {
        Ok(found) if found == recorded => None,
        Ok(_) => Some(format!("{name} beside it has other bytes than were written: SHA-256")),
        Err(failure) => Some(format!("{name} beside it cannot be read: {failure}")),
    }
}

/// The provenance from a file that was named, or else from what a table itself holds.
pub(super) fn choose_provenance(
    path: &Path,
    named: Option<&Path>,
    own: Option<Value>,
) -> Result<Provenance, Failure> {
    match (named, own) {
        (Some(named), _) => read_beside(named),
        (None, Some(own)) => {
            serde_json::from_value(own).map_err(|error| not_provenance(path, &error))
        }
        (None, None) => Err(Failure::input(format!(
            "{}: does not say where it comes from, which is what is verified; give a file that cic \
             type wrote",
            path.display()
        ))),
    }
}

fn read_csv(path: &Path, provenance: Option<&Path>) -> Result<Written, Failure> {
    let beside = beside(path);
    let provenance = read_beside(provenance.unwrap_or(&beside))?;
    let broken = |error: csv::Error| changed(path, &error);
    let mut reader = ReaderBuilder::new().flexible(true).from_path(path).map_err(broken)?;
    let header = reader.headers().map_err(broken)?.clone();
    let (mut names, mut faults) = (Vec::new(), Vec::new());
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); header.len().saturating_sub(1)];
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(broken)? {
        let name = record.get(0).unwrap_or_default().to_owned();
        if record.len() != header.len() {
            let line = record.position().map_or(0, csv::Position::line);
            faults.push(format!(
                "line {line}, cell {name:?}: has {} fields, expected {}; it was cut or edited \
                 there, and is not read further",
                record.len(),
                header.len()
            ));
            break;
        }
        names.push(name);
        for (column, field) in columns.iter_mut().zip(record.iter().skip(1)) {
            column.push(Some(field.to_owned()));
        }
    }
    let mut table = ObsTable::default();
    for (name, column) in header.iter().skip(1).zip(columns) {
        table.insert(name, Column::Text(column));
    }
    let format = if header.get(0) == Some("") { Format::Celltypist } else { Format::Csv };
    Ok(Written {
        format,
        names,
        columns: table,
        codes: None,
        probabilities: None,
        provenance,
        faults,
        is_other_file: false,
    })
}

fn read_json_lines(path: &Path, provenance: Option<&Path>) -> Result<Written, Failure> {
    let broken = |error: std::io::Error| changed(path, &error);
    let mut lines = BufReader::new(File::open(path).map_err(broken)?).lines();
    let first = lines.next().transpose().map_err(broken)?.unwrap_or_default();
    let first: Option<Map<String, Value>> = serde_json::from_str(&first).ok();
    let own = first.and_then(|mut first| first.remove(PROVENANCE));
    let provenance = choose_provenance(path, provenance, own)?;
    let (mut names, mut faults, mut is_whole) = (Vec::new(), Vec::new(), false);
    let mut columns: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for (number, line) in lines.enumerate() {
        let line = line.map_err(broken)?;
        let Ok(cell) = serde_json::from_str::<Map<String, Value>>(&line) else {
            faults.push(format!(
                "line {}: is no JSON object; it was cut or edited there",
                number + 2
            ));
            break;
        };
        if cell.contains_key(VERDICT) {
            is_whole = true;
            break;
        }
        let row = names.len();
        names.push(cell.get(BARCODE).map(shown).unwrap_or_default());
        for (name, value) in cell.iter().filter(|(name, _)| *name != BARCODE) {
            let at = columns.iter().position(|(known, _)| known == name).unwrap_or(columns.len());
            if at == columns.len() {
                columns.push((name.clone(), Vec::new()));
            }
            columns[at].1.resize(row, None);
            columns[at].1.push(Some(shown(value)));
        }
    }
    if !is_whole && faults.is_empty() {
        let last = names.last().map_or("the first line", String::as_str);
        faults.push(format!("ends after {last} without the line {VERDICT:?}: it was cut there"));
    }
    let mut table = ObsTable::default();
    for (name, mut column) in columns {
        column.resize(names.len(), None);
        table.insert(name, Column::Text(column));
    }
    Ok(Written {
        format: Format::Jsonl,
        names,
        columns: table,
        codes: None,
        probabilities: None,
        provenance,
        faults,
        is_other_file: false,
    })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn read_h5ad(path: &Path, provenance: Option<&Path>) -> Result<Written, Failure> {
    let broken = |error: DataError| changed(path, &error);
    let own = read_uns(path, "cic").map_err(broken)?;
    let provenance = match (provenance, own) {
        (None, Some(own)) => {
            Provenance::from_uns(own).map_err(|error| not_provenance(path, &error))?
        }
        (named, _) => choose_provenance(path, named, None)?,
    };
    let reader = ExpressionReader::open(path, &ReadOptions::default(), BlockSize::default());
    let head = reader.map_err(broken)?.head().clone();
    let array = |name| -> Result<Option<Vec<f32>>, Failure> {
        Ok(read_obsm(path, name).map_err(broken)?.map(|(_, values)| values))
    };
    let (codes, probabilities) = (array("X_cic")?, array("cic_prob")?);
    Ok(Written {
        format: Format::H5ad,
        names: head.obs_names.clone(),
        columns: head.obs.clone(),
        codes,
        probabilities,
        provenance,
        faults: Vec::new(),
        is_other_file: false,
    })
}

/// A file that is no longer what `cic type` writes.
pub(super) fn changed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let error = error.to_string();
    let path = path.display().to_string();
    // Most errors name the file already.
    let place = if error.contains(&path) { String::new() } else { format!("{path}: ") };
    Failure::Gate(anyhow::anyhow!("{place}{error}; it is not as cic type wrote it"))
}
