//! HDF5 files of either kind: AnnData's and Cell Ranger's.

use std::path::{Path, PathBuf};

use crate::cell_blocks::{BlockFault, BlockSize, CellBlocks};
use crate::error::DataError;
use crate::expression::{MatrixChoice, no_other_matrices};
use crate::expression_reader::Opened;
use crate::h5_source::{H5Source, guarded};
use crate::matrix::CsrMatrix;
use crate::{anndata, cellranger};

/// Opens the matrix that was chosen.
pub(crate) fn open(
    path: &Path,
    choice: &MatrixChoice,
    size: BlockSize,
) -> Result<Opened, DataError> {
    let opened = guarded(path, || {
        let source = H5Source::open(path)?;
        if anndata::is_anndata(&source)? {
            return anndata::open(&source, choice, size);
        }
        match choice {
            MatrixChoice::X => cellranger::open(&source, size),
            _ => Err(no_other_matrices(path)),
        }
    })?;
    let blocks = GuardedBlocks { blocks: opened.blocks, path: path.to_path_buf() };
    Ok(Opened { blocks: Box::new(blocks), ..opened })
}

/// Blocks of which the library may find only when it reads them that they are damaged.
struct GuardedBlocks {
    blocks: Box<dyn CellBlocks>,
    path: PathBuf,
}

impl CellBlocks for GuardedBlocks {
    fn next_block(&mut self) -> Result<Option<CsrMatrix>, BlockFault> {
        guarded(&self.path, || Ok(self.blocks.next_block()))?
    }

    fn expected_values(&self) -> usize {
        self.blocks.expected_values()
    }

    fn take_whole(&mut self) -> Option<CsrMatrix> {
        self.blocks.take_whole()
    }
}
