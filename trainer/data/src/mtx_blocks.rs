//! MatrixMarket files that hold one cell after the other, as Cell Ranger writes them.

use std::path::{Path, PathBuf};

use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks};
use crate::error::DataError;
use crate::matrix::CsrMatrix;
use crate::matrix_market::{Entries, Entry};

/// Blocks of such a file. The first entry of a cell that was passed already ends the reading:
/// whoever wants to go on must read the file whole.
pub(crate) struct MtxBlocks {
    path: PathBuf,
    entries: Entries,
    ahead: Ahead,
    n_genes: usize,
    n_cells: usize,
    next_row: usize,
    size: BlockSize,
}

/// The entry that comes next.
enum Ahead {
    Unread,
    Entry(Entry),
    End,
}

impl MtxBlocks {
    pub(crate) fn open(
        path: &Path,
        n_genes: usize,
        n_cells: usize,
        size: BlockSize,
    ) -> Result<Self, DataError> {
        let entries = Entries::open(path, n_genes, n_cells)?;
        let (path, ahead) = (path.to_path_buf(), Ahead::Unread);
        Ok(Self { path, entries, ahead, n_genes, n_cells, next_row: 0, size })
    }

    fn advance(&mut self) -> Result<(), DataError> {
        self.ahead = self.entries.next_entry()?.map_or(Ahead::End, Ahead::Entry);
        Ok(())
    }
}

impl CellBlocks for MtxBlocks {
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault> {
        if matches!(self.ahead, Ahead::Unread) {
            self.advance()?;
        }
        let first_row = self.next_row;
        let (mut indptr, mut genes, mut values) = (vec![0], Vec::new(), Vec::new());
        while self.next_row < self.n_cells
            && !self.size.is_full(self.next_row - first_row, values.len())
        {
            while let Ahead::Entry(entry) = &self.ahead {
                let cell = entry.cell as usize;
                if cell > self.next_row {
                    break;
                }
                if cell < self.next_row {
                    let (path, line) = (self.path.clone(), self.entries.line());
                    return Err(DataError::NotByCell { path, line, cell: cell + 1 }.into());
                }
                genes.push(entry.gene);
                values.push(entry.value);
                self.advance()?;
            }
            indptr.push(values.len());
            self.next_row += 1;
        }
        if let (Ahead::Entry(entry), true) = (&self.ahead, self.next_row == self.n_cells) {
            let (path, line) = (self.path.clone(), self.entries.line());
            return Err(DataError::NotByCell { path, line, cell: entry.cell as usize + 1 }.into());
        }
        if self.next_row == first_row {
            return Ok(None);
        }
        let block = CsrMatrix::normalise(self.n_genes, indptr, genes, values)
            .map_err(|fault| fault.below(first_row))?;
        Ok(Some(block))
    }

    fn expected_values(&self) -> usize {
        self.entries.capacity()
    }
}
