//! A session with the memory that it needs, fed with rows of an aligned matrix.

use cic_data::CsrMatrix;
use cic_model::{Model, ValueKind};
use cic_runtime::{Numbers, Outcome, RunError, S8Numbers, S8Session, Sample, Session};

/// Runs cells of one file through a model. Rows hold panel indices, strictly increasing, and `f32`
/// values; counts are exact up to 2²⁴, which readers guarantee.
#[derive(Debug)]
pub struct CellRunner<'m> {
    session: Session<'m>,
    scratch: Vec<u32>,
    present: Option<(Vec<bool>, Vec<u32>)>,
    counts: Vec<u32>,
    all_genes: (Vec<u32>, Vec<f32>),
}

impl<'m> CellRunner<'m> {
    /// For a file that has the genes of `present`, `[n_genes]`.
    pub fn new(session: Session<'m>, present: &[bool]) -> Result<Self, RunError> {
        let scratch = vec![0; session.scratch_len() / 4];
        let is_complete = present.iter().all(|&is_present| is_present);
        let present = if is_complete {
            None
        } else {
            let mut correction = vec![0; session.correction_len()];
            // Fills the buffer; the borrow ends here and is taken again for every cell.
            session.presence(present, &mut correction)?;
            Some((present.to_vec(), correction))
        };
        let all_genes = (Vec::new(), Vec::new());
        Ok(Self { session, scratch, present, counts: Vec::new(), all_genes })
    }

    /// The session.
    pub fn session(&self) -> &Session<'m> {
        &self.session
    }

    /// Runs one cell. `total` is the sum over all measured genes.
    pub fn run(
        &mut self,
        genes: &[u32],
        values: &[f32],
        total: f64,
    ) -> Result<Outcome<Numbers<'_>>, RunError> {
        let profile = *self.session.profile();
        let presence = match &self.present {
            Some((mask, correction)) => Some(self.session.known_presence(mask, correction)?),
            None => None,
        };
        let sample = if profile.kind() == ValueKind::Counts {
            self.counts.clear();
            // Integers below 2²⁴ by the contract of the rows; `as` saturates otherwise.
            self.counts.extend(values.iter().map(|&value| value as u32));
            let total = Some(library_total(total));
            Sample::Counts { genes, counts: &self.counts, total }
        } else if profile.is_sparse() {
            Sample::Values { genes, values, total: Some(total as f32) }
        } else {
            // Zeros are values here, and sparse rows leave them out.
            let (all_genes, all_values) = &mut self.all_genes;
            all_genes.clear();
            all_values.clear();
            let mut stored = genes.iter().zip(values).peekable();
            for gene in 0..profile.fill_values().len() as u32 {
                let is_present = presence.as_ref().is_none_or(|p| p.has(gene as usize));
                let value = stored.next_if(|(stored, _)| **stored == gene).map(|(_, &value)| value);
                if is_present {
                    all_genes.push(gene);
                    all_values.push(value.unwrap_or(0.0));
                }
            }
            Sample::Values { genes: all_genes, values: all_values, total: Some(total as f32) }
        };
        self.session.run(&sample, presence.as_ref(), &mut self.scratch)
    }

    /// Runs all rows and hands every outcome to `take`, in order.
    pub fn run_all(
        &mut self,
        rows: &CsrMatrix,
        totals: &[f64],
        mut take: impl FnMut(Outcome<Numbers<'_>>),
    ) -> Result<(), RunError> {
        for (row, &total) in totals.iter().enumerate() {
            let (genes, values) = rows.row(row);
            take(self.run(genes, values, total)?);
        }
        Ok(())
    }

    /// Reproduces a profile, `[n_genes]` in network input units, from the numbers of a cell that
    /// was run before.
    pub fn reconstruct(&mut self, code: &CodeCopy, out: &mut [f32]) -> Result<(), RunError> {
        match (&self.session, code) {
            (Session::Float(session), CodeCopy::Float(code)) => {
                session.reconstruct(code, &mut self.scratch, out)
            }
            (Session::S8(session), CodeCopy::Levels(levels)) => {
                let mut fixed = vec![0_i16; out.len()];
                session.reconstruct(levels, &mut self.scratch, &mut fixed)?;
                let scales = session.model().reconstruction_scales();
                for ((place, fixed), scale) in out.iter_mut().zip(fixed).zip(scales) {
                    *place = f32::from(fixed) * scale;
                }
                Ok(())
            }
            _ => Err(RunError::WrongDtype),
        }
    }
}

/// Runs the cells of one file through an int8 model, many at a time. Rows are those of
/// [`CellRunner`], and so are the results.
#[derive(Debug)]
pub struct TileRunner<'m> {
    session: S8Session<'m>,
    scratch: Vec<u32>,
    present: Option<(&'m [bool], &'m [u32])>,
    counts: Vec<u32>,
}

impl<'m> TileRunner<'m> {
    /// With a session (of packed weights where batches are to be fast) for files that have the genes
    /// of `present`: its mask and correction, where some are missing. `None` for profiles whose zeros
    /// are values, which sparse rows leave out.
    pub fn new(session: S8Session<'m>, present: Option<(&'m [bool], &'m [u32])>) -> Option<Self> {
        if !session.profile().is_sparse() {
            return None;
        }
        let scratch = vec![0; session.tile_scratch_len(session.tile_len()) / 4];
        Some(Self { session, scratch, present, counts: Vec::new() })
    }

    /// Runs all rows and hands every outcome to `take`, in order.
    pub fn run(
        &mut self,
        rows: &CsrMatrix,
        totals: &[f64],
        mut take: impl FnMut(Outcome<Numbers<'_>>),
    ) -> Result<(), RunError> {
        let presence = match self.present {
            Some((mask, correction)) => Some(self.session.known_presence(mask, correction)?),
            None => None,
        };
        let is_counts = self.session.profile().kind() == ValueKind::Counts;
        self.counts.clear();
        if is_counts {
            // Integers below 2²⁴ by the contract of the rows; `as` saturates otherwise.
            self.counts.extend(rows.data.iter().map(|&value| value as u32));
        }
        let tile_len = self.session.tile_len();
        let mut samples = Vec::with_capacity(tile_len);
        for first in (0..rows.n_rows()).step_by(tile_len) {
            let end = (first + tile_len).min(rows.n_rows());
            samples.clear();
            for (row, &total) in (first..end).zip(&totals[first..end]) {
                let (genes, values) = rows.row(row);
                samples.push(if is_counts {
                    let counts = &self.counts[rows.indptr[row]..rows.indptr[row + 1]];
                    Sample::Counts { genes, counts, total: Some(library_total(total)) }
                } else {
                    Sample::Values { genes, values, total: Some(total as f32) }
                });
            }
            let tile = self
                .session
                .run_tile(&samples, presence.as_ref(), &mut self.scratch)
                .map_err(|error| error.error)?;
            for cell in 0..samples.len() {
                take(tile.outcome(cell).map(Numbers::S8));
            }
        }
        Ok(())
    }
}

/// A total as counts; zero, which no cell is divided by, where it does not fit.
fn library_total(total: f64) -> u32 {
    if total <= f64::from(u32::MAX) { total as u32 } else { 0 }
}

/// What a decoder reads, taken out of the scratch.
#[derive(Clone, Debug, PartialEq)]
pub enum CodeCopy {
    /// The code of a float model.
    Float(Vec<f32>),
    /// The 7-bit code of an int8 model.
    Levels(Vec<u8>),
}

impl CodeCopy {
    /// Copies.
    pub fn new(numbers: &Numbers<'_>) -> Self {
        match numbers {
            Numbers::Float(numbers) => Self::Float(numbers.code.to_vec()),
            Numbers::S8(S8Numbers { code_levels, .. }) => Self::Levels(code_levels.to_vec()),
        }
    }

    /// What classifier and decoder of the model take it for, `[code_dim]` in the units of the code.
    pub fn values(&self, model: &Model<'_>) -> Vec<f32> {
        match (self, model.code_scales()) {
            (Self::Float(code), _) => code.clone(),
            (Self::Levels(levels), Some(scales)) => {
                let levels = levels.iter().enumerate();
                levels.map(|(dim, &level)| scales.level_value(dim, level) as f32).collect()
            }
            (Self::Levels(_), None) => Vec::new(),
        }
    }
}
