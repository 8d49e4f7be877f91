//! One-dimensional data sets of numbers, read piece by piece.
//!
//! A piece covers whole chunks of the data set, so that none is decompressed twice as long as
//! ranges are asked for in order, and only one piece is in memory. The HDF5 library itself decodes
//! only the chunks that a piece touches and keeps none of them longer.

use core::ops::Range;
use std::path::PathBuf;

use rust_hdf5::H5Dataset;

use crate::element::{Element, dispatch};
use crate::error::DataError;
use crate::h5_source::{H5Source, fault};
use crate::number_vector::{Converted, NumberVector, VectorFault};

/// A data set whose numbers become `T`.
pub(crate) struct H5Vector<T> {
    dataset: H5Dataset,
    element: Element,
    path: PathBuf,
    object: String,
    len: usize,
    /// Numbers decoded at once.
    step: usize,
    /// Where `piece` begins.
    start: usize,
    piece: Vec<T>,
}

impl H5Vector<f32> {
    /// Expression values.
    pub(crate) fn values(source: &H5Source, object: &str) -> Result<Self, DataError> {
        let dataset = source.vector(object)?;
        let element = source.element(object, &dataset)?;
        Ok(Self::new(source, object, dataset, element))
    }
}

impl H5Vector<u32> {
    /// Column indices. What does not fit 32 bits becomes `u32::MAX`, which is outside every matrix.
    pub(crate) fn indices(source: &H5Source, object: &str) -> Result<Self, DataError> {
        let dataset = source.vector(object)?;
        let element = source.integer_element(object, &dataset)?;
        Ok(Self::new(source, object, dataset, element))
    }
}

impl<T: Converted + Default + PartialEq> H5Vector<T> {
    fn new(source: &H5Source, object: &str, dataset: H5Dataset, element: Element) -> Self {
        let len = dataset.total_elements();
        let chunk = dataset.chunk_dims().and_then(|dims| dims.first().copied()).unwrap_or(1);
        Self {
            dataset,
            element,
            path: source.path().to_path_buf(),
            object: object.into(),
            len,
            step: PIECE.next_multiple_of(chunk.clamp(1, len.max(1))),
            start: 0,
            piece: Vec::new(),
        }
    }

    fn load(&mut self, start: usize) -> Result<(), VectorFault> {
        let count = self.step.min(self.len.saturating_sub(start));
        self.piece.clear();
        self.start = start;
        dispatch!(self.element, N => {
            let block = self
                .dataset
                .read_slice::<N>(&[start], &[count])
                .map_err(fault(&self.path, &self.object))?;
            self.piece.reserve(block.len());
            for (at, number) in block.iter().enumerate() {
                let converted = T::convert(number, self.element)
                    .map_err(|value| VectorFault::TooLarge { at: start + at, value })?;
                self.piece.push(converted);
            }
        });
        self.refuse_missing_chunks()
    }

    /// The library gives zeros for a chunk that was never written, which in a sparse matrix is what a copy or a program left undone.
    fn refuse_missing_chunks(&self) -> Result<(), VectorFault> {
        let chunk = self.dataset.chunk_dims().and_then(|dims| dims.first().copied());
        let Some(chunk) = chunk.filter(|&chunk| chunk > 0) else { return Ok(()) };
        let zero = T::default();
        for (at, values) in self.piece.chunks(chunk).enumerate() {
            let number = self.start / chunk + at;
            if values.iter().all(|value| *value == zero)
                && self.dataset.read_chunk_raw_at(&[number]).is_err()
            {
                let (path, object) = (self.path.clone(), self.object.clone());
                let reason = format!(
                    "values {} to {} are not in the file: their chunk was never written",
                    number * chunk,
                    (number + 1) * chunk.min(self.len) - 1
                );
                return Err(DataError::Hdf5 { path, object, reason }.into());
            }
        }
        Ok(())
    }
}

impl<T: Converted + Default + PartialEq> NumberVector<T> for H5Vector<T> {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&mut self, range: Range<usize>, out: &mut Vec<T>) -> Result<(), VectorFault> {
        let mut next = range.start;
        while next < range.end {
            if !(self.start..self.start + self.piece.len()).contains(&next) {
                self.load(next / self.step * self.step)?;
            }
            let end = range.end.min(self.start + self.piece.len());
            let Some(found) = self.piece.get(next - self.start..end - self.start) else { break };
            if found.is_empty() {
                break;
            }
            out.extend_from_slice(found);
            next = end;
        }
        if next == range.end || range.is_empty() {
            return Ok(());
        }
        let reason = format!("it ends at {next}, {} was asked for", range.end);
        let (path, object) = (self.path.clone(), self.object.clone());
        Err(DataError::Hdf5 { path, object, reason }.into())
    }
}

/// Least numbers of a piece.
const PIECE: usize = 1 << 18;
