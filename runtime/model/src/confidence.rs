//! What a model promises of its calls: sets of labels, and how sure it may be when genes are missing.

use crate::container::{Container, SectionKind};
use crate::error::ModelError;

/// The shares of cells whose label is promised to be in their set, in percent.
pub const LEVELS: [u32; 2] = [90, 95];

/// Steps of the share of the library that the genes of a file had in training.
pub const COVERAGE_STEPS: usize = 16;

/// View of the promises. Those of sets hold for cells like the calibration cells: from the same studies, as deep, with all
/// genes.
#[derive(Clone, Copy, Debug)]
pub struct Confidence<'a> {
    n_cells: u32,
    margins_q16: [i32; 2],
    /// `[COVERAGE_STEPS]`
    inv_temperatures_q16: &'a [u32],
}

impl<'a> Confidence<'a> {
    pub(crate) fn parse(container: &Container<'a>) -> Result<Option<Self>, ModelError> {
        if container.section(SectionKind::Confidence, 0).is_none() {
            return Ok(None);
        }
        let mut reader = container.require(SectionKind::Confidence, 0)?;
        let confidence = Self {
            n_cells: reader.u32()?,
            margins_q16: [reader.u32()? as i32, reader.u32()? as i32],
            inv_temperatures_q16: reader.array(COVERAGE_STEPS)?,
        };
        if confidence.inv_temperatures_q16.contains(&0) {
            return Err(reader.bad("temperature"));
        }
        reader.finish()?;
        Ok(Some(confidence))
    }

    /// Calibration cells that the sets were made with; 0 where the model promises no sets.
    pub fn n_cells(&self) -> u32 {
        self.n_cells
    }

    /// Whether sets of labels are promised at all.
    pub fn has_sets(&self) -> bool {
        self.n_cells() > 0
    }

    /// A label is in the set of a cell if the largest logit of the others exceeds its own by no more than this, Q16.
    /// `level` is an index of [`LEVELS`]; `None` where the model promises no sets.
    ///
    /// Split-conformal prediction (Papadopoulos et al. 2002; Angelopoulos and Bates 2023, "Conformal prediction: a gentle
    /// introduction", section 1.1): the ⌈(n + 1) · level⌉-th smallest such excess of the true labels of n calibration cells.
    pub fn margin_q16(&self, level: usize) -> Option<i32> {
        self.margins_q16.get(level).copied().filter(|_| self.n_cells > 0)
    }

    /// Reciprocal of the softmax temperature, Q16, for files that lack genes. `share_q30` is the share of the library that
    /// the present genes had in training, see [`crate::genes::Overlap`].
    pub fn inv_temperature_q16(&self, share_q30: u32) -> u32 {
        let step = coverage_step(share_q30);
        self.inv_temperatures_q16.get(step).copied().unwrap_or(1)
    }

    /// All of them, `[COVERAGE_STEPS]`.
    pub fn inv_temperatures_q16(&self) -> &'a [u32] {
        self.inv_temperatures_q16
    }
}

/// Sixteenths of the library, 0 ..= 15.
pub fn coverage_step(share_q30: u32) -> usize {
    (share_q30 >> 26).min(COVERAGE_STEPS as u32 - 1) as usize
}
