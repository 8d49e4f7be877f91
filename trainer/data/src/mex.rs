//! 10x folders: `matrix.mtx`, `features.tsv` or `genes.tsv`, `barcodes.tsv`, each perhaps
//! compressed, all with the same prefix or none. DRAGEN writes the matrix of all barcodes and, with
//! `filtered.` in its prefix, that of cells; both share the file of the genes.

use std::path::{Path, PathBuf};

use crate::cell_blocks::{BlockSize, CellBlocks, WholeBlocks};
use crate::error::DataError;
use crate::expression::{ExpressionHead, Gene, Source, check_addressable, is_ensembl_gene_id};
use crate::expression_reader::{EntryOrder, Opened};
use crate::matrix::CsrMatrix;
use crate::matrix_market;
use crate::mtx_blocks::MtxBlocks;
use crate::obs::ObsTable;
use crate::text_source::TextSource;

/// Opens the folder's one matrix.
pub(crate) fn open_folder(
    folder: &Path,
    order: EntryOrder,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let mut matrices = Vec::new();
    for entry in folder.read_dir().map_err(DataError::io(folder))? {
        let name = entry.map_err(DataError::io(folder))?.file_name();
        if let Some(name) = name.to_str().filter(|name| prefix_of(name).is_some()) {
            matrices.push(name.to_string());
        }
    }
    matrices.sort();
    let mut prefixes: Vec<&str> = matrices.iter().filter_map(|name| prefix_of(name)).collect();
    prefixes.dedup();
    let all = prefixes.clone();
    prefixes.retain(|prefix| !all.contains(&format!("{prefix}{FILTERED}").as_str()));
    match prefixes[..] {
        [prefix] => {
            // Where a packed and an unpacked copy stand side by side, the packed one, as 10x wrote it.
            let mut of = matrices.iter().rev().filter(|name| prefix_of(name) == Some(prefix));
            let name = of.next().map_or("", String::as_str);
            let mut opened = open(folder, &folder.join(name), order, size)?;
            if all.len() > 1 {
                opened.head.source.notes.push(format!("read {name}, which holds the cells alone"));
            }
            Ok(opened)
        }
        [] => Err(DataError::MissingPart {
            path: folder.to_path_buf(),
            part: "matrix.mtx or matrix.mtx.gz".into(),
            advice: "a 10x folder holds matrix.mtx, features.tsv and barcodes.tsv; \
                     for another format give the file itself"
                .into(),
        }),
        _ => Err(DataError::MissingPart {
            path: folder.to_path_buf(),
            part: "single matrix".into(),
            advice: format!("give one of {} itself", matrices.join(", ")),
        }),
    }
}

/// Opens a matrix file with the two files beside it.
pub(crate) fn open_beside(
    matrix: &Path,
    order: EntryOrder,
    size: BlockSize,
) -> Result<Opened, DataError> {
    open(matrix, matrix, order, size)
}

fn open(
    asked: &Path,
    matrix: &Path,
    order: EntryOrder,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let features_path = beside(matrix, &["features.tsv", "genes.tsv"])?;
    let barcodes_path = beside(matrix, BARCODES)?;
    let features = read_lines(&features_path)?;
    let obs_names = read_lines(&barcodes_path)?
        .into_iter()
        .map(|line| line.split('\t').next().unwrap_or_default().to_string())
        .collect::<Vec<_>>();
    check_addressable(matrix, "features", features.len())?;
    check_addressable(matrix, "barcodes", obs_names.len())?;
    let mut genes = Vec::with_capacity(features.len());
    let mut types = Vec::new();
    for line in &features {
        let mut fields = line.split('\t');
        genes.push(gene(fields.next().unwrap_or_default(), fields.next()));
        types.extend(fields.next().map(String::from));
    }
    let source = Source {
        path: asked.to_path_buf(),
        format: "10x matrix.mtx".into(),
        matrix: "matrix".into(),
        files: vec![matrix.to_path_buf(), features_path, barcodes_path],
        ..Source::default()
    };
    let head = ExpressionHead { obs_names, genes, obs: ObsTable::default(), source };
    let (n_genes, n_cells) = (head.genes.len(), head.obs_names.len());
    let blocks: Box<dyn CellBlocks> = match order {
        EntryOrder::ByCell => Box::new(MtxBlocks::open(matrix, n_genes, n_cells, size)?),
        EntryOrder::Any => {
            let all = matrix_market::read(matrix, n_genes, n_cells)?;
            let values = CsrMatrix::normalise(n_genes, all.indptr, all.genes, all.values);
            let values = values.map_err(|fault| fault.named(head.names()))?;
            Box::new(WholeBlocks::new(values, size))
        }
    };
    Ok(Opened { head, feature_types: types, blocks })
}

/// A gene from the first two columns. 10x puts the id first; where only the second is one of Ensembl, it
/// is the other way round.
fn gene(first: &str, second: Option<&str>) -> Gene {
    match second.filter(|second| is_ensembl_gene_id(second) && !is_ensembl_gene_id(first)) {
        Some(id) => Gene::new(id, Some(first), None),
        None => Gene::new(first, second, None),
    }
}

/// The file beside the matrix, with the matrix file's prefix, compressed or not.
fn beside(matrix: &Path, names: &[&str]) -> Result<PathBuf, DataError> {
    let folder = matrix.parent().unwrap_or(Path::new(""));
    let name = matrix.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let prefix = prefix_of(name).unwrap_or_default();
    let shared = prefix.strip_suffix(FILTERED).filter(|_| names != BARCODES);
    [Some(prefix), shared]
        .into_iter()
        .flatten()
        .flat_map(|prefix| names.iter().map(move |name| format!("{prefix}{name}")))
        .flat_map(|name| [format!("{name}.gz"), name])
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| DataError::MissingPart {
            path: folder.to_path_buf(),
            part: format!("{prefix}{}[.gz]", names.join("[.gz] or ")),
            advice: format!("it must stand beside {name}"),
        })
}

/// What stands before `matrix.mtx` in a file name of that form.
fn prefix_of(name: &str) -> Option<&str> {
    name.strip_suffix(".gz").unwrap_or(name).strip_suffix("matrix.mtx")
}

/// The lines of a small text file; an empty last line is none.
fn read_lines(path: &Path) -> Result<Vec<String>, DataError> {
    let text = TextSource::open(path)?.read_to_string()?;
    let lines: Vec<String> = text.lines().map(String::from).collect();
    match lines.iter().position(|line| line.is_empty()) {
        None => Ok(lines),
        Some(at) => Err(DataError::Table {
            path: path.to_path_buf(),
            line: at as u64 + 1,
            reason: "an empty line; expected a name; remove the line, or name what it stands for"
                .into(),
        }),
    }
}

const BARCODES: &[&str] = &["barcodes.tsv"];
/// What DRAGEN puts before `matrix.mtx` and `barcodes.tsv` of the barcodes that are cells.
const FILTERED: &str = "filtered.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::{ExpressionMatrix, ReadOptions, read_expression};

    fn read(path: &Path) -> Result<ExpressionMatrix, DataError> {
        read_expression(path, &ReadOptions::default())
    }

    const MATRIX: &str = "%%MatrixMarket matrix coordinate integer general\n3 2 3\n\
                          1 1 5\n3 1 7\n2 2 9\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn features_may_have_one_two_or_three_columns_a_mark_and_crlf() {
        for (name, features) in [
            ("genes.tsv", "G1\nG2\nG3\n"),
            ("genes.tsv", "\u{feff}G1\tA\r\nG2\tB\r\nG3\tC\r\n"),
            (
                "features.tsv",
                "G1\tA\tGene Expression\nG2\tB\tGene Expression\nG3\tC\tGene Expression",
            ),
        ] {
            let folder =
                folder(&[("matrix.mtx", MATRIX), (name, features), ("barcodes.tsv", "c1\nc2\n")]);
            let matrix = read(folder.path()).unwrap();
            assert_eq!(matrix.genes[0].id, "G1");
            assert_eq!(matrix.values.row(0), (&[0, 2][..], &[5.0, 7.0][..]));
            assert!(matrix.source.notes.is_empty());
        }
    }

    #[test]
    fn other_features_are_left_out_and_counted() {
        let features = "G1\tA\tGene Expression\nP\tCD3\tAntibody Capture\nG3\tC\tGene Expression\n";
        let files =
            [("matrix.mtx", MATRIX), ("features.tsv", features), ("barcodes.tsv", "c1\nc2")];
        let matrix = read(folder(&files).path()).unwrap();
        assert_eq!(matrix.n_vars(), 2);
        assert_eq!(matrix.values.row(0), (&[0, 1][..], &[5.0, 7.0][..]));
        assert_eq!(matrix.values.row(1).0.len(), 0);
        assert!(matrix.source.notes[0].starts_with("1 features"));

        let features = "G1\tA\tPeaks\nG2\tB\tPeaks\nG3\tC\tPeaks\n";
        let files =
            [("matrix.mtx", MATRIX), ("features.tsv", features), ("barcodes.tsv", "c1\nc2")];
        let error = read(folder(&files).path()).unwrap_err();
        assert!(error.to_string().contains("Peaks"), "{error}");
    }

    #[test]
    fn files_share_a_prefix_and_the_matrix_file_may_be_given_itself() {
        let folder = folder(&[
            ("S1_matrix.mtx", MATRIX),
            ("S1_genes.tsv", "G1\nG2\nG3\n"),
            ("S1_barcodes.tsv", "c1\nc2\n"),
            ("S2_matrix.mtx", MATRIX),
        ]);
        let matrix = read(&folder.path().join("S1_matrix.mtx")).unwrap();
        assert_eq!(matrix.obs_names, ["c1", "c2"]);
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("S1_matrix.mtx, S2_matrix.mtx"), "{error}");
        let error = read(&folder.path().join("S2_matrix.mtx")).unwrap_err();
        assert!(error.to_string().contains("S2_features.tsv"), "{error}");
    }

    #[test]
    fn an_empty_folder_and_missing_names_are_refused() {
        assert!(matches!(
            read(folder(&[]).path()),
            Err(DataError::MissingPart { part, .. }) if part.contains("matrix.mtx")
        ));
        let files =
            [("matrix.mtx", MATRIX), ("genes.tsv", "G1\n\nG3\n"), ("barcodes.tsv", "c1\nc2")];
        assert!(matches!(read(folder(&files).path()), Err(DataError::Table { line: 2, .. })));
    }

    #[test]
    fn barcodes_must_be_unique() {
        let files =
            [("matrix.mtx", MATRIX), ("genes.tsv", "G1\nG2\nG3"), ("barcodes.tsv", "c1\nc1")];
        let error = read(folder(&files).path()).unwrap_err();
        assert!(matches!(error, DataError::DuplicateObsName { .. }), "{error}");
    }
}
