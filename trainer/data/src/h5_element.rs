//! The element types of HDF5 data sets that hold expression values, indices and names.

use rust_hdf5::DatatypeMessage;

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
    /// The element type, if it is one of them; enumerations (booleans) count as their integers.
    pub(crate) fn of(datatype: &DatatypeMessage) -> Option<Self> {
        match datatype {
            DatatypeMessage::FloatingPoint { size: 4, .. } => Some(Self::F32),
            DatatypeMessage::FloatingPoint { size: 8, .. } => Some(Self::F64),
            DatatypeMessage::FixedPoint { size, signed, .. } => match (size, signed) {
                (1, true) => Some(Self::I8),
                (2, true) => Some(Self::I16),
                (4, true) => Some(Self::I32),
                (8, true) => Some(Self::I64),
                (1, false) => Some(Self::U8),
                (2, false) => Some(Self::U16),
                (4, false) => Some(Self::U32),
                (8, false) => Some(Self::U64),
                _ => None,
            },
            DatatypeMessage::Enum { base, .. } => Self::of(base),
            _ => None,
        }
    }

    /// Whether every number of the type is one.
    pub(crate) fn is_integer(self) -> bool {
        !matches!(self, Self::F32 | Self::F64)
    }

    /// One number from its little-endian bytes, as they stand in compound data.
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

/// What an element type is called in messages. The library's own words multiply sizes that a file may
/// choose freely.
pub(crate) fn type_name(datatype: &DatatypeMessage) -> String {
    let bits = |size: u32| u64::from(size) * 8;
    match datatype {
        DatatypeMessage::FixedPoint { size, signed: true, .. } => format!("i{}", bits(*size)),
        DatatypeMessage::FixedPoint { size, .. } => format!("u{}", bits(*size)),
        DatatypeMessage::FloatingPoint { size, .. } => format!("f{}", bits(*size)),
        DatatypeMessage::BitField { .. } => "bit field".into(),
        DatatypeMessage::Opaque { .. } => "opaque bytes".into(),
        DatatypeMessage::FixedString { size, .. } => format!("string of {size} bytes"),
        DatatypeMessage::VarLenString { .. } => "string".into(),
        DatatypeMessage::Compound { members, .. } => format!("compound of {}", members.len()),
        DatatypeMessage::Enum { base, .. } => format!("enumeration of {}", type_name(base)),
        DatatypeMessage::VarLenSequence { base } => format!("sequence of {}", type_name(base)),
        DatatypeMessage::Array { base, .. } => format!("array of {}", type_name(base)),
        DatatypeMessage::Reference { .. } => "reference".into(),
    }
}

/// The content of a fixed-length string: up to the first NUL, or without trailing spaces.
pub(crate) fn fixed_string(bytes: &[u8], padding: u8) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let content = &bytes[..end];
    if padding == SPACE_PADDED { content.trim_ascii_end() } else { content }
}

const SPACE_PADDED: u8 = 2;

#[cfg(test)]
mod tests {
    use rust_hdf5::ByteOrder;

    use super::*;

    #[test]
    fn fixed_strings_end_at_nul_or_lose_their_spaces() {
        assert_eq!(fixed_string(b"ab\0\0", 0), b"ab");
        assert_eq!(fixed_string(b"ab\0c", 1), b"ab");
        assert_eq!(fixed_string(b"ab  ", 1), b"ab  ");
        assert_eq!(fixed_string(b"ab  ", SPACE_PADDED), b"ab");
        assert_eq!(fixed_string(b"", 0), b"");
    }

    #[test]
    fn types_have_names_whatever_size_a_file_gives_them() {
        let of = |size| DatatypeMessage::Opaque { size, tag: String::new() };
        let integer = |size| DatatypeMessage::FixedPoint {
            size,
            byte_order: ByteOrder::LittleEndian,
            signed: false,
            bit_offset: 0,
            bit_precision: 0,
        };
        assert_eq!(type_name(&integer(u32::MAX)), "u34359738360");
        assert_eq!(type_name(&of(u32::MAX)), "opaque bytes");
        let base = Box::new(integer(1));
        assert_eq!(type_name(&DatatypeMessage::VarLenSequence { base }), "sequence of u8");
    }

    #[test]
    fn numbers_of_records_are_little_endian_and_may_be_cut_off() {
        assert_eq!(Element::I16.read(&[0xfe, 0xff, 9]), Some(-2.0));
        assert_eq!(Element::F32.read(&1.5f32.to_le_bytes()), Some(1.5));
        assert_eq!(Element::U32.read(&[1, 2, 3]), None);
    }
}
