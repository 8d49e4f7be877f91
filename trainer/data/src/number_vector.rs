//! Numbers that are read range by range, whatever they lie in, and what a stored number becomes.

use core::ops::Range;

use crate::element::{Element, Number};
use crate::error::DataError;
use crate::h5_source::MAX_EXACT_COUNT;

/// A vector of numbers in a file.
pub(crate) trait NumberVector<T> {
    /// How many there are.
    fn len(&self) -> usize;

    /// Appends the numbers of a range, which must lie inside the vector.
    fn read(&mut self, range: Range<usize>, out: &mut Vec<T>) -> Result<(), VectorFault>;
}

/// What a stored number becomes.
pub(crate) trait Converted: Copy {
    /// The number, or what is too large for the type.
    fn convert(number: &impl Number, element: Element) -> Result<Self, f64>;
}

/// Why a range was not read.
#[derive(Debug)]
pub(crate) enum VectorFault {
    File(DataError),
    /// A count that single precision cannot hold.
    TooLarge {
        at: usize,
        value: f64,
    },
}

impl From<DataError> for VectorFault {
    fn from(error: DataError) -> Self {
        Self::File(error)
    }
}

impl Converted for f32 {
    #[inline]
    fn convert(number: &impl Number, element: Element) -> Result<Self, f64> {
        let number = number.as_f64();
        if element.is_integer() && number > MAX_EXACT_COUNT {
            return Err(number);
        }
        Ok(number as f32)
    }
}

impl Converted for u32 {
    #[inline]
    fn convert(number: &impl Number, _: Element) -> Result<Self, f64> {
        Ok(number.as_u64().and_then(|index| Self::try_from(index).ok()).unwrap_or(Self::MAX))
    }
}
