//! AnnData files: which matrix, whose cells, whose genes.

use crate::error::DataError;
use crate::expression::{
    ExpressionMatrix, Gene, MatrixChoice, Parts, Source, check_addressable, check_len,
};
use crate::h5_source::{H5Source, Node, Values};
use crate::h5ad_frame::Frame;
use crate::matrix::{CsrMatrix, MatrixFault, RowBuilder};
use crate::obs::{Column, ObsTable};

/// Whether the file has the two tables of every AnnData file.
pub(crate) fn is_h5ad(source: &H5Source) -> Result<bool, DataError> {
    Ok(source.node("obs")?.is_some() && source.node("var")?.is_some())
}

/// Reads one matrix of the file with its cells and genes.
pub(crate) fn read(
    source: &H5Source,
    choice: &MatrixChoice,
) -> Result<ExpressionMatrix, DataError> {
    let (matrix, var) = locate(source, choice)?;
    let frame = Frame::open(source, "obs")?;
    let obs_names = frame.index()?;
    let genes = read_genes(source, &var)?;
    check_addressable(source.path(), "cells", obs_names.len())?;
    check_addressable(source.path(), "genes", genes.len())?;
    let mut obs = ObsTable::default();
    for name in frame.column_names()? {
        match frame.column(&name) {
            Ok(column) if column.len() == obs_names.len() => obs.insert(name, column),
            Ok(column) => {
                check_len(source.path(), &format!("obs[{name:?}]"), obs_names.len(), column.len())?;
            }
            Err(error) => obs.insert_unreadable(name, error.to_string()),
        }
    }
    let values = read_matrix(source, &matrix, &obs_names, &genes)?;
    let notes = obs
        .unreadable()
        .iter()
        .map(|(name, reason)| format!("obs column {name:?} was not read: {reason}"))
        .collect();
    let format = if frame.is_legacy() { "AnnData .h5ad (old layout)" } else { "AnnData .h5ad" };
    let source = Source { path: source.path().into(), format: format.into(), matrix, notes };
    Parts { obs_names, genes, obs, source }.assemble(values)
}

/// The paths of the matrix and of its gene table.
fn locate(source: &H5Source, choice: &MatrixChoice) -> Result<(String, String), DataError> {
    let candidates: Vec<(String, &str)> = match choice {
        MatrixChoice::X => vec![("X".into(), "var")],
        MatrixChoice::Raw => vec![("raw/X".into(), "raw/var"), ("raw.X".into(), "raw.var")],
        MatrixChoice::Layer(name) => vec![(format!("layers/{name}"), "var")],
    };
    for (matrix, var) in &candidates {
        if source.node(matrix)?.is_some() {
            return Ok((matrix.clone(), (*var).into()));
        }
    }
    let layers = match source.has_group("layers")? {
        true => source.members("layers")?,
        false => Vec::new(),
    };
    let mut available: Vec<String> = ["X", "raw/X", "raw.X"]
        .into_iter()
        .filter(|matrix| matches!(source.node(matrix), Ok(Some(_))))
        .map(String::from)
        .collect();
    available.extend(layers.iter().map(|name| format!("layers/{name}")));
    Err(DataError::MissingPart {
        path: source.path().to_path_buf(),
        part: format!("matrix {:?}", candidates[0].0),
        advice: match available.is_empty() {
            true => "it holds no matrix at all".into(),
            false => format!("it has: {}", available.join(", ")),
        },
    })
}

fn read_genes(source: &H5Source, var: &str) -> Result<Vec<Gene>, DataError> {
    let frame = Frame::open(source, var)?;
    let ids = frame.index()?;
    let names = frame.column_names()?;
    // A gene column that cannot be read is passed over like one that is absent.
    let find = |candidates: &[&str]| -> Option<Column> {
        let name = candidates.iter().find(|candidate| names.iter().any(|n| n == *candidate))?;
        frame.column(name).ok().filter(|column| column.len() == ids.len())
    };
    let (symbols, ensembl) = (find(SYMBOL_COLUMNS), find(ENSEMBL_COLUMNS));
    let text = |column: &Option<Column>, row: usize| -> Option<String> {
        column.as_ref()?.text(row).map(|text| text.into_owned())
    };
    Ok(ids
        .into_iter()
        .enumerate()
        .map(|(row, id)| {
            Gene::new(id, text(&symbols, row).as_deref(), text(&ensembl, row).as_deref())
        })
        .collect())
}

/// Reads a matrix in any of its encodings. The outer error is a fault of the file, the inner one a
/// fault of the values, which gets its names later.
fn read_matrix(
    source: &H5Source,
    object: &str,
    obs_names: &[String],
    genes: &[Gene],
) -> Result<Result<CsrMatrix, MatrixFault>, DataError> {
    let encoding = match source.attribute(object, "encoding-type")? {
        None => source.attribute(object, "h5sparse_format")?,
        found => found,
    };
    let unknown = |encoding: Option<String>| DataError::UnknownEncoding {
        path: source.path().to_path_buf(),
        object: object.into(),
        encoding: encoding.unwrap_or_else(|| "none".into()),
        expected: "a csr_matrix, a csc_matrix or a dense array",
    };
    let too_large = |cell: usize, gene: usize, value: f64| DataError::CountTooLarge {
        path: source.path().to_path_buf(),
        cell: obs_names.get(cell).cloned().unwrap_or_else(|| cell.to_string()),
        gene: genes.get(gene).map_or_else(|| gene.to_string(), |gene| gene.id.clone()),
        value,
    };
    if source.node(object)? == Some(Node::Dataset) {
        if encoding.as_deref().is_some_and(|encoding| encoding != "array") {
            return Err(unknown(encoding));
        }
        let shape = source.shape(object)?;
        let expected = [obs_names.len(), genes.len()];
        if shape != expected {
            return Err(DataError::Shape {
                path: source.path().to_path_buf(),
                what: format!("shape of {object:?}"),
                expected: format!("{expected:?}, as obs and var have names"),
                found: format!("{shape:?}"),
            });
        }
        let mut rows = RowBuilder::new(genes.len());
        if let Some((at, value)) = source.for_each_row(object, |row| rows.push_dense(row))? {
            return Err(too_large(at / genes.len(), at % genes.len(), value));
        }
        return Ok(rows.finish());
    }
    let by_gene = match encoding.as_deref() {
        Some("csr_matrix" | "csr") => false,
        Some("csc_matrix" | "csc") => true,
        _ => return Err(unknown(encoding)),
    };
    let sparse = read_sparse(source, object)?;
    let (n_rows, n_cols) = match by_gene {
        false => (obs_names.len(), genes.len()),
        true => (genes.len(), obs_names.len()),
    };
    let what = format!("length of {object:?}/indptr");
    check_len(source.path(), &what, n_rows + 1, sparse.indptr.len())?;
    if let Some((at, value)) = sparse.values.too_large {
        let row = sparse.indptr.partition_point(|&start| start <= at).saturating_sub(1);
        let column = sparse.indices.get(at).map_or(0, |&column| column as usize);
        let (cell, gene) = if by_gene { (column, row) } else { (row, column) };
        return Err(too_large(cell, gene, value));
    }
    let matrix = CsrMatrix::normalise(n_cols, sparse.indptr, sparse.indices, sparse.values.data);
    Ok(match by_gene {
        false => matrix,
        true => matrix.map(|matrix| matrix.transpose()).map_err(MatrixFault::transposed),
    })
}

/// The three arrays of a compressed sparse matrix as they stand in the file.
pub(crate) struct Sparse {
    pub(crate) indptr: Vec<usize>,
    pub(crate) indices: Vec<u32>,
    pub(crate) values: Values,
}

/// Reads `indptr`, `indices` and `data` of a group.
pub(crate) fn read_sparse(source: &H5Source, group: &str) -> Result<Sparse, DataError> {
    Ok(Sparse {
        indptr: source.pointers(&format!("{group}/indptr"))?,
        indices: source.indices(&format!("{group}/indices"))?,
        values: source.values(&format!("{group}/data"))?,
    })
}

const SYMBOL_COLUMNS: &[&str] = &[
    "gene_symbols",
    "gene_symbol",
    "symbol",
    "symbols",
    "feature_name",
    "gene_name",
    "gene_names",
    "gene_short_name",
];
const ENSEMBL_COLUMNS: &[&str] = &[
    "ensembl_id",
    "ensembl_ids",
    "gene_ids",
    "gene_id",
    "ensembl",
    "ensembl_gene_id",
    "feature_id",
];
