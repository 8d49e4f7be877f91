//! The rows of a dense matrix in a Zarr store.

use crate::cell_blocks::BlockFault;
use crate::dense_blocks::DenseRows;
use crate::element::{Element, dispatch};
use crate::error::DataError;
use crate::matrix::MatrixFault;
use crate::number_vector::Converted;
use crate::zarr_array::ZarrArray;
use crate::zarr_metadata::Order;

/// An array of two dimensions.
pub(crate) struct ZarrRows {
    array: ZarrArray,
    element: Element,
    shape: [usize; 2],
    /// The shape of a chunk.
    chunk: [usize; 2],
    /// From a row, and from a column, of a chunk to the next.
    steps: [usize; 2],
}

impl ZarrRows {
    /// The matrix in this array.
    pub(crate) fn open(array: ZarrArray) -> Result<Self, DataError> {
        let element = array.element()?;
        let metadata = array.metadata();
        let (&[n_rows, n_cols], &[rows, cols]) = (&metadata.shape[..], &metadata.chunk[..]) else {
            return Err(array.wrong_rank(2));
        };
        let steps = match metadata.order {
            Order::RowMajor => [cols, 1],
            Order::ColumnMajor => [1, rows],
        };
        Ok(Self { array, element, shape: [n_rows, n_cols], chunk: [rows, cols], steps })
    }
}

impl DenseRows for ZarrRows {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn chunk_rows(&self) -> usize {
        self.chunk[0]
    }

    fn element_size(&self) -> usize {
        self.element.size()
    }

    fn load(&mut self, start: usize, count: usize, out: &mut Vec<f32>) -> Result<(), BlockFault> {
        let ([_, n_cols], [chunk_rows, chunk_cols]) = (self.shape, self.chunk);
        let (element, [row_step, column_step]) = (self.element, self.steps);
        let (first, end) = (out.len(), start + count);
        out.resize(first + count * n_cols, 0.0);
        // The first in the order of the matrix, whatever the chunks.
        let mut too_large: Option<(usize, usize, f64)> = None;
        for chunk_row in start / chunk_rows..end.div_ceil(chunk_rows) {
            let top = chunk_row * chunk_rows;
            let rows = start.max(top)..end.min(top.saturating_add(chunk_rows));
            for chunk_column in 0..n_cols.div_ceil(chunk_cols) {
                let left = chunk_column * chunk_cols;
                let len = chunk_cols.min(n_cols - left);
                let bytes = self.array.chunk(&[chunk_row, chunk_column])?;
                dispatch!(element, N => {
                    let numbers = bytes.as_chunks().0;
                    for row in rows.clone() {
                        let found = &numbers[(row - top) * row_step..];
                        let to = first + (row - start) * n_cols + left;
                        let to = &mut out[to..to + len];
                        let convert = |bytes: &_| f32::convert(&N::from_le_bytes(*bytes), element);
                        let fault = match column_step {
                            1 => convert_each(&found[..len], to, convert),
                            _ => convert_each(found.iter().step_by(column_step), to, convert),
                        };
                        let fault = fault.map(|(column, value)| (row, left + column, value));
                        let is_first = |fault: &(usize, usize, f64)| {
                            too_large.is_none_or(|known| (known.0, known.1) > (fault.0, fault.1))
                        };
                        if let Some(fault) = fault.filter(is_first) {
                            too_large = Some(fault);
                        }
                    }
                });
            }
        }
        match too_large {
            None => Ok(()),
            Some((row, column, value)) => {
                Err(MatrixFault::CountTooLarge { row, column, value }.into())
            }
        }
    }
}

/// Converts as many numbers as there is room for. Place and value of the first that does not become one.
fn convert_each<'a, B: 'a>(
    numbers: impl IntoIterator<Item = &'a B>,
    to: &mut [f32],
    convert: impl Fn(&B) -> Result<f32, f64>,
) -> Option<(usize, f64)> {
    let mut fault = None;
    for (at, (number, place)) in numbers.into_iter().zip(to).enumerate() {
        match convert(number) {
            Ok(value) => *place = value,
            Err(value) => fault = fault.or(Some((at, value))),
        }
    }
    fault
}
