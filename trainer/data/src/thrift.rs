//! Structures in Apache Thrift's compact protocol, walked before a library believes what they claim.
//!
//! Format: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, Read};

/// What a field of a structure or an element of a list is, by its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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

/// Fields on the way from the outermost structure to a value, by id.
pub(crate) type Path<'a> = &'a [i16];

/// Walks one structure; `take` is given the path, the kind and, of an integer, the value of each of its fields and those
/// of the structures in it, but for those in lists and maps, and can refuse them.
///
/// # Errors
/// `UnexpectedEof` where the bytes end before the structure, what `take` said, and `InvalidData` for what no writer writes:
/// unknown kinds, structures nested too deep, and lists of booleans or maps, at which readers differ and no file of Parquet has any.
pub(crate) fn walk(
    from: &mut impl Read,
    take: &mut impl FnMut(Path<'_>, Kind, i64) -> io::Result<()>,
) -> io::Result<()> {
    let mut path = Vec::with_capacity(DEEPEST);
    Walk { from }.structure(&mut path, take)
}

struct Walk<'a, R> {
    from: &'a mut R,
}

impl<R: Read> Walk<'_, R> {
    fn structure(
        &mut self,
        path: &mut Vec<i16>,
        take: &mut impl FnMut(Path<'_>, Kind, i64) -> io::Result<()>,
    ) -> io::Result<()> {
        if path.len() == DEEPEST {
            return Err(invalid("structures nested too deep"));
        }
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
            path.push(id);
            let kind = kind(head & 0xf)?;
            match kind {
                Kind::Integer => {
                    let value = self.integer()?;
                    take(path, kind, value)?;
                }
                Kind::Structure => {
                    take(path, kind, 0)?;
                    self.structure(path, take)?;
                }
                // The kind of the field is its value.
                Kind::Boolean => take(path, kind, 0)?,
                _ => {
                    take(path, kind, 0)?;
                    self.skip(kind, path.len())?;
                }
            }
            path.pop();
        }
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> io::Result<()> {
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
                // Too deep is refused by the path's length, which here stands for the lists as well.
                self.structure(&mut vec![0; depth], &mut |_, _, _| Ok(()))
            }
            Kind::List => {
                if depth == DEEPEST {
                    return Err(invalid("lists nested too deep"));
                }
                let head = self.byte()?;
                let n_elements = match head >> 4 {
                    15 => self.varint()?,
                    few => few.into(),
                };
                if n_elements == 0 {
                    return Ok(());
                }
                let element = self::kind(head & 0xf)?;
                if element == Kind::Boolean {
                    return Err(invalid("a list of booleans"));
                }
                // Every element takes a byte at least: a claim of too many ends with the bytes.
                (0..n_elements).try_for_each(|_| self.skip(element, depth + 1))
            }
            Kind::Boolean | Kind::Map => Err(invalid("a map")),
        }
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

fn kind(number: u8) -> io::Result<Kind> {
    Ok(match number {
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
    })
}

pub(crate) fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Structures and lists in one another; Parquet's go eight deep.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(bytes: &[u8]) -> Result<Vec<(Vec<i16>, Kind, i64)>, String> {
        let mut fields = Vec::new();
        walk(&mut &bytes[..], &mut |path, kind, value| {
            fields.push((path.to_vec(), kind, value));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        Ok(fields)
    }

    /// By the specification's examples: a delta of 1 and the kind, zigzag integers, a list with its count in the head.
    #[test]
    fn fields_are_given_with_their_path() {
        let bytes = [
            0x15, 0x03, // 1: i32, −2
            0x1c, 0x25, 0xd8, 0x04, 0x11, 0x00, // 2: { 2: i32 300, 3: true }
            0x29, 0x28, 0x01, b'a', 0x02, b'b', b'c', // 4: ["a", "bc"]
            0x06, 0x80, 0x01, 0x02, // long form: id 64, i64 1
            0x00, 0xff,
        ];
        let expected = vec![
            (vec![1], Kind::Integer, -2),
            (vec![2], Kind::Structure, 0),
            (vec![2, 2], Kind::Integer, 300),
            (vec![2, 3], Kind::Boolean, 0),
            (vec![4], Kind::List, 0),
            (vec![64], Kind::Integer, 1),
        ];
        assert_eq!(walked(&bytes), Ok(expected));
        for end in 0..bytes.len() - 2 {
            assert!(walked(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn claims_beyond_the_bytes_are_refused() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0x07];
        for (head, reason) in
            [(0xf1, "booleans"), (0xf2, "booleans"), (0xf5, "fill"), (0xf8, "fill"), (0xfc, "fill")]
        {
            let list = [&[0x19, head], &huge[..]].concat();
            let error = walked(&list).err();
            assert!(error.as_ref().is_some_and(|e| e.contains(reason)), "{head:x}: {error:?}");
        }
        let deep = [vec![0x1c; 100], vec![0; 101]].concat();
        assert!(walked(&deep).is_err_and(|error| error.contains("deep")));
        let lists = [vec![0x19; 100], vec![0; 101]].concat();
        assert!(walked(&lists).is_err_and(|error| error.contains("deep")));
        assert!(walked(&[0x1b, 0x01]).is_err_and(|error| error.contains("map")));
        assert!(
            walked(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err()
        );
    }
}
