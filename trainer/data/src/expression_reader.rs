//! Expression files read a few cells at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks};
use crate::error::DataError;
use crate::expression::{
    ExpressionHead, ExpressionMatrix, MatrixChoice, ReadOptions, check_len, no_orientations,
    no_other_matrices,
};
use crate::matrix::CsrMatrix;
use crate::output_folder::matrix_in;
#[cfg(feature = "parquet")]
use crate::parquet_table;
use crate::sniff::{FileKind, sniff};
#[cfg(feature = "zarr")]
use crate::zarr_anndata;
use crate::{delimited, geo_series, hdf5, mex};

/// An open expression file: what it says about cells and genes is in memory (about 100 bytes a
/// cell, and the columns of `obs`), the values are read block by block.
///
/// Files that store one cell after the other need memory for one block and for the chunks of the
/// file that it touches: AnnData's CSR and dense matrices (in `.h5ad` or Zarr), Cell Ranger's `.h5`, and `matrix.mtx`
/// sorted by cell. Files that store one gene after the other (AnnData's CSC, text tables) are read
/// whole when they are opened, and handed out in blocks all the same.
pub struct ExpressionReader {
    head: Arc<ExpressionHead>,
    left_out: Option<LeftOut>,
    blocks: Box<dyn CellBlocks>,
    n_read: usize,
}

/// In which order the entries of a `matrix.mtx` are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryOrder {
    /// One cell after the other.
    ByCell,
    /// Any: the file is read whole.
    Any,
}

/// What a format's reader finds when it opens a file.
pub(crate) struct Opened {
    pub(crate) head: ExpressionHead,
    /// The type of each feature; empty where every feature is a gene.
    pub(crate) feature_types: Vec<String>,
    pub(crate) blocks: Box<dyn CellBlocks>,
}

impl ExpressionReader {
    /// Opens a file of any format that [`read_expression`](crate::read_expression) reads. Values
    /// are checked when they are read; [`ReadOptions::value_kind`] has no effect here.
    ///
    /// # Errors
    /// Whatever is wrong with the file apart from the values.
    pub fn open(path: &Path, options: &ReadOptions, size: BlockSize) -> Result<Self, DataError> {
        Self::open_as(path, options, size, EntryOrder::ByCell)
    }

    /// The same, for a `matrix.mtx` that is not sorted by cell: it is read whole.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_unsorted(
        path: &Path,
        options: &ReadOptions,
        size: BlockSize,
    ) -> Result<Self, DataError> {
        Self::open_as(path, options, size, EntryOrder::Any)
    }

    fn open_as(
        path: &Path,
        options: &ReadOptions,
        size: BlockSize,
        order: EntryOrder,
    ) -> Result<Self, DataError> {
        let inside = matrix_in(path)?;
        let asked = path;
        let path = inside.as_deref().unwrap_or(path);
        let kind = sniff(path)?;
        if !kind.has_matrices() && options.layer != MatrixChoice::X {
            return Err(no_other_matrices(path));
        }
        if !kind.has_orientations() && options.orientation.is_some() {
            return Err(no_orientations(path));
        }
        let kind_is_mtx = matches!(kind, FileKind::MexFolder | FileKind::MatrixMarket);
        let opened = match kind {
            FileKind::Hdf5 => hdf5::open(path, &options.layer, size)?,
            FileKind::MexFolder => mex::open_folder(path, order, size)?,
            FileKind::MatrixMarket => mex::open_beside(path, order, size)?,
            FileKind::GeoSeries => geo_series::open(path, size)?,
            FileKind::Text => delimited::open(path, options.orientation, size)?,
            #[cfg(feature = "parquet")]
            FileKind::Parquet => parquet_table::open(path, options.orientation, size)?,
            #[cfg(feature = "zarr")]
            FileKind::Zarr => zarr_anndata::open(path, &options.layer, size)?,
        };
        let Opened { mut head, feature_types, blocks } = opened;
        if let Some(name) = inside.as_deref().and_then(|path| path.strip_prefix(asked).ok()) {
            head.source.notes.push(format!("read from {} of the folder", name.display()));
        }
        if head.source.files.is_empty() {
            head.source.files.push(path.to_path_buf());
        }
        head.check()?;
        if kind_is_mtx && order == EntryOrder::Any {
            let note = "the matrix is not sorted by cell, so that it was read whole";
            head.source.notes.push(note.into());
        }
        let left_out = LeftOut::find(&mut head, &feature_types)?;
        Ok(Self { head: Arc::new(head), left_out, blocks, n_read: 0 })
    }

    /// The cells and genes.
    pub fn head(&self) -> &Arc<ExpressionHead> {
        &self.head
    }

    /// About how many values the file has; 0 where nothing is known before they are read.
    pub fn expected_values(&self) -> usize {
        self.blocks.expected_values()
    }

    /// The next cells in the order of the file, at least one; `None` after the last.
    ///
    /// # Errors
    /// Whatever is wrong with these values or their place in the file, with the names of cell and
    /// gene. [`DataError::NotByCell`] if a `matrix.mtx` turns out to be unsorted: begin again with
    /// [`Self::open_unsorted`]. After an error nothing more can be read.
    pub fn next_block(&mut self) -> Result<Option<CsrMatrix>, DataError> {
        let block = match self.blocks.next_block() {
            Ok(block) => block,
            Err(fault) => return Err(self.named(fault)),
        };
        let Some(mut block) = block else {
            let path = &self.head.source.path;
            check_len(path, "rows of the matrix", self.head.obs_names.len(), self.n_read)?;
            return Ok(None);
        };
        self.n_read += block.n_rows();
        self.finish(&mut block)?;
        Ok(Some(block))
    }

    /// The blocks that are left, as one matrix.
    ///
    /// # Errors
    /// Those of [`Self::next_block`].
    pub fn read_all(mut self) -> Result<ExpressionMatrix, DataError> {
        let mut values = match self.blocks.take_whole() {
            Some(mut whole) => {
                self.n_read = whole.n_rows();
                self.finish(&mut whole)?;
                whole
            }
            None => {
                let nnz = self.blocks.expected_values();
                CsrMatrix {
                    n_cols: self.head.genes.len(),
                    indptr: vec![0],
                    indices: Vec::with_capacity(nnz),
                    data: Vec::with_capacity(nnz),
                }
            }
        };
        while let Some(block) = self.next_block()? {
            values.append(&block);
        }
        values.indices.shrink_to_fit();
        values.data.shrink_to_fit();
        let head = Arc::unwrap_or_clone(self.head);
        let ExpressionHead { obs_names, genes, obs, source } = head;
        Ok(ExpressionMatrix { obs_names, genes, values, obs, source })
    }

    /// Leaves out what is no gene and checks that the columns are those that have names.
    fn finish(&self, block: &mut CsrMatrix) -> Result<(), DataError> {
        if let Some(left_out) = &self.left_out {
            block.keep_columns(&left_out.new_index, self.head.genes.len());
        }
        let path = &self.head.source.path;
        check_len(path, "columns of the matrix", self.head.genes.len(), block.n_cols)
    }

    fn named(&self, fault: BlockFault) -> DataError {
        let fault = match fault {
            BlockFault::File(error) => return error,
            BlockFault::Matrix(fault) => fault,
        };
        let head = &self.head;
        let gene = |column: usize| match &self.left_out {
            Some(left_out) => left_out.ids.get(column).cloned(),
            None => head.genes.get(column).map(|gene| gene.id.clone()),
        };
        fault.name(
            &head.source.path,
            &|row| head.obs_names.get(row).cloned().unwrap_or_else(|| row.to_string()),
            &|column| gene(column).unwrap_or_else(|| column.to_string()),
        )
    }
}

/// Features that are no genes: antibodies, guides, peaks.
struct LeftOut {
    /// The ids of all features.
    ids: Vec<String>,
    /// Where a feature stands among the genes.
    new_index: Vec<Option<u32>>,
}

impl LeftOut {
    /// Takes features of other types out of the head and notes how many there were. With no types
    /// at all every feature is a gene.
    fn find(head: &mut ExpressionHead, types: &[String]) -> Result<Option<Self>, DataError> {
        if types.is_empty() {
            return Ok(None);
        }
        check_len(&head.source.path, "feature types", head.genes.len(), types.len())?;
        let keep = || types.iter().map(|kind| kind == GENE_EXPRESSION);
        let dropped = keep().filter(|&keep| !keep).count();
        if dropped == 0 {
            return Ok(None);
        }
        if dropped == types.len() {
            return Err(DataError::MissingPart {
                path: head.source.path.clone(),
                part: format!("feature of the type {GENE_EXPRESSION:?}"),
                advice: format!(
                    "its first feature is of the type {:?}; give the file with the counts of genes",
                    types[0]
                ),
            });
        }
        let ids = head.genes.iter().map(|gene| gene.id.clone()).collect();
        let mut kept = 0;
        let new_index = keep().map(|keep| {
            let index = keep.then_some(kept);
            kept += u32::from(keep);
            index
        });
        let new_index = new_index.collect();
        let mut keep = keep();
        head.genes.retain(|_| keep.next().unwrap_or(false));
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in types.iter().filter(|kind| *kind != GENE_EXPRESSION) {
            *others.entry(kind).or_default() += 1;
        }
        let others: Vec<String> = others.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        head.source.notes.push(format!(
            "{dropped} features are not {GENE_EXPRESSION} and left out: {}",
            others.join(", ")
        ));
        Ok(Some(Self { ids, new_index }))
    }
}

/// The type of the features that are genes.
pub(crate) const GENE_EXPRESSION: &str = "Gene Expression";
