//! Sparse matrices: rows are cells or samples (`obs`), columns are genes (`var`).

use core::ops::Range;
use std::path::Path;

use crate::error::DataError;
use crate::expression::Names;

/// A matrix in compressed sparse row form. Rows are observations. Column indices increase strictly
/// within a row and no stored value is zero; every reader of this crate guarantees both, and
/// finite, non-negative values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsrMatrix {
    /// Number of columns (genes).
    pub n_cols: usize,
    /// Where each row starts in `indices` and `data`; one more than there are rows.
    pub indptr: Vec<usize>,
    /// Column of each stored value, `< n_cols`.
    pub indices: Vec<u32>,
    /// The stored values.
    pub data: Vec<f32>,
}

impl CsrMatrix {
    /// A matrix from its three arrays. Entries may come unsorted within a row and explicit zeros
    /// are dropped.
    ///
    /// # Errors
    /// Pointers that do not cover the entries, an index `>= n_cols`, two entries for one place, a
    /// value that is negative or not finite. Rows and columns are named by their number.
    pub fn new_checked(
        n_cols: usize,
        indptr: Vec<usize>,
        indices: Vec<u32>,
        data: Vec<f32>,
    ) -> Result<Self, DataError> {
        Self::normalise(n_cols, indptr, indices, data).map_err(|fault| {
            fault.name(Path::new("matrix"), &|row| row.to_string(), &|column| column.to_string())
        })
    }

    /// A matrix from row-major dense values `[n_rows × n_cols]`.
    ///
    /// # Errors
    /// A length that is not a multiple of `n_cols`, a value that is negative or not finite.
    pub fn from_dense(n_cols: usize, values: &[f32]) -> Result<Self, DataError> {
        if n_cols == 0 || !values.len().is_multiple_of(n_cols) {
            return Err(DataError::Shape {
                path: "matrix".into(),
                what: "dense values".into(),
                expected: format!("a multiple of {n_cols}"),
                found: values.len().to_string(),
            });
        }
        let mut rows = RowBuilder::new(n_cols);
        for row in values.chunks_exact(n_cols) {
            rows.push_dense(row);
        }
        rows.finish().map_err(|fault| {
            fault.name(Path::new("matrix"), &|row| row.to_string(), &|column| column.to_string())
        })
    }

    /// Number of rows (cells or samples).
    pub fn n_rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// Number of stored values.
    pub fn nnz(&self) -> usize {
        self.data.len()
    }

    /// The columns and values of one row.
    ///
    /// # Panics
    /// If `row >= n_rows()`.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[row]..self.indptr[row + 1];
        (&self.indices[range.clone()], &self.data[range])
    }

    /// The given rows, in the given order.
    ///
    /// # Panics
    /// If one of `rows` is `>= n_rows()`.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let nnz = rows.iter().map(|&row| self.row(row).0.len()).sum();
        let mut selected = Self {
            n_cols: self.n_cols,
            indptr: Vec::with_capacity(rows.len() + 1),
            indices: Vec::with_capacity(nnz),
            data: Vec::with_capacity(nnz),
        };
        selected.indptr.push(0);
        for &row in rows {
            let (indices, data) = self.row(row);
            selected.indices.extend_from_slice(indices);
            selected.data.extend_from_slice(data);
            selected.indptr.push(selected.data.len());
        }
        selected
    }

    /// A run of rows.
    pub(crate) fn row_range(&self, rows: Range<usize>) -> Self {
        let entries = self.indptr[rows.start]..self.indptr[rows.end];
        let pointers = self.indptr[rows.start..=rows.end].iter();
        Self {
            n_cols: self.n_cols,
            indptr: pointers.map(|at| at - entries.start).collect(),
            indices: self.indices[entries.clone()].to_vec(),
            data: self.data[entries].to_vec(),
        }
    }

    /// Adds the rows of a matrix that has as many columns.
    pub(crate) fn append(&mut self, below: &Self) {
        if self.indptr.is_empty() {
            self.indptr.push(0);
        }
        let start = self.data.len();
        self.indptr.extend(below.indptr.iter().skip(1).map(|at| start + at));
        self.indices.extend_from_slice(&below.indices);
        self.data.extend_from_slice(&below.data);
    }

    /// Renumbers the columns and drops those without a new number; the order stays.
    pub(crate) fn keep_columns(&mut self, new_index: &[Option<u32>], n_kept: usize) {
        let (mut start, mut out) = (0, 0);
        for row in 0..self.n_rows() {
            let end = self.indptr[row + 1];
            for entry in start..end {
                if let Some(index) = new_index[self.indices[entry] as usize] {
                    self.indices[out] = index;
                    self.data[out] = self.data[entry];
                    out += 1;
                }
            }
            start = end;
            self.indptr[row + 1] = out;
        }
        self.indices.truncate(out);
        self.data.truncate(out);
        self.n_cols = n_kept;
    }

    /// Rows and columns exchanged: a matrix stored by gene becomes one stored by cell. Rows come
    /// out sorted because columns are visited in order.
    pub fn transpose(&self) -> Self {
        let mut indptr = vec![0usize; self.n_cols + 1];
        for &column in &self.indices {
            indptr[column as usize + 1] += 1;
        }
        for column in 0..self.n_cols {
            indptr[column + 1] += indptr[column];
        }
        let mut next = indptr.clone();
        let mut indices = vec![0u32; self.nnz()];
        let mut data = vec![0f32; self.nnz()];
        for row in 0..self.n_rows() {
            let (columns, values) = self.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                let slot = &mut next[column as usize];
                // Readers refuse more than u32::MAX rows before they build a matrix.
                indices[*slot] = row as u32;
                data[*slot] = value;
                *slot += 1;
            }
        }
        Self { n_cols: self.n_rows(), indptr, indices, data }
    }

    /// Checks every entry, sorts rows that need it and drops zeros, within the given memory.
    pub(crate) fn normalise(
        n_cols: usize,
        mut indptr: Vec<usize>,
        mut indices: Vec<u32>,
        mut data: Vec<f32>,
    ) -> Result<Self, MatrixFault> {
        check_pointers(&indptr, indices.len(), data.len())?;
        let mut unsorted: Vec<(u32, f32)> = Vec::new();
        let mut kept = 0;
        let mut start = 0;
        for row in 0..indptr.len() - 1 {
            let end = indptr[row + 1];
            let row_start = kept;
            // Nearly all rows are in order, and nothing before them was dropped.
            if kept == start && is_in_order(&indices[start..end], &data[start..end], n_cols) {
                (kept, start) = (end, end);
                continue;
            }
            let mut sorted = true;
            for entry in start..end {
                let (column, value) = (indices[entry], data[entry]);
                if column as usize >= n_cols {
                    return Err(MatrixFault::Index { row, index: column, len: n_cols });
                }
                // NaN fails the comparison too.
                if !(value >= 0.0 && value.is_finite()) {
                    return Err(MatrixFault::Value { row, column: column as usize, value });
                }
                if value == 0.0 {
                    continue;
                }
                sorted &= kept == row_start || indices[kept - 1] < column;
                indices[kept] = column;
                data[kept] = value;
                kept += 1;
            }
            if !sorted {
                unsorted.clear();
                let range = row_start..kept;
                unsorted.extend(
                    indices[range.clone()].iter().copied().zip(data[range].iter().copied()),
                );
                unsorted.sort_unstable_by_key(|&(column, _)| column);
                if let Some(twice) = unsorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    return Err(MatrixFault::Duplicate { row, column: twice[0].0 as usize });
                }
                for (offset, &(column, value)) in unsorted.iter().enumerate() {
                    indices[row_start + offset] = column;
                    data[row_start + offset] = value;
                }
            }
            start = end;
            indptr[row + 1] = kept;
        }
        indices.truncate(kept);
        data.truncate(kept);
        indices.shrink_to_fit();
        data.shrink_to_fit();
        Ok(Self { n_cols, indptr, indices, data })
    }
}

/// Whether columns increase and values are above zero and finite, without a branch per entry.
fn is_in_order(indices: &[u32], data: &[f32], n_cols: usize) -> bool {
    let increases = indices.windows(2).fold(true, |ok, pair| ok & (pair[0] < pair[1]));
    let are_positive =
        data.iter().fold(true, |ok, &value| ok & (value > 0.0 && value < f32::INFINITY));
    increases & are_positive && indices.last().is_none_or(|&last| (last as usize) < n_cols)
}

/// Refuses pointers that decrease or do not cover the entries.
pub(crate) fn check_pointers(
    indptr: &[usize],
    n_indices: usize,
    n_data: usize,
) -> Result<(), MatrixFault> {
    let fault = |at, reason| Err(MatrixFault::Pointers { at, reason });
    if indptr.first() != Some(&0) {
        return fault(0, "the first one must be 0".into());
    }
    if let Some(at) = indptr.windows(2).position(|pair| pair[0] > pair[1]) {
        return fault(at + 1, format!("{} follows {}", indptr[at + 1], indptr[at]));
    }
    let last = indptr[indptr.len() - 1];
    if last != n_indices || last != n_data {
        return fault(
            indptr.len() - 1,
            format!("it is {last}, but there are {n_indices} indices and {n_data} values"),
        );
    }
    Ok(())
}

/// Builds a matrix row by row from dense values. Values are checked at the end, so that a fault is
/// found once, in one place.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    n_cols: usize,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    data: Vec<f32>,
}

impl RowBuilder {
    /// No rows yet. `n_cols` must fit u32, which readers check.
    pub(crate) fn new(n_cols: usize) -> Self {
        Self { n_cols, indptr: vec![0], indices: Vec::new(), data: Vec::new() }
    }

    /// Values so far.
    pub(crate) fn nnz(&self) -> usize {
        self.data.len()
    }

    /// Adds a row of `n_cols` values.
    pub(crate) fn push_dense(&mut self, row: &[f32]) {
        for (column, &value) in (0u32..).zip(row) {
            if value != 0.0 {
                self.indices.push(column);
                self.data.push(value);
            }
        }
        self.indptr.push(self.data.len());
    }

    /// The checked matrix.
    pub(crate) fn finish(self) -> Result<CsrMatrix, MatrixFault> {
        CsrMatrix::normalise(self.n_cols, self.indptr, self.indices, self.data)
    }
}

/// What is wrong with a matrix, by number; [`MatrixFault::name`] adds the names.
#[derive(Debug, PartialEq)]
pub(crate) enum MatrixFault {
    /// Row pointers decrease or do not cover the entries.
    Pointers { at: usize, reason: String },
    /// A column index outside the matrix.
    Index { row: usize, index: u32, len: usize },
    /// Two entries for one place.
    Duplicate { row: usize, column: usize },
    /// A negative or non-finite value.
    Value { row: usize, column: usize, value: f32 },
    /// A count that single precision cannot hold.
    CountTooLarge { row: usize, column: usize, value: f64 },
}

impl MatrixFault {
    /// The same fault with rows and columns exchanged, for a matrix that is stored by gene.
    pub(crate) fn transposed(self) -> Self {
        match self {
            Self::Duplicate { row, column } => Self::Duplicate { row: column, column: row },
            Self::Value { row, column, value } => Self::Value { row: column, column: row, value },
            Self::CountTooLarge { row, column, value } => {
                Self::CountTooLarge { row: column, column: row, value }
            }
            other => other,
        }
    }

    /// The same fault in a matrix that stands below `n` other rows.
    pub(crate) fn below(self, n: usize) -> Self {
        match self {
            Self::Pointers { at, reason } => Self::Pointers { at: n + at, reason },
            Self::Index { row, index, len } => Self::Index { row: n + row, index, len },
            Self::Duplicate { row, column } => Self::Duplicate { row: n + row, column },
            Self::Value { row, column, value } => Self::Value { row: n + row, column, value },
            // Found before rows are separated, by its place in the file.
            Self::CountTooLarge { .. } => self,
        }
    }

    /// The error with the names of a file.
    pub(crate) fn named(self, names: Names<'_>) -> DataError {
        self.name(names.path, &|row| names.cell(row), &|column| names.gene(column))
    }

    /// The error that names the file, the cell and the gene.
    pub(crate) fn name(
        self,
        path: &Path,
        cell: &dyn Fn(usize) -> String,
        gene: &dyn Fn(usize) -> String,
    ) -> DataError {
        let path = path.to_path_buf();
        match self {
            Self::Pointers { at, reason } => DataError::Pointers { path, at, reason },
            Self::Index { row, index, len } => {
                DataError::IndexOutOfRange { path, row: format!("row {row}"), index, len }
            }
            Self::Duplicate { row, column } => {
                DataError::DuplicateEntry { path, cell: cell(row), gene: gene(column) }
            }
            Self::CountTooLarge { row, column, value } => {
                DataError::CountTooLarge { path, cell: cell(row), gene: gene(column), value }
            }
            Self::Value { row, column, value } if value < 0.0 && value.is_finite() => {
                DataError::Negative { path, cell: cell(row), gene: gene(column), value }
            }
            Self::Value { row, column, value } => {
                DataError::NotFinite { path, cell: cell(row), gene: gene(column), value }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_rows_and_drops_explicit_zeros() {
        let matrix = CsrMatrix::new_checked(
            4,
            vec![0, 3, 3, 5],
            vec![3, 0, 1, 2, 1],
            vec![1.0, 2.0, 0.0, 3.0, 4.0],
        )
        .unwrap();
        assert_eq!(matrix.indptr, [0, 2, 2, 4]);
        assert_eq!(matrix.row(0), (&[0, 3][..], &[2.0, 1.0][..]));
        assert_eq!(matrix.row(2), (&[1, 2][..], &[4.0, 3.0][..]));
        assert_eq!(matrix.n_rows(), 3);
        assert_eq!(matrix.nnz(), 4);
    }

    #[test]
    fn refuses_pointers_that_decrease_or_do_not_cover_the_entries() {
        for indptr in [vec![], vec![1, 2], vec![0, 2, 1, 2], vec![0, 1], vec![0, 3]] {
            let result = CsrMatrix::new_checked(2, indptr.clone(), vec![0, 1], vec![1.0, 1.0]);
            assert!(matches!(result, Err(DataError::Pointers { .. })), "{indptr:?}");
        }
    }

    #[test]
    fn refuses_an_index_outside_the_matrix() {
        let result = CsrMatrix::new_checked(2, vec![0, 1], vec![2], vec![1.0]);
        assert!(matches!(result, Err(DataError::IndexOutOfRange { index: 2, len: 2, .. })));
    }

    #[test]
    fn refuses_two_entries_for_one_place() {
        for indices in [vec![1, 1, 0], vec![1, 0, 1]] {
            let result = CsrMatrix::new_checked(2, vec![0, 3], indices, vec![1.0; 3]);
            assert!(matches!(result, Err(DataError::DuplicateEntry { .. })));
        }
    }

    #[test]
    fn refuses_negative_and_non_finite_values() {
        let with = |value| CsrMatrix::new_checked(2, vec![0, 1], vec![1], vec![value]);
        assert!(matches!(with(-1.0), Err(DataError::Negative { .. })));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(with(value), Err(DataError::NotFinite { .. })), "{value}");
        }
    }

    #[test]
    fn transposing_twice_gives_the_same_matrix() {
        let matrix = CsrMatrix::from_dense(3, &[0.0, 1.0, 2.0, 3.0, 0.0, 0.0]).unwrap();
        let transposed = matrix.transpose();
        assert_eq!(transposed.n_rows(), 3);
        assert_eq!(transposed.row(0), (&[1][..], &[3.0][..]));
        assert_eq!(transposed.transpose(), matrix);
    }

    #[test]
    fn selects_rows_in_the_given_order() {
        let matrix = CsrMatrix::from_dense(2, &[1.0, 0.0, 0.0, 2.0, 3.0, 4.0]).unwrap();
        let selected = matrix.select_rows(&[2, 0, 2]);
        assert_eq!(selected, CsrMatrix::from_dense(2, &[3.0, 4.0, 1.0, 0.0, 3.0, 4.0]).unwrap());
    }
}
