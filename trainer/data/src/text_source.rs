//! Text files, compressed or not, as bytes and as lines.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;
use crate::sniff::GZIP_MAGIC;

/// The bytes of a text file; gzip is recognised by content and unpacked on the way. A stream that
/// unpacks to absurdly much is cut off with an error.
pub(crate) struct TextSource {
    path: PathBuf,
    stream: Stream,
    /// Unpacked bytes that may still come, for compressed files.
    budget: u64,
    exhausted: bool,
}

enum Stream {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
}

impl TextSource {
    /// Opens the file.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let mut file = File::open(path).map_err(DataError::io(path))?;
        let len = file.metadata().map_err(DataError::io(path))?.len();
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).map_err(DataError::io(path))?;
        let file = File::open(path).map_err(DataError::io(path))?;
        let (stream, budget) = if magic == GZIP_MAGIC {
            let decoder = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_LEN, file));
            let budget = len.saturating_mul(MAX_RATIO).max(ALWAYS_ACCEPTED);
            (Stream::Gzip(Box::new(decoder)), budget)
        } else {
            (Stream::Plain(file), u64::MAX)
        };
        Ok(Self { path: path.to_path_buf(), stream, budget, exhausted: false })
    }

    /// Most bytes that may come out, for sizing buffers: never more than a few times the file.
    pub(crate) fn expected_len(&self) -> Result<u64, DataError> {
        let len = self.path.metadata().map_err(DataError::io(&self.path))?.len();
        Ok(match self.stream {
            Stream::Plain(_) => len,
            Stream::Gzip(_) => len.saturating_mul(USUAL_RATIO),
        })
    }

    /// The error for an I/O fault of this source.
    pub(crate) fn fault(&self, error: io::Error) -> DataError {
        let path = self.path.clone();
        if self.exhausted {
            return DataError::GzipRatio { path, ratio: MAX_RATIO };
        }
        match (&self.stream, error.kind()) {
            (
                Stream::Gzip(_),
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData,
            ) => {
                let reason = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it ends too early".into(),
                    _ => error.to_string(),
                };
                DataError::Gzip { path, reason }
            }
            _ => DataError::Io { path, source: error },
        }
    }

    /// The whole text, without a byte order mark, strictly UTF-8.
    pub(crate) fn read_to_string(mut self) -> Result<String, DataError> {
        let mut bytes = Vec::new();
        if let Err(error) = self.read_to_end(&mut bytes) {
            return Err(self.fault(error));
        }
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
            DataError::NotUtf8 { path: self.path.clone(), place: format!("line {line}") }
        })?;
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        Ok(text)
    }
}

impl Read for TextSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.stream {
            Stream::Plain(file) => file.read(buffer)?,
            Stream::Gzip(decoder) => decoder.read(buffer)?,
        };
        let Some(budget) = self.budget.checked_sub(read as u64) else {
            self.exhausted = true;
            return Err(io::Error::other("unpacks to too much"));
        };
        self.budget = budget;
        Ok(read)
    }
}

/// Lines of a text file as byte slices into one buffer of fixed size.
pub(crate) struct Lines {
    source: TextSource,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    finished: bool,
    number: u64,
}

impl Lines {
    /// Lines of `source`, each shorter than [`BUFFER_LEN`].
    pub(crate) fn new(source: TextSource) -> Self {
        Self { source, buffer: vec![0; BUFFER_LEN], start: 0, end: 0, finished: false, number: 0 }
    }

    /// The number of the line returned last, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end (`\n` or `\r\n`), or `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>, DataError> {
        let mut searched = self.start;
        let (line, next) = loop {
            let newline = self.buffer[searched..self.end].iter().position(|&byte| byte == b'\n');
            if let Some(at) = newline {
                break (self.start..searched + at, searched + at + 1);
            }
            if self.finished {
                if self.start == self.end {
                    return Ok(None);
                }
                break (self.start..self.end, self.end);
            }
            searched = self.end - self.start;
            self.fill()?;
        };
        self.number += 1;
        self.start = next;
        let line = &self.buffer[line];
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Moves the unread bytes to the front and reads more behind them.
    fn fill(&mut self) -> Result<(), DataError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            return Err(DataError::Table {
                path: self.source.path.clone(),
                line: self.number + 1,
                reason: format!("longer than {BUFFER_LEN} bytes"),
            });
        }
        let read = loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.source.fault(error)),
                Ok(read) => break read,
            }
        };
        self.end += read;
        self.finished = read == 0;
        Ok(())
    }
}

/// The mark that some Windows programs put before UTF-8 text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';
const BUFFER_LEN: usize = 1 << 18;
/// Expression text packs to a fifth or tenth; hundreds mean a stream made to exhaust memory.
const MAX_RATIO: u64 = 200;
const USUAL_RATIO: u64 = 8;
const ALWAYS_ACCEPTED: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lines_of(bytes: &[u8]) -> Result<Vec<String>, DataError> {
        let file = file(bytes);
        let mut lines = Lines::new(TextSource::open(file.path())?);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line()? {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(lines.number(), found.len() as u64);
        Ok(found)
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_the_last_may_end_with_the_file() {
        assert_eq!(lines_of(b"a\r\n\nb\nc").unwrap(), ["a", "", "b", "c"]);
        assert_eq!(lines_of(&gzip(b"a\nb\n")).unwrap(), ["a", "b"]);
        assert_eq!(lines_of(b"").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn lines_across_buffer_borders_stay_whole() {
        let text: String = (0..60_000).map(|i| format!("line {i}\n")).collect();
        let found = lines_of(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 60_000);
        assert!(found.iter().enumerate().all(|(i, line)| *line == format!("line {i}")));
    }

    #[test]
    fn members_of_a_concatenated_gzip_file_are_all_read() {
        let mut bytes = gzip(b"a\n");
        bytes.extend(gzip(b"b\n"));
        assert_eq!(lines_of(&bytes).unwrap(), ["a", "b"]);
    }

    #[test]
    fn refuses_a_truncated_gzip_stream() {
        let text: String = (0..2000).map(|i| format!("{i}\n")).collect();
        let whole = gzip(text.as_bytes());
        for len in [11, whole.len() / 2, whole.len() - 1] {
            let error = lines_of(&whole[..len]).unwrap_err();
            assert!(matches!(error, DataError::Gzip { .. }), "{len}: {error}");
        }
    }

    #[test]
    fn refuses_a_gzip_bomb() {
        let bomb = gzip(&b"1 1 1\n".repeat(8 << 20));
        assert!(matches!(lines_of(&bomb), Err(DataError::GzipRatio { .. })));
    }

    #[test]
    fn refuses_a_line_that_does_not_end() {
        assert!(matches!(lines_of(&vec![b'1'; 300_000]), Err(DataError::Table { line: 1, .. })));
    }

    #[test]
    fn text_is_utf8_without_a_byte_order_mark() {
        let bom = file(b"\xef\xbb\xbfid\tsplit\n");
        assert_eq!(TextSource::open(bom.path()).unwrap().read_to_string().unwrap(), "id\tsplit\n");
        let latin = file(b"a\nb\xe9\n");
        let error = TextSource::open(latin.path()).unwrap().read_to_string().unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
