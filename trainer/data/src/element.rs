//! The element types of arrays that hold expression values, indices and codes.

/// Evaluates a body with `T` standing for the Rust type of an [`Element`].
macro_rules! dispatch {
    ($element:expr, $T:ident => $body:expr) => {
        match $element {
            Element::F32 => {
                type $T = f32;
                $body
            }
            Element::F64 => {
                type $T = f64;
                $body
            }
            Element::I8 => {
                type $T = i8;
                $body
            }
            Element::I16 => {
                type $T = i16;
                $body
            }
            Element::I32 => {
                type $T = i32;
                $body
            }
            Element::I64 => {
                type $T = i64;
                $body
            }
            Element::U8 => {
                type $T = u8;
                $body
            }
            Element::U16 => {
                type $T = u16;
                $body
            }
            Element::U32 => {
                type $T = u32;
                $body
            }
            Element::U64 => {
                type $T = u64;
                $body
            }
        }
    };
}
pub(crate) use dispatch;

/// The number types that matrices and tables are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

impl Element {
    /// Bytes of a number.
    #[cfg(feature = "zarr")]
    pub(crate) fn size(self) -> usize {
        dispatch!(self, T => size_of::<T>())
    }

    /// Whether every number of the type is one.
    pub(crate) fn is_integer(self) -> bool {
        !matches!(self, Self::F32 | Self::F64)
    }

    /// One number from its little-endian bytes, as they stand in records.
    pub(crate) fn read(self, bytes: &[u8]) -> Option<f64> {
        dispatch!(self, T => {
            Some(T::from_le_bytes(bytes.get(..size_of::<T>())?.try_into().ok()?).as_f64())
        })
    }
}

/// What a stored number can become.
pub(crate) trait Number {
    /// The number, rounded if it is an integer above 2^53.
    fn as_f64(&self) -> f64;
    /// The number, if it is an integer of zero or more.
    fn as_u64(&self) -> Option<u64>;
}

macro_rules! number {
    ($($integer:ty),*) => {$(
        impl Number for $integer {
            fn as_f64(&self) -> f64 { *self as f64 }
            fn as_u64(&self) -> Option<u64> { u64::try_from(*self).ok() }
        }
    )*};
}
number!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Number for f32 {
    fn as_f64(&self) -> f64 {
        f64::from(*self)
    }
    fn as_u64(&self) -> Option<u64> {
        None
    }
}

impl Number for f64 {
    fn as_f64(&self) -> f64 {
        *self
    }
    fn as_u64(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_records_are_little_endian_and_may_be_cut_off() {
        assert_eq!(Element::I16.read(&[0xfe, 0xff, 9]), Some(-2.0));
        assert_eq!(Element::F32.read(&1.5f32.to_le_bytes()), Some(1.5));
        assert_eq!(Element::U32.read(&[1, 2, 3]), None);
    }
}
