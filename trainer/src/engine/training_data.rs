//! Preprocessed expression values and labels, borrowed.

use crate::TrainError;

/// Label of a row whose cell type is not known: it takes part in the reconstruction only.
pub const UNLABELLED: u32 = u32::MAX;

/// Expression profiles in the scale the network sees (for example log1p), one per row.
#[derive(Clone, Copy, Debug)]
pub struct TrainingData<'a> {
    /// The values.
    pub expression: Expression<'a>,
    /// Number of genes, the columns.
    pub n_genes: usize,
    /// `[n_rows]` class indices below `n_classes`, or [`UNLABELLED`].
    pub labels: Option<&'a [u32]>,
    /// Number of classes; 0 where there are no labels.
    pub n_classes: usize,
    /// Where the values were counts: what they were made with.
    pub counts: Option<FromCounts<'a>>,
}

/// Values that are ln(1 + `scale` · count / total).
#[derive(Clone, Copy, Debug)]
pub struct FromCounts<'a> {
    /// What a row's counts are scaled to sum to.
    pub scale: f32,
    /// `[n_rows]` sum of the counts that each row was scaled by: at least that of its values' counts.
    pub totals: &'a [f64],
}

/// How the values are stored. The storage does not decide how they are multiplied: that follows
/// from their density.
#[derive(Clone, Copy, Debug)]
pub enum Expression<'a> {
    /// Compressed sparse rows; within a row the indices increase.
    Csr {
        /// `[n_rows + 1]` starts of the rows in the other two.
        indptr: &'a [usize],
        /// Column of each value.
        indices: &'a [u32],
        /// The values; what is not stored is zero.
        values: &'a [f32],
    },
    /// `[n_rows × n_genes]`, row-major.
    Dense(&'a [f32]),
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Sparse(&'a [u32], &'a [f32]),
    Dense(&'a [f32]),
}

impl<'a> TrainingData<'a> {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self.expression {
            Expression::Csr { indptr, .. } => indptr.len().saturating_sub(1),
            Expression::Dense(values) => values.len().checked_div(self.n_genes).unwrap_or(0),
        }
    }

    /// Share of values that are not zero, over `rows`.
    pub(crate) fn density(&self, rows: &[usize]) -> f64 {
        let nonzeros: usize = rows
            .iter()
            .map(|&row| match self.row(row) {
                Row::Sparse(_, values) | Row::Dense(values) => {
                    values.iter().filter(|value| **value != 0.0).count()
                }
            })
            .sum();
        nonzeros as f64 / (rows.len() * self.n_genes).max(1) as f64
    }

    pub(crate) fn row(&self, row: usize) -> Row<'a> {
        match self.expression {
            Expression::Csr { indptr, indices, values } => {
                let range = indptr[row]..indptr[row + 1];
                Row::Sparse(&indices[range.clone()], &values[range])
            }
            Expression::Dense(values) => {
                Row::Dense(&values[row * self.n_genes..(row + 1) * self.n_genes])
            }
        }
    }

    pub(crate) fn label(&self, row: usize) -> Option<usize> {
        let label = *self.labels?.get(row)?;
        (label != UNLABELLED).then_some(label as usize)
    }

    /// Checks everything that the engine relies on later.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        match self.expression {
            Expression::Csr { indptr, indices, values } => {
                check_csr(indptr, indices, values, self.n_genes)?;
            }
            Expression::Dense(values) => {
                if self.n_genes == 0 || values.len() % self.n_genes != 0 {
                    return Err(TrainError::Shape {
                        what: "dense values",
                        expected: self.n_rows() * self.n_genes,
                        found: values.len(),
                    });
                }
                if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                    let (row, gene) = (at / self.n_genes, at % self.n_genes);
                    return Err(TrainError::NotFinite { row, gene });
                }
            }
        }
        if let Some(FromCounts { totals, .. }) = self.counts
            && totals.len() != self.n_rows()
        {
            let (expected, found) = (self.n_rows(), totals.len());
            return Err(TrainError::Shape { what: "totals of counts", expected, found });
        }
        let Some(labels) = self.labels else { return Ok(()) };
        if labels.len() != self.n_rows() {
            let (expected, found) = (self.n_rows(), labels.len());
            return Err(TrainError::Shape { what: "labels", expected, found });
        }
        let in_range = |label: u32| label == UNLABELLED || (label as usize) < self.n_classes;
        match labels.iter().position(|&label| !in_range(label)) {
            Some(row) => {
                Err(TrainError::Label { row, label: labels[row], n_classes: self.n_classes })
            }
            None => Ok(()),
        }
    }
}

fn check_csr(
    indptr: &[usize],
    indices: &[u32],
    values: &[f32],
    n_genes: usize,
) -> Result<(), TrainError> {
    let shape = |what, expected, found| Err(TrainError::Shape { what, expected, found });
    if indices.len() != values.len() {
        return shape("column indices", values.len(), indices.len());
    }
    if indptr.first() != Some(&0) || indptr.last() != Some(&values.len()) {
        return shape("end of the row starts", values.len(), indptr.last().copied().unwrap_or(0));
    }
    for (row, bounds) in indptr.windows(2).enumerate() {
        let Some(columns) = indices.get(bounds[0]..bounds[1]) else {
            return shape("row starts in order, at row", bounds[0], bounds[1]);
        };
        let increasing = columns.windows(2).all(|pair| pair[0] < pair[1]);
        let last = columns.last().map_or(0, |&gene| gene as usize);
        if !increasing || last >= n_genes {
            return Err(TrainError::Columns { row, n_genes });
        }
        if let Some(at) = values[bounds[0]..bounds[1]].iter().position(|value| !value.is_finite()) {
            return Err(TrainError::NotFinite { row, gene: columns[at] as usize });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csr<'a>(indptr: &'a [usize], indices: &'a [u32], values: &'a [f32]) -> TrainingData<'a> {
        let expression = Expression::Csr { indptr, indices, values };
        TrainingData { expression, n_genes: 3, labels: None, n_classes: 0, counts: None }
    }

    #[test]
    fn well_formed_rows_pass() {
        let data = csr(&[0, 2, 2, 3], &[0, 2, 1], &[1.0, 2.0, 3.0]);
        data.check().unwrap();
        assert_eq!(data.n_rows(), 3);
        assert!((data.density(&[0, 1, 2]) - 3.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn malformed_data_is_refused_with_its_place() {
        assert!(csr(&[0, 1], &[3], &[1.0]).check().is_err());
        assert!(csr(&[0, 2], &[1, 1], &[1.0, 1.0]).check().is_err());
        assert!(csr(&[0, 2, 1], &[0, 1], &[1.0, 1.0]).check().is_err());
        assert!(csr(&[0, 3, 1, 2], &[0, 1], &[1.0, 1.0]).check().is_err());
        assert!(csr(&[], &[], &[]).check().is_err());
        let error = csr(&[0, 1, 2], &[0, 1], &[1.0, f32::NAN]).check().unwrap_err();
        assert!(error.to_string().contains("row 1") && error.to_string().contains("gene 1"));
        let labelled = TrainingData {
            labels: Some(&[0, UNLABELLED, 2]),
            n_classes: 2,
            ..csr(&[0, 0, 0, 0], &[], &[])
        };
        assert!(labelled.check().unwrap_err().to_string().contains("row 2"));
        let dense = Expression::Dense(&[1.0, 2.0]);
        let ragged = TrainingData { expression: dense, ..csr(&[0], &[], &[]) };
        assert!(ragged.check().is_err());
    }
}
