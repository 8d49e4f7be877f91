//! Pages of a Parquet column, their claims compared with what they hold before the library believes them.

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// Pages whose dictionaries have no more values than bytes: room for all that one claims is made at once.
pub(crate) struct CheckedPages(pub(crate) Box<dyn PageReader>);

impl PageReader for CheckedPages {
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

impl Iterator for CheckedPages {
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
        let mut pages = CheckedPages(Box::new(Claims(vec![4, 5, 1 << 30].into_iter())));
        assert!(pages.get_next_page().is_ok_and(|page| page.is_some()));
        for claimed in ["5", "1073741824"] {
            let error = pages.get_next_page().err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(claimed)));
        }
        assert!(pages.get_next_page().is_ok_and(|page| page.is_none()));
    }
}
