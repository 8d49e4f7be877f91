//! The values of a file, a few cells at a time.

use crate::error::DataError;
use crate::matrix::{CsrMatrix, MatrixFault};

/// How many cells are read at once: as many as come first to one of the limits, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// Most cells.
    pub cells: usize,
    /// Stored values after which no further cell is begun.
    pub values: usize,
}

impl Default for BlockSize {
    /// 256 cells or a quarter of a million values: about 2 MB.
    fn default() -> Self {
        Self { cells: 256, values: 1 << 18 }
    }
}

impl BlockSize {
    /// Whether a block of this size takes no further cell.
    pub(crate) fn is_full(self, cells: usize, values: usize) -> bool {
        cells > 0 && (cells >= self.cells || values >= self.values)
    }
}

/// A source of blocks. Each format has one; formats that store genes together have [`WholeBlocks`].
pub(crate) trait CellBlocks {
    /// The next cells, at least one, checked; `None` after the last. Rows in faults count from the
    /// first cell of the file.
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault>;

    /// How many values are worth making room for when all blocks are joined.
    fn expected_values(&self) -> usize;

    /// All of the values, where they are in memory anyway and no block was taken.
    fn take_whole(&mut self) -> Option<CsrMatrix> {
        None
    }
}

/// Why a block was not read.
#[derive(Debug)]
pub(crate) enum BlockFault {
    /// The fault has its names already.
    File(DataError),
    /// The names of cell and gene are to be added.
    Matrix(MatrixFault),
}

impl From<DataError> for BlockFault {
    fn from(error: DataError) -> Self {
        Self::File(error)
    }
}

impl From<MatrixFault> for BlockFault {
    fn from(fault: MatrixFault) -> Self {
        Self::Matrix(fault)
    }
}

/// A matrix that had to be read whole.
pub(crate) struct WholeBlocks {
    matrix: CsrMatrix,
    next_row: usize,
    size: BlockSize,
}

impl WholeBlocks {
    pub(crate) fn new(matrix: CsrMatrix, size: BlockSize) -> Self {
        Self { matrix, next_row: 0, size }
    }
}

impl CellBlocks for WholeBlocks {
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault> {
        let start = self.next_row;
        let first = self.matrix.indptr.get(start).copied().unwrap_or(0);
        while self.next_row < self.matrix.n_rows()
            && !self.size.is_full(self.next_row - start, self.matrix.indptr[self.next_row] - first)
        {
            self.next_row += 1;
        }
        Ok((self.next_row > start).then(|| self.matrix.row_range(start..self.next_row)))
    }

    fn expected_values(&self) -> usize {
        self.matrix.nnz()
    }

    fn take_whole(&mut self) -> Option<CsrMatrix> {
        (self.next_row == 0).then(|| std::mem::take(&mut self.matrix))
    }
}
