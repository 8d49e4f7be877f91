//! Compressed sparse matrices whose rows are cells: AnnData's CSR, and Cell Ranger's
//! matrices, which store the genes of one cell after the other as well.

use crate::anndata_store::AnnDataStore;
use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks};
use crate::error::DataError;
use crate::matrix::{CsrMatrix, MatrixFault, check_pointers};
use crate::number_vector::{NumberVector, VectorFault};

/// Blocks of such a matrix. The row pointers are in memory, 8 bytes a cell.
pub(crate) struct CsrBlocks {
    n_cols: usize,
    indptr: Vec<usize>,
    indices: Box<dyn NumberVector<u32>>,
    values: Box<dyn NumberVector<f32>>,
    next_row: usize,
    size: BlockSize,
}

impl CsrBlocks {
    /// The matrix in `group`, whose pointers have been read and are as many as the names ask for.
    pub(crate) fn open(
        store: &dyn AnnDataStore,
        group: &str,
        indptr: Vec<usize>,
        n_cols: usize,
        size: BlockSize,
    ) -> Result<Self, DataError> {
        let indices = store.indices(&format!("{group}/indices"))?;
        let values = store.values(&format!("{group}/data"))?;
        check_pointers(&indptr, indices.len(), values.len()).map_err(|fault| {
            fault.name(store.path(), &|row| row.to_string(), &|at| at.to_string())
        })?;
        Ok(Self { n_cols, indptr, indices, values, next_row: 0, size })
    }

    /// The whole matrix.
    pub(crate) fn read_whole(mut self) -> Result<CsrMatrix, BlockFault> {
        self.size = BlockSize { cells: usize::MAX, values: usize::MAX };
        let n_cols = self.n_cols;
        let none = || CsrMatrix { n_cols, indptr: vec![0], ..CsrMatrix::default() };
        Ok(self.next_block()?.unwrap_or_else(none))
    }

    /// Row and column of a stored value.
    fn place(&mut self, at: usize) -> (usize, usize) {
        let row = self.indptr.partition_point(|&start| start <= at).saturating_sub(1);
        let mut column = Vec::new();
        // The value is the fault that is told; a column that cannot be read adds nothing to it.
        let _ = self.indices.read(at..at + 1, &mut column);
        (row, column.first().map_or(0, |&column| column as usize))
    }
}

impl CellBlocks for CsrBlocks {
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault> {
        let first_row = self.next_row;
        let Some(&start) = self.indptr.get(first_row) else { return Ok(None) };
        let mut indptr = vec![0];
        while let Some(&end) = self.indptr.get(self.next_row + 1) {
            let values = indptr[indptr.len() - 1];
            if self.size.is_full(self.next_row - first_row, values) {
                break;
            }
            indptr.push(end - start);
            self.next_row += 1;
        }
        if self.next_row == first_row {
            return Ok(None);
        }
        let range = start..self.indptr[self.next_row];
        let (mut indices, mut values) =
            (Vec::with_capacity(range.len()), Vec::with_capacity(range.len()));
        let result = self
            .indices
            .read(range.clone(), &mut indices)
            .and_then(|()| self.values.read(range, &mut values));
        match result {
            Ok(()) => {}
            Err(VectorFault::File(error)) => return Err(error.into()),
            Err(VectorFault::TooLarge { at, value }) => {
                let (row, column) = self.place(at);
                return Err(MatrixFault::CountTooLarge { row, column, value }.into());
            }
        }
        let block = CsrMatrix::normalise(self.n_cols, indptr, indices, values)
            .map_err(|fault| fault.below(first_row))?;
        Ok(Some(block))
    }

    fn expected_values(&self) -> usize {
        self.values.len()
    }
}
