//! Structures in Apache Thrift's compact protocol, walked before a library believes what they claim.
//!
//! Format: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, Read};

/// What is known of a value: libraries read known fields as what these have to be, whatever kind the bytes say, and come to
/// claims that nobody looked at.
#[derive(Debug)]
pub(crate) enum Shape {
    Boolean,
    Byte,
    /// Of 16, 32 or 64 bits.
    Integer,
    Double,
    Binary,
    List(&'static Shape),
    /// Known fields by id.
    Structure(&'static [(i16, Shape)]),
}

/// What the bytes say that a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Byte,
    Integer,
    Double,
    Binary,
    List,
    Map,
    Structure,
    Uuid,
}

/// Walks a structure and calls `take` with the id and value of each integer field of its own.
///
/// # Errors
/// `UnexpectedEof` where the bytes end before the structure, and `InvalidData` for what no writer writes: known fields of another
/// kind, unknown kinds, values nested too deep, and lists of booleans and maps, at which readers differ and no Parquet file has any.
pub(crate) fn walk(
    from: &mut impl Read,
    known: &[(i16, Shape)],
    mut take: impl FnMut(i16, i64),
) -> io::Result<()> {
    Walk { from }.structure(known, 0, &mut take)
}

struct Walk<'a, R> {
    from: &'a mut R,
}

impl<R: Read> Walk<'_, R> {
    fn structure(
        &mut self,
        known: &[(i16, Shape)],
        depth: usize,
        take: &mut dyn FnMut(i16, i64),
    ) -> io::Result<()> {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head & 0xf == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.integer()? as i16,
                step => id.checked_add(step.into()).ok_or_else(|| invalid("a field beyond all"))?,
            };
            let shape = known.iter().find(|(known, _)| *known == id).map(|(_, shape)| shape);
            match checked(head & 0xf, shape)? {
                // The kind of the field is its value.
                Kind::Boolean => {}
                Kind::Integer => take(id, self.integer()?),
                kind => self.pass(kind, shape, depth)?,
            }
        }
    }

    fn pass(&mut self, kind: Kind, shape: Option<&Shape>, depth: usize) -> io::Result<()> {
        if depth == DEEPEST {
            return Err(invalid("values nested too deep"));
        }
        match kind {
            Kind::Byte => self.byte().map(drop),
            Kind::Integer => self.integer().map(drop),
            Kind::Double => self.bytes(8),
            Kind::Uuid => self.bytes(16),
            Kind::Binary => {
                let n_bytes = self.varint()?;
                self.bytes(n_bytes)
            }
            Kind::Structure => {
                let known = match shape {
                    Some(Shape::Structure(known)) => known,
                    _ => &[][..],
                };
                self.structure(known, depth + 1, &mut |_, _| {})
            }
            Kind::List => self.list(shape, depth + 1),
            Kind::Boolean => Err(invalid("a list of booleans")),
            Kind::Map => Err(invalid("a map")),
        }
    }

    fn list(&mut self, shape: Option<&Shape>, depth: usize) -> io::Result<()> {
        let head = self.byte()?;
        let n_elements = match head >> 4 {
            15 => self.varint()?,
            few => few.into(),
        };
        if n_elements == 0 {
            return Ok(());
        }
        let of = match shape {
            Some(Shape::List(of)) => Some(*of),
            _ => None,
        };
        let kind = checked(head & 0xf, of)?;
        // Every element takes a byte at least: a claim of too many ends with the bytes.
        (0..n_elements).try_for_each(|_| self.pass(kind, of, depth))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn bytes(&mut self, n_bytes: u64) -> io::Result<()> {
        let n_read = io::copy(&mut self.from.take(n_bytes), &mut io::sink())?;
        if n_read < n_bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid("an integer of more than ten bytes"))
    }

    fn integer(&mut self) -> io::Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

/// The kind of a number in the protocol, where it is that of the shape.
fn checked(number: u8, shape: Option<&Shape>) -> io::Result<Kind> {
    let kind = match number {
        1 | 2 => Kind::Boolean,
        3 => Kind::Byte,
        4..=6 => Kind::Integer,
        7 => Kind::Double,
        8 => Kind::Binary,
        9 | 10 => Kind::List,
        11 => Kind::Map,
        12 => Kind::Structure,
        13 => Kind::Uuid,
        _ => return Err(invalid("a value of no known kind")),
    };
    let expected = match shape {
        None => return Ok(kind),
        Some(Shape::Boolean) => Kind::Boolean,
        Some(Shape::Byte) => Kind::Byte,
        Some(Shape::Integer) => Kind::Integer,
        Some(Shape::Double) => Kind::Double,
        Some(Shape::Binary) => Kind::Binary,
        Some(Shape::List(_)) => Kind::List,
        Some(Shape::Structure(_)) => Kind::Structure,
    };
    match kind == expected {
        true => Ok(kind),
        false => Err(invalid(format!("a value of another kind: {kind:?}, not {expected:?}"))),
    }
}

pub(crate) fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Structures and lists in one another; those of Parquet go eight deep.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(bytes: &[u8], known: &[(i16, Shape)]) -> Result<Vec<(i16, i64)>, String> {
        let mut fields = Vec::new();
        walk(&mut &bytes[..], known, |id, value| fields.push((id, value)))
            .map_err(|error| error.to_string())?;
        Ok(fields)
    }

    const GOOD: [u8; 22] = [
        0x15, 0x03, // 1: i32, −2
        0x1c, 0x25, 0xd8, 0x04, 0x11, 0x00, // 2: { 2: i32 300, 3: true }
        0x29, 0x28, 0x01, b'a', 0x02, b'b', b'c', // 4: ["a", "bc"]
        0x06, 0x80, 0x01, 0x02, // long form: id 64, i64 1
        0x00, 0xff, 0xff,
    ];

    /// By the specification's examples: a delta of 1 and the kind, zigzag integers, a list with its count in the head.
    #[test]
    fn integers_are_given_with_their_ids() {
        static KNOWN: [(i16, Shape); 3] = [
            (1, Shape::Integer),
            (2, Shape::Structure(&[(2, Shape::Integer), (3, Shape::Boolean)])),
            (4, Shape::List(&Shape::Binary)),
        ];
        for known in [&[][..], &KNOWN] {
            assert_eq!(walked(&GOOD, known), Ok(vec![(1, -2), (64, 1)]));
            for end in 0..GOOD.len() - 2 {
                assert!(walked(&GOOD[..end], known).is_err(), "{end} bytes");
            }
        }
    }

    #[test]
    fn known_fields_are_of_their_kind() {
        for known in [
            (1, Shape::Binary),
            (2, Shape::Integer),
            (2, Shape::Structure(&[(2, Shape::Double)])),
            (2, Shape::Structure(&[(3, Shape::Byte)])),
            (4, Shape::List(&Shape::Integer)),
            (4, Shape::Structure(&[])),
        ] {
            let error = walked(&GOOD, &[known]).err();
            assert!(
                error.as_ref().is_some_and(|error| error.contains("another kind")),
                "{error:?}"
            );
        }
    }

    #[test]
    fn claims_beyond_the_bytes_are_refused() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0x07];
        let cases = [
            (0xf1, "booleans"),
            (0xf2, "booleans"),
            (0xf5, "fill"),
            (0xf8, "fill"),
            (0xfc, "fill"),
        ];
        for (head, reason) in cases {
            let error = walked(&[&[0x19, head], &huge[..]].concat(), &[]).err();
            assert!(error.as_ref().is_some_and(|e| e.contains(reason)), "{head:x}: {error:?}");
        }
        for bytes in [[0x1c; 100], [0x19; 100]] {
            assert!(walked(&bytes, &[]).is_err_and(|error| error.contains("deep")));
        }
        assert!(walked(&[0x1b, 0x01], &[]).is_err_and(|error| error.contains("map")));
        let long = [&[0x15][..], &[0xff; 10], &[1]].concat();
        assert!(walked(&long, &[]).is_err_and(|error| error.contains("ten bytes")));
    }
}
