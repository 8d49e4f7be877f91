//! Expression matrices with the names of their cells and genes, and how a file becomes one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use cic_model::ValueKind;
use cic_model::genes::strip_version;

use crate::cell_blocks::BlockSize;
use crate::error::DataError;
use crate::expression_reader::ExpressionReader;
use crate::matrix::CsrMatrix;
use crate::obs::ObsTable;
use crate::scale::check_scale;

/// Gene expression profiles: one row per cell or sample, one column per gene.
#[derive(Clone, Debug)]
pub struct ExpressionMatrix {
    /// Names of the rows, unique.
    pub obs_names: Vec<String>,
    /// The columns, as the file has them: duplicates are kept, a gene panel decides about them.
    pub genes: Vec<Gene>,
    /// The values, `obs_names.len()` × `genes.len()`.
    pub values: CsrMatrix,
    /// What else the file says about the rows.
    pub obs: ObsTable,
    /// Where it came from.
    pub source: Source,
}

impl ExpressionMatrix {
    /// Number of cells or samples.
    pub fn n_obs(&self) -> usize {
        self.obs_names.len()
    }

    /// Number of genes.
    pub fn n_vars(&self) -> usize {
        self.genes.len()
    }

    /// The names, for messages.
    pub fn names(&self) -> Names<'_> {
        Names { path: &self.source.path, obs: &self.obs_names, genes: &self.genes }
    }
}

/// What a file says about its cells and genes, without the values.
#[derive(Clone, Debug, Default)]
pub struct ExpressionHead {
    /// Names of the cells, unique.
    pub obs_names: Vec<String>,
    /// The genes, as the file has them.
    pub genes: Vec<Gene>,
    /// What else the file says about the cells.
    pub obs: ObsTable,
    /// Where it came from.
    pub source: Source,
}

impl ExpressionHead {
    /// The names, for messages.
    pub fn names(&self) -> Names<'_> {
        Names { path: &self.source.path, obs: &self.obs_names, genes: &self.genes }
    }

    /// Refuses a file without cells or genes, and names of cells that are empty or stand twice.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let path = &self.source.path;
        let expected = if self.obs_names.is_empty() { Some("at least one cell") } else { None }
            .or(self.genes.is_empty().then_some("at least one gene"));
        if let Some(expected) = expected {
            return Err(DataError::Empty { path: path.clone(), expected });
        }
        if let Some(row) = self.obs_names.iter().position(String::is_empty) {
            return Err(DataError::MissingPart {
                path: path.clone(),
                part: format!("name for row {row}, counted from 0"),
                advice: "every cell needs one: its barcode, or its number".into(),
            });
        }
        check_unique(path, &self.obs_names)
    }
}

/// The names that a message about some values needs.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The file.
    pub path: &'a Path,
    /// The cells.
    pub obs: &'a [String],
    /// The genes.
    pub genes: &'a [Gene],
}

impl Names<'_> {
    /// The name of a cell, or its number.
    pub(crate) fn cell(&self, row: usize) -> String {
        self.obs.get(row).cloned().unwrap_or_else(|| row.to_string())
    }

    /// The id of a gene, or its number.
    pub(crate) fn gene(&self, column: usize) -> String {
        self.genes.get(column).map_or_else(|| column.to_string(), |gene| gene.id.clone())
    }
}

/// What a file says about one gene.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gene {
    /// The primary id: AnnData's `var` index, the first column of `features.tsv`, the row or
    /// column name of a table.
    pub id: String,
    /// The symbol. Where a file has no symbols and the id is not an Ensembl id, the id stands
    /// here too; only a panel can tell an opaque probe name from a symbol.
    pub symbol: Option<String>,
    /// The Ensembl gene id as written, with its version if there is one.
    pub ensembl: Option<String>,
}

impl Gene {
    /// A gene from what a file has. Empty texts count as absent; `ensembl` is taken only if it
    /// looks like an Ensembl gene id.
    pub fn new(id: impl Into<String>, symbol: Option<&str>, ensembl: Option<&str>) -> Self {
        let id = id.into();
        let id_is_ensembl = is_ensembl_gene_id(&id);
        let symbol = symbol.filter(|text| !text.is_empty()).map(String::from);
        let ensembl = ensembl.filter(|text| is_ensembl_gene_id(text)).map(String::from);
        Self {
            symbol: symbol.or_else(|| (!id_is_ensembl).then(|| id.clone())),
            ensembl: ensembl.or_else(|| id_is_ensembl.then(|| id.clone())),
            id,
        }
    }

    /// What tells the genes of a file apart: the unversioned Ensembl id where there is one, else the
    /// id.
    pub fn key(&self) -> &str {
        self.ensembl.as_deref().map_or(&self.id, strip_version)
    }
}

/// Whether a text has the form of an Ensembl gene id: `ENS`, a species code or none, `G`, eleven
/// digits, and perhaps a version.
pub fn is_ensembl_gene_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("ENS") else { return false };
    let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
    let (species, number) = rest.split_at(letters);
    let (number, version) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    species.ends_with('G') && number.len() == 11 && digits(number) && digits(version)
}

/// Where an expression matrix came from, for messages and provenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The path that was asked for.
    pub path: PathBuf,
    /// The format that was recognised, in words.
    pub format: String,
    /// The matrix inside the file: `X`, `raw/X`, `layers/NAME`, `matrix`.
    pub matrix: String,
    /// What a user should know: features left out, an orientation that was detected.
    pub notes: Vec<String>,
    /// What an AnnData file holds beside its cells, genes and the chosen matrix: `layers`,
    /// `obsm/X_pca`, `var/highly_variable`.
    pub not_read: Vec<String>,
    /// The files that were read: the one that was asked for, or those of a folder.
    pub files: Vec<PathBuf>,
}

/// How to read a file. The default reads `X` and detects what can be detected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Which matrix of the file.
    pub layer: MatrixChoice,
    /// For text tables: what the rows are; detected when `None`.
    pub orientation: Option<Orientation>,
    /// What the values are. If given, every cell is checked against it while reading (see
    /// [`check_scale`]); if not, nothing is checked yet.
    pub value_kind: Option<ValueKind>,
}

/// Which matrix of a file that may hold several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MatrixChoice {
    /// The main one.
    #[default]
    X,
    /// AnnData's `raw`, with its own genes.
    Raw,
    /// AnnData's `layers/NAME`.
    Layer(String),
}

/// What the rows of a text table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// A row per gene, a column per cell or sample.
    GenesByObs,
    /// A row per cell or sample, a column per gene.
    ObsByGenes,
}

/// Reads an expression file or 10x folder. The format is recognised by content: AnnData `.h5ad`,
/// Cell Ranger `.h5` (version 2 and 3), a folder with `matrix.mtx[.gz]` or that file itself,
/// tab- or comma-separated text, gzip-compressed or not.
///
/// # Errors
/// Whatever is wrong with the file; nothing is repaired silently. Names of cells must be unique,
/// values finite and not negative; with [`ReadOptions::value_kind`] they must also be of that kind.
///
/// ```no_run
/// let options = cic_data::ReadOptions::default();
/// let matrix = cic_data::read_expression("pbmc3k.h5ad".as_ref(), &options)?;
/// println!("{} cells, {} genes", matrix.n_obs(), matrix.n_vars());
/// # Ok::<(), cic_data::DataError>(())
/// ```
pub fn read_expression(path: &Path, options: &ReadOptions) -> Result<ExpressionMatrix, DataError> {
    let size = BlockSize { cells: usize::MAX, values: 1 << 20 };
    let matrix = match ExpressionReader::open(path, options, size)?.read_all() {
        Err(DataError::NotByCell { .. }) => {
            ExpressionReader::open_unsorted(path, options, size)?.read_all()?
        }
        read => read?,
    };
    if options.value_kind.is_some() {
        check_scale(&matrix, options.value_kind)?;
    }
    Ok(matrix)
}

/// The error where one of several matrices is asked of a file that has one.
pub(crate) fn no_other_matrices(path: &Path) -> DataError {
    DataError::MissingPart {
        path: path.to_path_buf(),
        part: "raw matrix or layers".into(),
        advice: "only AnnData files have them; leave the choice of a matrix out".into(),
    }
}

/// What is refused where a file's format says what rows are.
pub(crate) fn no_orientations(path: &Path) -> DataError {
    DataError::MissingPart {
        path: path.to_path_buf(),
        part: "table whose rows may be genes or cells".into(),
        advice: "the format says what they are; leave the choice (--rows) out".into(),
    }
}

/// Refuses two lengths that should be one.
pub(crate) fn check_len(
    path: &Path,
    what: &str,
    expected: usize,
    found: usize,
) -> Result<(), DataError> {
    if expected == found {
        return Ok(());
    }
    Err(DataError::Shape {
        path: path.to_path_buf(),
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

/// Refuses more rows or columns than a 32-bit index reaches.
pub(crate) fn check_addressable(path: &Path, what: &str, len: usize) -> Result<(), DataError> {
    if u32::try_from(len).is_ok() {
        return Ok(());
    }
    Err(DataError::Shape {
        path: path.to_path_buf(),
        what: what.into(),
        expected: format!("at most {}", u32::MAX),
        found: len.to_string(),
    })
}

/// Refuses a name that stands twice. Hashes are sorted instead of kept in a table: for a million
/// names that is a quarter of the memory.
pub(crate) fn check_unique(path: &Path, names: &[String]) -> Result<(), DataError> {
    let state = RandomState::new();
    let mut hashes: Vec<(u64, usize)> =
        names.iter().enumerate().map(|(row, name)| (state.hash_one(name), row)).collect();
    hashes.sort_unstable();
    let twice = hashes.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1).flat_map(|same| {
        (1..same.len()).filter_map(|at| {
            let second = same[at].1;
            let first = same[..at].iter().find(|(_, first)| names[*first] == names[second])?;
            Some((second, first.1))
        })
    });
    let Some((second, first)) = twice.min() else { return Ok(()) };
    Err(DataError::DuplicateObsName {
        path: path.to_path_buf(),
        name: names[second].clone(),
        first,
        second,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_ensembl_gene_ids_of_any_species_and_version() {
        for id in ["ENSG00000141510", "ENSG00000141510.18", "ENSMUSG00000059552"] {
            assert!(is_ensembl_gene_id(id), "{id}");
        }
        for id in ["ENSG0000014151", "ENST00000269305", "ENSG00000141510.", "TP53", "ENS", ""] {
            assert!(!is_ensembl_gene_id(id), "{id}");
        }
    }

    #[test]
    fn a_gene_takes_symbol_and_ensembl_id_from_its_id_where_the_file_has_no_others() {
        let gene = Gene::new("TP53", None, Some(""));
        assert_eq!((gene.symbol.as_deref(), gene.ensembl), (Some("TP53"), None));
        let gene = Gene::new("ENSG00000141510", None, None);
        assert_eq!((gene.symbol, gene.ensembl.as_deref()), (None, Some("ENSG00000141510")));
        let gene = Gene::new("ENSG00000141510.18", Some("TP53"), None);
        assert_eq!(gene.symbol.as_deref(), Some("TP53"));
    }

    #[test]
    fn names_of_cells_must_be_unique() {
        let names = ["a", "b", "a"].map(String::from);
        let error = check_unique(Path::new("f"), &names).unwrap_err();
        assert!(matches!(error, DataError::DuplicateObsName { first: 0, second: 2, .. }));
    }
}
