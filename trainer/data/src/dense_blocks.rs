//! Dense matrices in HDF5, a row per cell.

use std::path::PathBuf;

use rust_hdf5::H5Dataset;

use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks};
use crate::error::DataError;
use crate::h5_element::{Element, dispatch};
use crate::h5_source::{H5Source, fault};
use crate::h5_vector::Converted;
use crate::matrix::{CsrMatrix, MatrixFault, RowBuilder};

/// Blocks of such a matrix.
pub(crate) struct DenseBlocks {
    dataset: H5Dataset,
    element: Element,
    path: PathBuf,
    object: String,
    n_rows: usize,
    n_cols: usize,
    /// Rows decoded at once.
    step: usize,
    /// The row where `rows` begins.
    start: usize,
    /// Decoded values, row-major.
    rows: Vec<f32>,
    next_row: usize,
    size: BlockSize,
}

impl DenseBlocks {
    /// The matrix at `object`, whose shape fits the names.
    pub(crate) fn open(
        source: &H5Source,
        object: &str,
        size: BlockSize,
    ) -> Result<Self, DataError> {
        let dataset = source.dataset(object)?;
        source.check_storage(object, &dataset)?;
        source.check_index(object, &dataset)?;
        let element = source.element(object, &dataset)?;
        let [n_rows, n_cols] = dataset.shape()[..] else {
            return Err(source.wrong_rank(object, 2, dataset.ndims()));
        };
        let chunk_rows = dataset.chunk_dims().and_then(|dims| dims.first().copied()).unwrap_or(1);
        let affordable = |bytes: usize| {
            let row_len = n_cols.max(1).saturating_mul(dataset.element_size().max(4));
            (bytes / row_len).clamp(1, n_rows.max(1))
        };
        // Whole chunks are decoded at once, so that none is decompressed twice, unless chunks are
        // so tall that whole ones would take too much memory.
        let whole = affordable(USUAL_BYTES).next_multiple_of(chunk_rows.clamp(1, n_rows.max(1)));
        let step = whole.min(affordable(MOST_BYTES));
        Ok(Self {
            dataset,
            element,
            path: source.path().to_path_buf(),
            object: object.into(),
            n_rows,
            n_cols,
            step,
            start: 0,
            rows: Vec::new(),
            next_row: 0,
            size,
        })
    }

    fn load(&mut self) -> Result<(), BlockFault> {
        self.start = self.next_row;
        self.rows.clear();
        let (start, n_cols) = (self.start, self.n_cols);
        let count = self.step.min(self.n_rows - start);
        dispatch!(self.element, N => {
            let block = self
                .dataset
                .read_slice::<N>(&[start, 0], &[count, n_cols])
                .map_err(fault(&self.path, &self.object))?;
            self.rows.reserve(block.len());
            for (at, number) in block.iter().enumerate() {
                self.rows.push(f32::convert(number, self.element).map_err(|value| {
                    let (row, column) = (start + at / n_cols, at % n_cols);
                    MatrixFault::CountTooLarge { row, column, value }
                })?);
            }
        });
        Ok(())
    }
}

impl CellBlocks for DenseBlocks {
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault> {
        let first_row = self.next_row;
        let mut rows = RowBuilder::new(self.n_cols);
        while self.next_row < self.n_rows
            && !self.size.is_full(self.next_row - first_row, rows.nnz())
        {
            if self.next_row == 0 || self.next_row >= self.start + self.step {
                self.load()?;
            }
            let at = (self.next_row - self.start) * self.n_cols;
            rows.push_dense(&self.rows[at..at + self.n_cols]);
            self.next_row += 1;
        }
        if self.next_row == first_row {
            return Ok(None);
        }
        Ok(Some(rows.finish().map_err(|fault| fault.below(first_row))?))
    }

    fn expected_values(&self) -> usize {
        // Unknown: a tenth of an expression matrix is usual, and joined blocks grow by themselves.
        0
    }
}

const USUAL_BYTES: usize = 2 << 20;
const MOST_BYTES: usize = 32 << 20;
