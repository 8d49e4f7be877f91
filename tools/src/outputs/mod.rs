//! What `cic type` writes: one table of calls, in the formats that others read.

mod anndata;
pub(crate) mod columns;
mod json_lines;
#[cfg(feature = "parquet")]
mod parquet;
pub(crate) mod provenance;
pub(crate) mod read;
mod tables;

use std::path::{Path, PathBuf};

use cic_data::AtomicFile;

use crate::console::print;
use crate::digests::Digesting;
use crate::failure::Failure;
use crate::output;
use crate::typed::TypedCells;
use provenance::{Provenance, beside};

pub(crate) use anndata::anndata;
pub(crate) use tables::write_probability_row;

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated, as Cell Ranger's cell_types.csv
    Csv,
    /// Comma-separated, as CellTypist's predicted_labels.csv
    Celltypist,
    /// JSON, an object per line
    Jsonl,
    /// Parquet, in builds with the feature `parquet`
    Parquet,
    /// AnnData
    H5ad,
}

impl Format {
    /// What the ending of a name says.
    pub(crate) fn by_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Csv),
            "h5ad" => Some(Self::H5ad),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// CellTypist's names of its tables, after the prefix.
pub(crate) const LABELS: &str = "predicted_labels";
pub(crate) const PROBABILITIES: &str = "probability_matrix";

/// Where a table goes, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `None` for standard output.
    pub(crate) path: Option<PathBuf>,
    pub(crate) format: Format,
}

impl Target {
    /// By the name's ending, unless the format is declared.
    pub(crate) fn new(path: &Path, declared: Option<Format>) -> Result<Self, Failure> {
        let is_stdout = path == Path::new("-");
        let by_name = if is_stdout { Some(Format::Csv) } else { Format::by_name(path) };
        let Some(format) = declared.or(by_name) else {
            return Err(Failure::usage(format!(
                "{}: the ending says no format: name the output .csv, .h5ad, .jsonl or .parquet, \
                 or declare it with --format; - is standard output",
                path.display()
            )));
        };
        if is_stdout && matches!(format, Format::H5ad | Format::Parquet) {
            return Err(Failure::usage(
                "AnnData and Parquet are not written to standard output: name a file with -o",
            ));
        }
        if format == Format::Parquet && !cfg!(feature = "parquet") {
            return Err(Failure::usage(format!(
                "{}: this build writes no Parquet: write .csv or .jsonl, or build with cargo build \
                 --release -p cic-tools --features parquet",
                path.display()
            )));
        }
        Ok(Self { path: (!is_stdout).then(|| path.to_path_buf()), format })
    }

    /// Files that are written, for the check before the work.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let Some(path) = &self.path else { return Vec::new() };
        match self.has_provenance_beside() {
            true => vec![path.clone(), beside(path)],
            false => vec![path.clone()],
        }
    }

    fn has_provenance_beside(&self) -> bool {
        matches!(self.format, Format::Csv | Format::Celltypist)
    }
}

/// Writes a table of a format other than AnnData, and what it needs beside it.
pub(crate) fn write_table(
    target: &Target,
    cells: &TypedCells<'_>,
    mut provenance: Provenance,
) -> Result<(), Failure> {
    let Some(path) = &target.path else {
        return print(|out| match target.format {
            Format::Celltypist => tables::write_celltypist(out, cells),
            Format::Jsonl => json_lines::write(out, cells, &provenance),
            _ => tables::write_csv(out, cells),
        });
    };
    if !target.has_provenance_beside() {
        return match target.format {
            Format::Jsonl => output::write(path, |out| json_lines::write(out, cells, &provenance)),
            #[cfg(feature = "parquet")]
            Format::Parquet => parquet::write(path, cells, &provenance),
            _ => Err(Failure::internal("a format without a writer")),
        };
    }
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| output::failed(&path, error)
    };
    let mut table = Digesting::new(AtomicFile::create(path).map_err(failed(path))?);
    let written = match target.format {
        Format::Celltypist => tables::write_celltypist(&mut table, cells),
        _ => tables::write_csv(&mut table, cells),
    };
    written.map_err(|error| output::not_written(path, error))?;
    let (table, digest) = table.finish();
    provenance.output_sha256 = Some(digest);
    let text = serde_json::to_string_pretty(&provenance).map_err(Failure::internal)?;
    let about = beside(path);
    // Both are on the disk before either has its name.
    let mut file = AtomicFile::create(&about).map_err(failed(&about))?;
    let written = std::io::Write::write_all(&mut file, (text + "\n").as_bytes());
    written.map_err(|error| output::not_written(&about, error))?;
    let table = table.ready().map_err(failed(path))?;
    let file = file.ready().map_err(failed(&about))?;
    file.commit().map_err(failed(&about))?;
    table.commit().map_err(failed(path))
}
