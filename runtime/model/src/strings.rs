//! Lists of strings in a section.

use crate::container::SectionReader;
use crate::error::ModelError;

/// A list of UTF-8 strings: `count u32, n_bytes u32, ends u32[count], bytes`, padded to 4.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringTable<'a> {
    ends: &'a [u32],
    text: &'a str,
}

impl<'a> StringTable<'a> {
    /// Reads and checks a table: UTF-8, ends in order and on character boundaries.
    pub(crate) fn parse(reader: &mut SectionReader<'a>) -> Result<Self, ModelError> {
        let count = reader.u32()? as usize;
        let n_bytes = reader.u32()? as usize;
        let ends: &[u32] = reader.array(count)?;
        let bytes: &[u8] = reader.array(n_bytes)?;
        let text = core::str::from_utf8(bytes).map_err(|_| reader.bad("text: it is not UTF-8"))?;
        let mut previous = 0;
        for &end in ends {
            if end < previous || !text.is_char_boundary(end as usize) {
                return Err(reader.bad("string table"));
            }
            previous = end;
        }
        if previous as usize != n_bytes {
            return Err(reader.bad("string table"));
        }
        Ok(Self { ends, text })
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string with that number, empty past the end.
    pub fn at(&self, index: usize) -> &'a str {
        let end = self.ends.get(index).copied().unwrap_or(0) as usize;
        let begin = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0) as usize,
            None => 0,
        };
        self.text.get(begin..end).unwrap_or("")
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let table = *self;
        (0..table.len()).map(move |index| table.at(index))
    }

    /// The position among `order` (indices that sort this table) of the first string equal to
    /// `key`, by binary search.
    pub(crate) fn find_sorted(&self, order: &[u32], key: &str) -> Option<u32> {
        let at = order.partition_point(|&index| self.at(index as usize) < key);
        order.get(at).copied().filter(|&index| self.at(index as usize) == key)
    }

    /// Whether `order` lists every string once, in ascending order.
    pub(crate) fn is_order(&self, order: &[u32]) -> bool {
        order.len() == self.len()
            && order.iter().all(|&index| (index as usize) < self.len())
            && order.windows(2).all(|pair| match *pair {
                [a, b] => (self.at(a as usize), a) < (self.at(b as usize), b),
                _ => true,
            })
    }
}
