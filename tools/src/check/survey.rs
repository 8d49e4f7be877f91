//! What the values of a file are, over every cell: two numbers are kept of each.

use cic_data::{CsrMatrix, DataError, Names, ScaleEvidence, ScaleVerdict};
use cic_model::ValueKind;

use super::spread::Spread;

/// What was seen of the values so far.
#[derive(Default)]
pub(super) struct Survey {
    /// Sum of every cell.
    sums: Vec<f64>,
    /// Genes above zero of every cell.
    n_genes: Vec<u32>,
    pub(super) n_values: u64,
    /// Of these, no integers.
    pub(super) n_fractional: u64,
    pub(super) max: f32,
    evidence: ScaleEvidence,
    /// The first cell that contradicts what is declared.
    fault: Option<DataError>,
}

impl Survey {
    /// Looks at the next cells.
    pub(super) fn add(
        &mut self,
        names: Names<'_>,
        values: &CsrMatrix,
        declared: Option<ValueKind>,
    ) {
        if self.fault.is_none() {
            match ScaleEvidence::of(names, values, self.sums.len(), declared) {
                Ok(evidence) => self.evidence.merge(&evidence),
                Err(fault) => self.fault = Some(fault),
            }
        }
        for row in 0..values.n_rows() {
            let (_, data) = values.row(row);
            let mut sum = 0.0;
            for &value in data {
                sum += f64::from(value);
                self.n_fractional += u64::from(value.fract() != 0.0);
                self.max = self.max.max(value);
            }
            self.sums.push(sum);
            // A matrix has fewer than 2³² columns.
            self.n_genes.push(data.len() as u32);
            self.n_values += data.len() as u64;
        }
    }

    /// What the values are, once all cells were seen; `None` where all are zero, as on every scale.
    pub(super) fn verdict(
        &mut self,
        names: Names<'_>,
        declared: Option<ValueKind>,
    ) -> Result<Option<ScaleVerdict>, DataError> {
        match self.fault.take() {
            Some(fault) => Err(fault),
            None if self.n_values == 0 => Ok(None),
            None => self.evidence.verdict(names, declared).map(Some),
        }
    }

    pub(super) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    pub(super) fn take_fault(&mut self) -> Option<DataError> {
        self.fault.take()
    }

    pub(super) fn n_cells(&self) -> usize {
        self.sums.len()
    }

    /// Cells without any value.
    pub(super) fn n_empty(&self) -> usize {
        self.n_genes.iter().filter(|&&n| n == 0).count()
    }

    pub(super) fn sums(&self) -> Spread {
        Spread::of(self.sums.clone())
    }

    pub(super) fn genes(&self) -> Spread {
        Spread::of(self.n_genes.iter().map(|&n| f64::from(n)).collect())
    }
}
