//! Output folders of Cell Ranger and Xenium: which of the matrices in them is meant.

use std::path::{Path, PathBuf};

use crate::error::DataError;

/// Names of the matrix of cells, the quickest to read first; the name of a run may stand before them, with `_`.
const MATRICES: [&str; 8] = [
    "filtered_feature_bc_matrix.h5",
    "filtered_feature_bc_matrix",
    "cell_feature_matrix.h5",
    "cell_feature_matrix",
    "filtered_gene_bc_matrices_h5.h5",
    "filtered_gene_bc_matrices.h5",
    "filtered_gene_bc_matrices",
    "outs",
];

/// Of all droplets, with and without a cell.
const RAW: [&str; 3] =
    ["raw_feature_bc_matrix.h5", "raw_feature_bc_matrix", "raw_gene_bc_matrices"];

/// The matrix in an output folder; `None` where the path is a file, or a folder of another kind.
pub(crate) fn matrix_in(path: &Path) -> Result<Option<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(None);
    }
    let names = names(path)?;
    for matrix in MATRICES {
        let found: Vec<&String> = names.iter().filter(|name| is_of(name, matrix)).collect();
        match found[..] {
            [] => {}
            [name] => return inside(&path.join(name)).map(Some),
            _ => return Err(several(path, &found)),
        }
    }
    match names.iter().find(|name| RAW.iter().any(|raw| is_of(name, raw))) {
        Some(raw) => Err(DataError::MissingPart {
            path: path.to_path_buf(),
            part: format!("{} or {}", MATRICES[0], MATRICES[1]),
            advice: format!(
                "{raw} holds droplets without a cell too, which would be typed; give it itself if it is meant"
            ),
        }),
        None => Ok(None),
    }
}

/// Folders by genome, as Cell Ranger 2 wrote them, and what is in `outs`.
fn inside(found: &Path) -> Result<PathBuf, DataError> {
    if found.ends_with("outs") {
        return Ok(matrix_in(found)?.unwrap_or_else(|| found.to_path_buf()));
    }
    let is_by_genome = found.is_dir() && found.to_string_lossy().ends_with("gene_bc_matrices");
    if !is_by_genome {
        return Ok(found.to_path_buf());
    }
    let names = names(found)?;
    let genomes: Vec<&String> = names.iter().filter(|name| found.join(name).is_dir()).collect();
    match genomes[..] {
        [] => Ok(found.to_path_buf()),
        [genome] => Ok(found.join(genome)),
        _ => Err(several(found, &genomes)),
    }
}

fn is_of(name: &str, matrix: &str) -> bool {
    let run = name.strip_suffix(matrix);
    run.is_some_and(|run| run.is_empty() || (run.ends_with('_') && matrix != "outs"))
}

fn names(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = folder.read_dir().map_err(DataError::io(folder))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(DataError::io(folder))?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn several(folder: &Path, names: &[&String]) -> DataError {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    DataError::MissingPart {
        path: folder.to_path_buf(),
        part: "single matrix".into(),
        advice: format!("give one of {} itself", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a folder with these files and, with `/` at the end, folders.
    fn found(names: &[&str]) -> Result<Option<String>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            match name.strip_suffix('/') {
                Some(_) => std::fs::create_dir_all(&path).unwrap(),
                None => {
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(&path, b"x").unwrap();
                }
            }
        }
        let path = matrix_in(folder.path())?;
        let relative = |path: PathBuf| {
            path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned()
        };
        Ok(path.map(relative))
    }

    #[test]
    fn the_matrix_of_cells_is_found() {
        for (names, expected) in [
            (
                &["raw_feature_bc_matrix/", "filtered_feature_bc_matrix/"][..],
                "filtered_feature_bc_matrix",
            ),
            (
                &[
                    "filtered_feature_bc_matrix/",
                    "filtered_feature_bc_matrix.h5",
                    "web_summary.html",
                ],
                "filtered_feature_bc_matrix.h5",
            ),
            (&["pbmc_1k_filtered_feature_bc_matrix.h5"], "pbmc_1k_filtered_feature_bc_matrix.h5"),
            (&["sample_filtered_feature_bc_matrix/"], "sample_filtered_feature_bc_matrix"),
            (&["_log", "outs/filtered_feature_bc_matrix.h5"], "outs/filtered_feature_bc_matrix.h5"),
            (
                &["cell_feature_matrix/", "cells.parquet", "experiment.xenium"],
                "cell_feature_matrix",
            ),
            (&["filtered_gene_bc_matrices/hg19/matrix.mtx"], "filtered_gene_bc_matrices/hg19"),
        ] {
            assert_eq!(found(names).unwrap().as_deref(), Some(expected));
        }
        for other in [&["matrix.mtx", "genes.tsv"][..], &["unfiltered_feature_bc_matrix"], &[]] {
            assert_eq!(found(other).unwrap(), None);
        }
    }

    #[test]
    fn what_is_not_clear_is_asked_for() {
        for (names, says) in [
            (&["raw_feature_bc_matrix.h5"][..], "raw_feature_bc_matrix.h5 holds droplets"),
            (
                &["a_filtered_feature_bc_matrix.h5", "b_filtered_feature_bc_matrix.h5"],
                "a_filtered_feature_bc_matrix.h5, b_",
            ),
            (&["filtered_gene_bc_matrices/hg19/", "filtered_gene_bc_matrices/mm10/"], "hg19, mm10"),
        ] {
            let error = found(names).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
