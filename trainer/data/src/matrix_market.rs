//! MatrixMarket coordinate files as 10x folders hold them: genes are rows, cells are columns,
//! counted from 1.

use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::h5_source::MAX_EXACT_COUNT;
use crate::text_source::{Lines, TextSource};

/// One entry, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) gene: u32,
    pub(crate) cell: u32,
    pub(crate) value: f32,
}

/// The entries of a file in its order, each line checked.
pub(crate) struct Entries {
    path: PathBuf,
    lines: Lines,
    field: Field,
    n_genes: usize,
    n_cells: usize,
    /// As the header states.
    nnz: usize,
    n_read: usize,
    last: Option<(u32, u32)>,
    capacity: usize,
}

impl Entries {
    /// Reads the header of a matrix of `n_genes` rows and `n_cells` columns, as the files beside
    /// it have names.
    pub(crate) fn open(path: &Path, n_genes: usize, n_cells: usize) -> Result<Self, DataError> {
        let source = TextSource::open(path)?;
        let expected_len = source.expected_len()?;
        let mut lines = Lines::new(source);
        let field = read_banner(path, &mut lines)?;
        let [rows, columns, nnz] = read_size(path, &mut lines)?;
        if (rows, columns) != (n_genes, n_cells) {
            let hint = match (columns, rows) == (n_genes, n_cells) {
                true => "; the matrix is transposed: write it with genes as rows",
                false => "; the files do not belong together: copy all of them again",
            };
            let reason = format!(
                "the matrix is {rows} x {columns}, but there are {n_genes} features and {n_cells} \
                 barcodes{hint}"
            );
            return Err(fault(path, lines.number(), reason));
        }
        // The header's number is a claim: an entry takes at least six bytes of text.
        let capacity = nnz.min(usize::try_from(expected_len / 6).unwrap_or(usize::MAX));
        let path = path.to_path_buf();
        Ok(Self { path, lines, field, n_genes, n_cells, nnz, n_read: 0, last: None, capacity })
    }

    /// The next entry, or `None` after the last.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, DataError> {
        let entry = loop {
            let Some(line) = self.lines.next_line()? else {
                return if self.n_read == self.nnz { Ok(None) } else { Err(self.too_few()) };
            };
            let line = line.trim_ascii();
            if !line.is_empty() && line[0] != b'%' {
                break parse_entry(line, self.field, self.n_genes, self.n_cells);
            }
        };
        let entry = entry.map_err(|reason| self.fault(reason))?;
        if self.n_read == self.nnz {
            let reason = format!(
                "more entries than the {} that the header states; write the file again",
                self.nnz
            );
            return Err(self.fault(reason));
        }
        if self.last == Some((entry.gene, entry.cell)) {
            let (row, column) = (entry.gene + 1, entry.cell + 1);
            return Err(self.fault(format!(
                "row {row} of column {column} stands twice; add the entries up, or remove one"
            )));
        }
        self.last = Some((entry.gene, entry.cell));
        self.n_read += 1;
        Ok(Some(entry))
    }

    /// The line of the entry returned last, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// How many entries are worth making room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn too_few(&self) -> DataError {
        self.fault(format!(
            "the file ends after {} entries, its header states {}; copy it again",
            self.n_read, self.nnz
        ))
    }

    fn fault(&self, reason: String) -> DataError {
        fault(&self.path, self.lines.number(), reason)
    }
}

/// Every entry by cell; within a cell they may be unsorted.
pub(crate) struct ByCell {
    pub(crate) indptr: Vec<usize>,
    pub(crate) genes: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

/// Reads a file whole, in whatever order its entries stand.
pub(crate) fn read(path: &Path, n_genes: usize, n_cells: usize) -> Result<ByCell, DataError> {
    let mut entries = Entries::open(path, n_genes, n_cells)?;
    let capacity = entries.capacity();
    let mut genes: Vec<u32> = Vec::with_capacity(capacity);
    let mut cells: Vec<u32> = Vec::with_capacity(capacity);
    let mut values: Vec<f32> = Vec::with_capacity(capacity);
    let mut by_cell = true;
    while let Some(entry) = entries.next_entry()? {
        by_cell &= cells.last().is_none_or(|&last| last <= entry.cell);
        genes.push(entry.gene);
        cells.push(entry.cell);
        values.push(entry.value);
    }
    if !by_cell {
        (genes, values) = group_by_cell(n_cells, &cells, &genes, &values);
    }
    let indptr = pointers(n_cells, &cells);
    Ok(ByCell { indptr, genes, values })
}

/// What the values are by the header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Integer,
    Real,
}

fn read_banner(path: &Path, lines: &mut Lines) -> Result<Field, DataError> {
    let banner = lines.next_line()?.map(|line| String::from_utf8_lossy(line).to_lowercase());
    let banner = banner.unwrap_or_default();
    let words: Vec<&str> = banner.split_ascii_whitespace().collect();
    let [marker, object, format, field, symmetry] = words[..] else {
        return Err(fault(path, 1, format!("expected {BANNER:?}, found {banner:?}")));
    };
    if (marker, object) != ("%%matrixmarket", "matrix") {
        return Err(fault(path, 1, format!("expected {BANNER:?}, found {banner:?}")));
    }
    let refuse = |what: &str| {
        Err(fault(path, 1, format!("{what} matrices are not read; write it with {BANNER:?}")))
    };
    if format != "coordinate" {
        return refuse(format);
    }
    if symmetry != "general" {
        return refuse(symmetry);
    }
    match field {
        "integer" => Ok(Field::Integer),
        "real" => Ok(Field::Real),
        other => refuse(other),
    }
}

fn read_size(path: &Path, lines: &mut Lines) -> Result<[usize; 3], DataError> {
    loop {
        let Some(line) = lines.next_line()? else {
            let reason = "the file ends before the line with its size".to_string();
            return Err(fault(path, lines.number(), reason));
        };
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'%' {
            continue;
        }
        let mut fields = Fields(line);
        let numbers = [fields.integer(), fields.integer(), fields.integer()];
        if let ([Some(rows), Some(columns), Some(nnz)], None) = (numbers, fields.next()) {
            return Ok([rows, columns, nnz]);
        }
        let text = String::from_utf8_lossy(line).into_owned();
        let reason = format!(
            "expected rows, columns and number of entries, found {text:?}; write the file again"
        );
        return Err(fault(path, lines.number(), reason));
    }
}

/// One entry with indices counted from 0, or what is wrong with it.
fn parse_entry(line: &[u8], field: Field, n_genes: usize, n_cells: usize) -> Result<Entry, String> {
    let mut fields = Fields(line);
    let (row, column, value) = (fields.integer(), fields.integer(), fields.next());
    let (Some(row), Some(column), Some(value), None) = (row, column, value, fields.next()) else {
        let text = String::from_utf8_lossy(line);
        return Err(format!("expected row, column and value, found {text:?}; copy the file again"));
    };
    let gene = index_from_one("row", row, n_genes)?;
    let cell = index_from_one("column", column, n_cells)?;
    let shown = || String::from_utf8_lossy(value).into_owned();
    let number = match (decimal(value), field) {
        (Some(integer), _) => {
            if integer as f64 > MAX_EXACT_COUNT {
                return Err(format!(
                    "the count {integer} is above 16777216 (2^24), the largest that is held \
                     exactly; correct it"
                ));
            }
            integer as f32
        }
        (None, Field::Integer) => {
            return Err(format!(
                "expected an integer of zero or more, as the header says, found {:?}; correct the \
                 entry, or the header",
                shown()
            ));
        }
        (None, Field::Real) => str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<f32>().ok())
            .ok_or_else(|| format!("expected a number, found {:?}", shown()))?,
    };
    if !number.is_finite() || number < 0.0 {
        return Err(format!(
            "expected a finite number of zero or more, found {:?}; replace or remove it (of \
             centred or scaled values give the matrix from before)",
            shown()
        ));
    }
    Ok(Entry { gene, cell, value: number })
}

fn index_from_one(what: &str, index: usize, len: usize) -> Result<u32, String> {
    match index.checked_sub(1) {
        None => {
            Err(format!("{what} 0: indices count from 1; write the file again with indices from 1"))
        }
        Some(index) if index >= len => {
            Err(format!("{what} {}: the header states only {len}; write the file again", index + 1))
        }
        Some(index) => u32::try_from(index).map_err(|_| format!("{what} {index} is too large")),
    }
}

/// White-space separated fields of a line.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let rest = &self.0[start..];
        let len = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        self.0 = &rest[len..];
        Some(&rest[..len])
    }

    fn integer(&mut self) -> Option<usize> {
        usize::try_from(decimal(self.next()?)?).ok()
    }
}

/// A number of decimal digits only.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
    })
}

fn pointers(n_cells: usize, cells: &[u32]) -> Vec<usize> {
    let mut indptr = vec![0usize; n_cells + 1];
    for &cell in cells {
        indptr[cell as usize + 1] += 1;
    }
    for cell in 0..n_cells {
        indptr[cell + 1] += indptr[cell];
    }
    indptr
}

fn group_by_cell(
    n_cells: usize,
    cells: &[u32],
    genes: &[u32],
    values: &[f32],
) -> (Vec<u32>, Vec<f32>) {
    let mut next = pointers(n_cells, cells);
    let (mut by_cell_genes, mut by_cell_values) = (vec![0; genes.len()], vec![0.0; values.len()]);
    for ((&cell, &gene), &value) in cells.iter().zip(genes).zip(values) {
        let slot = &mut next[cell as usize];
        by_cell_genes[*slot] = gene;
        by_cell_values[*slot] = value;
        *slot += 1;
    }
    (by_cell_genes, by_cell_values)
}

fn fault(path: &Path, line: u64, reason: String) -> DataError {
    DataError::MatrixMarket { path: path.to_path_buf(), line, reason }
}

const BANNER: &str = "%%MatrixMarket matrix coordinate integer (or real) general";

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<ByCell, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("matrix.mtx");
        std::fs::write(&path, text).unwrap();
        read(&path, 3, 2)
    }

    fn with_entries(size: &str, entries: &str) -> String {
        format!("%%MatrixMarket matrix coordinate integer general\n%note\n{size}\n{entries}")
    }

    /// Line and reason of the refusal.
    fn refusal(text: &str) -> (u64, String) {
        match read_text(text) {
            Err(DataError::MatrixMarket { line, reason, .. }) => (line, reason),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted {text:?}"),
        }
    }

    #[test]
    fn reads_entries_in_any_order_by_cell() {
        let sorted = read_text(&with_entries("3 2 3", "1 1 5\n3 1 7\n2 2 9\n")).unwrap();
        assert_eq!(sorted.indptr, [0, 2, 3]);
        assert_eq!(sorted.genes, [0, 2, 1]);
        assert_eq!(sorted.values, [5.0, 7.0, 9.0]);
        let by_gene = read_text(&with_entries("3 2 3", "1 1 5\n2 2 9\n3 1 7\n")).unwrap();
        assert_eq!(by_gene.indptr, sorted.indptr);
        assert_eq!(by_gene.genes, sorted.genes);
        assert_eq!(by_gene.values, sorted.values);
    }

    #[test]
    fn reads_real_values_and_crlf() {
        let text = "%%MatrixMarket matrix coordinate real general\r\n3 2 1\r\n2 1 1.5e0\r\n";
        assert_eq!(read_text(text).unwrap().values, [1.5]);
    }

    #[test]
    fn refuses_headers_of_other_kinds_by_name() {
        for kind in [
            "coordinate pattern general",
            "coordinate complex general",
            "coordinate integer symmetric",
            "array real general",
        ] {
            let (line, reason) = refusal(&format!("%%MatrixMarket matrix {kind}\n3 2 0\n"));
            assert_eq!(line, 1);
            let odd = kind.split(' ').find(|word| reason.contains(&format!("{word} matrices")));
            assert!(odd.is_some(), "{reason}");
        }
        assert_eq!(refusal("3 2 1\n1 1 1\n").0, 1);
        assert_eq!(refusal("%%MatrixMarket matrix coordinate integer general\n3 2\n").0, 2);
    }

    #[test]
    fn refuses_faulty_entries_with_their_line() {
        for (entry, expected) in [
            ("0 1 5", "count from 1"),
            ("4 1 5", "states only 3"),
            ("1 3 5", "states only 2"),
            ("1 1 -5", "zero or more"),
            ("1 1 nan", "integer"),
            ("1 1 1.5", "integer"),
            ("1 1 16777217", "2^24"),
            ("1 1", "expected row, column and value"),
            ("1 1 5 5", "expected row, column and value"),
            ("a 1 5", "expected row, column and value"),
            ("2 1 7", "stands twice"),
        ] {
            let (line, reason) = refusal(&with_entries("3 2 2", &format!("2 1 7\n{entry}\n")));
            assert_eq!(line, 5, "{entry}");
            assert!(reason.contains(expected), "{entry}: {reason}");
        }
        for value in ["-0.5", "nan", "inf", "1e39"] {
            let text = format!("%%MatrixMarket matrix coordinate real general\n3 2 1\n1 1 {value}");
            let (line, reason) = refusal(&text);
            assert!(line == 3 && reason.contains("finite"), "{value}: {reason}");
        }
    }

    #[test]
    fn refuses_another_number_of_entries_than_stated() {
        assert_eq!(refusal(&with_entries("3 2 1", "1 1 5\n2 1 5\n")).0, 5);
        let (_, reason) = refusal(&with_entries("3 2 999999999999", "1 1 5\n"));
        assert!(reason.contains("ends after 1"), "{reason}");
    }

    #[test]
    fn refuses_a_size_that_does_not_fit_the_names() {
        let (_, reason) = refusal(&with_entries("2 3 1", "1 1 5\n"));
        assert!(reason.contains("transposed"), "{reason}");
        let (_, reason) = refusal(&with_entries("3 4000000000 1", "1 1 5\n"));
        assert!(reason.contains("do not belong together"), "{reason}");
    }
}
