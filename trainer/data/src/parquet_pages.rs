//! What footers and page headers of a Parquet file claim, compared with what the file holds before the library believes them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use bytes::Bytes;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::parquet_thrift::{FILE_METADATA, PACKED, PAGE_HEADER, UNPACKED};
use crate::thrift::{invalid, walk};

/// Refuses a file whose footer has lists of more than it holds: the library would skip them element by element.
pub(crate) fn check_footer(file: &File) -> Result<()> {
    let n_bytes = Length::len(file);
    let Some(end) = n_bytes.checked_sub(8) else { return Ok(()) };
    let mut tail = [0; 8];
    file.get_read(end)?.read_exact(&mut tail)?;
    let [a, b, c, d, _, _, _, _] = tail;
    let n_footer = u32::from_le_bytes([a, b, c, d]).into();
    // A file cut short, or not one of Parquet: the library says so.
    let Some(start) = end.checked_sub(n_footer) else { return Ok(()) };
    let mut footer = file.get_read(start)?.take(n_footer);
    walk(&mut footer, FILE_METADATA, |_, _| {}).map_err(|error| told("the footer", &error))
}

/// A file of which the library asks for the headers of pages and then for what they claim.
pub(crate) struct CheckedFile(pub(crate) File);

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        Length::len(&self.0)
    }
}

impl ChunkReader for CheckedFile {
    type T = BufReader<File>;

    /// What begins with the header of a page, after a look at it.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut reader = self.0.get_read(start)?;
        check_page(&mut reader).map_err(|error| told("the header of a page", &error))?;
        let n_read = reader.stream_position()?.saturating_sub(start);
        // Within what is buffered, as a rule.
        reader.seek_relative(-i64::try_from(n_read).unwrap_or(i64::MAX))?;
        Ok(reader)
    }

    /// A page without its header.
    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length as u64 > self.len().saturating_sub(start) {
            return Err(ParquetError::EOF(format!("a page of {length} bytes beyond the end")));
        }
        self.0.get_bytes(start, length)
    }
}

/// Refuses the header of a page that claims to unpack to more than its bytes can.
fn check_page(reader: &mut impl Read) -> io::Result<()> {
    let (mut unpacked, mut packed) = (0, 0);
    // Sizes are of 32 bits, and the last one counts.
    walk(reader, PAGE_HEADER, |id, value| match id {
        UNPACKED => unpacked = i64::from(value as i32),
        PACKED => packed = i64::from(value as i32),
        _ => {}
    })?;
    if unpacked > packed.saturating_mul(MOST_UNPACKED) {
        return Err(invalid(format!("{packed} bytes claim to unpack to {unpacked}")));
    }
    Ok(())
}

fn told(place: &str, error: &io::Error) -> ParquetError {
    ParquetError::General(format!("{place}: {error}"))
}

/// Bytes that one byte unpacks to at most: a match of 258 bytes in two bits of DEFLATE is more than LZ4 and Snappy do.
const MOST_UNPACKED: i64 = 1_032;

/// Pages whose dictionaries have no more values than bytes: room for all that one claims is made at once.
pub(crate) struct CheckedPages<P>(pub(crate) P);

impl<P: PageReader> PageReader for CheckedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        if let Some(Page::DictionaryPage { buf, num_values, .. }) = &page
            && *num_values as usize > buf.len()
        {
            return Err(ParquetError::General(format!(
                "a dictionary of {} bytes claims {num_values} values",
                buf.len()
            )));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.0.at_record_boundary()
    }
}

impl<P: PageReader> Iterator for CheckedPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::Encoding;

    use super::*;

    /// Dictionaries that claim so many values in four bytes.
    struct Claims(std::vec::IntoIter<u32>);

    impl PageReader for Claims {
        fn get_next_page(&mut self) -> Result<Option<Page>> {
            let page = |num_values| Page::DictionaryPage {
                buf: vec![0; 4].into(),
                num_values,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            Ok(self.0.next().map(page))
        }

        fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
            Ok(None)
        }

        fn skip_next_page(&mut self) -> Result<()> {
            self.get_next_page().map(drop)
        }
    }

    impl Iterator for Claims {
        type Item = Result<Page>;

        fn next(&mut self) -> Option<Self::Item> {
            self.get_next_page().transpose()
        }
    }

    #[test]
    fn a_dictionary_has_no_more_values_than_bytes() {
        let mut pages = CheckedPages(Claims(vec![4, 5, 1 << 30].into_iter()));
        assert!(pages.get_next_page().is_ok_and(|page| page.is_some()));
        for claimed in ["5", "1073741824"] {
            let error = pages.get_next_page().err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(claimed)));
        }
        assert!(pages.get_next_page().is_ok_and(|page| page.is_none()));
    }

    /// Fields 1 to 3 of a header, in zigzag.
    fn header(unpacked: u8, packed: u8) -> [u8; 8] {
        [0x15, 0, 0x15, unpacked | 0x80, 0x20, 0x15, packed, 0]
    }

    #[test]
    fn a_page_unpacks_to_no_more_than_its_bytes_can() {
        // 2,064 = 2 × 1,032 from 2 bytes, and one more.
        assert!(check_page(&mut &header(0x20, 4)[..]).is_ok());
        let error = check_page(&mut &header(0x22, 4)[..]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("2 bytes claim to unpack to 2065")));
        // The size as text of two bytes: the library would read its length as the size.
        let error = check_page(&mut &[0x18, 2, 0, 0, 0][..]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("another kind")));
    }
}
