//! Dense matrices, a row per cell.

use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks};
use crate::matrix::{CsrMatrix, RowBuilder};

/// The rows of such a matrix in a file.
pub(crate) trait DenseRows {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2];

    /// Rows that are stored, and so decoded, together.
    fn chunk_rows(&self) -> usize;

    /// Bytes of a stored number.
    fn element_size(&self) -> usize;

    /// Appends `count` rows from `start` on, row-major; they must lie inside the matrix.
    fn load(&mut self, start: usize, count: usize, out: &mut Vec<f32>) -> Result<(), BlockFault>;
}

/// Blocks of such a matrix.
pub(crate) struct DenseBlocks {
    source: Box<dyn DenseRows>,
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
    /// A matrix whose shape fits the names.
    pub(crate) fn new(source: Box<dyn DenseRows>, size: BlockSize) -> Self {
        let [n_rows, n_cols] = source.shape();
        let affordable = |bytes: usize| {
            let row_len = n_cols.max(1).saturating_mul(source.element_size().max(4));
            (bytes / row_len).clamp(1, n_rows.max(1))
        };
        // Whole chunks are decoded at once, so that none is decompressed twice, unless chunks are
        // so tall that whole ones would take too much memory.
        let chunk_rows = source.chunk_rows().clamp(1, n_rows.max(1));
        let whole = affordable(USUAL_BYTES).next_multiple_of(chunk_rows);
        let step = whole.min(affordable(MOST_BYTES));
        Self { source, n_rows, n_cols, step, start: 0, rows: Vec::new(), next_row: 0, size }
    }

    fn load(&mut self) -> Result<(), BlockFault> {
        self.start = self.next_row;
        self.rows.clear();
        let count = self.step.min(self.n_rows - self.start);
        self.source.load(self.start, count, &mut self.rows)
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
