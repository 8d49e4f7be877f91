//! Golden cells: whether this build on this processor computes what the model states.

use cic_model::golden::GoldenCell;

use crate::error::RunError;
use crate::sample::Sample;

use super::{S8Numbers, S8Session};

impl S8Session<'_> {
    /// Runs a golden cell of the model, and tells whether its code and its logits are the stated ones,
    /// bit for bit. The session is that of `model().golden().profile()`; `scratch` is as for
    /// [`S8Session::run`].
    pub fn reproduces(&self, cell: &GoldenCell<'_>, scratch: &mut [u32]) -> Result<bool, RunError> {
        let genes = cell.genes;
        // No library is zero: it stands for a profile that does not divide by one.
        let total = Some(cell.total).filter(|&total| total > 0);
        let sample = match self.model.golden().is_integer() {
            true => Sample::Counts { genes, counts: cell.values, total },
            false => Sample::Values {
                genes,
                values: bytemuck::must_cast_slice(cell.values),
                total: total.map(f32::from_bits),
            },
        };
        let outcome = self.run(&sample, None, scratch)?;
        Ok(outcome.numbers.is_some_and(|numbers| numbers.agree_with(cell)))
    }
}

impl S8Numbers<'_> {
    /// Whether code and logits are those that a golden cell states, bit for bit.
    pub fn agree_with(&self, cell: &GoldenCell<'_>) -> bool {
        let code = self.code.iter().map(|&code| i32::from(code).cast_unsigned());
        let logits = self.logits.iter().map(|logit| logit.cast_unsigned());
        code.eq(cell.code.iter().copied()) && logits.eq(cell.logits.iter().copied())
    }
}
