//! One-dimensional Zarr arrays of numbers, read chunk by chunk.

use core::marker::PhantomData;
use core::ops::Range;

use crate::element::{Element, dispatch};
use crate::error::DataError;
use crate::number_vector::{Converted, NumberVector, VectorFault};
use crate::zarr_array::ZarrArray;

/// An array whose numbers become `T`.
pub(crate) struct ZarrVector<T> {
    array: ZarrArray,
    element: Element,
    len: usize,
    becomes: PhantomData<T>,
}

impl ZarrVector<f32> {
    /// Expression values.
    pub(crate) fn values(array: ZarrArray) -> Result<Self, DataError> {
        let element = array.element()?;
        Self::new(array, element)
    }
}

impl ZarrVector<u32> {
    /// Column indices. What does not fit 32 bits becomes `u32::MAX`, which is outside every matrix.
    pub(crate) fn indices(array: ZarrArray) -> Result<Self, DataError> {
        let element = array.integer_element()?;
        Self::new(array, element)
    }
}

impl<T> ZarrVector<T> {
    fn new(array: ZarrArray, element: Element) -> Result<Self, DataError> {
        let len = array.vector_len()?;
        // Zeros need no chunk in a dense array; in a sparse matrix there are none.
        let array = array.with_all_chunks();
        Ok(Self { array, element, len, becomes: PhantomData })
    }
}

impl<T: Converted> NumberVector<T> for ZarrVector<T> {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&mut self, range: Range<usize>, out: &mut Vec<T>) -> Result<(), VectorFault> {
        let mut at = range.start;
        while at < range.end {
            let bytes = self.array.run(at, range.end)?;
            dispatch!(self.element, N => {
                for &bytes in bytes.as_chunks().0 {
                    let number = T::convert(&N::from_le_bytes(bytes), self.element);
                    out.push(number.map_err(|value| VectorFault::TooLarge { at, value })?);
                    at += 1;
                }
            });
        }
        Ok(())
    }
}
