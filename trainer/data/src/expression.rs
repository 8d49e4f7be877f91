//! Expression matrices with the names of their cells and genes, and how a file becomes one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cic_model::ValueKind;

use crate::error::DataError;
use crate::h5_source::H5Source;
use crate::matrix::{CsrMatrix, MatrixFault};
use crate::obs::ObsTable;
use crate::scale::check_scale;
use crate::sniff::{FileKind, sniff};
use crate::{cellranger, delimited, h5ad, mex};

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
    let kind = sniff(path)?;
    if kind != FileKind::Hdf5 && options.layer != MatrixChoice::X {
        return Err(no_other_matrices(path));
    }
    let matrix = match kind {
        FileKind::Hdf5 => {
            let source = H5Source::open(path)?;
            if h5ad::is_h5ad(&source)? {
                h5ad::read(&source, &options.layer)?
            } else if options.layer != MatrixChoice::X {
                return Err(no_other_matrices(path));
            } else {
                cellranger::read(&source)?
            }
        }
        FileKind::MexFolder => mex::read_folder(path)?,
        FileKind::MatrixMarket => mex::read_beside(path)?,
        FileKind::Text => delimited::read(path, options.orientation)?,
    };
    if options.value_kind.is_some() {
        check_scale(&matrix, options.value_kind)?;
    }
    Ok(matrix)
}

fn no_other_matrices(path: &Path) -> DataError {
    DataError::MissingPart {
        path: path.to_path_buf(),
        part: "raw matrix or layers".into(),
        advice: "only AnnData files have them; leave the choice of a matrix out".into(),
    }
}

/// The parts that every reader ends with.
pub(crate) struct Parts {
    pub(crate) obs_names: Vec<String>,
    pub(crate) genes: Vec<Gene>,
    pub(crate) obs: ObsTable,
    pub(crate) source: Source,
}

impl Parts {
    /// Checks the names and joins them with the values; a fault in the values gets its names here.
    pub(crate) fn assemble(
        self,
        values: Result<CsrMatrix, MatrixFault>,
    ) -> Result<ExpressionMatrix, DataError> {
        let path = &self.source.path;
        let expected = if self.obs_names.is_empty() { Some("at least one cell") } else { None }
            .or(self.genes.is_empty().then_some("at least one gene"));
        if let Some(expected) = expected {
            return Err(DataError::Empty { path: path.clone(), expected });
        }
        check_unique(path, &self.obs_names)?;
        let values = values.map_err(|fault| {
            fault.name(
                path,
                &|row| self.obs_names.get(row).cloned().unwrap_or_else(|| row.to_string()),
                &|column| {
                    self.genes.get(column).map_or_else(|| column.to_string(), |g| g.id.clone())
                },
            )
        })?;
        for (what, expected, found) in [
            ("rows of the matrix", self.obs_names.len(), values.n_rows()),
            ("columns of the matrix", self.genes.len(), values.n_cols),
        ] {
            check_len(path, what, expected, found)?;
        }
        let Self { obs_names, genes, obs, source } = self;
        Ok(ExpressionMatrix { obs_names, genes, values, obs, source })
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

fn check_unique(path: &Path, names: &[String]) -> Result<(), DataError> {
    let mut seen = HashMap::with_capacity(names.len());
    for (second, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name.as_str(), second) {
            return Err(DataError::DuplicateObsName {
                path: path.to_path_buf(),
                name: name.clone(),
                first,
                second,
            });
        }
    }
    Ok(())
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
