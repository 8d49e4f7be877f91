//! The element types of HDF5 data sets: which of them are numbers, and what all are called.

use rust_hdf5::DatatypeMessage;

use crate::element::Element;

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
}
