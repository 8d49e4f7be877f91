//! The rows of a dense matrix in HDF5.

use std::path::PathBuf;

use rust_hdf5::H5Dataset;

use crate::cell_blocks::BlockFault;
use crate::dense_blocks::DenseRows;
use crate::element::{Element, dispatch};
use crate::error::DataError;
use crate::h5_source::{H5Source, fault};
use crate::matrix::MatrixFault;
use crate::number_vector::Converted;

/// A data set of two dimensions.
pub(crate) struct H5Rows {
    dataset: H5Dataset,
    element: Element,
    path: PathBuf,
    object: String,
    shape: [usize; 2],
}

impl H5Rows {
    /// The matrix at `object`.
    pub(crate) fn open(source: &H5Source, object: &str) -> Result<Self, DataError> {
        let dataset = source.dataset(object)?;
        source.check_storage(object, &dataset)?;
        source.check_index(object, &dataset)?;
        let element = source.element(object, &dataset)?;
        let [n_rows, n_cols] = dataset.shape()[..] else {
            return Err(source.wrong_rank(object, 2, dataset.ndims()));
        };
        let (path, object) = (source.path().to_path_buf(), object.into());
        Ok(Self { dataset, element, path, object, shape: [n_rows, n_cols] })
    }
}

impl DenseRows for H5Rows {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn chunk_rows(&self) -> usize {
        self.dataset.chunk_dims().and_then(|dims| dims.first().copied()).unwrap_or(1)
    }

    fn element_size(&self) -> usize {
        self.dataset.element_size()
    }

    fn load(&mut self, start: usize, count: usize, out: &mut Vec<f32>) -> Result<(), BlockFault> {
        let [_, n_cols] = self.shape;
        dispatch!(self.element, N => {
            let block = self
                .dataset
                .read_slice::<N>(&[start, 0], &[count, n_cols])
                .map_err(fault(&self.path, &self.object))?;
            out.reserve(block.len());
            for (at, number) in block.iter().enumerate() {
                out.push(f32::convert(number, self.element).map_err(|value| {
                    let (row, column) = (start + at / n_cols, at % n_cols);
                    MatrixFault::CountTooLarge { row, column, value }
                })?);
            }
        });
        Ok(())
    }
}
