//! AnnData, in a file or a store: which matrix, whose cells, whose genes.

use crate::anndata_frame::Frame;
use crate::anndata_store::{AnnDataStore, Node};
use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks, WholeBlocks};
use crate::csr_blocks::CsrBlocks;
use crate::dense_blocks::DenseBlocks;
use crate::error::DataError;
use crate::expression::{ExpressionHead, Gene, MatrixChoice, Source, check_addressable, check_len};
use crate::expression_reader::{GENE_EXPRESSION, Opened};
use crate::obs::{Column, ObsTable};

/// Whether the file has the two tables of every AnnData file.
pub(crate) fn is_anndata(store: &dyn AnnDataStore) -> Result<bool, DataError> {
    Ok(store.node("obs")?.is_some() && store.node("var")?.is_some())
}

/// Opens one matrix of the file with its cells and genes.
pub(crate) fn open(
    store: &dyn AnnDataStore,
    choice: &MatrixChoice,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let (matrix, var) = locate(store, choice)?;
    let frame = Frame::open(store, "obs")?;
    let obs_names = frame.index()?;
    let genes = read_genes(store, &var)?;
    check_addressable(store.path(), "cells", obs_names.len())?;
    check_addressable(store.path(), "genes", genes.len())?;
    let mut obs = ObsTable::default();
    for name in frame.column_names()? {
        match frame.column(&name) {
            Ok(column) if column.len() == obs_names.len() => obs.insert(name, column),
            Ok(column) => {
                check_len(store.path(), &format!("obs[{name:?}]"), obs_names.len(), column.len())?;
            }
            Err(error) => obs.insert_unreadable(name, error.to_string()),
        }
    }
    let layout = if frame.is_legacy() { " (old layout)" } else { "" };
    let format = format!("{}{layout}", store.format());
    let path = store.path().into();
    let not_read = not_read(store, &matrix, &var)?;
    let about = Source { path, format, matrix: matrix.clone(), not_read, ..Source::default() };
    let head = ExpressionHead { obs_names, genes, obs, source: about };
    let blocks = open_matrix(store, &matrix, &head, size)?;
    Ok(Opened { head, feature_types: feature_types(store, &var)?, blocks })
}

/// What each feature is, where the file came from 10x's with antibodies or guides in it; nothing
/// where the column means something else.
fn feature_types(store: &dyn AnnDataStore, var: &str) -> Result<Vec<String>, DataError> {
    let frame = Frame::open(store, var)?;
    if !frame.column_names()?.iter().any(|name| name == FEATURE_TYPES) {
        return Ok(Vec::new());
    }
    let Ok(column) = frame.column(FEATURE_TYPES) else { return Ok(Vec::new()) };
    let text = |row| column.text(row).map_or_else(String::new, |text| text.into_owned());
    let types: Vec<String> = (0..column.len()).map(text).collect();
    let is_known = types.iter().any(|kind| kind == GENE_EXPRESSION);
    Ok(if is_known { types } else { Vec::new() })
}

/// The paths of the matrix and of its gene table.
fn locate(store: &dyn AnnDataStore, choice: &MatrixChoice) -> Result<(String, String), DataError> {
    let candidates: Vec<(String, &str)> = match choice {
        MatrixChoice::X => vec![("X".into(), "var")],
        MatrixChoice::Raw => vec![("raw/X".into(), "raw/var"), ("raw.X".into(), "raw.var")],
        MatrixChoice::Layer(name) => vec![(format!("layers/{name}"), "var")],
    };
    for (matrix, var) in &candidates {
        if store.node(matrix)?.is_some() {
            return Ok((matrix.clone(), (*var).into()));
        }
    }
    let layers = match store.has_group("layers")? {
        true => store.members("layers")?,
        false => Vec::new(),
    };
    let mut available: Vec<String> = ["X", "raw/X", "raw.X"]
        .into_iter()
        .filter(|matrix| matches!(store.node(matrix), Ok(Some(_))))
        .map(String::from)
        .collect();
    available.extend(layers.iter().map(|name| format!("layers/{name}")));
    Err(DataError::MissingPart {
        path: store.path().to_path_buf(),
        part: format!("matrix {:?}", candidates[0].0),
        advice: match available.is_empty() {
            true => "it holds no matrix at all".into(),
            false => format!("it has: {}", available.join(", ")),
        },
    })
}

fn read_genes(store: &dyn AnnDataStore, var: &str) -> Result<Vec<Gene>, DataError> {
    let frame = Frame::open(store, var)?;
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

/// What else the file holds. Members of `obsm` and columns of `var` are told apart from those that a
/// written file has; of other groups the name says enough.
fn not_read(store: &dyn AnnDataStore, matrix: &str, var: &str) -> Result<Vec<String>, DataError> {
    // Something that cannot be looked into is not read either.
    let members = |name: &str| match store.has_group(name) {
        Ok(true) => store.members(name).unwrap_or_default(),
        _ => vec![String::new()],
    };
    // `raw/X`, and the `raw.X` and `raw.var` of older files.
    let top = |path: &str| path.split(['/', '.']).next().map(String::from);
    let mut found = Vec::new();
    for name in store.members("")? {
        match name.as_str() {
            "obs" => {}
            "var" if var == "var" => {
                let mut columns = Frame::open(store, var)?.column_names()?;
                columns.retain(|name| {
                    ![SYMBOL_COLUMNS, ENSEMBL_COLUMNS].concat().contains(&name.as_str())
                });
                found.extend(columns.iter().map(|column| format!("var/{column}")));
            }
            "layers" => {
                if members("layers").iter().any(|layer| format!("layers/{layer}") != matrix) {
                    found.push(name);
                }
            }
            "obsm" if store.has_group("obsm").is_ok_and(|is_group| is_group) => {
                found.extend(members("obsm").iter().map(|array| format!("obsm/{array}")));
            }
            _ if top(&name) == top(matrix) || members(&name).is_empty() => {}
            _ => found.push(name),
        }
    }
    Ok(found)
}

/// Opens a matrix in any of its encodings. Only one that is stored by gene is read here.
fn open_matrix(
    store: &dyn AnnDataStore,
    object: &str,
    head: &ExpressionHead,
    size: BlockSize,
) -> Result<Box<dyn CellBlocks>, DataError> {
    let encoding = match store.attribute(object, "encoding-type")? {
        None => store.attribute(object, "h5sparse_format")?,
        found => found,
    };
    let unknown = |encoding: Option<String>| DataError::UnknownEncoding {
        path: store.path().to_path_buf(),
        object: object.into(),
        encoding: encoding.unwrap_or_else(|| "none".into()),
        expected: "a csr_matrix, a csc_matrix or a dense array",
    };
    let (n_obs, n_vars) = (head.obs_names.len(), head.genes.len());
    if store.node(object)? == Some(Node::Dataset) {
        if encoding.as_deref().is_some_and(|encoding| encoding != "array") {
            return Err(unknown(encoding));
        }
        let shape = store.shape(object)?;
        let expected = [n_obs, n_vars];
        if shape != expected {
            return Err(DataError::Shape {
                path: store.path().to_path_buf(),
                what: format!("shape of {object:?}"),
                expected: format!("{expected:?}, as obs and var have names"),
                found: format!("{shape:?}"),
            });
        }
        return Ok(Box::new(DenseBlocks::new(store.dense(object)?, size)));
    }
    let by_gene = match encoding.as_deref() {
        Some("csr_matrix" | "csr") => false,
        Some("csc_matrix" | "csc") => true,
        _ => return Err(unknown(encoding)),
    };
    let indptr = store.pointers(&format!("{object}/indptr"))?;
    let what = format!("length of {object:?}/indptr");
    let n_rows = if by_gene { n_vars } else { n_obs };
    check_len(store.path(), &what, n_rows + 1, indptr.len())?;
    if !by_gene {
        return Ok(Box::new(CsrBlocks::open(store, object, indptr, n_vars, size)?));
    }
    let matrix = CsrBlocks::open(store, object, indptr, n_obs, size)?.read_whole();
    let matrix = matrix.map_err(|fault| match fault {
        BlockFault::File(error) => error,
        BlockFault::Matrix(fault) => fault.transposed().named(head.names()),
    })?;
    Ok(Box::new(WholeBlocks::new(matrix.transpose(), size)))
}

/// As scanpy names what 10x writes.
const FEATURE_TYPES: &str = "feature_types";
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
